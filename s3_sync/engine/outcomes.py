"""How work on one row ended. Every row ends as exactly one of these, counted by reason (DESIGN 4.6)."""
from __future__ import annotations

from typing import Literal, NamedTuple

from s3_sync import errors
from s3_sync.types import Removal

Kind = Literal['copied', 'updated', 'deleted', 'archived', 'same', 'excluded', 'deferred', 'failed', 'permanent']

REMOTE_WIDE = frozenset({'connection', 'throttled', 'forbidden', 'bucket-not-found', 'remote-5xx', 'login',
                         'clock-skew', 'storage-full'})
"""Reasons that, when every row meets them, mean the remote and not the rows."""
CLUSTER_WIDE = frozenset({'source-unavailable'})
"""The same for this cluster's side."""


class Outcome(NamedTuple):
    """A tuple, because it travels between processes."""

    kind: Kind
    reason: str = ''
    """Short stable word, for metrics and ``1space failures``."""
    detail: str = ''
    """One line for a person; no secrets."""
    bytes: int = 0
    """Data accepted by the remote."""
    due: float = 0.0
    """Deferred: Unix seconds of the next look. Failed: not before then, 0 when the remote named no time."""
    removals: tuple[Removal, ...] = ()
    """Local objects that may go later because of this row; the ledger has them before the row counts as done."""
    local: Outcome | None = None
    """Archives: what became of the local object after the remote was brought to its version."""

    @property
    def steps(self) -> tuple[Outcome, ...]:
        """What was done, one after the other; each is counted."""
        return (self,) if self.local is None else (self, self.local)

    @property
    def end(self) -> Outcome:
        """The last step: it decides whether, and why, something is left to do."""
        return self if self.local is None else self.local

    @property
    def finished(self) -> bool:
        """Nothing is left to do for this version."""
        return self.end.kind not in ('deferred', 'failed', 'permanent')


def outcome_of_error(error: Exception, now: float) -> Outcome:
    """The outcome that a raised error means. Unknown exceptions are failures, tried again."""
    detail = str(error)[:500]
    match error:
        case errors.SourceGone():
            return Outcome('same', error.reason)
        case errors.SourceUnusable():
            return Outcome('permanent', error.reason, detail)
        case errors.SourceError():
            return Outcome('failed', error.reason, detail)
        case errors.PermanentError() if error.reason not in REMOTE_WIDE:  # what is the remote's may be mended there
            return Outcome('permanent', error.reason, detail)
        case errors.TemporaryError():
            reason = error.reason
            if reason in (errors.TemporaryError.reason, 'server-error') and (error.status or 0) >= 500:
                reason = 'remote-5xx'
            return Outcome('failed', reason, detail, due=now + error.retry_after if error.retry_after else 0.0)
        case errors.Error():
            return Outcome('failed', getattr(error, 'reason', 'error'), detail)
        case _:
            return Outcome('failed', 'internal-error', f'{type(error).__name__}: {detail}')
