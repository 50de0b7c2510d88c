"""Large objects whose segments are in memory, and a local side that can go wrong while it is read."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from swift.common.utils import Timestamp

from s3_sync.errors import SegmentChanged
from s3_sync.large_objects.dlo import dlo_digest
from s3_sync.large_objects.manifest import flatten, logical_size, slo_etag, stored_manifest
from s3_sync.large_objects.model import Kind, Layout, Piece, Segment
from s3_sync.streams import Body, StreamBody
from s3_sync.types import ObjectMeta

Name = tuple[str, str]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class MemoryLargeSource:
    """A large object over ``objects``: container and name to bytes.

    ``segments`` have their children filled in. Objects may be changed, removed
    or broken at any time; what is read afterwards goes wrong like it would locally.
    """

    def __init__(self, objects: Mapping[Name, bytes], segments: Sequence[Segment], *, kind: Kind = 'slo',
                 prefix: str = '', chunk_bytes: int = 64 * 1024) -> None:
        self.objects = dict(objects)
        segments = tuple(segments)
        self.layout = Layout(
            kind=kind, segments=segments, pieces=flatten(segments), etag=_etag(kind, segments),
            size=logical_size(segments), manifest=b'' if kind == 'plain' else stored_manifest(segments), prefix=prefix)
        self.broken: dict[Name, tuple[int, Exception]] = {}
        """What reading an object raises, and after how many of its bytes."""
        self.opened: list[Piece] = []
        """Every reading that has begun, whole or in runs."""
        self.reading = 0
        """Readings that are not closed now."""
        self.most_reading = 0
        self._chunk_bytes = chunk_bytes

    @property
    def data(self) -> bytes:
        """The whole object's bytes as its layout names them."""
        return b''.join(self._bytes(piece)[piece.first:piece.first + piece.length] for piece in self.layout.pieces)

    def open(self, piece: Piece) -> Body:
        return StreamBody(lambda: self._chunks(piece, 0, piece.length, checked=True), piece.length)

    def open_run(self, piece: Piece, first: int, length: int) -> Body:
        return StreamBody(lambda: self._chunks(piece, first, length, checked=False), length)

    def meta(self, segment: Segment) -> ObjectMeta:
        if (segment.container, segment.name) not in self.objects and not segment.sub_slo:
            raise SegmentChanged(f'{segment.path} is gone')
        return ObjectMeta(segment.name, segment.size, segment.etag, 'application/octet-stream',
                          data_time=Timestamp(1_700_000_000))

    def _bytes(self, piece: Piece) -> bytes:
        return self.objects[piece.container, piece.name] if piece.data is None else piece.data

    def _chunks(self, piece: Piece, first: int, length: int, *, checked: bool) -> Iterator[bytes]:
        self.opened.append(piece)
        if piece.data is None and (piece.container, piece.name) not in self.objects:
            raise SegmentChanged(f'/{piece.container}/{piece.name} is gone')
        data = self._bytes(piece)
        # A range read cannot tell another object of the same size.
        if len(data) != piece.size or (checked and piece.etag and md5(data) != piece.etag):
            raise SegmentChanged(f'/{piece.container}/{piece.name} is another object than the manifest names')
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            yield from self._read(piece, data, piece.first + first, length)
        finally:
            self.reading -= 1

    def _read(self, piece: Piece, data: bytes, first: int, length: int) -> Iterator[bytes]:
        fails_at, error = self.broken.get((piece.container, piece.name), (len(data) + 1, None))
        for at in range(first, first + length, self._chunk_bytes):
            end = min(at + self._chunk_bytes, first + length)
            if error is not None and end > fails_at:
                if at < fails_at:
                    yield data[at:fails_at]
                raise error
            yield data[at:end]


def segment(objects: Mapping[Name, bytes], container: str, name: str, first: int = 0,
            length: int | None = None) -> Segment:
    """The manifest entry for an object of ``objects``, or for a range of it."""
    data = objects[container, name]
    return Segment(container, name, md5(data), len(data), first, len(data) - first if length is None else length)


def inline(data: bytes) -> Segment:
    return Segment(etag=md5(data), size=len(data), length=len(data), data=data)


def sub_slo(container: str, name: str, children: Sequence[Segment], first: int = 0,
            length: int | None = None) -> Segment:
    """The entry for another SLO, or for a range of it."""
    size = logical_size(children)
    return Segment(container, name, slo_etag(children), size, first, size - first if length is None else length,
                   children=tuple(children), sub_slo=True)


def _etag(kind: Kind, segments: tuple[Segment, ...]) -> str:
    if kind == 'plain':
        return segments[0].etag
    return dlo_digest(segments) if kind == 'dlo' else slo_etag(segments)
