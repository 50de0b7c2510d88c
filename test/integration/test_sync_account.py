"""A mapping of ``/*``: every container of an account, each with a place of its own at the remote."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.keys import KeyScheme
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping, swift_mapping


class Account:
    """An account of the test's own, so that ``/*`` meets no container of other tests."""

    def __init__(self, client: Connection, name: str) -> None:
        self.client, self.name = client, name

    def make(self, container: str, *objects: str, **headers: str) -> None:
        self.client.put_container(container, headers={k.replace('_', '-'): v for k, v in headers.items()})
        for name in objects:
            self.client.put_object(container, name, name.encode())


@pytest.fixture
def account(swift: SwiftCluster, fresh_name: Callable[[str], str]) -> Iterator[Account]:
    name = f'AUTH_{fresh_name("account")}'
    client = swift.client(user='admin:admin', key='admin',
                          os_options={'object_storage_url': f'{swift.url}/v1/{name}'})
    yield Account(client, name)
    client.close()


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    """A client of the remote account."""
    client = swift.client(user='test2:tester2', key='testing2')
    yield client
    client.close()


@pytest.fixture
def prefix(fresh_name: Callable[[str], str]) -> str:
    """What all containers at the remote begin with, as odd as names may be."""
    return f'{fresh_name("crazy-target")}:'


def content(client: Connection, prefix: str) -> dict[str, set[str]]:
    """Containers below a prefix, without it, and their objects."""
    containers = [entry['name'] for entry in client.get_account(prefix=prefix, full_listing=True)[1]]
    return {name.removeprefix(prefix): {entry['name'] for entry in client.get_container(name)[1]}
            for name in containers}


def test_every_container_has_its_own_at_the_remote(swift: SwiftCluster, account: Account, far: Connection,
                                                   prefix: str) -> None:
    account.make('one', 'a', 'ü/b')
    account.make('två ☃', 'c', X_Storage_Policy='silver')
    account.make('versioned', 'v', X_Versions_Enabled='true')
    account.client.put_object('versioned', 'v', b'v')  # the older version goes to a hidden container
    mapping = swift_mapping(swift, '/*', prefix, account=account.name, storage_policy='silver')
    with SyncDaemon(swift, [mapping]) as sync:
        sync.start()
        eventually(lambda: content(far, prefix) == {'one': {'a', 'ü/b'}, 'två ☃': {'c'}, 'versioned': {'v'}},
                   'all containers at the remote, and nothing hidden')
        assert {far.head_container(prefix + name)['x-storage-policy'] for name in ('one', 'två ☃')} == {'silver'}
        assert far.get_object(f'{prefix}one', 'ü/b')[1] == 'ü/b'.encode()
        account.make('late', 'd')
        eventually(lambda: content(far, prefix).get('late') == {'d'}, 'the container that came later')
        assert sync.stop() == 0

        # Its database knows what was deleted, though no listing names the container any more.
        account.client.delete_object('one', 'a')
        account.client.delete_object('one', 'ü/b')
        account.client.delete_container('one')
        sync.once()
        assert content(far, prefix) == {'one': set(), 'två ☃': {'c'}, 'versioned': {'v'}, 'late': {'d'}}


def test_a_policy_that_the_remote_has_not_creates_nothing_and_is_listed(swift: SwiftCluster, account: Account,
                                                                        far: Connection, prefix: str) -> None:
    account.make('one', 'a', 'b')
    with SyncDaemon(swift, [swift_mapping(swift, '/*', prefix, account=account.name, storage_policy='fake')]) as sync:
        assert "no storage policy 'fake'" in sync.once(expect=3)
        assert content(far, prefix) == {}
        assert sync.failures() == {f'{account.name}/one/{name}': ('permanent', 'storage-policy') for name in 'ab'}


def test_metadata_of_containers_without_objects_makes_them(swift: SwiftCluster, account: Account, far: Connection,
                                                           prefix: str) -> None:
    account.make('empty', X_Container_Meta_Colour='Red', X_Container_Read='.r:*')
    account.make('full', 'a', X_Container_Meta_Colour='Blue')
    with SyncDaemon(swift, [swift_mapping(swift, '/*', prefix, account=account.name, storage_policy='silver',
                                          sync_container_metadata=True, sync_container_acl=True)]) as sync:
        sync.once()
    assert content(far, prefix) == {'empty': set(), 'full': {'a'}}
    head = far.head_container(f'{prefix}empty')
    assert (head['x-container-meta-colour'], head['x-container-read'], head['x-storage-policy']) == (
        'Red', '.r:*', 'silver')
    assert far.head_container(f'{prefix}full')['x-container-meta-colour'] == 'Blue'


def test_all_containers_share_a_bucket_under_keys_of_their_own(swift: SwiftCluster, s3: S3Endpoint, s3_client: Any,
                                                               account: Account, bucket: str) -> None:
    account.make('one', 'a')
    account.make('två', 'a', 'b')

    def keys() -> set[str]:
        return {entry['Key'] for entry in s3_client.list_objects_v2(Bucket=bucket).get('Contents', [])}

    one, two = (KeyScheme(account.name, name) for name in ('one', 'två'))
    with SyncDaemon(swift, [s3_mapping(s3, '/*', bucket, account=account.name)]) as sync:
        sync.once()
        assert keys() == {one.key('a'), two.key('a'), two.key('b')}
        account.client.delete_object('två', 'a')
        sync.once()
        assert keys() == {one.key('a'), two.key('b')}
