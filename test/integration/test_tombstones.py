"""Deletions of a merged namespace that the daemon finishes at the remote: markers as the shunt leaves them."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from swift.common.utils import Timestamp
from swiftclient import Connection

from container_crawler.shares import node_share
from s3_sync.config import Settings, load
from s3_sync.timestamps import is_ours, without_marker
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.tombstones import Policies, Policy, tombstone_container, tombstone_name
from test.servers.fault_proxy import HoldAnswer, Stall, throttled
from test.servers.nodes import down
from test.servers.scene import Scene, pointers
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping, swift_mapping
from test.servers.tombstones import Tombstones, tombstones_of

FOREVER = 3600.0
DAY = 86400.0
LONG = 'deep/' * 201 + 'ü' * 9 + 'x'
"""A name of 1,024 bytes."""
# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> Iterator[Scene]:
    with Scene(swift, s3, fresh_name('container'), bucket) as made:
        yield made


@pytest.fixture
def marks(swift: SwiftCluster) -> Iterator[Tombstones]:
    with tombstones_of(swift, 'AUTH_test') as made:
        yield made


def settings(sync: SyncDaemon) -> Settings:
    return load(str(sync.config_file))


def generation(sync: SyncDaemon, container: str | None = None) -> str:
    """Of its first mapping; of one of its containers where it is one of all."""
    mapping = settings(sync).containers[0]
    return (mapping if container is None else mapping.for_container(container)).generation


def archive(scene: Scene, *names: str) -> None:
    """Have these at the remote only, as the archive of a long time ago: no row here tells of them any more."""
    for name in names:
        scene.client.put_object(Bucket=scene.bucket, Key=scene.scheme.key(name), Body=b'data',
                                Metadata={'1space-timestamp': Timestamp(time.time() - 8 * DAY).internal})


def command(sync: SyncDaemon, *words: str, code: int = 0, errors: bool = False) -> str:
    """Standard output of ``1space``, or what it said on standard error."""
    done = subprocess.run([sys.executable, '-m', 's3_sync.command', *words, '--config', str(sync.config_file)],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code and 'Traceback' not in done.stderr, done
    return done.stderr if errors else done.stdout


# -- what goes and what stays -----------------------------------------------------------------

def test_what_was_deleted_here_goes_at_the_remote_and_then_the_marker_goes(scene: Scene, marks: Tombstones) -> None:
    with scene.daemon() as sync:
        archive(scene, 'a', 'b', 'ü/ö ☃')
        for name in ('a', 'ü/ö ☃', 'never at the remote'):
            marks.put(scene.container, name, {generation(sync): 'propagate'})
        sync.once()
        assert scene.remote_names() == {'b'}
        assert marks.names(scene.container) == set() and sync.failures() == {}


def test_a_running_daemon_hears_of_a_hidden_container_that_is_new(scene: Scene, marks: Tombstones) -> None:
    archive(scene, 'a', 'b')
    with scene.daemon() as sync:
        sync.start()
        scene.put('c')
        scene.arrived({'a', 'b', 'c'})
        marks.put(scene.container, 'a', {generation(sync): 'propagate'})
        scene.arrived({'b', 'c'})
        eventually(lambda: not marks.names(scene.container), 'the marker gone')
        marks.put(scene.container, 'b', {generation(sync): 'propagate'})
        scene.arrived({'c'})
        assert sync.stop() == 0


def test_a_newer_remote_version_stays_and_so_does_the_marker_that_hides_older_ones(scene: Scene,
                                                                                   marks: Tombstones) -> None:
    archive(scene, 'a')
    with scene.daemon() as sync:
        marks.put(scene.container, 'a', {generation(sync): 'propagate'}, at=time.time() - 9 * DAY)
        scene.client.put_object(Bucket=scene.bucket, Key=scene.scheme.key('no copy'), Body=b'somebody else')
        marks.put(scene.container, 'no copy', {generation(sync): 'propagate'}, at=time.time() - 60)
        sync.once()
        assert scene.remote_names() == {'a', 'no copy'} == marks.names(scene.container)
        # Deleted once more, after what came.
        for name in ('a', 'no copy'):
            marks.put(scene.container, name, {generation(sync): 'propagate'}, at=time.time() + 1)
        sync.once()
        assert scene.remote_names() == set() == marks.names(scene.container)


def test_markers_that_only_hide_and_those_of_other_mappings_are_left_alone(scene: Scene, marks: Tombstones) -> None:
    archive(scene, 'hidden', 'orphaned')
    with scene.daemon() as sync:
        marks.put(scene.container, 'hidden', {generation(sync): 'tombstone'})
        marks.put(scene.container, 'orphaned', {'0123456789abcdef': 'propagate'})
        sync.once()
        assert scene.remote_names() == {'hidden', 'orphaned'} == marks.names(scene.container)
        assert not [r for r in scene.proxy.requests if r.path.endswith(('hidden', 'orphaned'))]


def test_an_object_that_was_put_again_keeps_its_copy(scene: Scene, marks: Tombstones) -> None:
    with scene.daemon(settings={'poll_interval': 0.3}, copy_after=FOREVER) as sync:
        archive(scene, 'a')
        marks.put(scene.container, 'a', {generation(sync): 'propagate'}, at=time.time() - 60)
        scene.put('a', data=b'newer')
        sync.once()
        assert scene.remote_names() == {'a'} == marks.names(scene.container)


def test_an_object_whose_local_delete_never_came_keeps_its_copy_until_it_does(scene: Scene, marks: Tombstones) -> None:
    with scene.daemon() as sync:
        scene.put('a')
        sync.once()
        deleted_at = marks.put(scene.container, 'a', {generation(sync): 'propagate'})
        sync.once()
        [(path, waits)] = sync.failures().items()
        assert waits == ('deferred', 'still-here') and path.endswith('/\0a')
        assert scene.remote_names() == {'a'} == marks.names(scene.container)
        scene.local.delete_object(scene.container, 'a', headers={'X-Timestamp': deleted_at.internal})
        with sync.ledger() as ledger:
            assert ledger.retry(generation(sync), kind='deferred') == 1
        sync.once()
        assert scene.remote_names() == set() == marks.names(scene.container)
        assert sync.failures() == {}


def test_excluded_names_are_left_alone(scene: Scene, marks: Tombstones) -> None:
    archive(scene, 'a', 'b')
    with scene.daemon(exclude_pattern='a') as sync:
        for name in 'ab':
            marks.put(scene.container, name, {generation(sync): 'propagate'})
        sync.once()
        assert scene.remote_names() == {'a'} == marks.names(scene.container)


def test_an_old_deletion_is_remembered_beyond_reclaim_age(swift: SwiftCluster, scene: Scene,
                                                          marks: Tombstones) -> None:
    archive(scene, 'a', 'b')
    with scene.daemon() as sync:
        old = time.time() - 7.5 * DAY  # Swift's own tombstones are gone after seven
        marks.put(scene.container, 'a', {generation(sync): 'tombstone'}, at=old)
        marks.put(scene.container, 'b', {generation(sync): 'propagate'}, at=old)
        swift.replicate()
        assert marks.names(scene.container) == {'a', 'b'}
        sync.once()
        swift.replicate()
        assert scene.remote_names() == {'a'} == marks.names(scene.container)


# -- several mappings -------------------------------------------------------------------------

def test_a_marker_of_several_mappings_goes_when_the_last_has_finished_with_it(
        swift: SwiftCluster, s3: S3Endpoint, scene: Scene, marks: Tombstones, fresh_name: Callable[[str], str]) -> None:
    other = s3.make_bucket(fresh_name('other'))
    mappings = [scene.mapping(name='one'), s3_mapping(s3, scene.container, other, name='two')]
    archive(scene, 'a', 'b')
    for name in 'ab':
        scene.client.put_object(Bucket=other, Key=scene.scheme.key(name), Body=b'data')
    with SyncDaemon(swift, mappings) as sync:
        one, two = (mapping.generation for mapping in settings(sync).containers)
        at = marks.put(scene.container, 'a', {one: 'propagate', two: 'propagate'}, at=time.time() + 1)
        marks.put(scene.container, 'b', {one: 'propagate', two: 'tombstone', 'feedfeed': 'propagate'})
        scene.proxy.fail(throttled(), path=scene.path('a'), method='HEAD', times=100)
        sync.once(expect=3)
        # The second is through, the first cannot be asked: what the marker says of it stays.
        left = marks.of(scene.container)
        assert left['a'].policies == Policies({one: 'propagate'})
        assert left['b'].policies == Policies({two: 'tombstone', 'feedfeed': 'propagate'})
        found = marks.store.find('AUTH_test', tombstone_container(scene.container), 'a')
        assert found is not None and is_ours(found.time) and without_marker(found.time) == at
        scene.proxy.clear()
        with sync.ledger() as ledger:
            ledger.retry(one)
        sync.once()
        assert marks.names(scene.container) == {'b'} and scene.remote_names() == set()
        keys = scene.client.list_objects_v2(Bucket=other)['Contents']
        assert [entry['Key'] for entry in keys] == [scene.scheme.key('b')]


def test_a_newer_deletion_is_not_dropped_with_an_older_one(scene: Scene, marks: Tombstones) -> None:
    """The user put the object again and deleted it again while the remote was being asked."""
    archive(scene, 'a')
    with scene.daemon() as sync:
        marks.put(scene.container, 'a', {generation(sync): 'propagate'}, at=time.time() - 60)
        scene.proxy.fail(Stall(3.0), path=scene.path('a'), method='DELETE')
        sync.start()
        eventually(lambda: scene.proxy.count('DELETE', scene.path('a')), 'the remote being asked')
        newer = marks.put(scene.container, 'a', {generation(sync): 'tombstone'})
        scene.arrived(set())
        time.sleep(1)
        assert sync.stop() == 0
        assert marks.of(scene.container)['a'].time == newer


# -- remotes and processes that go away -------------------------------------------------------

def test_while_the_remote_is_down_markers_wait_and_are_listed_as_failures(scene: Scene, marks: Tombstones) -> None:
    archive(scene, 'a', 'b')
    with scene.daemon() as sync:
        scene.proxy.fail(throttled(), times=1000)
        for name in 'ab':
            marks.put(scene.container, name, {generation(sync): 'propagate'})
        sync.once(expect=3)
        listed = [json.loads(line) for line in command(sync, 'failures', 'list', '--json').splitlines()]
        assert {(f['container'], f['object']) for f in listed} == {
            (tombstone_container(scene.container), '\0' + name) for name in 'ab'}
        assert {f['kind'] for f in listed} == {'failed'}
        assert command(sync, 'plan', '--objects').count('delete') == 0  # no user's objects
        path = listed[0]['path']
        assert marks.names(scene.container) == {'a', 'b'}
        scene.proxy.clear()
        assert command(sync, 'failures', 'retry', path).startswith('1 due now')
        command(sync, 'failures', 'retry')
        sync.once()
        assert scene.remote_names() == set() == marks.names(scene.container)
        assert sync.failures() == {}


def test_an_operator_who_purges_a_marker_calls_the_deletion_off(scene: Scene, marks: Tombstones) -> None:
    archive(scene, 'a')
    with scene.daemon() as sync:
        scene.proxy.fail(throttled(), times=1000)
        marks.put(scene.container, 'a', {generation(sync): 'propagate'})
        sync.once(expect=3)
        command(sync, 'tombstones', 'purge', f'AUTH_test/{scene.container}/a')
        scene.proxy.clear()
        command(sync, 'failures', 'retry')
        sync.once()
        assert scene.remote_names() == {'a'} and sync.failures() == {}


def test_a_daemon_that_is_killed_after_the_remote_delete_drops_the_marker_later(scene: Scene,
                                                                               marks: Tombstones) -> None:
    archive(scene, 'a', 'b')
    with scene.daemon() as sync:
        for name in 'ab':
            marks.put(scene.container, name, {generation(sync): 'propagate'})
        scene.proxy.fail(HoldAnswer(FOREVER), path=scene.path('a'), method='DELETE')
        sync.start()
        eventually(lambda: scene.remote_names() == set(), 'both deleted at the remote')
        sync.kill9()
        assert 'a' in marks.names(scene.container)
        scene.proxy.clear()
        before = scene.proxy.count('DELETE', scene.path('a'))
        sync.once()
        assert marks.names(scene.container) == set()
        assert scene.proxy.count('DELETE', scene.path('a')) == before


# -- a Swift at the other end, whole accounts, long names -------------------------------------

@pytest.fixture
def account(swift: SwiftCluster, fresh_name: Callable[[str], str]) -> Iterator[Connection]:
    """A client of an account of the test's own."""
    client = swift.client(user='admin:admin', key='admin', os_options={
        'object_storage_url': f'{swift.url}/v1/AUTH_{fresh_name("account")}'})
    yield client
    client.close()


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    """A client of the remote account."""
    client = swift.client(user='test2:tester2', key='testing2')
    yield client
    client.close()


def name_of(account: Connection) -> str:
    return str(account.os_options['object_storage_url'].rpartition('/')[2])


def test_every_container_of_an_account_and_names_too_long_for_a_marker(
        swift: SwiftCluster, account: Connection, far: Connection, fresh_name: Callable[[str], str]) -> None:
    prefix = fresh_name('t')
    long_container = 'c' * (256 - len(prefix))
    containers = ('one', 'två ☃', long_container)
    assert len(LONG.encode()) == 1024
    with tombstones_of(swift, name_of(account)) as marks, SyncDaemon(swift, [swift_mapping(
            swift, '/*', prefix, account=name_of(account), storage_policy='silver')]) as sync:
        for container in containers:
            account.put_container(container)
            for name in ('kept', 'gone', LONG):
                account.put_object(container, name, b'x')
        sync.once()
        for container in containers:
            for name in ('gone', LONG):
                account.delete_object(container, name)
        sync.once()
        for container in containers:
            for name in ('gone', LONG):
                far.put_object(prefix + container, name, b'x', headers={
                    'X-Object-Meta-1space-Timestamp': Timestamp(time.time() - 60).internal})
                marks.put(container, name, {generation(sync, container): 'propagate'})
        # A container that the remote never had; and one that is none of the mapping's business.
        marks.put('elsewhere', 'gone', {generation(sync, 'elsewhere'): 'propagate'})
        marks.put('', 'whole container', {generation(sync): 'tombstone'})
        sync.once()
        for container in containers:
            assert [entry['name'] for entry in far.get_container(prefix + container)[1]] == ['kept']
            assert marks.names(container) == set()
        assert marks.names('elsewhere') == set() and marks.names('') == {'whole container'}
        assert sync.failures() == {}
        status = json.loads(command(sync, 'status', '--json'))['mappings'][0]
        assert status['containers'] == len(containers) and status['rows_left'] == 0
        audit = json.loads(command(sync, 'audit', '--json', '--grace', '0').splitlines()[-1])
        assert (audit['containers'], audit['local']['objects'], audit['differences']) == (3, 3, 0)


def test_an_expired_or_plain_object_of_a_swift_counts_by_its_own_exact_time(
        swift: SwiftCluster, far: Connection, container: str, fresh_name: Callable[[str], str]) -> None:
    """A Last-Modified is rounded up to the next second: by it, what was deleted at once would seem newer."""
    bucket = fresh_name('target')
    far.put_container(bucket)
    with tombstones_of(swift, 'AUTH_test') as marks, SyncDaemon(swift, [swift_mapping(
            swift, container, bucket)]) as sync:
        for _ in range(5):
            far.put_object(bucket, 'a', b'x')
            deleted_at = marks.put(container, 'a', {generation(sync): 'propagate'})
            if int(deleted_at) == int(time.time()):
                break
        sync.once()
        assert far.get_container(bucket)[1] == [] and marks.names(container) == set()


def test_markers_of_a_cluster_that_encrypts_are_read(
        make_swift_cluster: Callable[..., SwiftCluster], s3: S3Endpoint, bucket: str) -> None:
    """They are empty, and what is empty is stored as it is."""
    cluster = make_swift_cluster(encrypted=True)
    with Scene(cluster, s3, 'c', bucket) as scene, tombstones_of(cluster, 'AUTH_test') as marks:
        archive(scene, 'a', 'kept')
        sync = scene.daemon(custom_prefix='')
        scene.client.put_object(Bucket=bucket, Key='a', Body=b'data')
        scene.client.put_object(Bucket=bucket, Key=LONG, Body=b'data')
        for name in ('a', LONG):
            marks.put('c', name, {generation(sync): 'propagate'}, at=time.time() + 1)
        eventually(lambda: set(listed(sync)) == {'AUTH_test/c/a', f'AUTH_test/c/{LONG}'}, 'both are in the listing')
        sync.once()
        assert scene.remote_keys() == {scene.scheme.key('a'), scene.scheme.key('kept')}
        assert marks.names('c') == set() and listed(sync) == {}


# -- several nodes ----------------------------------------------------------------------------

@pytest.fixture(scope='module')
def pair() -> Iterator[SwiftCluster]:
    with SwiftCluster(nodes=2, replicas=2) as cluster:
        yield cluster


def test_two_nodes_share_the_markers_and_do_what_the_other_leaves(
        pair: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> None:
    names = {f'o{number}' for number in range(12)}
    assert {node_share(tombstone_name(name), 2) for name in names} == {0, 1}
    with Scene(pair, s3, fresh_name('container'), bucket) as scene, tombstones_of(pair, 'AUTH_test') as marks:
        archive(scene, *names, 'kept')
        first, second = (scene.daemon(node=node, settings={'verification_slack': 60}) for node in (0, 1))
        for name in names:
            marks.put(scene.container, name, {generation(first): 'propagate'})
        for sync in (first, second):
            sync.start()
        scene.arrived({'kept'})
        eventually(lambda: not marks.names(scene.container), 'no marker left')
        for sync in (first, second):
            assert sync.stop() == 0
        assert scene.proxy.count('DELETE', scene.path()) == len(names)  # each once, by the node whose share it is
        # One node alone does the work of both, once the other had its time.
        archive(scene, *names)
        for name in names:
            marks.put(scene.container, name, {generation(first): 'propagate'})
        first.configure([scene.mapping()], verification_slack=0)
        first.once()
        assert scene.remote_names() == {'kept'} and marks.names(scene.container) == set()
        # And the other finds nothing left to do.
        asked = len(scene.proxy.requests)
        second.once()
        assert {r.method for r in scene.proxy.requests[asked:]} <= {'GET', 'HEAD'}
        assert pointers(second) and second.failures() == {}


def test_while_a_replica_is_away_a_copy_that_says_how_old_it_is_may_go(
        pair: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> None:
    with Scene(pair, s3, fresh_name('container'), bucket) as scene, tombstones_of(pair, 'AUTH_test') as marks:
        archive(scene, 'copy')
        scene.client.put_object(Bucket=scene.bucket, Key=scene.scheme.key('plain'), Body=b'x')
        sync = scene.daemon()
        for name in ('copy', 'plain'):
            marks.put(scene.container, name, {generation(sync): 'propagate'}, at=time.time() + 1)
        with down(pair, 1):
            sync.once(expect=3)
            assert scene.remote_names() == {'plain'}
            assert set(sync.failures().values()) == {('failed', 'source-unavailable')}
        command(sync, 'failures', 'retry')
        sync.once()
        assert scene.remote_names() == set()


# -- 1space tombstones ------------------------------------------------------------------------

def listed(sync: SyncDaemon, *words: str) -> dict[str, Any]:
    """By path."""
    found = [json.loads(line) for line in command(sync, 'tombstones', 'list', '--json', *words).splitlines()]
    return {entry['path']: entry for entry in found}


def test_list_names_what_was_deleted_when_and_what_for(scene: Scene, marks: Tombstones) -> None:
    with scene.daemon(name='archive') as sync:
        assert listed(sync, 'archive') == {}
        long = 'ö' * 512
        deletions: dict[str, dict[str, Policy]] = {
            'a b': {generation(sync): 'tombstone'}, long: {generation(sync): 'propagate'},
            'c': {'feedfeed': 'propagate', generation(sync): 'tombstone'}}
        at = {name: marks.put(scene.container, name, policies) for name, policies in deletions.items()}
        found = listed(sync, 'archive')
        front = f'AUTH_test/{scene.container}'
        assert set(found) == {f'{front}/a%20b', f'{front}/{long}', f'{front}/c'}
        assert found[f'{front}/a%20b'] == {
            'account': 'AUTH_test', 'container': scene.container, 'object': 'a b', 'path': f'{front}/a%20b',
            'time': datetime.fromtimestamp(float(at['a b']), UTC).isoformat(timespec='milliseconds').replace(
                '+00:00', 'Z'),
            'timestamp': at['a b'].internal,
            'policies': [{'mapping': 'archive', 'generation': generation(sync), 'policy': 'tombstone'}]}
        assert {(p['mapping'], p['generation'], p['policy']) for p in found[f'{front}/c']['policies']} == {
            ('archive', generation(sync), 'tombstone'), (None, 'feedfeed', 'propagate')}
        assert {path: entry for path, entry in listed(sync).items() if path.startswith(front)} == found
        text = command(sync, 'tombstones', 'list', 'archive')
        assert f'{front}/a%20b' in text and 'archive: tombstone' in text and 'orphaned: propagate' in text
        assert set(listed(sync, f'{front}/c')) == {f'{front}/c'}
        assert set(listed(sync, f'{front}/{long}')) == {f'{front}/{long}'}
        assert listed(sync, '--older-than', '3600', 'archive') == {}
        assert 'no tombstone' in command(sync, 'tombstones', 'list', f'{front}/d', code=3, errors=True)


def test_purge_removes_what_is_named_and_what_is_old_enough(scene: Scene, marks: Tombstones) -> None:
    with scene.daemon(name='archive') as sync:
        long = 'ö' * 512
        for name, age in (('old', 10 * DAY), (long, 10 * DAY), ('young', 0), ('other', 0)):
            marks.put(scene.container, name, {generation(sync): 'tombstone'}, at=time.time() - age)
        front = f'AUTH_test/{scene.container}'
        assert '2 tombstones would go' in command(
            sync, 'tombstones', 'purge', '--older-than', str(DAY), '--dry-run', 'archive')
        assert marks.names(scene.container) == {'old', long, 'young', 'other'}
        assert '2 tombstones purged' in command(sync, 'tombstones', 'purge', '--older-than', str(DAY), front)
        assert marks.names(scene.container) == {'young', 'other'}
        assert json.loads(command(sync, 'tombstones', 'purge', '--json', f'{front}/young')) == {
            'action': 'purge', 'purged': 1, 'kept': 0, 'dry_run': False}
        assert command(sync, 'tombstones', 'purge', f'{front}/young', code=3) == '0 tombstones purged\n'
        assert marks.names(scene.container) == {'other'}
        assert command(sync, 'tombstones', 'purge', 'archive') == '1 tombstone purged\n'
        assert marks.names(scene.container) == set()


def test_deleted_containers_are_listed_and_purged_too(
        swift: SwiftCluster, account: Connection, fresh_name: Callable[[str], str]) -> None:
    mapping = swift_mapping(swift, '/*', fresh_name('t'), account=name_of(account))
    account.put_container('one')
    with tombstones_of(swift, name_of(account)) as marks, SyncDaemon(swift, [mapping]) as sync:
        marks.put('', 'gone container', {generation(sync): 'tombstone'})
        marks.put('one', 'a', {generation(sync, 'one'): 'tombstone'})
        front = name_of(account)
        found = listed(sync)
        assert set(found) == {f'{front}/gone%20container', f'{front}/one/a'}
        assert found[f'{front}/gone%20container']['object'] is None
        assert [p['mapping'] for p in found[f'{front}/one/a']['policies']] == [f'{front}/*']
        assert set(listed(sync, f'{front}/gone%20container')) == {f'{front}/gone%20container'}
        assert command(sync, 'tombstones', 'purge') == '2 tombstones purged\n'
        assert marks.names('') == set() == marks.names('one')


