"""A plain Swift container and account in this process: Swift's own brokers, and the shapes its servers give their rows.

What it answers is what the merged namespace must answer.
"""
from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from swift.account.backend import AccountBroker
from swift.common.utils import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.server import ContainerController

from s3_sync.shunting.listing.params import Entry, ListingParams

_SERVER = SimpleNamespace(logger=logging.getLogger(__name__))


class Row(NamedTuple):
    """An object as its container knows it."""

    name: str
    time: float = 1_600_000_000.0
    size: int = 1
    etag: str = 'd41d8cd98f00b204e9800998ecf8427e'
    content_type: str = 'application/octet-stream'


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix='1space-plain-', ignore_cleanup_errors=True)


_numbers = count()


@cache
def _template(make: Callable[[str], Any], *arguments: Any) -> Path:
    """An empty database: making one takes longer than a test."""
    path = Path(_folder().name) / f'template-{next(_numbers)}.db'
    broker = make(str(path))
    broker.initialize(Timestamp(1).internal, *arguments)
    broker.conn.close()
    return path


def _broker(owner: object, make: Callable[[str], Any], *arguments: Any) -> Any:
    path = Path(_folder().name) / f'{next(_numbers)}.db'
    shutil.copy(_template(make, *arguments), path)
    broker = make(str(path))
    weakref.finalize(owner, path.unlink, missing_ok=True)
    return broker


def _container_broker(path: str) -> ContainerBroker:
    return ContainerBroker(path, account='a', container='c')


def _account_broker(path: str) -> AccountBroker:
    return AccountBroker(path, account='a')


class PlainContainer:
    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._broker = _broker(self, _container_broker, 0)
        self._broker.merge_items([
            {'name': row.name, 'created_at': Timestamp(row.time).internal, 'size': row.size,
             'content_type': row.content_type, 'etag': row.etag, 'deleted': 0, 'storage_policy_index': 0}
            for row in rows])

    def page(self, params: ListingParams, *, hidden: bool = False) -> list[Entry]:
        """``hidden``: for whoever may see reserved names."""
        records = self._broker.list_objects_iter(
            params.limit, params.marker, params.end_marker or None, params.prefix or None, params.delimiter or None,
            params.path, reverse=params.reverse, allow_reserved=hidden)
        return [ContainerController.update_object_record(_SERVER, record) for record in records]


class PlainAccount:
    def __init__(self, names: Iterable[str] = (), *, time: float = 1_600_000_000.0) -> None:
        self._broker = _broker(self, _account_broker)
        self._broker.merge_items([
            {'name': name, 'put_timestamp': Timestamp(time).internal, 'delete_timestamp': '0', 'object_count': 0,
             'bytes_used': 0, 'deleted': 0, 'storage_policy_index': 0} for name in names])

    def page(self, params: ListingParams) -> list[Entry]:
        """As ``account_listing_response`` makes it, without the policy's name."""
        return [{'subdir': name} if subdir else
                {'name': name, 'count': count, 'bytes': size, 'last_modified': Timestamp(at).isoformat}
                for name, count, size, at, _policy, subdir in self._broker.list_containers_iter(
                    params.limit, params.marker, params.end_marker or None, params.prefix or None,
                    params.delimiter or None, params.reverse)]
