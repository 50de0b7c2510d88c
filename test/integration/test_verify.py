"""``swift-s3-verify`` against real endpoints: what it says, how it ends, and that it leaves them as they were."""
from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync import verify
from s3_sync.clock import SystemClock
from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.trial.swift_rings import Policy
from test.servers.fault_proxy import Answer, FaultProxy, LoseAnswer, ResetRequest, Stall, throttled

WRONG = 'not-the-password'
PATIENCE_SECONDS = 60.0


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        return self.err.splitlines()

    @property
    def target(self) -> dict[str, Any]:
        target, = json.loads(self.out)['targets']
        return dict(target)

    def outcome(self, step: str) -> str:
        return next(str(s['outcome']) for s in self.target['steps'] if s['name'] == step)


Run = Callable[..., Ended]
Tree = Callable[[], object]


@pytest.fixture(scope='module')
def swift() -> Iterator[SwiftCluster]:
    """One of our own: whole accounts are looked at, and other tests leave hundreds of containers in theirs."""
    with SwiftCluster(policies=(Policy('gold', default=True), Policy('silver'))) as cluster:
        yield cluster


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> Ended:
        code = verify.main([*words, '--json'])
        out, err = capsys.readouterr()
        assert WRONG not in out + err
        return Ended(code, out, err)
    return call


def passed(ended: Ended) -> None:
    """Everything went well, and not a word on standard error."""
    assert (ended.code, ended.err) == (0, ''), ended.out
    assert not [s for s in ended.target['steps'] if s['outcome'] not in ('ok', 'skipped', 'warning')]


def failed(ended: Ended, title: str, status_line: str) -> None:
    """One line, which names the step and the status."""
    assert ended.code == 1
    line, = ended.said
    assert line.startswith(f'swift-s3-verify: {title} failed: {status_line}'), line


# -- S3 -----------------------------------------------------------------------------------

def s3_words(endpoint: S3Endpoint | MotoEndpoint, *more: str, url: str = '', password: str = '') -> list[str]:
    return ['--protocol', 's3', '--endpoint', url or endpoint.url, '--username', endpoint.access_key,
            '--password', password or endpoint.secret_key, *more]


@pytest.fixture
def s3_tree(s3_client: Any, bucket: str) -> Tree:
    """All that can be seen of the bucket, folders and unfinished uploads too."""
    def look() -> object:
        listing = s3_client.list_objects_v2(Bucket=bucket)
        return ([(o['Key'], o['ETag'], o['LastModified']) for o in listing.get('Contents', ())],
                s3_client.list_objects_v2(Bucket=bucket, Delimiter='/').get('CommonPrefixes', []),
                [u['UploadId'] for u in s3_client.list_multipart_uploads(Bucket=bucket).get('Uploads', ())])
    return look


def s3_left(tree: object) -> list[str]:
    """Keys and uploads of a tree."""
    objects, _folders, uploads = tree  # type: ignore[misc]
    return [key for key, _etag, _when in objects] + list(uploads)  # type: ignore[has-type]


@pytest.fixture
def in_use(s3_client: Any, bucket: str) -> str:
    """The bucket, with an object of a user."""
    s3_client.put_object(Bucket=bucket, Key='user/oböject', Body=b'data')
    return bucket


def test_s3_no_bucket(run: Run, s3: S3Endpoint) -> None:
    ended = run(*s3_words(s3))
    passed(ended)
    assert [step['name'] for step in ended.target['steps']] == ['list-buckets', 'clock']


@pytest.mark.parametrize('words', [(), ('--prefix', 'pre/fix'), ('--prefix', '')])
def test_s3_single_bucket(run: Run, s3: S3Endpoint, in_use: str, s3_tree: Tree, words: tuple[str, ...]) -> None:
    before = s3_tree()
    ended = run(*s3_words(s3, '--bucket', in_use, *words))
    passed(ended)
    assert {s['name'] for s in ended.target['steps'] if s['outcome'] == 'ok'} >= {
        'put', 'update-metadata', 'head', 'list', 'get', 'range-get', 'bucket', 'multipart', 'conditional-put',
        'list-v2', 'delete-objects', 'lifecycle', 'latency', 'delete', 'clock'}
    assert s3_tree() == before


def test_what_is_known_of_seaweedfs_is_found_out(run: Run, s3: S3Endpoint, bucket: str) -> None:
    findings = run(*s3_words(s3, '--bucket', bucket)).target['findings']
    assert findings.items() >= {'ordered_listing': False, 'names_kept': False, 'conditional_create': True,
                                'conditional_overwrite': True, 'content_md5_checked': True, 'list_v2': True,
                                'delete_objects': True}.items()


def test_moto_passes_too(run: Run, moto: MotoEndpoint, fresh_name: Callable[[str], str]) -> None:
    name = moto.make_bucket(fresh_name('bucket'))
    ended = run(*s3_words(moto, '--bucket', name, '--lifecycle'))
    passed(ended)
    assert ended.target['findings']['ordered_listing'] is True
    with closing(moto.client()) as client:
        assert 'Contents' not in client.list_objects_v2(Bucket=name)
        assert 'Uploads' not in client.list_multipart_uploads(Bucket=name)


def test_s3_bad_creds_no_bucket(run: Run, s3: S3Endpoint) -> None:
    failed(run(*s3_words(s3, password=WRONG)), 'list buckets', '403 Forbidden')


def test_s3_bad_creds(run: Run, s3: S3Endpoint, in_use: str, s3_tree: Tree) -> None:
    before = s3_tree()
    failed(run(*s3_words(s3, '--bucket', in_use, password=WRONG)), 'PUT object', '403 Forbidden')
    assert s3_tree() == before


def test_s3_bad_bucket(run: Run, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    failed(run(*s3_words(s3, '--bucket', fresh_name('none'))), 'PUT object', '404 Not Found')


def test_credentials_that_may_only_read_fail_to_write_and_are_told_what_is_missing(
        run: Run, s3: S3Endpoint, in_use: str, s3_tree: Tree) -> None:
    reader = ['--protocol', 's3', '--endpoint', s3.url, '--username', s3.reader_access_key, '--password',
              s3.reader_secret_key, '--bucket', in_use]
    before = s3_tree()
    ended = run(*reader)
    failed(ended, 'PUT object', '403 Forbidden')
    assert 's3:PutObject' in ended.err
    passed(run(*reader, '--read-only'))
    assert s3_tree() == before


def test_s3_read_only(run: Run, s3: S3Endpoint, in_use: str, s3_tree: Tree) -> None:
    before = s3_tree()
    ended = run(*s3_words(s3, '--bucket', in_use, '--read-only'))
    passed(ended)
    assert [s['name'] for s in ended.target['steps']] == ['list', 'head', 'get', 'clock']
    assert s3_tree() == before


def test_s3_read_only_all_containers(run: Run, s3: S3Endpoint, s3_client: Any,
                                     fresh_name: Callable[[str], str]) -> None:
    first = s3.make_bucket(fresh_name('000'))
    s3_client.put_object(Bucket=first, Key='o', Body=b'data')
    try:
        ended = run(*s3_words(s3, '--bucket', '/*', '--read-only'))
        passed(ended)
        assert ended.target['steps'][0]['detail'] == f'the first is {first}'
    finally:
        s3_client.delete_object(Bucket=first, Key='o')
        s3_client.delete_bucket(Bucket=first)


def test_s3_read_only_bad_bucket(run: Run, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    failed(run(*s3_words(s3, '--bucket', fresh_name('none'), '--read-only')), 'list objects', '404 Not Found')


def test_s3_read_only_bad_creds(run: Run, s3: S3Endpoint, in_use: str) -> None:
    failed(run(*s3_words(s3, '--bucket', in_use, '--read-only', password=WRONG)), 'list objects', '403 Forbidden')


def test_read_only_without_anything_to_read_is_a_failure(run: Run, s3: S3Endpoint, bucket: str) -> None:
    failed(run(*s3_words(s3, '--bucket', bucket, '--read-only')), 'list objects', 'there is no object to read')


# -- Swift --------------------------------------------------------------------------------

def swift_words(cluster: SwiftCluster, *more: str, user: str = '', password: str = '', url: str = '') -> list[str]:
    return ['--protocol', 'swift', '--endpoint', url or cluster.auth_url, '--username', user or cluster.user,
            '--password', password or cluster.key, *more]


@pytest.fixture
def swift_tree(swift_client: Connection) -> Tree:
    return lambda: account_tree(swift_client)


def account_tree(client: Connection) -> object:
    """Every container with its metadata and every object; other tests run before and after, never at once."""
    return {
        entry['name']: ({k: v for k, v in client.head_container(entry['name']).items() if k.startswith('x-container')},
                        [(o['name'], o['hash'], o['last_modified']) for o in
                         client.get_container(entry['name'], full_listing=True)[1]])
        for entry in client.get_account(full_listing=True)[1]}


@pytest.fixture
def used_container(swift_client: Connection, container: str) -> str:
    swift_client.put_object(container, 'user/oböject', b'data')
    return container


def test_swift_no_container(run: Run, swift: SwiftCluster) -> None:
    ended = run(*swift_words(swift))
    passed(ended)
    assert [step['name'] for step in ended.target['steps']] == ['list-buckets', 'clock']


def test_swift_single_container(run: Run, swift: SwiftCluster, used_container: str, swift_tree: Tree) -> None:
    before = swift_tree()
    ended = run(*swift_words(swift, '--bucket', used_container))
    passed(ended)
    assert {s['name'] for s in ended.target['steps']} == {
        'put', 'update-metadata', 'head', 'list', 'get', 'range-get', 'conditional-put', 'large-object', 'expiry',
        'latency', 'delete', 'clock'}
    assert swift_tree() == before


def test_segments_go_into_the_container_that_is_there_and_leave_the_others(
        run: Run, swift: SwiftCluster, used_container: str, swift_client: Connection, swift_tree: Tree) -> None:
    swift_client.put_container(f'{used_container}_segments')
    swift_client.put_object(f'{used_container}_segments', 'of/a/user', b'segment')
    before = swift_tree()
    passed(run(*swift_words(swift, '--bucket', used_container)))
    assert swift_tree() == before


def test_swift_admin_cross_account(run: Run, swift: SwiftCluster, used_container: str, swift_tree: Tree) -> None:
    before = swift_tree()
    passed(run(*swift_words(swift, '--account', swift.account, '--bucket', used_container, user='admin:admin',
                            password='admin')))
    assert swift_tree() == before


def test_swift_admin_wrong_account(run: Run, swift: SwiftCluster, used_container: str, swift_tree: Tree) -> None:
    before = swift_tree()
    failed(run(*swift_words(swift, '--account', 'AUTH_nobody', '--bucket', used_container, user='admin:admin',
                            password='admin')), 'PUT object', '404 Not Found')
    assert swift_tree() == before


def test_swift_all_containers(run: Run, swift: SwiftCluster, used_container: str, swift_tree: Tree) -> None:
    before = swift_tree()
    ended = run(*swift_words(swift, '--bucket', '/*'))
    passed(ended)
    assert {'create-container', 'delete-container'} <= {s['name'] for s in ended.target['steps']}
    assert ended.target['findings']['storage_policy'] == 'gold'
    assert swift_tree() == before


def test_swift_all_containers_storage_policy(run: Run, swift: SwiftCluster, swift_tree: Tree) -> None:
    before = swift_tree()
    ended = run(*swift_words(swift, '--bucket', '/*', '--storage-policy', 'silver'))
    passed(ended)
    assert ended.target['findings']['storage_policy'] == 'silver'
    assert swift_tree() == before


def test_swift_bad_creds(run: Run, swift: SwiftCluster, used_container: str, swift_tree: Tree) -> None:
    before = swift_tree()
    failed(run(*swift_words(swift, '--bucket', used_container, password=WRONG)), 'PUT object', '401 Unauthorized')
    assert swift_tree() == before


def test_swift_bad_storage_policy(run: Run, swift: SwiftCluster, swift_tree: Tree) -> None:
    before = swift_tree()
    ended = run(*swift_words(swift, '--bucket', '/*', '--storage-policy', 'none-such'))
    failed(ended, 'create container', '400 Bad Request')
    assert "Invalid X-Storage-Policy 'none-such'" in ended.err
    assert swift_tree() == before


def test_swift_bad_creds_no_container(run: Run, swift: SwiftCluster) -> None:
    failed(run(*swift_words(swift, password=WRONG)), 'list buckets', '401 Unauthorized')


def test_swift_bad_container(run: Run, swift: SwiftCluster, fresh_name: Callable[[str], str],
                             swift_tree: Tree) -> None:
    before = swift_tree()
    failed(run(*swift_words(swift, '--bucket', fresh_name('none'))), 'PUT object', '404 Not Found')
    assert swift_tree() == before


def test_swift_read_only(run: Run, swift: SwiftCluster, used_container: str, swift_tree: Tree) -> None:
    before = swift_tree()
    ended = run(*swift_words(swift, '--bucket', used_container, '--read-only'))
    passed(ended)
    assert [s['name'] for s in ended.target['steps']] == ['list', 'head', 'get', 'clock']
    assert swift_tree() == before


def test_swift_read_only_all_containers(run: Run, swift: SwiftCluster, swift_client: Connection,
                                        fresh_name: Callable[[str], str]) -> None:
    first = fresh_name('!first')
    swift_client.put_container(first)
    swift_client.put_object(first, 'o', b'data')
    try:
        ended = run(*swift_words(swift, '--bucket', '/*', '--read-only'))
        passed(ended)
        assert ended.target['steps'][0]['detail'] == f'the first is {first}'
    finally:
        swift_client.delete_object(first, 'o')
        swift_client.delete_container(first)


def test_swift_read_only_bad_creds(run: Run, swift: SwiftCluster, used_container: str) -> None:
    failed(run(*swift_words(swift, '--bucket', used_container, '--read-only', password=WRONG)), 'list objects',
           '401 Unauthorized')


def test_swift_read_only_bad_container(run: Run, swift: SwiftCluster, fresh_name: Callable[[str], str]) -> None:
    failed(run(*swift_words(swift, '--bucket', fresh_name('none'), '--read-only')), 'list objects', '404 Not Found')


def test_a_user_who_may_write_but_make_no_containers_is_told_that_segments_have_no_place(
        run: Run, swift: SwiftCluster, used_container: str, swift_client: Connection, swift_tree: Tree) -> None:
    guest = 'test:tester3'
    swift_client.post_container(used_container, {'X-Container-Read': guest, 'X-Container-Write': guest})
    before = swift_tree()
    words = swift_words(swift, '--bucket', used_container, user=guest, password='testing3')
    ended = run(*words)
    failed(ended, 'write a static large object', '403 Forbidden')
    assert swift_tree() == before
    passed(run(*words, '--skip', 'large-object'))
    assert swift_tree() == before


# -- Swift behind Keystone ------------------------------------------------------------------

@pytest.fixture
def project(keystone: Keystone, swift_keystone: SwiftCluster, keystone_user: ProjectUser) -> Iterator[Connection]:
    """The user's account, with the container ``target``."""
    token = keystone.token(keystone_user.user, keystone_user.password, keystone_user.project)
    with closing(Connection(preauthurl=f'{swift_keystone.url}/v1/{keystone_user.account}', preauthtoken=token,
                            retries=0)) as client:
        client.put_container('target')
        client.put_object('target', 'o', b'data')
        yield client


def v3_words(keystone: Keystone, user: ProjectUser, *more: str, password: str = '') -> list[str]:
    return ['--protocol', 'swift', '--endpoint', keystone.url, '--auth-type', 'keystone_v3', '--username', user.user,
            '--password', password or user.password, '--project-name', user.project, '--project-domain-name',
            keystone.domain, '--user-domain-name', keystone.domain, *more]


def test_keystone_v3_writes_reads_and_leaves_the_project_as_it_was(run: Run, keystone: Keystone, project: Connection,
                                                                   keystone_user: ProjectUser) -> None:
    before = account_tree(project)
    for words in ((), ('--bucket', 'target'), ('--bucket', '/*'), ('--bucket', '/*', '--storage-policy', 'silver'),
                  ('--bucket', 'target', '--read-only'), ('--bucket', '/*', '--read-only')):
        passed(run(*v3_words(keystone, keystone_user, *words)))
        assert account_tree(project) == before


def test_keystone_v3_refuses_by_name_of_the_step(run: Run, keystone: Keystone, project: Connection,
                                                 keystone_user: ProjectUser) -> None:
    before = account_tree(project)
    wrong = v3_words(keystone, keystone_user, password=WRONG)
    failed(run(*wrong, '--bucket', 'target'), 'PUT object', '401 Unauthorized')
    failed(run(*wrong), 'list buckets', '401 Unauthorized')
    failed(run(*wrong, '--bucket', 'target', '--read-only'), 'list objects', '401 Unauthorized')
    failed(run(*v3_words(keystone, keystone_user, '--bucket', 'none')), 'PUT object', '404 Not Found')
    assert account_tree(project) == before


def test_an_application_credential(run: Run, keystone: Keystone, project: Connection, keystone_user: ProjectUser,
                                   fresh_name: Callable[[str], str]) -> None:
    credential = keystone.add_application_credential(keystone_user, fresh_name('credential'))
    passed(run('--protocol', 'swift', '--endpoint', keystone.url, '--auth-type', 'keystone_v3', '--password',
               credential.secret, '--application-credential-id', credential.id, '--bucket', 'target'))


# -- when things go wrong midway --------------------------------------------------------------

@pytest.fixture
def proxy(fault_proxy: Callable[[str], FaultProxy], s3: S3Endpoint) -> FaultProxy:
    return fault_proxy(s3.url)


@pytest.fixture
def behind(run: Run, s3: S3Endpoint, bucket: str, proxy: FaultProxy) -> Run:
    """The verification of the bucket through the proxy."""
    return lambda *words: run(*s3_words(s3, '--bucket', bucket, *words, url=proxy.url))


MAIN = r'/cloud_sync_test-[0-9a-f]+$'
DENIED = Answer(403, body=b'<Error><Code>AccessDenied</Code></Error>')


def test_a_delete_that_is_refused_leaves_nothing_unnamed(behind: Run, proxy: FaultProxy, bucket: str,
                                                         s3_tree: Tree) -> None:
    proxy.fail(DENIED, method='DELETE', times=None)
    ended = behind()
    assert ended.code == 1
    assert any(line.startswith('swift-s3-verify: DELETE object failed: 403 Forbidden') for line in ended.said)
    left = [line.split('left behind: ')[1].split(' (')[0] for line in ended.said if 'left behind: ' in line]
    assert {f'{bucket}/{key}' for key in s3_left(s3_tree())} <= set(left)


def test_a_metadata_update_that_fails_is_named_and_the_rest_goes_on(behind: Run, proxy: FaultProxy,
                                                                    s3_tree: Tree) -> None:
    proxy.fail(Answer(500), method='PUT', path=MAIN, nth=2, times=None)
    ended = behind()
    failed(ended, 'update metadata', '500 Internal Server Error')
    assert ended.outcome('range-get') == ended.outcome('multipart') == ended.outcome('delete') == 'ok'
    assert s3_left(s3_tree()) == []


def test_a_moment_s_trouble_is_not_a_failure(behind: Run, proxy: FaultProxy, s3_tree: Tree) -> None:
    proxy.fail(throttled(), method='PUT', path=MAIN)
    passed(behind())
    assert s3_left(s3_tree()) == []


@pytest.mark.parametrize(('method', 'path'), [('PUT', MAIN), ('PUT', 'partNumber=2'), ('POST', 'uploadId'),
                                              ('POST', 'uploads'), ('PUT', 'order/a0')])
def test_answers_that_are_lost_leave_nothing(behind: Run, proxy: FaultProxy, s3_tree: Tree, method: str,
                                             path: str) -> None:
    proxy.fail(LoseAnswer(), method=method, path=path, times=None)
    ended = behind()
    assert ended.code == 1
    assert 'left behind' not in ended.err
    assert s3_left(s3_tree()) == []


def test_a_connection_that_breaks_in_a_part_leaves_nothing(behind: Run, proxy: FaultProxy, s3_tree: Tree) -> None:
    proxy.fail(ResetRequest(after=100_000), method='PUT', path='partNumber=1', times=None)
    ended = behind()
    assert ended.code == 1 and 'multipart upload failed' in ended.err
    assert s3_left(s3_tree()) == []


@pytest.mark.parametrize(('method', 'path', 'title'), [
    ('PUT', MAIN, 'PUT object'), ('GET', MAIN, 'GET object'), ('PUT', 'partNumber=2', 'multipart upload'),
    ('POST', r'\?delete', 'delete several objects at once')])
def test_a_remote_that_stops_answering_is_a_clear_line_in_time(behind: Run, proxy: FaultProxy, s3_tree: Tree,
                                                               method: str, path: str, title: str) -> None:
    proxy.fail(Stall(300), method=method, path=path, times=None)
    ended = behind('--timeout', '1')
    assert ended.code == 1
    first = ended.said[0]
    assert first.startswith(f'swift-s3-verify: {title} failed: no answer within '), first
    assert 'the remote does not answer' in {s['detail'] for s in ended.target['steps']}
    assert s3_left(s3_tree()) == []


def test_a_swift_that_fails_midway_keeps_no_container(run: Run, swift: SwiftCluster, swift_tree: Tree,
                                                      fault_proxy: Callable[[str], FaultProxy]) -> None:
    proxy = fault_proxy(swift.url)
    before = swift_tree()
    words = swift_words(swift, '--account', 'AUTH_test', '--bucket', '/*', url=f'{proxy.url}/auth/v1.0')
    proxy.fail(Answer(500), method='POST', times=None)
    failed(run(*words), 'update metadata', '500 Internal Server Error')
    assert proxy.count('PUT'), 'not the proxy\'s address was answered by the login'
    assert swift_tree() == before
    proxy.clear()
    proxy.fail(Answer(503), method='PUT', path='multipart-manifest=put', times=None)
    failed(run(*words), 'write a static large object', '503 Service Unavailable')
    assert swift_tree() == before


def test_nobody_listening_is_one_line(run: Run, s3: S3Endpoint, swift: SwiftCluster) -> None:
    with closing(socket.create_server(('127.0.0.1', 0))) as server:
        port = server.getsockname()[1]
    failed(run(*s3_words(s3, '--bucket', 'bucket', url=f'http://127.0.0.1:{port}')), 'PUT object', 'cannot connect')
    failed(run(*swift_words(swift, '--bucket', 'c', url=f'http://127.0.0.1:{port}/auth/v1.0')), 'PUT object',
           f'http://127.0.0.1:{port}/auth/v1.0: cannot log in')


def test_an_endpoint_that_takes_connections_and_never_answers(run: Run, s3: S3Endpoint) -> None:
    with closing(socket.create_server(('127.0.0.1', 0))) as server:
        url = f'http://127.0.0.1:{server.getsockname()[1]}'
        ended = run(*s3_words(s3, '--bucket', 'bucket', '--timeout', '0.5', url=url))
    assert ended.code == 1
    assert ended.said[0] == 'swift-s3-verify: PUT object failed: no answer within 0.5 seconds'
    # It may have taken the request: that cannot be known.
    assert all('left behind: perhaps ' in line for line in ended.said[1:])


# -- as a process -----------------------------------------------------------------------------

class Process:
    """The command as an operator starts it."""

    def __init__(self, words: list[str], **options: Any) -> None:
        self.popen = subprocess.Popen([sys.executable, '-m', 's3_sync.verify', *words], text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def wait_for(self, condition: Callable[[], object]) -> None:
        clock = SystemClock()
        end = clock.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.popen.poll() is None and clock.monotonic() < end, self.popen.communicate()
            clock.sleep(0.05)

    def ended(self) -> Ended:
        out, err = self.popen.communicate(timeout=PATIENCE_SECONDS)
        return Ended(self.popen.returncode, out, err)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(('method', 'path'), [('PUT', MAIN), ('PUT', 'partNumber=2'), ('POST', r'\?delete')])
def test_a_signal_ends_it_and_nothing_is_left(s3: S3Endpoint, bucket: str, proxy: FaultProxy, s3_tree: Tree,
                                              number: signal.Signals, method: str, path: str) -> None:
    hit = proxy.fail(Stall(300), method=method, path=path, nth=2 if path == MAIN else 1)
    process = Process(s3_words(s3, '--bucket', bucket, url=proxy.url))
    process.wait_for(lambda: hit.hits)
    process.popen.send_signal(number)
    ended = process.ended()
    assert ended.code == 128 + number
    assert f'swift-s3-verify: stopped by {number.name}' in ended.said
    assert 'Traceback' not in ended.err
    assert s3_left(s3_tree()) == []


def test_a_reader_that_goes_away_leaves_nothing(s3: S3Endpoint, bucket: str, s3_tree: Tree) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as nobody:
        done = subprocess.run([sys.executable, '-m', 's3_sync.verify', *s3_words(s3, '--bucket', bucket)],
                              stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert s3_left(s3_tree()) == []


def test_a_password_is_asked_for_and_shown_nowhere(s3: S3Endpoint, bucket: str) -> None:
    master, slave = pty.openpty()
    words = ['--protocol', 's3', '--endpoint', s3.url, '--username', s3.access_key, '--bucket', bucket]
    with os.fdopen(master, 'r+b', buffering=0) as terminal:
        popen = subprocess.Popen([sys.executable, '-m', 's3_sync.verify', *words], stdin=slave, stderr=slave,
                                 stdout=subprocess.PIPE, start_new_session=True)
        os.close(slave)
        shown = b''
        while b'Password of trial-access: ' not in shown:
            shown += terminal.read(1000)
        command = Path(f'/proc/{popen.pid}/cmdline').read_bytes()
        environment = Path(f'/proc/{popen.pid}/environ').read_bytes()
        terminal.write(s3.secret_key.encode() + b'\n')
        out = popen.communicate(timeout=PATIENCE_SECONDS)[0]
        os.set_blocking(terminal.fileno(), False)
        with suppress(OSError):  # a terminal without a process behind it
            shown += terminal.read() or b''
    assert popen.returncode == 0, shown
    assert b'ok       PUT object' in out
    for text in (command, environment, shown, out):
        assert s3.secret_key.encode() not in text


def test_the_environment_and_a_file_hold_passwords_too(s3: S3Endpoint, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / 'key'
    file.touch(mode=0o600)
    file.write_text(s3.secret_key)
    words = ['--protocol', 's3', '--endpoint', s3.url, '--username', s3.access_key, '--bucket', bucket, '-q']
    by_file = Process([*words, '--password-file', str(file)]).ended()
    by_variable = Process(words, env={**os.environ, 'SWIFT_S3_VERIFY_PASSWORD': s3.secret_key}).ended()
    assert by_file == by_variable == Ended(0, '', '')


def test_a_configuration_file(s3: S3Endpoint, swift: SwiftCluster, bucket: str, container: str, tmp_path: Path,
                              s3_tree: Tree) -> None:
    file = tmp_path / 'sync.json'
    file.touch(mode=0o600)
    file.write_text(json.dumps({'status_dir': str(tmp_path), 'containers': [
        {'account': 'AUTH_a', 'container': 'one', 'name': 'to-s3', 'aws_endpoint': s3.url, 'aws_bucket': bucket,
         'aws_identity': s3.access_key, 'aws_secret': s3.secret_key},
        {'account': 'AUTH_a', 'container': '/*', 'name': 'to-swift', 'protocol': 'swift', 'aws_bucket': 'far-',
         'aws_endpoint': swift.auth_url, 'aws_identity': swift.user, 'aws_secret': swift.key},
        {'account': 'AUTH_a', 'container': 'two', 'name': 'broken', 'protocol': 'swift', 'aws_bucket': container,
         'aws_endpoint': swift.auth_url, 'aws_identity': swift.user, 'aws_secret': WRONG}]}))
    ended = Process(['--config', str(file), '--json']).ended()
    assert ended.code == 1
    assert [(t['name'].split(':')[0], t['ok']) for t in json.loads(ended.out)['targets']] == [
        ('to-s3', True), ('to-swift', True), ('broken', False)]
    line, = ended.said
    assert 'PUT object failed: 401' in line and WRONG not in ended.out + ended.err
    good = Process(['--config', str(file), '--mapping', 'to-s3', '--mapping', 'to-swift', '-q']).ended()
    assert good == Ended(0, '', '')
    assert s3_left(s3_tree()) == []
