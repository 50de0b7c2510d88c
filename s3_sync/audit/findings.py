"""What an audit says of one name: exactly one verdict, with a reason."""
from __future__ import annotations

from typing import Literal, NamedTuple

from container_crawler.rows import Row

Verdict = Literal['same', 'archived', 'kept', 'excluded', 'waiting', 'failed', 'missing', 'differs', 'incomplete',
                  'extra', 'unknown', 'unread']
VERDICTS: dict[Verdict, str] = {
    'same': 'both sides agree',
    'archived': 'only at the remote, as it should be',
    'kept': 'deleted here, kept at the remote by configuration',
    'excluded': 'not selected by the mapping',
    'waiting': 'not due yet, just changed, or not removed here yet',
    'failed': 'differs; the ledger knows and says why',
    'missing': 'not at the remote',
    'differs': 'other content or metadata at the remote',
    'incomplete': 'the data is right, what belongs beside it (the manifest object) is not there',
    'extra': 'at the remote only',
    'unknown': 'nothing proves that both sides agree',
    'unread': 'could not be compared',
}
"""In the order shown."""

DIFFERENCES: frozenset[Verdict] = frozenset({'failed', 'missing', 'differs', 'incomplete', 'extra', 'unknown'})
"""Verdicts after which the sides cannot be called equal."""

Repair = Literal['copy', 'delete']
"""What the daemon would have to look at again: a live row, or a tombstone."""


class Side(NamedTuple):
    """What was seen of a version on one side."""

    size: int
    etag: str
    time: float | None = None
    """Unix seconds: when the data was written, as far as the side tells."""


class Finding(NamedTuple):
    """Of one name."""

    verdict: Verdict
    reason: str
    detail: str = ''
    """One line for a person."""
    row: Row | None = None
    """The local row that the verdict is about; its newest version where the object was opened."""
    local: Side | None = None
    remote: Side | None = None
    repair: Repair | None = None
    """How the daemon can mend it, None when it cannot or nothing is wrong."""
    read: int = 0
    """Bytes of the remote copy that were read to know."""

    @property
    def is_difference(self) -> bool:
        return self.verdict in DIFFERENCES
