"""Several things at once: all of them, or the first failure."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from s3_sync.concurrency import GreenThread, Timeout, sleep, spawn
from s3_sync.errors import PermanentError, TemporaryError
from s3_sync.providers.s3.parallel import in_parallel


def test_everything_is_done_some_at_a_time() -> None:
    running, most, done = 0, 0, []

    def work(item: int, stopped: Callable[[], bool]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        sleep(0)
        running -= 1
        done.append(item)
    in_parallel(work, range(20), at_once=3)
    assert sorted(done) == list(range(20))
    assert most == 3
    in_parallel(work, [])


def test_after_a_failure_nothing_new_begins_and_what_runs_comes_to_its_end() -> None:
    begun, ended, told = [], [], []

    def work(item: int, stopped: Callable[[], bool]) -> None:
        begun.append(item)
        sleep(0)
        if item == 1:
            raise TemporaryError('x')
        sleep(0)
        told.append(stopped())
        ended.append(item)
    with pytest.raises(TemporaryError):
        in_parallel(work, range(20), at_once=3)
    assert begun == [0, 1, 2]
    assert ended == [0, 2]
    assert told[-1] is True


def test_what_runs_is_cut_off_by_a_failure_for_good_and_when_the_caller_is_stopped() -> None:
    ended, freed = [], []

    def work(item: int, stopped: Callable[[], bool]) -> None:
        try:
            sleep(0)
            if item == 1:
                raise PermanentError('x')
            sleep(30)
            ended.append(item)
        finally:
            freed.append(item)
    with Timeout(10):
        with pytest.raises(PermanentError):
            in_parallel(work, range(20), at_once=3)
        assert (ended, sorted(freed)) == ([], [0, 1, 2])
        freed.clear()
        caller: GreenThread = spawn(in_parallel, work, [5, 6, 7])
        sleep(0)
        sleep(0)
        caller.kill()
        while len(freed) < 3:
            sleep(0)
        assert (ended, sorted(freed)) == ([], [5, 6, 7])


def test_one_thing_needs_no_thread() -> None:
    with pytest.raises(KeyError):
        in_parallel(lambda item, stopped: {}[item], ['one'])
