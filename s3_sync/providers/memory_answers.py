"""What the memory provider tells a client in HTTP terms beside ``client_view``: ranges, answers without a body."""
from __future__ import annotations

from s3_sync.base_sync import ProviderResponse


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
