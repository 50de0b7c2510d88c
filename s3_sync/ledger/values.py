"""What the ledger takes and gives: frozen values, no behaviour."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from container_crawler.rows import Row
from s3_sync.types import Removal

Kind = Literal['deferred', 'failed', 'permanent']

KINDS: tuple[Kind, ...] = ('deferred', 'failed', 'permanent')
"""Their places here are the numbers stored in the file: never reorder."""

FAILURES: tuple[Kind, ...] = ('failed', 'permanent')

DETAIL_LIMIT = 500
"""Characters kept of an error message."""


@dataclass(frozen=True, slots=True)
class Work:
    """One object whose row is not done: why, and when it is looked at again.

    Callers give the first six fields and ``due``; the ledger fills in the rest.
    """

    account: str
    container: str
    row: Row
    kind: Kind
    reason: str
    """A short stable word, the same as in metrics (``throttled``, ``copy-after``)."""
    detail: str = ''
    """For people. Without secrets (the caller's duty); cut to DETAIL_LIMIT characters."""
    attempts: int = 0
    """Failed tries of this version of the object. Being deferred is not a try."""
    due: float = 0.0
    """Unix seconds of the next try; 0.0 and without meaning for a permanent failure."""
    first_seen: float = 0.0
    """Unix seconds when this version of the object first came here."""
    updated: float = 0.0
    generation: str = ''

    @property
    def path(self) -> str:
        return f'{self.account}/{self.container}/{self.row.name}'


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """How far one database of one generation has been read."""

    db_id: str
    account: str
    container: str
    own_row: int
    """Every own row up to this ROWID is done or in the ledger."""
    verified_row: int
    """Every row of anybody up to this ROWID is done or in the ledger."""
    share: str
    """Which part of the rows was "own" (the daemon's own notation); '' when imported."""
    evaluation: str
    """``Mapping.evaluation`` these numbers were reached with."""
    updated: float


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """What a generation means, for status and orphans."""

    generation: str
    name: str
    description: str
    """JSON object without secrets, as the daemon gave it."""
    evaluation: str
    first_seen: float
    last_seen: float
    """Unix seconds when a configuration last named it."""


@dataclass(frozen=True, slots=True)
class WaitingRemoval:
    """A local object that is to go, and what has kept it so far."""

    generation: str
    account: str
    removal: Removal
    reason: str = ''
    """Why it still waits: ``referenced``, ``replica-away`` and the like; '' when it was not tried yet."""
    detail: str = ''
    attempts: int = 0
    """How often it was put off without anything else of its account going."""
    added: float = 0.0
    """Unix seconds when it first came here."""


@dataclass(frozen=True, slots=True)
class RemovalTotals:
    objects: int = 0
    segments: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RemovalReason:
    """Waiting removals that are alike, for people."""

    segments: bool
    reason: str
    """As in ``WaitingRemoval``, and of those not tried yet ``not-due`` or ``due``."""
    count: int
    bytes: int
    due: float
    """Unix seconds when the first of them is looked at again."""
    added: float
    """Unix seconds when the oldest of them came."""
    detail: str
    """Of one of them."""
