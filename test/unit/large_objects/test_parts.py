"""Parts hold exactly the pieces, are legal, and cut as little as they can."""
from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s3_sync.large_objects.model import Piece
from s3_sync.large_objects.parts import GIBIBYTE, MEBIBYTE, Part, PartLimits, Run, Uncuttable, plan_parts, sequences

LIMITS = PartLimits(part_bytes=64 * MEBIBYTE)


def pieces(*sizes: int) -> tuple[Piece, ...]:
    return tuple(Piece('c', f'o{n}', f'{n:032x}', size, 0, size) for n, size in enumerate(sizes))


def sizes(parts: tuple[Part, ...]) -> list[int]:
    return [part.size for part in parts]


def joined(parts: tuple[Part, ...]) -> list[list[int]]:
    return [[run.length for run in part.runs] for part in parts]


def check(of: tuple[Piece, ...], parts: tuple[Part, ...], limits: PartLimits) -> None:
    """The simple model: whatever the plan, these hold."""
    found = [(run.piece.name, run.first + at) for part in parts for run in part.runs
             for at in ((0, run.length - 1) if run.length > 1 else (0,))]
    assert found == sorted(found, key=lambda place: (int(place[0][1:]), place[1]))
    covered: dict[str, int] = {}
    for part in parts:
        assert part.size == sum(run.length for run in part.runs)
        for run in part.runs:
            assert run.length > 0
            assert run.first == covered.get(run.piece.name, 0), 'a gap or an overlap'
            covered[run.piece.name] = run.first + run.length
        for one, other in pairwise(part.runs):
            assert one.piece is not other.piece, 'two runs that are one'
        alone = len(part.runs) == 1 and part.runs[0].length == part.runs[0].piece.length
        assert part.md5 == (part.runs[0].piece.md5 if alone else '')
    assert covered == {piece.name: piece.length for piece in of}
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= limits.max_parts
    assert all(part.size <= limits.max_bytes for part in parts)
    assert all(part.size >= limits.min_bytes for part in parts[:-1])


def plan(of: tuple[Piece, ...], limits: PartLimits = LIMITS) -> tuple[Part, ...]:
    parts = plan_parts(of, limits)
    check(of, parts, limits)
    return parts


# -- the boundaries ---------------------------------------------------------------------

def test_no_bytes_need_no_parts() -> None:
    assert plan_parts((), LIMITS) == ()
    assert sequences(()) == ()


@pytest.mark.parametrize('size', [1, 5 * MEBIBYTE - 1, 5 * MEBIBYTE, 5 * GIBIBYTE])
def test_one_piece_is_one_part_whatever_its_size(size: int) -> None:
    of, = pieces(size)
    assert plan((of,)) == (Part(1, (Run(of, 0, size),), size, of.md5),)


def test_legal_segments_are_parts_as_they_are() -> None:
    of = pieces(5 * MEBIBYTE, 5 * GIBIBYTE, 100 * MEBIBYTE, 5 * MEBIBYTE, 1)
    parts = plan(of)
    assert [part.md5 for part in parts] == [piece.md5 for piece in of]


def test_a_piece_above_the_largest_part_is_cut_and_only_it() -> None:
    of = pieces(6 * MEBIBYTE, 5 * GIBIBYTE + 1, 6 * MEBIBYTE)
    parts = plan(of)
    assert parts[0].md5 and parts[-1].md5
    assert all(len(part.runs) == 1 for part in parts)
    assert max(sizes(parts)) <= LIMITS.part_bytes
    assert min(sizes(parts)[1:-1]) > LIMITS.part_bytes // 2, 'no part is a mere rest'


def test_a_single_huge_object_is_cut_at_the_size_wished_for() -> None:
    parts = plan(pieces(6 * GIBIBYTE + 5))
    assert sizes(parts) == [64 * MEBIBYTE] * 96 + [5]


def test_a_huge_object_has_as_large_parts_as_their_number_needs() -> None:
    parts = plan(pieces(5 * 1024 * GIBIBYTE))
    assert len(parts) <= 10_000
    assert max(sizes(parts)) <= 1024 * MEBIBYTE
    assert sizes(plan(pieces(10_000 * 5 * GIBIBYTE))) == [5 * GIBIBYTE] * 10_000


def test_what_no_legal_parts_can_hold_is_refused() -> None:
    for of in (pieces(10_000 * 5 * GIBIBYTE + 1), pieces(*[5 * GIBIBYTE] * 10_000, 1)):
        with pytest.raises(Uncuttable):
            plan_parts(of, LIMITS)
        with pytest.raises(ValueError):
            plan_parts(of, LIMITS)


def test_a_small_segment_in_the_middle_joins_the_next() -> None:
    parts = plan(pieces(6 * MEBIBYTE, 1, 6 * MEBIBYTE, 5 * MEBIBYTE - 1))
    assert joined(parts) == [[6 * MEBIBYTE], [1, 6 * MEBIBYTE], [5 * MEBIBYTE - 1]]


def test_small_segments_join_up_to_the_size_wished_for() -> None:
    parts = plan(pieces(*[MEBIBYTE] * 150))
    assert sizes(parts) == [64 * MEBIBYTE, 64 * MEBIBYTE, 22 * MEBIBYTE]
    assert all(run.whole for part in parts for run in part.runs)


def test_small_segments_do_not_swallow_one_that_can_stand_alone() -> None:
    parts = plan(pieces(*[MEBIBYTE] * 6, 32 * MEBIBYTE, *[MEBIBYTE] * 6))
    assert joined(parts) == [[MEBIBYTE] * 6, [32 * MEBIBYTE], [MEBIBYTE] * 6]
    assert parts[1].md5


def test_a_small_segment_before_one_of_the_largest_size_splits_it() -> None:
    parts = plan(pieces(MEBIBYTE, 5 * GIBIBYTE))
    assert parts[0].runs[0].length == MEBIBYTE
    assert len(sequences(parts)) == 1
    followed = plan(pieces(MEBIBYTE, 5 * GIBIBYTE, 7 * MEBIBYTE))
    assert followed[-1].md5


def test_a_small_segment_before_one_of_the_largest_size_joins_the_one_before_it() -> None:
    parts = plan(pieces(10 * MEBIBYTE, MEBIBYTE, 5 * GIBIBYTE))
    assert joined(parts) == [[10 * MEBIBYTE, MEBIBYTE], [5 * GIBIBYTE]]
    with_huge = plan(pieces(5 * GIBIBYTE + 1, 10 * MEBIBYTE, MEBIBYTE, 5 * GIBIBYTE, 6 * MEBIBYTE))
    assert joined(with_huge)[-3:] == [[10 * MEBIBYTE, MEBIBYTE], [5 * GIBIBYTE], [6 * MEBIBYTE]]


def test_other_neighbours_are_joined_before_anything_is_split() -> None:
    limits = PartLimits(min_bytes=5, max_bytes=10, max_parts=100, part_bytes=5)
    assert joined(plan(pieces(6, 4, 6, 4, 9, 7), limits)) == [[6, 4], [6, 4], [9], [7]]


def test_a_small_segment_between_two_of_the_largest_size_splits_only_one() -> None:
    parts = plan(pieces(5 * GIBIBYTE, MEBIBYTE, 5 * GIBIBYTE, 5 * GIBIBYTE))
    assert parts[0].md5 and parts[-1].md5


def test_one_byte_too_many_joins_the_last_part() -> None:
    parts = plan(pieces(*[32 * MEBIBYTE] * 10_000, 1))
    assert len(parts) == 10_000
    assert joined(parts)[-1] == [32 * MEBIBYTE, 1]
    assert all(part.md5 for part in parts[:-1])


def test_one_segment_too_many_joins_one_pair() -> None:
    parts = plan(pieces(*[32 * MEBIBYTE] * 10_001))
    assert len(parts) == 10_000
    assert sorted(len(part.runs) for part in parts)[-2:] == [1, 2]


def test_many_segments_too_many_are_joined_without_gigantic_parts() -> None:
    parts = plan(pieces(*[8 * MEBIBYTE] * 25_000))
    assert max(sizes(parts)) <= 64 * MEBIBYTE
    assert all(run.whole for part in parts for run in part.runs)


def test_the_smallest_neighbours_are_joined_first() -> None:
    limits = PartLimits(min_bytes=5, max_bytes=100, max_parts=4, part_bytes=20)
    assert joined(plan(pieces(30, 9, 9, 30, 40), limits)) == [[30], [9, 9], [30], [40]]


def test_segments_that_cannot_be_joined_are_cut_evenly_when_they_are_too_many() -> None:
    parts = plan(pieces(*[3 * GIBIBYTE] * 10_001))
    assert len(parts) <= 10_000
    assert max(sizes(parts)) < 3 * GIBIBYTE + MEBIBYTE


def test_hundreds_of_thousands_of_tiny_segments_are_planned() -> None:
    assert len(plan_parts(pieces(*[1000] * 200_000), LIMITS)) == 3


@pytest.mark.parametrize('bad', [
    {'min_bytes': 0}, {'min_bytes': 10, 'part_bytes': 9}, {'part_bytes': 6 * GIBIBYTE}, {'max_parts': 0},
    {'min_bytes': 3, 'part_bytes': 4, 'max_bytes': 5}])
def test_limits_that_leave_no_choice_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        PartLimits(**bad)


# -- sequences --------------------------------------------------------------------------

def test_parts_that_share_a_split_piece_are_one_sequence() -> None:
    limits = PartLimits(min_bytes=5, max_bytes=20, max_parts=100, part_bytes=10)
    parts = plan(pieces(7, 25, 8, 30, 6), limits)
    numbers = [[part.number for part in sequence] for sequence in sequences(parts)]
    assert numbers == [[1], [2, 3, 4], [5], [6, 7, 8], [9]]


# -- everything -------------------------------------------------------------------------

@st.composite
def limits_and_sizes(draw: st.DrawFn) -> tuple[PartLimits, list[int]]:
    smallest = draw(st.integers(1, 10))
    largest = draw(st.integers(2 * smallest, 60))
    limits = PartLimits(min_bytes=smallest, max_bytes=largest, max_parts=draw(st.integers(1, 12)),
                        part_bytes=draw(st.integers(smallest, largest)))
    return limits, draw(st.lists(st.integers(1, 3 * largest), max_size=15))


@given(limits_and_sizes())
def test_any_pieces_get_legal_parts_or_there_are_none(drawn: tuple[PartLimits, list[int]]) -> None:
    limits, lengths = drawn
    if sum(lengths) > limits.max_parts * limits.max_bytes:
        with pytest.raises(Uncuttable):
            plan_parts(pieces(*lengths), limits)
        return
    parts = plan(pieces(*lengths), limits)
    assert [part for sequence in sequences(parts) for part in sequence] == list(parts)
    for sequence in sequences(parts):
        assert sequence[0].runs[0].first == 0
        assert sequence[-1].runs[-1].last
        assert all(part.runs[0].first > 0 for part in sequence[1:])


@given(limits_and_sizes())
def test_legal_pieces_stay_one_to_one(drawn: tuple[PartLimits, list[int]]) -> None:
    limits, lengths = drawn
    fitting = [limits.min_bytes + size % (limits.max_bytes - limits.min_bytes + 1) for size in lengths]
    fitting = fitting[:limits.max_parts]
    if fitting:
        fitting[-1] = min(fitting[-1], lengths[len(fitting) - 1])
    assert joined(plan(pieces(*fitting), limits)) == [[size] for size in fitting]


@given(limits_and_sizes())
def test_nothing_is_split_when_whole_pieces_would_do(drawn: tuple[PartLimits, list[int]]) -> None:
    limits, lengths = drawn
    limits = PartLimits(limits.min_bytes, limits.max_bytes, 1000, limits.part_bytes)
    lengths = [size % limits.max_bytes + 1 for size in lengths][:9]
    assume(lengths)
    parts = plan(pieces(*lengths), limits)
    if any(_legal(lengths, cuts, limits) for cuts in product((False, True), repeat=len(lengths) - 1)):
        assert all(run.whole for part in parts for run in part.runs)


def _legal(lengths: list[int], cuts: tuple[bool, ...], limits: PartLimits) -> bool:
    groups = [lengths[0]]
    for size, cut in zip(lengths[1:], cuts, strict=True):
        if cut:
            groups.append(size)
        else:
            groups[-1] += size
    return (all(size <= limits.max_bytes for size in groups)
            and all(size >= limits.min_bytes for size in groups[:-1]))


@given(limits_and_sizes())
def test_joining_stays_near_the_size_wished_for(drawn: tuple[PartLimits, list[int]]) -> None:
    """As long as the number of parts leaves a choice, nothing is joined beyond it that would be legal without."""
    limits, lengths = drawn
    limits = PartLimits(limits.min_bytes, limits.max_bytes, 1000, limits.part_bytes)
    for part in plan(pieces(*lengths), limits):
        if part.size > limits.part_bytes and len(part.runs) > 1 and all(run.whole for run in part.runs):
            largest = max(run.length for run in part.runs)
            assert part.size - largest < 2 * limits.part_bytes
