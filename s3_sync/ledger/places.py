"""Containers as the ledger numbers them, with what is known of their waiting work.

Most rows were never recorded as work, so ``resolve`` must cost nothing for
them: a cached ``Place`` knows how many entries its container has. The cache
is bounded, and true because it is emptied at the start of a transaction when
``PRAGMA data_version`` says that another process has committed; within one,
nobody else can.
"""
from __future__ import annotations

from s3_sync.ledger.database import Database

_CACHE_LIMIT = 10_000
_FLUSH = '''UPDATE place SET deferred = deferred + ?1, failed = failed + ?2, permanent = permanent + ?3,
    next_due = (SELECT min(due) FROM work WHERE place = ?4 AND due IS NOT NULL) WHERE id = ?4'''

Key = tuple[str, str, str]


class Place:
    """One container of one generation. ``entries`` counts all kinds; ``delta`` is what is not yet written."""

    __slots__ = ('id', 'entries', 'delta')

    def __init__(self, place_id: int, entries: int) -> None:
        self.id = place_id
        self.entries = entries
        self.delta = [0, 0, 0]


class Places:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[Key, Place | None] = {}
        self._dirty: dict[int, Place] = {}
        self._data_version = -1
        database.on_begin = self._begin
        database.before_commit = self.flush
        database.after_rollback = self._forget

    def _begin(self) -> None:
        version = self._database.one('PRAGMA data_version')[0]
        if version != self._data_version or len(self._cache) > _CACHE_LIMIT:
            self._data_version = version
            self._cache.clear()

    def clear(self) -> None:
        """After places were removed; with nothing left to flush."""
        self._cache.clear()

    def _forget(self) -> None:
        self._cache.clear()
        self._dirty.clear()

    def find(self, generation: str, account: str, container: str) -> Place | None:
        """Only inside a transaction. None: the ledger knows nothing of this container."""
        key = (generation, account, container)
        try:
            return self._cache[key]
        except KeyError:
            pass
        row = self._database.one(
            'SELECT id, deferred + failed + permanent FROM place WHERE generation = ? AND account = ? '
            'AND container = ?', key)
        place = Place(*row) if row else None
        self._cache[key] = place
        return place

    def need(self, generation: str, account: str, container: str) -> Place:
        """Only inside a transaction. Makes it when it is not known."""
        place = self.find(generation, account, container)
        if place is None:
            key = (generation, account, container)
            cursor = self._database.write('INSERT INTO place (generation, account, container) VALUES (?, ?, ?)', key)
            if cursor.lastrowid is None:
                raise AssertionError('an INSERT always has a row id')
            place = self._cache[key] = Place(cursor.lastrowid, 0)
        return place

    def changed(self, place: Place, old_kind: int | None, new_kind: int | None) -> None:
        """An entry came, went or changed; its container's numbers follow at the commit."""
        if old_kind is not None:
            place.delta[old_kind] -= 1
            place.entries -= 1
        if new_kind is not None:
            place.delta[new_kind] += 1
            place.entries += 1
        self._dirty[place.id] = place

    def flush(self) -> None:
        """Write the numbers of what changed. Nothing to do outside a transaction."""
        for place in self._dirty.values():
            self._database.write(_FLUSH, (*place.delta, place.id))
            place.delta = [0, 0, 0]
        self._dirty.clear()
