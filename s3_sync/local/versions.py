"""One local version, whichever way it was read: the same metadata and times from disk, object server and proxy.

The three sources meet here, so that none of them can differ from the others
in what it calls a header, a time or an expired object (semantics 1.2, 4.5).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from swift.common.utils import Timestamp, clean_content_type, extract_swift_bytes

from s3_sync.errors import SourceError
from s3_sync.timestamps import ZERO, RowTimes, http_date, is_ours, parse_timestamp, without_marker
from s3_sync.types import ObjectMeta, ObjectRow
from s3_sync.wire.swift_headers import is_encrypted, meta_from_headers

SMALL_BYTES = 1024 * 1024
"""Objects up to this are read and checked whole when they are opened; larger ones stream."""

SYMLINK_HEADER = 'x-object-sysmeta-symlink-target'
VERSION_LINK_HEADER = 'x-object-sysmeta-versions-symlink'
"""Set on the links that a versioned container makes to its current versions."""
SOURCE_TIME_HEADER = 'x-object-sysmeta-1space-source-time'
"""The source's data time, where it could not be the object's own because it lay in the future (semantics 3.3)."""
RESTORED_HEADER = 'x-object-sysmeta-1space-restored'
"""When the object was brought back from an archive (semantics 3.2): a Swift timestamp or Unix seconds."""
RESTORED_FROM_HEADER = 'x-object-sysmeta-1space-restored-from'
"""``Mapping.generation`` of the archive that it was brought back from."""

NOT_OF_THE_OBJECT = frozenset({'name', 'content-type-timestamp', 'date', 'server', 'connection', 'accept-ranges',
                               'x-trans-id', 'x-openstack-request-id', 'content-location', 'last-modified',
                               'x-timestamp', 'transfer-encoding', 'vary'})
"""Metadata keys and response headers that tell of the file or the answer, not of the object."""


class ThroughProxy(SourceError):
    """Only the proxy application can put this object together: ``why`` is 'encrypted' or 'symlink'."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


def lower_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers of the object itself: lower-case names, answer-only headers left out."""
    headers = {}
    for key, value in pairs:
        key = key.lower()
        if key not in NOT_OF_THE_OBJECT and not key.startswith(('x-backend-', 'x-object-sysmeta-ec-')):
            headers[key] = value
    return headers


def refuse_indirect(headers: Mapping[str, str], path: str, *, follow_links: bool = True) -> None:
    """ThroughProxy for what a plain read of one replica would get wrong."""
    if is_encrypted(headers):
        raise ThroughProxy(f'{path} is encrypted at rest', 'encrypted')
    if SYMLINK_HEADER in headers and (follow_links or is_version_link(headers)):
        raise ThroughProxy(f'{path} is a symbolic link', 'symlink')


def is_version_link(headers: Mapping[str, str]) -> bool:
    """Whether lower-case headers are those of a versioned container's own link: always followed."""
    return headers.get(VERSION_LINK_HEADER, '').lower() == 'true'


def is_expired(headers: dict[str, str], now: float) -> bool:
    """Whether lower-case headers carry an X-Delete-At that has passed (Unix seconds)."""
    delete_at = headers.get('x-delete-at', '')
    return delete_at.isdigit() and int(delete_at) <= now


def meta_of(name: str, headers: dict[str, str], times: RowTimes) -> ObjectMeta:
    """Metadata of a version with these headers (from ``lower_headers``) and times.

    ``data_time`` is the time that travels with the copy: the source's own where
    the object is itself a restored or migrated one, without our marker.
    """
    headers['content-type'] = clean_content_type(headers.get('content-type') or 'application/octet-stream')
    headers['etag'] = headers.get('etag', '').strip('"')
    headers['x-timestamp'] = times.metadata.normal
    # A user's COPY takes sysmeta along: only with a time of ours does it tell anything.
    told = parse_timestamp(headers.get(SOURCE_TIME_HEADER)) if is_ours(times.data) else None
    data = told or without_marker(times.data)
    meta = meta_from_headers(name, headers)
    return replace(
        meta, source_etag='', data_time=data,
        meta_time=data if times.metadata == times.data else without_marker(times.metadata),
        ctype_time=data if times.content_type == times.data else without_marker(times.content_type),
        last_modified=float(times.metadata),
        sysmeta={**meta.sysmeta, 'last-modified': http_date(-(-float(times.metadata) // 1))})


def times_from_headers(headers: Mapping[str, str], row: ObjectRow) -> RowTimes:
    """Times of the version that a backend answered with (lower-case headers), as far as they can be told.

    Backends do not tell the content type's time. Where the row's is later than
    the data's, the same content type and a metadata time as late prove it; a
    different content type is taken for the older one.
    """
    data = parse_timestamp(headers.get('x-backend-data-timestamp')) or ZERO
    metadata = parse_timestamp(headers.get('x-backend-timestamp')) or ZERO
    wanted = row.times.content_type
    # Rows spell parameters without the space, and add swift_bytes for manifests.
    same = extract_swift_bytes(headers.get('content-type', ''))[0] == extract_swift_bytes(row.row.content_type)[0]
    return RowTimes(data, wanted if same and metadata >= wanted > data else data, metadata)


def newest_of(one: RowTimes, other: RowTimes) -> RowTimes:
    """The later of each time: what a link and its target amount to together."""
    return RowTimes(*(max(a, b) for a, b in zip(one, other, strict=True)))


def restored_at(headers: Mapping[str, str], times: RowTimes) -> float | None:
    """Unix seconds at which a version was restored, None when it was not.

    ``headers``: lower-case. A copy takes its original's sysmeta along, so only a marked data time makes it count.
    """
    when = parse_timestamp(headers.get(RESTORED_HEADER))
    return float(when) if when is not None and is_ours(times.data) else None


def buries(tombstone: Timestamp | None, times: RowTimes) -> bool:
    """Whether a tombstone of this time proves that the version with ``times`` lives nowhere any more.

    Swift drops every data file that is not newer than a tombstone; a POST
    after it keeps nothing alive, so the data time decides.
    """
    return tombstone is not None and tombstone >= times.data
