"""Local objects that leave once nothing needs them: proven at the remote, waiting for their time or for a sweep.

An archived object has one entry; a segment has one for each archived manifest
that named it, because each may hold its bytes at the remote (semantics 2.3). An
entry stays until its object is gone, kept for good, or somebody else's work again.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from container_crawler.rows import Row
from s3_sync.ledger.base import LedgerPart
from s3_sync.ledger.values import RemovalReason, RemovalTotals, WaitingRemoval
from s3_sync.ledger.work import clean_detail, compare_rows
from s3_sync.types import Removal

_COLUMNS = ('generation, account, container, name, owner, owner_etag, sweep, due, row_id, created_at, size, '
            'content_type, etag, policy_index, reason, detail, attempts, added')
_KEY = 'generation = ? AND account = ? AND container = ? AND name = ?'

Name = tuple[str, str]
"""Container and object."""


class RemovalsPart(LedgerPart):
    # -- coming and going ------------------------------------------------------------

    def add_removals(self, generation: str, account: str, removals: Sequence[Removal]) -> None:
        """Remember these. What is known already waits for the later of the two times, with the newer row.

        A segment that another manifest names again waits anew for all of them.
        """
        now = self._clock.now()
        with self.transaction():
            for removal in removals:
                self._add(generation, account, removal, now)

    def _add(self, generation: str, account: str, removal: Removal, now: float) -> None:
        row, key = removal.row, (generation, account, removal.container, removal.row.name)
        known = self._database.query(f'SELECT owner, created_at, due FROM removal WHERE {_KEY}', key)
        if any(owner == removal.owner and compare_rows(row.created_at, created_at) < 0
               for owner, created_at, _ in known):
            return
        due = max(removal.due, *(kept for _, _, kept in known)) if known else removal.due
        if known and removal.owner:
            self._database.write(f"UPDATE removal SET due = max(due, ?) WHERE {_KEY} AND owner != ''", (due, *key))
        self._database.write(
            'INSERT INTO removal (generation, account, container, name, owner, owner_etag, sweep, due, row_id, '
            'created_at, size, content_type, etag, policy_index, added, updated) '
            'VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?15, ?15) '
            'ON CONFLICT (generation, account, container, name, owner) DO UPDATE SET owner_etag = excluded.owner_etag, '
            'sweep = excluded.sweep, due = excluded.due, row_id = excluded.row_id, created_at = excluded.created_at, '
            'size = excluded.size, content_type = excluded.content_type, etag = excluded.etag, '
            "policy_index = excluded.policy_index, updated = excluded.updated, reason = '', detail = '', attempts = 0",
            (*key, removal.owner, removal.owner_etag, int(removal.sweep), due, row.row_id, row.created_at, row.size,
             row.content_type, row.etag, row.policy_index, now))

    def drop_removals(self, generation: str, account: str, container: str, rows: Sequence[Row]) -> None:
        """These rows of objects wait no longer. An entry for a newer row of the same object stays."""
        with self.transaction():
            for row in rows:
                key = (generation, account, container, row.name)
                known = self._database.one(f"SELECT created_at FROM removal WHERE {_KEY} AND owner = ''", key)
                if known is not None and compare_rows(known[0], row.created_at) <= 0:
                    self._database.write(f"DELETE FROM removal WHERE {_KEY} AND owner = ''", key)

    def drop_segments(self, generation: str, account: str, removals: Sequence[Removal]) -> None:
        """These segments wait no longer for these manifests of theirs; newer versions of the manifests keep theirs."""
        with self.transaction():
            self._database.write_many(
                f'DELETE FROM removal WHERE {_KEY} AND owner = ? AND owner_etag = ?',
                [(generation, account, r.container, r.row.name, r.owner, r.owner_etag) for r in removals])

    def postpone_removals(self, generation: str, account: str, names: Iterable[Name], wait: float, reason: str,
                          detail: str = '', *, longest: float | None = None) -> None:
        """What is due of these objects is looked at again in ``wait`` seconds.

        With ``longest`` the wait doubles each time, up to that many seconds.
        """
        now = self._clock.now()
        delay = '?1' if longest is None else 'min(?1 * (1 << min(attempts, 20)), ?2)'
        with self.transaction():
            self._database.write_many(
                f'UPDATE removal SET due = ?3 + {delay}, reason = ?4, detail = ?5, updated = ?3, '
                'attempts = attempts + (?2 IS NOT NULL) '
                'WHERE generation = ?6 AND account = ?7 AND container = ?8 AND name = ?9 AND due <= ?3',
                [(wait, longest, now, reason, clean_detail(detail), generation, account, container, name)
                 for container, name in names])

    def mend_removal_times(self) -> None:
        """After the clock was set back: what was noted in what is now the future waits as long as it was to wait."""
        now = self._clock.now()
        with self.transaction():
            self._database.write('UPDATE removal SET due = due - (updated - ?1), added = min(added, ?1), updated = ?1 '
                                 'WHERE updated > ?1', (now,))

    # -- what to do now --------------------------------------------------------------

    def due_removals(self, generation: str, now: float, limit: int) -> list[WaitingRemoval]:
        """Objects whose time has come and that need no sweep, the longest due first."""
        return self._removals('generation = ? AND sweep = 0 AND due <= ? ORDER BY due LIMIT ?',
                              (generation, now, limit))

    def sweep_candidates(self, generation: str, now: float, limit: int, *, segments: bool = True) -> list[Name]:
        """What a sweep of the account is to look at, the longest due first. Without ``segments``: objects only."""
        which = '' if segments else "AND owner = '' "
        rows = self._database.query(
            'SELECT container, name FROM removal WHERE generation = ? AND sweep = 1 AND due <= ? '
            f'{which}ORDER BY due LIMIT ?', (generation, now, limit))
        return [(container, name) for container, name in rows]

    def removals_named(self, generation: str, account: str, names: Iterable[Name], now: float) -> list[WaitingRemoval]:
        """What of these candidates is still to go."""
        # The pluses keep SQLite from the index of due times: it would look for each name among all that is due.
        return [waiting for container, name in names
                for waiting in self._removals(f'{_KEY} AND +sweep = 1 AND +due <= ?',
                                              (generation, account, container, name, now))]

    def _removals(self, where: str, params: tuple[Any, ...]) -> list[WaitingRemoval]:
        return [_waiting(fields) for fields in self._database.query(f'SELECT {_COLUMNS} FROM removal WHERE {where}',
                                                                     params)]

    # -- for operators ---------------------------------------------------------------

    def removal_totals(self) -> dict[str, RemovalTotals]:
        """By generation; costs a look at each generation, not entry."""
        return {generation: RemovalTotals(*numbers) for generation, *numbers in self._database.query(
            'SELECT generation, objects, segments, bytes FROM removal_total WHERE objects + segments > 0')}

    def removal_reasons(self, generation: str) -> list[RemovalReason]:
        """What waits and why, the most frequent first. Reads every entry."""
        rows = self._database.query(
            "SELECT owner != '', CASE WHEN reason != '' THEN reason WHEN due <= ?2 THEN 'due' ELSE 'not-due' END "
            'AS why, count(*) AS number, sum(size), min(due), min(added), max(detail) FROM removal '
            'WHERE generation = ?1 '
            "GROUP BY owner != '', why ORDER BY number DESC, why", (generation, self._clock.now()))
        return [RemovalReason(bool(segments), *rest) for segments, *rest in rows]


def _waiting(fields: tuple[Any, ...]) -> WaitingRemoval:
    (generation, account, container, name, owner, owner_etag, sweep, due, row_id, created_at, size, content_type, etag,
     policy_index, reason, detail, attempts, added) = fields
    row = Row(row_id, name, created_at, size, content_type, etag, False, policy_index)
    removal = Removal(container, row, due, bool(sweep), owner, owner_etag)
    return WaitingRemoval(generation, account, removal, reason, detail, attempts, added)
