"""Many small objects at once: written to disks and databases by Swift's own classes, past its servers.

Ten thousand PUTs through a proxy cost a minute, this way seconds; what lies
there afterwards is the same. Usage: ``python -m test.servers.fill_container
SWIFT_DIR DEVICES ACCOUNT CONTAINER COUNT``, once the container exists.
"""
from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from container_crawler.swift_dir import load_swift_dir

BODY = b'data'
CONTENT_TYPE = 'text/plain'


def fill_container(swift_dir: Path, devices: Path, account: str, container: str, count: int) -> None:
    """Objects ``o00000`` and so on with the body ``data``, in a process of its own: Swift's settings are global."""
    subprocess.run([sys.executable, '-m', __name__, str(swift_dir), str(devices), account, container, str(count)],
                   check=True)


def main(swift_dir: str, devices: str, account: str, container: str, count: str) -> None:
    load_swift_dir(swift_dir)
    from swift.common.ring import Ring
    from swift.common.storage_policy import POLICIES
    from swift.common.utils import Timestamp, hash_path, storage_directory
    from swift.container.backend import ContainerBroker
    from swift.obj.diskfile import DiskFileRouter
    policy = POLICIES.default
    conf = {'devices': devices, 'mount_check': 'false', 'disable_fallocate': 'true'}
    manager = DiskFileRouter(conf, logging.getLogger('fill'))[policy]
    ring = Ring(swift_dir, ring_name=policy.ring_name)
    etag = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    rows: list[dict[str, Any]] = []
    for index in range(int(count)):
        name, stamp = f'o{index:05}', Timestamp(time.time())
        part, nodes = ring.get_nodes(account, container, name)
        for node in nodes:
            disk_file = manager.get_diskfile(node['device'], part, account, container, name, policy)
            with disk_file.create(size=len(BODY)) as writer:
                writer.write(BODY)
                writer.put({'X-Timestamp': stamp.internal, 'Content-Type': CONTENT_TYPE, 'ETag': etag,
                            'Content-Length': str(len(BODY))})
                writer.commit(stamp)
        rows.append({'name': name, 'created_at': stamp.internal, 'size': len(BODY), 'content_type': CONTENT_TYPE,
                     'etag': etag, 'deleted': 0, 'storage_policy_index': policy.idx})
    ring = Ring(swift_dir, ring_name='container')
    part, nodes = ring.get_nodes(account, container)
    digest = hash_path(account, container)
    for node in nodes:
        folder = Path(devices, node['device'], storage_directory('containers', part, digest))
        ContainerBroker(str(folder / f'{digest}.db')).merge_items(rows)


if __name__ == '__main__':
    main(*sys.argv[1:])
