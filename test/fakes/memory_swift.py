"""A Swift account in memory: what users see of it, and what its proxy application and servers tell the daemon.

One replica of everything. Times decide as they do in Swift, whose own function
merges the rows. What the daemon reads and deletes comes through the stand-ins
for ``ProxyClient`` and ``Replicas``, so that its own readers, its remover and
its account sweep run on it.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from swift.common.utils import Timestamp, decode_timestamps
from swift.container.backend import update_new_item_from_existing

from container_crawler.rows import Row
from s3_sync.clock import Clock
from s3_sync.large_objects.dlo import dlo_prefix
from s3_sync.large_objects.manifest import logical_size, parse_manifest, slo_etag, stored_manifest
from s3_sync.large_objects.model import LargeSource, Segment
from s3_sync.local.large import LargeReader
from s3_sync.local.proxy import ProxySource
from s3_sync.local.proxy_client import NORMAL, ProxyAnswer, ProxyClient
from s3_sync.local.replicas import Database, File, LiveRow, LiveRows
from s3_sync.local.segments import SegmentReader
from s3_sync.local.source import SourceObject
from s3_sync.local.wanted import SLO_ETAG_HEADER
from s3_sync.timestamps import RowTimes
from s3_sync.types import ObjectRow

Path = tuple[str, str]
"""Container and object."""
Item = dict[str, Any]
"""A row as Swift's container server merges it."""
SLO_SIZE_HEADER = 'x-object-sysmeta-slo-size'
NODE: dict[str, Any] = {'id': 0}


class Broken(Exception):
    """A manifest names something that is not there: clients get 409."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    data: bytes
    times: RowTimes
    headers: Mapping[str, str]
    """Lower-case names; without length, ETag and times."""

    @property
    def etag(self) -> str:
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()

    @property
    def slo_etag(self) -> str:
        """'' for what is no SLO."""
        return self.headers.get(SLO_ETAG_HEADER, '')

    @property
    def prefix(self) -> Path | None:
        """Of a DLO: container and prefix."""
        header = self.headers.get('x-object-manifest')
        return dlo_prefix(header) if header else None


class MemorySwift:
    """One account with some containers.

    ``told(container, row, everywhere)`` hears of every change of a row: it is in
    some replica of the database, or (rows that are forgotten at once) in all.
    """

    def __init__(self, containers: Sequence[str], clock: Clock, *, reclaim_age: float,
                 told: Callable[[str, Row, bool], None] = lambda container, row, everywhere: None) -> None:
        self.files: dict[Path, StoredFile] = {}
        self.tombstones: dict[Path, Timestamp] = {}
        self.rows: dict[str, dict[str, Item]] = {name: {} for name in containers}
        self._clock = clock
        self._reclaim_age = reclaim_age
        self._told = told

    # -- writing -------------------------------------------------------------------------

    def put(self, path: Path, data: bytes, at: Timestamp, headers: Mapping[str, str] | None = None) -> int:
        """201, or 202 when something as new is there."""
        known = self.files.get(path)
        if (known is not None and known.times.data >= at) or self.tombstones.get(path, Timestamp(0)) >= at:
            return 202
        file = StoredFile(data, RowTimes(at, at, at), dict(headers or {}))
        self.files[path] = file
        self.tombstones.pop(path, None)
        etag, content_type = file.etag, 'application/octet-stream'
        if file.slo_etag:
            etag += f'; slo_etag={file.slo_etag}'
            content_type += f';swift_bytes={file.headers[SLO_SIZE_HEADER]}'
        self._merge(path, {'created_at': at.internal, 'size': len(data), 'etag': etag, 'content_type': content_type,
                           'deleted': 0})
        return 201

    def put_slo(self, path: Path, segments: Sequence[Segment], at: Timestamp,
                headers: Mapping[str, str] | None = None) -> int:
        """``segments``: as large_source makes them, children filled in. 400 when one is not there."""
        if not all(self._has(segment) for segment in segments if segment.data is None):
            return 400
        return self.put(path, stored_manifest(segments), at, {
            **(headers or {}), 'x-static-large-object': 'True', SLO_ETAG_HEADER: slo_etag(segments),
            SLO_SIZE_HEADER: str(logical_size(segments))})

    def post(self, path: Path, at: Timestamp, metadata: Mapping[str, str]) -> int:
        """``metadata`` replaces all user metadata; a DLO stays one, as clients see to it."""
        file = self.files.get(path)
        if file is None:
            return 404
        if file.times.metadata >= at:
            return 409
        kept = {k: v for k, v in file.headers.items() if not k.startswith('x-object-meta-')}
        self.files[path] = replace(file, times=file.times._replace(metadata=at), headers={
            **kept, **{f'x-object-meta-{k}': v for k, v in metadata.items()}})
        item = self.rows[path[0]][path[1]]
        self._merge(path, {**item, 'data_timestamp': file.times.data.internal, 'meta_timestamp': at.internal})
        return 202

    def delete(self, path: Path, at: Timestamp) -> int:
        """Data decides: newer metadata goes along. Also what is not there leaves a tombstone."""
        file, tombstone = self.files.get(path), self.tombstones.get(path, Timestamp(0))
        if (file is not None and file.times.data >= at) or tombstone >= at:
            return 409
        self.files.pop(path, None)
        item = {'created_at': at.internal, 'size': 0, 'etag': 'noetag', 'content_type': 'application/deleted',
                'deleted': 1}
        if float(at) < self._clock.now() - self._reclaim_age:
            self.tombstones.pop(path, None)
            self._merge(path, item, everywhere=True)
            self.rows[path[0]].pop(path[1])
        else:
            self.tombstones[path] = at
            self._merge(path, item)
        return 204 if file is not None else 404

    def reclaim(self) -> None:
        """Forget deletes that are old enough."""
        since = self._clock.now() - self._reclaim_age
        self.tombstones = {path: at for path, at in self.tombstones.items() if float(at) >= since}
        for container, rows in self.rows.items():
            self.rows[container] = {name: item for name, item in rows.items()
                                    if not item['deleted'] or float(decode_timestamps(item['created_at'])[0]) >= since}

    def _merge(self, path: Path, item: Item, *, everywhere: bool = False) -> None:
        container, name = path
        rows = self.rows[container]
        item = {**item, 'name': name, 'storage_policy_index': 0}
        if update_new_item_from_existing(item, rows.get(name)):
            rows[name] = item
            self._told(container, row_of(item), everywhere)

    # -- reading, as users do ------------------------------------------------------------

    def read(self, path: Path) -> bytes | None:
        """The object as a GET gives it, None when it is not there. Broken."""
        file = self.files.get(path)
        if file is None:
            return None
        if file.slo_etag:
            return b''.join(self._segment(segment) for segment in parse_manifest(file.data))
        if file.prefix is not None:
            return b''.join(self.files[member].data for member in self.members(*file.prefix))
        return file.data

    def members(self, container: str, prefix: str) -> list[Path]:
        """What a prefix lists."""
        return sorted((container, name) for name, item in self.rows[container].items()
                      if name.startswith(prefix) and not item['deleted'])

    def named(self, path: Path) -> set[tuple[Path, str]]:
        """Every object that the one at ``path`` refers to, at any depth, with the content that is there now."""
        found: set[tuple[Path, str]] = set()
        file = self.files.get(path)
        if file is None:
            return found
        named: list[Path] = []
        if file.slo_etag:
            named = [(s.container, s.name) for s in parse_manifest(file.data) if s.data is None]
        elif file.prefix is not None:
            named = self.members(*file.prefix)
        for one in named:
            if one in self.files and one != path:
                found |= {(one, self.files[one].etag), *self.named(one)}
        return found

    def entry(self, path: Path, first: int = 0, length: int | None = None) -> Segment:
        """A manifest's entry for this object, or a range of it."""
        file = self.files[path]
        if not file.slo_etag:
            size = len(file.data)
            return Segment(*path, file.etag, size, first, size - first if length is None else length)
        children = tuple(self._filled(segment) for segment in parse_manifest(file.data))
        size = logical_size(children)
        return Segment(*path, file.slo_etag, size, first, size - first if length is None else length,
                       children=children, sub_slo=True)

    def _filled(self, segment: Segment) -> Segment:
        if not segment.sub_slo:
            return segment
        return replace(segment, children=self.entry((segment.container, segment.name)).children)

    def _has(self, segment: Segment) -> bool:
        file = self.files.get((segment.container, segment.name))
        return file is not None and segment.etag == (file.slo_etag if segment.sub_slo else file.etag)

    def _segment(self, segment: Segment) -> bytes:
        if segment.data is not None:
            return segment.data
        if not self._has(segment):
            raise Broken(segment.path)
        whole = self.read((segment.container, segment.name))
        assert whole is not None
        return whole[segment.first:segment.first + segment.length]


def row_of(item: Item, row_id: int = 0) -> Row:
    return Row(row_id, item['name'], item['created_at'], item['size'], item['content_type'], item['etag'],
               bool(item['deleted']), 0)


# -- what the daemon talks to -------------------------------------------------------------


class Answer(ProxyAnswer):
    """What ``ProxyClient`` gives out."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b'') -> None:
        # Nothing of the parent's: there is no response behind it.
        self.status = status
        self.headers = dict(headers or {})
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body

    def read(self) -> bytes:
        return self._body

    def close(self) -> None:
        pass


Around = Callable[[str, Sequence[str], Callable[[], Answer]], Answer]


class MemoryProxy(ProxyClient):
    """``around`` is asked to carry out every request, and told its method (``LIST`` for listings) and path."""

    def __init__(self, swift: MemorySwift,
                 around: Around = lambda method, path, call: call()) -> None:
        super().__init__(lambda: None)
        self._swift = swift
        self._around = around

    def request(self, method: str, path: tuple[str, ...], headers: Mapping[str, str] | None = None,
                params: Mapping[str, str] | None = None, *, normal: Collection[int] = NORMAL) -> Answer:
        where, wanted, asked = path[1:], dict(headers or {}), dict(params or {})
        if method == 'DELETE':
            return self._around(method, where, lambda: Answer(self._swift.delete(
                (where[0], where[1]), Timestamp(wanted['X-Timestamp']))))
        if len(where) == 2:
            return self._around(method, where, lambda: self._object((where[0], where[1]), wanted, method == 'HEAD'))
        return self._around('LIST', where, lambda: self._listing(where[0] if where else None, asked))

    def container_info(self, account: str, container: str) -> dict[str, Any]:
        return {'status': 200 if container in self._swift.rows else 404, 'storage_policy': 0}

    def _object(self, path: Path, wanted: Mapping[str, str], headers_only: bool) -> Answer:
        file = self._swift.files.get(path)
        if file is None:
            tombstone = self._swift.tombstones.get(path)
            return Answer(404, {} if tombstone is None else {'x-backend-timestamp': tombstone.internal})
        data, status = file.data, 200
        headers = {'content-type': 'application/octet-stream', **file.headers, 'etag': file.etag,
                   'x-backend-timestamp': file.times.newest.internal,
                   'x-backend-data-timestamp': file.times.data.internal}
        if 'Range' in wanted:
            first, _, last = wanted['Range'].removeprefix('bytes=').partition('-')
            status, data = 206, data[int(first):int(last) + 1]
            headers['content-range'] = f'bytes {first}-{last}/{len(file.data)}'
        headers['content-length'] = str(len(data))
        return Answer(status, headers, b'' if headers_only else data)

    def _listing(self, container: str | None, params: Mapping[str, str]) -> Answer:
        entries: list[dict[str, Any]] = [{'name': name} for name in sorted(self._swift.rows)]
        if container is not None:
            if container not in self._swift.rows:
                return Answer(404)
            entries = [_listed(item) for _, item in sorted(self._swift.rows[container].items()) if not item['deleted']]
        page = [entry for entry in entries
                if entry['name'] > params.get('marker', '') and entry['name'].startswith(params.get('prefix', ''))]
        return Answer(200, {}, json.dumps(page[:int(params.get('limit', 10_000))]).encode())


def _listed(item: Item) -> dict[str, Any]:
    _, _, metadata = decode_timestamps(item['created_at'])
    content_type, _, logical = item['content_type'].partition(';swift_bytes=')
    return {'name': item['name'], 'bytes': int(logical or item['size']), 'hash': item['etag'],
            'content_type': content_type, 'last_modified': metadata.isoformat}


class MemoryReplicas:
    """As ``Replicas``: one server that has everything, and no handoffs."""

    def __init__(self, swift: MemorySwift) -> None:
        self._swift = swift

    def primaries(self, row: ObjectRow) -> list[dict[str, Any]]:
        return [NODE]

    def handoffs(self, row: ObjectRow) -> list[dict[str, Any]]:
        return []

    def policy_index(self, account: str, container: str) -> int | None:
        return 0 if container in self._swift.rows else None

    def file(self, row: ObjectRow, node: dict[str, Any]) -> File:
        path = (row.container, row.name)
        file = self._swift.files.get(path)
        if file is None:
            return File(node, tombstone=self._swift.tombstones.get(path))
        return File(node, True, file.times.data, file.times.newest,
                    headers={**file.headers, 'etag': file.etag, 'content-length': str(len(file.data))})

    def delete_file(self, row: ObjectRow, node: dict[str, Any], stamp: Timestamp) -> None:
        self._swift.delete((row.container, row.name), stamp)

    def rows(self, row: ObjectRow) -> LiveRows:
        return LiveRows((self.row(row, Database(NODE, 0, row.account, row.container)),), ())

    def row(self, row: ObjectRow, database: Database) -> LiveRow:
        item = self._swift.rows[row.container].get(row.name)
        shown = '' if item is None or item['deleted'] else decode_timestamps(item['created_at'])[2].isoformat
        return LiveRow(database, shown)

    def delete_row(self, row: ObjectRow, database: Database, stamp: Timestamp) -> None:
        self._swift.delete((row.container, row.name), stamp)

    def close(self) -> None:
        pass


class MemorySource:
    """As ``ChainSource``, with the project's own readers of objects and large objects behind it."""

    def __init__(self, swift: MemorySwift, proxy: MemoryProxy, clock: Clock) -> None:
        self.proxy_client = proxy
        self._swift = swift
        self._proxy = ProxySource(proxy, clock=clock)
        segments = SegmentReader(_Elsewhere(), disk=None, direct=_Elsewhere(),  # type: ignore[arg-type]
                                 proxy=self._proxy)
        self._large = LargeReader(segments, self._proxy.containers)

    def open(self, row: ObjectRow, *, follow_links: bool = True) -> SourceObject:
        return self._proxy.open(row, follow_links=follow_links)

    def large(self, row: ObjectRow, opened: SourceObject) -> LargeSource:
        return self._large.large(row, opened)

    def expect(self, rows: Sequence[ObjectRow]) -> None:
        pass

    def superseded(self, row: ObjectRow) -> bool:
        file = self._swift.files.get((row.container, row.name))
        return file is not None and file.times.data > row.times.data

    def close(self) -> None:
        pass


class _Elsewhere:
    """Neither placement nor object servers: everything is read through the proxy."""

    replicated = False

    def of(self, row: ObjectRow) -> _Elsewhere:
        return self

    def silent(self, row: ObjectRow) -> str:
        return ''

