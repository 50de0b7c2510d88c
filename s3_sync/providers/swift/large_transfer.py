"""Bringing the segments of one large object to a Swift target: what is there already stays, the rest is sent.

A segment has its place by its name. Where another content has that place,
a manifest that is visible may need it; the segment then goes to a place made
from its own content, so that the old version stays whole until the new one is
visible. Segments that other manifests sent are shared: they are marked as
such before our manifest refers to them.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s3_sync.errors import PreconditionFailed
from s3_sync.large_objects.bodies import PartReader
from s3_sync.large_objects.manifest import put_manifest
from s3_sync.large_objects.model import LargeSource, Piece, Segment
from s3_sync.large_objects.parts import Part, sequences
from s3_sync.providers.swift.at_once import at_once
from s3_sync.providers.swift.large_claims import Claims
from s3_sync.providers.swift.places import Place, Places
from s3_sync.providers.swift.segments import SegmentStore, Stored
from s3_sync.streams import Body, BytesBody
from s3_sync.types import ABSENT, Condition, ObjectMeta

NO_CONDITION = Condition()

CopyHeaders = Callable[[ObjectMeta, int | None], dict[str, str]]
"""Request headers of the copy of a local object that has to stay until then (Unix seconds, None for ever)."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Of one version of one large object."""

    large: LargeSource
    claims: Claims
    copy_headers: CopyHeaders | None = None
    """Given where segments have rows of their own: whoever comes first, or last, sends the same."""

    @property
    def store(self) -> SegmentStore:
        return self.claims.store

    @property
    def places(self) -> Places:
        return self.claims.places

    # -- SLO, segment for segment -------------------------------------------------------------

    def segments(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same manifest with the names that its objects have at the remote, where all of them are now."""
        leaves: dict[tuple[str, str], Segment] = {}
        _gather(segments, leaves)
        at = dict(zip(leaves, at_once(self.leaf, leaves.values()), strict=True))
        return self._renamed(segments, at)

    def leaf(self, segment: Segment) -> Segment:
        """An ordinary object that manifests name, whole."""
        own = self.places.segment(segment.container, segment.name)

        def fits(stored: Stored) -> bool:
            return _is(stored, segment.etag, segment.size)

        def body() -> Body:
            return self.open(segment)
        place, etag = self._bring(self._choices(own, segment.etag), segment.etag, body, fits,
                                  lambda: self._object_headers(segment))
        return Segment(*place, etag, segment.size, 0, segment.size)

    def open(self, segment: Segment) -> Body:
        """The whole object behind a segment."""
        if not segment.size:
            return BytesBody(b'')
        return self.large.open(Piece(segment.container, segment.name, segment.etag, segment.size, 0, segment.size))

    def _renamed(self, segments: Sequence[Segment], at: dict[tuple[str, str], Segment]) -> tuple[Segment, ...]:
        renamed = []
        for segment in segments:
            if segment.data is not None:
                renamed.append(segment)
                continue
            path = segment.container, segment.name
            if path not in at:
                assert segment.children is not None  # ordinary objects are there by now
                at[path] = self._child(segment, self._renamed(segment.children, at))
            there = at[path]
            renamed.append(replace(segment, container=there.container, name=there.name, etag=there.etag, children=None))
        return tuple(renamed)

    def _child(self, segment: Segment, segments: tuple[Segment, ...]) -> Segment:
        """A manifest inside the manifest. One that names other places is another one, whatever its ETag."""
        own = self.places.segment(segment.container, segment.name)
        content = hashlib.md5(put_manifest(segments), usedforsecurity=False).hexdigest()
        choices = self._choices(own, content)
        for place in choices:
            stored = self.store.head(place)
            if stored is None:
                try:
                    return self._put_child(place, segment, segments, ABSENT)
                except PreconditionFailed:
                    stored = self.store.head(place)
            if stored is not None and stored.is_slo and stored.size == segment.size and _names(
                    self.store.manifest(place) or ()) == _names(segments):
                self.claims.take(place, stored)
                return replace(segment, container=place.container, name=place.name, etag=stored.etag)
        return self._put_child(choices[-1], segment, segments, NO_CONDITION)

    def _put_child(self, place: Place, segment: Segment, segments: tuple[Segment, ...],
                   condition: Condition) -> Segment:
        etag = self.store.put_slo(place, segments, self._object_headers(segment), condition)
        self.claims.used[place] = etag
        return replace(segment, container=place.container, name=place.name, etag=etag)

    # -- SLO of pieces cut or joined ----------------------------------------------------------

    def parts(self, parts: Sequence[Part], key: str, timestamp: str) -> tuple[Segment, ...]:
        """A manifest of these parts; one that is just a segment is the segment, the others are objects of ``key``."""
        limits = self.store.limits()

        def bring(sequence: tuple[Part, ...]) -> list[Segment]:
            if len(sequence) == 1 and (leaf := self._as_leaf(sequence[0])) is not None:
                return [self.leaf(leaf)]
            return self._sequence(sequence, [self.places.joined(key, timestamp, part.number - 1, limits)
                                             for part in sequence])
        return tuple(segment for found in at_once(bring, sequences(parts)) for segment in found)

    def _as_leaf(self, part: Part) -> Segment | None:
        piece = part.runs[0].piece
        if self.large.layout.kind == 'plain' or not part.md5 or piece.data is not None:
            return None
        return Segment(piece.container, piece.name, piece.etag, piece.size, 0, piece.size)

    def _sequence(self, sequence: tuple[Part, ...], own: Sequence[Place]) -> list[Segment]:
        """Parts that one reader must read in order. When all of them are there nothing is read at all."""
        there = [self._part_there(part, place) for part, place in zip(sequence, own, strict=True)]
        if all(found is not None for found in there):
            return [self._reused(part, *found) for part, found in zip(sequence, there, strict=True) if found]
        reader = PartReader(self.large, sequence)
        found = []
        for part, place in zip(sequence, own, strict=True):
            found.append(self._part(part, place, reader, follows=len(sequence) > 1))
        return found

    def _part_there(self, part: Part, own: Place) -> tuple[Place, Stored] | None:
        for place in self._choices(own, combined_etag(part)):
            stored = self.store.head(place)
            if stored is not None and stored.size == part.size and stored.combined == combined_etag(part):
                return place, stored
        return None

    def _reused(self, part: Part, place: Place, stored: Stored) -> Segment:
        self.claims.take(place, stored)
        return Segment(*place, stored.etag, part.size, 0, part.size)

    def _part(self, part: Part, own: Place, reader: PartReader, *, follows: bool) -> Segment:
        """``follows``: other parts of the sequence depend on this one having been read."""
        combined = combined_etag(part)
        read = ''

        def fits(stored: Stored) -> bool:
            nonlocal read
            if stored.size != part.size or stored.combined != combined:
                return False
            if follows:
                read = read or reader.skip(part)
                return read == stored.etag
            return True
        place, etag = self._bring(self._choices(own, combined), '', lambda: reader.body(part), fits,
                                  lambda: self._label(combined))
        return Segment(*place, etag, part.size, 0, part.size)

    # -- one object ---------------------------------------------------------------------------

    def _choices(self, own: Place, content: str) -> tuple[Place, ...]:
        """Where to look and put, in order; the last place belongs to just this content."""
        if self.places.kept_names or not content:
            return (own,)
        return own, self.places.version(own, content, self.store.limits())

    def _bring(self, choices: Sequence[Place], etag: str, body: Callable[[], Body], fits: Callable[[Stored], bool],
               headers: Callable[[], dict[str, str]]) -> tuple[Place, str]:
        """Have the content at one of these places; the place and its ETag."""
        for place in choices:
            stored = self.store.head(place)
            if stored is None:
                try:
                    return place, self._put(place, body, etag, headers())
                except PreconditionFailed:
                    stored = self.store.head(place)
            if stored is not None and fits(stored):
                self.claims.take(place, stored)
                return place, stored.etag
        return choices[-1], self._put(choices[-1], body, etag, headers(), absent=False)

    def put(self, place: Place, segment: Segment, *, absent: bool = True) -> str:
        """Send an ordinary object, whole; its ETag."""
        return self._put(place, lambda: self.open(segment), segment.etag, self._object_headers(segment), absent=absent)

    def _object_headers(self, segment: Segment) -> dict[str, str]:
        if self.copy_headers is None:
            return self._label()
        meta = self.large.meta(segment)
        return self.copy_headers(replace(meta, source_etag=segment.etag) if segment.sub_slo else meta, self.claims.end)

    def _label(self, combined: str = '') -> dict[str, str]:
        return self.claims.label(combined).headers(self.store.clock.now())

    def _put(self, place: Place, opening: Callable[[], Body], etag: str, headers: Mapping[str, str], *,
             absent: bool = True) -> str:
        body = opening()
        try:
            self.store.limits().check(place.name, body.size)
            stored = self.store.put(place, body, etag, headers, absent=absent)
        finally:
            body.close()
        self.claims.used[place] = stored
        return stored


def combined_etag(part: Part) -> str:
    """What a joined object is made of: the MD5 of the concatenated ETags of its sources, in order."""
    digest = hashlib.md5(usedforsecurity=False)
    for run in part.runs:
        piece, first = run.piece, run.piece.first + run.first
        text = piece.etag
        if (first, run.length) != (0, piece.size):
            text += f':{first}-{first + run.length - 1};'
        digest.update(text.encode())
    return digest.hexdigest()


def _gather(segments: Sequence[Segment], leaves: dict[tuple[str, str], Segment]) -> None:
    for segment in segments:
        if segment.children is not None:
            _gather(segment.children, leaves)
        elif segment.data is None:
            leaves[segment.container, segment.name] = segment


def _names(segments: Sequence[Segment]) -> list[tuple[object, ...]]:
    return [(s.container, s.name, s.etag, s.first, s.length, s.data) for s in segments]


def _is(stored: Stored, etag: str, size: int) -> bool:
    """Whether it is the ordinary object that a manifest means."""
    return bool(etag) and (stored.etag, stored.size) == (etag, size) and not stored.is_slo and stored.dlo is None
