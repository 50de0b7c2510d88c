"""The third stream of the merge: where deletions are remembered (semantics 7.1, 7.5)."""
from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from swift.common.middleware.versioned_writes.object_versioning import (
    DELETE_MARKER_CONTENT_TYPE,
    parse_versions_object_name,
)
from swift.common.utils import Timestamp

from s3_sync.shunting.listing.params import Entry
from s3_sync.shunting.listing.scope import LAST_CHARACTER, Scope, just_before
from s3_sync.shunting.listing.verdicts import Verdicts
from s3_sync.timestamps import ZERO
from s3_sync.wire.tombstones import listed_time, real_name

FIRST_CHARACTER = '\1'
"""The lowest that stands in names."""
LEAP = 1000
"""Markers that are passed one by one before the stream is asked again further on."""
PAGE_NAMES = 1000


class Marker(Protocol):
    """``s3_sync.shunting.markers.Marker``."""

    @property
    def name(self) -> str:
        """Of the deleted object."""

    @property
    def time(self) -> Timestamp:
        """When it was deleted; zero: it was not, which is told only to get on."""


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
    verdicts: Verdicts = field(default_factory=Verdicts)
    """Of earlier listings; one for a process."""


class MarkerStream:
    """The markers of a scope, followed in its direction."""

    def __init__(self, pages: Pages, scope: Scope) -> None:
        self._pages = pages
        self._scope = scope
        self._markers: Iterator[Marker] | None = None
        self._read: deque[Marker] = deque()
        """Those that are not passed yet."""
        self._ended = False
        """No marker comes any more: mostly there is none at all."""

    def at(self, name: str) -> Marker | None:
        """The marker of this name. Names must be asked for in order."""
        found = self._seek(name, False)
        return found if found is not None and found.name == name else None

    def any_in(self, subdir: str) -> bool:
        """Whether there is a marker of any name in there."""
        found = self._seek(subdir, True)
        return found is not None and found.name.startswith(subdir)

    def ahead(self, names: Sequence[str]) -> dict[str, Marker]:
        """Markers of names that will be asked for, as far as they are near."""
        before = self._scope.before
        while not self._read or (len(self._read) < LEAP and before(self._read[-1].name, names[-1])):
            if not self._more():
                break
        wanted = set(names)
        return {marker.name: marker for marker in self._read if marker.name in wanted}

    def rewind(self) -> None:
        """Names that were asked for before may be asked for again."""
        self._markers = None
        self._read.clear()
        self._ended = False

    def _seek(self, key: str, block: bool) -> Marker | None:
        if self._ended:
            return None
        if self._markers is None:
            self._restart(key, block)
        passed = 0
        while self._read or self._more():
            if not self._is_passed(self._read[0].name, key, block):
                return self._read[0]
            self._read.popleft()
            passed += 1
            if not passed % LEAP:
                self._restart(key, block)
        self._ended = True
        return None

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
        self._read.clear()

    def _more(self) -> bool:
        found = next(self._markers, None) if self._markers is not None else None
        if found is not None:
            self._read.append(found)
        return found is not None


HiddenPage = Callable[[dict[str, str]], list[Entry]]
"""GETs a hidden container's listing with this (Unicode) query; no entries when there is no such container."""


class ListedMarker:
    """A marker as a listing tells it; there may be many whose time nobody asks for."""

    __slots__ = ('name', '_modified')

    def __init__(self, name: str, modified: str) -> None:
        self.name = name
        self._modified = modified

    @property
    def time(self) -> Timestamp:
        return listed_time(self._modified)


class ListedMarkers:
    """Markers out of the hidden container of deletions; those of names too long for it are left out."""

    def __init__(self, page: HiddenPage) -> None:
        self._page = page

    def pages(self, *, prefix: str, marker: str, end_marker: str, reverse: bool) -> Iterator[ListedMarker]:
        query = {'format': 'json', 'limit': str(PAGE_NAMES), 'prefix': '\0' + prefix}
        query |= {key: '\0' + value for key, value in (('marker', marker), ('end_marker', end_marker)) if value}
        query |= {'reverse': 'true'} if reverse else {}
        while entries := self._page(query):
            for entry in entries:
                name = real_name(entry['name'])
                if name is not None:
                    yield ListedMarker(name, entry['last_modified'])
            query['marker'] = entries[-1]['name']


class DeletedVersion(NamedTuple):
    name: str
    time: Timestamp


class DeletedVersions:
    """Delete markers out of the hidden container of a versioned container's versions: they count as tombstones."""

    def __init__(self, page: HiddenPage) -> None:
        self._page = page

    def pages(self, *, prefix: str, marker: str, end_marker: str, reverse: bool) -> Iterator[DeletedVersion]:
        """Every name once: with the time of the delete marker that is its newest version, or with zero."""
        found = self._versions(prefix, marker, end_marker, reverse)
        for name, versions in groupby(found, key=lambda found: found[0]):
            _, version, content_type = list(versions)[-1 if reverse else 0]
            yield DeletedVersion(name, Timestamp(version) if content_type == DELETE_MARKER_CONTENT_TYPE else ZERO)

    def _versions(self, prefix: str, marker: str, end_marker: str, reverse: bool) -> Iterator[tuple[str, str, str]]:
        """Name, version and content type. Versions of a name stand behind it, the newest first."""
        bounds = _hidden_bounds(end_marker, marker)[::-1] if reverse else _hidden_bounds(marker, end_marker)
        query = {'format': 'json', 'limit': str(PAGE_NAMES), 'prefix': '\0' + prefix}
        query |= {key: value for key, value in zip(('marker', 'end_marker'), bounds, strict=True) if value}
        query |= {'reverse': 'true'} if reverse else {}
        while entries := self._page(query):
            for entry in entries:
                name, version = parse_versions_object_name(entry['name'])
                if version is not None:
                    yield name, version, entry['content_type']
            query['marker'] = entries[-1]['name']


def _hidden_bounds(lower: str, upper: str) -> tuple[str, str]:
    return f'\0{lower}\0:' if lower else '', f'\0{upper}' if upper else ''  # a colon sorts behind all versions


def both(one: Pages, other: Pages) -> Pages:
    """The markers of two places as one stream: of each name the newest."""
    def pages(*, prefix: str, marker: str, end_marker: str, reverse: bool) -> Iterator[Marker]:
        streams: list[Iterator[Any]] = [
            part(prefix=prefix, marker=marker, end_marker=end_marker, reverse=reverse) for part in (one, other)]
        merged = heapq.merge(*streams, key=attrgetter('name'), reverse=reverse)
        for _, markers in groupby(merged, key=attrgetter('name')):
            yield max(markers, key=attrgetter('time'))
    return pages
