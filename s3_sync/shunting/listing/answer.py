"""A merged listing as the answer that goes to the left: always JSON, for ``listing_formats`` there makes the rest."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from swift.common.middleware.listing_formats import MAX_CONTAINER_LISTING_CONTENT_LENGTH

from s3_sync.shunting.listing.params import Entry

PARTIAL_HEADER = 'X-1space-Partial'


@dataclass(frozen=True, slots=True)
class ListingAnswer:
    body: bytes
    headers: Mapping[str, str]
    """Content-Type and -Length, and ``X-1space-Partial``: which mappings' names may be missing."""
    entries: int
    missing: tuple[str, ...] = ()
    """Mappings whose bucket or container does not exist at the remote."""
    partial: tuple[str, ...] = ()
    """Those that ``X-1space-Partial`` names."""


def answer(entries: Sequence[Entry], *, partial: Sequence[str] = (), missing: Sequence[str] = ()) -> ListingAnswer:
    """``entries`` may be changed: a body too large to be made into text or XML loses its ``content_location``."""
    body = orjson.dumps(entries)
    if len(body) > MAX_CONTAINER_LISTING_CONTENT_LENGTH:
        for entry in entries:
            entry.pop('content_location', None)
        body = orjson.dumps(entries)
    headers = {'Content-Type': 'application/json; charset=utf-8', 'Content-Length': str(len(body))}
    if partial:
        headers[PARTIAL_HEADER] = ', '.join(partial)
    return ListingAnswer(body, headers, len(entries), tuple(missing), tuple(partial))
