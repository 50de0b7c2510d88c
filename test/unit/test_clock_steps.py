"""The wall clock is set forward and back: nothing that waits is lost or waits for ever."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from container_crawler.rows import Row
from s3_sync.clock import FakeClock
from s3_sync.engine.outcomes import Outcome
from s3_sync.ledger import Ledger, Work
from s3_sync.remote_health import FIRST_HOLD_SECONDS, TRIP_AFTER, RemoteHealth

YEAR = 365 * 86400.0
ROW = Row(1, 'o', '1700000000.00000', 4, 'text/plain', 'e', False, 0)


class SteppedClock(FakeClock):
    """Its wall clock can be set; the monotonic one cannot."""

    step = 0.0

    def now(self) -> float:
        return super().now() + self.step


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def ledger(clock: SteppedClock, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path), clock=clock) as opened:
        yield opened


def names(ledger: Ledger, clock: SteppedClock) -> list[str]:
    return [work.row.name for work in ledger.due('g', clock.now(), 10)]


def test_failures_noted_under_a_clock_that_ran_ahead_are_due_once_it_is_right(ledger: Ledger,
                                                                              clock: SteppedClock) -> None:
    ledger.fail('g', 'AUTH_a', 'c', ROW, 'connection')
    ledger.fail('g', 'AUTH_a', 'c', ROW._replace(name='given-up'), 'rejected', permanent=True)
    clock.step = YEAR
    ledger.fail('g', 'AUTH_a', 'c', ROW._replace(name='ahead'), 'connection')
    ledger.fail('g', 'AUTH_a', 'd', ROW._replace(name='ahead-too'), 'throttled', retry_after=60)
    clock.step = 0.0
    assert names(ledger, clock) == []
    assert ledger.mend_due_times() == 2
    assert sorted(names(ledger, clock)) == ['ahead', 'ahead-too']
    assert ledger.mend_due_times() == 0
    clock.advance(20)
    assert sorted(names(ledger, clock)) == ['ahead', 'ahead-too', 'o']
    assert ledger.counts() == {('g', 'failed'): 3, ('g', 'permanent'): 1}


def test_deferred_work_keeps_its_time_whatever_the_clock_does(ledger: Ledger, clock: SteppedClock) -> None:
    due = clock.now() + 1000
    clock.step = YEAR
    ledger.record('g', Work('AUTH_a', 'c', ROW, 'deferred', 'copy-after', due=due))
    assert names(ledger, clock) == ['o']
    clock.step = 0.0
    ledger.mend_due_times()
    assert names(ledger, clock) == []
    clock.advance(1000)
    assert names(ledger, clock) == ['o']


@pytest.mark.parametrize('step', [-YEAR, YEAR])
def test_a_held_remote_is_tried_again_in_time_though_the_clock_steps(clock: SteppedClock, step: float) -> None:
    health = RemoteHealth(clock)
    for _ in range(TRIP_AFTER):
        health.note(Outcome('failed', 'connection', 'refused'))
    assert health.tripped and not health.may_try
    clock.step = step
    assert not health.may_try
    clock.advance(FIRST_HOLD_SECONDS)
    assert health.may_try
