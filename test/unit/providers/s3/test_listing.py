"""Listings that lie, and how each store writes names."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import Forbidden, NotFound, PermanentError, TemporaryError, Throttled, Unsupported
from s3_sync.sync_s3 import SyncS3
from test.fakes.s3_mapping import s3_mapping
from test.fakes.scripted_server import Exchange, ScriptedServer, Step, reply, s3_error

Start = Callable[..., tuple[ScriptedServer, SyncS3]]


@pytest.fixture
def start() -> Iterator[Start]:
    opened: list[tuple[ScriptedServer, SyncS3]] = []

    def begin(*steps: Step, **options: Any) -> tuple[ScriptedServer, SyncS3]:
        server = ScriptedServer(steps).__enter__()
        provider = SyncS3(s3_mapping(server.url, **{'custom_prefix': 'p', **options}), clock=FakeClock())
        opened.append((server, provider))
        return server, provider
    yield begin
    for server, provider in opened:
        provider.close()
        server.__exit__(None, None, None)


def page(*keys: str, token: str = '', truncated: bool | None = None, prefixes: tuple[str, ...] = (),
         encoded: bool = False, v1: bool = False, server: str = 'Test') -> Step:
    parts = ['<ListBucketResult>', '<Marker/>' if v1 else '<KeyCount>1</KeyCount>']
    if encoded:
        parts.append('<EncodingType>url</EncodingType>')
    parts.append(f'<IsTruncated>{"true" if truncated or token else "false"}</IsTruncated>')
    if token:
        name = 'NextMarker' if v1 else 'NextContinuationToken'
        parts.append(f'<{name}>{escape(token)}</{name}>')
    parts += [f'<Contents><Key>{escape(k)}</Key><Size>3</Size><ETag>"e"</ETag>'
              f'<LastModified>2024-01-02T03:04:05.000Z</LastModified></Contents>' for k in keys]
    parts += [f'<CommonPrefixes><Prefix>{escape(k)}</Prefix></CommonPrefixes>' for k in prefixes]
    return reply(body=(''.join(parts) + '</ListBucketResult>').encode(), Server=server)


def query(exchange: Exchange) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(exchange.line.split()[1]).query, keep_blank_values=True).items()}


def test_pages_resume_after_their_last_name(start: Start) -> None:
    server, provider = start(page('p/a', 'p/b', token='t'), page('p/c'))
    first = provider.list_objects(prefix='', limit=2)
    assert ([e.name for e in first.entries], first.next_marker) == (['a', 'b'], 'b')
    assert (first.entries[0].size, first.entries[0].etag, first.entries[0].last_modified) == (3, 'e', 1704164645.0)
    second = provider.list_objects(marker='b')
    assert ([e.name for e in second.entries], second.next_marker) == (['c'], None)
    asked = [query(e) for e in server.exchanges]
    assert asked[0] == {'list-type': '2', 'max-keys': '2', 'prefix': 'p/', 'encoding-type': 'url'}
    assert asked[1]['start-after'] == 'p/b'


@pytest.mark.parametrize('encoded, key, name', [
    (True, 'p/a%20b%2Bc%2541', 'a b+c%41'), (True, 'p/a+b%2Bc', 'a b+c'), (True, 'p/%F0%9F%98%80', '\U0001f600'),
    (False, 'p/a+b%2Bc', 'a+b%2Bc'), (True, 'p/%0A%01', '\n\x01')])
def test_names_are_decoded_exactly_once(start: Start, encoded: bool, key: str, name: str) -> None:
    _server, provider = start(page(key, encoded=encoded))
    assert [e.name for e in provider.list_objects().entries] == [name]


def test_ours_are_hidden_below_a_custom_prefix(start: Start) -> None:
    digest = 'a' * 64
    _server, provider = start(page(
        'p/', f'p/.1space/probe-{"0" * 32}', f'p/.manifests/{digest}.swift_slo_manifest', f'p/.metadata/{digest}.json',
        'p/.metadata/mine', 'p/x'))
    assert [e.name for e in provider.list_objects().entries] == ['.metadata/mine', 'x']


def test_subdirs_and_names_are_one_order(start: Start) -> None:
    server, provider = start(page('p/a', 'p/e', prefixes=('p/.metadata/', 'p/b/', 'p/f/'), token='t'), page())
    found = provider.list_objects(delimiter='/')
    assert [(e.name, e.subdir) for e in found.entries] == [('a', False), ('b/', True), ('e', False), ('f/', True)]
    assert found.next_marker == 'f/'
    provider.list_objects(delimiter='/', marker='f/')
    assert query(server.exchanges[1])['start-after'] == 'p/f/\U0010ffff'


@pytest.mark.parametrize('keys', [('p/b', 'p/a'), ('p/a', 'p/a'), ('p/\U0001f600', 'p/\uffee')])
def test_an_unordered_listing_is_no_evidence(start: Start, keys: tuple[str, ...]) -> None:
    _server, provider = start(page(*keys))
    with pytest.raises(PermanentError) as caught:
        provider.list_objects()
    assert caught.value.reason == 'unordered-listing'


@pytest.mark.parametrize('step', [page('p/a', token='t'), page('p/a', 'p/b', token='t'), page(truncated=True),
                                  page('elsewhere/c')])
def test_a_listing_that_goes_nowhere_is_no_evidence(start: Start, step: Step) -> None:
    _server, provider = start(step)
    with pytest.raises(PermanentError) as caught:
        provider.list_objects(marker='b')
    assert caught.value.reason == 'lying-listing'


def test_empty_pages_go_on_by_their_tokens(start: Start) -> None:
    server, provider = start(page(token='t1'), page(token='t2'), page('p/z'))
    first = provider.list_objects()
    assert first.entries == () and first.next_marker is not None
    second = provider.list_objects(marker=first.next_marker)
    assert second.next_marker is not None
    assert [e.name for e in provider.list_objects(marker=second.next_marker).entries] == ['z']
    assert [query(e).get('continuation-token') for e in server.exchanges] == [None, 't1', 't2']


@pytest.mark.parametrize('cycle', [['a'], ['a', 'b'], ['a', 'b', 'c', 'd', 'e']])
def test_tokens_that_go_round_are_found_out(start: Start, cycle: list[str]) -> None:
    tokens = (cycle * 20)[:60]
    _server, provider = start(*[page('p/x', token=t, server='SeaweedFS 30GB 4.48') for t in tokens])
    marker = ''
    with pytest.raises(PermanentError, match='repeats'):
        for _ in tokens:
            marker = provider.list_objects(marker=marker).next_marker or ''


def test_a_store_with_an_order_of_its_own_resumes_only_from_its_tokens(start: Start) -> None:
    server, provider = start(
        page('p/e', 'p/e/1', 'p/e-1', token='t/1', server='SeaweedFS 30GB 4.48'),
        page('p/a', server='SeaweedFS 30GB 4.48'), page(server='SeaweedFS 30GB 4.48'))
    first = provider.list_objects()
    assert not provider.capabilities.ordered_listing
    assert [e.name for e in first.entries] == ['e', 'e/1', 'e-1']
    assert first.next_marker is not None
    second = provider.list_objects(marker=first.next_marker)
    assert ([e.name for e in second.entries], second.next_marker) == (['a'], None)
    assert query(server.exchanges[1])['continuation-token'] == 't/1'
    with pytest.raises(Unsupported):
        provider.list_objects(marker='e')


def test_a_store_without_version_2_is_asked_again_in_version_1(start: Start) -> None:
    server, provider = start(page('p/a', v1=True), page('p/c', v1=True), page(v1=True))
    provider.list_objects()
    assert [e.name for e in provider.list_objects(marker='b').entries] == ['c']
    assert [query(e).get('list-type') for e in server.exchanges] == ['2', None]
    assert query(server.exchanges[1])['marker'] == 'p/b'


def test_version_1_answers_to_a_marker_that_was_not_understood_are_not_used(start: Start) -> None:
    server, provider = start(page('p/a', v1=True), page('p/c', v1=True))
    assert [e.name for e in provider.list_objects(marker='b').entries] == ['c']
    assert len(server.exchanges) == 2


def test_a_store_that_refuses_version_2_gets_version_1(start: Start) -> None:
    server, provider = start(reply('400 Bad Request', s3_error('InvalidArgument')), page('p/a', v1=True))
    assert [e.name for e in provider.list_objects().entries] == ['a']
    assert 'list-type' not in query(server.exchanges[1])


@pytest.mark.parametrize('body', [
    b'<html', b'', b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult/>', b'<html>please log in</html>',
    b'<Error><Code>InternalError</Code></Error>'])
def test_what_is_no_listing_is_temporary_and_never_an_empty_one(start: Start, body: bytes) -> None:
    _server, provider = start(reply(body=body), reply(body=body), reply(body=body), reply(body=body))
    for ask in (provider.list_objects, provider.list_buckets):
        with pytest.raises(TemporaryError):
            ask()


# -- deleting many ----------------------------------------------------------------------------


def refused(*errors: tuple[str, str]) -> Step:
    body = ''.join(f'<Error><Key>{escape(k)}</Key><Code>{c}</Code><Message>m</Message></Error>' for k, c in errors)
    return reply(body=f'<DeleteResult>{body}</DeleteResult>'.encode())


def test_each_name_has_its_outcome(start: Start) -> None:
    server, provider = start(refused(('p/a', 'AccessDenied'), ('p/b', 'NoSuchKey'), ('p/c', 'SlowDown'),
                                     ('p/d', 'InternalError')))
    outcomes = provider.delete_objects(['a', 'b', 'c', 'd', 'e'])
    assert {k: type(v) for k, v in outcomes.items()} == {
        'a': Forbidden, 'b': type(None), 'c': Throttled, 'd': TemporaryError, 'e': type(None)}
    body = server.exchanges[0].body.decode()
    assert server.exchanges[0].line.startswith('POST /bucket?delete= ')
    assert '<Quiet>true</Quiet>' in body and 'content-md5' in server.exchanges[0].headers
    assert body.count('<Object>') == 15  # object, manifest and side object of each


def test_batches_hold_a_thousand_keys(start: Start) -> None:
    server, provider = start(refused(), refused())
    outcomes = provider.delete_objects([f'o{i}' for i in range(600)])
    assert set(outcomes.values()) == {None}
    assert [e.body.count(b'<Object>') for e in server.exchanges] == [1000, 800]
    assert provider.capabilities.batch_delete * 3 <= 1000


def test_a_failed_batch_fails_its_own_names_only(start: Start) -> None:
    _server, provider = start(refused(), reply('500 Oops'))
    outcomes = provider.delete_objects([f'o{i}' for i in range(600)])
    assert outcomes['o0'] is None and isinstance(outcomes['o599'], TemporaryError)


def test_names_that_xml_cannot_carry_are_deleted_one_by_one(start: Start) -> None:
    server, provider = start(refused(), reply('204 No Content'))
    assert provider.delete_objects(['a\x01b']) == {'a\x01b': None}
    assert server.exchanges[1].line == 'DELETE /bucket/p/a%01b HTTP/1.1'
    assert b'\x01' not in server.exchanges[0].body


def test_line_ends_in_names_survive_xml(start: Start) -> None:
    server, provider = start(refused())
    provider.delete_objects(['a\r\n<&'])
    assert b'<Key>p/a&#13;&#10;&lt;&amp;</Key>' in server.exchanges[0].body


def test_a_store_without_batches_gets_single_requests(start: Start) -> None:
    server, provider = start(reply('501 Not Implemented', s3_error('NotImplemented')),
                             *[reply('204 No Content')] * 2, reply('404 Not Found', s3_error('NoSuchKey')))
    assert provider.delete_objects(['a']) == {'a': None}
    assert [e.line.split()[0] for e in server.exchanges] == ['POST', 'DELETE', 'DELETE', 'DELETE']


def test_deleting_one_object_tells_whether_it_was_there_and_sweeps_its_belongings(start: Start) -> None:
    plain = reply(ETag=f'"{"a" * 32}"', content_length='4')
    multipart = reply(ETag=f'"{"a" * 32}-2"', content_length='4')
    gone = reply('404 Not Found')
    done = reply('204 No Content')
    server, provider = start(plain, done, multipart, done, refused(), gone, reply(), refused())
    assert provider.delete_object('a') is True
    assert provider.delete_object('b') is True
    assert provider.delete_object('c') is False
    kinds = [e.line.split()[0] for e in server.exchanges]
    assert kinds == ['HEAD', 'DELETE', 'HEAD', 'DELETE', 'POST', 'HEAD', 'HEAD', 'POST']
    assert b'.manifests/' in server.exchanges[4].body and b'.metadata/' not in server.exchanges[4].body
    assert b'.manifests/' in server.exchanges[7].body and b'.metadata/' in server.exchanges[7].body


def test_deleting_from_a_missing_bucket_says_so(start: Start) -> None:
    _server, provider = start(reply('404 Not Found'), reply('404 Not Found'))
    with pytest.raises(NotFound, match='bucket'):
        provider.delete_object('a')
