"""A real cluster and the ways of reading it, as its first node would have them."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from swift.common import storage_policy, utils
from swift.container.backend import ContainerBroker

from container_crawler.device_threads import DeviceThreads
from container_crawler.internal_client import make_internal_client
from container_crawler.rows import Row
from container_crawler.swift_dir import load_swift_dir
from s3_sync.config.model import Settings
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DiskSource
from s3_sync.local.factory import make_source
from s3_sync.local.placement import Placement
from s3_sync.local.proxy import ProxySource
from s3_sync.metrics import Registry
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ObjectRow


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
        return make_internal_client(str(Path(conf).parent), str(conf), tries=1)

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

    def row(self, container: str, name: str) -> ObjectRow:
        """The newest row of this object in any replica of the container database.

        By data first: an object server that missed a PUT and gets the POST
        reports its old data time with the new metadata time.
        """
        rows = [ObjectRow(self.cluster.account, container, Row(
                    item['ROWID'], name, item['created_at'], item['size'], item['content_type'], item['etag'],
                    bool(item['deleted']), item['storage_policy_index']))
                for node in self.cluster.nodes for path in node.folder.glob('*/containers/*/*/*/*.db')
                for item in self._items(ContainerBroker(str(path)), container) if item['name'] == name]
        return max(rows, key=lambda row: row.times)

    @staticmethod
    def _items(broker: ContainerBroker, container: str) -> list[dict[str, Any]]:
        return broker.get_items_since(-1, 10000) if broker.get_info()['container'] == container else []

    def close(self) -> None:
        self.client.close()
        for source in (self.disk, self.direct, self.proxy, self.chain):
            source.close()


@contextmanager
def cluster_world(**options: Any) -> Iterator[World]:
    """A cluster that is this process's Swift until the end."""
    before = (utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES)
    with SwiftCluster(**options) as cluster:
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
