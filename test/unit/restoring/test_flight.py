"""One restore of an object at a time, few at once, and none right after a failure."""
from __future__ import annotations

import pytest

from s3_sync.clock import FakeClock
from s3_sync.concurrency import Timeout
from s3_sync.restoring.flight import LOCK_SECONDS, REST_SECONDS, Cache, Flight, RestoreLocks
from s3_sync.trial.memory_cache import MemoryCache


def begin(locks: RestoreLocks, name: str = 'o', size: int = 1, cache: Cache | None = None) -> Flight:
    found = locks.begin('a', 'c', name, size, cache)
    assert isinstance(found, Flight), found
    return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def locks(clock: FakeClock) -> RestoreLocks:
    return RestoreLocks(clock=clock, max_restore_size=100, restore_concurrency=2)


def test_an_object_is_restored_once_at_a_time(locks: RestoreLocks) -> None:
    flight = begin(locks)
    assert locks.begin('a', 'c', 'o', 1, None) == 'busy'
    locks.end(flight)
    begin(locks)


def test_names_are_told_apart(locks: RestoreLocks) -> None:
    begin(locks, 'o')
    begin(locks, 'ö')


def test_one_process_of_the_cluster_restores_it(clock: FakeClock) -> None:
    cache = MemoryCache(clock)
    here, there = RestoreLocks(clock=clock), RestoreLocks(clock=clock)
    flight = begin(here, cache=cache)
    assert there.begin('a', 'c', 'o', 1, cache) == 'busy'
    here.end(flight)
    flight = begin(there, cache=cache)
    assert here.begin('a', 'c', 'o', 1, cache) == 'busy'
    there.end(flight)
    assert len(here) == len(there) == 0


def test_the_lock_of_a_process_that_died_goes_by_itself_the_later_the_larger(clock: FakeClock) -> None:
    cache = MemoryCache(clock)
    begin(RestoreLocks(clock=clock), 'small', 1, cache)
    begin(RestoreLocks(clock=clock), 'large', 1024 ** 3, cache)
    clock.advance(LOCK_SECONDS + 1)
    begin(RestoreLocks(clock=clock), 'small', 1, cache)
    assert RestoreLocks(clock=clock).begin('a', 'c', 'large', 1, cache) == 'busy'


def test_a_lock_that_is_somebody_else_s_by_now_is_left_alone(clock: FakeClock) -> None:
    cache = MemoryCache(clock)
    slow, other = RestoreLocks(clock=clock), RestoreLocks(clock=clock)
    flight = begin(slow, cache=cache)
    clock.advance(LOCK_SECONDS + 1)
    begin(other, cache=cache)
    slow.end(flight)
    assert RestoreLocks(clock=clock).begin('a', 'c', 'o', 1, cache) == 'busy'


@pytest.mark.parametrize('error', [OSError('refused'), Timeout()])
def test_a_cache_that_fails_stops_no_restore(locks: RestoreLocks, error: BaseException) -> None:
    class Broken:
        def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
            raise error

        def delete(self, key: str) -> None:
            raise error
    flight = begin(locks, cache=Broken())
    assert locks.begin('a', 'c', 'o', 1, Broken()) == 'busy'
    locks.end(flight)
    begin(locks, cache=Broken())


def test_a_cache_that_fails_later_stops_nothing_either(clock: FakeClock, locks: RestoreLocks) -> None:
    class Failing(MemoryCache):
        def delete(self, key: str, server_key: str | None = None) -> None:
            raise OSError('refused')
    locks.end(begin(locks, cache=Failing(clock)))
    assert len(locks) == 0


def test_a_restore_that_failed_rests(locks: RestoreLocks, clock: FakeClock) -> None:
    locks.end(begin(locks), failed='too-large')
    clock.advance(REST_SECONDS - 1)
    assert locks.begin('a', 'c', 'o', 1, None) == 'failed-lately'
    begin(locks, 'other')
    clock.advance(2)
    begin(locks)


def test_a_client_that_went_says_nothing_of_the_object(locks: RestoreLocks) -> None:
    locks.end(begin(locks), failed='client-gone')
    begin(locks)


def test_too_many_and_too_large_ones_wait_for_better_times(locks: RestoreLocks) -> None:
    assert locks.begin('a', 'c', 'o', 101, None) == 'too-large'
    first = begin(locks, '1', 100)
    begin(locks, '2')
    assert locks.begin('a', 'c', '3', 1, None) == 'too-many'
    locks.end(first)
    begin(locks, '3')
