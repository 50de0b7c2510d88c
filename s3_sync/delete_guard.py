"""Keeps back a flood of tombstones until an operator has looked (``guard_tombstones``, semantics 6.5).

Each node sees the deletes of its own share first and those of the others'
shares later, when it verifies them; what an owner holds back must not be
deleted by those who verify. So both are counted, each against its part of the
container.
"""
from __future__ import annotations

from collections.abc import Sequence

from container_crawler.databases import DatabaseInfo
from container_crawler.rows import Row
from s3_sync.config import Mapping
from s3_sync.engine.outcomes import Outcome
from s3_sync.timestamps import is_ours, row_times

HELD = Outcome('permanent', 'mass-delete-guard',
               'too many deletions at once: look, then "1space failures retry" lets them pass')


class DeleteGuard:
    """Of one container. Counts anew when ``passed`` is called."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._seen = {True: 0, False: 0}
        self._judged: dict[tuple[str, bool], int] = {}

    def judged(self, db_id: str, own_row: int, verified_row: int) -> None:
        """Rows up to these are read for a second time: tombstones among them were let through, or are listed."""
        self._judged[db_id, True] = own_row
        self._judged[db_id, False] = verified_row

    def passed(self, *, own: bool) -> None:
        """All rows were read: what comes now is another flood, or none."""
        self._seen[own] = 0

    def held(self, db: DatabaseInfo, rows: Sequence[Row], known: int | None, *, own: bool) -> list[Row]:
        """Those of ``rows`` that may not go on.

        ``known``: objects of the container when it was last read to its end; None: it
        never was, so there is nothing at the remote that could be lost. ``own``:
        these are rows of this node's share.
        """
        if not self._mapping.guard_tombstones:
            return []
        judged = self._judged.get((db.db_id, own), 0)
        # What an archive lets go locally is deleted nowhere else.
        deleted = [row for row in rows if row.deleted and row.row_id > judged
                   and not is_ours(row_times(row.created_at).data)]
        self._seen[own] += len(deleted)
        share = len(db.indexes) / db.replicas
        part = (known or 0) * (share if own else 1 - share)
        too_many = (known is not None and self._seen[own] > self._mapping.max_delete_count
                    and self._seen[own] > self._mapping.max_delete_fraction * part)
        return deleted if too_many else []
