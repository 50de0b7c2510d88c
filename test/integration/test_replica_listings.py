"""Three real nodes, one of which has just come back with old databases: no reference and no segment is overlooked."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest
from swift.common.ring import Ring

from s3_sync.clock import FakeClock
from s3_sync.engine.sweep import unreferenced
from s3_sync.errors import AccountUnreadable, SourceUnavailable
from s3_sync.large_objects.bodies import WholeBody
from s3_sync.local.account import LocalAccount
from s3_sync.local.backend_http import BackendConnections
from s3_sync.local.storage_servers import ALLOW_RESERVED
from test.servers.large_objects import md5, put_manifest
from test.servers.local_world import World, cluster_world

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

NODES = (0, 1, 2)
PAGE = 3
"""Names on a page of a listing here."""


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with cluster_world(nodes=3, replicas=3, constraints={'container_listing_limit': PAGE}) as made:
        yield made


@pytest.fixture
def segments(world: World, fresh_name: Callable[[str], str]) -> str:
    return world.container(fresh_name('segments'))


@contextmanager
def without(world: World, *servers: str) -> Iterator[None]:
    for server in servers:
        world.cluster.stop_server(server)
    try:
        yield
    finally:
        for server in servers:
            world.cluster.start_server(server)
        rested(world)


def rested(world: World) -> None:
    """Nobody counts as silent any more."""
    world.proxy.close()
    world.chain.proxy_client.close()


def shown_by(world: World, node: int, container: str = '') -> set[str]:
    """What this node's own server lists of the container, or of the account."""
    path = (world.cluster.account, container) if container else (world.cluster.account,)
    ring = Ring(str(world.cluster.swift_dir), ring_name='container' if container else 'account')
    partition, nodes = ring.get_nodes(*path)
    server = next(n for n in nodes if n['ip'] == world.cluster.nodes[node].address)
    connections = BackendConnections()
    response = connections.request('GET', server, partition, path, ALLOW_RESERVED, query='format=json')
    found = json.loads(response.read() or b'[]') if response.status == 200 else []
    response.close()
    connections.close()
    return {entry['name'] for entry in found}


def sweep(world: World, segments: str, names: Iterable[str]) -> set[str]:
    """Those that nothing refers to. AccountUnreadable."""
    account = LocalAccount(world.cluster.account, world.proxy.client, clock=FakeClock())
    return {name for _, name in unreferenced(account, [(segments, name) for name in names])}


def copied(world: World, container: str, name: str) -> bytes:
    """The content of a DLO as a copy would have it."""
    row = world.row(container, name)
    opened = world.chain.open(row)
    try:
        body = WholeBody(world.chain.large(row, opened))
    finally:
        opened.body.close()
    try:
        return b''.join(body)
    finally:
        body.close()


def slo(world: World, container: str, name: str, segments: str, segment: str) -> None:
    world.client.put_object(segments, segment, segment)
    put_manifest(world.client, container, name, [
        {'path': f'/{segments}/{segment}', 'etag': md5(segment.encode()), 'size_bytes': len(segment)}])


def dlo(world: World, container: str, segments: str, numbers: Iterable[int]) -> None:
    world.client.put_object(container, 'dlo', b'', headers={'X-Object-Manifest': f'{segments}/p/'})
    for number in numbers:
        world.client.put_object(segments, f'p/{number}', f'part {number}.')


def whole(numbers: Iterable[int]) -> bytes:
    return b''.join(f'part {number}.'.encode() for number in numbers)


# -- the sweep ----------------------------------------------------------------------------


def test_a_manifest_that_a_returned_server_lacks_is_a_reference_whoever_is_asked_first(
        world: World, segments: str, fresh_name: Callable[[str], str]) -> None:
    world.client.put_object(segments, 'free', b'free')
    candidates = ['free']
    for node in NODES:
        known, new = world.container(fresh_name('known')), fresh_name('new')
        for i in range(PAGE):
            world.client.put_object(known, f'a{i}', b'data')
        with without(world, f'container-server-{node}', f'account-server-{node}'):
            world.container(new)
            slo(world, known, 'm', segments, f'of-known-{node}')
            slo(world, new, 'm', segments, f'of-new-{node}')
            world.client.put_object(known, 'z', b'data')
        candidates += [f'of-known-{node}', f'of-new-{node}']
        assert shown_by(world, node, known) == {'a0', 'a1', 'a2'} and shown_by(world, node, new) == set()
        assert new not in shown_by(world, node) and known in shown_by(world, node)
    assert sweep(world, segments, candidates) == {'free'}
    world.cluster.run_once('container-replicator')
    assert sweep(world, segments, candidates) == {'free'}


def test_a_returned_server_and_one_other_have_everything_that_was_replicated_meanwhile(
        world: World, segments: str, fresh_name: Callable[[str], str]) -> None:
    world.client.put_object(segments, 'free', b'free')
    known, new = world.container(fresh_name('known')), fresh_name('new')
    with without(world, 'account-server-1'):
        world.container(new)
        with without(world, 'container-server-1'):
            slo(world, known, 'm', segments, 'of-known')
            slo(world, new, 'm', segments, 'of-new')
            for node in (0, 2):  # an update that failed at the wrong moment is made up for
                world.cluster.run_once('account-replicator', node=node)
                world.cluster.run_once('container-replicator', node=node)
    assert shown_by(world, 1, known) == shown_by(world, 1, new) == set() and new not in shown_by(world, 1)
    for away in (0, 2):
        with without(world, f'container-server-{away}', f'account-server-{away}'):
            assert sweep(world, segments, ['free', 'of-known', 'of-new']) == {'free'}


@pytest.mark.parametrize('kind', ['container', 'account'])
def test_with_two_of_three_servers_away_nothing_is_free(world: World, segments: str, kind: str) -> None:
    world.client.put_object(segments, 'free', b'free')
    assert sweep(world, segments, ['free']) == {'free'}
    with without(world, f'{kind}-server-0', f'{kind}-server-1'), pytest.raises(
            AccountUnreadable, match='only 1 of 3 servers'):
        sweep(world, segments, ['free'])
    assert sweep(world, segments, ['free']) == {'free'}


# -- DLOs ---------------------------------------------------------------------------------


@pytest.mark.parametrize('node', NODES)
def test_a_dlo_is_copied_whole_or_later(world: World, segments: str, node: int,
                                        fresh_name: Callable[[str], str]) -> None:
    c = world.container(fresh_name('c'))
    dlo(world, c, segments, [0, 1, 3, 4, 5])
    with without(world, f'container-server-{node}'):
        world.client.put_object(segments, 'p/2', b'part 2.')
        assert copied(world, c, 'dlo') == whole(range(6))
    assert shown_by(world, node, segments) == {'p/0', 'p/1', 'p/3'}
    with pytest.raises(SourceUnavailable, match=f"{segments}: its servers list 'p/2' differently"):
        copied(world, c, 'dlo')
    world.cluster.run_once('container-replicator', node=(node + 1) % 3)
    assert copied(world, c, 'dlo') == whole(range(6))


def test_a_dlo_is_not_copied_by_what_one_server_of_three_lists(world: World, segments: str) -> None:
    dlo(world, segments, segments, [0])
    with without(world, 'container-server-1', 'container-server-2'), pytest.raises(
            SourceUnavailable, match='only 1 of 3 servers'):
        copied(world, segments, 'dlo')
    assert copied(world, segments, 'dlo') == whole([0])


# -- other containers ---------------------------------------------------------------------


def test_in_a_sharded_container_nothing_is_overlooked_either(world: World, segments: str,
                                                            fresh_name: Callable[[str], str]) -> None:
    other = world.container(fresh_name('other'))
    for i in range(PAGE):
        world.client.put_object(segments, f'a{i}', b'data')
    dlo(world, other, segments, range(4))
    world.cluster.shard_container(segments, rows_per_shard=4)
    assert copied(world, other, 'dlo') == whole(range(4))
    slo(world, segments, 'm', other, 'of-shard')
    with without(world, 'container-server-1'):
        slo(world, segments, 'n', other, 'of-one-away')
    world.client.put_object(other, 'free', b'free')
    assert sweep(world, other, ['free', 'of-shard', 'of-one-away']) == {'free'}
    with without(world, 'container-server-2'):
        world.client.put_object(segments, 'p/4', b'part 4.')
    with pytest.raises(SourceUnavailable):
        copied(world, other, 'dlo')
    for daemon in ('object-updater', 'container-sharder', 'container-replicator'):
        world.cluster.run_once(daemon)
    assert copied(world, other, 'dlo') == whole(range(5))


def test_encrypted_listings_are_decrypted_on_their_way() -> None:
    with cluster_world(nodes=1, replicas=1, encrypted=True) as world:
        s = world.container('s')
        dlo(world, s, s, range(3))
        slo(world, s, 'm', s, 'used')
        world.client.put_object(s, 'link', b'', headers={'X-Symlink-Target': f'{s}/linked'})
        assert copied(world, s, 'dlo') == whole(range(3))
        assert sweep(world, s, ['used', 'linked', 'p/1', 'free']) == {'free'}
