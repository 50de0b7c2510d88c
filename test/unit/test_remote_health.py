"""When a mapping is held, for how long, and what lets it go."""
from __future__ import annotations

import pytest

from s3_sync.clock import FakeClock
from s3_sync.engine.outcomes import Outcome
from s3_sync.remote_health import FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS, TRIP_AFTER, RemoteHealth

REFUSED = Outcome('failed', 'connection', 'refused')


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def tripped(clock: FakeClock, outcome: Outcome = REFUSED) -> RemoteHealth:
    health = RemoteHealth(clock)
    for _ in range(TRIP_AFTER):
        health.note(outcome)
    return health


def test_failures_of_single_rows_go_to_the_ledger_however_many(clock: FakeClock) -> None:
    health = tripped(clock, Outcome('failed', 'checksum'))
    assert not health.tripped and not health.note(Outcome('permanent', 'limit'))


def test_one_success_among_the_failures_keeps_the_mapping_going(clock: FakeClock) -> None:
    health = RemoteHealth(clock)
    for number in range(TRIP_AFTER * 3):
        assert not health.note(Outcome('copied') if number % 5 == 0 else REFUSED)
    assert not health.tripped


def test_when_every_row_fails_the_mapping_is_held_and_rows_are_kept(clock: FakeClock) -> None:
    health = tripped(clock)
    assert health.tripped and not health.may_try
    assert health.note(REFUSED), 'this row is not to be filed as failed'
    assert health.reason == 'the remote does not work: connection: refused'


def test_a_cluster_that_cannot_be_read_holds_too_and_is_called_by_its_name(clock: FakeClock) -> None:
    health = tripped(clock, Outcome('failed', 'source-unavailable', 'no replica answers'))
    assert health.reason == 'this cluster cannot be read: source-unavailable: no replica answers'


def test_the_waits_grow_to_an_end_and_start_anew_after_a_success(clock: FakeClock) -> None:
    health, waits = tripped(clock), []
    for _ in range(6):
        began = clock.monotonic()
        while not health.may_try:
            clock.advance(1)
        waits.append(clock.monotonic() - began)
        health.note(REFUSED)
    assert waits == [5, 10, 20, 40, 60, 60]
    assert (waits[0], waits[-1]) == (FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS)
    health.note(Outcome('copied'))
    assert not health.tripped and health.reason == ''


def test_retry_after_of_the_remote_is_honoured(clock: FakeClock) -> None:
    health = tripped(clock, Outcome('failed', 'throttled', 'slow down', due=clock.now() + 300))
    clock.advance(299)
    assert not health.may_try
    clock.advance(1)
    assert health.may_try


def test_a_wall_clock_that_steps_back_does_not_hold_for_ever(clock: FakeClock) -> None:
    """Holds are measured by the monotonic clock; a Retry-After seen from before a step is capped."""
    health = tripped(clock, Outcome('failed', 'throttled', '', due=clock.now() + 10 * 365 * 86400))
    clock.advance(24 * 3600)
    assert health.may_try


def test_no_more_rows_than_a_few_find_out(clock: FakeClock) -> None:
    health = tripped(clock)
    clock.advance(FIRST_HOLD_SECONDS)
    assert health.may_try
    health.tried()
    assert not health.may_try and health.tripped


def test_on_trial_the_first_failure_holds_again(clock: FakeClock) -> None:
    health = tripped(clock)
    clock.advance(FIRST_HOLD_SECONDS)
    health.on_trial()
    assert not health.tripped
    assert health.note(REFUSED) and health.tripped
