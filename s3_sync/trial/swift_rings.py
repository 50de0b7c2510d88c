"""Nodes, storage policies and rings of a trial cluster."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swift.common.ring import RingBuilder

PART_POWER = 6


@dataclass(frozen=True, slots=True)
class Policy:
    """One storage policy; its place in the list is its index."""

    name: str
    default: bool = False
    kind: Literal['replication', 'erasure_coding'] = 'replication'
    ec_data: int = 2
    """Data fragments of an erasure coded policy."""
    ec_parity: int = 1
    """Parity fragments; data and parity together need as many devices."""

    def replicas(self, wanted: int) -> int:
        return self.ec_data + self.ec_parity if self.kind == 'erasure_coding' else wanted


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster: an address of its own, one server of each kind."""

    index: int
    address: str
    folder: Path
    """Mount root of its devices."""
    recon: Path
    """Where its servers keep their recon caches; not below ``folder``, where it would be taken for a device."""
    account_port: int
    container_port: int
    object_port: int
    devices: tuple[str, ...]

    def port(self, kind: str) -> int:
        return {'account': self.account_port, 'container': self.container_port, 'object': self.object_port}[kind]


def write_rings(swift_dir: Path, nodes: Sequence[Node], policies: Sequence[Policy], replicas: int) -> None:
    """Balanced rings of all kinds; ValueError when there are fewer devices than a ring needs."""
    _write_ring(swift_dir / 'account.ring.gz', nodes, 'account', replicas)
    _write_ring(swift_dir / 'container.ring.gz', nodes, 'container', replicas)
    for index, policy in enumerate(policies):
        name = f'object-{index}.ring.gz' if index else 'object.ring.gz'
        _write_ring(swift_dir / name, nodes, 'object', policy.replicas(replicas))


def _write_ring(path: Path, nodes: Sequence[Node], kind: str, replicas: int) -> None:
    count = sum(len(node.devices) for node in nodes)
    if count < replicas:
        raise ValueError(f'{path.name} needs {replicas} devices, the cluster has {count}')
    builder = RingBuilder(PART_POWER, replicas, 0)
    device_id = 0
    for node in nodes:
        for device in node.devices:
            builder.add_dev({'id': device_id, 'region': 1, 'zone': node.index + 1, 'ip': node.address,
                             'port': node.port(kind), 'device': device, 'weight': 100,
                             'replication_ip': node.address, 'replication_port': node.port(kind)})
            device_id += 1
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the balance of so few partitions is nothing to warn of
        builder.rebalance(seed=1)
    builder.get_ring().save(str(path))
