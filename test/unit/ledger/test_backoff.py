from __future__ import annotations

import pytest

from s3_sync.ledger import Backoff


def test_delays_double_from_ten_seconds_to_an_hour():
    backoff = Backoff(draw=lambda: 1.0)
    assert [backoff.delay(n) for n in range(1, 11)] == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]


def test_any_number_of_attempts_stays_at_the_cap():
    assert Backoff(draw=lambda: 1.0).delay(10 ** 9) == 3600


def test_jitter_takes_away_at_most_half():
    assert Backoff(draw=lambda: 0.0).delay(3) == 20
    assert Backoff(draw=lambda: 0.5).delay(3) == 30


@pytest.mark.parametrize('draw', [0.0, 0.5, 1.0])
def test_nothing_comes_back_before_the_remote_asked_for(draw):
    assert 120 <= Backoff(draw=lambda: draw).delay(1, retry_after=120) <= 130


def test_those_told_the_same_moment_spread_out():
    draws = iter([0.1, 0.1, 0.9, 0.9])
    backoff = Backoff(draw=lambda: next(draws))
    assert backoff.delay(1, retry_after=60) != backoff.delay(1, retry_after=60)


def test_a_short_retry_after_does_not_shorten_the_backoff():
    assert Backoff(draw=lambda: 1.0).delay(6, retry_after=1) == 320


@pytest.mark.parametrize('asked', [0, -5])
def test_a_senseless_retry_after_counts_as_none(asked):
    assert Backoff(draw=lambda: 1.0).delay(1, retry_after=asked) == 10


def test_a_hostile_retry_after_ends_after_a_day():
    assert Backoff(draw=lambda: 0.0).delay(1, retry_after=1e12) == 86400
