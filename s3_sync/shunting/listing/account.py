"""The listing of an account all of whose containers are merged: local containers and the remote's buckets."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from swift.common.constraints import MAX_CONTAINER_NAME_LENGTH

from s3_sync.base_sync import BaseSync
from s3_sync.shunting.listing.answer import ListingAnswer
from s3_sync.shunting.listing.container import merged
from s3_sync.shunting.listing.cursor import Cursor
from s3_sync.shunting.listing.entries import bucket_entry
from s3_sync.shunting.listing.merge import LocalPages
from s3_sync.shunting.listing.params import Entry, ListingParams
from s3_sync.shunting.listing.scope import RESERVED, Scope
from s3_sync.shunting.listing.sides import RemoteSide
from s3_sync.shunting.listing.store_names import Item, NamePage, StoreNames
from s3_sync.shunting.listing.tombstones import Tombstones
from s3_sync.types import ObjectMeta


def merged_account(params: ListingParams, local: LocalPages, remotes: Sequence[RemoteSide],
                   tombstones: Tombstones | None = None) -> ListingAnswer:
    """As ``merged_container``. ``prefix`` of a side: buckets are named so, and then as the container."""
    params = replace(params, path=None, versions=False, version_marker=None)  # accounts know nothing of these
    cursors = [Cursor(side, _Buckets(side, params.scope, params.limit), params.scope) for side in remotes]
    return merged(params, local, cursors, tombstones, first_page=params.limit)


class _Buckets:
    """A remote's buckets under the names of their containers."""

    missing = False

    def __init__(self, side: RemoteSide, scope: Scope, limit: int) -> None:
        self._side = side
        self._names = StoreNames(self._page, scope, limit, reverse_scan_limit=side.reverse_scan_limit)

    def chunks(self, lower: str, upper: str) -> Iterator[list[Item]]:
        return self._names.chunks(lower, upper)

    def below(self, prefix: str, lower: str, upper: str) -> Iterator[Item]:
        return self._names.below(prefix, lower, upper)

    def entry(self, key: str, payload: Any) -> Entry:
        return {'subdir': key} if payload is None else bucket_entry(key, payload)

    def location_of(self, key: str) -> str:
        return self._side.remote.provider.location(bucket=self._side.prefix + key)

    def modified(self, payload: Any) -> float | None:
        return None  # settled by ``meta``, which costs nothing here

    def version(self, payload: Any) -> tuple[object, ...]:
        return (payload.last_modified,)

    def meta(self, key: str, payload: Any) -> ObjectMeta | None:
        return ObjectMeta(key, 0, last_modified=payload.last_modified or None)

    def _page(self, marker: str, limit: int | None, prefix: str, delimiter: str) -> NamePage | None:
        front = self._side.prefix

        def ask(provider: BaseSync) -> NamePage:
            page = provider.list_buckets(marker=front + marker if marker else '', limit=limit, prefix=front + prefix)
            names = [(bucket.name[len(front):], bucket) for bucket in page.entries if bucket.name.startswith(front)]
            following = page.next_marker
            if following is not None:
                following = following[len(front):] if following.startswith(front) else None
            return NamePage([item for item in names if is_container(item[0])], following)
        return self._side.remote.ask(ask)


def is_container(name: str) -> bool:
    """Whether a container can have this name, and be seen."""
    return bool(name) and '/' not in name and RESERVED not in name and len(name.encode()) <= MAX_CONTAINER_NAME_LENGTH
