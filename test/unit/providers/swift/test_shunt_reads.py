"""What a client of the shunt is shown of a Swift that says odd things."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.errors import Forbidden, TemporaryError, Throttled
from s3_sync.providers.swift.client import new_client
from s3_sync.sync_swift import SyncSwift
from s3_sync.timestamps import http_date
from s3_sync.types import Condition, ObjectMeta, ShuntRequest
from test.fakes.scripted_swift import Reply, Script, ScriptedSwift, Seen

TIME = '1600000000.12345'
COPY = {'ETag': 'a' * 32, 'X-Object-Meta-1space-Timestamp': TIME, 'Content-Type': 'text/x'}
Make = Callable[..., tuple[SyncSwift, ScriptedSwift]]


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as stack:
        def build(script: Script, via: str = '', connections: int = 2,
                  connection_wait: float = 600.0) -> tuple[SyncSwift, ScriptedSwift]:
            server = stack.enter_context(ScriptedSwift(script))
            mapping = Mapping.model_validate({'account': 'a', 'container': 'c', 'remote': Remote.model_validate({
                'protocol': 'swift', 'endpoint': server.url + '/auth/v1.0', 'identity': 'u', 'secret': Secret('s'),
                'bucket': 'b'})})
            clock = FakeClock()
            client = new_client(mapping, max_connections=connections, clock=clock, via=via,
                                connection_wait=connection_wait)
            provider = SyncSwift(mapping, clock=clock, client=client, owns_client=True)
            stack.callback(provider.close)
            return provider, server
        yield build


def test_nothing_of_the_remote_s_own_is_shown(make: Make) -> None:
    provider, _server = make(lambda seen: Reply(200, {
        **COPY, 'X-Trans-Id': 'tx', 'X-Openstack-Request-Id': 'tx', 'X-Backend-Timestamp': '1', 'X-Storage-Policy': 'p',
        'X-Object-Sysmeta-Secret': 's', 'X-Object-Transient-Sysmeta-T': 't', 'X-1space-Source': 'remote',
        'X-Object-Meta-1space-Etag': 'b' * 32, 'X-Object-Meta-1space-Delete-At': '5', 'X-Object-Meta-Color': 'blue',
        'X-Symlink-Target': 'x/y', 'Content-Location': '/v1/AUTH_theirs/b/o', 'X-Timestamp': '1700000000.00001',
        'Last-Modified': http_date(1_700_000_001), 'X-Delete-At': '4000000000', 'Set-Cookie': 'c=d',
        'Cache-Control': 'no-cache', 'Server': 'theirs'}, b'data'))
    answer = provider.shunt_object(ShuntRequest('GET', 'o'))
    assert answer.headers == {
        'accept-ranges': 'bytes', 'content-type': 'text/x', 'content-length': '4', 'cache-control': 'no-cache',
        'etag': 'b' * 32, 'x-timestamp': TIME, 'last-modified': http_date(1_600_000_001), 'x-delete-at': '4000000000',
        'x-object-meta-color': 'blue'}
    answer.close()


def test_what_is_no_copy_keeps_its_times_to_the_last_digit(make: Make) -> None:
    provider, _server = make(lambda seen: Reply(200, {
        'ETag': 'a' * 32, 'X-Timestamp': '1700000000.00001', 'Last-Modified': http_date(1_700_000_001)}, b'data'))
    with_times = provider.shunt_object(ShuntRequest('GET', 'o'))
    assert with_times.headers['x-timestamp'] == '1700000000.00001'
    assert with_times.headers['last-modified'] == http_date(1_700_000_001)
    with_times.close()


@pytest.mark.parametrize('told, shown', [
    ({'ETag': '"' + 'a' * 32 + '"'}, 'a' * 32),
    ({'ETag': '"' + 'a' * 32 + '"', 'X-Static-Large-Object': 'True'}, '"' + 'a' * 32 + '"'),
    ({'ETag': 'a' * 32, 'X-Static-Large-Object': 'true'}, '"' + 'a' * 32 + '"'),
    ({'ETag': '"' + 'a' * 32 + '"', 'X-Object-Manifest': 'c/p'}, '"' + 'a' * 32 + '"'),
    ({}, None),
])
def test_etags_are_quoted_for_large_objects_only(make: Make, told: dict[str, str], shown: str | None) -> None:
    provider, _server = make(lambda seen: Reply(200, told, b''))
    assert provider.shunt_object(ShuntRequest('HEAD', 'o')).headers.get('etag') == shown


@pytest.mark.parametrize('date', ['', 'yesterday', 'Mon, 32 Jan 2020 99:00:00 GMT', 'Thu, 01 Jan 1960 00:00:00 GMT'])
def test_a_senseless_last_modified_breaks_nothing(make: Make, date: str) -> None:
    provider, _server = make(lambda seen: Reply(200, {'ETag': 'a' * 32, 'Last-Modified': date}, b'data'))
    answer = provider.shunt_object(ShuntRequest('GET', 'o', {'If-Modified-Since': http_date(1_700_000_000)}))
    assert (answer.status, b''.join(answer.body)) == (200, b'data')
    assert answer.meta is not None and answer.meta.size == 4


@pytest.mark.parametrize('told', [{}, {'Content-Range': 'bytes 0-3/*'}, {'Content-Range': 'bytes 0-9/20'},
                                  {'Content-Range': 'bytes 3-0/20'}, {'Content-Range': 'bytes 18-21/20'},
                                  {'Content-Range': 'lines 0-3/20'}])
def test_a_206_that_does_not_say_what_it_holds_is_a_failure(make: Make, told: dict[str, str]) -> None:
    provider, server = make(lambda seen: Reply(206, {**COPY, **told}, b'data'), connections=1)
    for _ in range(3):  # and costs no connection
        with pytest.raises(TemporaryError) as caught:
            provider.shunt_object(ShuntRequest('GET', 'o', {'Range': 'bytes=0-3'}))
        assert caught.value.reason == 'answer'
        with pytest.raises(TemporaryError):
            provider.get_object('o', byte_range=(0, 3))


@pytest.mark.parametrize('status, error', [(403, Forbidden), (401, Forbidden), (503, TemporaryError), (429, Throttled)])
def test_what_is_no_answer_for_a_client_is_raised(make: Make, status: int, error: type[Exception]) -> None:
    provider, _server = make(lambda seen: Reply(status))
    for request in (ShuntRequest('GET', 'o'), ShuntRequest('GET', ''), ShuntRequest('HEAD', 'o'),
                    ShuntRequest('GET', 'o', query={'multipart-manifest': 'get'})):
        with pytest.raises(error):
            provider.shunt_object(request)


def test_a_listing_passes_as_it_is(make: Make) -> None:
    body = b'[{"name": "x",   "odd": true}]\n'
    provider, server = make(lambda seen: Reply(200, {
        'Content-Type': 'application/json', 'X-Container-Meta-A': 'b', 'X-Container-Sysmeta-S': 's',
        'X-Trans-Id': 'tx'}, body))
    answer = provider.shunt_object(ShuntRequest('GET', '', query={'marker': 'ü', 'format': 'xml', 'states': 'x',
                                                                  'delimiter': '::', 'reverse': 'on'}))
    assert b''.join(answer.body) == body
    assert answer.headers.keys() & {'x-container-meta-a', 'x-container-sysmeta-s', 'x-trans-id'} == {
        'x-container-meta-a'}
    assert server.seen[0].path == '/v1/AUTH_test/b?marker=%C3%BC&delimiter=%3A%3A&reverse=on&format=json'


def test_every_request_tells_the_cluster_it_comes_from(make: Make) -> None:
    provider, server = make(lambda seen: Reply(200, COPY), via='here')
    provider.head_object('o')
    provider.list_buckets()
    provider.delete_object('o')
    provider.shunt_object(ShuntRequest('GET', 'o')).close()
    provider.shunt_object(ShuntRequest('GET', '')).close()
    provider.shunt_delete(ShuntRequest('DELETE', 'o')).close()
    assert {seen.headers.get('x-1space-via') for seen in server.seen} == {'here'}


def test_the_way_that_a_client_s_request_has_come_counts_for_it(make: Make) -> None:
    provider, server = make(lambda seen: Reply(200, COPY), via='here')
    way = {'X-1space-Via': 'there, here'}
    provider.shunt_object(ShuntRequest('GET', 'o', way)).close()
    provider.shunt_object(ShuntRequest('GET', '', way)).close()
    provider.shunt_post(ShuntRequest('POST', 'o', way)).close()
    provider.shunt_post(ShuntRequest('POST', '', way)).close()
    assert {seen.headers.get('x-1space-via') for seen in server.seen} == {'there, here'}


def test_without_an_id_nothing_is_told(make: Make) -> None:
    provider, server = make(lambda seen: Reply(200, COPY))
    provider.head_object('o')
    assert 'x-1space-via' not in server.seen[0].headers


def test_who_waits_for_a_connection_is_told_in_time_that_all_are_busy(make: Make) -> None:
    provider, server = make(lambda seen: Reply(200, COPY, b'x' * 10), connections=1, connection_wait=0.05)
    held = provider.shunt_object(ShuntRequest('GET', 'o'))
    asked = len(server.seen)
    with pytest.raises(Throttled) as caught:
        provider.shunt_object(ShuntRequest('GET', 'o'))
    assert (caught.value.reason, caught.value.sent, len(server.seen)) == ('busy', False, asked)
    held.close()
    provider.shunt_object(ShuntRequest('GET', 'o')).close()


def test_a_conditional_delete_looks_first(make: Make) -> None:
    provider, server = make(lambda seen: Reply(200 if seen.method == 'HEAD' else 204, COPY))
    assert provider.delete_object('o', condition=Condition(if_match='a' * 32)) is True
    methods = [seen.method for seen in server.seen]
    assert methods.index('HEAD') < methods.index('DELETE')


# -- layouts ------------------------------------------------------------------------------


def manifest(*paths: str, **more: Any) -> bytes:
    return json.dumps([{'name': path, 'bytes': 4, 'hash': 'e' * 32, **more} for path in paths]).encode()


def layout(make: Make, body: bytes, *, etag: str, size: int = 4, as_remote: bool = False, **told: str) -> Any:
    provider, _server = make(lambda seen: Reply(200, {'X-Static-Large-Object': 'True'}, body))
    meta = ObjectMeta('o', size, etag=etag, large_object='slo', source_etag=told.get('source_etag', ''),
                      sysmeta={'x-static-large-object': 'True'})
    return provider.layout_of(meta, as_remote=as_remote)


def slo_etag_of(count: int = 1) -> str:
    return hashlib.md5(b'e' * 32 * count, usedforsecurity=False).hexdigest()


def test_segments_have_their_local_names(make: Make) -> None:
    found = layout(make, manifest('/b_segments/x'), etag=slo_etag_of())
    assert [(s.container, s.name) for s in found.segments] == [('c_segments', 'x')]
    found = layout(make, manifest('/b_segments_versions/abc/x/y'), etag=slo_etag_of())
    assert [(s.container, s.name) for s in found.segments] == [('c_segments', 'x/y')]
    found = layout(make, manifest('/b_segments/x'), etag=slo_etag_of(), as_remote=True)
    assert [(s.container, s.name) for s in found.segments] == [('b_segments', 'x')]


@pytest.mark.parametrize('path', ['/elsewhere/x', '/b_segments_0123456789/x', '/b_segments_joined/x',
                                  f'/b_segments_versions/abc/{"f" * 64}', '/b_segments_versions/x', '/b/x'])
def test_names_that_tell_no_local_one_are_no_layout(make: Make, path: str) -> None:
    assert layout(make, manifest(path), etag=slo_etag_of()) is None
    assert layout(make, manifest(path), etag=slo_etag_of(), as_remote=True) is not None


@pytest.mark.parametrize('wrong', [{'size': 5}, {'etag': 'f' * 32}, {'source_etag': 'f' * 32}])
def test_a_manifest_that_does_not_fit_is_no_layout(make: Make, wrong: dict[str, Any]) -> None:
    assert layout(make, manifest('/b_segments/x'), **{'etag': slo_etag_of(), **wrong}) is None


def test_a_manifest_that_is_none_is_a_failure_or_no_layout(make: Make) -> None:
    with pytest.raises(TemporaryError):
        layout(make, b'not json', etag='x')
    provider, _server = make(lambda seen: Reply(404))
    meta = ObjectMeta('o', 4, large_object='slo', sysmeta={'x-static-large-object': 'True'})
    assert provider.layout_of(meta) is None


def test_a_dlo_whose_segments_changed_is_no_layout(make: Make) -> None:
    def script(seen: Seen) -> Reply:
        there = [{'name': 'p/1', 'bytes': 4, 'hash': 'e' * 32}] if 'marker' not in seen.path else []
        return Reply(200, {}, json.dumps(there).encode())
    provider, _server = make(script)
    meta = ObjectMeta('o', 4, etag=slo_etag_of(), large_object='dlo', sysmeta={'x-object-manifest': 'b_segments/p/'})
    found = provider.layout_of(meta)
    assert found is not None and found.prefix == 'c_segments/p/'
    assert [(s.container, s.name, s.length) for s in found.segments] == [('c_segments', 'p/1', 4)]
    for changed in (replace(meta, size=5), replace(meta, etag='f' * 32), replace(meta, source_etag='f' * 32)):
        assert provider.layout_of(changed) is None
