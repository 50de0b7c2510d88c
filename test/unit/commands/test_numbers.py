from __future__ import annotations

import pytest

from s3_sync.commands.numbers import count, duration, iso, size, until


@pytest.mark.parametrize('number, text', [
    (0, '0 B'), (1023, '1023 B'), (1536, '1.5 KiB'), (5 * 2 ** 30, '5.0 GiB'), (2 ** 70, '1048576.0 PiB')])
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize('seconds, text', [
    (0, '0 s'), (59.6, '1 min'), (61, '1 min 1 s'), (3600, '1 h'), (3660, '1 h 1 min'), (90061, '1 d 1 h'),
    (86400 + 60, '1 d')])
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_have_their_noun() -> None:
    assert [count(n, 'row') for n in (0, 1, 1200)] == ['0 rows', '1 row', '1,200 rows']


def test_times() -> None:
    assert until(10, 10) == 'now'
    assert until(70, 10) == 'in 1 min'
    assert iso(1_700_000_000.5) == '2023-11-14T22:13:20.500Z'
    assert iso(None) is None
