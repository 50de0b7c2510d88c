"""Local large objects: manifests resolved to ordinary objects, and those read piece by piece.

Sub-manifests are read when the object is resolved, and have to be the ones
that their parents name. Segments are looked at when they are opened: what a
manifest says of them is enough to plan with.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from s3_sync.errors import SegmentChanged, SourceUnusable
from s3_sync.large_objects.dlo import dlo_digest, dlo_prefix, dlo_segments
from s3_sync.large_objects.manifest import (
    MAX_DEPTH,
    ManifestError,
    flatten,
    logical_size,
    parse_manifest,
    slo_etag,
    stored_manifest,
)
from s3_sync.large_objects.model import Layout, Piece, Segment
from s3_sync.local.containers import Containers
from s3_sync.local.segments import SegmentReader
from s3_sync.local.source import SourceObject
from s3_sync.local.wanted import Wanted, object_wanted
from s3_sync.streams import Body, BytesBody
from s3_sync.types import ListingEntry, ObjectMeta, ObjectRow

MANIFEST_BYTES = 32 * 1024 * 1024
"""Stored manifests are somewhat larger than what clients may send (8 MiB unless configured otherwise)."""
MAX_PIECES = 200_000
"""Pieces that an object may come to; a few small manifests can name each other into any number."""

Path = tuple[str, str]
"""Container and object."""


class LargeReader:
    """Makes ``LargeSource``s of what a source has opened. Green-thread safe, kept by the source."""

    def __init__(self, segments: SegmentReader, containers: Containers) -> None:
        self._segments = segments
        self._containers = containers

    def without_disk(self) -> LargeReader:
        return LargeReader(self._segments.without_disk(), self._containers)

    def large(self, row: ObjectRow, opened: SourceObject) -> LocalLargeSource:
        """See ``Source.large``."""
        try:
            if opened.meta.large_object == 'slo':
                return self._static(row, opened)
            if opened.meta.large_object == 'dlo':
                return self._dynamic(row, opened)
        except ManifestError as error:
            raise SourceUnusable(f'{row.path}: {error}', reason='invalid-manifest') from error
        return self._plain(row, opened)

    # -- kinds ---------------------------------------------------------------------------

    def _static(self, row: ObjectRow, opened: SourceObject) -> LocalLargeSource:
        if opened.meta.size > MANIFEST_BYTES:
            raise ManifestError(f'the manifest has {opened.meta.size} bytes')
        manifest = b''.join(opened.body)
        segments = _Resolver(self, row.account).filled(parse_manifest(manifest), (row.container, row.name))
        _check_count(segments)
        layout = Layout('slo', segments, flatten(segments), slo_etag(segments), logical_size(segments), manifest)
        return LocalLargeSource(self, row.account, layout)

    def _dynamic(self, row: ObjectRow, opened: SourceObject) -> LocalLargeSource:
        header = opened.meta.sysmeta['x-object-manifest']
        resolver = _Resolver(self, row.account)
        segments = resolver.listed(header, (row.container, row.name))
        _check_count(segments)
        layout = Layout('dlo', segments, flatten(segments), dlo_digest(segments), logical_size(segments),
                        stored_manifest(segments), prefix='/'.join(dlo_prefix(header)))
        return LocalLargeSource(self, row.account, layout, lambda: dlo_digest(resolver.entries(header)))

    def _plain(self, row: ObjectRow, opened: SourceObject) -> LocalLargeSource:
        meta = opened.meta
        segment = Segment(row.container, row.name, meta.etag, meta.size, 0, meta.size)
        # Its own path, also when a link leads elsewhere from there; and its own policy, which no container can tell.
        layout = Layout('plain', (segment,), flatten((segment,)), meta.etag, meta.size)
        return LocalLargeSource(self, row.account, layout, policy_index=row.row.policy_index)

    # -- for one large object ------------------------------------------------------------

    def wanted(self, account: str, segment: Segment | Piece, policy_index: int | None = None) -> Wanted:
        """The object that an entry names, in its container's policy unless that is given."""
        if policy_index is None:
            policy_index = self._containers.policy_index(account, segment.container)
        sub_slo = isinstance(segment, Segment) and segment.sub_slo
        return object_wanted(account, segment.container, segment.name, policy_index, etag=segment.etag,
                             size=segment.size, sub_slo=sub_slo)

    def run(self, wanted: Wanted, first: int, length: int, *, checked: bool) -> Body:
        """A run of an object's bytes."""
        return (self._segments.checked if checked else self._segments.unchecked)(wanted, first, length)

    def meta(self, wanted: Wanted) -> ObjectMeta:
        """An object's metadata and times."""
        return self._segments.meta(wanted)

    def manifest(self, wanted: Wanted) -> tuple[Segment, ...]:
        """The segments of a sub-SLO. SegmentChanged when it is not the one that is wanted."""
        segments = parse_manifest(self._segments.read(wanted, MANIFEST_BYTES)[0])
        if slo_etag(segments) != wanted.etag:
            raise SegmentChanged(f'{wanted.row.path} is a manifest with ETag {slo_etag(segments)}, '
                                 f'expected {wanted.etag}')
        return segments

    def members(self, account: str, container: str, prefix: str) -> Iterator[tuple[Segment, bool]]:
        """What a prefix lists, as segments; whether each is an SLO."""
        for member in self._containers.members(account, container, prefix):
            entry = ListingEntry(member.name, member.size, member.slo_etag or member.etag)
            yield dlo_segments(container, [entry])[0], bool(member.slo_etag)


class _Resolver:
    """Fills in the children of one large object's segments. Each sub-manifest is read once."""

    def __init__(self, reader: LargeReader, account: str) -> None:
        self._reader = reader
        self._account = account
        self._read: dict[tuple[str, str], tuple[Segment, ...]] = {}
        self._entries = 0

    def filled(self, segments: tuple[Segment, ...], *path: Path) -> tuple[Segment, ...]:
        """The segments with sub-SLOs read, at any depth. ``path``: the manifests that led here."""
        return tuple(self._filled(segment, path) for segment in segments)

    def listed(self, header: str, *path: Path) -> tuple[Segment, ...]:
        """The segments of a DLO; SLOs among them come whole, other manifests as the objects they are."""
        return self.filled(self.entries(header), *path)

    def entries(self, header: str) -> tuple[Segment, ...]:
        """What the prefix lists now."""
        container, prefix = dlo_prefix(header)
        return tuple(replace(segment, sub_slo=is_slo)
                     for segment, is_slo in self._reader.members(self._account, container, prefix))

    def _filled(self, segment: Segment, path: tuple[Path, ...]) -> Segment:
        if not segment.sub_slo or not segment.length:
            return segment
        own = (segment.container, segment.name)
        if own in path:
            raise ManifestError(f'{segment.path} contains itself')
        if len(path) >= MAX_DEPTH:
            raise ManifestError(f'manifests lie more than {MAX_DEPTH} deep in one another')
        known = self._read.get((segment.path, segment.etag))
        if known is None:
            found = self._reader.manifest(self._reader.wanted(self._account, segment))
            self._entries += len(found)
            if self._entries > MAX_PIECES:  # more than may be kept in memory
                raise ManifestError(f'the sub-manifests have more than {MAX_PIECES} entries')
            known = self._read[segment.path, segment.etag] = self.filled(found, *path, own)
        if logical_size(known) != segment.size:
            raise SegmentChanged(f'{segment.path} comes to {logical_size(known)} bytes, expected {segment.size}')
        return replace(segment, children=known)


class LocalLargeSource:
    """One large object of this cluster; see ``LargeSource``."""

    def __init__(self, reader: LargeReader, account: str, layout: Layout,
                 digest_now: Callable[[], str] | None = None, *, policy_index: int | None = None) -> None:
        self.layout = layout
        self._reader = reader
        self._account = account
        self._digest_now = digest_now
        self._policy_index = policy_index

    def open(self, piece: Piece) -> Body:
        if piece.data is not None:
            return BytesBody(piece.data)
        body = self._run(piece, piece.first, piece.length, checked=True)
        if self._digest_now is not None and piece == self.layout.pieces[-1]:
            return _Confirmed(body, self._confirm)
        return body

    def open_run(self, piece: Piece, first: int, length: int) -> Body:
        if piece.data is not None:
            return BytesBody(piece.data[first:first + length])
        return self._run(piece, piece.first + first, length, checked=False)

    def meta(self, segment: Segment) -> ObjectMeta:
        return self._reader.meta(self._reader.wanted(self._account, segment))

    def _run(self, piece: Piece, first: int, length: int, *, checked: bool) -> Body:
        return self._reader.run(self._reader.wanted(self._account, piece, self._policy_index), first, length,
                                checked=checked)

    def _confirm(self) -> None:
        assert self._digest_now is not None
        if self._digest_now() != self.layout.etag:
            raise SegmentChanged(f'{self.layout.prefix}: what it lists changed while it was copied')


class _Confirmed:
    """A body whose last chunk comes only after one more look at something."""

    def __init__(self, body: Body, look: Callable[[], None]) -> None:
        self._body = body
        self._look = look
        self.size = body.size

    def __iter__(self) -> Iterator[bytes]:
        held = b''
        for chunk in self._body:
            if held:
                yield held
            held = chunk
        self._look()
        if held:
            yield held

    def rewind(self) -> None:
        self._body.rewind()

    def close(self) -> None:
        self._body.close()


def _check_count(segments: tuple[Segment, ...]) -> None:
    """ManifestError when the tree comes to too many pieces; counted without unfolding it."""
    counted: dict[int, int] = {}

    def count(level: tuple[Segment, ...]) -> int:
        if id(level) not in counted:
            counted[id(level)] = sum(1 if s.children is None else count(s.children) for s in level)
        return counted[id(level)]

    found = count(segments)
    if found > MAX_PIECES:
        raise ManifestError(f'the manifest comes to {found} pieces; at most {MAX_PIECES} are copied')
