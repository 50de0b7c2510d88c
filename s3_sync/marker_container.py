"""Rows of a hidden container that remembers deletions: through the daemon like any others, but nobody's objects.

They have progress, take turns, wait for a remote that is down and are tried again
like users' rows; what they are not is counted among them.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from container_crawler.handlers import Progress
from container_crawler.rows import Row
from s3_sync import metric_defs
from s3_sync.engine.outcomes import Outcome
from s3_sync.errors import LedgerError
from s3_sync.sync_container import SyncContainer


class MarkerContainer(SyncContainer):
    """``container`` is the hidden one; the workers know rows of markers by its name."""

    def load_progress(self, db_id: str) -> Progress | None:
        """Whatever selects objects or their headers has no say in deletions: no change of it starts over."""
        try:
            kept = self._s.ledger.progress(self._generation, db_id)
        except LedgerError as error:
            self._s.on_ledger_error(error)
            raise
        return None if kept is None else Progress(kept.own_row, kept.verified_row, kept.share)

    def handle_container_info(self, info: Mapping[str, object], metadata: Mapping[str, str]) -> None:
        """Nothing of it travels."""

    def _may_come_late(self, row: Row) -> bool:
        """The user's own row knows about writes of the object."""
        return False

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        ended = Counter(outcome.reason if outcome.finished else outcome.kind for outcome in outcomes)
        for end, number in ended.items():
            self._s.metrics.add(metric_defs.TOMBSTONES, self.mapping.name, end, value=number)
