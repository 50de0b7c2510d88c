from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.lockstep import OutOfOrder, lockstep

Names = st.sets(st.text(st.characters(exclude_categories=['Cs']), max_size=4))


class Item(NamedTuple):
    name: str


def items(names: set[str]) -> list[Item]:
    return [Item(name) for name in sorted(names, key=str.encode)]


@given(Names, Names)
def test_every_name_comes_once_in_byte_order_with_what_each_side_has(left: set[str], right: set[str]) -> None:
    found = list(lockstep(items(left), items(right)))
    names = [(one or other).name for one, other in found]  # type: ignore[union-attr]
    assert names == sorted(left | right, key=str.encode)
    assert {one.name for one, _ in found if one} == left
    assert {other.name for _, other in found if other} == right


@pytest.mark.parametrize('names', [['b', 'a'], ['a', 'a'], ['\U0001f600', '\uffee']])
def test_a_side_that_goes_back_or_repeats_itself_is_an_error(names: list[str]) -> None:
    for sides in ((names, []), (['c'], names)):
        with pytest.raises(OutOfOrder):
            list(lockstep(*(map(Item, side) for side in sides)))
