"""Archives of large objects when the remote or a writer gets in the way: what is not proven stays, and is listed."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from s3_sync.config import load
from s3_sync.provider_factory import create_provider
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Answer, Stall
from test.servers.fill_container import fill_container
from test.servers.large_objects import MIB, cheap_bytes, names, put_slo, stored_manifest
from test.servers.scene import Scene, waiting
from test.servers.sync_daemon import SyncDaemon, eventually

INTERNAL_ERROR = b'<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>try again</Message></Error>'
REFUSED = b'<Error><Code>InvalidRequest</Code><Message>no</Message></Error>'
ARCHIVE: dict[str, Any] = {'retain_local': False, 'segments_grace': 0}


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> Iterator[Scene]:
    with Scene(swift, s3, container, bucket) as stage:
        yield stage


def parts(seed: int) -> list[bytes]:
    return [cheap_bytes(5 * MIB, seed), b'end' * 100]


def local(scene: Scene) -> set[str]:
    return names(scene.local, scene.container)


def retry(daemon: SyncDaemon) -> None:
    with daemon.ledger() as ledger:
        ledger.retry()


def unfinished(scene: Scene) -> int:
    """Multipart uploads that are neither complete nor ended."""
    return len(scene.client.list_multipart_uploads(Bucket=scene.bucket).get('Uploads', ()))


def beside(scene: Scene, name: str) -> str:
    """Regular expression for the object that holds the stored manifest."""
    return rf'/\.manifests/.*{hashlib.sha256(name.encode()).hexdigest()}'


def test_whatever_fails_on_the_way_nothing_local_goes_and_the_next_try_ends_it(scene: Scene) -> None:
    faults = ('error-in-200', 'manifest', 'last-try', 'no-abort')
    content = {name: put_slo(scene.local, scene.container, name, parts(seed)) for seed, name in enumerate(faults)}
    manifests = {name: stored_manifest(scene.local, scene.container, name) for name in faults}
    plain = {f'plain-{n}' for n in range(5)}
    scene.put(*plain)
    fail = scene.proxy.fail
    rules = [
        fail(Answer(200, {}, INTERNAL_ERROR), method='POST', path=r'/error-in-200\?uploadId=', times=None),
        fail(Answer(500, {}, INTERNAL_ERROR), method='PUT', path=beside(scene, 'manifest'), times=None),
        fail(Answer(500, {}, INTERNAL_ERROR), method='PUT', path=r'/last-try\?partNumber=2\b', times=None),
        fail(Answer(400, {}, REFUSED), method='PUT', path=r'/no-abort\?partNumber=1\b', times=None),
        fail(Answer(403, {}, b'<Error><Code>AccessDenied</Code></Error>'), method='DELETE', path='/no-abort',
             times=None)]
    daemon = scene.daemon(**ARCHIVE)
    daemon.once(expect=3)
    assert all(rule.hits for rule in rules)
    assert {name: kind for name, (kind, _) in waiting(daemon).items()} == {
        'error-in-200': 'failed', 'manifest': 'failed', 'last-try': 'failed', 'no-abort': 'permanent'}
    assert local(scene) == set(faults)
    assert len(names(scene.local, f'{scene.container}_segments')) == 2 * len(faults)
    for name in faults:
        assert scene.local.get_object(scene.container, name)[1] == content[name]
    # What is there is whole; what is not whole is not there.
    assert scene.remote_names() == plain | {'manifest'}
    assert scene.remote_get('manifest') == content['manifest']

    scene.proxy.clear()
    retry(daemon)
    daemon.once()
    assert local(scene) == names(scene.local, f'{scene.container}_segments') == set()
    assert scene.remote_names() == plain | set(faults)
    for name in faults:
        assert scene.remote_get(name) == content[name]
        assert scene.client.get_object(Bucket=scene.bucket, Key=scene.scheme.manifest_key(name))[
            'Body'].read() == manifests[name]
    sent = {name: {int(r.path.partition('partNumber=')[2][0]) for r in scene.part_puts if f'/{name}?' in r.path}
            for name in faults}
    assert {name: sent[name] for name in ('error-in-200', 'manifest', 'last-try')} == {
        'error-in-200': set(), 'manifest': set(), 'last-try': {2}}, 'parts that were there were sent again'
    assert waiting(daemon) == {}

    # What could not be ended was remembered, for the sweep or the next try.
    provider = create_provider(load(daemon.config_file).containers[0])
    provider.sweep_uploads(0)
    provider.close()
    assert unfinished(scene) == 0
    assert scene.remote_keys() == {scene.scheme.key(name) for name in plain | set(faults)} | {
        scene.scheme.manifest_key(name) for name in faults}


def test_a_segment_that_changes_before_it_is_read_stops_the_copy(scene: Scene) -> None:
    put_slo(scene.local, scene.container, 'o', parts(1))
    begun = scene.proxy.fail(Stall(3), method='POST', path=r'/o\?uploads')
    daemon = scene.daemon(**ARCHIVE)
    daemon.start()
    eventually(lambda: begun.hits, 'an upload that begins')
    scene.local.put_object(f'{scene.container}_segments', 'o/001', b'END' * 100)
    eventually(lambda: waiting(daemon) == {'o': ('failed', 'segment-changed')}, 'the failure in the list')
    assert daemon.stop() == 0
    assert scene.remote_names() == set()
    assert local(scene) == {'o'}
    assert len(names(scene.local, f'{scene.container}_segments')) == 2
    # The user's next version is archived like any other, and nothing is left of the first.
    data = put_slo(scene.local, scene.container, 'o', [parts(1)[0], b'END' * 100])
    daemon.once()
    assert scene.remote_get('o') == data
    assert local(scene) == names(scene.local, f'{scene.container}_segments') == set()
    assert waiting(daemon) == {}


def test_a_segment_overwritten_while_it_travels_arrives_as_it_was_or_not_at_all(scene: Scene) -> None:
    data = put_slo(scene.local, scene.container, 'o', parts(1))
    manifest = stored_manifest(scene.local, scene.container, 'o')
    travels = scene.proxy.fail(Stall(3), method='PUT', path=r'/o\?partNumber=1\b')
    daemon = scene.daemon(**ARCHIVE)
    daemon.start()
    eventually(lambda: travels.hits, 'a part on its way')
    scene.local.put_object(f'{scene.container}_segments', 'o/000', cheap_bytes(5 * MIB, 2))
    eventually(lambda: waiting(daemon) or not local(scene), 'the end of it')
    assert daemon.stop() == 0
    if local(scene):
        assert waiting(daemon) == {'o': ('failed', 'segment-changed')}
        assert scene.remote_names() == set()
        assert len(names(scene.local, f'{scene.container}_segments')) == 2
    else:
        assert scene.remote_get('o') == data
        assert scene.client.get_object(Bucket=scene.bucket, Key=scene.scheme.manifest_key('o'))[
            'Body'].read() == manifest
        daemon.once()
        assert names(scene.local, f'{scene.container}_segments') == {'o/000'}, 'another version than was archived'


def test_an_overwrite_between_copy_and_proof_is_not_taken_for_what_was_copied(scene: Scene) -> None:
    put_slo(scene.local, scene.container, 'o', parts(1))
    proof = scene.proxy.fail(Stall(3), method='HEAD', path=r'/o$', nth=3)
    daemon = scene.daemon(**ARCHIVE)
    daemon.start()
    eventually(lambda: proof.hits, 'the proof under way')
    assert scene.remote_names() == {'o'}
    data = put_slo(scene.local, scene.container, 'o', [b'new'], prefix='new')
    eventually(lambda: not local(scene), 'the object archived')
    # Those of the first version are at the remote no longer: the user's to delete, as on any overwrite.
    left = {'o/000', 'o/001'}
    eventually(lambda: names(scene.local, f'{scene.container}_segments') == left, 'the new segment gone')
    assert daemon.stop() == 0
    assert scene.remote_get('o') == data
    daemon.once()
    assert names(scene.local, f'{scene.container}_segments') == left
    assert waiting(daemon) == {}


def test_more_segments_than_parts_are_joined(swift: SwiftCluster, scene: Scene, swift_client: Connection) -> None:
    count = 10_001
    segments = f'{scene.container}_segments'
    swift_client.put_container(segments)
    fill_container(swift.swift_dir, swift.devices(), 'AUTH_test', segments, count)
    swift_client.put_object(scene.container, 'dlo', b'', headers={'X-Object-Manifest': f'{segments}/o'})
    daemon = scene.daemon(**ARCHIVE, retain_local_segments=True)
    daemon.once()
    assert scene.remote_get('dlo') == b'data' * count
    assert len(scene.part_puts) == 1
    with pytest.raises(ClientException):
        swift_client.head_object(scene.container, 'dlo')
    assert int(swift_client.head_container(segments)['x-container-object-count']) == count
    assert waiting(daemon) == {}
