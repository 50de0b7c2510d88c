"""What users cannot do: writes with times of our choosing, restores, and a look at what lies on which disk."""
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from swift.common import storage_policy, utils
from swift.common.utils import Timestamp, hash_path
from swift.container.backend import ContainerBroker

from container_crawler.internal_client import make_internal_client
from container_crawler.swift_dir import load_swift_dir
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.local.versions import RESTORED_HEADER
from s3_sync.timestamps import MARKER
from s3_sync.trial.swift_cluster import SwiftCluster


class Insider:
    """Swift's own code in this process, for one cluster. Made by ``inside``."""

    def __init__(self, cluster: SwiftCluster) -> None:
        self.cluster = cluster
        self.proxy = ProxyClient(lambda: make_internal_client(
            str(cluster.swift_dir), str(cluster.internal_client_conf), tries=1))

    def close(self) -> None:
        self.proxy.close()

    # -- writing ----------------------------------------------------------------------------

    def put(self, container: str, name: str, data: bytes, at: Timestamp, **headers: str) -> int:
        """PUT at this time; the status: 201, or 202 when something newer was there."""
        given = {key.replace('_', '-'): value for key, value in headers.items()}
        return int(self.proxy.ready().make_request(
            'PUT', quote(f'/v1/{self.cluster.account}/{container}/{name}'),
            {'X-Timestamp': at.internal, 'Content-Length': str(len(data)), 'Content-Type': 'text/plain', **given},
            (2,), body_file=BytesIO(data)).status_int)

    def restore(self, container: str, name: str, data: bytes, copied: Timestamp, counter: int) -> int:
        """The restoring PUT of an archived object: its own time, with our marker; the status."""
        return self.put(container, name, data, Timestamp(copied.normal, offset=MARKER << 32 | counter),
                        **{RESTORED_HEADER: Timestamp(time.time()).internal})

    # -- looking ----------------------------------------------------------------------------

    def files(self, container: str, name: str) -> set[int]:
        """Nodes that hold the object's data, on any device."""
        folder = hash_path(self.cluster.account, container, name)
        return {node.index for node in self.cluster.nodes
                if any(node.folder.glob(f'*/objects*/*/*/{folder}/*.data'))}

    def rows(self, container: str) -> dict[int, set[str]]:
        """By node: names that its database of the container shows."""
        return {node.index: self._names([path for path in self.cluster.container_databases(container)
                                         if path.is_relative_to(node.folder)]) for node in self.cluster.nodes}

    @staticmethod
    def _names(databases: list[Path]) -> set[str]:
        return {row['name'] for path in databases for row in ContainerBroker(str(path)).get_items_since(-1, 10000)
                if not row['deleted']}

    def left(self, container: str, *names: str) -> dict[str, set[int]]:
        """Of these names: what still has a file or a row, and on which nodes."""
        rows = self.rows(container)
        found = {name: self.files(container, name) | {node for node, shown in rows.items() if name in shown}
                 for name in names}
        return {name: nodes for name, nodes in found.items() if nodes}


@contextmanager
def inside(cluster: SwiftCluster) -> Iterator[Insider]:
    """The cluster is this process's Swift until the end."""
    before = (utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES)
    load_swift_dir(str(cluster.swift_dir))
    insider = Insider(cluster)
    try:
        yield insider
    finally:
        insider.close()
        utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES = before
