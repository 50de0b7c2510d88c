"""The predecessor's scenarios of large objects and archives with a Swift as remote, by the daemon."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.config import load
from s3_sync.provider_factory import create_provider
from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ObjectMeta
from s3_sync.wire.keys import KeyScheme
from test.servers.fault_proxy import FaultProxy
from test.servers.large_objects import MIB, cheap_bytes, md5, names, put_dlo, put_manifest, put_segments, put_slo
from test.servers.sync_daemon import SyncDaemon, s3_mapping, swift_mapping

DAY = 86400
ARCHIVE: dict[str, Any] = {'retain_local': False, 'segments_grace': 0}


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    """A client of the remote account."""
    with closing(swift.client(user='test2:tester2', key='testing2')) as client:
        yield client


@pytest.fixture
def target(far: Connection, fresh_name: Callable[[str], str]) -> str:
    name = fresh_name('target')
    far.put_container(name)
    return name


@pytest.fixture
def run(swift: SwiftCluster) -> Iterator[Callable[..., SyncDaemon]]:
    """A daemon that was run once with these mappings, and can be run again."""
    made: list[SyncDaemon] = []

    def once(*mappings: dict[str, object], expect: int = 0) -> SyncDaemon:
        made.append(SyncDaemon(swift, mappings))
        made[-1].once(expect=expect)
        return made[-1]
    yield once
    for daemon in made:
        daemon.close()


@pytest.fixture
def watched(swift: SwiftCluster, fault_proxy: Callable[[str], FaultProxy]) -> FaultProxy:
    """The remote as the daemon reaches it, with ``through``."""
    return fault_proxy(swift.url)


def through(proxy: FaultProxy, mapping: dict[str, object]) -> dict[str, object]:
    return {**mapping, 'aws_endpoint': f'{proxy.url}/auth/v1.0'}


def writes(proxy: FaultProxy) -> list[tuple[str, str]]:
    """Method and path, without account and query, of what changed something; forgotten afterwards."""
    found = [(r.method, r.path.split('/', 3)[3].partition('?')[0]) for r in proxy.requests
             if r.method not in ('GET', 'HEAD') and r.status < 300]
    proxy.clear()
    return found


def told(daemon: SyncDaemon, name: str, mapping: int = 0) -> tuple[ObjectMeta, bytes]:
    """What a mapping's remote says of an object; swiftclient loses all that follows a header that is not ASCII."""
    provider = create_provider(load(daemon.config_file).containers[mapping])
    try:
        found = provider.get_object(name)
        try:
            return provider.head_object(name), found.read()
        finally:
            found.close()
    finally:
        provider.close()


def manifest(client: Connection, container: str, name: str) -> list[dict[str, Any]]:
    return list(json.loads(client.get_object(container, name, query_string='multipart-manifest=get')[1]))


def blocks(*sizes: int) -> list[bytes]:
    return [bytes([65 + n]) * size for n, size in enumerate(sizes)]


# -- whole accounts -------------------------------------------------------------------------


@pytest.fixture
def account(swift: SwiftCluster, fresh_name: Callable[[str], str]) -> Iterator[tuple[str, Connection]]:
    """An account of the test's own and a client of it."""
    name = f'AUTH_{fresh_name("account")}'
    with closing(swift.client(user='admin:admin', key='admin', os_options={
            'object_storage_url': f'{swift.url}/v1/{name}'})) as client:
        yield name, client


@pytest.mark.parametrize(('wanted', 'found'), [(None, 'gold'), ('silver', 'silver'), ('fake', None)])
def test_an_slo_of_a_whole_account_brings_both_containers_with_the_policy(
        swift: SwiftCluster, account: tuple[str, Connection], far: Connection, run: Callable[..., SyncDaemon],
        fresh_name: Callable[[str], str], wanted: str | None, found: str | None) -> None:
    """swift_sync_account_slo, swift_sync_account_slo_silver, swift_sync_account_slo_policy_fake."""
    name, local = account
    local.put_container('films')
    data = put_slo(local, 'films', 'slo', blocks(1000, 2000), segments='reels')
    prefix = f'{fresh_name("crazy-target")}:'
    keys = {} if wanted is None else {'storage_policy': wanted}
    daemon = run(swift_mapping(swift, '/*', prefix, account=name, **keys), expect=0 if found else 3)
    there = {entry['name'] for entry in far.get_account(prefix=prefix)[1]}
    if found is None:
        assert there == set()
        assert set(daemon.failures().values()) == {('permanent', 'storage-policy')}
        assert daemon.failures().keys() == {f'{name}/films/slo', f'{name}/reels/slo/000', f'{name}/reels/slo/001'}
        return
    assert there == {f'{prefix}films', f'{prefix}reels'}
    assert {far.head_container(container)['x-storage-policy'] for container in there} == {found}
    assert far.get_object(f'{prefix}films', 'slo')[1] == data
    assert [entry['name'] for entry in manifest(far, f'{prefix}films', 'slo')] == [
        f'/{prefix}reels/slo/000', f'/{prefix}reels/slo/001']
    assert far.head_object(f'{prefix}films', 'slo')['etag'] == local.head_object('films', 'slo')['etag']


# -- the end of copies ----------------------------------------------------------------------


def test_archived_objects_get_their_end_and_segments_a_later_one(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str,
        run: Callable[..., SyncDaemon]) -> None:
    """swift_archive_x_delete_after, swift_archive_slo_w_remote_delete_at."""
    swift_client.put_object(container, 'plain ü', b'data')
    content = {'plain ü': b'data', 'slo': put_slo(swift_client, container, 'slo', blocks(1000, 2000)),
               'dlo': put_dlo(swift_client, container, 'dlo', blocks(500, 700))}
    born = {name: float(swift_client.head_object(container, name)['x-timestamp']) for name in content}
    swift_client.put_object(container, 'färg', b'', headers={'X-Object-Meta-Färg': 'Blå'})
    daemon = run(swift_mapping(swift, container, target, **ARCHIVE, remote_delete_after=10 * DAY,
                               remote_delete_after_addition=3600))
    assert names(swift_client, container) == names(swift_client, f'{container}_segments') == set()
    ends = {name: int(far.head_object(target, name)['x-delete-at']) for name in born}
    assert ends == {name: int(at) + 10 * DAY for name, at in born.items()}
    for segment in names(far, f'{target}_segments'):
        owner = segment.partition('/')[0]
        assert int(far.head_object(f'{target}_segments', segment)['x-delete-at']) == ends[owner] + 3600
    assert {name: far.get_object(target, name)[1] for name in content} == content
    assert told(daemon, 'färg')[0].user_metadata == {'färg': 'Blå'}


def test_an_end_comes_to_an_slo_that_is_there_when_it_is_archived(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str,
        watched: FaultProxy, run: Callable[..., SyncDaemon]) -> None:
    """swift_archive_slo_update_x_delete_after."""
    data = put_slo(swift_client, container, 'slo', blocks(1000, 2000))
    born = int(float(swift_client.head_object(container, 'slo')['x-timestamp']))
    mapping = through(watched, swift_mapping(swift, container, target))
    daemon = run(mapping)
    assert 'x-delete-at' not in far.head_object(target, 'slo')
    watched.clear()
    daemon.configure([{**mapping, **ARCHIVE, 'remote_delete_after': 10 * DAY}])
    daemon.once()
    assert all(method == 'POST' for method, _ in writes(watched)), 'data was sent again'
    end = int(far.head_object(target, 'slo')['x-delete-at'])
    assert end == born + 10 * DAY
    # Older than its manifest's end, nothing of it may vanish.
    assert all(int(far.head_object(f'{target}_segments', segment).get('x-delete-at', end + 1)) > end
               for segment in names(far, f'{target}_segments'))
    assert far.get_object(target, 'slo')[1] == data
    assert names(swift_client, container) == names(swift_client, f'{container}_segments') == set()


# -- segments -------------------------------------------------------------------------------


def test_a_second_manifest_of_the_same_segments_sends_none_of_them(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str,
        watched: FaultProxy, run: Callable[..., SyncDaemon]) -> None:
    """swift_sync_same_segments_slo."""
    entries = put_segments(swift_client, f'{container}_segments', ['s/1', 's/2', 's/3'], blocks(1000, 2000, 500))
    put_manifest(swift_client, container, 'one', entries)
    daemon = run(through(watched, swift_mapping(swift, container, target)))
    watched.clear()
    put_manifest(swift_client, container, 'two', entries)
    put_manifest(swift_client, container, 'backwards', entries[::-1])
    daemon.once()
    assert sorted(path for method, path in writes(watched) if method == 'PUT') == [
        f'{target}/backwards', f'{target}/two']
    for name in ('one', 'two', 'backwards'):
        assert far.get_object(target, name)[1] == swift_client.get_object(container, name)[1]


def test_segments_in_the_object_s_own_container_can_be_left_out_as_objects(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str,
        run: Callable[..., SyncDaemon]) -> None:
    """swift_slo_same_container_segments."""
    data = put_slo(swift_client, container, 'slo', blocks(1000, 2000), segments=container, prefix='segment')
    daemon = run(swift_mapping(swift, container, target, exclude_pattern='^segment'))
    assert names(far, target) == {'slo'}
    assert far.get_object(target, 'slo')[1] == data
    assert {entry['name'].split('/', 2)[2] for entry in manifest(far, target, 'slo')} == {'segment/000', 'segment/001'}
    swift_client.delete_object(container, 'slo')
    daemon.once()
    assert names(far, target) == set()
    assert [entry['name'] for entry in far.get_account(prefix=target)[1] if entry['count']] == []


def test_joined_segments_keep_their_data_when_metadata_changes(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str,
        watched: FaultProxy, run: Callable[..., SyncDaemon]) -> None:
    """swift_slo_sync_resize_segments(_new_meta), swift_dlo_sync_resize_segments(_new_meta)."""
    color = {'X-Object-Meta-Färg': 'Blå'}
    parts = {'slo-ö': blocks(*[400] * 8), 'dlo-ö': blocks(*[300] * 6)}
    content = {'slo-ö': put_slo(swift_client, container, 'slo-ö', parts['slo-ö'], headers=color),
               'dlo-ö': put_dlo(swift_client, container, 'dlo-ö', parts['dlo-ö'], headers=color)}
    sizes = {'slo-ö': [1200, 1200, 800], 'dlo-ö': [1200, 600]}
    source = {name: md5(''.join(map(md5, data)).encode()) for name, data in parts.items()}
    mapping = through(watched, swift_mapping(swift, container, target, convert_dlo=True, min_segment_size=1000))
    daemon = run(mapping)

    def check(color: str) -> None:
        for name, data in content.items():
            meta, body = told(daemon, name)
            assert body == data and meta.user_metadata == {'färg': color} and meta.source_etag == source[name]
            joined = [entry for entry in far.get_container(f'{target}_segments_joined')[1]
                      if entry['name'].startswith(f'{name}/')]
            assert [entry['bytes'] for entry in joined] == sizes[name]
            at = 0
            for entry in joined:
                assert entry['hash'] == md5(data[at:at + entry['bytes']])
                at += entry['bytes']

    check('Blå')
    watched.clear()
    daemon.once()
    run(mapping)  # one that remembers nothing
    assert writes(watched) == []
    swift_client.post_object(container, 'slo-ö', {'X-Object-Meta-Färg': 'Röd'})
    swift_client.post_object(container, 'dlo-ö', {
        'X-Object-Meta-Färg': 'Röd', 'X-Object-Manifest': f'{container}_segments/dlo-%C3%B6/'})
    daemon.once()
    assert {method for method, _ in writes(watched)} == {'POST'}, 'data was sent again'
    check('Röd')


def test_a_converted_dlo_stays_an_slo_through_updates_and_lost_memory_and_goes_with_its_segments(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str,
        watched: FaultProxy, run: Callable[..., SyncDaemon], fresh_name: Callable[[str], str]) -> None:
    """dlo_slo_conversion(_meta_update, _reupload), swift_sync_delete_dlo."""
    as_it_is = fresh_name('as-it-is')
    far.put_container(as_it_is)
    data = put_dlo(swift_client, container, 'dlo', blocks(1000, 2000, 300))
    mappings = [through(watched, swift_mapping(swift, container, target, convert_dlo=True)),
                through(watched, swift_mapping(swift, container, as_it_is))]

    def check(place: str, header: str, other: str) -> dict[str, str]:
        headers, body = far.get_object(place, 'dlo')
        assert body == data and header in headers and other not in headers
        return dict(headers)

    daemon = run(*mappings)
    check(target, 'x-static-large-object', 'x-object-manifest')
    check(as_it_is, 'x-object-manifest', 'x-static-large-object')
    watched.clear()
    forgetful = run(*mappings)
    assert writes(watched) == []
    swift_client.post_object(container, 'dlo', {
        'X-Object-Meta-Color': 'Red', 'X-Object-Manifest': f'{container}_segments/dlo/'})
    forgetful.once()
    assert sorted(writes(watched)) == [('POST', f'{as_it_is}/dlo'), ('POST', f'{target}/dlo')]
    assert check(target, 'x-static-large-object', 'x-object-manifest')['x-object-meta-color'] == 'Red'
    assert check(as_it_is, 'x-object-manifest', 'x-static-large-object')['x-object-meta-color'] == 'Red'
    daemon.once()
    assert writes(watched) == []
    swift_client.delete_object(container, 'dlo')
    daemon.once()
    for place in (target, as_it_is):
        assert names(far, place) == names(far, f'{place}_segments') == set()


# -- Keystone -------------------------------------------------------------------------------


@pytest.fixture
def project(keystone: Keystone, swift_keystone: SwiftCluster, keystone_user: ProjectUser) -> Iterator[Connection]:
    """A client of the user's project at the remote."""
    token = keystone.token(keystone_user.user, keystone_user.password, keystone_user.project)
    with closing(Connection(preauthurl=f'{swift_keystone.url}/v1/{keystone_user.account}', preauthtoken=token,
                            retries=0)) as client:
        yield client


def login(keystone: Keystone, user: ProjectUser, container: str, bucket: str, **keys: object) -> dict[str, object]:
    return {'account': 'AUTH_test', 'container': container, 'protocol': 'swift', 'aws_bucket': bucket,
            'aws_endpoint': keystone.url, 'auth_type': 'keystone_v3', 'aws_identity': user.user,
            'aws_secret': user.password, 'project_name': user.project, 'project_domain_name': keystone.domain,
            'user_domain_name': keystone.domain, **keys}


@pytest.mark.parametrize('whose', ['own', 'another'])
def test_an_archive_behind_keystone_in_the_own_account_or_another(
        swift: SwiftCluster, swift_client: Connection, container: str, keystone: Keystone, keystone_user: ProjectUser,
        project: Connection, run: Callable[..., SyncDaemon], fresh_name: Callable[[str], str], whose: str) -> None:
    """keystone_sync_v3 as an archive; keystone_cross_account: a guest with nothing but the containers' ACLs."""
    user, keys, acl = keystone_user, {}, {}
    target = fresh_name('target')
    if whose == 'another':
        user = keystone.add_user(fresh_name('guest'), fresh_name('elsewhere'))
        allowed = f'{user.project_id}:{user.user_id}'
        acl = {'X-Container-Read': allowed, 'X-Container-Write': allowed}
        keys = {'remote_account': keystone_user.account}
        project.put_container(f'{target}_segments', headers=acl)
    project.put_container(target, headers=acl)
    content = {'slo': put_slo(swift_client, container, 'slo', blocks(1000, 2000)),
               'dlo': put_dlo(swift_client, container, 'dlo', blocks(100, 200)), 'ü': b'data'}
    swift_client.put_object(container, 'ü', b'data', headers={'X-Object-Meta-A': 'B'})
    daemon = run(login(keystone, user, container, target, **ARCHIVE, **keys))
    assert names(swift_client, container) == names(swift_client, f'{container}_segments') == set()
    assert {name: project.get_object(target, name)[1] for name in names(project, target)} == content
    assert project.head_object(target, 'ü')['x-object-meta-a'] == 'B'
    daemon.once()
    assert names(project, target) == content.keys()


# -- selection, other stores ----------------------------------------------------------------


def test_archives_by_metadata_take_just_what_bears_it_whatever_the_script(
        swift: SwiftCluster, swift_client: Connection, container: str, far: Connection, target: str, s3: S3Endpoint,
        bucket: str, run: Callable[..., SyncDaemon], fresh_name: Callable[[str], str]) -> None:
    """s3_archive_by_metadata, swift_archive_by_metadata."""
    second = fresh_name('second')
    swift_client.put_container(second)
    for place in (container, second):
        for name, value in {'wanted ☃': 'ÉTÉ ☃', 'other': 'x', 'none': ''}.items():
            swift_client.put_object(place, name, b'data', headers={'X-Object-Meta-Ünits ☃': value})
        slo = put_slo(swift_client, place, 'slo', blocks(1000, 200), headers={'X-Object-Meta-Ünits ☃': 'ÉTÉ ☃'})
    criteria: dict[str, Any] = {'selection_criteria': {
        'AND': [{'x-object-meta-ünits ☃': 'été ☃'}, {'NOT': {'x-object-meta-clan': 'x'}}]}}
    daemon = run(swift_mapping(swift, container, target, **ARCHIVE, **criteria),
                 s3_mapping(s3, second, bucket, **ARCHIVE, **criteria))
    for index, place in enumerate((container, second)):
        assert names(swift_client, place) == {'other', 'none'}
        for name, data in {'wanted ☃': b'data', 'slo': slo}.items():
            meta, body = told(daemon, name, index)
            assert body == data and meta.user_metadata == {'ünits ☃': 'ÉTÉ ☃'}
        assert names(swift_client, f'{place}_segments') == set()
    assert names(far, target) == {'wanted ☃', 'slo'}


def test_large_objects_leave_for_a_store_that_encrypts_them(
        swift: SwiftCluster, swift_client: Connection, container: str, moto: MotoEndpoint,
        run: Callable[..., SyncDaemon], fresh_name: Callable[[str], str]) -> None:
    bucket = moto.make_bucket(fresh_name('bucket'))
    content = {'slo': put_slo(swift_client, container, 'slo', [cheap_bytes(5 * MIB), b'end']),
               'dlo': put_dlo(swift_client, container, 'dlo', blocks(100, 200)), 'plain': b'data'}
    swift_client.put_object(container, 'plain', b'data')
    run(s3_mapping(moto, container, bucket, **ARCHIVE, encryption='AES256', storage_class='STANDARD_IA'))
    assert names(swift_client, container) == names(swift_client, f'{container}_segments') == set()
    scheme = KeyScheme('AUTH_test', container, None)
    with closing(moto.client()) as client:
        keys = {entry['Key'] for entry in client.list_objects_v2(Bucket=bucket)['Contents']}
        assert keys == {scheme.key(name) for name in content} | {scheme.manifest_key(n) for n in ('slo', 'dlo')}
        for name, data in content.items():
            found = client.get_object(Bucket=bucket, Key=scheme.key(name))
            assert found['Body'].read() == data
            assert (found['ServerSideEncryption'], found['StorageClass']) == ('AES256', 'STANDARD_IA')
