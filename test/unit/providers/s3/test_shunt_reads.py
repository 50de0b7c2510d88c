"""What a client of the shunt is shown of an S3 store that says odd things."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import ConnectionFailed, Forbidden, TemporaryError, Throttled
from s3_sync.sync_s3 import SyncS3
from s3_sync.timestamps import http_date
from s3_sync.types import ObjectMeta, ShuntRequest
from test.fakes.s3_mapping import s3_mapping
from test.fakes.scripted_server import ScriptedServer, Step, raw, reply, s3_error

MD5 = 'a' * 32
TIME = '1600000000.12345'
SLO: dict[str, Any] = {'x_amz_meta_x_static_large_object': 'True', 'x_amz_meta_1space_timestamp': TIME}
Start = Callable[..., tuple[ScriptedServer, SyncS3]]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        def begin(*steps: Step, **options: Any) -> tuple[ScriptedServer, SyncS3]:
            server = stack.enter_context(ScriptedServer(steps))
            provider = SyncS3(s3_mapping(server.url, **options), max_connections=1, clock=FakeClock())
            stack.callback(provider.close)
            return server, provider
        yield begin


def manifest(count: int = 2) -> bytes:
    return json.dumps([{'name': f'/c_segments/{i}', 'bytes': 4, 'hash': 'e' * 32} for i in range(count)]).encode()


def slo_etag(count: int = 2) -> str:
    return hashlib.md5(b'e' * 32 * count, usedforsecurity=False).hexdigest()


def test_nothing_of_the_store_s_own_is_shown(start: Start) -> None:
    _server, provider = start(reply(
        body=b'data', ETag=f'"{MD5}"', x_amz_meta_1space_timestamp=TIME, x_amz_meta_1space_etag='b' * 32,
        x_amz_meta_1space_delete_at='4000000000', x_amz_meta_color='blue', x_amz_request_id='r', x_amz_id_2='i',
        x_amz_storage_class='STANDARD_IA', x_amz_server_side_encryption='AES256', x_amz_version_id='v',
        Server='AmazonS3', Last_Modified=http_date(1_700_000_000), Content_Type='text/x', Set_Cookie='c=d',
        x_amz_website_redirect_location='http://x'))
    answer = provider.shunt_object(ShuntRequest('GET', 'o'))
    assert answer.headers == {
        'accept-ranges': 'bytes', 'content-type': 'text/x', 'content-length': '4', 'etag': 'b' * 32,
        'x-timestamp': TIME, 'last-modified': http_date(1_600_000_001), 'x-delete-at': '4000000000',
        'x-object-meta-color': 'blue'}
    answer.close()


@pytest.mark.parametrize('etag, more, shown', [
    (f'"{MD5}"', {}, MD5), (MD5, {}, MD5), (f'W/"{MD5}"', {}, MD5), ('', {}, None),
    (f'"{MD5}-3"', {}, f'"{MD5}-3"'),
    (f'"{MD5}-3"', {'x_amz_meta_1space_etag': 'b' * 32}, 'b' * 32),
    (f'"{MD5}-3"', {**SLO, 'x_amz_meta_1space_etag': 'b' * 32}, f'"{"b" * 32}"'),
    (f'"{MD5}-3"', {**SLO}, f'"{MD5}-3"')])
def test_etags_are_the_source_s_and_quoted_for_large_objects_only(start: Start, etag: str, more: dict[str, Any],
                                                                  shown: str | None) -> None:
    told: dict[str, Any] = {'ETag': etag, **more} if etag else more
    _server, provider = start(reply(content_length='0', **told))
    headers = provider.shunt_object(ShuntRequest('HEAD', 'o')).headers
    assert headers.get('etag') == shown
    assert headers.get('x-object-sysmeta-s3api-etag') == (f'{MD5}-3' if '-3' in etag else None)
    assert headers.get('x-static-large-object') == ('True' if shown and shown.startswith('"') else None)


@pytest.mark.parametrize('date', ['', 'yesterday', 'Thu, 01 Jan 1960 00:00:00 GMT'])
def test_a_senseless_last_modified_breaks_nothing(start: Start, date: str) -> None:
    _server, provider = start(reply(body=b'data', ETag=MD5, Last_Modified=date))
    answer = provider.shunt_object(ShuntRequest('GET', 'o', {'If-Modified-Since': http_date(1_700_000_000)}))
    assert (answer.status, b''.join(answer.body)) == (200, b'data')
    assert 'last-modified' not in answer.headers
    assert answer.meta is not None and answer.meta.size == 4


@pytest.mark.parametrize('told', [None, 'bytes 0-3/*', 'bytes 0-9/20', 'bytes 3-0/20', 'bytes 18-21/20', '0-3/20'])
def test_a_206_that_does_not_say_what_it_holds_is_a_failure(start: Start, told: str | None) -> None:
    more: dict[str, Any] = {'Content_Range': told} if told else {}
    answer = reply('206 Partial Content', b'data', ETag=MD5, **more)
    _server, provider = start(*[answer] * 4)
    for _ in range(2):  # and costs no connection
        with pytest.raises(TemporaryError) as caught:
            provider.shunt_object(ShuntRequest('GET', 'o', {'Range': 'bytes=0-3'}))
        assert caught.value.reason == 'answer'
        with pytest.raises(TemporaryError):
            provider.get_object('o', byte_range=(0, 3))


def test_an_answer_without_a_length_is_a_failure(start: Start) -> None:
    _server, provider = start(raw(b'HTTP/1.1 200 OK\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'))
    with pytest.raises(TemporaryError):
        provider.shunt_object(ShuntRequest('GET', 'o'))


def test_a_body_that_ends_early_is_a_failed_connection(start: Start) -> None:
    _server, provider = start(raw(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', close=True))
    answer = provider.shunt_object(ShuntRequest('GET', 'o'))
    with pytest.raises(ConnectionFailed):
        b''.join(answer.body)


@pytest.mark.parametrize('status, code, error', [
    ('403 Forbidden', 'AccessDenied', Forbidden), ('503 Slow Down', 'SlowDown', Throttled),
    ('500 Internal', 'InternalError', TemporaryError)])
def test_what_is_no_answer_for_a_client_is_raised(start: Start, status: str, code: str,
                                                  error: type[Exception]) -> None:
    to_head = reply(status)
    _server, provider = start(reply(status, s3_error(code)), to_head, to_head)
    for request in (ShuntRequest('GET', 'o'), ShuntRequest('GET', 'o', query={'multipart-manifest': 'get'}),
                    ShuntRequest('GET', 'o', query={'part-number': '1'})):
        with pytest.raises(error):
            provider.shunt_object(request)


def test_an_unmet_condition_keeps_the_connection_where_the_body_is_small(start: Start) -> None:
    server, provider = start(*[reply(body=b'data', ETag=MD5)] * 3)
    for _ in range(3):
        answer = provider.shunt_object(ShuntRequest('GET', 'o', {'If-None-Match': f'"{MD5}"'}))
        assert (answer.status, b''.join(answer.body), answer.headers['content-length']) == (304, b'', '0')
        assert answer.headers['etag'] == MD5
    assert server.connections == 1


@pytest.mark.parametrize('asked, status', [
    ('"' + 'b' * 32 + '"', 304), ('b' * 32, 304), (f'"{MD5}-3"', 304), ('*', 304), (f'W/"{MD5}-3"', 304),
    ('"x", "' + 'b' * 32 + '"', 304), ('"x"', 200), (f'"{MD5}"', 200)])
def test_both_the_source_s_and_the_store_s_etag_meet_a_condition(start: Start, asked: str, status: int) -> None:
    """s3api hands on what its clients know, which is the store's."""
    _server, provider = start(reply(body=b'data', ETag=f'"{MD5}-3"', **SLO, x_amz_meta_1space_etag='b' * 32))
    answer = provider.shunt_object(ShuntRequest('GET', 'o', {'If-None-Match': asked}))
    assert answer.status == status
    answer.close()


# -- manifests, parts, layouts --------------------------------------------------------------


def large(etag: str = slo_etag(), size: str = '8', **more: Any) -> Step:
    return reply(ETag=f'"{MD5}-1"', content_length=size, **SLO, x_amz_meta_1space_etag=etag, **more)


def test_a_part_is_only_given_of_the_version_that_was_looked_at(start: Start) -> None:
    part = reply('206 Partial Content', b'5678', ETag=f'"{MD5}-1"', Content_Range='bytes 4-7/8')
    server, provider = start(large(), reply(body=manifest()), part)
    answer = provider.shunt_object(ShuntRequest('GET', 'o', query={'part-number': '2'}))
    assert b''.join(answer.body) == b'5678'
    assert server.exchanges[-1].headers['range'] == 'bytes=4-7'
    assert server.exchanges[-1].headers['if-match'] == f'"{MD5}-1"'


@pytest.mark.parametrize('lie', [
    reply('200 OK', b'12345678', ETag='"x"'),
    reply('206 Partial Content', b'1234', ETag='"x"', Content_Range='bytes 0-3/8')])
def test_other_bytes_than_the_part_are_a_failure(start: Start, lie: Step) -> None:
    _server, provider = start(large(), reply(body=manifest()), lie)
    with pytest.raises(TemporaryError):
        provider.shunt_object(ShuntRequest('GET', 'o', query={'part-number': '2'}))


def test_a_store_s_own_parts_are_asked_of_the_store(start: Start) -> None:
    server, provider = start(
        reply(ETag=f'"{MD5}-2"', content_length='8'),
        reply('206 Partial Content', b'5678', ETag=f'"{MD5}-2"', Content_Range='bytes 4-7/8', x_amz_mp_parts_count='2'))
    answer = provider.shunt_object(ShuntRequest('GET', 'o', query={'part-number': '2'}))
    assert (answer.status, b''.join(answer.body)) == (206, b'5678')
    assert answer.headers['x-parts-count'] == '2'
    assert answer.headers['content-range'] == 'bytes 4-7/8'
    assert answer.meta is not None and answer.meta.size == 8
    assert server.exchanges[-1].line.split()[1].endswith('?partNumber=2')


def test_a_store_that_takes_a_part_for_the_object_is_asked_for_the_whole(start: Start) -> None:
    whole = reply(ETag=f'"{MD5}-2"', content_length='8')
    _server, provider = start(whole, reply(ETag=f'"{"c" * 32}"', content_length='4'), whole)
    answer = provider.shunt_object(ShuntRequest('HEAD', 'o', query={'part-number': '2'}))
    assert (answer.status, answer.headers['content-length'], answer.headers['etag']) == (200, '8', f'"{MD5}-2"')


@pytest.mark.parametrize('body', [b'', b'no json', b'{}', manifest(3), manifest(1)])
def test_a_manifest_that_is_not_this_version_s_is_told_as_a_conflict(start: Start, body: bytes) -> None:
    _server, provider = start(large(), reply(body=body))
    answer = provider.shunt_object(ShuntRequest('GET', 'o', query={'multipart-manifest': 'get'}))
    assert answer.status == 409
    assert b'manifest' in b''.join(answer.body)


def test_a_missing_manifest_is_told_as_a_conflict(start: Start) -> None:
    missing = reply('404 Not Found', s3_error('NoSuchKey'))
    _server, provider = start(large(), missing)
    assert provider.shunt_object(ShuntRequest('GET', 'o', query={'multipart-manifest': 'get'})).status == 409


def meta(**changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': 'o', 'size': 8, 'etag': f'{MD5}-1', 'large_object': 'slo', 'source_etag': slo_etag(),
                         **changes})


def test_a_layout_needs_the_right_size_and_content(start: Start) -> None:
    _server, provider = start(*[reply(body=manifest())] * 6)
    found = provider.layout_of(meta())
    assert found is not None
    assert [(s.container, s.name, s.length) for s in found.segments] == [('c_segments', '0', 4), ('c_segments', '1', 4)]
    assert provider.layout_of(meta(source_etag='')) is not None, "the predecessor's copies tell no content"
    for wrong in (meta(size=9), meta(source_etag='f' * 32), meta(source_etag='', size=7),
                  meta(sysmeta={'swift-slo-etag': 'f' * 32})):
        assert provider.layout_of(wrong) is None


def test_what_is_no_large_object_of_swift_s_costs_no_request(start: Start) -> None:
    server, provider = start()
    assert provider.layout_of(meta(large_object='multipart')) is None
    assert provider.layout_of(meta(large_object=None)) is None
    assert server.exchanges == []


def test_a_dlo_tells_its_prefix_decoded(start: Start) -> None:
    _server, provider = start(*[reply(body=manifest())] * 2)
    dlo = meta(large_object='dlo', sysmeta={'x-object-manifest': 'c_segments/a%20%C3%BC%25/'})
    found = provider.layout_of(dlo)
    assert found is not None and (found.kind, found.prefix) == ('dlo', 'c_segments/a ü%/')
    assert provider.layout_of(meta(large_object='dlo', sysmeta={'x-object-manifest': 'nonsense'})) is None
