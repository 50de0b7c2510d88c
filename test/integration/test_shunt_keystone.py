"""Merged containers whose remote is a Swift behind Keystone: passwords, application credentials, another account."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import requests
from swiftclient import Connection

from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.sync_daemon import eventually, keystone_login, keystone_mapping


@pytest.fixture(scope='module')
def near() -> Iterator[SwiftCluster]:
    """The cluster with the shunt; tempauth's users."""
    with SwiftCluster(shunt=Path('shunt.json')) as cluster:
        yield cluster


def ask(near: SwiftCluster, method: str, path: str) -> requests.Response:
    with closing(near.client()) as client, requests.Session() as session:
        session.trust_env = False
        url, token = client.get_auth()
        return session.request(method, f'{url}/{path}', headers={'X-Auth-Token': token}, timeout=60)


def configure(near: SwiftCluster, *containers: Mapping[str, object],
              migrations: tuple[Mapping[str, object], ...] = ()) -> None:
    near.write_shunt_config({'containers': [{**entry, 'merge_namespaces': True} for entry in containers],
                             'migrations': list(migrations)})
    near.restart_proxy(0)


def test_listings_and_objects_of_a_project_are_merged(
        near: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser, far: Connection,
        fresh_name: Callable[[str], str]) -> None:
    credential = keystone.add_application_credential(keystone_user, fresh_name('credential'))
    ways = {'by-password': keystone_login(keystone, keystone_user),
            'by-credential': {'application_credential_id': credential.id,
                              'application_credential_secret': credential.secret}}
    with closing(near.client()) as client:
        for way in ways:
            far.put_container(way)
            far.put_object(way, 'there ü', b'remote', headers={'X-Object-Meta-A': 'B'})
            far.put_object(way, 'both', b'remote')
            client.put_container(way)
            client.put_object(way, 'both', b'local')
            client.put_object(way, 'here', b'local')
    configure(near, *(keystone_mapping(keystone, way, way, **login) for way, login in ways.items()))
    for way in ways:
        listing = ask(near, 'GET', f'{way}?format=json').json()
        assert [(entry['name'], len(entry.get('content_location', []))) for entry in listing] == [
            ('both', 2), ('here', 0), ('there ü', 1)]
        assert keystone_user.password not in str(listing)
        assert ask(near, 'GET', f'{way}/both').content == b'local'
        answer = ask(near, 'GET', f'{way}/there%20%C3%BC')
        assert (answer.content, answer.headers['x-object-meta-a'], answer.headers['x-1space-source']) == (
            b'remote', 'B', 'remote')


def test_another_projects_account_is_read_by_its_acl_and_only_so(
        near: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser, far: Connection,
        fresh_name: Callable[[str], str]) -> None:
    guest = keystone.add_user(fresh_name('guest'), fresh_name('elsewhere'))
    allowed = f'{guest.project_id}:{guest.user_id}'
    far.put_container('shared', headers={'X-Container-Read': f'{allowed},.rlistings', 'X-Container-Write': allowed})
    far.put_container('closed')
    for container in ('shared', 'closed'):
        far.put_object(container, 'there', b'remote')
    login = {**keystone_login(keystone, guest), 'remote_account': keystone_user.account}
    with closing(near.client()) as client:
        for container in ('shared', 'closed'):
            client.put_container(container)
            client.put_object(container, 'here', b'local')
    configure(near, *(keystone_mapping(keystone, container, container, **login) for container in ('shared', 'closed')))
    assert ask(near, 'GET', 'shared').text == 'here\nthere\n'
    assert ask(near, 'GET', 'shared/there').content == b'remote'
    for path in ('closed', 'closed/there'):  # ours are refused: that is no word about the object
        answer = ask(near, 'GET', path)
        assert answer.status_code == 503
        assert int(answer.headers['retry-after']) >= 1
    assert ask(near, 'GET', 'closed/here').content == b'local'


def test_a_migration_from_a_project_brings_containers_and_objects(
        near: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser, far: Connection) -> None:
    far.put_container('moving', headers={'X-Container-Meta-Colour': 'blue'})
    far.put_object('moving', 'o', b'data')
    login = keystone_login(keystone, keystone_user)
    configure(near, migrations=(keystone_mapping(keystone, 'moving', 'moving', **login),))
    assert ask(near, 'GET', 'moving').text == 'o\n'
    assert ask(near, 'HEAD', 'moving').headers['x-container-meta-colour'] == 'blue'
    assert ask(near, 'GET', 'moving/o').headers['x-1space-source'] == 'remote'
    eventually(lambda: ask(near, 'GET', 'moving/o').headers['x-1space-source'] == 'restored', 'it is migrated')


def test_credentials_that_are_refused_are_503_and_never_404(
        near: SwiftCluster, keystone: Keystone, keystone_user: ProjectUser, far: Connection) -> None:
    far.put_container('refused')
    far.put_object('refused', 'o', b'data')
    with closing(near.client()) as client:
        client.put_container('refused')
    login = {**keystone_login(keystone, keystone_user), 'aws_secret': 'not-the-password'}
    configure(near, keystone_mapping(keystone, 'refused', 'refused', **login))
    for method, path in (('GET', 'refused/o'), ('HEAD', 'refused/o'), ('GET', 'refused')):
        answer = ask(near, method, path)
        assert answer.status_code == 503, (method, path)
        assert 'retry-after' in answer.headers
        assert 'not-the-password' not in answer.text
    assert 'not-the-password' not in (near.logs / 'proxy-server-0.log').read_text()
