"""Archives of three nodes, a daemon on each: every object leaves all of them once, and none of it ever comes back."""
from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
from swift.common.utils import Timestamp
from swiftclient.exceptions import ClientException

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.insider import Insider, inside
from test.servers.large_objects import put_slo
from test.servers.nodes import down, names_for_every_node
from test.servers.scene import Scene, waiting
from test.servers.sync_daemon import SyncDaemon, eventually

NODES = (0, 1, 2)
DAY = 86400.0
# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]


@pytest.fixture(scope='module')
def trio() -> Iterator[SwiftCluster]:
    with SwiftCluster(nodes=3, replicas=3) as cluster:
        yield cluster


@pytest.fixture(scope='module')
def insider(trio: SwiftCluster) -> Iterator[Insider]:
    with inside(trio) as made:
        yield made


@pytest.fixture
def scene(trio: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> Iterator[Scene]:
    with Scene(trio, s3, fresh_name('container'), bucket) as made:
        yield made


def archives(scene: Scene, *nodes: int, settings: Mapping[str, object] | None = None,
             **keys: object) -> list[SyncDaemon]:
    return [scene.daemon(node=node, settings=settings, **{'retain_local': False, 'segments_grace': 0, **keys})
            for node in nodes]


def ago(seconds: float) -> Timestamp:
    return Timestamp(time.time() - seconds)


def deletes(scene: Scene) -> list[tuple[str, str]]:
    """Requests that delete objects of the remote, or the manifests beside them."""
    return [(r.method, r.path) for r in scene.proxy.requests
            if (r.method == 'POST' and r.path.rpartition('?')[2].startswith('delete'))
            or (r.method == 'DELETE' and 'uploadId=' not in r.path and '/.1space/' not in r.path
                and '/.pending/' not in r.path)]


def again(*syncs: SyncDaemon) -> None:
    """All of them once more, and what waits is tried at once."""
    for sync in syncs:
        with sync.ledger() as ledger:
            ledger.retry(kind='deferred')
            ledger.retry()
        sync.once()


def settle_rows(cluster: SwiftCluster, *nodes: int) -> None:
    """Each object server tells one container server; the dead node's news is still to be told."""
    for node in nodes:
        cluster.run_once('container-replicator', node=node)


def replicate(cluster: SwiftCluster) -> None:
    for daemon in ('container-replicator', 'object-replicator'):
        cluster.run_once(daemon)


@contextmanager
def only_node(cluster: SwiftCluster, node: int) -> Iterator[None]:
    with down(cluster, *(other for other in NODES if other != node)):
        yield


# -- all nodes live -------------------------------------------------------------------------


def test_three_daemons_at_once_copy_each_object_once_and_delete_nothing_at_the_remote(
        scene: Scene, insider: Insider) -> None:
    """The predecessor's default settings deleted the remote copies too (its defect 7.1.1)."""
    plain, large = names_for_every_node('plain', 3), names_for_every_node('large', 1)
    segments = f'{scene.container}_segments'
    wanted = {name: put_slo(scene.local, scene.container, name, [name.encode() * 10, b'2' * 100]) for name in large}
    wanted |= {name: name.encode() for name in plain}
    parts = {f'{name}/{number:03}' for name in large for number in range(2)}
    for name in plain:
        scene.put(name, data=wanted[name])
    syncs = archives(scene, *NODES, settings={'verification_slack': 60})
    for sync in syncs:
        sync.start()
    eventually(lambda: not insider.left(scene.container, *wanted) and not insider.left(segments, *parts),
               'all objects and segments gone from all nodes')
    for sync in syncs:
        assert sync.stop() == 0

    def once_each() -> bool:
        stored_parts = [r for r in scene.part_puts if r.status == 200]
        return ({name: scene.stored[name] for name in plain} == dict.fromkeys(plain, 1)
                and len(stored_parts) == len(large)
                and {name: scene.remote_get(name) for name in scene.remote_names()} == wanted)

    assert once_each()
    # Each verifies what the others did; then come daemons that remember nothing, but see everybody's tombstones.
    settle_rows(scene.swift, *NODES)
    for sync in syncs:
        sync.configure([scene.mapping(retain_local=False, segments_grace=0)], verification_slack=0)
    forgetful = archives(scene, *NODES)
    [keeper] = archives(scene, 1, retain_local=True)  # it archives nothing, and propagates what users delete
    for sync in (*syncs, *forgetful, keeper):
        sync.once()
        assert waiting(sync) == {}
    assert deletes(scene) == []
    assert once_each()


# -- a node down ----------------------------------------------------------------------------


def listed(sync: SyncDaemon, *arguments: str) -> str:
    """What ``1space`` prints."""
    done = subprocess.run([sys.executable, '-m', 's3_sync.command', *arguments, '--config', str(sync.config_file)],
                          stdout=subprocess.PIPE, timeout=60, check=False)
    return done.stdout.decode()


def test_while_a_node_is_down_young_objects_leave_and_old_ones_wait_listed_until_it_is_back(
        scene: Scene, insider: Insider) -> None:
    young, old, hours = (names_for_every_node(kind, 1) for kind in ('young', 'old', 'hours'))
    scene.put(*young)
    for name in old:  # older than reclaim_age: no tombstone would stay
        assert insider.put(scene.container, name, b'data', ago(30 * DAY)) == 201
    for name in hours:
        assert insider.put(scene.container, name, b'data', ago(7200)) == 201
    everything = young | old | hours
    # "Old" is what the configuration says: a cluster may forget deletes sooner than others.
    hasty = {'reclaim_age': DAY + 3600}
    cluster = scene.swift
    cluster.stop_server('object-server-2')
    cluster.stop_server('container-server-2')
    try:
        first, second = archives(scene, 0, 1, settings=hasty)
        for sync in (first, second):
            sync.once()
        settle_rows(cluster, 0, 1)
        assert scene.remote_names() == everything
        assert {entry['name'] for entry in scene.local.get_container(scene.container)[1]} == old | hours
        for name in old | hours:
            assert scene.local.get_object(scene.container, name)[1] == b'data'
        for sync in (first, second):
            assert waiting(sync) == dict.fromkeys(old | hours, ('deferred', 'replica-away'))
            failures = listed(sync, 'failures', 'list', '--kind', 'deferred')
            assert all(f'/{name}' in failures for name in old | hours) and 'replica-away' in failures
            assert 'replica-away' in listed(sync, 'status')
        again(first)
        assert waiting(first) == dict.fromkeys(old | hours, ('deferred', 'replica-away'))
        assert {name for name in everything if insider.files(scene.container, name) == {0, 1, 2}} == old | hours
        assert insider.left(scene.container, *young) == dict.fromkeys(young, {2})
    finally:
        cluster.start_server('object-server-2')
        cluster.start_server('container-server-2')
    [third] = archives(scene, 2, settings=hasty)
    third.once()  # before any replicator ran: all it knows is old
    again(first, second)
    replicate(cluster)
    again(third, first)
    assert insider.left(scene.container, *everything) == {}
    assert scene.remote_names() == everything and deletes(scene) == []
    assert scene.stored == dict.fromkeys(everything, 1)
    for sync in (first, second, third):
        assert waiting(sync) == {}


@pytest.mark.parametrize('conditional_put', ['auto', 'never'])
def test_a_node_that_comes_back_with_old_replicas_brings_no_ghosts_and_overwrites_nothing(
        scene: Scene, insider: Insider, conditional_put: str) -> None:
    overwritten, young, deleted = (names_for_every_node(kind, 1) for kind in ('overwritten', 'young', 'deleted'))
    for name in overwritten | deleted:
        assert insider.put(scene.container, name, b'old', ago(30 * DAY)) == 201
    scene.put(*young, data=b'old')
    cluster = scene.swift
    with down(cluster, 2):
        scene.put(*overwritten, *young, data=b'new!')
        scene.delete(*deleted)
        settle_rows(cluster, 0, 1)
        [first] = archives(scene, 0)
        first.once()
        settle_rows(cluster, 0, 1)
        assert scene.remote_names() == overwritten | young
        assert insider.left(scene.container, *overwritten, *young) == dict.fromkeys(overwritten | young, {2})
    # Its rows and its replicas agree with each other, and there is nobody to tell it better.
    with only_node(cluster, 2):
        [stale] = archives(scene, 2, conditional_put=conditional_put)
        stale.once(expect=None)
        assert {scene.remote_get(name) for name in overwritten | young} == {b'new!'}
    # Now there is, but no replicator has run yet.
    again(stale)
    assert {scene.remote_get(name) for name in overwritten | young} == {b'new!'}
    replicate(cluster)
    again(stale, first)
    replicate(cluster)
    assert insider.left(scene.container, *overwritten, *young, *deleted) == {}
    assert scene.remote_names() == overwritten | young
    assert {scene.remote_get(name) for name in overwritten | young} == {b'new!'}
    assert waiting(stale) == waiting(first) == {}


# -- restored objects -----------------------------------------------------------------------


@pytest.mark.parametrize('age', [0.0, 30 * DAY], ids=['young', 'old'])
def test_what_was_restored_is_neither_propagated_nor_archived_again_by_any_node(
        scene: Scene, insider: Insider, age: float) -> None:
    restored = names_for_every_node('restored', 1)
    times = {name: ago(age) for name in restored}
    for name, at in times.items():
        assert insider.put(scene.container, name, b'data', at) == 201
    syncs = archives(scene, *NODES)
    syncs[0].once()
    assert insider.left(scene.container, *restored) == {}
    counter = int(time.time()) + 10
    for name, at in times.items():
        assert insider.restore(scene.container, name, b'data', at, counter) == 201
        assert float(scene.local.head_object(scene.container, name)['x-timestamp']) == float(at)
    modified = {name: scene.remote_head(name)['LastModified'] for name in restored}
    for sync in syncs:  # one that archived it, and two that have never heard of it
        sync.once()
        assert waiting(sync) == dict.fromkeys(restored, ('deferred', 'restored'))
    assert insider.left(scene.container, *restored) == dict.fromkeys(restored, {0, 1, 2})
    assert scene.stored == dict.fromkeys(restored, 1) and deletes(scene) == []
    assert {name: scene.remote_head(name)['LastModified'] for name in restored} == modified
    # What a user does with it is the user's.
    gone, changed, *_ = sorted(restored)
    scene.delete(gone)
    scene.put(changed, data=b'changed')
    syncs[1].once()
    assert scene.remote_names() == restored - {gone}
    assert scene.remote_get(changed) == b'changed'
    with pytest.raises(ClientException):
        scene.local.head_object(scene.container, changed)
