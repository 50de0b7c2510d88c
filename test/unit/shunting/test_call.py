from __future__ import annotations

import pytest
from swift.common.swob import str_to_wsgi

from s3_sync.shunting.authorization import Env
from s3_sync.shunting.call import Call, Place, StartResponse, bypass_signature, is_bypassed, parse_path, wsgi_headers
from s3_sync.shunting.local import LocalSwift


@pytest.mark.parametrize(('path', 'place'), [
    ('/v1/AUTH_a', Place('AUTH_a')), ('/v1/AUTH_a/', Place('AUTH_a')),
    ('/v1/AUTH_a/c', Place('AUTH_a', 'c')), ('/v1/AUTH_a/c/', Place('AUTH_a', 'c')),
    ('/v1/AUTH_a/c/o', Place('AUTH_a', 'c', 'o')), ('/v1/AUTH_a/c//', Place('AUTH_a', 'c', '/')),
    ('/v1/AUTH_a/c//o', Place('AUTH_a', 'c', '/o')), ('/v1/AUTH_a/c/x//y/', Place('AUTH_a', 'c', 'x//y/')),
    ('/v1/AUTH_a/c/%41', Place('AUTH_a', 'c', '%41')), ('/v1.0/AUTH_a/c/a b\n', Place('AUTH_a', 'c', 'a b\n')),
    ('/v1/AUTH_a/c/é\U0001f600\ufffd', Place('AUTH_a', 'c', 'é\U0001f600\ufffd'))])
def test_paths_of_swift_are_read_as_swift_reads_them(path: str, place: Place) -> None:
    assert parse_path(str_to_wsgi(path)) == place


@pytest.mark.parametrize('path', [
    '', '/', '/v1', '/v1/', '/v1//', '/v1//c', '/v1/AUTH_a//o', '/auth/v1.0', '/healthcheck', '/info', '/v2/AUTH_a/c',
    'v1/AUTH_a/c', '/v1/AUTH_a/\0versions\0c', '/v1/AUTH_a/c/\0o'])
def test_everything_else_is_left_alone(path: str) -> None:
    assert parse_path(str_to_wsgi(path)) is None


def test_bytes_that_are_no_utf8_are_left_alone() -> None:
    assert parse_path('/v1/AUTH_a/c/\xff') is None


def _env(method: str, path: str, signature: str) -> dict[str, object]:
    return {'REQUEST_METHOD': method, 'PATH_INFO': str_to_wsgi(path),
            'HTTP_X_CLOUD_SYNC_SHUNT_BYPASS': signature}


def test_a_bypass_counts_only_signed_for_this_method_and_path() -> None:
    signature = bypass_signature('key', 'GET', str_to_wsgi('/v1/AUTH_a/c/é'))
    assert is_bypassed(_env('GET', '/v1/AUTH_a/c/é', signature), 'key')
    assert not is_bypassed(_env('PUT', '/v1/AUTH_a/c/é', signature), 'key')
    assert not is_bypassed(_env('GET', '/v1/AUTH_a/c/e', signature), 'key')
    assert not is_bypassed(_env('GET', '/v1/AUTH_a/c/é', signature), 'other key')


@pytest.mark.parametrize('sent', ['true', '', 'é', '0' * 64])
def test_no_key_no_bypass(sent: str) -> None:
    assert not is_bypassed(_env('GET', '/v1/AUTH_a/c/o', sent), '')
    assert not is_bypassed(_env('GET', '/v1/AUTH_a/c/o', sent), 'key')


def test_metadata_of_a_remote_never_becomes_a_header_of_its_own() -> None:
    told = {'x-object-meta-a': 'foo\r\nSet-Cookie: a=b', 'content-type': 'a\nb', 'x-object-meta-b\r\nx': 'v',
            'x-object-meta-c: d': 'v', 'x-object-meta-é': 'tab\tü \x00'}
    assert wsgi_headers(told) == {'x-object-meta-a': 'foo Set-Cookie: a=b', 'content-type': 'a b',
                                  str_to_wsgi('x-object-meta-é'): str_to_wsgi('tab\tü  ')}


@pytest.mark.parametrize(('asked', 'query'), [
    (None, 'limit=7'), ('', 'limit=7'), ('limit=10000', 'limit=7'),
    ('limit=1&prefix=%C3%BC&limit=2', 'prefix=%C3%BC&limit=7'),
    ('l%69mit=3&versions', 'versions&limit=7'),
    ('xlimit=3&delimiter=%26limit%3D', 'xlimit=3&delimiter=%26limit%3D&limit=7')])
def test_a_listing_with_another_limit_is_otherwise_what_the_client_asked(asked: str | None, query: str) -> None:
    seen: list[str] = []

    def app(env: Env, start_response: StartResponse) -> list[bytes]:
        seen.append(env['QUERY_STRING'])
        start_response('200 OK', [])
        return []

    env = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/v1/a/c', **({} if asked is None else {'QUERY_STRING': asked})}
    call = Call(env, lambda *_: None, Place('a', 'c'), None, LocalSwift(app))
    call.list_local(7).close()
    assert seen == [query]
    assert call.env.get('QUERY_STRING') == (asked or '')
