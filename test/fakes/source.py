"""A local cluster in memory: what ``s3_sync.local`` would find for each name."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from swift.common.utils import Timestamp, encode_timestamps

from container_crawler.rows import Row
from s3_sync.errors import SourceGone, SourceStale, SourceUnavailable
from s3_sync.large_objects.manifest import parse_manifest
from s3_sync.large_objects.model import LargeSource, Segment
from s3_sync.local.source import Link, SourceObject
from s3_sync.streams import BytesBody
from s3_sync.timestamps import RowTimes
from s3_sync.types import ObjectMeta, ObjectRow
from test.fakes.large_source import MemoryLargeSource


class FakeSource:
    """PUT, POST and DELETE as a user would; gives out rows like a container database."""

    def __init__(self, account: str = 'AUTH_a', container: str = 'c') -> None:
        self.account, self.container = account, container
        self.live: dict[str, tuple[bytes, ObjectMeta, RowTimes]] = {}
        self.opened = 0
        self.bodies: list[CountedBody] = []
        self.segments: dict[tuple[str, str], bytes] = {}
        """What segments of large objects are read from: container and name to bytes."""
        self.larges: dict[str, LargeSource] = {}
        """By name: what ``large`` gives instead of what it would make of the manifest."""
        self.links: dict[str, Link] = {}
        """By name: objects that are symbolic links; what is ``live`` under the name is their target."""
        self.unreachable = False
        self._row_id = 0

    def put(self, name: str, data: bytes, at: float, **meta: object) -> ObjectRow:
        time = Timestamp(at)
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        described = ObjectMeta(name=name, size=len(data), etag=etag, data_time=time, meta_time=time)
        self.live[name] = data, replace(described, **meta), RowTimes(time, time, time)  # type: ignore[arg-type]
        return self.row(name)

    def post(self, name: str, at: float, user_metadata: dict[str, str]) -> ObjectRow:
        data, meta, times = self.live[name]
        time = Timestamp(at)
        self.live[name] = (data, replace(meta, user_metadata=user_metadata, meta_time=time),
                           RowTimes(times.data, times.content_type, time))
        return self.row(name)

    def delete(self, name: str, at: float) -> ObjectRow:
        self.live.pop(name, None)
        return self._object_row(name, Timestamp(at).internal, 0, '', deleted=True)

    def row(self, name: str) -> ObjectRow:
        _, meta, times = self.live[name]
        return self._object_row(name, encode_timestamps(*times), meta.size, meta.etag, deleted=False)

    def _object_row(self, name: str, created_at: str, size: int, etag: str, *, deleted: bool) -> ObjectRow:
        self._row_id += 1
        return ObjectRow(self.account, self.container, Row(
            self._row_id, name, created_at, size, 'application/octet-stream', etag, deleted, 0))

    # -- Source --------------------------------------------------------------------------

    def open(self, row: ObjectRow, *, follow_links: bool = True) -> SourceObject:
        self.opened += 1
        if self.unreachable:
            raise SourceUnavailable('no replica answers')
        if row.name not in self.live:
            raise SourceGone(row.path)
        data, meta, times = self.live[row.name]
        if not times.covers(row.times):
            raise SourceStale(row.path)
        link = None if follow_links else self.links.get(row.name)
        if link is not None:
            data = b''
            meta = replace(meta, size=0, etag=hashlib.md5(b'', usedforsecurity=False).hexdigest())
        body = CountedBody(data)
        self.bodies.append(body)
        return SourceObject(meta, times, body, 'disk', link)

    def large(self, row: ObjectRow, opened: SourceObject) -> LargeSource:
        """SLOs with whole ordinary segments, DLOs that are put into ``larges``, and plain objects."""
        if row.name in self.larges:
            return self.larges[row.name]
        data = b''.join(opened.body)
        if opened.meta.large_object == 'slo':
            return MemoryLargeSource(self.segments, parse_manifest(data))
        meta = opened.meta
        return MemoryLargeSource({(self.container, meta.name): data}, [Segment(
            self.container, meta.name, meta.etag, meta.size, 0, meta.size)], kind='plain')

    def expect(self, rows: Sequence[ObjectRow]) -> None:
        pass

    def superseded(self, row: ObjectRow) -> bool:
        if self.unreachable:
            raise SourceUnavailable('a primary does not answer')
        return row.name in self.live and self.live[row.name][2].newest > row.times.newest

    def close(self) -> None:
        pass


class CountedBody(BytesBody):
    """Knows whether it was closed."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.closed = False

    def close(self) -> None:
        self.closed = True
