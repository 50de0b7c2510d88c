"""Nothing goes out before Swift's own callback has said yes to exactly this path (semantics 8)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from swift.common.swob import HTTPForbidden, HTTPNotFound, Request, Response, str_to_wsgi

from s3_sync.shunting.authorization import Authorization
from test.unit.shunting.reads_world import ACCOUNT, World

PATH = f'/v1/{ACCOUNT}/c/o'
Answer = Callable[[Request], Response]


@pytest.fixture
def world() -> World:
    made = World()
    made.remote.hold('o', b'data')
    return made


def ask(request: Request, path: str = '', acl: str | None = None) -> None:
    """As the proxy does, for this or another path."""
    other = Request({**request.environ, 'PATH_INFO': path or request.environ['PATH_INFO']})
    other.acl = acl
    request.environ['swift.authorize'](other)


def missing(*asked: tuple[str, str | None]) -> Answer:
    """A cluster that asks for these paths with these ACLs, and then has nothing."""
    def answer(request: Request) -> Response:
        for path, acl in asked:
            ask(request, path, acl)
        return HTTPNotFound(request=request)
    return answer


@pytest.mark.parametrize(('user', 'asked', 'status'), [
    ('owner', [(PATH, None)], 200),
    ('owner', [], 404),
    ('owner', [('/v1/AUTH_a/c', None)], 404),
    ('owner', [('/v1/AUTH_a/c/other', None)], 404),
    ('reader', [(PATH, None), (PATH, 'reader')], 200),
    ('reader', [(PATH, 'reader'), (PATH, None)], 404),
    ('reader', [(PATH, 'somebody')], 404),
    ('stranger', [(PATH, None)], 404)])
def test_the_last_word_for_exactly_this_path_counts_not_the_status(
        world: World, user: str, asked: list[tuple[str, str | None]], status: int) -> None:
    inner = missing(*asked)
    Answering(world, inner)
    answer = world.get(user=user)
    assert answer.status == status
    answer.close()
    assert bool(world.remote.asked) == (status == 200)


class Answering:
    """The whole right-hand side, so that nothing asks beside what the test says."""

    def __init__(self, world: World, answer: Answer) -> None:
        self._cluster = world.local._app
        self._answer = answer
        world.local._app = self

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(env)
        if env['PATH_INFO'].count('/') < 4 or '\0' in env['PATH_INFO']:
            return self._cluster(env, start_response)
        return self._answer(request)(env, start_response)


@pytest.mark.parametrize('user', ['reader', 'stranger', ''])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('headers', [{}, {'range': 'bytes=0-1'}, {'if_none_match': '*'}])
def test_whom_the_cluster_refuses_the_remote_never_hears_of(
        world: World, user: str, method: str, headers: dict[str, str]) -> None:
    world.cluster.containers['c'] = 'friend'
    assert world.get(method=method, user=user, **headers).status == 403
    assert world.remote.asked == []


def test_whom_the_acl_names_reads_what_is_remote(world: World) -> None:
    world.cluster.containers['c'] = 'friend,other'
    assert world.get(user='friend').read() == b'data'


def test_without_a_container_only_the_owner_reads(world: World) -> None:
    del world.cluster.containers['c']
    assert world.get(user='friend').status == 403
    assert world.get(user='owner').read() == b'data'


def test_the_other_spelling_of_the_api_version_is_as_good(world: World) -> None:
    assert world.get(path=f'/v1.0/{ACCOUNT}/c/o').read() == b'data'


def test_names_beyond_ascii_are_the_same_path(world: World) -> None:
    world.remote.hold('ü/☃ %41', b'data')
    assert world.get('ü/☃ %41').read() == b'data'


def test_a_denial_that_is_asked_for_is_swifts_own(world: World) -> None:
    seen: list[tuple[str, str | None]] = []

    def callback(request: Request) -> Response | None:
        seen.append((request.path, request.acl))
        return None if request.acl == 'friend' else HTTPForbidden(request=request)
    env = Request.blank(PATH, environ={'swift.authorize': callback}).environ
    authorization = Authorization(env)
    assert authorization.denial(env, 'nobody') is not None
    assert not authorization.allowed(PATH)
    assert authorization.denial(env, 'friend') is None
    assert authorization.allowed(PATH)
    assert seen == [(PATH, 'nobody'), (PATH, 'friend')]


def test_a_pipeline_without_authorisation_asks_nobody() -> None:
    env = Request.blank(PATH).environ
    authorization = Authorization(env)
    assert authorization.allowed(str(str_to_wsgi('/v1/AUTH_a/c/ü')))
    assert authorization.denial(env, None) is None
    assert 'swift.authorize' not in env


def test_what_the_callback_answers_reaches_the_proxy_unchanged() -> None:
    denial = HTTPForbidden()
    env = Request.blank(PATH, environ={'swift.authorize': lambda request: denial}).environ
    Authorization(env)
    assert env['swift.authorize'](Request(env)) is denial
