"""Archiving: local data leaves for good, and only when its copy is proven. Real servers, the daemon as a process."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO

import pytest
from swift.common.utils import Timestamp
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from container_crawler.internal_client import make_internal_client
from container_crawler.swift_dir import load_swift_dir
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.local.versions import RESTORED_HEADER
from s3_sync.timestamps import MARKER
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Answer, Stall
from test.servers.large_objects import MIB, cheap_bytes, names, put_dlo, put_slo, stored_manifest
from test.servers.scene import Scene, waiting
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping, swift_mapping

DAY = 86400
# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning')


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> Iterator[Scene]:
    with Scene(swift, s3, container, bucket) as stage:
        yield stage


def local(scene: Scene) -> set[str]:
    return names(scene.local, scene.container)


@pytest.fixture
def restore(swift: SwiftCluster, scene: Scene) -> Iterator[Callable[[str, Timestamp, int, bytes], int]]:
    """The restoring PUT of semantics 3: name, copied time, counter, data; gives the status."""
    load_swift_dir(str(swift.swift_dir))
    proxy = ProxyClient(lambda: make_internal_client(str(swift.swift_dir), str(swift.internal_client_conf), tries=1))

    def put(name: str, copied: Timestamp, counter: int, data: bytes) -> int:
        marked = Timestamp(copied.normal, offset=MARKER << 32 | counter)
        return int(proxy.ready().make_request(
            'PUT', f'/v1/AUTH_test/{scene.container}/{name}', {
                'X-Timestamp': marked.internal, RESTORED_HEADER: Timestamp(time.time()).internal,
                'Content-Length': str(len(data)), 'Content-Type': 'text/plain'}, (2,),
            body_file=BytesIO(data)).status_int)
    yield put
    proxy.close()


# -- plain objects --------------------------------------------------------------------------


def test_objects_leave_once_they_are_copied_and_their_deletes_are_never_propagated(scene: Scene) -> None:
    """The predecessor's default settings deleted the remote copy too (its defect 7.1.1)."""
    scene.put('ö', 'b', data=b'data', **{'X-Object-Meta-Färg': 'Blå', 'Content-Type': 'text/plain'})
    daemon = scene.daemon(retain_local=False)
    said = daemon.once()
    assert scene.remote_names() == {'ö', 'b'}, said
    assert local(scene) == set()
    assert scene.remote_get('ö') == b'data'
    for _ in range(2):
        daemon.once()
    with SyncDaemon(scene.swift, [scene.mapping(retain_local=False)]) as forgetful:
        forgetful.once()
    assert scene.remote_names() == {'ö', 'b'}
    with SyncDaemon(scene.swift, [scene.mapping()]) as no_archive:
        no_archive.once()
    assert scene.remote_names() == {'ö', 'b'}


def test_a_new_version_of_an_archived_object_replaces_it_and_a_user_s_delete_deletes_it(scene: Scene) -> None:
    scene.put('o', 'gone', data=b'first')
    daemon = scene.daemon(retain_local=False)
    daemon.once()
    scene.put('o', data=b'second')
    daemon.once()
    assert scene.remote_get('o') == b'second' and local(scene) == set()
    scene.put('gone', data=b'second')
    scene.delete('gone')
    daemon.once()
    assert scene.remote_names() == {'o'}


def test_only_what_is_old_enough_and_selected_leaves(scene: Scene) -> None:
    scene.put('wanted', **{'X-Object-Meta-Clan': 'Ünited'})
    scene.put('other', **{'X-Object-Meta-Clan': 'none'})
    daemon = scene.daemon(retain_local=False, selection_criteria={'x-object-meta-clan': 'ünited'})
    daemon.once()
    assert (local(scene), scene.remote_names()) == ({'other'}, {'wanted'})
    scene.put('young')
    late = scene.daemon(retain_local=False, copy_after=3600)
    late.once()
    assert local(scene) == {'other', 'young'}
    assert waiting(late)['young'] == ('deferred', 'copy-after')


def test_what_is_not_proven_stays(scene: Scene) -> None:
    scene.put('o')
    daemon = scene.daemon(retain_local=False)
    # The copy is written, and then cannot be looked at.
    scene.proxy.fail(Answer(403), method='HEAD', path=scene.path('o'), times=None)
    daemon.once(expect=3)
    assert local(scene) == {'o'}
    scene.proxy.clear()
    with daemon.ledger() as ledger:
        ledger.retry()
    daemon.once()
    assert (local(scene), scene.remote_names()) == (set(), {'o'})


@pytest.mark.parametrize('method', ['PUT', 'HEAD'])
def test_killed_between_any_two_requests_nothing_is_lost(scene: Scene, method: str) -> None:
    scene.put('o', data=b'data' * 1000)
    caught = scene.proxy.fail(Stall(3600), method=method, path=scene.path('o'), times=None)
    daemon = scene.daemon(retain_local=False)
    daemon.start()
    eventually(lambda: caught.hits, 'the request that is to stall')
    daemon.kill9()
    assert local(scene) == {'o'}
    scene.proxy.clear()
    daemon.once()
    assert scene.remote_get('o') == b'data' * 1000 and local(scene) == set()


def test_with_two_destinations_an_object_leaves_when_both_have_it(
        scene: Scene, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    second = s3.make_bucket(fresh_name('second'))
    scene.put('o', data=b'data')
    mappings = [scene.mapping(retain_local=False), s3_mapping(s3, scene.container, second, name='second',
                                                              exclude_pattern='never')]
    with SyncDaemon(scene.swift, mappings) as daemon:
        daemon.once()
        with daemon.ledger() as ledger:
            ledger.retry(kind='deferred')
        daemon.once()
    assert local(scene) == set()
    assert scene.remote_get('o') == b'data'
    assert scene.client.get_object(Bucket=second, Key=scene.scheme.key('o'))['Body'].read() == b'data'


# -- restored objects -----------------------------------------------------------------------


def test_a_restored_object_keeps_its_date_is_not_propagated_and_stays_for_its_days(
        scene: Scene, restore: Callable[[str, Timestamp, int, bytes], int]) -> None:
    scene.put('o', data=b'data')
    copied = Timestamp(scene.local.head_object(scene.container, 'o')['x-timestamp'])
    daemon = scene.daemon(retain_local=False)
    daemon.once()
    assert restore('o', copied, int(time.time()) + 10, b'data') == 201
    head = scene.local.head_object(scene.container, 'o')
    assert float(head['x-timestamp']) == float(copied)
    scene.proxy.clear()
    daemon.once()
    assert scene.data_puts == [] and local(scene) == {'o'}
    assert waiting(daemon)['o'] == ('deferred', 'restored')
    at_once = scene.daemon(retain_local=False, restore_days=0)
    at_once.once()
    assert local(scene) == set() and scene.remote_get('o') == b'data'
    # The user's own change of a restored object is the user's.
    assert restore('o', copied, int(time.time()) + 1000, b'data') == 201
    scene.local.post_object(scene.container, 'o', {'X-Object-Meta-Colour': 'red', 'Content-Type': 'text/plain'})
    daemon.once()
    assert scene.remote_head('o')['Metadata']['colour'] == 'red'


# -- large objects --------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['slo', 'dlo'])
def test_a_large_object_leaves_and_its_segments_follow_by_the_sweep(scene: Scene, kind: str) -> None:
    segments = f'{scene.container}_segments'
    put = put_slo if kind == 'slo' else put_dlo
    data = put(scene.local, scene.container, 'large', [cheap_bytes(5 * MIB, n) for n in range(2)] + [b'end'])
    shared = put(scene.local, scene.container, 'kept', [b'1' * 100, b'2' * 100])
    scene.local.put_object(segments, 'video2', b'not of the prefix')
    manifest = stored_manifest(scene.local, scene.container, 'large')
    keys = {'retain_local': False, 'exclude_pattern': 'kept'}
    daemon = scene.daemon(**keys)
    daemon.once()
    assert local(scene) == {'kept'}
    assert len(names(scene.local, segments)) == 6, 'segments wait for their grace'
    assert scene.remote_get('large') == data
    if kind == 'slo':
        assert bytes(scene.client.get_object(
            Bucket=scene.bucket, Key=scene.scheme.manifest_key('large'))['Body'].read()) == manifest
    assert '3 segments' in daemon.status()

    at_once = scene.daemon(**keys, segments_grace=0)
    put(scene.local, scene.container, 'large', [cheap_bytes(5 * MIB, n) for n in range(2)] + [b'end'])
    at_once.once()
    eventually(lambda: at_once.once() is not None and len(names(scene.local, segments)) == 3, 'the segments gone')
    assert names(scene.local, segments) == {'kept/000', 'kept/001', 'video2'}
    assert scene.local.get_object(scene.container, 'kept')[1] == shared
    assert scene.remote_get('large') == data


def test_segments_that_another_manifest_uses_stay(scene: Scene) -> None:
    """The predecessor deleted shared segments with the first manifest (its defect 7.1.4)."""
    segments = f'{scene.container}_segments'
    parts = [b'1' * 1000, b'2' * 1000]
    put_slo(scene.local, scene.container, 'archived', parts, prefix='shared')
    elsewhere = f'{scene.container}-elsewhere'
    scene.local.put_container(elsewhere)
    data = put_slo(scene.local, elsewhere, 'user', parts[:1], segments=segments, prefix='shared')
    daemon = scene.daemon(retain_local=False, segments_grace=0)
    daemon.once()
    daemon.once()
    assert local(scene) == set()
    assert names(scene.local, segments) == {'shared/000'}
    assert scene.local.get_object(elsewhere, 'user')[1] == data


def test_segments_can_be_kept(scene: Scene) -> None:
    put_slo(scene.local, scene.container, 'large', [b'1' * 1000, b'2' * 1000])
    daemon = scene.daemon(retain_local=False, retain_local_segments=True, segments_grace=0)
    daemon.once()
    daemon.once()
    assert local(scene) == set()
    assert len(names(scene.local, f'{scene.container}_segments')) == 2


def test_an_overwrite_during_the_grace_keeps_its_segments(scene: Scene) -> None:
    segments = f'{scene.container}_segments'
    put_slo(scene.local, scene.container, 'large', [b'1' * 1000, b'2' * 1000])
    scene.daemon(retain_local=False).once()
    scene.local.put_object(segments, 'large/000', b'another now')
    daemon = scene.daemon(retain_local=False, segments_grace=0)
    daemon.once()
    daemon.once()
    assert scene.local.get_object(segments, 'large/000')[1] == b'another now'


def test_a_whole_account_is_archived_with_its_segments_in_any_order(
        swift: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> None:
    account = f'AUTH_{fresh_name("account")}'
    with closing(swift.client(user='admin:admin', key='admin', os_options={
            'object_storage_url': f'{swift.url}/v1/{account}'})) as client:
        client.put_container('a')
        client.put_container('z')
        wanted = {('a', 'slo'): put_slo(client, 'a', 'slo', [b'1' * 100, b'2' * 100], segments='z'),
                  ('a', 'dlo'): put_dlo(client, 'a', 'dlo', [b'3' * 100, b'4' * 100], segments='z'),
                  ('z', 'last'): put_slo(client, 'z', 'last', [b'5' * 100], segments='a')}
        client.put_object('a', 'plain', b'data')
        mapping = s3_mapping(s3, '/*', bucket, account=account, retain_local=False, segments_grace=0)
        with SyncDaemon(swift, [mapping]) as daemon:
            for _ in range(4):
                daemon.once()
                for (container, name), data in wanted.items():
                    try:
                        assert client.get_object(container, name)[1] == data, 'a live manifest lost a segment'
                    except ClientException as error:
                        assert error.http_status == 404
            assert names(client, 'a') == names(client, 'z') == set()
            assert waiting(daemon) == {}


# -- to Swift -------------------------------------------------------------------------------


def test_large_objects_leave_for_another_swift(swift: SwiftCluster, swift_client: Connection, container: str,
                                               fresh_name: Callable[[str], str]) -> None:
    with closing(swift.client(user='test2:tester2', key='testing2')) as far:
        target = fresh_name('target')
        far.put_container(target)
        slo = put_slo(swift_client, container, 'slo', [b'1' * 1000, b'2' * 1000])
        dlo = put_dlo(swift_client, container, 'dlo', [b'3' * 1000, b'4' * 1000])
        swift_client.put_object(container, 'plain', b'data')
        mapping = swift_mapping(swift, container, target, retain_local=False, segments_grace=0,
                                remote_delete_after=DAY)
        with SyncDaemon(swift, [mapping]) as daemon:
            daemon.once()
            daemon.once()
            assert names(swift_client, container) == names(swift_client, f'{container}_segments') == set()
            assert {name: far.get_object(target, name)[1] for name in names(far, target)} == {
                'slo': slo, 'dlo': dlo, 'plain': b'data'}
            manifest_end = int(far.head_object(target, 'slo')['x-delete-at'])
            segment_ends = {int(far.head_object(f'{target}_segments', name)['x-delete-at'])
                            for name in names(far, f'{target}_segments') if name.startswith('slo')}
            assert {end - manifest_end for end in segment_ends} <= set(range(DAY - 2, DAY + 3))
            assert waiting(daemon) == {}
