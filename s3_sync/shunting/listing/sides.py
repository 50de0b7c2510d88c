"""The remote sides of a merged listing: one stream of sorted entries each, first page asked for ahead of time."""
from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

from s3_sync.base_sync import BaseSync
from s3_sync.errors import NotFound, Unsupported
from s3_sync.shunting.listing.entries import native_entry, object_entry
from s3_sync.shunting.listing.native_names import NativeNames
from s3_sync.shunting.listing.params import Entry, ListingParams
from s3_sync.shunting.listing.scope import Scope
from s3_sync.shunting.listing.store_names import Item, NamePage, StoreNames, common
from s3_sync.timestamps import iso_seconds
from s3_sync.types import NO_HEADERS, ObjectMeta

T = TypeVar('T')


class Remote(Protocol):
    """How a remote is asked: ``s3_sync.shunting.remotes.Remote``."""

    provider: BaseSync

    def ask(self, call: Callable[[BaseSync], T]) -> T:
        """What ``call`` returns. NotFound is raised as it is; RemoteUnavailable when there is no answer."""

    def head(self, name: str, *, via: str = '') -> ObjectMeta | None:
        """The version there; None when there is none."""


@dataclass(frozen=True, slots=True)
class RemoteSide:
    """One target of a merged listing."""

    name: str
    """Of the mapping, for ``X-1space-Partial``."""
    remote: Remote
    prefix: str = ''
    """Only names that begin with it belong."""
    archives: bool = False
    """Local objects leave for this remote: it is asked after the cluster, or one would be in neither answer."""
    on_error: Literal['fail', 'partial'] = 'fail'
    reverse_scan_limit: int = 100_000
    via: str = ''
    """``X-1space-Via`` of the client's request."""
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    """Sent along with native listings."""


class Names(Protocol):
    """Sorted entries of one remote."""

    missing: bool
    """Whether the remote said that it has no such bucket or container."""

    def chunks(self, lower: str, upper: str) -> Iterator[list[Item]]:
        """Entries between the bounds in the listing's direction; chunks may be empty. OutOfOrder: the store lies."""

    def below(self, prefix: str, lower: str, upper: str) -> Iterator[Item]:
        """Every single name that begins with ``prefix``, ascending."""

    def entry(self, key: str, payload: Any) -> Entry:
        """As JSON listings have it."""

    def location_of(self, key: str) -> str:
        """Its place in ``content_location``."""

    def modified(self, payload: Any) -> float | None:
        """When it was put there by our clock, Unix seconds; None when that is not known."""

    def version(self, payload: Any) -> tuple[object, ...]:
        """What differs between two versions of a name, as far as listings tell."""

    def meta(self, key: str, payload: Any) -> ObjectMeta | None:
        """The version there, asked for now; None when there is none (any more)."""


def object_names(side: RemoteSide, params: ListingParams, page: int) -> Names:
    """What a container's remote has of the names that ``params`` asks for, in pages of ``page`` where it takes any."""
    scope = params.scope
    if side.remote.provider.capabilities.native_listing and common(scope.prefix, side.prefix) == scope.prefix:
        return _Native(side, replace(params, limit=page))
    return _Stored(side, scope, params.limit)


class _Side:
    def __init__(self, side: RemoteSide) -> None:
        self._side = side
        self._location = side.remote.provider.location()
        self.missing = False

    def location_of(self, key: str) -> str:
        return self._location

    def meta(self, key: str, payload: Any) -> ObjectMeta | None:
        return self._side.remote.head(key, via=self._side.via)


class _Native(_Side):
    """Another Swift, which understands every parameter itself."""

    def __init__(self, side: RemoteSide, params: ListingParams) -> None:
        super().__init__(side)
        self._names = NativeNames(side.remote.ask, params, side.headers)

    def chunks(self, lower: str, upper: str) -> Iterator[list[Item]]:
        try:
            yield from self._names.chunks(lower, upper)
        except NotFound:
            self.missing = True

    def below(self, prefix: str, lower: str, upper: str) -> Iterator[Item]:
        asked = common(prefix, self._side.prefix)
        return self._names.below(asked, lower, upper) if asked is not None else iter(())

    def entry(self, key: str, payload: Any) -> Entry:
        return {'subdir': key} if payload is None else native_entry(payload)

    def modified(self, payload: Any) -> float | None:
        return iso_seconds(str(payload.get('last_modified', '')))

    def version(self, payload: Any) -> tuple[object, ...]:
        return payload.get('hash'), payload.get('bytes'), payload.get('last_modified')


class _Stored(_Side):
    """Any other store."""

    def __init__(self, side: RemoteSide, scope: Scope, limit: int) -> None:
        super().__init__(side)
        self._clock_offset = 0.0
        provider = side.remote.provider
        self._names = StoreNames(
            self._page, scope, limit, own_prefix=side.prefix, ordered=lambda: provider.capabilities.ordered_listing,
            spool_folder=tempfile.gettempdir(), reverse_scan_limit=side.reverse_scan_limit)

    def chunks(self, lower: str, upper: str) -> Iterator[list[Item]]:
        try:
            yield from self._names.chunks(lower, upper)
        except NotFound:
            self.missing = True

    def below(self, prefix: str, lower: str, upper: str) -> Iterator[Item]:
        return self._names.below(prefix, lower, upper)

    def entry(self, key: str, payload: Any) -> Entry:
        return {'subdir': key} if payload is None else object_entry(payload)

    def modified(self, payload: Any) -> float | None:
        return float(payload.last_modified) - self._clock_offset if payload.last_modified else None

    def version(self, payload: Any) -> tuple[object, ...]:
        return payload.etag, payload.size, payload.last_modified

    def _page(self, marker: str, limit: int | None, prefix: str, delimiter: str) -> NamePage | None:
        def ask(provider: BaseSync) -> NamePage | None:
            try:
                page = provider.list_objects(marker=marker, limit=limit, prefix=prefix, delimiter=delimiter)
            except Unsupported:
                if provider.capabilities.ordered_listing:
                    raise
                return None
            self._clock_offset = page.clock_offset
            return NamePage([(e.name, None if e.subdir else e) for e in page.entries], page.next_marker)
        return self._side.remote.ask(ask)
