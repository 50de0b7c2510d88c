from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from container_crawler.rows import Row
from container_crawler.window import Window


def row(n: int) -> Row:
    return Row(n, f'o{n}', f'{n:010}.00000', 0, '', '', False, 0)


@given(st.data())
def test_the_pointer_is_always_just_below_the_lowest_unfinished_row(data: st.DataObject) -> None:
    """Any interleaving of hand-outs (with gaps), finishing in any order, and withdrawing."""
    window, position, unfinished = Window(0), 0, set[int]()
    for _ in range(data.draw(st.integers(0, 30))):
        step = data.draw(st.sampled_from(['add', 'done', 'twice', 'withdraw']))
        if step == 'add':
            new = data.draw(st.sets(st.integers(position + 1, position + 10), max_size=10))
            position += data.draw(st.integers(10, 15))
            window.add([row(n) for n in sorted(new)], position)
            unfinished |= new
        elif step == 'done' and unfinished:
            number = data.draw(st.sampled_from(sorted(unfinished)))
            assert window.done(number)
            unfinished.discard(number)
        elif step == 'twice':
            number = data.draw(st.integers(0, position + 5))
            assert window.done(number) is (number in unfinished)
            unfinished.discard(number)
        elif step == 'withdraw':
            position = data.draw(st.integers(window.pointer, position))
            assert window.withdraw(position) == len({n for n in unfinished if n > position})
            unfinished = {n for n in unfinished if n <= position}
        assert window.outstanding == len(unfinished)
        assert window.pointer == (min(unfinished) - 1 if unfinished else position)
        assert window.oldest == (row(min(unfinished)).created_at if unfinished else None)
