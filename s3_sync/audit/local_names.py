"""The names of a local container in order, all of them and not only this node's share.

From this node's own databases where a replica of the container lies here: they
hold the times, ETags and tombstones of every object, and reading them costs
the cluster nothing. A replica may be behind; several on one node are merged by
the newest row, and whatever is found wrong is looked at again by its object.
Sharded containers, and those without a replica here, are listed through Swift's
proxy application instead; a listing tells one time of each object and no
tombstones, so those of the databases that are here are added.
"""
from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cmp_to_key
from itertools import groupby
from typing import Any, Literal, Protocol

from swift.common.internal_client import InternalClient, UnexpectedResponse
from swift.common.utils import Timestamp, encode_timestamps

from container_crawler.databases import ContainerRing, Place
from container_crawler.device_threads import DeviceThreads
from container_crawler.exceptions import CrawlerError, DatabaseBusy
from container_crawler.reader import DatabaseFile, FolderFacts, inspect_folder, read_names
from container_crawler.rows import Row
from container_crawler.shards import ContainerPath
from s3_sync.ledger.work import compare_rows
from s3_sync.timestamps import parse_timestamp

PAGE_ROWS = 1000
TRIES = 3
"""How often a page is asked for of a database that is busy, or was replaced while it was read."""


class LocalUnreadable(CrawlerError):
    """The names of a container cannot be had, or not all of them."""


class LocalNames(Protocol):
    """One container."""

    how: Literal['databases', 'listing']
    policy_index: int

    def rows(self, prefix: str) -> Iterator[Row]:
        """One row for each name, live or deleted, ascending. Raises LocalUnreadable."""

    def exact(self, row: Row) -> Row | None:
        """A live row with all its times, None when its object has gone. Raises LocalUnreadable."""


class LocalContainers:
    """Opens containers. Used in one hub; ``close`` ends its threads."""

    def __init__(self, ring: ContainerRing | None, client: Callable[[], InternalClient], *,
                 threads: DeviceThreads | None = None) -> None:
        """``ring`` None: no databases lie here. ``client`` gives Swift's proxy application when it is first needed."""
        self._ring = ring
        self._client = client
        self._threads = threads or DeviceThreads()

    def open(self, account: str, container: str) -> LocalNames:
        """Raises LocalUnreadable."""
        databases = _Databases(account, container, self._threads, self._ring)
        databases.look()
        if databases.readable and not databases.shards:
            return databases
        return _Listing(account, container, self._client(), self._with_shards(databases))

    def _with_shards(self, root: _Databases) -> list[_Databases]:
        parts = [root]
        for shard in sorted(root.shards):
            part = _Databases(*shard, self._threads, self._ring)
            part.look()
            parts.append(part)
        return parts

    def close(self) -> None:
        self._threads.close()


@dataclass(frozen=True, slots=True)
class _Found:
    """A database file in its place."""

    place: Place
    file: DatabaseFile


class _Databases:
    """The replicas of one container's database on this node. Nothing is written: pending files stay as they are."""

    how: Literal['databases', 'listing'] = 'databases'

    def __init__(self, account: str, container: str, threads: DeviceThreads, ring: ContainerRing | None) -> None:
        self._path = ContainerPath(account, container)
        self._threads = threads
        self._places = ring.places(account, container) if ring is not None else []
        self._files: list[_Found] = []
        self.policy_index = 0
        self.shards: set[ContainerPath] = set()

    @property
    def readable(self) -> bool:
        return bool(self._files)

    def look(self) -> None:
        """Find the files. A replica that cannot be read is one too many: the audit would not be whole."""
        for place in self._places:
            facts = self._try(place, inspect_folder, place.folder, False)
            if facts is None:
                continue
            self._files += [_Found(place, file) for file in facts.files]
            self.shards.update(facts.shards)
            self.policy_index = int(facts.info['storage_policy_index'])

    def rows(self, prefix: str) -> Iterator[Row]:
        yield from newest(stream for deleted in (False, True) for stream in self.streams(deleted, prefix))

    def exact(self, row: Row) -> Row | None:
        return row

    def streams(self, deleted: bool, prefix: str) -> Iterator[Iterator[Row]]:
        """Sorted rows of each file, and of its pending file."""
        for found in self._files:
            yield self._file_rows(found, deleted, prefix)
            yield iter(sorted((row for row in found.file.pending
                               if row.deleted is deleted and row.name.startswith(prefix)), key=_name))

    def _file_rows(self, found: _Found, deleted: bool, prefix: str) -> Iterator[Row]:
        after, file = '', found.file
        while True:
            for _ in range(TRIES):
                chunk = self._try(found.place, read_names, file, deleted, after, prefix, PAGE_ROWS)
                if chunk is not None:
                    break
                file = self._replaced(found.place, file)
            else:
                raise LocalUnreadable(f'{file.path}: replaced again and again while it was read')
            yield from chunk.rows
            if chunk.complete:
                return
            after = chunk.rows[-1].name

    def _replaced(self, place: Place, old: DatabaseFile) -> DatabaseFile:
        """What replication has put in the place of a database."""
        facts: FolderFacts | None = self._try(place, inspect_folder, place.folder, False)
        for file in facts.files if facts is not None else ():
            if file.path == old.path:
                return file
        raise LocalUnreadable(f'{old.path}: gone while it was read')

    def _try(self, place: Place, function: Callable[..., Any], *arguments: Any) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return self._threads.run(place.device, function, *arguments)
            except DatabaseBusy as error:  # waits inside
                if not left:
                    raise LocalUnreadable(str(error)) from error
            except (CrawlerError, OSError) as error:
                raise LocalUnreadable(str(error)) from error
        raise AssertionError('unreachable')


class _Listing:
    """A container through the proxy application, its tombstones from what databases are here."""

    how: Literal['databases', 'listing'] = 'listing'

    def __init__(self, account: str, container: str, client: InternalClient, databases: list[_Databases]) -> None:
        self._account, self._container = account, container
        self._client = client
        self._databases = databases
        found = self._ask(lambda: client.get_container_metadata(account, container, acceptable_statuses=(2, 404)))
        self._exists = 'x-container-object-count' in found
        self.policy_index = int(found.get('x-backend-storage-policy-index') or 0)

    def rows(self, prefix: str) -> Iterator[Row]:
        tombstones = (stream for part in self._databases for stream in part.streams(True, prefix))
        yield from newest([self._live(prefix), *tombstones])

    def _live(self, prefix: str) -> Iterator[Row]:
        if not self._exists:
            return
        # A page that is not found would otherwise be taken for the end.
        items = self._client.iter_objects(self._account, self._container, prefix=prefix, acceptable_statuses=(2,))
        while (item := self._ask(lambda: next(items, None))) is not None:
            at = Timestamp(datetime.fromisoformat(item['last_modified']).replace(tzinfo=UTC).timestamp())
            yield Row(0, item['name'], encode_timestamps(at, at, at), int(item['bytes']), item['content_type'],
                      item['hash'], False, self.policy_index)

    def exact(self, row: Row) -> Row | None:
        """Asks all replicas: a listing tells only when an object was last changed, not when its data was."""
        if row.deleted:
            return row
        headers = {'X-Newest': 'true', 'X-Backend-Storage-Policy-Index': str(self.policy_index)}
        found = self._ask(lambda: self._client.get_object_metadata(
            self._account, self._container, row.name, acceptable_statuses=(2, 404), headers=headers,
            params={'symlink': 'get', 'multipart-manifest': 'get'}))
        data, meta = (parse_timestamp(found.get(name)) for name in ('x-backend-data-timestamp', 'x-backend-timestamp'))
        if data is None or meta is None:
            return None
        return row._replace(created_at=encode_timestamps(data, data, meta))

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except UnexpectedResponse as error:
            raise LocalUnreadable(f'{self._account}/{self._container}: {error}') from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LocalUnreadable(f'{self._account}/{self._container}: {error!r}') from error


def newest(streams: Iterable[Iterator[Row]]) -> Iterator[Row]:
    """Sorted streams as one, of each name the newest row."""
    for _, rows in groupby(heapq.merge(*streams, key=_name), key=_name):
        yield max(rows, key=_AGE)


def _name(row: Row) -> str:
    return row.name


def _compare(one: Row, other: Row) -> int:
    return compare_rows(one.created_at, other.created_at)


_AGE = cmp_to_key(_compare)
