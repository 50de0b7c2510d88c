"""Where the databases of a container lie on this node, according to the container ring.

All local replicas count, several on one host too. Copies on handoff devices
are left alone: replication brings their rows back to the primaries, where they
are found.
"""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

from swift.common.ring import Ring
from swift.common.ring.utils import is_local_device
from swift.common.utils import get_partition_for_hash, hash_path, whataremyips
from swift.container.backend import DATADIR

from container_crawler.shares import node_share


class Place(NamedTuple):
    """A local primary location of a container's database; the database may be missing."""

    device: str
    folder: str
    """Hash folder of the database files."""
    replica: int
    """Index of this replica in the ring."""
    replicas: int


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """One database replica on this node, as handlers see it.

    ``account`` and ``container`` are the users'; a shard's own names are the
    internal ones, equal to them for a root.
    """

    db_id: str
    account: str
    container: str
    internal_account: str
    internal_container: str
    path: str
    device: str
    indexes: tuple[int, ...]
    """Replica indexes whose names this database works on first."""
    replicas: int
    is_root: bool
    deleted: bool
    """The container is deleted; its tombstones are still here."""
    retiring: bool
    """Being sharded: no new rows come into this database."""
    max_row: int
    object_count: int

    @property
    def share(self) -> str:
        """The names it works on first, for example ``0,2/3``: replica indexes / number of replicas."""
        return f'{",".join(map(str, self.indexes))}/{self.replicas}'

    @property
    def owns_all(self) -> bool:
        return len(self.indexes) == self.replicas

    def owns(self, name: str) -> bool:
        return self.owns_all or node_share(name, self.replicas) in self.indexes


class ContainerRing:
    """The container ring of a Swift folder, from the point of view of this node."""

    def __init__(self, swift_dir: str, devices: str, bind_ip: str = '0.0.0.0') -> None:
        """``devices``: root of the device folders; ``bind_ip``: which address is ours, 0.0.0.0 for all local ones.

        Raises what Ring raises when the ring cannot be loaded (OSError, ValueError).
        """
        self._swift_dir = swift_dir
        self._devices = devices
        self._my_ips = set(whataremyips(bind_ip))
        self._file = os.path.join(swift_dir, 'container.ring.gz')
        self._ring_stamp: tuple[int, int, int] | None = None
        self._local_devices: frozenset[str] = frozenset()
        self._places: dict[int, tuple[tuple[str, str, int, int], ...]] = {}
        self._load(self._stamp())
        self.refresh()

    def refresh(self) -> None:
        """Look whether ring or device folders changed. Cheap. Raises like the constructor, the old ring stays."""
        stamp = self._stamp()
        if stamp != self._ring_stamp:
            self._load(stamp)
        devices = self._device_folders()
        if devices != self._local_devices:
            self._local_devices = devices
            self._places = {}

    def places(self, account: str, container: str) -> list[Place]:
        """Local primary places of the container, by replica index."""
        name_hash = hash_path(account, container)
        part = get_partition_for_hash(name_hash, self._part_power)
        places = self._places.get(part)
        if places is None:
            places = self._places[part] = self._places_of(part)
        return [Place(device, f'{parent}/{name_hash[-3:]}/{name_hash}', index, replicas)
                for device, parent, index, replicas in places]

    def primaries(self, account: str, container: str) -> tuple[int, list[dict[str, Any]]]:
        """Partition and all primary nodes of the container, here or elsewhere."""
        part, nodes = self._ring.get_nodes(account, container)
        return part, list(nodes)

    def _places_of(self, part: int) -> tuple[tuple[str, str, int, int], ...]:
        nodes = self._ring.get_part_nodes(part)
        return tuple((node['device'], os.path.join(self._devices, node['device'], DATADIR, str(part)),
                      index, len(nodes)) for index, node in enumerate(nodes)
                     if node['device'] in self._local_devices
                     and is_local_device(self._my_ips, None, node['ip'], node['port']))

    def _device_folders(self) -> frozenset[str]:
        """Names only: looking into a folder could hang on a broken disk."""
        with os.scandir(self._devices) as entries:
            return frozenset(e.name for e in entries if e.is_symlink() or e.is_dir(follow_symlinks=False))

    def _load(self, stamp: tuple[int, int, int]) -> None:
        self._ring = Ring(self._swift_dir, ring_name='container')
        self._part_power = (self._ring.partition_count - 1).bit_length()
        self._ring_stamp = stamp
        self._places = {}

    def _stamp(self) -> tuple[int, int, int]:
        stat = os.stat(self._file)
        return stat.st_ino, stat.st_size, stat.st_mtime_ns
