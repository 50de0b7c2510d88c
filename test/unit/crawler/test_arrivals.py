from __future__ import annotations

import pytest

from container_crawler.arrivals import Arrivals, row_seconds
from container_crawler.rows import Row

NOW = 1_700_000_000.0


def row(row_id: int, seconds: float = 0.0) -> Row:
    return Row(row_id, 'o', f'{seconds:016.5f}', 0, '', '', False, 0)


def test_rows_that_came_in_meanwhile_are_due_a_slack_after_their_arrival() -> None:
    arrivals = Arrivals(600.0, 0)
    arrivals.note(1000.0, 5)
    arrivals.note(1300.0, 9)
    assert arrivals.wait(row(5), 1300.0, NOW) == pytest.approx(300, abs=10)
    assert arrivals.wait(row(6), 1300.0, NOW) == pytest.approx(600, abs=10)
    assert arrivals.wait(row(5), 1610.0, NOW) == 0
    assert arrivals.wait(row(6), 1610.0, NOW) > 0
    assert arrivals.wait(row(9), 1911.0, NOW) == 0


@pytest.mark.parametrize('own_time', [0.0, NOW + 10 ** 6])
def test_the_time_in_a_new_row_does_not_matter(own_time: float) -> None:
    arrivals = Arrivals(600.0, 0)
    arrivals.note(1000.0, 1)
    assert arrivals.wait(row(1, own_time), 1100.0, NOW) > 0
    assert arrivals.wait(row(1, own_time), 1611.0, NOW) == 0


def test_rows_from_before_are_judged_by_their_own_time() -> None:
    arrivals = Arrivals(600.0, 3)
    assert arrivals.wait(row(1, NOW - 599), 0.0, NOW) == pytest.approx(1)
    assert arrivals.wait(row(2, NOW - 600), 0.0, NOW) == 0


def test_a_row_from_before_with_a_time_in_the_future_is_due() -> None:
    assert Arrivals(600.0, 3).wait(row(2, NOW + 100_000), 0.0, NOW) == 0


def test_constant_arrivals_are_remembered_in_few_steps_and_do_not_put_off_earlier_ones() -> None:
    arrivals = Arrivals(600.0, 0)
    for second in range(5000):
        arrivals.note(float(second), second + 1)
    assert len(arrivals._samples) < 550
    assert arrivals.wait(row(4300), 5000.0, NOW) == 0
    assert arrivals.wait(row(4500), 5000.0, NOW) == pytest.approx(100, abs=11)
    assert len(arrivals._samples) <= 62


def test_without_slack_everything_is_due_at_once() -> None:
    arrivals = Arrivals(0.0, 0)
    arrivals.note(10.0, 4)
    assert arrivals.wait(row(4), 10.0, NOW) == 0


@pytest.mark.parametrize(('created_at', 'seconds'), [
    ('0000001700.00000', 1700.0), ('0000001700.00000_00000000000000ff', 1700.0),
    ('0000001700.00000+186a0', 1701.0), ('0000001700.00000+186a0+30d40', 1703.0)])
def test_the_newest_time_of_a_row_counts(created_at: str, seconds: float) -> None:
    assert row_seconds(created_at) == seconds
