"""What a client asked a listing for, read exactly as Swift's servers read it, mistakes included.

The cluster's own answer comes first, so whatever Swift refuses is refused by it:
nothing here ever answers 412 or 400.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from swift.common.constraints import CONTAINER_LISTING_LIMIT
from swift.common.utils import config_true_value

from s3_sync.shunting.listing.scope import Scope

Entry = dict[str, Any]
"""One entry of a JSON listing, as Swift's servers make it: ``name`` or ``subdir``, and what is known of it."""


@dataclass(frozen=True, slots=True)
class ListingParams:
    """Parameters of a container's or account's listing. Unicode; '' where one is not given."""

    limit: int
    marker: str = ''
    end_marker: str = ''
    prefix: str = ''
    delimiter: str = ''
    path: str | None = None
    """Given and empty is another listing than not given."""
    reverse: bool = False
    versions: bool = False
    version_marker: str | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str], maximum: int = CONTAINER_LISTING_LIMIT) -> ListingParams | None:
        """``query``: Unicode parameters. None: Swift will refuse this request."""
        given = query.get('limit', '')
        limit = maximum
        if given.isdigit():
            try:
                limit = int(given)
            except ValueError:  # digits that are no decimals, such as a superscript two
                return None
        if limit > maximum or any('\udc80' <= c <= '\udcff' for value in query.values() for c in value):
            return None
        return cls(limit, query.get('marker', ''), query.get('end_marker', ''), query.get('prefix', ''),
                   query.get('delimiter', ''), query.get('path'), config_true_value(query.get('reverse')),
                   'versions' in query, query.get('version_marker'))

    @classmethod
    def from_query_string(cls, text: str, maximum: int = CONTAINER_LISTING_LIMIT) -> ListingParams | None:
        """``text``: QUERY_STRING of a WSGI environment; the last of several values counts."""
        pairs = parse_qsl(text, keep_blank_values=True, encoding='latin-1')
        return cls.parse({name: value.encode('latin-1').decode('utf-8', 'surrogateescape') for name, value in pairs},
                         maximum)

    @property
    def scope(self) -> Scope:
        """Which names that means. Swift exchanges the markers of a reversed listing."""
        lower, upper = (self.end_marker, self.marker) if self.reverse else (self.marker, self.end_marker)
        if self.path is not None:
            prefix = self.path.rstrip('/') + '/' if self.path else ''
            return Scope(lower, upper, prefix, '/', True, self.reverse)
        return Scope(lower, upper, self.prefix, self.delimiter, False, self.reverse)

    def after(self, last: Entry, limit: int) -> ListingParams:
        """The page that follows the entry ``last``."""
        marker: str = last['name'] if 'name' in last else last['subdir']
        version = last.get('version_id') if self.versions else None
        return replace(self, marker=marker, version_marker=version, limit=limit)

    def query(self) -> dict[str, str]:
        """For a request to Swift: every parameter that is set, and JSON."""
        texts = {'marker': self.marker, 'end_marker': self.end_marker, 'prefix': self.prefix,
                 'delimiter': self.delimiter}
        query = {name: text for name, text in texts.items() if text}
        query |= {'format': 'json', 'limit': str(self.limit)}
        if self.path is not None:
            query['path'] = self.path
        if self.reverse:
            query['reverse'] = 'true'
        if self.versions:
            query['versions'] = ''
        if self.version_marker is not None:
            query['version_marker'] = self.version_marker
        return query


def key_of(entry: Entry) -> str:
    """What an entry is sorted by."""
    key: str = entry['name'] if 'name' in entry else entry['subdir']
    return key
