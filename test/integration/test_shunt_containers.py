"""Containers of migrations, as clients of a proxy with the shunt meet them: made on demand, listed, changed, deleted.

Account AUTH_test is filled from AUTH_test2 of the same cluster (``/*``, through its plain proxy), AUTH_admin
from everything that the S3 store has.
"""
from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.wire.tombstones import ACCOUNT_TOMBSTONES
from test.servers.fault_proxy import Answer, FaultProxy
from test.servers.merged import SHUNT, MergedWorld, merged_world
from test.servers.sync_daemon import eventually, s3_mapping, swift_mapping

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

MIGRATOR = 'x-container-sysmeta-multi-cloud-internal-migrator'
PLAIN = 0
USERS = {'owner': ('test:tester', 'testing'), 'tester3': ('test:tester3', 'testing3'),
         'stranger': ('test2:tester2', 'testing2'), 'admin': ('admin:admin', 'admin')}
DOWN = Answer(500, {}, b'')
Fresh = Callable[[str], str]


class Stage:
    def __init__(self, world: MergedWorld, s3: S3Endpoint) -> None:
        self.world, self.s3 = world, s3
        self.swift_faults: FaultProxy = world.fault_proxy('swift')
        self.s3_faults: FaultProxy = world.fault_proxy('s3')
        self.source: Any = world.cluster.client(user='test2:tester2', key='testing2')
        self.store: Any = s3.client()
        self._tokens: dict[str, str] = {}
        self.named_bucket = s3.make_bucket('named')
        self.store.put_object(Bucket='named', Key='from s3', Body=b'data')

    def close(self) -> None:
        self.source.close()
        self.store.close()

    def entries(self, **keys: object) -> list[dict[str, object]]:
        """All migrations; ``keys`` are the ``/*`` one's of Swift."""
        cluster = self.world.cluster
        login = {'aws_endpoint': f'{self.swift_faults.url}/auth/v1.0'}
        everything = {**s3_mapping(self.s3, '', '/*', account='AUTH_admin'), 'aws_endpoint': self.s3_faults.url}
        del everything['container']
        whole = {**swift_mapping(cluster, '', '/*'), **login, **keys}
        del whole['container']
        return [
            {**whole, 'name': 'whole'},
            {**swift_mapping(cluster, 'new place', 'old place'), **login, 'name': 'moved', 'storage_policy': 'silver'},
            {**s3_mapping(self.s3, 'ünamed ☃', 'named'), 'aws_endpoint': self.s3_faults.url, 'name': 'named'},
            {**swift_mapping(cluster, 'propagated', 'to be propagated'), **login, 'delete_policy': 'propagate'},
            {**swift_mapping(cluster, 'partial', 'partially'), 'name': 'partly', 'on_remote_error': 'partial',
             'aws_endpoint': f'{self.swift_faults.url}/auth/v1.0', 'remote_timeout': 14},
            {**everything, 'name': 'everything'}]

    def configure(self, **keys: object) -> None:
        self.world.cluster.write_shunt_config({'migrations': self.entries(**keys), 'status_dir': '/nonexistent'})
        self.world.cluster.restart_proxy(SHUNT)

    def token(self, user: str) -> str:
        if user not in self._tokens:
            name, key = USERS[user]
            self._tokens[user] = self.world.session.get(
                f'{self.world.cluster.proxy_url(SHUNT)}/auth/v1.0', timeout=60,
                headers={'X-Auth-User': name, 'X-Auth-Key': key}).headers['X-Auth-Token']
        return self._tokens[user]

    def ask(self, method: str, container: str = '', name: str = '', *, query: str = '', user: str | None = 'owner',
            proxy: int = SHUNT, account: str = 'AUTH_test', data: bytes | None = None,
            headers: dict[str, str] | None = None) -> requests.Response:
        path = '/'.join(filter(None, (account, quote(container), quote(name))))
        token = {'X-Auth-Token': self.token(user)} if user else {}
        return self.world.session.request(
            method, f'{self.world.cluster.proxy_url(proxy)}/v1/{path}{query}', data=data, timeout=60,
            headers={**token, **{k: v.encode() for k, v in (headers or {}).items()}})

    def listing(self, container: str = '', query: str = '', **options: Any) -> list[dict[str, Any]]:
        answer = self.ask('GET', container, query=f'?format=json{query}', **options)
        assert answer.status_code == 200, answer.status_code
        return list(json.loads(answer.content))

    def here(self, container: str, account: str = 'AUTH_test') -> dict[str, str] | None:
        """Headers of the cluster's own container, system metadata among them; None when there is none."""
        answer = self.world.insider.proxy.request('HEAD', (account, container), {})
        answer.read()
        assert answer.status in (200, 204, 404)
        return None if answer.status == 404 else dict(answer.headers)

    def requests_about(self, container: str) -> list[str]:
        return [request.path for faults in (self.swift_faults, self.s3_faults) for request in faults.requests
                if quote(container) in request.path]

    def created(self, container: str) -> int:
        """How often this proxy says that it made a container."""
        return sum(f'/{quote(container)} outcome=created' in line for line in self.world.log())

    def deletions(self) -> set[str]:
        """Containers that are remembered as deleted."""
        return {found.name for found in self.world.marks.store.markers('AUTH_test', ACCOUNT_TOMBSTONES)}


@pytest.fixture(scope='module')
def whole_stage(s3: S3Endpoint) -> Iterator[Stage]:
    with merged_world(s3) as world:
        stage = Stage(world, s3)
        try:
            for container in ('old place', 'at load'):
                stage.source.put_container(container, {
                    'X-Container-Meta-Farbe': 'grün ☃', 'X-Container-Read': '.r:*,.rlistings',
                    'X-Container-Write': 'test:tester3', 'X-Versions-Location': 'archive'})
            stage.source.put_object('old place', 'a/b', b'data')
            stage.configure()
            stage.ask('HEAD')  # the first request of a process has it begin
            yield stage
        finally:
            stage.close()


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    whole_stage.swift_faults.clear()
    whole_stage.s3_faults.clear()
    return whole_stage


@pytest.fixture
def remote_only(stage: Stage, fresh_name: Fresh) -> str:
    """A container of the source that nobody has asked for here."""
    name = fresh_name('ü ☃ only')
    stage.source.put_container(name, {'X-Container-Meta-Farbe': 'grün ☃', 'X-Container-Read': '.r:*,.rlistings'})
    stage.source.put_object(name, 'a/b', b'data')
    return name


# -- before anybody asks --------------------------------------------------------------------------

@pytest.mark.parametrize(('container', 'account'), [
    ('new place', 'AUTH_test'), ('at load', 'AUTH_test'), ('ünamed ☃', 'AUTH_test'), ('named', 'AUTH_admin')])
def test_containers_of_migrations_are_there_without_having_been_asked_for(
        stage: Stage, container: str, account: str) -> None:
    headers = eventually(lambda: stage.here(container, account), f'{container} is made')
    assert headers[MIGRATOR] == 'migrating'
    assert headers['x-storage-policy'] == ('silver' if container == 'new place' else 'gold')


def test_a_container_has_the_metadata_the_acls_and_the_versioning_of_the_remotes(stage: Stage) -> None:
    headers = eventually(lambda: stage.here('new place'), 'the container is made')
    assert headers['x-container-meta-farbe'] == 'grün ☃'
    acls = stage.ask('HEAD', 'new place', proxy=PLAIN).headers
    assert (acls['X-Container-Read'], acls['X-Container-Write']) == ('.r:*,.rlistings', 'test:tester3')
    assert headers['x-container-sysmeta-versions-location'] == 'archive'
    assert headers['x-container-sysmeta-versions-mode'] == 'stack'
    assert not [name for name in headers if name.startswith('remote-')]
    assert [entry['name'] for entry in stage.listing('new place')] == ['a/b']


# -- made on demand ---------------------------------------------------------------------------------

def test_a_head_makes_a_container_that_is_only_at_the_remote_with_working_acls(stage: Stage, remote_only: str) -> None:
    answer = stage.ask('HEAD', remote_only)
    assert answer.status_code == 204
    assert answer.headers['X-Container-Meta-Farbe'].encode('latin-1').decode() == 'grün ☃'
    assert stage.ask('HEAD', remote_only, proxy=PLAIN).headers['X-Container-Read'] == '.r:*,.rlistings'
    anonymous = stage.ask('GET', remote_only, user=None)
    assert (anonymous.status_code, anonymous.text) == (200, 'a/b\n')
    assert stage.created(remote_only) == 1


def test_a_listing_makes_the_container_and_shows_the_remotes_names_at_once(stage: Stage, remote_only: str) -> None:
    answer = stage.ask('GET', remote_only, query='?delimiter=/')
    assert (answer.status_code, answer.text) == (200, 'a/\n')
    assert not [name for name in answer.headers if name.lower().startswith('remote-')]
    assert stage.here(remote_only) is not None


def test_a_put_makes_the_container_and_the_users_own_object_is_listed_as_such(stage: Stage, remote_only: str) -> None:
    assert stage.ask('PUT', remote_only, 'new', data=b'mine').status_code == 201
    own = next(entry for entry in stage.listing(remote_only) if entry['name'] == 'new')
    assert 'content_location' not in own
    headers = stage.here(remote_only)
    assert headers is not None
    assert headers['x-container-meta-farbe'] == 'grün ☃'


def test_a_post_makes_the_container_first_and_then_changes_only_what_is_here(stage: Stage, remote_only: str) -> None:
    assert stage.ask('POST', remote_only, headers={
        'X-Container-Meta-New': 'neu ☃', 'X-Container-Read': 'test:tester3'}).status_code == 204
    headers = stage.here(remote_only)
    assert headers is not None
    assert (headers['x-container-meta-farbe'], headers['x-container-meta-new']) == ('grün ☃', 'neu ☃')
    assert headers[MIGRATOR] == 'modified'
    assert stage.ask('GET', remote_only, user=None).status_code == 401
    assert stage.ask('GET', remote_only, user='tester3').text == 'a/b\n'
    assert 'x-container-meta-new' not in stage.source.head_container(remote_only)


def test_many_requests_at_once_make_a_container_once(stage: Stage, remote_only: str) -> None:
    methods = ['HEAD', 'GET'] * 5
    token = stage.token('owner')
    with ThreadPoolExecutor(len(methods)) as pool:
        def ask(method: str) -> int:
            url = f'{stage.world.cluster.proxy_url(SHUNT)}/v1/AUTH_test/{quote(remote_only)}'
            return requests.request(method, url, headers={'X-Auth-Token': token}, timeout=60).status_code
        assert set(pool.map(ask, methods)) <= {200, 204}
    assert stage.created(remote_only) == 1


@pytest.mark.parametrize(('user', 'status'), [(None, 401), ('stranger', 403), ('tester3', 403)])
@pytest.mark.parametrize('method', ['HEAD', 'GET', 'PUT', 'POST', 'DELETE', 'OPTIONS'])
def test_strangers_make_no_container_appear_and_nothing_is_asked_for_them(
        stage: Stage, remote_only: str, method: str, user: str | None, status: int) -> None:
    headers = {'Origin': 'http://there', 'Access-Control-Request-Method': 'GET'} if method == 'OPTIONS' else {}
    for name in ('', 'a/b'):
        answer = stage.ask(method, remote_only, name, user=user, data=b'data' if name else None, headers=headers)
        assert answer.status_code in ((200, 401) if method == 'OPTIONS' else (status,))
    assert stage.here(remote_only) is None
    assert stage.requests_about(remote_only) == []


def test_a_container_that_exists_nowhere_is_made_by_nothing_but_its_put(stage: Stage, fresh_name: Fresh) -> None:
    container = fresh_name('nowhere')
    for method in ('HEAD', 'GET', 'POST', 'DELETE'):
        assert stage.ask(method, container).status_code == 404
        assert stage.ask(method, container, 'name').status_code == 404
    assert stage.ask('PUT', container, 'name', data=b'data').status_code == 404
    assert stage.ask('HEAD', container, account='AUTH_admin', user='admin').status_code == 404
    assert stage.here(container) is None
    assert stage.ask('PUT', container).status_code == 201
    headers = stage.here(container)
    assert headers is not None
    assert MIGRATOR not in headers


@pytest.mark.parametrize('method', ['HEAD', 'GET', 'POST', 'DELETE'])
def test_a_remote_that_cannot_be_asked_is_never_a_missing_container(
        stage: Stage, remote_only: str, method: str) -> None:
    stage.swift_faults.fail(DOWN, path=quote(remote_only), times=None)
    answer = stage.ask(method, remote_only)
    assert answer.status_code == 503
    assert int(answer.headers['Retry-After']) > 0
    stage.swift_faults.clear()
    assert eventually(lambda: stage.ask('HEAD', remote_only).status_code == 204, 'the remote is asked again')


def test_a_bucket_that_appears_later_is_made_when_it_is_asked_for(stage: Stage, fresh_name: Fresh) -> None:
    bucket = stage.s3.make_bucket(fresh_name('later'))
    stage.store.put_object(Bucket=bucket, Key='key', Body=b'data')
    eventually(lambda: stage.ask('HEAD', bucket, account='AUTH_admin', user='admin').status_code == 204,
               'the list of buckets is asked for again')
    names = [entry['name'] for entry in stage.listing(bucket, account='AUTH_admin', user='admin')]
    assert names == ['key']


# -- listings ---------------------------------------------------------------------------------------

def test_the_account_lists_the_remotes_containers_among_its_own(stage: Stage, remote_only: str) -> None:
    listed = {entry['name']: entry for entry in stage.listing()}
    assert listed[remote_only]['content_location'][0].endswith(f';{remote_only}')
    assert 'swift' not in listed[remote_only]['content_location']
    assert list(listed) == sorted(listed, key=str.encode)
    assert stage.here(remote_only) is None  # to be seen is not to be asked for
    text = stage.ask('GET').text.splitlines()
    assert text == list(listed)
    page = stage.listing(query=f'&limit=1&marker={quote(remote_only[:-1])}')
    assert [entry['name'] for entry in page] == [remote_only]
    assert 'X-Account-Container-Count' in stage.ask('GET').headers


def test_a_head_of_the_account_counts_what_is_here(stage: Stage, remote_only: str) -> None:
    mine, plain = stage.ask('HEAD'), stage.ask('HEAD', proxy=PLAIN)
    assert mine.headers['X-Account-Container-Count'] == plain.headers['X-Account-Container-Count']


@pytest.mark.parametrize('user', [None, 'stranger', 'tester3'])
def test_nobody_elses_account_is_listed(stage: Stage, user: str | None) -> None:
    stage.token(user or 'owner')
    assert stage.ask('GET', user=user).status_code in (401, 403)
    assert [request.path for request in stage.swift_faults.requests] == []


def test_listings_that_swift_refuses_are_refused_in_its_words(stage: Stage, remote_only: str) -> None:
    stage.ask('HEAD', remote_only)
    for container in ('', remote_only):
        mine, plain = (stage.ask('GET', container, query='?limit=10001', proxy=p) for p in (SHUNT, PLAIN))
        assert (mine.status_code, mine.text) == (plain.status_code, plain.text)
        assert mine.status_code == 412


def test_a_listing_whose_remote_is_down_fails_or_says_that_it_is_partial(stage: Stage, remote_only: str) -> None:
    stage.source.put_container('partially')
    stage.source.put_object('partially', 'there', b'data')
    eventually(lambda: stage.ask('PUT', 'partial', 'here', data=b'data').status_code == 201, 'the container is made')
    assert stage.ask('GET', 'partial').text == 'here\nthere\n'
    assert stage.ask('HEAD', remote_only).status_code == 204
    stage.swift_faults.fail(DOWN, method='GET', times=None)
    partial = stage.ask('GET', 'partial')
    assert (partial.status_code, partial.text, partial.headers['X-1space-Partial']) == (200, 'here\n', 'partly')
    failed = stage.ask('GET', remote_only)
    assert failed.status_code == 503
    assert int(failed.headers['Retry-After']) > 0
    assert stage.ask('GET').status_code == 503
    stage.swift_faults.clear()
    eventually(lambda: stage.ask('GET', remote_only).text == 'a/b\n', 'the remote is asked again')


def test_segments_that_are_only_at_the_remote_are_part_of_a_dlo_that_is_here(stage: Stage, remote_only: str) -> None:
    for number in range(3):
        stage.source.put_object(remote_only, f'parts/{number}', b'%d' % number * 10)
    container = quote(remote_only)
    assert stage.ask('PUT', remote_only, 'whole', data=b'',
                     headers={'X-Object-Manifest': f'{container}/parts/'}).status_code == 201
    assert stage.ask('GET', remote_only, 'whole').content == b'0' * 10 + b'1' * 10 + b'2' * 10
    assert stage.ask('GET', remote_only, 'whole', headers={'Range': 'bytes=9-10'}).content == b'01'


# -- DELETE -------------------------------------------------------------------------------------------

def test_a_container_goes_only_when_the_merged_view_is_empty_and_stays_gone(stage: Stage, remote_only: str) -> None:
    assert stage.ask('HEAD', remote_only).status_code == 204
    assert stage.ask('DELETE', remote_only).status_code == 409
    assert stage.ask('DELETE', remote_only, 'a/b').status_code == 204
    assert stage.ask('DELETE', remote_only).status_code == 204
    assert remote_only in stage.deletions()
    for method in ('HEAD', 'GET', 'POST'):
        assert stage.ask(method, remote_only).status_code == 404
    assert stage.ask('PUT', remote_only, 'new', data=b'data').status_code == 404
    assert remote_only not in stage.ask('GET').text
    assert stage.here(remote_only) is None
    assert stage.source.get_object(remote_only, 'a/b')[1] == b'data'


def test_a_deleted_container_outlives_the_proxy_that_deleted_it(stage: Stage, remote_only: str) -> None:
    assert stage.ask('DELETE', remote_only, 'a/b').status_code == 204
    assert stage.ask('DELETE', remote_only).status_code == 204
    stage.configure()  # all containers are looked for anew
    stage.source.put_container(f'{remote_only} later')
    assert stage.ask('HEAD').status_code == 204
    eventually(lambda: stage.here(f'{remote_only} later'), 'another container is made')
    assert stage.here(remote_only) is None
    assert stage.ask('HEAD', remote_only).status_code == 404


def test_a_user_may_take_a_deleted_name_again_and_what_was_deleted_stays_so(stage: Stage, remote_only: str) -> None:
    assert stage.ask('DELETE', remote_only, 'a/b').status_code == 204
    assert stage.ask('DELETE', remote_only).status_code == 204
    assert stage.ask('PUT', remote_only).status_code == 201
    assert remote_only not in stage.deletions()
    assert stage.listing(remote_only) == []
    stage.source.put_object(remote_only, 'newer', b'data')
    assert [entry['name'] for entry in stage.listing(remote_only)] == ['newer']


def test_a_container_that_is_made_again_at_the_remote_is_seen_again(stage: Stage, remote_only: str) -> None:
    assert stage.ask('DELETE', remote_only, 'a/b').status_code == 204
    assert stage.ask('DELETE', remote_only).status_code == 204
    stage.source.delete_object(remote_only, 'a/b')
    stage.source.delete_container(remote_only)
    assert stage.ask('HEAD', remote_only).status_code == 404

    def made_again() -> bool:
        stage.source.put_container(remote_only)  # once more each time: a Swift tells whole seconds
        return stage.ask('HEAD', remote_only).status_code == 204
    eventually(made_again, 'the new container shows')


def test_a_deleted_bucket_of_s3_stays_deleted_and_the_remotes_is_untouched(stage: Stage, fresh_name: Fresh) -> None:
    bucket = stage.s3.make_bucket(fresh_name('gone'))
    admin = {'account': 'AUTH_admin', 'user': 'admin'}
    eventually(lambda: stage.ask('HEAD', bucket, **admin).status_code == 204, 'the bucket is seen')
    assert stage.ask('DELETE', bucket, **admin).status_code == 204
    assert stage.ask('HEAD', bucket, **admin).status_code == 404
    assert bucket not in stage.ask('GET', **admin).text
    stage.store.head_bucket(Bucket=bucket)


def test_a_delete_that_is_propagated_deletes_the_remotes_container_and_leaves_no_marker(stage: Stage) -> None:
    stage.source.put_container('to be propagated')
    stage.source.put_object('to be propagated', 'name', b'data')
    eventually(lambda: stage.ask('HEAD', 'propagated').status_code == 204, 'the container is made')
    assert stage.ask('DELETE', 'propagated').status_code == 409
    assert stage.ask('DELETE', 'propagated', 'name').status_code == 204
    assert stage.ask('DELETE', 'propagated').status_code == 204
    assert 'to be propagated' not in [entry['name'] for entry in stage.source.get_account()[1]]
    assert 'propagated' not in stage.deletions()
    assert stage.ask('HEAD', 'propagated').status_code == 404


def test_a_container_is_not_deleted_while_nobody_knows_what_the_remote_has(stage: Stage, remote_only: str) -> None:
    assert stage.ask('HEAD', remote_only).status_code == 204
    stage.swift_faults.fail(DOWN, path=quote(remote_only), times=None)
    assert stage.ask('DELETE', remote_only).status_code == 503
    assert stage.here(remote_only) is not None
    assert remote_only not in stage.deletions()


@pytest.mark.parametrize(('user', 'status'), [(None, 401), ('stranger', 403), ('tester3', 403)])
def test_strangers_delete_nothing_and_leave_no_marker(
        stage: Stage, remote_only: str, user: str | None, status: int) -> None:
    assert stage.ask('DELETE', remote_only, 'a/b').status_code == 204
    assert stage.ask('HEAD', remote_only).status_code == 204
    stage.swift_faults.clear()
    assert stage.ask('DELETE', remote_only, user=user).status_code == status
    assert stage.here(remote_only) is not None
    assert remote_only not in stage.deletions()
    assert stage.requests_about(remote_only) == []


# -- what is no path of ours ----------------------------------------------------------------------------

@pytest.mark.parametrize('path', ['/v1//', '/v1//c/o', '/v1/AUTH_test//o', '/v1/AUTH_test/%ff', '/v1/AUTH_test/c/%ff',
                                  '/v1/AUTH_test/c%00', '/v1', '/v1/', '/', '/v2/AUTH_test/c',
                                  '/v1/AUTH_test/' + 'x' * 257, '/v1/AUTH_test//'])
@pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'DELETE'])
def test_odd_paths_are_answered_as_by_a_proxy_without_the_shunt(stage: Stage, method: str, path: str) -> None:
    def raw(proxy: int) -> tuple[bytes, bytes]:
        host, port = re.fullmatch(r'http://(.*):(\d+)', stage.world.cluster.proxy_url(proxy)).groups()  # type: ignore[union-attr]
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f'{method} {path} HTTP/1.0\r\nHost: x\r\nX-Auth-Token: {stage.token("owner")}\r\n'
                               'Content-Length: 0\r\nConnection: close\r\n\r\n'.encode())
            data = b''.join(iter(lambda: connection.recv(65536), b''))
        head, _, body = data.partition(b'\r\n\r\n')
        return head.split(b'\r\n')[0].split(b' ', 1)[1], re.sub(rb'tx[0-9a-f-]+', b'', body)
    assert raw(SHUNT) == raw(PLAIN)
