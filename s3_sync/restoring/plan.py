"""What has to be written so that a remote version is here again: pure, decided before the first byte is read.

A plain object becomes one PUT. A large one whose segments are whole ordinary
objects comes back under their names, with its manifest; of any other the
remote has just the logical bytes, which become a plain object or, where that
would be too large, an SLO of segments of our own. Everything carries the
source's time with our marker, so that it is newer than our own delete and older
than anything a user did since (semantics 3).
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from swift.common.utils import Timestamp

from s3_sync.errors import Error
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.manifest import logical_size, put_manifest, slo_etag
from s3_sync.large_objects.model import Layout, Segment
from s3_sync.local.versions import RESTORED_FROM_HEADER, RESTORED_HEADER, SOURCE_TIME_HEADER
from s3_sync.restoring.names import (
    LISTED_ETAG_HEADER,
    MIGRATOR_TAG,
    REMOTE_ETAG_TAG,
    S3_ETAG_HEADER,
    segment_name,
    segments_container,
)
from s3_sync.restoring.proof import Proof, parts_proof
from s3_sync.timestamps import MARKER, RowTimes, marked, parse_timestamp, without_marker
from s3_sync.types import ObjectMeta
from s3_sync.wire.s3_headers import is_multipart
from s3_sync.wire.swift_headers import LARGE_KEYS, OWN_KEYS, headers_for_put

BodyKind = Literal['bytes', 'slo', 'dlo']
MEBIBYTE = 1024 ** 2
DEFAULT_TYPE = 'application/octet-stream'


class Unrestorable(Error):
    """This version cannot, or must not, be brought back; ``reason`` is a short stable word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """What this cluster takes."""

    max_file_size: int
    """Bytes of one object: ``EFFECTIVE_CONSTRAINTS['max_file_size']``."""
    segment_bytes: int
    """Wished for where we cut ourselves; at most ``max_file_size``."""
    max_segments: int = 1000
    """``max_manifest_segments`` of slo."""
    max_manifest_bytes: int = 8 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class SegmentWrite:
    """One object that has to be there before the manifest."""

    container: str
    name: str
    first: int
    """Where its bytes begin in the object's logical bytes."""
    length: int
    md5: str
    """Hex; '' when it is not known beforehand."""
    stamp: Timestamp
    headers: Mapping[str, str]
    """Without X-Timestamp: it may have to be later than ``stamp``."""
    own: bool
    """Made by us, nobody else's: written even when one is there. Another one stays when it has this MD5."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """``segments`` first, in order, then the object itself."""

    container: str
    name: str
    kind: BodyKind
    """What the object's own PUT carries: all bytes, an SLO manifest of the segments, or (DLO) nothing."""
    times: RowTimes
    """The remote version's, without our marker."""
    stamp: Timestamp
    """X-Timestamp of the object's PUT."""
    headers: Mapping[str, str]
    """Of the object's PUT, lower-case names, Unicode values; without X-Timestamp and Content-Length."""
    proof: Proof
    """Of all logical bytes. With segments that may be left out only the segments' MD5s count."""
    segments: tuple[SegmentWrite, ...] = ()
    manifest: tuple[Segment, ...] = ()
    """Of an SLO: its entries. Those of our own segments get their ETags when they are written."""

    @property
    def size(self) -> int:
        """Logical bytes."""
        return self.proof.size

    @property
    def sequential(self) -> bool:
        """All bytes have to be read; otherwise those of segments that are here need not be."""
        return all(segment.own for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the version comes from, as far as the local copy tells it."""

    generation: str
    """``Mapping.generation``."""
    migration: bool = False


def plan_restore(meta: ObjectMeta, container: str, layout: Layout | None, limits: Limits, origin: Origin, *,
                 now: float, tombstone: Timestamp | None = None, part_bytes: int | None = None) -> RestorePlan:
    """How to bring the remote version ``meta`` back as ``container/meta.name``.

    ``layout``: what it consists of, in local names, when that is known.
    ``now``: Unix seconds. ``tombstone``: X-Backend-Timestamp of the local 404, if
    it told one. ``part_bytes``: bytes of all parts but the last of a multipart
    upload, when the store tells. Raises Unrestorable.
    """
    meta = _checked(meta, now)
    times = source_times(meta)
    stamp = _stamp(times, now)
    if tombstone is not None and tombstone.normal == stamp.normal:
        stamp = beating(stamp, tombstone, now)
    planner = _Planner(meta, container, limits, origin, times, stamp, now)
    if layout is not None:
        plan = planner.by_layout(layout)
        if plan is not None:
            return plan
    return planner.by_bytes(part_bytes)


def source_times(meta: ObjectMeta) -> RowTimes:
    """The times of a remote version, without our marker. Unrestorable when it tells none.

    Those that travel with a copy; otherwise when the store says it was written:
    a Swift in full (X-Timestamp), others to the second.
    """
    data = meta.data_time
    if data is None:
        data = parse_timestamp(meta.sysmeta.get('x-timestamp'))
    if data is None and meta.last_modified is not None:
        data = Timestamp(meta.last_modified)
    if data is None:
        raise Unrestorable(f'{meta.name!r}: the remote tells no time', 'no-time')
    data = without_marker(data)
    later = without_marker(meta.meta_time) if meta.meta_time is not None else data
    return RowTimes(data, data, max(data, later))


def beating(stamp: Timestamp, tombstone: Timestamp, now: float) -> Timestamp:
    """A time of ours that is later than both, the user's part of it not later than theirs."""
    return marked(RowTimes(stamp, stamp, tombstone), now)


def _stamp(times: RowTimes, now: float) -> Timestamp:
    """Never later than now: nobody could overwrite or delete what is dated in the future (semantics 3.3)."""
    if float(times.newest) <= now:
        return marked(times, now)
    return Timestamp(now, offset=MARKER << 32 | int(now))


def _checked(meta: ObjectMeta, now: float) -> ObjectMeta:
    """``meta`` with only the source's own metadata. Unrestorable for what Swift would not take, or drop at once."""
    if meta.delete_at is not None and meta.delete_at <= now:
        raise Unrestorable(f'{meta.name!r} expired', 'expired')
    hidden = {*OWN_KEYS, *LARGE_KEYS}
    user = {k: v for k, v in meta.user_metadata.items() if v and k not in hidden}
    for key, value in (*user.items(), *meta.headers.items(), ('content-type', meta.content_type)):
        if any(character in '\r\n\0' for character in key + value):
            raise Unrestorable(f'{meta.name!r}: {key!r} cannot be a header', 'metadata')
    return replace(meta, user_metadata=user, content_type=meta.content_type or DEFAULT_TYPE)


class _Planner:
    """For one version."""

    def __init__(self, meta: ObjectMeta, container: str, limits: Limits, origin: Origin, times: RowTimes,
                 stamp: Timestamp, now: float) -> None:
        self._meta = meta
        self._container = container
        self._limits = limits
        self._origin = origin
        self._times = times
        self._stamp = stamp
        self._now = now

    # -- kinds ---------------------------------------------------------------------------

    def by_layout(self, layout: Layout) -> RestorePlan | None:
        """The segments under their own names; None when that would not give this object."""
        segments = layout.segments
        if not self._fits(layout) or not self._named_once(segments):
            return None
        headers = self._object_headers()
        if layout.kind == 'dlo':
            headers['x-object-manifest'] = quote(layout.prefix)
            return self._plan('dlo', headers, Proof(layout.size), self._own_names(segments))
        known = all(segment.etag for segment in segments)
        if known:
            etag = slo_etag(segments)
            if layout.etag and layout.etag != etag:
                return None
            headers['etag'] = etag
            if is_multipart(self._meta.etag) and self._meta.etag == _s3_etag(segments):
                headers.update(_s3_headers(self._meta.etag, ''))
        return self._plan('slo', headers, Proof(layout.size), self._own_names(segments), segments)

    def by_bytes(self, part_bytes: int | None) -> RestorePlan:
        """Just the logical bytes, in one object or in segments of our own."""
        meta = self._meta
        if meta.large_object == 'dlo' and not meta.size and 'content-length' not in meta.sysmeta:
            # A Swift does not tell the length of a DLO with many segments.
            raise Unrestorable(f'{meta.name!r}: its size is not known', 'size-unknown')
        proof = self._proof(part_bytes)
        headers = self._object_headers()
        s3_etag = meta.etag if meta.large_object == 'multipart' and is_multipart(meta.etag) else ''
        if meta.size <= self._limits.max_file_size:
            if proof.md5:
                headers['etag'] = proof.md5
            return self._plan('bytes', headers | _s3_headers(s3_etag, proof.md5 or None), proof)
        if self._origin.migration:
            headers[REMOTE_ETAG_TAG] = meta.etag
        writes = self._cut()
        manifest = tuple(Segment(w.container, w.name, '', w.length, 0, w.length) for w in writes)
        return self._plan('slo', headers | _s3_headers(s3_etag, ''), proof, writes, manifest)

    def _plan(self, kind: BodyKind, headers: Mapping[str, str], proof: Proof, writes: tuple[SegmentWrite, ...] = (),
              manifest: tuple[Segment, ...] = ()) -> RestorePlan:
        return RestorePlan(self._container, self._meta.name, kind, self._times, self._stamp, headers, proof, writes,
                           manifest)

    # -- segments of the source ----------------------------------------------------------

    def _fits(self, layout: Layout) -> bool:
        segments, limits = layout.segments, self._limits
        if not segments or layout.size != logical_size(segments):
            return False
        if layout.kind == 'dlo':
            # The listing behind it may have changed since: only all of it is this version.
            return bool(layout.prefix) and (layout.size == self._meta.size or not self._meta.size)
        return (layout.kind == 'slo' and layout.size == self._meta.size and len(segments) <= limits.max_segments
                and all(segment.length for segment in segments[:-1])
                and len(put_manifest(segments)) <= limits.max_manifest_bytes)

    def _named_once(self, segments: tuple[Segment, ...]) -> bool:
        """Whether all are whole ordinary objects of users, each name standing for one content."""
        found: dict[tuple[str, str], Segment] = {}
        for segment in segments:
            place = (segment.container, segment.name)
            if (segment.data is not None or segment.ranged or segment.sub_slo or segment.children is not None
                    or not all(place) or '\0' in segment.path or segment.size > self._limits.max_file_size
                    or place == (self._container, self._meta.name) or found.setdefault(place, segment) != segment):
                return False
        return True

    def _own_names(self, segments: tuple[Segment, ...]) -> tuple[SegmentWrite, ...]:
        headers = self._segment_headers()
        if self._origin.migration:
            headers[MIGRATOR_TAG] = self._times.data.internal
        writes: dict[tuple[str, str], SegmentWrite] = {}
        at = 0
        for segment in segments:
            write = SegmentWrite(segment.container, segment.name, at, segment.length, segment.etag,
                                 self._segment_stamp(), headers, own=False)
            writes.setdefault((segment.container, segment.name), write)
            at += segment.length
        return tuple(writes.values())

    # -- segments of ours ----------------------------------------------------------------

    def _cut(self) -> tuple[SegmentWrite, ...]:
        size, limits = self._meta.size, self._limits
        each = max(1, min(limits.segment_bytes, limits.max_file_size))
        if size > each * limits.max_segments:
            # Whole MiB, as long as that is not too much.
            each = -(-size // limits.max_segments)
            each = min(-(-each // MEBIBYTE) * MEBIBYTE, limits.max_file_size)
        if size > each * limits.max_segments:
            raise Unrestorable(f'{self._meta.name!r}: {size} bytes are more than an SLO can have here', 'too-large')
        container, headers = segments_container(self._container), self._segment_headers()
        if self._meta.delete_at is not None:
            headers['x-delete-at'] = str(self._meta.delete_at)
        return tuple(
            SegmentWrite(container, segment_name(self._meta.name, self._times.data, size, each, index), first,
                         min(each, size - first), '', self._segment_stamp(), headers, own=True)
            for index, first in enumerate(range(0, size, each)))

    # -- what is common ------------------------------------------------------------------

    def _segment_stamp(self) -> Timestamp:
        """By the data's time: a POST of the object says nothing of what lay under its segments' names since."""
        data = self._times.data
        return _stamp(RowTimes(data, data, data), self._now)

    def _segment_headers(self) -> dict[str, str]:
        return {'content-type': DEFAULT_TYPE, **self._marks(self._segment_stamp())}

    def _object_headers(self) -> dict[str, str]:
        headers = {**headers_for_put(self._meta, provenance=False), **self._marks(self._stamp)}
        if self._origin.migration:
            headers[MIGRATOR_TAG] = self._times.newest.internal
        return headers

    def _marks(self, stamp: Timestamp) -> dict[str, str]:
        """By these the row is known as ours, and the version by its source's time."""
        marks = {RESTORED_HEADER: Timestamp(self._now).internal, RESTORED_FROM_HEADER: self._origin.generation}
        if stamp.normal != self._times.data.normal:
            marks[SOURCE_TIME_HEADER] = self._times.data.internal
        return marks

    def _proof(self, part_bytes: int | None) -> Proof:
        meta = self._meta
        if meta.large_object is None and meta.content_md5:
            return Proof(meta.size, md5=meta.content_md5)
        if meta.large_object == 'multipart' and meta.source_etag:
            return Proof(meta.size, md5=meta.source_etag)
        if meta.large_object is not None and meta.etag_is_md5 and meta.etag and not is_multipart(meta.etag):
            return Proof(meta.size, md5=meta.etag)  # a store that took all bytes in one PUT
        if meta.large_object is not None and is_multipart(meta.etag):
            return parts_proof(meta.size, meta.etag, part_bytes)
        return Proof(meta.size)


def _s3_etag(segments: tuple[Segment, ...]) -> str:
    """What s3api gave a multipart upload with these parts."""
    try:
        return multipart_etag([segment.etag for segment in segments])
    except ValueError:
        return ''


def _s3_headers(s3_etag: str, listed: str | None) -> dict[str, str]:
    """S3 clients keep seeing this ETag ('': there is none to keep).

    ``listed``: what the listing has for other clients; '' for an SLO, whose
    middleware fills it in; None: not known beforehand.
    """
    if not s3_etag:
        return {}
    shown = {S3_ETAG_HEADER: s3_etag}
    return shown if listed is None else {**shown, LISTED_ETAG_HEADER: f'{listed}; s3_etag={s3_etag}'}
