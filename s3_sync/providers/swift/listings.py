"""Swift's JSON listings to pages."""
from __future__ import annotations

import json
from typing import Any

from s3_sync.errors import TemporaryError
from s3_sync.providers.swift.limits import DEFAULTS
from s3_sync.timestamps import iso_seconds
from s3_sync.types import BucketEntry, BucketPage, ListingEntry, ListingPage


def query(marker: str, limit: int | None, prefix: str, delimiter: str = '') -> dict[str, str]:
    """Parameters of a listing's GET. A higher limit than the cluster's would be refused, not lowered."""
    size = '' if limit is None else str(max(1, min(limit, DEFAULTS.container_listing_limit)))
    wanted = {'format': 'json', 'marker': marker, 'prefix': prefix, 'delimiter': delimiter, 'limit': size}
    return {name: value for name, value in wanted.items() if value}


def object_page(document: bytes, what: str) -> ListingPage:
    """A page is the last one only when it is empty: proxies may shorten any page."""
    entries = tuple(_object_entry(item) for item in items(document, what))
    return ListingPage(entries, entries[-1].name if entries else None)


def container_page(document: bytes, what: str) -> BucketPage:
    entries = tuple(
        BucketEntry(item['name'], int(item.get('count', 0)), int(item.get('bytes', 0)),
                    iso_seconds(item.get('last_modified', '')) or 0.0)
        for item in items(document, what) if 'name' in item)
    return BucketPage(entries, entries[-1].name if entries else None)


def _object_entry(item: dict[str, Any]) -> ListingEntry:
    if 'subdir' in item:
        return ListingEntry(item['subdir'], subdir=True)
    return ListingEntry(item['name'], int(item.get('bytes', 0)), (item.get('hash') or '').strip('"'),
                        iso_seconds(item.get('last_modified', '')) or 0.0,
                        item.get('content_type') or 'application/octet-stream')


def items(document: bytes, what: str) -> list[dict[str, Any]]:
    """The entries as they come. 204 answers have no document; a cut or foreign one is a failure, never an empty one."""
    if not document:
        return []
    try:
        found = json.loads(document)
    except ValueError as error:
        raise TemporaryError(f'{what}: the listing is not JSON', reason='listing') from error
    if not isinstance(found, list) or not all(isinstance(i, dict) and ('name' in i or 'subdir' in i) for i in found):
        raise TemporaryError(f'{what}: not a listing', reason='listing')
    return found
