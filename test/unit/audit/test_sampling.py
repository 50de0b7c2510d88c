from __future__ import annotations

import pytest

from s3_sync.audit.sampling import Depth, Pick, Sampler


@pytest.mark.parametrize(('text', 'depth'), [
    ('100', Depth(count=100)), ('1', Depth(count=1)), ('1.0', Depth(fraction=1.0)), ('100%', Depth(fraction=1.0)),
    ('0.25', Depth(fraction=0.25)), ('5%', Depth(fraction=0.05))])
def test_a_number_is_objects_and_a_fraction_has_a_point_or_a_percent_sign(text: str, depth: Depth) -> None:
    assert Depth.parse(text) == depth and depth.anything


@pytest.mark.parametrize('text', ['0', '-3', '1.5', '0.0', '101%', 'all', '', '%', 'nan%', '-0.5', '1e3'])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Depth.parse(text)


def test_a_fraction_is_about_that_part_of_all_names_and_the_same_for_one_seed() -> None:
    chosen = [{n for n in range(10_000) if Sampler(Depth(fraction=0.1), seed).wants('c', f'o{n}')}
              for seed in ('one', 'one', 'two')]
    assert chosen[0] == chosen[1] != chosen[2]
    assert 900 < len(chosen[0]) < 1100


def test_a_number_of_names_is_kept_whatever_order_they_come_in() -> None:
    picks = []
    for order in (1, -1):
        sampler = Sampler(Depth(count=7), 'seed')
        for number in range(1000)[::order]:
            sampler.offer(Pick(f'c{number % 3}', None, None), f'o{number}')
        picks.append(sampler.picks())
    assert picks[0] == picks[1] and len(picks[0]) == 7
