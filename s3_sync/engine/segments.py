"""Lets segments go that nothing refers to, while the remote still holds what they were archived with, whole."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

from s3_sync.base_sync import BaseSync
from s3_sync.engine.outcomes import outcome_of_error
from s3_sync.errors import BucketNotFound, NotFound, RemovalDeferred
from s3_sync.types import Removal

Verdict = Literal['removed', 'gone', 'superseded', 'changed', 'kept', 'waits']


class Decided(NamedTuple):
    """What became of one segment. A tuple, because it travels between processes."""

    verdict: Verdict
    """As LocalRemover tells it; ``kept``: for good, the remote no longer has its bytes; ``waits``: for another try."""
    reason: str = ''
    detail: str = ''
    due: float = 0.0
    """Of ``waits``: Unix seconds before which no try makes sense, 0 when that is not known."""

    @property
    def settled(self) -> bool:
        """Nothing is left to do."""
        return self.verdict != 'waits'


class SegmentRemover(Protocol):
    """``s3_sync.local.remove.LocalRemover``, as far as it is needed here."""

    def remove_segment(self, account: str, container: str, name: str, etag: str, size: int, *,
                       restore_days: float = 0.0, written_before: float = math.inf,
                       ) -> Literal['removed', 'superseded', 'gone', 'changed']:
        """Delete the newest local version if it has this content. RemovalDeferred and other SourceErrors."""


def remove_segments(removals: Sequence[Removal], provider: BaseSync, remove: Callable[[Removal], Verdict],
                    now: Callable[[], float]) -> Iterator[Decided]:
    """One decision for each of ``removals``, in order. They have the same owner, and ``provider`` is its remote.

    ``remove`` deletes one. ``now``: Unix seconds. Never raises.
    """
    owner, etag = removals[0].owner, removals[0].owner_etag
    refusal: Decided | None = None
    try:
        remote = provider.head_object(owner.partition('/')[2])
        # Our own keys give way to the user's; the ETag of a copy whose segments are the source's tells the same.
        if (remote.source_etag or remote.etag) != etag:
            refusal = Decided('kept', 'owner-changed', f'the remote holds another version of {owner!r}')
        else:
            provider.check_whole(remote)  # it was when the manifest went; that may be long ago
    except BucketNotFound as error:
        refusal = _waits(error, now())
    except NotFound:
        refusal = Decided('kept', 'owner-gone', f'{owner!r} is no longer at the remote')
    except Exception as error:
        refusal = _waits(error, now())
    for removal in removals:
        yield refusal if refusal is not None else _remove(removal, remove, now)


def _remove(removal: Removal, remove: Callable[[Removal], Verdict], now: Callable[[], float]) -> Decided:
    try:
        return Decided(remove(removal))
    except RemovalDeferred as error:
        return Decided('waits', error.reason, str(error), error.due)
    except Exception as error:
        return _waits(error, now())


def _waits(error: Exception, now: float) -> Decided:
    outcome = outcome_of_error(error, now)
    return Decided('waits', outcome.reason, outcome.detail, outcome.due)
