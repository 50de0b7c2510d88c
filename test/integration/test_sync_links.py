"""Symbolic links and versioned containers: followed, brought as links, or left out (``symlinks``)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import quote, unquote

import pytest
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.large_objects import names, put_slo
from test.servers.scene import Scene
from test.servers.sync_daemon import SyncDaemon, swift_mapping


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    with closing(swift.client(user='test2:tester2', key='testing2')) as client:
        yield client


@pytest.fixture
def target(far: Connection, fresh_name: Callable[[str], str]) -> str:
    name = fresh_name('target')
    far.put_container(name)
    return name


def link(client: Connection, container: str, name: str, to: str, **headers: str) -> None:
    client.put_object(container, name, b'', headers={'X-Symlink-Target': quote(to), **headers})


def target_of(client: Connection, container: str, name: str) -> str:
    """'' : it is no link."""
    return unquote(client.head_object(container, name, query_string='symlink=get').get('x-symlink-target', ''))


def test_links_are_followed_by_default(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> None:
    with Scene(swift, s3, container, bucket) as scene:
        scene.put('%41 ö', data=b'pointed at')
        link(scene.local, container, 'link', f'{container}/%41 ö')
        slo = put_slo(scene.local, container, 'slo', [b'1' * 10, b'2' * 10])
        link(scene.local, container, 'to-slo', f'{container}/slo')
        link(scene.local, container, 'dangling', f'{container}/nobody')
        said = scene.daemon().once(expect=3)
        assert 'dangling' in said
        assert scene.remote_get('link') == b'pointed at' and scene.remote_get('to-slo') == slo
        assert scene.remote_names() == {'%41 ö', 'link', 'slo', 'to-slo'}


def test_links_can_be_left_out(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> None:
    with Scene(swift, s3, container, bucket) as scene:
        scene.put('o')
        link(scene.local, container, 'link', f'{container}/o')
        link(scene.local, container, 'dangling', f'{container}/nobody')
        scene.daemon(symlinks='skip').once()
        assert scene.remote_names() == {'o'}


def test_links_stay_links_where_their_target_is_copied_and_are_data_elsewhere(
        swift: SwiftCluster, swift_client: Connection, far: Connection, container: str, target: str,
        fresh_name: Callable[[str], str]) -> None:
    elsewhere = fresh_name('elsewhere')
    swift_client.put_container(elsewhere)
    swift_client.put_object(elsewhere, 'o', b'from elsewhere')
    swift_client.put_object(container, 'a b', b'data')
    link(swift_client, container, 'inside', f'{container}/a b', **{'X-Object-Meta-Colour': 'red'})
    link(swift_client, container, 'outside', f'{elsewhere}/o')
    link(swift_client, container, 'early', f'{container}/comes later')
    mapping = swift_mapping(swift, container, target, symlinks='link')
    with SyncDaemon(swift, [mapping]) as daemon:
        daemon.once()
        assert target_of(far, target, 'inside') == f'{target}/a b'
        assert far.get_object(target, 'inside')[1] == b'data'
        assert far.head_object(target, 'inside', query_string='symlink=get')['x-object-meta-colour'] == 'red'
        assert target_of(far, target, 'outside') == ''
        assert far.get_object(target, 'outside')[1] == b'from elsewhere'
        with pytest.raises(ClientException):
            far.get_object(target, 'early')

        before = far.head_object(target, 'inside', query_string='symlink=get')['x-timestamp']
        with SyncDaemon(swift, [mapping]) as forgetful:
            forgetful.once()
        assert far.head_object(target, 'inside', query_string='symlink=get')['x-timestamp'] == before

        swift_client.put_object(container, 'comes later', b'now')
        link(swift_client, container, 'inside', f'{container}/comes later')
        swift_client.delete_object(container, 'outside')
        daemon.once()
        assert far.get_object(target, 'early')[1] == far.get_object(target, 'inside')[1] == b'now'
        assert names(far, target) == {'a b', 'comes later', 'early', 'inside'}


def test_links_of_a_whole_account_lead_across_its_containers(
        swift: SwiftCluster, far: Connection, fresh_name: Callable[[str], str]) -> None:
    account, prefix = f'AUTH_{fresh_name("account")}', f'{fresh_name("copy")}-'
    with closing(swift.client(user='admin:admin', key='admin',
                              os_options={'object_storage_url': f'{swift.url}/v1/{account}'})) as client:
        for container in 'ab':
            client.put_container(container)
        client.put_object('a', 'o', b'data')
        link(client, 'b', 'link', 'a/o')
        mapping = swift_mapping(swift, '/*', prefix, account=account, symlinks='link')
        with SyncDaemon(swift, [mapping]) as daemon:
            daemon.once()
        assert target_of(far, f'{prefix}b', 'link') == f'{prefix}a/o'
        assert far.get_object(f'{prefix}b', 'link')[1] == b'data'


@pytest.mark.parametrize('symlinks', ['follow', 'link', 'skip'])
def test_a_versioned_container_is_copied_as_its_newest_versions(
        swift: SwiftCluster, swift_client: Connection, far: Connection, target: str, symlinks: str,
        fresh_name: Callable[[str], str]) -> None:
    versioned = fresh_name('versioned')
    swift_client.put_container(versioned, headers={'X-Versions-Enabled': 'true'})
    swift_client.put_object(versioned, 'o', b'first')
    swift_client.put_object(versioned, 'o', b'second')
    slo = put_slo(swift_client, versioned, 'slo', [b'1' * 10, b'2' * 10])
    mapping = swift_mapping(swift, versioned, target, symlinks=symlinks)
    with SyncDaemon(swift, [mapping]) as daemon:
        daemon.once()
        assert far.get_object(target, 'o')[1] == b'second' and target_of(far, target, 'o') == ''
        assert far.get_object(target, 'slo')[1] == slo
        swift_client.put_object(versioned, 'o', b'third')
        swift_client.delete_object(versioned, 'slo')
        daemon.once()
        assert {name: far.get_object(target, name)[1] for name in names(far, target)} == {'o': b'third'}
