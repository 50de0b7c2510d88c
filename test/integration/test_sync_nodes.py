"""Three nodes, a daemon and a replica of everything on each: who copies what, and what nobody may undo."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Stall
from test.servers.nodes import down, names_for_every_node
from test.servers.scene import Scene, pointers, waiting
from test.servers.sync_daemon import SyncDaemon, eventually

NODES = (0, 1, 2)
FOREVER = 3600.0


@pytest.fixture(scope='module')
def trio() -> Iterator[SwiftCluster]:
    with SwiftCluster(nodes=3, replicas=3) as cluster:
        yield cluster


@pytest.fixture
def scene(trio: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> Iterator[Scene]:
    with Scene(trio, s3, fresh_name('container'), bucket) as made:
        yield made


def daemons(scene: Scene, *nodes: int, **settings: object) -> list[SyncDaemon]:
    return [scene.daemon(node=node, settings=settings) for node in nodes]


def test_while_all_live_each_object_is_copied_once_and_verifying_sends_no_data(scene: Scene) -> None:
    names = names_for_every_node('o', 20)
    scene.put(*sorted(names))
    syncs = daemons(scene, *NODES, verification_slack=60)
    for sync in syncs:
        sync.start()
    scene.arrived(names)
    for sync in syncs:
        assert sync.stop() == 0
    assert scene.stored == dict.fromkeys(names, 1) and len(scene.data_puts) == 60
    for sync in syncs:  # does not wait for the slack once its own rows are done
        sync.once()
    assert len(scene.data_puts) == 60
    for sync in syncs:
        with sync.ledger() as ledger:
            [row] = ledger.all_progress(ledger.generations()[0].generation)
        assert (row.own_row, row.verified_row) == (60, 60)


def test_what_a_dead_node_owns_is_copied_and_deleted_by_the_others(scene: Scene) -> None:
    names = names_for_every_node('o', 4)
    early = names_for_every_node('early', 2)
    scene.put(*sorted(early))
    first, second, third = daemons(scene, *NODES)
    first.once()
    assert scene.remote_names() == early
    with down(scene.swift, 2):
        for sync in (first, second):
            sync.start()
        scene.put(*sorted(names))
        scene.arrived(early | names)
        scene.delete(*early)
        scene.put('last')
        scene.arrived({*names, 'last'})
        for sync in (first, second):
            assert sync.stop() == 0
    # The node comes back, at first without having heard of anything: what it has may come and must go again.
    third.once()
    scene.swift.replicate()
    for sync in (third, first, second):
        sync.once()
        assert waiting(sync) == {}
    assert scene.remote_names() == {*names, 'last'}
    assert {name: scene.stored[name] for name in (*names, 'last')} == dict.fromkeys((*names, 'last'), 1)


def test_a_replica_that_missed_the_put_but_got_the_post_is_never_copied(scene: Scene) -> None:
    names = names_for_every_node('o', 2)
    scene.put(*names, data=b'stale')
    cluster = scene.swift
    cluster.stop_server('object-server-0')
    scene.put(*names, data=b'fresh')
    cluster.start_server('object-server-0')
    for name in names:
        scene.local.post_object(scene.container, name, {'X-Object-Meta-Colour': 'blue'})
    cluster.run_once('container-replicator')  # the rows tell of the new data, the objects stay as they are
    [sync] = daemons(scene, 0)
    cluster.stop_server('object-server-1')
    cluster.stop_server('object-server-2')
    try:
        sync.once(expect=3)  # the right version is nowhere to be had
        assert scene.remote_names() == set() and scene.data_puts == []
        assert set(waiting(sync)) == names
    finally:
        cluster.start_server('object-server-1')
        cluster.start_server('object-server-2')
    with sync.ledger() as ledger:
        ledger.retry()
    sync.once()
    assert scene.remote_names() == names and scene.stored == dict.fromkeys(names, 1)
    for name in names:
        assert scene.remote_get(name) == b'fresh'
        assert scene.remote_head(name)['Metadata']['colour'] == 'blue'


@pytest.mark.parametrize('conditional_put', ['auto', 'never'])
def test_a_node_that_was_down_neither_overwrites_nor_deletes_what_is_newer(scene: Scene, conditional_put: str) -> None:
    overwritten, deleted, again = (names_for_every_node(kind, 1) for kind in ('overwritten', 'deleted', 'again'))
    scene.put(*overwritten, *deleted, *again, data=b'old')
    scene.delete(*again)
    cluster = scene.swift
    with down(cluster, 2):
        scene.put(*overwritten, *again, data=b'new!')
        scene.delete(*deleted)
        for node in (0, 1):  # the update of a row may have been the dead node's to send
            cluster.run_once('container-replicator', node=node)
        [sync] = daemons(scene, 0)
        sync.once()
        assert scene.remote_names() == overwritten | again
    sent = len([r for r in scene.data_puts if r.status == 200])
    # Its row and its replica agree with each other, and there is nobody to tell it better.
    with down(cluster, 0, 1):
        stale = scene.daemon(node=2, conditional_put=conditional_put)
        stale.once(expect=None)
        newer = overwritten | again
        assert newer <= scene.remote_names()
        assert {scene.remote_get(name) for name in newer} == {b'new!'}
    # What it found deleted it may have brought back, until its row and replica are told.
    assert len([r for r in scene.data_puts if r.status == 200]) - sent <= len(deleted)
    cluster.replicate()
    for each in (stale, sync):
        with each.ledger() as ledger:
            ledger.retry()
        each.once()
        assert waiting(each) == {}
    assert scene.remote_names() == overwritten | again
    assert {scene.remote_get(name) for name in newer} == {b'new!'}


def test_a_database_that_replication_replaced_is_compared_and_nothing_sent_again(scene: Scene) -> None:
    names = names_for_every_node('o', 5)
    scene.put(*sorted(names))
    [sync] = daemons(scene, 0)
    sync.once()
    sent = len(scene.data_puts)
    [database] = [p for p in scene.swift.container_databases(scene.container)
                  if p.is_relative_to(scene.swift.devices(0))]
    with sync.ledger() as ledger:
        generation = ledger.generations()[0].generation
        before = {row.db_id for row in ledger.all_progress(generation)}
    shutil.rmtree(database.parent)
    scene.swift.run_once('container-replicator', node=1)
    assert database.exists()
    scene.put('new')
    sync.once()
    with sync.ledger() as ledger:
        assert {row.db_id for row in ledger.all_progress(generation)} > before, 'the database kept its id'
    assert scene.remote_names() == names | {'new'}
    assert len(scene.data_puts) == sent + 1


def test_a_mass_delete_is_held_back_on_every_node(scene: Scene) -> None:
    names = names_for_every_node('o', 8)
    scene.put(*sorted(names))
    guard = {'guard_tombstones': True, 'max_delete_count': 2, 'max_delete_fraction': 0.5}
    with ExitStack() as stack:
        syncs = [stack.enter_context(SyncDaemon(scene.swift, [scene.mapping(**guard)], node=node, processes=1))
                 for node in NODES]
        for sync in syncs:
            sync.once()
        gone = set(sorted(names)[:18])
        scene.delete(*gone)
        for sync in syncs:
            sync.once(expect=None)
        assert scene.remote_names() == names, 'a node deleted what its owner held back'
        for sync in syncs:
            assert set(waiting(sync).values()) == {('permanent', 'mass-delete-guard')}
            with sync.ledger() as ledger:
                ledger.retry()
            sync.once()
        assert scene.remote_names() == names - gone


# -- a container's own life -------------------------------------------------------------------


def test_a_container_deleted_and_made_again_between_passes(scene: Scene) -> None:
    scene.put('kept', 'lost', data=b'first life')
    [sync] = daemons(scene, 0)
    sync.once()
    scene.delete('kept', 'lost')
    scene.local.delete_container(scene.container)
    scene.local.put_container(scene.container)
    scene.put('kept', 'fresh', data=b'second life')
    sync.once()
    assert scene.remote_names() == {'kept', 'fresh'}
    assert scene.remote_get('kept') == b'second life'
    scene.delete('kept', 'fresh')
    scene.local.delete_container(scene.container)
    sync.once()  # only tombstones are left, in a database that says it is deleted
    assert scene.remote_names() == set() and waiting(sync) == {}


def test_a_container_deleted_while_its_rows_are_in_hand(scene: Scene) -> None:
    scene.put('slow', *(f'o{i}' for i in range(5)))
    slow = scene.proxy.fail(Stall(4), method='PUT', path=scene.path('slow'))
    [sync] = daemons(scene, 0)
    sync.start()
    eventually(lambda: slow.seen, 'one copy under way')
    scene.delete('slow', *(f'o{i}' for i in range(5)))
    scene.local.delete_container(scene.container)
    eventually(lambda: pointers(sync) == [12] and not waiting(sync), 'rows and tombstones done')
    assert scene.remote_names() == set()
    assert sync.stop() == 0
    assert 'Traceback' not in sync.said


def test_a_container_that_is_sharded_in_the_middle_of_a_pass(
        swift: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> None:
    with Scene(swift, s3, fresh_name('container'), bucket) as scene:
        names = {f'o{i:02}' for i in range(30)}
        scene.put(*sorted(names))
        slow = scene.proxy.fail(Stall(6), method='PUT', path=scene.path('o[12]5'), times=2)
        sync = scene.daemon()
        sync.start()
        eventually(lambda: slow.seen == 2, 'copies under way')
        swift.shard_container(scene.container, rows_per_shard=10)
        scene.put('later')
        scene.delete('o00', 'o29')
        wanted = names - {'o00', 'o29'} | {'later'}
        scene.arrived(wanted)
        eventually(lambda: not waiting(sync), 'an empty ledger')
        assert sync.stop() == 0
        sync.once()
        assert scene.remote_names() == wanted
        assert scene.stored == dict.fromkeys({*names, 'later'}, 1)
