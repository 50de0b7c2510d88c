"""Objects whose rows are not done: deferred, failed, given up.

One entry per (generation, account, container, name), for the newest row that
was reported. Nothing is kept for finished objects (semantics 5.4).
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from container_crawler.rows import Row
from s3_sync.ledger.base import LedgerPart
from s3_sync.ledger.control import ControlPart
from s3_sync.ledger.places import Place
from s3_sync.ledger.selection import select
from s3_sync.ledger.values import DETAIL_LIMIT, KINDS, Kind, Work
from s3_sync.timestamps import ZERO, RowTimes, row_times

_PAGE = 1000
_DEFERRED = KINDS.index('deferred')
_PERMANENT = KINDS.index('permanent')
_COLUMNS = ('work.name, row_id, created_at, size, content_type, etag, deleted, policy_index, '
            'kind, reason, detail, attempts, due, first_seen, updated')


def compare_rows(one: str, other: str) -> int:
    """Which ``created_at`` belongs to the newer row: positive when ``one`` does, 0 for the same.

    As Swift compares them (semantics 1.1): by the newest of the three times, then by
    all three. What is no timestamp is older than everything: it must not block.
    """
    if one == other:
        return 0
    first, second = _times(one), _times(other)
    left, right = (first.newest, *first), (second.newest, *second)
    return (left > right) - (left < right)


def _times(created_at: str) -> RowTimes:
    try:
        return row_times(created_at)
    except ValueError:
        return RowTimes(ZERO, ZERO, ZERO)


def clean_detail(text: str) -> str:
    """Cut, and always storable."""
    text = text.encode('utf-8', 'backslashreplace').decode()
    return text if len(text) <= DETAIL_LIMIT else text[:DETAIL_LIMIT - 1] + '…'


def _work(generation: str, account: str, container: str, fields: tuple[Any, ...]) -> Work:
    (name, row_id, created_at, size, content_type, etag, deleted, policy_index,
     kind, reason, detail, attempts, due, first_seen, updated) = fields
    row = Row(row_id, name, created_at, size, content_type, etag, bool(deleted), policy_index)
    return Work(account, container, row, KINDS[kind], reason, detail, attempts, due or 0.0, first_seen, updated,
                generation)


class WorkPart(ControlPart, LedgerPart):
    # -- outcomes --------------------------------------------------------------------

    def record(self, generation: str, entry: Work) -> Work:
        """Note that a row is not done; gives back the entry as stored.

        The same version of the object again: the new outcome replaces the old,
        ``attempts`` counts up (not for ``deferred``). A newer version: begins anew.
        An older one than the ledger has: nothing changes. ``attempts``,
        ``first_seen`` and ``updated`` of ``entry`` are not read.
        """
        return self._store(generation, entry, None, backoff=False)

    def fail(self, generation: str, account: str, container: str, row: Row, reason: str, detail: str = '', *,
             retry_after: float | None = None, permanent: bool = False) -> Work:
        """``record`` of a failure, due when the back-off for its attempts says."""
        kind: Kind = 'permanent' if permanent else 'failed'
        entry = Work(account, container, row, kind, reason, detail)
        return self._store(generation, entry, retry_after, backoff=True)

    def _store(self, generation: str, entry: Work, retry_after: float | None, *, backoff: bool) -> Work:
        row, now = entry.row, self._clock.now()
        kind = KINDS.index(entry.kind)
        with self.transaction():
            place = self._places.need(generation, entry.account, entry.container)
            old = self._old(place, row.name)
            attempts, first_seen, old_kind = 0, now, None
            if old is not None:
                old_kind = old[1]
                order = compare_rows(row.created_at, old[0])
                if order < 0:
                    return self._entry(place, generation, entry.account, entry.container, row.name)
                if order == 0:
                    attempts, first_seen = old[2], old[3]
            attempts += kind != _DEFERRED
            due = now + self._backoff.delay(attempts, retry_after) if backoff else entry.due
            stored_due = None if kind == _PERMANENT else due
            detail = clean_detail(entry.detail)
            self._database.write(
                'INSERT OR REPLACE INTO work (place, name, row_id, created_at, size, content_type, etag, deleted, '
                'policy_index, kind, reason, detail, attempts, due, first_seen, updated) '
                'VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
                (place.id, row.name, row.row_id, row.created_at, row.size, row.content_type, row.etag,
                 int(row.deleted), row.policy_index, kind, entry.reason, detail, attempts, stored_due, first_seen, now))
            self._places.changed(place, old_kind, kind)
        return Work(entry.account, entry.container, row, entry.kind, entry.reason, detail, attempts,
                    stored_due or 0.0, first_seen, now, generation)

    def _old(self, place: Place, name: str) -> Any:
        if not place.entries:
            return None
        return self._database.one(
            'SELECT created_at, kind, attempts, first_seen FROM work WHERE place = ? AND name = ?', (place.id, name))

    def _entry(self, place: Place, generation: str, account: str, container: str, name: str) -> Work:
        fields = self._database.one(f'SELECT {_COLUMNS} FROM work WHERE place = ? AND name = ?', (place.id, name))
        return _work(generation, account, container, fields)

    def find(self, generation: str, account: str, container: str, name: str) -> Work | None:
        """What is known of one object, None when nothing waits."""
        fields = self._database.one(
            f'SELECT {_COLUMNS} FROM place JOIN work ON work.place = place.id '
            'WHERE generation = ? AND account = ? AND container = ? AND work.name = ?',
            (generation, account, container, name))
        return _work(generation, account, container, fields) if fields else None

    def resolve(self, generation: str, account: str, container: str, name: str, created_at: str) -> None:
        """The row with these times is done: forget the entry, unless it is for a newer row."""
        with self.transaction():
            place = self._places.find(generation, account, container)
            if place is None:
                return
            old = self._old(place, name)
            if old is not None and compare_rows(old[0], created_at) <= 0:
                self._database.write('DELETE FROM work WHERE place = ? AND name = ?', (place.id, name))
                self._places.changed(place, old[1], None)

    # -- what to do now --------------------------------------------------------------

    def due(self, generation: str, now: float, limit: int) -> list[Work]:
        """Deferred and failed entries whose time has come, oldest first; [] while paused.

        Fair over containers: a container with a million due entries leaves
        the others their part of ``limit``. An entry is given again and again until
        it is recorded or resolved.
        """
        if limit <= 0 or self.is_paused(generation):
            return []
        self._settle()
        places = self._database.query(
            'SELECT id, account, container FROM place WHERE generation = ? AND next_due <= ? '
            'ORDER BY next_due LIMIT ?', (generation, now, limit))
        found: list[Work] = []
        hungry = places
        while hungry and len(found) < limit:
            found, hungry = self._one_round(generation, now, limit, hungry, found)
        found.sort(key=lambda work: work.due)
        return found

    def _one_round(self, generation: str, now: float, limit: int, places: list[Any],
                   found: list[Work]) -> tuple[list[Work], list[Any]]:
        """Give every place an equal part of what is left; those that had more come again."""
        taken: dict[tuple[str, str], int] = {}
        for work in found:
            taken[work.account, work.container] = taken.get((work.account, work.container), 0) + 1
        still_hungry = []
        found = list(found)
        quota = max(1, (limit - len(found)) // len(places))
        for place_id, account, container in places:
            room = min(quota, limit - len(found))
            if room <= 0:
                break
            rows = self._database.query(
                f'SELECT {_COLUMNS} FROM work WHERE place = ? AND due <= ? ORDER BY due, id LIMIT ? OFFSET ?',
                (place_id, now, room, taken.get((account, container), 0)))
            found += [_work(generation, account, container, fields) for fields in rows]
            if len(rows) == room:
                still_hungry.append((place_id, account, container))
        return found, still_hungry

    def mend_due_times(self) -> int:
        """After the clock was set back: failures noted in what is now the future are due now. Returns how many.

        Deferred work is due at times of its own, which no clock of ours has made.
        """
        now = self._clock.now()
        failed = KINDS.index('failed')
        with self.transaction():
            touched = self._database.query(
                'SELECT DISTINCT generation, account, container FROM work JOIN place ON place.id = work.place '
                'WHERE kind = ? AND work.updated > ?', (failed, now))
            mended = self._database.write(
                'UPDATE work SET due = ?1, updated = ?1 WHERE kind = ?2 AND updated > ?1', (now, failed)).rowcount
            for key in touched:
                self._places.changed(self._places.need(*key), failed, failed)
        return mended

    # -- for operators ---------------------------------------------------------------

    def counts(self, generation: str | None = None) -> dict[tuple[str, Kind], int]:
        """Entries by (generation, kind); what has none is missing. Costs a look at each container, not entry."""
        self._settle()
        rows = self._database.query(
            'SELECT generation, sum(deferred), sum(failed), sum(permanent) FROM place '
            'WHERE ?1 IS NULL OR generation = ?1 GROUP BY generation', (generation,))
        return {(row[0], kind): count for row in rows for kind, count in zip(KINDS, row[1:], strict=True) if count}

    def reasons(self, generation: str) -> list[tuple[Kind, str, int, float | None]]:
        """Kind, reason, how many, and when the first of them is due (Unix seconds; None: never). Reads every entry."""
        rows = self._database.query(
            'SELECT kind, reason, count(*), min(due) FROM place JOIN work ON work.place = place.id '
            'WHERE generation = ? GROUP BY kind, reason ORDER BY kind, count(*) DESC, reason', (generation,))
        return [(KINDS[kind], reason, count, due) for kind, reason, count, due in rows]

    def failures(self, generation: str | None = None, *, kind: Kind | None = None, path: str | None = None,
                 path_prefix: str | None = None) -> Iterator[Work]:
        """Entries in order of generation and path; without ``kind`` failed and permanent ones.

        ``path``: ``account``, ``account/container`` or ``account/container/object``,
        exactly. ``path_prefix``: any beginning of such a path. Reads in pages, so
        nothing is held up and memory stays flat; what changes meanwhile may be seen or not.
        """
        chosen = select(generation, kind, path, path_prefix)
        for place_id, *key in self._chosen_places(chosen.place, chosen.place_params):
            last = ''
            first = '>='
            while True:
                rows = self._database.query(
                    f'SELECT {_COLUMNS} FROM work WHERE place = ? AND work.name {first} ? '
                    f'AND {" AND ".join(chosen.work)} ORDER BY work.name LIMIT {_PAGE}',
                    (place_id, last, *chosen.work_params))
                yield from (_work(key[0], key[1], key[2], fields) for fields in rows)
                if len(rows) < _PAGE:
                    break
                last, first = rows[-1][0], '>'

    def _chosen_places(self, conditions: list[str], params: list[str | int]) -> Iterator[Any]:
        self._settle()
        where = ' AND '.join(['(generation, account, container) > (?, ?, ?)', *conditions])
        last: tuple[str, str, str] = ('', '', '')
        while True:
            rows = self._database.query(
                f'SELECT id, generation, account, container FROM place WHERE {where} '
                f'ORDER BY generation, account, container LIMIT {_PAGE}', (*last, *params))
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][1:]

    def retry(self, generation: str | None = None, *, kind: Kind | None = None, path: str | None = None,
              path_prefix: str | None = None) -> int:
        """Make the chosen entries (as in ``failures``) due now with no attempts counted; how many.

        Permanent failures become failed ones again. A running daemon sees it at its next look.
        """
        now = self._clock.now()
        return self._change(
            "UPDATE work SET kind = CASE kind WHEN 2 THEN 1 ELSE kind END, attempts = 0, due = ?, updated = ? "
            'WHERE id = ?', (now, now), True, generation, kind, path, path_prefix)

    def drop(self, generation: str | None = None, *, kind: Kind | None = None, path: str | None = None,
             path_prefix: str | None = None) -> int:
        """Forget the chosen entries (as in ``failures``): their rows count as done; how many."""
        return self._change('DELETE FROM work WHERE id = ?', (), False, generation, kind, path, path_prefix)

    def _change(self, statement: str, params: tuple[Any, ...], keep: bool, generation: str | None, kind: Kind | None,
                path: str | None, path_prefix: str | None) -> int:
        """In many small transactions, so that the daemon's writes come between."""
        chosen = select(generation, kind, path, path_prefix)
        where = ' AND '.join(['place = ?', 'id > ?', 'id <= ?', *chosen.work])
        changed = 0
        for place_id, *key in list(self._chosen_places(chosen.place, chosen.place_params)):
            # What the daemon records meanwhile gets a higher id and is not of this call.
            end = self._database.one('SELECT max(id) FROM work WHERE place = ?', (place_id,))[0] or 0
            last = 0
            while True:
                with self.transaction():
                    place = self._places.need(key[0], key[1], key[2])
                    rows = self._database.query(
                        f'SELECT id, kind FROM work WHERE {where} ORDER BY id LIMIT {_PAGE}',
                        (place_id, last, end, *chosen.work_params))
                    self._database.write_many(statement, [(*params, row_id) for row_id, _kind in rows])
                    for _row_id, old in rows:
                        self._places.changed(place, old, min(old, 1) if keep else None)
                changed += len(rows)
                if len(rows) < _PAGE:
                    break
                last = rows[-1][0]
        with self.transaction(durable=True):  # syncs all of the above at once
            self.save_fact('ledger:operator-change', changed)
        return changed
