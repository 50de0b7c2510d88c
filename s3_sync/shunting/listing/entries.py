"""What remote names look like in a JSON listing: exactly the keys of Swift, in Swift's order."""
from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from s3_sync.shunting.listing.params import Entry
from s3_sync.types import BucketEntry, ListingEntry

_EPOCH = '1970-01-01T00:00:00.000000'
_REQUIRED = {'bytes': 0, 'hash': '', 'content_type': 'application/octet-stream', 'last_modified': _EPOCH}
_PLAIN = frozenset({'name', *_REQUIRED})
_SHOWN = _PLAIN | {'slo_etag'}


def object_entry(entry: ListingEntry) -> Entry:
    """Of a store that is no Swift."""
    return {'bytes': entry.size, 'hash': entry.etag, 'name': entry.name, 'content_type': entry.content_type,
            'last_modified': iso_time(entry.last_modified)}


def native_entry(item: dict[str, Any]) -> Entry:
    """Of another Swift: as it says, without what concerns only its own account (symlinks, its own remotes).

    ``item`` may become the entry.
    """
    if item.keys() == _PLAIN:
        return item
    entry = {key: value for key, value in item.items() if key in _SHOWN}
    for key in _REQUIRED.keys() - entry.keys():
        entry[key] = _REQUIRED[key]
    return entry


def bucket_entry(name: str, bucket: BucketEntry) -> Entry:
    """``name``: of the container, which need not be the bucket's."""
    return {'name': name, 'count': bucket.count, 'bytes': bucket.bytes,
            'last_modified': iso_time(bucket.last_modified)}


def iso_time(seconds: float) -> str:
    """Unix seconds as in Swift's listings: UTC, always with microseconds, no zone."""
    try:
        whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
        return f'{_whole_second(whole)}.{micros:06}'
    except (OverflowError, OSError, ValueError):  # a store may tell anything
        return _EPOCH


@lru_cache(maxsize=4096)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
