"""What every single server holds of an object: its file on object servers, its row on container servers.

The proxy tells what a quorum agrees on. A local delete that must not come back
needs to know of each replica (semantics 2.2). Silence is never an answer:
Unanswered, whatever the cause.
"""
from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlencode

from swift.common.ring import Ring
from swift.common.utils import ShardRange, Timestamp

from s3_sync.clock import Clock
from s3_sync.errors import RemovalDeferred
from s3_sync.local.backend_http import BackendConnections, BackendError, BackendResponse
from s3_sync.local.placement import Node, Placement
from s3_sync.local.storage_servers import StorageServers, label
from s3_sync.local.versions import SYMLINK_HEADER
from s3_sync.timestamps import ZERO, parse_timestamp
from s3_sync.types import ObjectRow

SETTLED_STATES = ('unsharded', 'collapsed')
"""A container database that keeps its rows itself. ``sharded`` keeps them in shards; the others are in between."""


class Unanswered(RemovalDeferred):
    """A server, or a device of it, did not tell what it holds; or the rows are just being moved."""


@dataclass(frozen=True, slots=True)
class File:
    """What one device of an object server holds."""

    node: Node
    live: bool = False
    data: Timestamp = ZERO
    """When the live file's data was written."""
    metadata: Timestamp = ZERO
    """The newest of its times."""
    tombstone: Timestamp | None = None
    """Of a deleted object, until Swift has reclaimed it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of a live file; lower-case names."""

    @property
    def is_link(self) -> bool:
        return SYMLINK_HEADER in self.headers


class Database(NamedTuple):
    """One replica of a container, or of a shard of it."""

    node: Node
    partition: int
    account: str
    container: str


@dataclass(frozen=True, slots=True)
class LiveRow:
    """What one database shows of an object."""

    database: Database
    last_modified: str = ''
    """Its newest time, as listings write it (no offset); '' when there is no live row."""
    exists: bool = True
    """The database itself is there."""
    state: str = 'unsharded'
    policy_index: int = 0
    """The container's."""


@dataclass(frozen=True, slots=True)
class LiveRows:
    """Rows of all databases that may show an object."""

    primaries: tuple[LiveRow, ...]
    others: tuple[LiveRow, ...]
    """Of handoffs, and of the root of a sharded container."""


class Replicas:
    """Asks storage servers one by one. Green-thread safe; kept for the life of a process."""

    def __init__(self, placement: Placement, swift_dir: str, *, connections: BackendConnections | None = None,
                 clock: Clock | None = None, logger: logging.Logger | None = None) -> None:
        self._placement = placement
        self._servers = StorageServers(connections=connections, clock=clock, logger=logger)
        self._containers = Ring(swift_dir, ring_name='container')

    def close(self) -> None:
        self._servers.close()

    # -- files ---------------------------------------------------------------------------

    def primaries(self, row: ObjectRow) -> list[Node]:
        """Devices that are to hold the object's file (or a fragment of it)."""
        return self._placement.of(row).primaries

    def handoffs(self, row: ObjectRow) -> list[Node]:
        """The devices next in line: as many as there are primaries."""
        place = self._placement.of(row)
        return list(self._placement.handoffs(place, len(place.primaries)))

    def file(self, row: ObjectRow, node: Node) -> File:
        """Raises Unanswered."""
        response = self._object('HEAD', row, node, {'X-Backend-Open-Expired': 'true'})
        stamp = parse_timestamp(response.headers.get('x-backend-timestamp'))
        if response.status == 404:
            return File(node, tombstone=stamp)
        data = parse_timestamp(response.headers.get('x-backend-data-timestamp'))
        if response.status != 200 or data is None or stamp is None:
            raise Unanswered(f'{label(node)}: status {response.status}')
        return File(node, True, data, stamp, headers=response.headers)

    def delete_file(self, row: ObjectRow, node: Node, stamp: Timestamp) -> None:
        """Tell this device alone; it tells no container. A file with newer data stays. Raises Unanswered."""
        response = self._object('DELETE', row, node, {'X-Timestamp': stamp.internal})
        if response.status not in (204, 404, 409):
            raise Unanswered(f'{label(node)}: status {response.status} to a DELETE')

    def _object(self, method: str, row: ObjectRow, node: Node, headers: Mapping[str, str]) -> BackendResponse:
        response = self._ask(method, node, self._placement.of(row).partition, (row.account, row.container, row.name),
                             {'X-Backend-Storage-Policy-Index': str(row.row.policy_index), **headers})
        response.close()
        return response

    # -- rows ----------------------------------------------------------------------------

    def rows(self, row: ObjectRow) -> LiveRows:
        """The object's rows wherever one may be shown from. Raises Unanswered, also while the container is cut up."""
        root = self._databases(row.account, row.container)
        here = [self.row(row, database) for database in root]
        states = {found.state for found in here if found.exists}
        if states <= set(SETTLED_STATES):
            return LiveRows(tuple(here), self._elsewhere(row, root))
        if states != {'sharded'}:
            raise Unanswered(f'{row.account}/{row.container} is being sharded')
        shard = self._databases(*self._shard(row, root))
        if shard == root:
            return LiveRows(tuple(here), self._elsewhere(row, root))
        there = [self.row(row, database) for database in shard]
        if {found.state for found in there if found.exists} - set(SETTLED_STATES) or not any(f.exists for f in there):
            raise Unanswered(f'{shard[0].account}/{shard[0].container} is being sharded')
        return LiveRows(tuple(there), (*here, *self._elsewhere(row, shard)))

    def row(self, row: ObjectRow, database: Database) -> LiveRow:
        """Raises Unanswered."""
        # Backwards from just behind the name, because a prefix query fails for names that end in U+10FFFF.
        query = urlencode({'format': 'json', 'limit': 1, 'reverse': 'true', 'marker': f'{row.name}\0'})
        response, listing = self._listing(database, query,
                                          {'X-Backend-Storage-Policy-Index': str(row.row.policy_index)})
        state = response.headers.get('x-backend-sharding-state', SETTLED_STATES[0])
        policy_index = int(response.headers.get('x-backend-storage-policy-index', 0))
        if listing is None:
            return LiveRow(database, exists=False)
        shown = [entry['last_modified'] for entry in listing if entry.get('name') == row.name]
        return LiveRow(database, shown[0] if shown else '', True, state, policy_index)

    def delete_row(self, row: ObjectRow, database: Database, stamp: Timestamp) -> None:
        """Tell this database alone, as an object server would. A newer row stays. Raises Unanswered."""
        node, partition, account, container = database
        response = self._ask('DELETE', node, partition, (account, container, row.name),
                             {'X-Backend-Storage-Policy-Index': str(row.row.policy_index),
                              'X-Timestamp': stamp.internal})
        response.close()
        if response.status not in (204, 404):
            raise Unanswered(f'{label(node)}: status {response.status} to the DELETE of a row')

    def policy_index(self, account: str, container: str) -> int | None:
        """Index of the container's storage policy, None when no server has the container. Raises Unanswered."""
        problems = []
        for node, partition, *_ in self._databases(account, container):
            try:
                response = self._ask('HEAD', node, partition, (account, container), {})
            except Unanswered as error:
                problems.append(str(error))
                continue
            response.close()
            if response.status == 204:
                return int(response.headers['x-backend-storage-policy-index'])
        if problems:
            raise Unanswered(f'{account}/{container}: {"; ".join(problems)}')
        return None

    def _elsewhere(self, row: ObjectRow, primaries: list[Database]) -> tuple[LiveRow, ...]:
        """What the handoffs next in line show."""
        first = primaries[0]
        nodes: Iterator[Node] = islice(self._containers.get_more_nodes(first.partition), len(primaries))
        return tuple(self.row(row, first._replace(node=node)) for node in nodes)

    def _databases(self, account: str, container: str) -> list[Database]:
        partition, nodes = self._containers.get_nodes(account, container)
        return [Database(node, partition, account, container) for node in nodes]

    def _shard(self, row: ObjectRow, root: Iterable[Database]) -> tuple[str, str]:
        """Account and container of the shard that takes this name."""
        query = urlencode({'format': 'json', 'states': 'updating', 'includes': row.name})
        for database in root:
            response, ranges = self._listing(database, query, {'X-Backend-Record-Type': 'shard'})
            if not ranges or response.headers.get('x-backend-record-type') != 'shard':
                continue
            account, _, container = ranges[0]['name'].partition('/')
            if (account, container) != (row.account, row.container) and ranges[0]['state'] != ShardRange.ACTIVE:
                raise Unanswered(f'{row.path}: its shard {container} is not complete')
            return account, container
        raise Unanswered(f'{row.path}: no shard takes this name')

    def _listing(self, database: Database, query: str,
                 headers: Mapping[str, str]) -> tuple[BackendResponse, list[dict[str, Any]] | None]:
        """The entries, None where the database does not exist."""
        node, partition, account, container = database
        response = self._ask('GET', node, partition, (account, container), headers, query=query)
        try:
            body = response.read()
            if response.status == 404:
                return response, None
            if response.status in (200, 204):
                return response, json.loads(body or b'[]')
        except (BackendError, ValueError) as error:
            raise Unanswered(f'{label(node)}: {error}') from error
        finally:
            response.close()
        raise Unanswered(f'{label(node)}: status {response.status} to a listing')

    # -- one server ----------------------------------------------------------------------

    def _ask(self, method: str, node: Node, partition: int, path: tuple[str, ...], headers: Mapping[str, str], *,
             query: str = '') -> BackendResponse:
        try:
            return self._servers.ask(method, node, partition, path, headers, query=query)
        except BackendError as error:
            raise Unanswered(str(error)) from error
