"""Migrations through the proxy: only a prefix, accounts in any script, another account of the remote's."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import pytest
import requests
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.merged import SHUNT, Kind, MergedWorld, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

KINDS: tuple[Kind, ...] = ('s3', 'swift')
PREFIX = 'préfixe/ü'
INSIDE = [PREFIX, f'{PREFIX}/a', f'{PREFIX}x']
OUTSIDE = ['a', 'préfixe/u', 'préfixe/ý', 'z']
FOREIGN = 'AUTH_عربي ü'
ADMIN = {'aws_identity': 'admin:admin', 'aws_secret': 'admin'}


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        for kind in KINDS:
            container = made.add(f'{kind}-prefixed', kind, migration=True, prefix=PREFIX)
            for name in (*INSIDE, *OUTSIDE):
                container.remote.put(name, name.encode())
        made.add('from-foreign', 'swift', migration=True, create=False, bucket='سفر', remote_account=FOREIGN, **ADMIN)
        made.add('here', 'swift', migration=True, create=False, bucket='there', account=FOREIGN,
                 remote_account='AUTH_test2', **ADMIN)
        made.configure()
        yield made


@pytest.fixture
def foreign(world: MergedWorld) -> Iterator[Connection]:
    """A reseller admin's client of an account whose name is not ASCII, at the plain proxy."""
    with closing(world.cluster.client(user='admin:admin', key='admin', os_options={
            'object_storage_url': f'{world.cluster.proxy_url(0)}/v1/{quote(FOREIGN)}'})) as client:
        yield client


@pytest.mark.parametrize('kind', KINDS)
def test_only_names_with_the_prefix_are_the_migrations(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-prefixed']
    container.put_here('a', b'mine')
    assert container.ask('GET', '').text.split('\n')[:-1] == ['a', *INSIDE]
    listing = container.ask('GET', '', query='?format=json').json()
    assert ['content_location' in entry for entry in listing] == [False, True, True, True]
    assert container.ask('GET', '', query='?prefix=z').text == ''
    assert container.ask('GET', '', query=f'?delimiter=/&prefix={quote("pré")}').text == 'préfixe/\n'
    container.faults.clear()
    for name in OUTSIDE[1:]:
        assert container.status('GET', name) == container.status('DELETE', name) == 404
    assert container.body('a') == b'mine'
    assert container.asked() == []
    for name in INSIDE:
        assert container.body(name) == name.encode()
    for name in INSIDE:
        eventually(lambda name=name: container.is_here(name), f'{name} is migrated')
    assert container.ask('GET', '').text.split('\n')[:-1] == ['a', *INSIDE]


def test_another_account_of_the_remotes_is_migrated_by_its_reseller_admin(
        world: MergedWorld, foreign: Connection) -> None:
    foreign.put_container('سفر', {'X-Container-Meta-Farbe': 'grün'})
    foreign.put_object('سفر', 'ملف ü', 'بيانات'.encode())
    container = world['from-foreign']
    eventually(lambda: container.ask('GET', '').text == 'ملف ü\n', 'the new container is looked for again')
    answer = container.ask('GET', 'ملف ü')
    assert (answer.status_code, answer.content.decode()) == (200, 'بيانات')
    assert container.ask('HEAD', '').headers['x-container-meta-farbe'].encode('latin-1').decode() == 'grün'
    eventually(lambda: container.is_here('ملف ü'), 'it is migrated')
    assert container.status('DELETE', 'ملف ü') == 204
    assert foreign.get_object('سفر', 'ملف ü')[1].decode() == 'بيانات'


def test_an_account_in_any_script_is_migrated_into(world: MergedWorld, foreign: Connection) -> None:
    container = world['here']
    container.remote.put('ü', b'data')
    token = foreign.get_auth()[1]

    def ask(method: str, name: str) -> requests.Response:
        url = f'{world.cluster.proxy_url(SHUNT)}/v1/{quote(FOREIGN)}/here/{quote(name)}'.rstrip('/')
        return world.session.request(method, url, headers={'X-Auth-Token': token}, timeout=60)

    assert ask('GET', '').text == 'ü\n'
    assert ask('GET', 'ü').content == b'data'
    eventually(lambda: [entry['name'] for entry in foreign.get_container('here')[1]] == ['ü'], 'it is migrated')
    assert ask('GET', 'ü').headers['x-1space-source'] == 'restored'
    assert ask('DELETE', 'ü').status_code == 204
    assert ask('GET', '').text == ''
    assert ask('GET', 'ü').status_code == 404
