"""Where the cluster keeps an object: partition, primaries, which of them are this node's own."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from swift.common.ring.utils import is_local_device
from swift.common.storage_policy import POLICIES, REPL_POLICY
from swift.common.utils import whataremyips

from s3_sync.errors import SourceUnavailable
from s3_sync.types import ObjectRow

Node = dict[str, Any]
"""A device of the ring as Swift hands it out: id, ip, port, device, region, zone..."""


class Place(NamedTuple):
    policy: Any
    """Swift's StoragePolicy."""
    partition: int
    primaries: list[Node]

    @property
    def replicated(self) -> bool:
        """Every replica holds the whole object (not a fragment)."""
        return bool(self.policy.policy_type == REPL_POLICY)


class Placement:
    """Ring lookups for one ``swift_dir``; Swift reloads a changed ring by itself."""

    def __init__(self, swift_dir: str = '/etc/swift', bind_ip: str = '0.0.0.0') -> None:
        self._swift_dir = swift_dir
        self._my_ips = whataremyips(bind_ip)
        self._local_ips: dict[str, bool] = {}
        # Several sources ask for the same row one after the other.
        self._last: tuple[ObjectRow, Place] | None = None

    def of(self, row: ObjectRow) -> Place:
        """Place of the row's object. SourceUnavailable when swift.conf knows no such policy."""
        if self._last is not None and self._last[0] is row:
            return self._last[1]
        index = row.row.policy_index
        policy = POLICIES.get_by_index(index)
        if policy is None:
            raise SourceUnavailable(f'{row.path}: storage policy {index} is not in swift.conf')
        ring = policy.object_ring or POLICIES.get_object_ring(index, self._swift_dir)
        place = Place(policy, *ring.get_nodes(row.account, row.container, row.name))
        self._last = (row, place)
        return place

    def is_local(self, node: Node) -> bool:
        """Whether this node of the ring is this machine (``swift_bind_ip``), whatever its port."""
        ip = node['ip']
        local = self._local_ips.get(ip)
        if local is None:
            local = self._local_ips[ip] = bool(is_local_device(self._my_ips, None, ip, None))
        return local

    def handoffs(self, place: Place, limit: int) -> Iterator[Node]:
        """The first devices that take writes when primaries are down, in ring order."""
        return islice(place.policy.object_ring.get_more_nodes(place.partition), limit)
