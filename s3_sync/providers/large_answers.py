"""What Swift's slo and dlo answer about manifests and parts, for copies whose manifest stands beside them.

Rules of ``swift.common.middleware.slo`` and ``dlo``, which sit right of the
shunt and so never see a remote object.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from s3_sync.base_sync import ProviderResponse
from s3_sync.large_objects.manifest import put_entries
from s3_sync.large_objects.model import Layout
from s3_sync.providers.client_view import Span, condition_status, local_headers
from s3_sync.types import ObjectMeta, ShuntRequest

MANIFEST_TYPE = 'application/json; charset=utf-8'


def wants_manifest(request: ShuntRequest) -> bool:
    return request.query.get('multipart-manifest') == 'get'


def asked_part(request: ShuntRequest) -> str | None:
    """The part number as the client wrote it: of Swift's API or of S3's."""
    return request.query.get('part-number', request.query.get('partNumber'))


def manifest_answer(request: ShuntRequest, meta: ObjectMeta, headers: Mapping[str, str],
                    layout: Layout | None) -> ProviderResponse:
    """Of the large object ``meta``, whose ordinary ``headers`` these are. 409 where its manifest cannot be told."""
    body, changes = b'', {}
    if meta.large_object == 'slo':
        if layout is None:
            return plain(409, 'The manifest of this object is not there any more')
        raw = request.query.get('format') == 'raw'
        body = json.dumps(put_entries(layout.segments), sort_keys=True).encode() if raw else layout.manifest
        changes = {} if raw else {'content-type': MANIFEST_TYPE}
    answer = {**headers, **changes, 'etag': hashlib.md5(body, usedforsecurity=False).hexdigest(),
              'content-length': str(len(body))}
    status = condition_status({k.lower(): v for k, v in request.headers.items()}, answer)
    if status != 200:
        return ProviderResponse(status, {**answer, 'content-length': '0'})
    return ProviderResponse(200, answer, iter(()) if request.method == 'HEAD' else iter((body,)), meta)


def part_of(request: ShuntRequest, layout: Layout, headers: Mapping[str, str]) -> Span | ProviderResponse:
    """The bytes of the part that is asked for, or the answer that says what is wrong with it."""
    number = checked_part(request)
    if isinstance(number, ProviderResponse):
        return number
    if number > len(layout.segments):
        return ProviderResponse(416, {**headers, 'content-length': '0', 'content-range': f'bytes */{layout.size}',
                                      'x-parts-count': str(len(layout.segments))})
    first = sum(segment.length for segment in layout.segments[:number - 1])
    return Span(first, layout.segments[number - 1].length, layout.size)


def checked_part(request: ShuntRequest) -> int | ProviderResponse:
    """The number, or the 400 that Swift gives."""
    text = asked_part(request) or ''
    if not text.isdecimal() or not int(text):
        return plain(400, 'Part number must be an integer greater than 0')
    if any(name.lower() == 'range' for name in request.headers):
        return plain(400, 'Range requests are not supported with part number queries')
    return int(text)


def part_headers(meta: ObjectMeta, span: Span, layout: Layout) -> dict[str, str]:
    return {**local_headers(meta), 'content-length': str(span.length), 'x-parts-count': str(len(layout.segments)),
            'content-range': f'bytes {span.first}-{span.first + span.length - 1}/{span.size}'}


def plain(status: int, text: str = '') -> ProviderResponse:
    body = text.encode()
    headers = {'content-length': str(len(body)), **({'content-type': 'text/plain'} if body else {})}
    return ProviderResponse(status, headers, iter((body,) if body else ()))
