"""A remote object as a client of the local Swift sees it.

Clients must not be able to tell where an object is. So its headers are made from
what the copy tells of its source, never handed on; and conditions are judged
here by just those headers: the store knows another ETag and another time.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from swift.common.utils import Timestamp

from s3_sync.errors import TemporaryError
from s3_sync.providers.http import Response
from s3_sync.timestamps import http_date, http_date_seconds
from s3_sync.types import ObjectMeta
from s3_sync.wire.swift_headers import USER_PREFIX

DEFAULT_TYPE = 'application/octet-stream'
S3_ETAG = 'x-object-sysmeta-s3api-etag'
"""Where s3api, left of the shunt, looks for a multipart ETag. It is none of the client's: gatekeeper removes it."""
SMALL_BODY_BYTES = 64 * 1024
"""An unwanted body of this size is read rather than its connection given up."""

_CONTENT_RANGE = re.compile(r'bytes (\d+)-(\d+)/(\d+)', re.ASCII)
_MULTIPART = re.compile(r'[0-9a-f]{32}-\d+')


@dataclass(frozen=True, slots=True)
class Span:
    """What an answer holds of the object. Bytes."""

    first: int
    length: int
    size: int
    """Of the whole object."""


def local_headers(meta: ObjectMeta) -> dict[str, str]:
    """Headers (lower-case names) of the object as if it were here; those that tell of its body's length excepted.

    Its times are the source's where it is a copy of ours, else the store's.
    """
    headers = {'accept-ranges': 'bytes', 'content-type': meta.content_type or DEFAULT_TYPE, **meta.headers}
    if etag := shown_etag(meta):
        headers['etag'] = etag
    headers.update(_times(meta))
    if meta.delete_at is not None:
        headers['x-delete-at'] = str(meta.delete_at)
    if meta.large_object in ('slo', 'multipart') and not was_plain(meta):
        headers['x-static-large-object'] = 'True'
    if _MULTIPART.fullmatch(meta.etag):
        headers[S3_ETAG] = meta.etag
    headers.update({USER_PREFIX + k: v for k, v in meta.user_metadata.items()})
    return headers


def shown_etag(meta: ObjectMeta) -> str:
    """As Swift writes it: quoted for large objects, plain for others. '' when the store told none."""
    etag = meta.source_etag or meta.etag
    return f'"{etag}"' if etag and meta.large_object and not was_plain(meta) else etag


def was_plain(meta: ObjectMeta) -> bool:
    """Whether a multipart object is the copy of an ordinary one that was too large for a single PUT."""
    return meta.large_object == 'multipart' and bool(meta.source_etag)


def _times(meta: ObjectMeta) -> dict[str, str]:
    if meta.data_time is not None:
        newest = max(meta.data_time, meta.meta_time or meta.data_time)
    elif meta.last_modified is not None and meta.last_modified >= 0:
        newest = Timestamp(meta.last_modified)
    else:
        return {}
    return {'x-timestamp': newest.normal, 'last-modified': http_date(newest.ceil())}


# -- conditions and ranges ----------------------------------------------------------------


def condition_status(asked: Mapping[str, str], headers: Mapping[str, str], *more_etags: str) -> int:
    """200, 304 or 412 for a version with these headers (RFC 9110 section 13.2.2).

    ``asked`` has lower-case names. ``more_etags`` count like the one shown: s3api's clients know the store's own.
    """
    etags = {headers.get('etag', '').strip('"'), *more_etags} - {''}
    modified = http_date_seconds(headers.get('last-modified', ''))
    if asked.get('if-match'):
        if not _listed(asked['if-match'], etags):
            return 412
    elif modified is not None and modified > (http_date_seconds(asked.get('if-unmodified-since', '')) or modified):
        return 412
    if asked.get('if-none-match'):
        return 304 if _listed(asked['if-none-match'], etags) else 200
    since = http_date_seconds(asked.get('if-modified-since', ''))
    return 304 if since is not None and modified is not None and modified <= since else 200


def _listed(header: str, etags: set[str]) -> bool:
    return any(tag.strip().removeprefix('W/').strip('"') in ({'*'} | etags) for tag in header.split(','))


def forwarded_range(method: str, asked: Mapping[str, str]) -> dict[str, str]:
    """The Range header to send on: of a GET, and only a single one, because stores differ in what several give."""
    header = asked.get('range', '')
    return {'range': header} if method == 'GET' and header and ',' not in header else {}


def answered_span(status: int, headers: Mapping[str, str], what: str) -> Span:
    """What a 200 or 206 holds. TemporaryError when a 206 does not say it, or says nonsense.

    Of a 200 without Content-Length (a DLO of very many segments) the size counts as 0.
    """
    length = int(headers.get('content-length') or 0)
    if status != 206:
        return Span(0, length, length)
    found = _CONTENT_RANGE.fullmatch(headers.get('content-range', ''))
    if found is None:
        raise TemporaryError(f'{what}: 206 without a usable Content-Range', status=206, reason='answer')
    first, last, size = map(int, found.groups())
    if not first <= last < size or ('content-length' in headers and length != last + 1 - first):
        raise TemporaryError(f'{what}: 206 whose length is not that of its Content-Range', status=206, reason='answer')
    return Span(first, last + 1 - first, size)


def discard(response: Response) -> None:
    """Be done with an answer whose body nobody wants; its connection is kept when that costs little."""
    length = response.headers.get('content-length', '')
    if length.isdigit() and int(length) <= SMALL_BODY_BYTES:
        response.read(SMALL_BODY_BYTES)
    response.close()
