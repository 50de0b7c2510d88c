"""What a remote never hears of, and what is missing in the cluster for a reason: real servers."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.merged import SHUNT, Kind, MergedWorld, an_hour_ago, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

KINDS: tuple[Kind, ...] = ('s3', 'swift')
NAME = 'archived ü'
ACLS = {'closed': '', 'wide': '.r:*,.rlistings'}


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        for kind in KINDS:
            faults = made.fault_proxy(kind)
            for acl, value in ACLS.items():
                container = made.add(f'{kind}-{acl}', kind, faults=faults)
                made.plain.post_container(container.name, {'X-Container-Read': value})
                container.remote.put(NAME, b'remote data')
        made.configure()
        yield made


# -- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('user', ['tester3', 'stranger', None])
@pytest.mark.parametrize('acl', ['closed', 'wide'])
@pytest.mark.parametrize('request_', [
    ('PUT', {}, b'x'), ('PUT', {'If-None-Match': '*'}, b'x'), ('POST', {'X-Object-Meta-A': 'b'}, None),
    ('DELETE', {}, None), ('PUT', {'X-Copy-From': 'own'}, b''), ('COPY', {'Destination': 'own'}, None)], ids=repr)
def test_whoever_may_only_read_changes_nothing_anywhere(
        world: MergedWorld, kind: str, acl: str, user: str | None,
        request_: tuple[str, dict[str, str], bytes | None]) -> None:
    container = world[f'{kind}-{acl}']
    method, headers, data = request_
    headers = {name: f'{container.name}/{"copy" if name == "Destination" else quote(NAME)}' if value == 'own' else value
               for name, value in headers.items()}
    answer = container.ask(method, NAME, user=user, headers=headers, data=data)
    assert answer.status_code == (401 if user is None else 403)
    reads = acl == 'wide' and ('X-Copy-From' in headers or method == 'COPY')  # the original is read, as it may be
    assert all(reads and request.method in ('GET', 'HEAD') for request in container.asked())
    assert container.remote.head(NAME) is not None
    assert not container.is_here(NAME)
    assert container.markers == {}


def test_headers_of_a_client_stay_in_the_cluster(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-closed']
    private = {'Cookie': 'private', 'X-Forwarded-For': '10.1.2.3', 'Referer': 'http://private/', 'X-Private': 'private',
               'X-Service-Token': 'private', 'X-Backend-Storage-Policy-Index': '1', 'User-Agent': 'private'}
    for method in ('GET', 'HEAD', 'POST', 'DELETE'):
        container.remote.put('headers', b'x', **{'1space-timestamp': an_hour_ago()})
        assert container.status(method, 'headers', headers={**private, 'X-Object-Meta-A': 'b'}) < 300
    asked = container.asked('headers')
    assert {'GET', 'HEAD'} <= {request.method for request in asked}
    for request in asked:
        for name, value in request.headers.items():
            assert 'private' not in f'{name} {value}', request
            assert '10.1.2.3' not in value
            assert world.token('owner') not in value


# -- what is missing here for a reason (semantics 9) ---------------------------------------------------


def test_a_link_to_nothing_is_not_the_remotes_object_of_that_name(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-closed']
    container.remote.put('dangling', b'not this one')
    container.put_here('dangling', b'', **{'X-Symlink-Target': f'{container.name}/nothing'})
    for method in ('GET', 'HEAD'):
        assert container.status(method, 'dangling') == 404
    assert container.asked('dangling') == []
    assert container.ask('GET', 'dangling', query='?symlink=get').headers['x-1space-source'] == 'local'


def test_what_expired_here_does_not_come_back_from_the_remote(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-closed']
    container.remote.put('expired', b'old', **{'1space-timestamp': an_hour_ago()})
    container.put_here('expired', b'newer', **{'X-Delete-After': '1'})
    eventually(lambda: container.status('GET', 'expired') == 404, 'it expires')
    assert container.status('HEAD', 'expired') == 404
    world.cluster.expire_objects()
    for method in ('GET', 'HEAD'):
        assert container.status(method, 'expired') == 404


def test_a_condition_on_what_is_only_at_the_remote_is_judged_there_and_not_refused_here(
        world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-closed']
    etag = hashlib.md5(b'remote data').hexdigest()
    for value, status in ((etag, 200), (f'"{etag}"', 200), ('*', 200), ('other', 412)):
        assert container.status('GET', NAME, headers={'If-Match': value}) == status, value
    assert container.status('GET', 'nowhere', headers={'If-Match': '*'}) == 412
    plain = world.session.get(container.url('nowhere', proxy=0), timeout=30,
                              headers={'If-Match': '*', 'X-Auth-Token': world.token('owner')})
    assert plain.status_code == 412


@pytest.mark.parametrize('path', [
    '/v1//', '/v1/AUTH_test//o', '/v1/AUTH_test//', '/v1', '/v1/', '//', '/v1/AUTH_test/%FF/o', '/v1/AUTH_test/%00/o',
    '/v1/AUTH_test/c/%00', '/v2/AUTH_test/c/o', '/v1/AUTH_test/c//'])
@pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'COPY', 'NONSENSE'])
def test_malformed_paths_and_verbs_are_answered_as_by_a_plain_proxy(world: MergedWorld, path: str, method: str) -> None:
    world.calm()
    headers = {'X-Auth-Token': world.token('owner'), 'Content-Length': '0'}
    with requests.Session() as session:
        session.trust_env = False
        statuses = [session.request(method, world.cluster.proxy_url(proxy) + path, headers=headers,
                                    timeout=30).status_code for proxy in (0, SHUNT)]
    assert statuses[0] == statuses[1]
    assert all(container.faults.requests == [] for container in world.containers)
