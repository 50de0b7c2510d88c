"""The third stream of the merge: which remote names a deletion hides (semantics 7.1)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from swift.common.utils import Timestamp

from s3_sync.shunting.listing.cursor import Cursor
from s3_sync.shunting.listing.scope import LAST_CHARACTER, Scope, just_before
from s3_sync.timestamps import without_marker
from s3_sync.wire.tombstones import hides, is_hashed

SKEW_SECONDS = 300.0
"""Clocks of two sites differ by less than this."""
FIRST_CHARACTER = '\1'
"""The lowest that stands in names."""
LEAP = 1000
"""Markers that are passed one by one before the stream is asked again further on."""


class Marker(Protocol):
    """``s3_sync.shunting.markers.Marker``."""

    @property
    def name(self) -> str:
        """Of the deleted object."""

    @property
    def time(self) -> Timestamp:
        """When it was deleted."""


class Pages(Protocol):
    def __call__(self, *, prefix: str, marker: str, end_marker: str, reverse: bool) -> Iterator[Marker]:
        """Markers by their objects' names, in byte order or backwards, bounded as a listing."""


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Where the markers of one container are read."""

    pages: Pages
    find: Callable[[str], Marker | None]
    """For names that are too long to stand in a listing of markers."""
    hashed: Callable[[], bool] = lambda: False
    """Whether there are any such."""


class MarkerStream:
    """The markers of a scope, followed in its direction."""

    def __init__(self, pages: Pages, scope: Scope) -> None:
        self._pages = pages
        self._scope = scope
        self._markers: Iterator[Marker] | None = None
        self._current: Marker | None = None

    def at(self, name: str) -> Marker | None:
        """The marker of this name. Names must be asked for in order."""
        found = self._seek(name, False)
        return found if found is not None and found.name == name else None

    def any_in(self, subdir: str) -> bool:
        """Whether there is a marker of any name in there."""
        found = self._seek(subdir, True)
        return found is not None and found.name.startswith(subdir)

    def rewind(self) -> None:
        """Names that were asked for before may be asked for again."""
        self._markers = None

    def _seek(self, key: str, block: bool) -> Marker | None:
        if self._markers is None:
            self._restart(key, block)
        passed = 0
        while self._current is not None and self._is_passed(self._current.name, key, block):
            passed += 1
            if passed % LEAP:
                self._next()
            else:
                self._restart(key, block)
        return self._current

    def _is_passed(self, name: str, key: str, block: bool) -> bool:
        if self._scope.reverse:
            return name > key and not (block and name.startswith(key))
        return name < key

    def _restart(self, key: str, block: bool) -> None:
        scope = self._scope
        if scope.reverse:
            marker, end_marker = key + (2 * LAST_CHARACTER if block else FIRST_CHARACTER), scope.lower
        else:
            marker, end_marker = just_before(key), scope.upper
        self._markers = self._pages(prefix=scope.prefix, marker=marker, end_marker=end_marker, reverse=scope.reverse)
        self._next()

    def _next(self) -> None:
        self._current = next(self._markers, None) if self._markers is not None else None


class Judge:
    """Tells for one listing what of the remotes shows. Keys must be asked for in the listing's order."""

    def __init__(self, tombstones: Tombstones | None, scope: Scope) -> None:
        self._tombstones = tombstones
        self._scope = scope
        self._markers = MarkerStream(tombstones.pages, scope) if tombstones is not None else None
        self._hashed: bool | None = None

    def shows(self, cursor: Cursor) -> bool:
        """Whether the entry that ``cursor`` stands at is to be seen. Local names are never asked about."""
        if self._tombstones is None or self._markers is None:
            return True
        if cursor.payload is None:
            return not self._concerned(self._tombstones, self._markers, cursor.key) or self._subdir_shows(
                self._tombstones, cursor)
        return _shows(self._tombstones, self._markers, cursor, cursor.key, cursor.payload)

    def rewind(self) -> None:
        """Keys that were asked for before may be asked for again."""
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
        while item := cursor.try_(lambda: next(names, None), None):
            if _shows(tombstones, markers, cursor, *item):
                return True
        return False


def _shows(tombstones: Tombstones, markers: MarkerStream, cursor: Cursor, name: str, payload: Any) -> bool:
    marker = tombstones.find(name) if is_hashed(name) else markers.at(name)
    if marker is None:
        return True
    listed = cursor.names.modified(payload)
    if listed is not None and listed + SKEW_SECONDS <= float(without_marker(marker.time)):
        return False  # it was there before the deletion, and a copy's source is older still
    meta = cursor.try_(lambda: cursor.names.meta(name, payload), None)
    return meta is not None and not hides(marker.time, meta)
