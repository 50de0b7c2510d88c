"""Remotes behind Keystone: passwords, application credentials, another project's account."""
from __future__ import annotations

from collections.abc import Callable

from swiftclient import Connection

from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.sync_daemon import SyncDaemon, keystone_login, keystone_mapping


def names(client: Connection, container: str) -> set[str]:
    return {entry['name'] for entry in client.get_container(container)[1]}


def test_passwords_and_application_credentials(swift: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser,
                                               far: Connection, swift_client: Connection, container: str,
                                               fresh_name: Callable[[str], str]) -> None:
    for target in ('by-password', 'by-credential', 'by-name'):
        far.put_container(target)
    swift_client.put_object(container, 'ü', b'data', headers={'X-Object-Meta-A': 'B'})
    swift_client.put_object(container, 'gone', b'data')
    credential = keystone.add_application_credential(keystone_user, fresh_name('credential'))
    mappings = [
        keystone_mapping(keystone, container, 'by-password', **keystone_login(keystone, keystone_user)),
        keystone_mapping(keystone, container, 'by-credential', application_credential_id=credential.id,
                         application_credential_secret=credential.secret),
        keystone_mapping(keystone, container, 'by-name', application_credential_name=credential.name,
                         aws_identity=keystone_user.user, user_domain_name=keystone.domain,
                         application_credential_secret=credential.secret)]
    # Every process logs in for itself, and Keystone takes its time: one is enough.
    with SyncDaemon(swift, mappings, processes=1) as sync:
        said = sync.once()
        for target in ('by-password', 'by-credential', 'by-name'):
            assert names(far, target) == {'ü', 'gone'}
            assert far.head_object(target, 'ü')['x-object-meta-a'] == 'B'
        swift_client.delete_object(container, 'gone')
        said += sync.once()
        for target in ('by-password', 'by-credential', 'by-name'):
            assert names(far, target) == {'ü'}
        assert credential.secret not in said and keystone_user.password not in said


def test_another_project_s_account_by_its_acl(swift: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser,
                                              far: Connection, swift_client: Connection, container: str,
                                              fresh_name: Callable[[str], str]) -> None:
    guest = keystone.add_user(fresh_name('guest'), fresh_name('elsewhere'))
    allowed = f'{guest.project_id}:{guest.user_id}'
    far.put_container('shared', headers={'X-Container-Read': allowed, 'X-Container-Write': allowed})
    far.put_container('closed')
    swift_client.put_object(container, 'o', b'data')
    login = {**keystone_login(keystone, guest), 'remote_account': keystone_user.account}
    with SyncDaemon(swift, [keystone_mapping(keystone, container, 'shared', **login),
                            keystone_mapping(keystone, container, 'closed', **login)], processes=1) as sync:
        said = sync.once(expect=3)
        assert 'forbidden' in said
        assert far.get_object('shared', 'o')[1] == b'data'
        assert names(far, 'closed') == set()
        assert sync.failures() == {f'AUTH_test/{container}/o': ('failed', 'forbidden')}


def test_a_wrong_password_loses_nothing(swift: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser,
                                        far: Connection, swift_client: Connection, container: str) -> None:
    far.put_container('target')
    swift_client.put_object(container, 'o', b'data')
    login = keystone_login(keystone, keystone_user)
    with SyncDaemon(swift, [keystone_mapping(keystone, container, 'target',
                                             **{**login, 'aws_secret': 'not-the-password'})], processes=1) as sync:
        said = sync.once(expect=3)
        assert 'forbidden' in said and 'not-the-password' not in said
        sync.configure([keystone_mapping(keystone, container, 'target', **login)])
        with sync.ledger() as ledger:
            assert ledger.retry() == 1
        sync.once()
    assert names(far, 'target') == {'o'}
