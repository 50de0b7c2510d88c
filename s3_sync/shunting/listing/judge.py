"""What of the remotes shows in one listing: which versions a deletion hides (semantics 7.1)."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from s3_sync.concurrency import GreenPool
from s3_sync.shunting.listing.cursor import Cursor
from s3_sync.shunting.listing.scope import Scope
from s3_sync.shunting.listing.store_names import Item
from s3_sync.shunting.listing.tombstones import Marker, MarkerStream, Tombstones
from s3_sync.timestamps import without_marker
from s3_sync.wire.tombstones import hides, is_hashed

SKEW_SECONDS = 300.0
"""Clocks of two sites differ by less than this."""
HEADS_AT_ONCE = 16
AHEAD = 64
"""Names that are looked at together when one is in doubt: deletions come in swarms."""


class Judge:
    """Keys must be asked about in the listing's order."""

    def __init__(self, tombstones: Tombstones | None, scope: Scope) -> None:
        self._tombstones = tombstones
        self._scope = scope
        self._markers = MarkerStream(tombstones.pages, scope) if tombstones is not None else None
        self._names: dict[Cursor, _Names] = {}
        self._hashed: bool | None = None

    def shows(self, cursor: Cursor) -> bool:
        """Whether the entry that ``cursor`` stands at is to be seen. Local names are never asked about."""
        if self._tombstones is None or self._markers is None:
            return True
        if cursor.payload is None:
            return not self._concerned(self._tombstones, self._markers, cursor.key) or self._subdir_shows(
                self._tombstones, cursor)
        names = self._names.get(cursor)
        if names is None:
            names = self._names[cursor] = _Names(self._tombstones, self._markers, cursor)
        return names.shows(cursor.key, cursor.payload, cursor)

    def rewind(self) -> None:
        """Keys that were asked about before may be asked about again."""
        if self._markers is not None:
            self._markers.rewind()

    def _concerned(self, tombstones: Tombstones, markers: MarkerStream, subdir: str) -> bool:
        """Whether a deletion of any name in there is, or may be, remembered."""
        if markers.any_in(subdir):
            return True
        if self._hashed is None:
            self._hashed = tombstones.hashed()
        return self._hashed

    def _subdir_shows(self, tombstones: Tombstones, cursor: Cursor) -> bool:
        """Its single names are listed until one is to be seen."""
        subdir, scope = cursor.key, self._scope
        markers = MarkerStream(tombstones.pages, Scope(scope.lower, scope.upper, subdir, '', False, False))
        names = cursor.names.below(subdir, scope.lower, scope.upper)
        judge = _Names(tombstones, markers, cursor)
        nothing: list[Item] = []
        while batch := cursor.try_(lambda: list(islice(names, AHEAD)), nothing):
            for at, (name, payload) in enumerate(batch):
                if judge.shows(name, payload, _Rest(batch, at)):
                    return True
        return False


class _Rest(NamedTuple):
    batch: Sequence[Item]
    at: int

    def upcoming(self, count: int) -> Sequence[Item]:
        return self.batch[self.at + 1:self.at + 1 + count]


class _Source(Protocol):
    def upcoming(self, count: int) -> Sequence[Item]:
        """The names that will be asked about next, as far as they are at hand."""


class _Names:
    """Single names of one remote, in order."""

    def __init__(self, tombstones: Tombstones, markers: MarkerStream, cursor: Cursor) -> None:
        self._tombstones = tombstones
        self._markers = markers
        self._cursor = cursor
        self._gone: set[str] = set()

    def shows(self, name: str, payload: Any, source: _Source) -> bool:
        """``source`` tells what will be asked about next."""
        marker = self._tombstones.find(name) if is_hashed(name) else self._markers.at(name)
        if marker is None:
            return True
        verdict = self._told(name, payload, marker)
        if verdict is None:
            self._settle(name, payload, marker, source.upcoming(AHEAD))
            verdict = self._told(name, payload, marker)
        return bool(verdict)

    def _told(self, name: str, payload: Any, marker: Marker) -> bool | None:
        """Without asking the remote; None when it must be asked."""
        if not marker.time:
            return True
        names = self._cursor.names
        listed = names.modified(payload)
        if listed is not None and listed + SKEW_SECONDS <= float(without_marker(marker.time)):
            return False  # it was there before the deletion, and a copy's source is older still
        return False if name in self._gone else self._tombstones.verdicts.get(*self._facts(name, payload, marker))

    def _settle(self, name: str, payload: Any, marker: Marker, following: Sequence[Item]) -> None:
        doubtful = [(name, payload, marker)]
        near = self._markers.ahead([item[0] for item in following]) if following else {}
        for item in following:
            other = near.get(item[0])
            if other is not None and self._told(*item, other) is None:
                doubtful.append((*item, other))
        if len(doubtful) == 1:
            self._ask(*doubtful[0])
            return
        pool = GreenPool(HEADS_AT_ONCE)
        errors = [error for error in pool.starmap(self._asked, doubtful) if error is not None]
        if errors:
            self._cursor.try_(lambda: _raise(errors[0]), None)

    def _asked(self, name: str, payload: Any, marker: Marker) -> Exception | None:
        try:
            self._look(name, payload, marker)
        except Exception as error:  # raised again where somebody waits
            return error
        return None

    def _ask(self, name: str, payload: Any, marker: Marker) -> None:
        self._cursor.try_(lambda: self._look(name, payload, marker), None)

    def _look(self, name: str, payload: Any, marker: Marker) -> None:
        meta = self._cursor.names.meta(name, payload)
        if meta is None:  # gone since it was listed; nothing for later listings
            self._gone.add(name)
            return
        self._tombstones.verdicts.put(not hides(marker.time, meta), *self._facts(name, payload, marker))

    def _facts(self, name: str, payload: Any, marker: Marker) -> tuple[object, ...]:
        names = self._cursor.names
        return names.location_of(name), name, names.version(payload), marker.time.internal


def _raise(error: Exception) -> None:
    raise error
