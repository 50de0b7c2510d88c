"""A sick remote harms no client more than it must, and is left alone; what is asked is bounded in time."""
from __future__ import annotations

from typing import Any

import pytest

from s3_sync.base_sync import ProviderResponse
from s3_sync.concurrency import Event, sleep, spawn
from s3_sync.errors import (
    ConnectionFailed,
    Forbidden,
    NotFound,
    PermanentError,
    PreconditionFailed,
    TemporaryError,
    Throttled,
)
from s3_sync.shunting.guards import BREAK_AFTER, BREAK_SECONDS, Names
from s3_sync.shunting.remotes import Remote, RemoteUnavailable
from s3_sync.types import BucketPage
from test.unit.shunting.reads_world import World

DOWN = ConnectionFailed('refused')


@pytest.fixture
def world() -> World:
    made = World({'remote_timeout': 0.05}, {'aws_bucket': 'b2'})
    made.remote.hold('o', b'data')
    return made


def of(world: World, number: int = 1) -> Remote:
    merged = world.table.lookup('AUTH_a', 'c')
    assert merged is not None
    return world.remotes.of(merged.targets[number - 1])


def fail(world: World, error: Exception, times: int = 1) -> None:
    for _ in range(times):
        world.remote.errors = [error]
        with pytest.raises(RemoteUnavailable):
            of(world).open('o')


def asked(world: World) -> int:
    return len(world.remote.asked)


# -- breaker ----------------------------------------------------------------------------------

def test_after_failures_in_a_row_nobody_asks_for_a_while_and_then_one_tries(world: World) -> None:
    fail(world, DOWN, BREAK_AFTER)
    with pytest.raises(RemoteUnavailable) as refused:
        of(world).open('o')
    assert refused.value.reason == 'breaker'
    assert 0 < refused.value.retry_after <= BREAK_SECONDS
    assert asked(world) == BREAK_AFTER
    world.clock.advance(BREAK_SECONDS + 0.1)
    assert of(world).open('o').status == 200
    assert of(world).open('o').status == 200


def test_a_failed_trial_leaves_it_alone_again(world: World) -> None:
    fail(world, DOWN, BREAK_AFTER)
    world.clock.advance(BREAK_SECONDS + 0.1)
    fail(world, DOWN)
    with pytest.raises(RemoteUnavailable) as refused:
        of(world).open('o')
    assert refused.value.reason == 'breaker'


def test_only_one_tries(world: World) -> None:
    fail(world, DOWN, BREAK_AFTER)
    world.clock.advance(BREAK_SECONDS + 0.1)

    def trial(provider: object) -> str:
        with pytest.raises(RemoteUnavailable) as refused:
            of(world).open('o')
        return refused.value.reason
    assert of(world).ask(trial) == 'breaker'
    assert of(world).open('o').status == 200


@pytest.mark.parametrize('heals', [NotFound('nothing'), None])
def test_an_answer_heals_and_be_it_404(world: World, heals: Exception | None) -> None:
    fail(world, DOWN, BREAK_AFTER - 1)
    world.remote.errors = [heals]
    of(world).open('o').close()
    fail(world, DOWN, BREAK_AFTER - 1)
    assert of(world).open('o').status == 200


@pytest.mark.parametrize('error', [Forbidden('no', status=403), Throttled('enough', status=429),
                                   Throttled('all connections stayed busy', reason='busy'),
                                   PermanentError('bad request', status=400)])
def test_what_concerns_one_client_or_our_credentials_breaks_nothing(world: World, error: Exception) -> None:
    fail(world, error, BREAK_AFTER + 2)
    assert of(world).open('o').status == 200


@pytest.mark.parametrize('error', [TemporaryError('broken', status=500), Throttled('slow down', status=503)])
def test_a_remote_that_is_broken_or_overloaded_is_left_alone(world: World, error: Exception) -> None:
    fail(world, error, BREAK_AFTER)
    before = asked(world)
    fail(world, error)
    assert asked(world) == before


@pytest.mark.parametrize('error', [Forbidden('no', status=403), Throttled('enough', status=429)])
def test_neutral_answers_do_not_heal(world: World, error: Exception) -> None:
    fail(world, DOWN, BREAK_AFTER - 1)
    fail(world, error)
    fail(world, DOWN)
    before = asked(world)
    fail(world, DOWN)
    assert asked(world) == before


def test_a_trial_that_is_broken_off_lets_the_next_one_try(world: World) -> None:
    fail(world, DOWN, BREAK_AFTER)
    world.clock.advance(BREAK_SECONDS + 0.1)
    with pytest.raises(KeyboardInterrupt):
        of(world).ask(_interrupt)
    assert of(world).open('o').status == 200


def _interrupt(provider: object) -> None:
    raise KeyboardInterrupt


def test_one_remotes_breaker_serves_all_its_buckets_and_no_other_remote() -> None:
    world = World({}, {}, {'aws_identity': 'other'})
    world.remote_of(3).hold('o', b'data')
    fail(world, DOWN, BREAK_AFTER)
    with pytest.raises(RemoteUnavailable, match='breaker'):
        of(world, 2).open('o')
    assert of(world, 3).open('o').status == 200


def test_a_condition_that_does_not_hold_is_an_answer(world: World) -> None:
    for _ in range(BREAK_AFTER + 1):
        with pytest.raises(PreconditionFailed):
            of(world).ask(_refuse)
    assert of(world).open('o').status == 200


def _refuse(provider: object) -> None:
    raise PreconditionFailed('changed')


# -- time -------------------------------------------------------------------------------------

def test_the_answer_begins_in_time_or_the_client_hears_so(world: World) -> None:
    world.remote.answer_gate = Event()
    with pytest.raises(RemoteUnavailable) as late:
        of(world).open('o')
    assert late.value.reason == 'timeout'
    world.remote.answer_gate.send()
    answer = of(world).open('o')
    sleep(0.08)
    assert b''.join(answer.body) == b'data', 'the body has all the time it needs'


def test_a_remote_that_never_answers_in_time_is_left_alone(world: World) -> None:
    world.remote.answer_gate = Event()
    for _ in range(BREAK_AFTER + 3):
        with pytest.raises(RemoteUnavailable):
            of(world).open('o')
    assert asked(world) == BREAK_AFTER


# -- answers ----------------------------------------------------------------------------------

def test_a_head_tells_the_version_or_nothing(world: World) -> None:
    found = of(world).head('o')
    assert found is not None
    assert found.size == 4
    assert of(world).head('nowhere') is None


def test_a_404_that_is_raised_and_one_that_is_answered_are_the_same(world: World) -> None:
    world.remote.errors = [NotFound('nothing')]
    assert of(world).open('o').status == 404
    assert of(world).open('nowhere').status == 404


def test_what_a_remote_says_about_itself_stays_inside(world: World) -> None:
    world.remote.errors = [TemporaryError('http://user:secret@s3.example is down', status=500)]
    with pytest.raises(RemoteUnavailable) as error:
        of(world).open('o')
    assert 'secret' not in str(error.value) + error.value.reason


def test_the_clusters_ids_tell_a_loop(world: World) -> None:
    assert world.remotes.via('') == 'here'
    assert world.remotes.via('there') == 'there, here'
    assert world.remotes.came_from_here('there, here')
    assert world.remotes.came_from_here('here,there')
    assert not world.remotes.came_from_here('there, nowhere')
    assert not world.remotes.came_from_here('')


# -- names ------------------------------------------------------------------------------------

def test_what_was_found_out_is_forgotten_in_time_and_on_demand(world: World) -> None:
    names = Names(world.clock, 5.0)
    names.note(('g', 'a'))
    assert names.holds(('g', 'a'))
    assert not names.holds(('other', 'a'))
    world.clock.advance(5.1)
    assert not names.holds(('g', 'a'))
    names.note(('g', 'a'))
    names.forget(('g', 'a'))
    assert not names.holds(('g', 'a'))


def test_names_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('s3_sync.shunting.guards.KEPT_NAMES', 3)
    names = Names(world.clock, 5.0)
    for name in 'abcd':
        names.note(('g', name))
    assert [name for name in 'abcd' if names.holds(('g', name))] == ['b', 'c', 'd']


# -- whose buckets ----------------------------------------------------------------------------

def test_the_credentials_buckets_are_listed_once_for_many(world: World) -> None:
    listed: list[str] = []
    world.remote.store.buckets = {'a': {}, 'b': {}}
    original = world.remote.list_buckets

    def count(**keys: Any) -> Any:
        listed.append(keys['marker'])
        sleep(0)
        return original(**keys)
    world.remote.list_buckets = count  # type: ignore[method-assign]
    several = [spawn(world.remotes.buckets, of(world)) for _ in range(3)]
    assert [set(thread.wait()) for thread in several] == [{'a', 'b'}] * 3
    assert listed == ['']
    world.clock.advance(61)
    world.remotes.buckets(of(world))
    assert listed == ['', '']


def test_whoever_waited_for_a_list_that_failed_does_not_wait_for_another(world: World) -> None:
    asked: list[str] = []

    def slow(**keys: Any) -> Any:
        asked.append(keys['marker'])
        sleep(0.5)
    world.remote.list_buckets = slow  # type: ignore[method-assign]

    def ask() -> str:
        with pytest.raises(RemoteUnavailable) as error:
            world.remotes.buckets(of(world))
        return error.value.reason
    several = [spawn(ask) for _ in range(4)]
    assert [thread.wait() for thread in several][0] == 'timeout'
    assert asked == ['']
    assert ask() == 'timeout'
    assert asked == ['', '']


def test_a_list_of_buckets_that_never_ends_is_a_failure(world: World) -> None:
    world.remote.list_buckets = lambda **keys: BucketPage((), 'again')  # type: ignore[method-assign]
    with pytest.raises(RemoteUnavailable):
        world.remotes.buckets(of(world))


def test_an_answer_that_trickles_ends_in_time(world: World) -> None:
    def trickle(provider: object) -> None:
        for _ in range(100):
            sleep(0.02)
    with pytest.raises(RemoteUnavailable) as error:
        of(world).ask(trickle)
    assert error.value.reason == 'timeout'
    assert of(world).ask(lambda provider: sleep(0.06)) is None, 'a page may take longer than its first byte'


def test_a_container_is_asked_for_in_time(world: World) -> None:
    world.remote.head_bucket = lambda: sleep(0.5)  # type: ignore[method-assign]
    with pytest.raises(RemoteUnavailable) as error:
        of(world).exists()
    assert error.value.reason == 'timeout'


def test_a_response_is_closed_by_a_head(world: World) -> None:
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Body:
            return self

        def __next__(self) -> bytes:
            raise StopIteration

        def close(self) -> None:
            closed.append(True)
    world.remote.shunt_object = lambda request: ProviderResponse(  # type: ignore[method-assign]
        200, {}, Body(), world.remote.store.buckets['bucket']['o'].meta)
    of(world).head('o')
    assert closed == [True]
