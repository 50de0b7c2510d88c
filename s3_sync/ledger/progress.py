"""How far each container database has been read, and what else is known of a container."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from s3_sync.ledger.base import LedgerPart
from s3_sync.ledger.values import ProgressRow

_PAGE = 1000
_COLUMNS = 'db_id, account, container, own_row, verified_row, share, progress.evaluation, progress.updated'
_FROM = 'FROM progress JOIN place ON place.id = progress.place'


class ProgressPart(LedgerPart):
    def progress(self, generation: str, db_id: str) -> ProgressRow | None:
        """None: this database was never read for this generation."""
        row = self._database.one(f'SELECT {_COLUMNS} {_FROM} WHERE progress.generation = ? AND db_id = ?',
                                 (generation, db_id))
        return ProgressRow(*row) if row else None

    def save_progress(self, generation: str, db_id: str, *, account: str, container: str, own_row: int,
                      verified_row: int, share: str, evaluation: str) -> None:
        """Row numbers may also go down (a new evaluation starts at 0)."""
        with self.transaction():
            place = self._places.need(generation, account, container)
            self._database.write(
                'INSERT OR REPLACE INTO progress (generation, db_id, place, own_row, verified_row, share, evaluation, '
                'updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
                (generation, db_id, place.id, own_row, verified_row, share, evaluation, self._clock.now()))

    def all_progress(self, generation: str) -> Iterator[ProgressRow]:
        """Every database of a generation, for status; read in pages."""
        last = ''
        while True:
            rows = self._database.query(
                f'SELECT {_COLUMNS} {_FROM} WHERE progress.generation = ? AND db_id > ? ORDER BY db_id LIMIT {_PAGE}',
                (generation, last))
            yield from (ProgressRow(*row) for row in rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def evaluated_otherwise(self, generation: str, account: str, container: str, evaluation: str) -> bool:
        """Whether some database of this container was read under other selection or header settings.

        What lies at the remote may then lack the present headers, which no listing shows.
        """
        return self._database.one(
            f'SELECT 1 {_FROM} WHERE place.generation = ? AND account = ? AND container = ? '
            'AND evaluation != ? LIMIT 1',
            (generation, account, container, evaluation)) is not None

    def container_seen(self, generation: str, account: str, container: str) -> bool:
        """Whether this container was worked on before, by us or the predecessor.

        Then much of it is probably at the remote, and a database without progress is best compared by listing first.
        """
        return self._database.one(
            'SELECT 1 FROM place WHERE generation = ? AND account = ? AND container = ? AND (imported IS NOT NULL '
            'OR EXISTS (SELECT 1 FROM progress WHERE progress.place = place.id AND (own_row > 0 OR verified_row > 0)))',
            (generation, account, container)) is not None

    def containers(self, generation: str) -> Iterator[tuple[str, str]]:
        """(account, container) of everything this generation has known, in order; read in pages."""
        last: tuple[str, str] = ('', '')
        while True:
            rows = self._database.query(
                'SELECT account, container FROM place WHERE generation = ? AND (account, container) > (?, ?) '
                f'ORDER BY account, container LIMIT {_PAGE}', (generation, *last))
            yield from ((row[0], row[1]) for row in rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1]

    # -- other facts of a container --------------------------------------------------

    def metadata_hash(self, generation: str, account: str, container: str) -> str | None:
        """Digest of the container metadata last brought to the remote."""
        value: str | None = self._of_place(generation, account, container, 'metadata_hash')
        return value

    def save_metadata_hash(self, generation: str, account: str, container: str, value: str) -> None:
        self._set_place(generation, account, container, 'metadata_hash = ?', value)

    def complete_count(self, generation: str, account: str, container: str) -> int | None:
        """Objects in the last listing that was complete and free of errors (the mass-delete guard's base)."""
        value: int | None = self._of_place(generation, account, container, 'complete_count')
        return value

    def save_complete_count(self, generation: str, account: str, container: str, count: int) -> None:
        self._set_place(generation, account, container, 'complete_count = ?, complete_time = ?', count,
                        self._clock.now())

    def import_closed(self, generation: str, account: str, container: str) -> bool:
        """Whether the predecessor's status no longer counts here: imported, refused, or progress of our own."""
        return self._of_place(generation, account, container, 'imported') is not None or self._database.one(
            f'SELECT 1 {_FROM} WHERE place.generation = ? AND account = ? AND container = ? LIMIT 1',
            (generation, account, container)) is not None

    def close_import(self, generation: str, account: str, container: str) -> None:
        self._set_place(generation, account, container, 'imported = ?', self._clock.now())

    def _of_place(self, generation: str, account: str, container: str, column: str) -> Any:
        row = self._database.one(f'SELECT {column} FROM place WHERE generation = ? AND account = ? AND container = ?',
                                 (generation, account, container))
        return row[0] if row else None

    def _set_place(self, generation: str, account: str, container: str, assignment: str, *values: object) -> None:
        with self.transaction():
            place = self._places.need(generation, account, container)
            self._database.write(f'UPDATE place SET {assignment} WHERE id = ?', (*values, place.id))
