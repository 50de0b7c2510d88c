"""Disk, object servers and proxy give the same object; what no source can give is told apart."""
from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from swift.common import storage_policy, utils
from swift.container.backend import ContainerBroker

from container_crawler.device_threads import DeviceThreads
from container_crawler.rows import Row
from container_crawler.swift_dir import load_swift_dir
from s3_sync.config.model import Settings
from s3_sync.errors import SourceGone
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DiskSource
from s3_sync.local.factory import make_source
from s3_sync.local.placement import Placement
from s3_sync.local.proxy import ProxySource
from s3_sync.local.versions import SMALL_BYTES
from s3_sync.metrics import Registry
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.trial.swift_rings import Policy
from s3_sync.types import ObjectRow

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning')

AWKWARD = ['%41', 'a//b', '/lead', 'end/', 'line\nbreak', 'ключ \U0001f600', 'q?a=1&b#c', '.', '../up', 'x' * 1024]
LARGE = os.urandom(3 * SMALL_BYTES + 17)


class World:
    """A running cluster, a client of it, and the sources as node 0 would have them."""

    def __init__(self, cluster: SwiftCluster) -> None:
        self.cluster = cluster
        self.client = cluster.client()
        self.placement = Placement(str(cluster.swift_dir), cluster.bind_ip(0))
        self.threads = DeviceThreads()
        self.disk = DiskSource(self.placement, devices=str(cluster.devices(0)), runner=self.threads)
        self.direct = DirectSource(self.placement)
        self.proxy = ProxySource(lambda: self.internal_client(cluster.internal_client_conf))
        self.metrics = Registry()
        self.chain = self.make_chain()

    @staticmethod
    def internal_client(conf: Path | str) -> Any:
        from swift.common.internal_client import InternalClient
        return InternalClient(str(conf), 'tests', 1)

    def make_chain(self, **settings: Any) -> Any:
        given = {'devices': str(self.cluster.devices(0)), 'swift_dir': str(self.cluster.swift_dir),
                 'swift_bind_ip': self.cluster.bind_ip(0),
                 'internal_client_path': str(self.cluster.internal_client_conf)}
        return make_source(Settings.model_validate({**given, **settings}), metrics=self.metrics)

    def container(self, name: str, policy: str = 'gold') -> str:
        self.client.put_container(name, headers={'X-Storage-Policy': policy})
        return name

    def put_exactly(self, container: str, name: str, body: bytes) -> None:
        """PUT a name as it is; HTTP clients of users resolve ``..`` themselves."""
        client = self.internal_client(self.cluster.internal_client_conf)
        path = quote(f'/v1/{self.cluster.account}/{container}/{name}')
        client.make_request('PUT', path, {'Content-Length': str(len(body))}, (201,), body_file=BytesIO(body))

    def row(self, container: str, name: str, node: int = 0) -> ObjectRow:
        """The newest row of this object that the node's container database has."""
        for path in sorted(self.cluster.devices(node).glob('*/containers/*/*/*/*.db')):
            broker = ContainerBroker(str(path))
            if broker.get_info()['container'] != container:
                continue
            for item in broker.get_items_since(-1, 10000):
                if item['name'] == name:
                    return ObjectRow(self.cluster.account, container, Row(
                        item['ROWID'], name, item['created_at'], item['size'], item['content_type'], item['etag'],
                        bool(item['deleted']), item['storage_policy_index']))
        raise AssertionError(f'no row of {name!r} in {container}')

    def close(self) -> None:
        self.client.close()
        for source in (self.disk, self.direct, self.proxy, self.chain):
            source.close()


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    before = (utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES)
    policies = (Policy('gold', default=True), Policy('pieces', kind='erasure_coding'))
    with SwiftCluster(nodes=3, replicas=3, policies=policies) as cluster:
        load_swift_dir(cluster.swift_dir)
        world = World(cluster)
        try:
            yield world
        finally:
            world.close()
            utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES = before


def read(source: Any, row: ObjectRow) -> tuple[bytes, Any, Any]:
    found = source.open(row)
    try:
        return b''.join(found.body), found.meta, found.times
    finally:
        found.body.close()


class TestTheThreeSourcesAgree:
    """Same bytes, metadata and times from each source, and from the chain."""

    def check(self, world: World, row: ObjectRow, body: bytes) -> Any:
        from_disk, *others = [read(source, row) for source in (world.disk, world.direct, world.proxy, world.chain)]
        assert from_disk[0] == body
        for other in others:
            assert dict(other[1].user_metadata) == dict(from_disk[1].user_metadata)
            assert dict(other[1].sysmeta) == dict(from_disk[1].sysmeta)
            assert other == from_disk
        assert from_disk[2].covers(row.times)
        return from_disk[1]

    @pytest.mark.parametrize('body', [b'hello', b'', LARGE], ids=['small', 'empty', 'large'])
    def test_on_a_regular_object(self, world: World, body: bytes) -> None:
        c = world.container('agree')
        world.client.put_object(c, 'o', body, content_type='text/x-test; charset=utf-8', headers={
            'X-Object-Meta-Colour': 'grün \U0001f600', 'Content-Encoding': 'br', 'Content-Language': 'de',
            'Content-Disposition': 'attachment', 'Cache-Control': 'no-cache', 'X-Delete-At': '4102444800'})
        meta = self.check(world, world.row(c, 'o'), body)
        assert meta.user_metadata == {'colour': 'grün \U0001f600'}
        assert (meta.content_type, meta.delete_at) == ('text/x-test; charset=utf-8', 4102444800)
        assert set(meta.headers) == {'content-encoding', 'content-language', 'content-disposition', 'cache-control'}

    @pytest.mark.parametrize('name', AWKWARD)
    def test_on_awkward_names(self, world: World, name: str) -> None:
        c = world.container('awkward')
        world.put_exactly(c, name, name.encode())
        assert self.check(world, world.row(c, name), name.encode()).name == name

    def test_after_a_post(self, world: World) -> None:
        c = world.container('posted')
        world.client.put_object(c, 'o', b'x', headers={'X-Object-Meta-A': '1'}, content_type='text/plain')
        first = world.row(c, 'o')
        world.client.post_object(c, 'o', {'X-Object-Meta-B': '2'})
        row = world.row(c, 'o')
        meta = self.check(world, row, b'x')
        assert meta.user_metadata == {'b': '2'}
        assert meta.data_time == first.times.data < meta.meta_time == row.times.metadata

    def test_after_a_post_of_the_content_type(self, world: World) -> None:
        c = world.container('ctype')
        world.client.put_object(c, 'o', b'x', content_type='text/plain')
        world.client.post_object(c, 'o', {'Content-Type': 'text/new'})
        world.client.post_object(c, 'o', {'X-Object-Meta-B': '2'})
        row = world.row(c, 'o')
        assert row.times.data < row.times.content_type < row.times.metadata
        meta = self.check(world, row, b'x')
        assert (meta.content_type, meta.ctype_time) == ('text/new', row.times.content_type)

    def test_on_a_raw_large_object_manifest(self, world: World) -> None:
        c = world.container('large')
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{c}/seg'})
        world.client.put_object(c, 'seg', b'1')
        world.client.put_object(c, 'slo', b'[{"path": "/large/seg"}]', query_string='multipart-manifest=put')
        assert self.check(world, world.row(c, 'dlo'), b'').large_object == 'dlo'
        row = world.row(c, 'slo')
        assert self.check(world, row, read(world.disk, row)[0]).large_object == 'slo'

    def test_on_a_deleted_object(self, world: World) -> None:
        c = world.container('deleted')
        world.client.put_object(c, 'o', b'x')
        row = world.row(c, 'o')
        world.client.delete_object(c, 'o')
        for source in (world.disk, world.direct, world.proxy, world.chain):
            with pytest.raises(SourceGone):
                source.open(row)
        assert not world.chain.superseded(world.row(c, 'o'))

    def test_on_a_body_read_twice(self, world: World) -> None:
        c = world.container('twice')
        world.client.put_object(c, 'o', LARGE)
        for source in (world.disk, world.direct, world.proxy):
            found = source.open(world.row(c, 'o'))
            body = iter(found.body)
            next(body)
            found.body.rewind()
            assert b''.join(found.body) == LARGE
            found.body.rewind()
            assert b''.join(found.body) == LARGE
            found.body.close()
