"""Remotes for listings: stores that list in every way a store may, and another Swift."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.errors import BucketNotFound, TemporaryError, Unsupported
from s3_sync.providers.memory import CAPABILITIES, MemorySync
from s3_sync.shunting.listing.params import ListingParams
from s3_sync.timestamps import iso_seconds
from s3_sync.types import BucketEntry, BucketPage, ListingEntry, ListingPage, ObjectMeta, ShuntRequest
from test.unit.shunting.listing.plain_swift import PlainContainer, Row

T = TypeVar('T')


@dataclass(frozen=True)
class Manners:
    """How a store lists."""

    page: int = 1000
    """Names in a page at most."""
    rolls_up: bool = True
    """Whether it knows delimiters."""
    ordered: bool = True
    empty_pages: bool = False
    """Whether every second page is empty, its marker opaque."""


class Store(MemorySync):
    """No Swift: lists rows with these manners. ``fail_at``: the request (from 0) that fails, and all after it."""

    def __init__(self, rows: Iterable[Row], manners: Manners = Manners(), *, fail_at: int | None = None,
                 clock_offset: float = 0.0, upload_delay: float = 0.0, exists: bool = True) -> None:
        super().__init__(capabilities=replace(CAPABILITIES, ordered_listing=manners.ordered))
        self.rows = {row.name: row for row in rows}
        self.manners = manners
        self.fail_at = fail_at
        self.clock_offset = clock_offset
        self._told_later = clock_offset + upload_delay
        self.exists = exists
        self.requests: list[dict[str, Any]] = []
        self._empty_next = True

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        self._ask(marker=marker, limit=limit, prefix=prefix, delimiter=delimiter)
        manners = self.manners
        if manners.empty_pages:
            if self._empty_next and not marker.startswith('\0'):
                self._empty_next = False
                return ListingPage((), '\0' + marker, self.clock_offset)
            self._empty_next = True
            marker = marker.removeprefix('\0')
        delimiter = delimiter if manners.rolls_up else ''
        entries = self._entries(prefix, delimiter)
        if manners.ordered:
            entries = [e for e in entries if e.name > marker and not (delimiter and marker.endswith(delimiter)
                                                                     and e.name.startswith(marker))]
            first = 0
        else:
            entries.sort(key=lambda entry: entry.name[::-1])
            if marker and not marker.startswith('#'):
                raise Unsupported('lists in an order of its own')
            first = int(marker[1:] or 0) if marker else 0
        size = max(1, min(limit or manners.page, manners.page))
        page = entries[first:first + size]
        following = None
        if first + size < len(entries):
            following = page[-1].name if manners.ordered else f'#{first + size}'
        return ListingPage(tuple(page), following, self.clock_offset)

    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        self._ask(marker=marker, limit=limit, prefix=prefix)
        rows = [self.rows[name] for name in sorted(self.rows) if name > marker and name.startswith(prefix)]
        size = max(1, min(limit or self.manners.page, self.manners.page))
        page = tuple(BucketEntry(row.name, last_modified=row.time) for row in rows[:size])
        return BucketPage(page, page[-1].name if len(rows) > size else None)

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        raise AssertionError('nobody needs to look at an object that no marker hides')

    def location(self, *, bucket: str | None = None) -> str:
        return f'store;{bucket or self.bucket}'

    def _ask(self, **what: Any) -> None:
        self.requests.append(what)
        if not self.exists:
            raise BucketNotFound('no such bucket', status=404)
        if self.fail_at is not None and len(self.requests) > self.fail_at:
            raise TemporaryError('internal error', status=500, retry_after=7.0)

    def _entries(self, prefix: str, delimiter: str) -> list[ListingEntry]:
        entries: dict[str, ListingEntry] = {}
        for name in sorted(self.rows):
            if name.startswith(prefix):
                end = name.find(delimiter, len(prefix)) if delimiter else -1
                if end >= 0:
                    subdir = name[:end + len(delimiter)]
                    entries[subdir] = ListingEntry(subdir, subdir=True)
                else:
                    row = self.rows[name]
                    entries[name] = ListingEntry(name, row.size, row.etag, row.time + self._told_later,
                                                 row.content_type)
        return list(entries.values())


class OtherSwift(MemorySync):
    """Answers listings itself, in pages of at most ``page`` entries; never says which one is the last."""

    def __init__(self, rows: Iterable[Row], page: int = 10_000, *, fail_at: int | None = None,
                 exists: bool = True, highest_limit: int = 10_000) -> None:
        super().__init__(capabilities=replace(CAPABILITIES, native_listing=True))
        self.rows = {row.name: row for row in rows}
        self._container = PlainContainer(self.rows.values())
        self._page = page
        self._fail_at = fail_at
        self._exists = exists
        self._highest_limit = highest_limit
        self.requests: list[dict[str, str]] = []

    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        assert (request.method, request.key) == ('GET', '')
        self.requests.append(dict(request.query))
        if self._fail_at is not None and len(self.requests) > self._fail_at:
            raise TemporaryError('internal error', status=500, retry_after=7.0)
        if not self._exists:
            return ProviderResponse(404, {})
        params = ListingParams.parse(request.query)
        assert params is not None
        if 'limit' in request.query and params.limit > self._highest_limit:
            return ProviderResponse(412, {})
        entries = self._container.page(replace(params, limit=min(params.limit, self._highest_limit)))[:self._page]
        return ProviderResponse(200, {}, iter([json.dumps(entries).encode()]))

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        """As ``SyncSwift`` has it: only an empty page is the last."""
        params = ListingParams(min(limit or self._page, self._page), marker, '', prefix, delimiter)
        entries = tuple(ListingEntry(entry['subdir'], subdir=True) if 'subdir' in entry else ListingEntry(
            entry['name'], entry['bytes'], entry['hash'], iso_seconds(entry['last_modified']) or 0.0,
            entry['content_type']) for entry in self._container.page(params))
        return ListingPage(entries, entries[-1].name if entries else None)

    def location(self, *, bucket: str | None = None) -> str:
        return 'swift;remote'


@dataclass
class FakeRemote:
    """How the merge asks a provider; HEADs tell the rows' times."""

    provider: Any
    versions: dict[str, ObjectMeta | None] = field(default_factory=dict)
    """What a HEAD finds, where it is not the listed row."""
    heads: list[str] = field(default_factory=list)

    def ask(self, call: Callable[[BaseSync], T]) -> T:
        return call(self.provider)

    def head(self, name: str, *, via: str = '') -> ObjectMeta | None:
        self.heads.append(name)
        if name in self.versions:
            return self.versions[name]
        row = self.provider.rows.get(name)
        return ObjectMeta(name, row.size, last_modified=row.time) if row else None


def names_of(entries: Sequence[dict[str, Any]]) -> list[str]:
    return [entry['name'] if 'name' in entry else entry['subdir'] for entry in entries]
