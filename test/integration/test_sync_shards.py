"""Many objects in one container: sharded while it is synchronised, killed in the middle of ten thousand."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.keys import KeyScheme
from test.servers.fault_proxy import FaultProxy
from test.servers.fill_container import fill_container
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping

SHARDS = 3
MANY = 10_000


@pytest.fixture
def cluster(make_swift_cluster: Callable[..., SwiftCluster]) -> SwiftCluster:
    """Of its own: the sharder works on all containers of a cluster."""
    return make_swift_cluster()


@pytest.fixture
def client(cluster: SwiftCluster) -> Iterator[Connection]:
    connection = cluster.client()
    yield connection
    connection.close()


def keys(s3_client: Any, bucket: str) -> set[str]:
    pages = s3_client.get_paginator('list_objects_v2').paginate(Bucket=bucket)
    return {entry['Key'] for page in pages for entry in page.get('Contents', [])}


def databases(cluster: SwiftCluster) -> int:
    """Containers of the cluster, shards among them."""
    return len(list(cluster.devices().glob('*/containers/*/*/*')))


def copies(proxy: FaultProxy) -> list[str]:
    """Paths of objects whose data the remote took."""
    return [r.path for r in proxy.requests if r.method == 'PUT' and r.status == 200 and '/AUTH_test/' in r.path
            and '/.1space/' not in r.path and 'x-amz-copy-source' not in r.headers]


def test_a_container_sharded_between_two_runs_is_sent_once(
        cluster: SwiftCluster, s3: S3Endpoint, s3_client: Any, client: Connection, bucket: str,
        fault_proxy: Callable[[str], FaultProxy]) -> None:
    proxy = fault_proxy(s3.url)
    foo, foobar = KeyScheme('AUTH_test', 'foo'), KeyScheme('AUTH_test', 'foobar')
    first = [f'o{i:02}' for i in range(12)]
    for container in ('foo', 'foobar'):
        client.put_container(container)
        for name in first:
            client.put_object(container, name, container.encode())
    mappings = [{**s3_mapping(s3, container, bucket), 'aws_endpoint': proxy.url} for container in ('foo', 'foobar')]
    wanted = {scheme.key(name) for scheme in (foo, foobar) for name in first}
    with SyncDaemon(cluster, mappings) as sync:
        sync.once()
        assert keys(s3_client, bucket) == wanted
        assert len(copies(proxy)) == 24

        before = databases(cluster)
        cluster.shard_container('foo', rows_per_shard=len(first) // SHARDS)
        assert databases(cluster) == before + SHARDS
        for name in ('a', 'o055', 'z'):  # one for each shard
            client.put_object('foo', name, b'new')
        client.post_object('foo', 'o00', {'X-Object-Meta-Colour': 'Red'})
        client.post_object('foo', 'o11', {'X-Object-Meta-Colour': 'Blue'})
        client.delete_object('foo', 'o01')
        client.put_object('foobar', 'n', b'new')
        proxy.clear()
        sync.once()
        wanted |= {foo.key(name) for name in ('a', 'o055', 'z')} | {foobar.key('n')}
        wanted -= {foo.key('o01')}
        assert keys(s3_client, bucket) == wanted
        assert sorted(copies(proxy)) == sorted(f'/{bucket}/{key}' for key in (
            foo.key('a'), foo.key('o055'), foo.key('z'), foobar.key('n')))
        for name, colour in (('o00', 'Red'), ('o11', 'Blue')):
            head = s3_client.head_object(Bucket=bucket, Key=foo.key(name))
            assert head['Metadata']['colour'] == colour
        assert s3_client.get_object(Bucket=bucket, Key=foobar.key('o01'))['Body'].read() == b'foobar'

        proxy.clear()
        sync.once()
        assert proxy.requests == []
        with sync.ledger() as ledger:
            assert sorted(totals['copied'] for totals in ledger.totals().values()) == [13, 15]


def test_ten_thousand_objects_with_a_kill_in_the_middle(
        swift: SwiftCluster, s3: S3Endpoint, s3_client: Any, container: str, bucket: str) -> None:
    fill_container(swift.swift_dir, swift.devices(), 'AUTH_test', container, MANY)
    scheme = KeyScheme('AUTH_test', container)

    with SyncDaemon(swift, [s3_mapping(s3, container, bucket)]) as sync:
        def copied() -> int:
            with sync.ledger() as ledger:
                return sum(totals.get('copied', 0) for totals in ledger.totals().values())

        sync.start()
        eventually(lambda: len(keys(s3_client, bucket)) > MANY // 5, 'a part of the objects')
        sync.kill9()
        before, sent = keys(s3_client, bucket), copied()
        assert len(before) < MANY
        sync.once()
        assert keys(s3_client, bucket) == {scheme.key(f'o{i:05}') for i in range(MANY)}
        # What was under way at the end may have arrived between the two looks.
        assert MANY - len(before) - 20 <= copied() - sent <= MANY - len(before)
