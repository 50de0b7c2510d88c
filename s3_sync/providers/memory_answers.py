"""What the memory provider tells a client in HTTP terms: headers, conditions, ranges."""
from __future__ import annotations

from collections.abc import Mapping

from s3_sync.base_sync import ProviderResponse
from s3_sync.timestamps import http_date, http_date_seconds
from s3_sync.types import ObjectMeta
from s3_sync.wire.swift_headers import headers_for_put


def client_headers(meta: ObjectMeta) -> dict[str, str]:
    """What a Swift client would see of this object: our own keys are hidden."""
    headers = headers_for_put(meta, provenance=False)
    seconds = float(meta.data_time) if meta.data_time is not None else meta.last_modified or 0.0
    return {**headers, 'etag': meta.etag, 'last-modified': http_date(-(-seconds // 1)),
            'x-timestamp': f'{seconds:.5f}'}


def conditional_status(wanted: Mapping[str, str], meta: ObjectMeta) -> int:
    """RFC 9110 section 13.2.2 for a version that exists."""
    modified = http_date_seconds(client_headers(meta)['last-modified']) or 0.0
    if 'if-match' in wanted:
        if not _etag_listed(wanted['if-match'], meta.etag):
            return 412
    elif modified > (http_date_seconds(wanted.get('if-unmodified-since', '')) or modified):
        return 412
    if 'if-none-match' in wanted:
        return 304 if _etag_listed(wanted['if-none-match'], meta.etag) else 200
    since = http_date_seconds(wanted.get('if-modified-since', ''))
    return 304 if since is not None and modified <= since else 200


def _etag_listed(header: str, etag: str) -> bool:
    return any(tag.strip().strip('"') in ('*', etag) for tag in header.split(','))


def single_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of one byte range, empty when it lies beyond the end; None without one."""
    unit, _, span = header.partition('=')
    first, dash, last = span.partition('-')
    if unit.strip() != 'bytes' or not dash or not (first or last) or not (first + last).isdigit():
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    return start, end


def plain_response(status: int) -> ProviderResponse:
    return ProviderResponse(status, {'content-length': '0'})
