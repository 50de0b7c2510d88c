"""Markers of deletions as the shunt writes them, put by hand through a cluster's internal client."""
from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from swift.common.utils import Timestamp

from s3_sync.local.markers import Marker, MarkerStore
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.tombstones import Policies, Policy, container_headers, tombstone_container
from test.servers.insider import inside


class Tombstones:
    """Of one account."""

    def __init__(self, account: str, proxy: ProxyClient) -> None:
        self.account = account
        self.proxy = proxy
        self.store = MarkerStore(proxy)

    def put(self, container: str, name: str, policies: Mapping[str, Policy], at: float | None = None) -> Timestamp:
        """A marker of this deletion, now if not said otherwise; its time."""
        hidden = tombstone_container(container)
        self.proxy.request('PUT', (self.account, hidden), container_headers(container)).close()
        stamp = Timestamp(time.time() if at is None else at)
        assert self.store.put(self.account, hidden, name, Policies(policies), stamp) == 'written'
        return stamp

    def of(self, container: str) -> dict[str, Marker]:
        """By the deleted object's name."""
        return {found.name: found for found in self.store.markers(self.account, tombstone_container(container))}

    def names(self, container: str) -> set[str]:
        return set(self.of(container))


@contextmanager
def tombstones_of(cluster: SwiftCluster, account: str) -> Iterator[Tombstones]:
    with inside(cluster) as insider:
        yield Tombstones(account, insider.proxy)
