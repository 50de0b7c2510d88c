"""Names of another Swift, which folds, bounds and reverses them itself."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import orjson

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.errors import BucketNotFound, PermanentError, TemporaryError
from s3_sync.lockstep import OutOfOrder
from s3_sync.shunting.listing.params import ListingParams, key_of
from s3_sync.shunting.listing.scope import RESERVED
from s3_sync.shunting.listing.store_names import PAGE_NAMES, Item
from s3_sync.types import ShuntRequest

T = TypeVar('T')


class Ask(Protocol):
    def __call__(self, call: Callable[[BaseSync], T], /) -> T:
        """What ``call`` returns for the provider."""


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
        while items := self._page(query):
            names = []
            for item in items:
                key = key_of(item)
                if last and not before(last, key):
                    raise OutOfOrder(f'remote names are out of order: {key!r} comes after {last!r}')
                last = key
                if RESERVED not in key:
                    names.append((key, None if 'subdir' in item else item))
            yield names
            query['marker'] = last

    def _page(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """The next entries; none at the end only, for proxies may shorten any page."""
        answer = self._ask(lambda provider: _read(provider, ShuntRequest('GET', '', self._headers, query)))
        if answer is None:  # the limit is more than that cluster allows
            query.pop('limit')
            answer = self._ask(lambda provider: _read(provider, ShuntRequest('GET', '', self._headers, query)))
        return answer or []


def _read(provider: BaseSync, request: ShuntRequest) -> list[dict[str, Any]] | None:
    """None for 412."""
    response = provider.shunt_object(request)
    with closing(response):
        if response.status == 404:
            raise BucketNotFound('no such container', status=404)
        if response.status == 412 and 'limit' in request.query:
            return None
        if response.status not in (200, 204):
            raise PermanentError(f'listing answered {response.status}', status=response.status)
        return _items(response)


def _items(response: ProviderResponse) -> list[dict[str, Any]]:
    document = b''.join(response.body)
    if not document:
        return []
    try:
        items = orjson.loads(document)
    except ValueError as error:
        raise TemporaryError('the listing is not JSON', reason='listing') from error
    if not isinstance(items, list) or not all(
            isinstance(item, dict) and isinstance(item.get('name', item.get('subdir')), str) for item in items):
        raise TemporaryError('not a listing', reason='listing')
    return items


def _bounded(params: ListingParams, lower: str, upper: str) -> ListingParams:
    marker, end_marker = (upper, lower) if params.reverse else (lower, upper)
    return replace(params, marker=marker, end_marker=end_marker)
