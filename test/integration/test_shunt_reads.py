"""Reads through the shunt: real clusters, S3 and Swift behind fault proxies; nobody can tell where an object is."""
from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint, s3_client
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Answer, Fault, FaultProxy, ResetResponse, Stall, Truncate
from test.servers.merged import SHUNT, MergedContainer, MergedWorld, archive, each, merged_world
from test.servers.sync_daemon import eventually, swift_mapping

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

DATA = os.urandom(300_000)
NAME = 'folder/ü ☃ %41'
NOT_COMPARED = {'x-manifest-etag',  # of the stored manifest, which is another one at each place
                'date', 'x-trans-id', 'x-openstack-request-id', 'x-1space-source', 'connection', 'keep-alive'}
KINDS = ('s3', 'swift')


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        for kind in KINDS:
            made.add(f'{kind}-plain', kind=kind, remote_timeout=2)  # type: ignore[arg-type]
            made.add(f'{kind}-down', kind=kind, remote_timeout=1)  # type: ignore[arg-type]
            made.add(f'{kind}-archive', kind=kind, retain_local=False, propagate_expiration=True)  # type: ignore[arg-type]
            made.add(f'{kind}-large', kind=kind, coalesce_size=100_000, remote_concurrency=2)  # type: ignore[arg-type]
        made.configure()
        yield made


def compared(answer: requests.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in NOT_COMPARED}
    body = answer.content
    _, _, boundary = headers.get('content-type', '').partition('boundary=')
    if boundary:
        headers['content-type'] = headers['content-type'].removesuffix(boundary)
        body = body.replace(boundary.encode(), b'-')
    return answer.status_code, headers, body


# -- an archived object and the same object before ----------------------------------------------

MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
QUESTIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    'get': ('GET', '', {}), 'head': ('HEAD', '', {}),
    **{f'range {spec}': ('GET', '', {'Range': f'bytes={spec}'}) for spec in (
        '0-9', '5-', '-7', '299999-400000', '0-3,10-19,-5', '300000-', '9-3', '0-0')},
    'range on head': ('HEAD', '', {'Range': 'bytes=0-9'}),
    'match': ('GET', '', {'If-Match': f'"{MD5}"'}), 'no match': ('GET', '', {'If-Match': '"other"'}),
    'any': ('GET', '', {'If-Match': '*'}), 'unchanged': ('GET', '', {'If-None-Match': MD5}),
    'none': ('HEAD', '', {'If-None-Match': '*'}),
    'since': ('GET', '', {'If-Modified-Since': 'Fri, 01 Jan 2100 00:00:00 GMT'}),
    'not since': ('HEAD', '', {'If-Unmodified-Since': 'Fri, 01 Jan 1999 00:00:00 GMT'}),
    'matched range': ('GET', '', {'If-Match': MD5, 'Range': 'bytes=3-4'}),
    'if range': ('GET', '', {'If-Range': '"other"', 'Range': 'bytes=3-4'}),
    'manifest of none': ('GET', '?multipart-manifest=get', {}), 'part of none': ('GET', '?part-number=1', {}),
    'cors': ('GET', '', {'Origin': 'http://browser.example'}),
    'anonymous': ('GET', '', {'X-Auth-Token': 'none'})}
LARGE_QUESTIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    **{key: QUESTIONS[key] for key in (
        'get', 'head', 'range 0-9', 'range -7', 'range 0-3,10-19,-5', 'no match', 'none')},
    'over a border': ('GET', '', {'Range': 'bytes=99990-100009'}),
    'manifest': ('GET', '?multipart-manifest=get', {}), 'manifest head': ('HEAD', '?multipart-manifest=get', {}),
    'raw manifest': ('GET', '?multipart-manifest=get&format=raw', {}),
    **{f'part {number}': ('GET', f'?part-number={number}', {}) for number in ('1', '3', '4', '0', 'x')},
    'part head': ('HEAD', '?part-number=2', {}),
    'part and range': ('GET', '?part-number=1', {'Range': 'bytes=0-9'})}
PARTS = [DATA[:100_000], DATA[100_000:200_000], DATA[200_000:]]


@pytest.fixture(scope='module')
def archived(world: MergedWorld) -> dict[str, dict[str, Any]]:
    """What each question was answered while the object was here; now it is away."""
    containers = [world[f'{kind}-archive'] for kind in KINDS]
    before: dict[str, dict[str, Any]] = {}
    for container in containers:
        container.put_here(NAME, DATA, **{
            'X-Object-Meta-Colour': 'bläu', 'Content-Type': 'text/x-a; charset=utf-8', 'Content-Encoding': 'x-own',
            'Content-Disposition': 'attachment; filename="a b"', 'Cache-Control': 'no-cache',
            'X-Delete-At': str(int(time.time()) + 100_000)})
        container.put_here('empty', b'')
        before[container.name] = {key: compared(ask(container, key)) for key in QUESTIONS}
        before[container.name] |= {f'{method} empty': compared(container.ask(method, 'empty'))
                                   for method in ('GET', 'HEAD')}
        put_large(container)
        before[container.name] |= {f'{name} {key}': compared(ask(container, key, name, LARGE_QUESTIONS))
                                   for name in ('slo', 'dlo') for key in LARGE_QUESTIONS}
    archive(*containers)
    for container in containers:
        assert not container.is_here(NAME)
        assert not container.is_here('empty')
    return before


def ask(container: MergedContainer, question: str, name: str = NAME,
        questions: dict[str, tuple[str, str, dict[str, str]]] = QUESTIONS) -> requests.Response:
    method, query, headers = questions[question]
    return container.ask(method, name, query=query, headers={'Accept-Encoding': 'identity', **headers})


def put_large(container: MergedContainer) -> None:
    plain, segments = container.world.plain, f'{container.name}_segments'
    plain.put_container(segments)
    etags = [plain.put_object(segments, f'part/{number}', part) for number, part in enumerate(PARTS)]
    manifest = [{'path': f'/{segments}/part/{number}', 'etag': etag} for number, etag in enumerate(etags)]
    plain.put_object(container.name, 'slo', json.dumps(manifest), query_string='multipart-manifest=put',
                     headers={'X-Object-Meta-Colour': 'blau'})
    plain.put_object(container.name, 'dlo', b'', headers={'X-Object-Manifest': f'{segments}/part/'})


@each('s3-archive', 'swift-archive')
@pytest.mark.parametrize('question', QUESTIONS)
def test_an_archived_object_answers_as_when_it_was_here(
        at: MergedContainer, archived: dict[str, dict[str, Any]], question: str) -> None:
    wanted = archived[at.name][question]
    status, headers, body = compared(answer := ask(at, question))
    assert status == wanted[0]
    for name in ('access-control-expose-headers',):
        if name in wanted[1]:
            assert set(headers.pop(name).split(', ')) >= set(wanted[1].pop(name).split(', '))
    assert headers == wanted[1]
    assert body == wanted[2]
    if status // 100 == 2:
        assert answer.headers['x-1space-source'] == 'remote'


@each('s3-archive', 'swift-archive')
@pytest.mark.parametrize('name', ['slo', 'dlo'])
@pytest.mark.parametrize('question', LARGE_QUESTIONS)
def test_an_archived_large_object_answers_as_when_it_was_here(
        at: MergedContainer, archived: dict[str, dict[str, Any]], name: str, question: str) -> None:
    status, headers, body = compared(ask(at, question, name, LARGE_QUESTIONS))
    wanted = archived[at.name][f'{name} {question}']
    if (at.name, name) == ('swift-archive', 'slo') and question.startswith('manifest'):
        # A manifest that Swift made tells of the copies when they were written.
        for part in (headers, wanted[1]):
            part.pop('content-length'), part.pop('etag')
        assert headers == wanted[1]
        assert named(body) == named(wanted[2])
        return
    assert (status, body) == (wanted[0], wanted[2])
    assert headers == wanted[1]


def named(manifest: bytes) -> list[tuple[str, int, str]]:
    return [(entry['name'], entry['bytes'], entry['hash']) for entry in json.loads(manifest or b'[]')]


@each('s3-archive', 'swift-archive')
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_an_empty_archived_object_too(
        at: MergedContainer, archived: dict[str, dict[str, Any]], method: str) -> None:
    assert compared(at.ask(method, 'empty')) == archived[at.name][f'{method} empty']


# -- remotes in trouble -----------------------------------------------------------------------

@each('s3-plain', 'swift-plain')
@pytest.mark.parametrize('fault', [
    Answer(500), Answer(503, {'Retry-After': '3'}), Answer(429, {'Retry-After': '17'}), Answer(403), Stall(4),
    ResetResponse()], ids=repr)
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_remote_in_trouble_is_503_with_retry_after(at: MergedContainer, fault: Fault, method: str) -> None:
    at.remote.put('o', b'data')
    assert at.status('HEAD', 'o') == 200
    at.faults.fail(fault, method=method, path='/o', times=2)
    began = time.monotonic()
    answer = at.ask(method, 'o')
    spent = time.monotonic() - began
    assert answer.status_code == 503
    assert int(answer.headers['retry-after']) >= 1
    assert spent < 4, 'the client waited longer than remote_timeout'
    at.faults.clear()
    assert at.status('HEAD', 'o') == 200, 'one failure must not break it for others'


@each('s3-down', 'swift-down')
def test_a_dead_remote_is_left_alone_and_comes_back(at: MergedContainer) -> None:
    at.remote.put('o', b'data')
    assert at.body('o') == b'data'
    rule = at.faults.fail(Answer(500), path='/o', times=None)
    assert [at.status('HEAD', 'o') for _ in range(10)] == [503] * 10
    assert rule.hits <= 5
    at.faults.clear()
    eventually(lambda: at.status('GET', 'o') == 200, 'the remote is asked again')


@each('s3-plain', 'swift-plain', 's3-large', 'swift-large')
@pytest.mark.parametrize('fault', [ResetResponse(150_000), Truncate(1), Truncate(299_999)], ids=repr)
def test_a_body_that_breaks_is_taken_up_again(at: MergedContainer, fault: Fault) -> None:
    name = f'{type(fault).__name__}-{fault.after}'  # type: ignore[union-attr]
    at.remote.put(name, DATA)
    at.faults.fail(fault, method='GET', path=f'/{name}')
    assert at.body(name) == DATA
    first, again = (request.headers.get('range', '') for request in at.asked(name) if request.method == 'GET')
    begins = int(again.removeprefix('bytes=').removesuffix('-299999'))
    assert first == ''
    assert 0 < begins <= fault.after  # type: ignore[union-attr]


@each('s3-plain', 'swift-plain', 's3-large', 'swift-large')
def test_a_body_that_cannot_be_had_cuts_the_connection(at: MergedContainer) -> None:
    """Or is an error, where the server has not begun to answer: it gathers the first 16 KiB."""
    at.remote.put('broken', DATA)
    at.faults.fail(Truncate(50_000), method='GET', path='/broken', times=None)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        at.ask('GET', 'broken')


@each('s3-plain', 'swift-plain')
def test_a_version_that_changes_in_the_middle_is_never_mixed(at: MergedContainer) -> None:
    at.remote.put('changing', DATA)
    at.faults.fail(Truncate(50_000), method='GET', path='/changing')
    stall = at.faults.fail(Stall(1.5), method='GET', path='/changing')
    result: list[object] = []

    def read() -> None:
        try:
            result.append(at.ask('GET', 'changing').content)
        except requests.RequestException as error:
            result.append(error)
    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: stall.hits, 'the body is taken up again')
    at.remote.put('changing', DATA[::-1])
    reader.join()
    assert isinstance(result[0], requests.RequestException)


# -- clients that go, and clients in crowds -----------------------------------------------------

@each('s3-large', 'swift-large')
def test_a_client_that_goes_frees_its_place_at_once(at: MergedContainer) -> None:
    at.remote.put('huge', bytes(30_000_000))
    at.status('HEAD', 'huge')
    for _ in range(6):
        with closing(at.open_raw('huge')) as client:
            assert b'200 OK' in client.recv(1000)
        eventually(lambda: at.status('GET', 'huge', headers={'Range': 'bytes=0-9'}) == 206, 'a place is free',
                   seconds=5)


@each('s3-large')
def test_large_objects_are_read_by_so_many_at_once(at: MergedContainer) -> None:
    at.remote.put('crowd', bytes(30_000_000))
    assert at.status('GET', 'crowd', headers={'Range': 'bytes=0-9'}) == 206
    with ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(closing(at.open_raw('crowd')))
            assert b'200 OK' in client.recv(1000)
        before = len(at.asked('crowd'))
        answers = [at.ask('GET', 'crowd') for _ in range(5)]
        assert [answer.status_code for answer in answers] == [503] * 5
        assert all(answer.headers['retry-after'] for answer in answers)
        assert len(at.asked('crowd')) == before
        assert at.status('HEAD', 'crowd') == 200


# -- what hides a remote version ----------------------------------------------------------------

@each('s3-plain', 'swift-plain')
def test_what_a_user_deleted_here_stays_deleted(at: MergedContainer) -> None:
    at.remote.put('deleted', b'old')
    at.put_here('deleted', b'newer')
    at.world.plain.delete_object(at.name, 'deleted')  # past the shunt: only Swift's own tombstone tells
    assert at.status('GET', 'deleted') == at.status('HEAD', 'deleted') == 404
    time.sleep(1.1)  # S3 counts in seconds
    at.remote.put('deleted', b'newest')
    eventually(lambda: at.body('deleted') == b'newest', 'a later version at the remote', seconds=10)


@each('swift-plain')
def test_an_expired_remote_object_is_not_there(at: MergedContainer) -> None:
    at.remote.client.put_object(at.remote.bucket, 'short', b'x', headers={'X-Delete-After': '2'})  # type: ignore[union-attr]
    assert at.body('short') == b'x'
    eventually(lambda: at.status('GET', 'short') == 404, 'it expires', seconds=15)


@each('s3-plain')
def test_a_link_to_a_remote_object_shows_it(at: MergedContainer) -> None:
    at.remote.put('target ü', b'data')
    at.put_here('link', b'', **{'X-Symlink-Target': f'{at.name}/target%20%C3%BC'})
    answer = at.ask('GET', 'link')
    assert answer.content == b'data'
    assert answer.headers['content-location'] == f'/v1/AUTH_test/{at.name}/target%20%C3%BC'
    assert at.asked('link') == []


@each('s3-plain')
def test_s3_clients_read_what_is_remote(at: MergedContainer) -> None:
    at.remote.put('by s3', DATA, colour='blue')
    client = s3_client(at.world.cluster.proxy_url(SHUNT), 'test:tester', 'testing')
    with closing(client):
        got = client.get_object(Bucket=at.name, Key='by s3', Range='bytes=5-9')
        assert (got['Body'].read(), got['ETag'], got['Metadata']) == (DATA[5:10], f'"{MD5}"', {'colour': 'blue'})
        assert client.head_object(Bucket=at.name, Key='by s3', IfMatch=MD5)['ContentLength'] == len(DATA)
        with pytest.raises(client.exceptions.ClientError, match='304'):
            client.get_object(Bucket=at.name, Key='by s3', IfNoneMatch=MD5)
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket=at.name, Key='nowhere')


@each('s3-plain')
def test_an_s3_multipart_etag_is_the_one_that_s3_clients_know(at: MergedContainer) -> None:
    at.remote.put_in_parts('parts', bytes(5 << 20), b'end')  # type: ignore[union-attr]
    client = s3_client(at.world.cluster.proxy_url(SHUNT), 'test:tester', 'testing')
    with closing(client):
        etag = client.head_object(Bucket=at.name, Key='parts')['ETag']
        assert etag.endswith('-2"')
        assert client.get_object(Bucket=at.name, Key='parts', IfMatch=etag, Range='bytes=5242878-')['Body'].read() == (
            b'\0\0end')
        with pytest.raises(client.exceptions.ClientError, match='304'):
            client.get_object(Bucket=at.name, Key='parts', IfNoneMatch=etag)


@each('s3-plain')
def test_copy_reads_through(at: MergedContainer) -> None:
    at.remote.put('original', b'data', colour='blue')
    answer = at.ask('PUT', 'copy', headers={'X-Copy-From': f'{at.name}/original', 'Content-Length': '0'})
    assert answer.status_code == 201
    assert at.is_here('copy')
    copy = at.ask('GET', 'copy')
    assert (copy.content, copy.headers['x-object-meta-colour'], copy.headers['x-1space-source']) == (
        b'data', 'blue', 'local')


@each('s3-plain')
@pytest.mark.parametrize('path', ['/v1//', '/v1/AUTH_test//o', '/v1/AUTH_test//', '/v1', '/v1/AUTH_test/%FF/o'])
def test_malformed_paths_are_the_clusters_business(at: MergedContainer, path: str) -> None:
    token = {'X-Auth-Token': at.world.token('owner')}
    cluster = at.world.cluster
    plain, shunt = (requests.get(cluster.proxy_url(proxy) + path, headers=token, timeout=30) for proxy in (0, SHUNT))
    assert (shunt.status_code, shunt.content) == (plain.status_code, plain.content)
    assert at.asked() == []


# -- two clusters that serve each other's misses ------------------------------------------------

def test_a_request_that_loops_ends(s3: S3Endpoint) -> None:
    with ExitStack() as stack:
        clusters = [stack.enter_context(SwiftCluster(shunt=Path('shunt.json'))) for _ in range(2)]
        logs = [stack.enter_context(FaultProxy(cluster.url)) for cluster in clusters]
        clients: list[Connection] = []
        for cluster, other, log in zip(clusters, reversed(clusters), reversed(logs), strict=True):
            mapping: Mapping[str, object] = {
                **swift_mapping(other, 'c', 'c'), 'aws_endpoint': f'{log.url}/auth/v1.0',
                'aws_identity': 'test:tester', 'aws_secret': 'testing', 'merge_namespaces': True}
            cluster.write_shunt_config({'containers': [mapping]})
            cluster.restart_proxy(0)
            clients.append(stack.enter_context(closing(cluster.client())))
        for client in clients:
            client.put_container('c')
        clients[1].put_object('c', 'there', b'data')
        assert clients[0].get_object('c', 'there')[1] == b'data'
        for log in logs:
            log.clear()
        url, token = clients[0].get_auth()
        answer = requests.get(f'{url}/c/nowhere', headers={'X-Auth-Token': token}, timeout=30)
        assert answer.status_code == 404
        asked = [[request.headers['x-1space-via'].count(',') for request in log.requests if 'nowhere' in request.path]
                 for log in logs]
        assert asked == [[1], [0]], 'one question each way'
