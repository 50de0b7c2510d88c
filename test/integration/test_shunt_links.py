"""Links from outside into merged containers: their targets are found where they are, by whoever may read them."""
from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.merged import SHUNT, MergedContainer, archive, merged_world

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]


@pytest.fixture(scope='module')
def at(s3: S3Endpoint) -> Iterator[MergedContainer]:
    with merged_world(s3) as world:
        made = world.add('merged', kind='s3', retain_local=False)
        world.plain.put_container('outside', {'X-Container-Read': 'test2:tester2'})
        world.configure()
        made.remote.put('target', b'data')
        world.plain.put_object('outside', 'link', b'', headers={'X-Symlink-Target': 'merged/target'})
        yield made


def ask(at: MergedContainer, method: str, path: str, user: str) -> requests.Response:
    return at.world.session.request(method, f'{at.world.cluster.proxy_url(SHUNT)}/v1/{path}', timeout=60,
                                    headers={'X-Auth-Token': at.world.token(user)})


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_link_in_a_container_that_is_not_merged_shows_its_target(at: MergedContainer, method: str) -> None:
    answer = ask(at, method, 'AUTH_test/outside/link', 'owner')
    assert (answer.status_code, answer.content) == (200, b'data' if method == 'GET' else b'')
    assert answer.headers['content-location'] == '/v1/AUTH_test/merged/target'
    assert answer.headers['x-1space-source'] == 'remote'


def test_whoever_may_read_the_link_alone_reaches_no_remote(at: MergedContainer) -> None:
    at.faults.clear()
    assert ask(at, 'GET', 'AUTH_test/outside/link', 'stranger').status_code == 403
    assert at.asked() == []


def test_a_link_in_another_account_needs_leave_to_read_the_target(at: MergedContainer) -> None:
    client = at.world.cluster.client(user='test2:tester2', key='testing2')
    try:
        client.put_container('theirs')
        client.put_object('theirs', 'link', b'', headers={
            'X-Symlink-Target': 'merged/target', 'X-Symlink-Target-Account': 'AUTH_test'})
        at.faults.clear()
        assert ask(at, 'GET', 'AUTH_test2/theirs/link', 'stranger').status_code == 403
        assert at.asked() == []
        at.world.plain.post_container('merged', {'X-Container-Read': 'test2:tester2'})
        answer = ask(at, 'GET', 'AUTH_test2/theirs/link', 'stranger')
        assert (answer.status_code, answer.content) == (200, b'data')
    finally:
        at.world.plain.post_container('merged', {'X-Container-Read': ''})
        client.close()


def test_objects_outside_are_answered_as_ever(at: MergedContainer) -> None:
    at.world.plain.put_object('outside', 'o', b'here')
    answer = ask(at, 'GET', 'AUTH_test/outside/o', 'owner')
    assert answer.content == b'here'
    assert 'x-1space-source' not in answer.headers
    assert ask(at, 'GET', 'AUTH_test/outside/missing', 'owner').status_code == 404


@pytest.mark.parametrize('name', ['static', 'ü %41/ static'])
def test_a_static_link_shows_the_version_that_it_means_and_no_other(at: MergedContainer, name: str) -> None:
    etag = at.world.plain.put_object('merged', name, b'meant')
    target = {'X-Symlink-Target': quote(f'merged/{name}')}
    at.world.plain.put_object('outside', name, b'', headers={**target, 'X-Symlink-Target-Etag': etag})
    at.world.plain.put_object('outside', f'{name} soft', b'', headers={'X-Symlink-Target': quote(f'outside/{name}')})
    links = [f'AUTH_test/outside/{quote(link)}' for link in (name, f'{name} soft')]
    here = ask(at, 'GET', links[0], 'owner')
    archive(at)
    assert not at.is_here(name)
    for link in links:
        answer = ask(at, 'GET', link, 'owner')
        assert (answer.status_code, answer.content) == (200, b'meant')
        assert answer.headers['content-location'] == here.headers['content-location']
    time.sleep(2.5)  # until then a body that was read is shared
    at.remote.put(name, b'other')
    for link in links:
        answer = ask(at, 'GET', link, 'owner')
        assert answer.status_code == 409
        assert f'does not match X-Symlink-Target-Etag header \'{etag}\'' in answer.text
        assert answer.headers['content-location'] == here.headers['content-location']
        assert ask(at, 'HEAD', link, 'owner').status_code == 409
