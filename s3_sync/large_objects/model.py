"""Large objects as values: manifests, the pieces they resolve to, and a local one that can be read.

A *segment* is an entry of a manifest. A *piece* is what the segments come to
once sub-manifests are followed and ranges are cut: a run of bytes of one
ordinary object, or bytes that stand in the manifest itself.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from s3_sync.streams import Body
from s3_sync.types import ObjectMeta

Kind = Literal['slo', 'dlo', 'plain']
"""``plain``: one ordinary object that is too large for a single PUT at the target."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of a manifest, as stored."""

    container: str = ''
    name: str = ''
    etag: str = ''
    """Hex MD5 of the object named; of a sub-SLO its SLO ETag. '' when the manifest does not tell."""
    size: int = 0
    """Bytes of the whole object named (of inline data: of the data)."""
    first: int = 0
    length: int = 0
    """The run of bytes that counts; the whole object unless the entry has a range."""
    data: bytes | None = None
    """Inline data; then there is no container and name."""
    children: tuple[Segment, ...] | None = None
    """Segments of a sub-SLO once it was read; None for an ordinary object."""
    sub_slo: bool = False

    @property
    def ranged(self) -> bool:
        return self.data is None and (self.first, self.length) != (0, self.size)

    @property
    def path(self) -> str:
        return f'/{self.container}/{self.name}'


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes of one ordinary local object, or inline data. ``length`` is never 0."""

    container: str
    name: str
    etag: str
    """Hex MD5 of the whole object; '' when not known beforehand."""
    size: int
    """Bytes of the whole object."""
    first: int
    length: int
    data: bytes | None = None

    @property
    def whole(self) -> bool:
        return (self.first, self.length) == (0, self.size)

    @property
    def md5(self) -> str:
        """Hex MD5 of just this run of bytes where it is known without reading, else ''."""
        return self.etag if self.whole else ''


@dataclass(frozen=True, slots=True)
class Layout:
    """What one version of a large object consists of."""

    kind: Kind
    segments: tuple[Segment, ...]
    pieces: tuple[Piece, ...]
    etag: str
    """What tells this version's content: the SLO ETag (hex, no quotes), the DLO digest, or the MD5 of a plain one."""
    size: int
    manifest: bytes = b''
    """The stored SLO manifest, byte for byte; for a DLO one in the same form made from its listing. Empty for plain."""
    prefix: str = ''
    """Of a DLO: ``container/prefix`` of its segments, decoded."""

    def objects(self) -> Iterator[Segment]:
        """Every object that the manifest names, sub-manifests and what they name included."""
        yield from _named(self.segments)


def _named(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    for segment in segments:
        if segment.data is None:
            yield segment
        if segment.children:
            yield from _named(segment.children)


class LargeSource(Protocol):
    """A local large object that can be read. Several pieces may be open at once, in different green threads."""

    layout: Layout

    def open(self, piece: Piece) -> Body:
        """The piece's bytes. The whole object behind it is checked against its MD5 before the last chunk is given.

        Raises (also while reading) SourceUnavailable, SourceStale, and SegmentChanged
        when the object there now is another one than the manifest names.
        """

    def open_run(self, piece: Piece, first: int, length: int) -> Body:
        """``length`` bytes from ``first``, counted from the beginning of the piece. Not checked: the caller hashes.

        Same errors as ``open`` for what can be told before reading.
        """

    def meta(self, segment: Segment) -> ObjectMeta:
        """Times and metadata of the object that the manifest names; of a sub-SLO those of its manifest.

        Same errors as ``open`` for what can be told before reading.
        """
