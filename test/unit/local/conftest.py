"""Replicas written by Swift's own DiskFile writer, below a folder in memory; no servers."""
from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from swift.common import storage_policy, utils
from swift.common.ring import RingData
from swift.common.utils import Timestamp, encode_timestamps
from swift.obj.diskfile import DiskFileManager

from container_crawler.rows import Row
from container_crawler.swift_dir import load_swift_dir
from s3_sync.types import ObjectRow

SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = local-tests

[storage-policy:0]
name = gold
default = yes

[storage-policy:1]
name = silver

[storage-policy:2]
name = pieces
policy_type = erasure_coding
ec_type = liberasurecode_rs_vand
ec_num_data_fragments = 2
ec_num_parity_fragments = 1
"""


class Disks:
    """A node with devices d0 and d1 on 127.0.0.1 and one device elsewhere, one replica on each."""

    def __init__(self, folder: Path, *, port: int = 6200, far: str = '127.9.9.9', handoff: bool = False) -> None:
        self.swift_dir = folder / 'etc'
        self.devices = folder / 'srv'
        self.swift_dir.mkdir()
        (self.swift_dir / 'swift.conf').write_text(SWIFT_CONF)
        for device in ('d0', 'd1', 'far'):
            (self.devices / device).mkdir(parents=True)
        nodes = [{'id': i, 'device': name, 'ip': ip, 'port': port, 'region': 1, 'zone': i, 'weight': 1.0, 'meta': '',
                  'replication_ip': ip, 'replication_port': port}
                 for i, (name, ip) in enumerate([('d0', '127.0.0.1'), ('d1', '127.0.0.1'), ('far', far),
                                                 *([('h', '127.0.0.1')] if handoff else [])])]
        # Partitions 0 to 14 lie on the first three devices; the handoff needs a partition of its own to be in use.
        table = [array('H', [i] * 15 + [3 if handoff and i == 2 else i]) for i in range(3)]
        for ring in ('object', 'object-1', 'object-2'):
            RingData(table, nodes, 28).save(str(self.swift_dir / f'{ring}.ring.gz'))
        load_swift_dir(self.swift_dir)
        self.manager = DiskFileManager({'devices': str(self.devices), 'mount_check': 'false',
                                        'reclaim_age': str(10 ** 10)}, logging.getLogger('written by tests'))

    def diskfile(self, name: str, device: str, policy: int = 0) -> Any:
        chosen = storage_policy.POLICIES.get_by_index(policy)
        partition = storage_policy.POLICIES.get_object_ring(policy, str(self.swift_dir)).get_part('AUTH_a', 'c', name)
        return self.manager.get_diskfile(device, partition, 'AUTH_a', 'c', name, chosen)

    def put(self, name: str, body: bytes, at: float | Timestamp, *, devices: tuple[str, ...] = ('d0', 'd1'),
            policy: int = 0, **metadata: str) -> ObjectRow:
        """Write replicas as the object server does; the container's row for them."""
        stamp = Timestamp(at)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        headers = {'Content-Type': 'text/plain', 'X-Timestamp': stamp.internal, 'Content-Length': str(len(body)),
                   'ETag': etag, **_stored(metadata)}
        for device in devices:
            with self.diskfile(name, device, policy).create() as writer:
                writer.write(body)
                writer.put(dict(headers))
                writer.commit(stamp)
        return row_of(name, stamp, size=len(body), etag=etag, policy=policy)

    def post(self, name: str, at: float, *, devices: tuple[str, ...] = ('d0', 'd1'), **metadata: str) -> Timestamp:
        """Write .meta files; ``Content_Type`` makes it a content-type POST at this time too."""
        stamp = Timestamp(at)
        headers = {'X-Timestamp': stamp.internal, **_stored(metadata)}
        if 'Content-Type' in headers:
            headers['Content-Type-Timestamp'] = stamp.internal
        for device in devices:
            self.diskfile(name, device).write_metadata(dict(headers))
        return stamp

    def delete(self, name: str, at: float | Timestamp, *, devices: tuple[str, ...] = ('d0', 'd1')) -> None:
        for device in devices:
            self.diskfile(name, device).delete(Timestamp(at))

    def files(self, name: str, device: str) -> list[Path]:
        """The files of the object's hash folder, newest name last."""
        return sorted(Path(self.diskfile(name, device)._datadir).iterdir())

    def snapshot(self) -> dict[str, tuple[int, int, int]]:
        """Every path with inode, size and change time: equal snapshots mean nothing was touched."""
        found = {}
        for folder, folders, files in os.walk(self.devices):
            for name in folders + files:
                path = os.path.join(folder, name)
                stat = os.lstat(path)
                found[path] = (stat.st_ino, stat.st_size, stat.st_ctime_ns)
        return found


def _stored(metadata: dict[str, str]) -> dict[str, str]:
    """As the object server puts metadata on disk: WSGI strings."""
    return {k.replace('_', '-'): v.encode().decode('latin-1') for k, v in metadata.items()}


def row_of(name: str, data: float | Timestamp, content_type_at: float | None = None, metadata_at: float | None = None,
           *, size: int = 0, etag: str = '', content_type: str = 'text/plain', deleted: bool = False,
           policy: int = 0) -> ObjectRow:
    data = Timestamp(data)
    ctype = Timestamp(content_type_at) if content_type_at is not None else data
    meta = Timestamp(metadata_at) if metadata_at is not None else ctype
    row = Row(1, name, encode_timestamps(data, ctype, meta), size, content_type, etag, deleted, policy)
    return ObjectRow('AUTH_a', 'c', row)


@pytest.fixture
def make_row() -> Any:
    return row_of


@pytest.fixture
def make_disks() -> Iterator[Callable[..., Disks]]:
    """Disks (arguments as of the class) that are this process's Swift until the test ends."""
    before = (utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES)
    folder = Path(tempfile.mkdtemp(dir='/dev/shm'))
    try:
        yield lambda **options: Disks(folder, **options)
    finally:
        utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES = before
        shutil.rmtree(folder)


@pytest.fixture
def disks(make_disks: Callable[..., Disks]) -> Disks:
    return make_disks()
