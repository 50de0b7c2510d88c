"""Restores apart from clients: bounded, counted, and over within seconds."""
from __future__ import annotations

import logging

import pytest

from s3_sync.clock import SystemClock
from s3_sync.concurrency import Event, sleep
from s3_sync.errors import ConnectionFailed
from s3_sync.restoring.background import BackgroundRestores, Stop
from s3_sync.restoring.sources import Abandoned, RangeSource
from s3_sync.restoring.writer import Outcome

RESTORED = Outcome('restored')


def pool(**options: int) -> BackgroundRestores:
    return BackgroundRestores(clock=SystemClock(), logger=logging.getLogger('expected'), **options)


def test_jobs_are_done_and_their_ends_told() -> None:
    ended: list[Outcome] = []
    jobs = pool()
    assert all(jobs.submit(lambda stop: RESTORED, ended.append) for _ in range(10))
    sleep(0)
    sleep(0)
    assert ended == [RESTORED] * 10
    jobs.close()


def test_no_more_than_a_few_run_at_once() -> None:
    running, most = [0], [0]

    def job(stop: Stop) -> Outcome:
        running[0] += 1
        most[0] = max(most[0], running[0])
        sleep(0)
        running[0] -= 1
        return RESTORED
    ended: list[Outcome] = []
    jobs = pool(concurrency=3)
    for _ in range(12):
        jobs.submit(job, ended.append)
    while len(ended) < 12:
        sleep(0)
    assert most == [3]
    jobs.close()


def test_what_finds_no_place_is_dropped_and_counted() -> None:
    gate = Event()
    jobs = pool(concurrency=1, queued=2)
    ended: list[Outcome] = []

    def job(stop: Stop) -> Outcome:
        gate.wait()
        return RESTORED
    jobs.submit(job, ended.append)
    sleep(0)
    assert [jobs.submit(job, ended.append) for _ in range(4)] == [True, True, False, False]
    assert jobs.dropped == 2
    gate.send()
    while len(ended) < 3:
        sleep(0)
    jobs.close()


@pytest.mark.parametrize(('error', 'reason'), [(RuntimeError('x'), 'error'), (ConnectionFailed('x'), 'connection')])
def test_a_job_that_fails_ends_nothing_else(error: Exception, reason: str) -> None:
    ended: list[Outcome] = []

    def job(stop: Stop) -> Outcome:
        raise error
    jobs = pool(concurrency=1)
    jobs.submit(job, ended.append)
    jobs.submit(lambda stop: RESTORED, ended.append)
    sleep(0)
    sleep(0)
    assert [outcome.reason for outcome in ended] == [reason, '']
    jobs.close()


def test_closing_ends_what_runs_what_waits_and_what_comes() -> None:
    ended: list[Outcome] = []

    def endless(stop: Stop) -> Outcome:
        source = RangeSource(lambda first: iter(lambda: b'x', b''), stop.check)
        try:
            for _ in source.read(0, 10 ** 9):
                sleep(0)
        except Abandoned as error:
            return Outcome('failed', error.reason)
        return RESTORED

    def stuck(stop: Stop) -> Outcome:
        Event().wait()
        return RESTORED
    jobs = pool(concurrency=2)
    for job in (endless, stuck, endless):
        jobs.submit(job, ended.append)
    sleep(0)
    jobs.close(seconds=0.05)
    assert [outcome.reason for outcome in ended] == ['stopping'] * 3
    assert not jobs.submit(endless)
