"""Objects and containers put into the cluster quickly: by Swift's own code, without its servers.

Data files are written by Swift's DiskFile and rows by its brokers, where the
rings say, so the servers find what they would have stored themselves. Through
the proxy it would take a hundred times longer.
"""
from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from swift.account.backend import AccountBroker
from swift.common.ring import Ring
from swift.common.storage_policy import POLICIES
from swift.common.utils import Timestamp, hash_path, storage_directory
from swift.container.backend import ContainerBroker
from swift.obj.diskfile import DiskFileManager

from container_crawler.swift_dir import load_swift_dir
from s3_sync.trial.swift_cluster import SwiftCluster

TYPE = 'application/octet-stream'
Row = dict[str, object]


class Filler:
    """For a cluster of one replica, whose ``swift_dir`` this process takes its settings from."""

    def __init__(self, cluster: SwiftCluster) -> None:
        load_swift_dir(cluster.swift_dir)
        self._cluster = cluster
        self._manager = DiskFileManager({'devices': str(cluster.devices()), 'mount_check': 'false',
                                         'disable_fallocate': 'true'}, logging.getLogger('fill'))

    def container(self, name: str) -> None:
        with closing(self._cluster.client()) as client:
            client.put_container(name)

    def write(self, container: str, names: Iterable[str], size: int) -> list[Row]:
        """Objects of random bytes with the metadata that rclone gives to its uploads; their rows are for ``list``."""
        return [self._object(container, name, size) for name in names]

    def list(self, container: str, rows: Sequence[Row]) -> None:
        """From now on the objects are seen."""
        path = self._database('containers', self._cluster.account, container)
        ContainerBroker(str(path), account=self._cluster.account, container=container).merge_items(rows)

    def idle_account(self, account: str, names: Iterable[str]) -> None:
        """An account of empty containers."""
        now = Timestamp.now().internal
        rows = []
        for name in names:
            broker = ContainerBroker(str(self._database('containers', account, name)), account=account, container=name)
            broker.initialize(now, 0)
            rows.append({'name': name, 'put_timestamp': now, 'delete_timestamp': '0', 'object_count': 0,
                         'bytes_used': 0, 'deleted': 0, 'storage_policy_index': 0})
        broker = AccountBroker(str(self._database('accounts', account)), account=account)
        broker.initialize(now)
        broker.merge_items(rows)

    def _object(self, container: str, name: str, size: int) -> Row:
        account, policy = self._cluster.account, POLICIES[0]
        part, nodes = POLICIES.get_object_ring(0, str(self._cluster.swift_dir)).get_nodes(account, container, name)
        timestamp = Timestamp(time.time())
        file = self._manager.get_diskfile(nodes[0]['device'], part, account, container, name, policy)
        digest = hashlib.md5(usedforsecurity=False)
        with file.create(size=size) as writer:
            for chunk in _random_bytes(size):
                writer.write(chunk)
                digest.update(chunk)
            writer.put({'X-Timestamp': timestamp.internal, 'Content-Type': TYPE, 'ETag': digest.hexdigest(),
                        'Content-Length': str(size), 'X-Object-Meta-Mtime': mtime()})
            writer.commit(timestamp)
        return {'name': name, 'created_at': timestamp.internal, 'size': size, 'content_type': TYPE,
                'etag': digest.hexdigest(), 'deleted': 0, 'storage_policy_index': 0, 'ctype_timestamp': None,
                'meta_timestamp': None}

    def _database(self, folder: str, *path: str) -> Path:
        ring = Ring(str(self._cluster.swift_dir), ring_name=folder.removesuffix('s'))
        part, nodes = ring.get_nodes(*path)
        name = hash_path(*path)
        return self._cluster.devices() / nodes[0]['device'] / storage_directory(folder, part, name) / f'{name}.db'


def mtime() -> str:
    """A modification time as rclone keeps it in metadata: without one it would have to trust the upload time."""
    return f'{time.time():.9f}'


def _random_bytes(size: int) -> Iterator[bytes]:
    block = os.urandom(min(size, 1 << 20))
    for at in range(0, size, 1 << 20):
        yield block[:size - at]
