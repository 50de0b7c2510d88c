"""Names of another Swift, which folds, bounds and reverses them itself."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

import orjson

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.errors import BucketNotFound, PermanentError, TemporaryError
from s3_sync.shunting.listing.params import Entry, ListingParams, key_of
from s3_sync.shunting.listing.scope import RESERVED, check_order
from s3_sync.shunting.listing.store_names import PAGE_NAMES, Item
from s3_sync.types import ShuntRequest

T = TypeVar('T')


class Ask(Protocol):
    def __call__(self, call: Callable[[BaseSync], T], /) -> T:
        """What ``call`` returns for the provider."""


class _Page(NamedTuple):
    keys: list[str]
    entries: list[Entry]


class NativeNames:
    def __init__(self, ask: Ask, params: ListingParams, headers: Mapping[str, str]) -> None:
        self._ask = ask
        self._params = replace(params, versions=False, version_marker=None)
        self._headers = headers

    def chunks(self, lower: str, upper: str) -> Iterator[list[Item]]:
        """Raises BucketNotFound, OutOfOrder and what asking raises."""
        yield from self._pages(_bounded(self._params, lower, upper))

    def below(self, prefix: str, lower: str, upper: str) -> Generator[Item, None, None]:
        """Every single name that begins with ``prefix``, ascending."""
        for names in self._pages(ListingParams(PAGE_NAMES, lower, upper, prefix)):
            yield from names

    def _pages(self, params: ListingParams) -> Iterator[list[Item]]:
        before = params.scope.before
        query = params.query()
        last = ''
        while page := self._page(query):
            check_order('remote', last, page.keys, before)
            yield [(key, None if 'subdir' in entry else entry)
                   for key, entry in zip(page.keys, page.entries, strict=True) if RESERVED not in key]
            last = query['marker'] = page.keys[-1]

    def _page(self, query: dict[str, str]) -> _Page | None:
        """The next entries; none at the end only, for proxies may shorten any page."""
        answer = self._ask(lambda provider: _read(provider, ShuntRequest('GET', '', self._headers, query)))
        if answer is None:  # the limit is more than that cluster allows
            query.pop('limit')
            answer = self._ask(lambda provider: _read(provider, ShuntRequest('GET', '', self._headers, query)))
        return answer if answer is not None and answer.keys else None


def _read(provider: BaseSync, request: ShuntRequest) -> _Page | None:
    """None for 412."""
    response = provider.shunt_object(request)
    with closing(response):
        if response.status == 404:
            raise BucketNotFound('no such container', status=404)
        if response.status == 412 and 'limit' in request.query:
            return None
        if response.status not in (200, 204):
            raise PermanentError(f'listing answered {response.status}', status=response.status)
        return _parsed(response)


def _parsed(response: ProviderResponse) -> _Page:
    document = b''.join(response.body)
    if not document:
        return _Page([], [])
    try:
        entries = orjson.loads(document)
    except ValueError as error:
        raise TemporaryError('the listing is not JSON', reason='listing') from error
    try:
        keys = [key_of(entry) for entry in entries]
    except (TypeError, LookupError):
        entries = None
    if not isinstance(entries, list) or not set(map(type, keys)) <= {str}:
        raise TemporaryError('not a listing', reason='listing')
    return _Page(keys, entries)


def _bounded(params: ListingParams, lower: str, upper: str) -> ListingParams:
    marker, end_marker = (upper, lower) if params.reverse else (lower, upper)
    return replace(params, marker=marker, end_marker=end_marker)
