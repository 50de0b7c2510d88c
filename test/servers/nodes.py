"""Several nodes with a daemon each: which stops, and whose share a name is."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from container_crawler.shares import node_share
from s3_sync.trial.swift_cluster import SwiftCluster


@contextmanager
def down(cluster: SwiftCluster, *nodes: int) -> Iterator[None]:
    """The storage servers of these nodes are down; the proxy goes on."""
    for node in nodes:
        cluster.stop_node(node)
    try:
        yield
    finally:
        for node in nodes:
            cluster.start_node(node)


def names_for_every_node(prefix: str, each: int) -> set[str]:
    """Names of which every share of three nodes has ``each``, whichever node has which share."""
    found: dict[int, list[str]] = {0: [], 1: [], 2: []}
    number = 0
    while any(len(names) < each for names in found.values()):
        name = f'{prefix}-{number}'
        number += 1
        if len(found[node_share(name, 3)]) < each:
            found[node_share(name, 3)].append(name)
    return {name for names in found.values() for name in names}
