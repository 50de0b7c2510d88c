"""Bodies of parts and whole objects: exact, rewindable, checked, bounded, closed."""
from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.errors import SegmentChanged, SourceUnavailable
from s3_sync.large_objects.bodies import PartReader, WholeBody
from s3_sync.large_objects.manifest import flatten
from s3_sync.large_objects.model import Layout, Piece, Segment
from s3_sync.large_objects.parts import Part, PartLimits, plan_parts, sequences
from s3_sync.streams import Body, StreamBody
from test.fakes.large_source import MemoryLargeSource, Name, inline, md5, segment

LIMITS = PartLimits(min_bytes=10, max_bytes=100, max_parts=1000, part_bytes=40)


def varied(size: int, seed: int = 0) -> bytes:
    return bytes((i * 7 + seed) % 256 for i in range(size))


def source_of(*sizes: int, chunk_bytes: int = 16) -> MemoryLargeSource:
    held: dict[Name, bytes] = {('c', str(n)): varied(size, n) for n, size in enumerate(sizes)}
    return MemoryLargeSource(held, [segment(held, *name) for name in held], chunk_bytes=chunk_bytes)


def planned(source: MemoryLargeSource, limits: PartLimits = LIMITS) -> tuple[tuple[Part, ...], ...]:
    return sequences(plan_parts(source.layout.pieces, limits))


def read(body: Body) -> bytes:
    chunks = list(body)
    assert all(chunks), 'an empty chunk'
    body.close()
    return b''.join(chunks)


def taken(body: Body, error: type[Exception]) -> int:
    """Bytes that were handed out before ``error``."""
    seen = 0
    with pytest.raises(error):
        for chunk in body:
            seen += len(chunk)
    body.close()
    return seen


# -- one stream -------------------------------------------------------------------------

def test_the_pieces_come_as_one_stream_that_can_be_read_again() -> None:
    source = source_of(50, 1, 300)
    body = WholeBody(source)
    assert body.size == 351
    assert read(body) == read(body) == source.data
    iterator = iter(body)
    for _ in range(4):
        next(iterator)
    body.rewind()
    assert source.reading == 0
    assert read(body) == source.data
    assert (source.reading, source.most_reading) == (0, 1)


def test_inline_data_needs_no_source() -> None:
    source = MemoryLargeSource({}, [inline(b'abc'), inline(varied(1000))])
    assert read(WholeBody(source)) == source.data
    assert source.opened == []


@pytest.mark.parametrize('after', [0, 1, 49, 300])
def test_an_error_of_the_source_goes_through_and_leaves_nothing_open(after: int) -> None:
    source = source_of(50, 301)
    source.broken['c', '1'] = after, SourceUnavailable('the disk went away')
    body = WholeBody(source)
    assert 50 <= taken(body, SourceUnavailable) <= 50 + after
    assert source.reading == 0
    source.broken.clear()
    body.rewind()
    assert read(body) == source.data


def test_a_body_that_is_given_up_is_closed() -> None:
    source = source_of(50)
    body = WholeBody(source)
    next(iter(body))
    assert source.reading == 1
    body.close()
    body.close()
    assert source.reading == 0


class LyingSource:
    """Gives ``given`` bytes whatever is asked for."""

    def __init__(self, given: int, layout: Layout) -> None:
        self.layout = layout
        self.closed = 0
        self._given = given

    def open(self, piece: Piece) -> Body:
        return _Lying(self, self._given)

    def open_run(self, piece: Piece, first: int, length: int) -> Body:
        return _Lying(self, self._given)


class _Lying:
    def __init__(self, source: LyingSource, size: int) -> None:
        self.size = size
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.size):
            yield b'x'
            yield b''

    def rewind(self) -> None:
        pass

    def close(self) -> None:
        self._source.closed += 1


@pytest.mark.parametrize('given', [0, 119, 121, 500])
def test_a_source_of_another_length_is_an_error_and_closed(given: int) -> None:
    layout = source_of(120).layout
    source = LyingSource(given, layout)
    assert taken(WholeBody(source), SourceUnavailable) <= 120
    assert source.closed == 1
    part = plan_parts(layout.pieces, LIMITS)[0]
    assert taken(PartReader(source, (part,)).body(part), SourceUnavailable) < part.size
    assert source.closed == 2


def test_pieces_that_do_not_come_to_the_size_announced_are_an_error() -> None:
    source = source_of(20)
    layout = source.layout
    source.layout = Layout('slo', layout.segments, layout.pieces, layout.etag, 21)
    with pytest.raises(SourceUnavailable):
        read(WholeBody(source))


# -- part by part -----------------------------------------------------------------------

def test_parts_give_the_bytes_in_order_and_tell_their_md5() -> None:
    source = source_of(12, 250, 3, 4, 60)
    found = b''
    for sequence in planned(source):
        reader = PartReader(source, sequence)
        for part in sequence:
            body = reader.body(part)
            assert body.size == part.size
            data = read(body)
            assert len(data) == part.size
            assert body.md5 == md5(data)
            assert part.md5 in ('', md5(data))
            found += data
    assert found == source.data
    assert source.reading == 0


def test_the_md5_is_known_when_the_last_chunk_is_handed_out() -> None:
    source = source_of(250)
    sequence, = planned(source)
    body = PartReader(source, sequence).body(sequence[0])
    iterator = iter(body)
    seen = b''
    while len(seen) < body.size:
        assert body.md5 == ''
        seen += next(iterator)
    assert body.md5 == md5(seen)
    body.close()
    assert source.reading == 0


def test_a_reader_that_stops_at_the_announced_size_goes_on_with_the_next_part() -> None:
    source = source_of(250)
    sequence, = planned(source)
    reader = PartReader(source, sequence)
    found = b''
    for part in sequence:
        body = reader.body(part)
        iterator, data = iter(body), b''
        while len(data) < body.size:
            data += next(iterator)
        body.close()
        found += data
    assert found == source.data


def test_a_part_is_sent_again_without_the_earlier_ones_being_read() -> None:
    source = source_of(250)
    sequence, = planned(source)
    assert len(sequence) == 7
    reader = PartReader(source, sequence)
    found = b''
    for part in sequence:
        body = reader.body(part)
        iterator = iter(body)
        next(iterator)
        body.rewind()
        first = read(body)
        body.rewind()
        assert read(body) == first  # the answer to the first sending was lost
        again = reader.body(part)
        assert read(again) == first
        found += first
    assert found == source.data
    assert len(source.opened) == 4 * len(sequence)
    assert source.reading == 0


def test_parts_are_taken_in_order() -> None:
    source = source_of(250, 30)
    split, alone = planned(source)
    reader = PartReader(source, split)
    with pytest.raises(ValueError):
        reader.body(split[1])
    with pytest.raises(ValueError):
        reader.body(alone[0])
    unread = reader.body(split[0])
    next(iter(unread))
    with pytest.raises(ValueError):
        reader.body(split[1])
    unread.close()
    read(reader.body(split[0]))
    read(reader.body(split[1]))
    with pytest.raises(ValueError):
        reader.body(split[0])


def test_a_skipped_part_tells_its_md5_and_counts_for_the_check() -> None:
    source = source_of(250)
    sequence, = planned(source)
    reader = PartReader(source, sequence)
    at = 0
    for part in sequence[:-1]:
        assert reader.skip(part) == md5(source.data[at:at + part.size])
        at += part.size
    assert read(reader.body(sequence[-1])) == source.data[at:]
    assert source.reading == 0


@pytest.mark.parametrize('changed_at', [0, 100, 249])
def test_a_split_object_that_changed_never_gets_its_last_chunk(changed_at: int) -> None:
    source = source_of(250)
    sequence, = planned(source)
    data = bytearray(source.objects['c', '0'])
    data[changed_at] ^= 1
    source.objects['c', '0'] = bytes(data)
    reader = PartReader(source, sequence)
    for part in sequence[:-1]:
        read(reader.body(part))
    last = reader.body(sequence[-1])
    for _ in range(2):
        assert taken(last, SourceUnavailable) < sequence[-1].size
        last.rewind()
    assert last.md5 == ''
    with pytest.raises(SourceUnavailable):
        reader.skip(sequence[-1])
    assert source.reading == 0


def test_a_split_object_that_changes_between_two_parts_is_noticed() -> None:
    source = source_of(250)
    sequence, = planned(source)
    reader = PartReader(source, sequence)
    for part in sequence[:3]:
        read(reader.body(part))
    source.objects['c', '0'] = varied(250, seed=9)
    for part in sequence[3:-1]:
        read(reader.body(part))
    assert taken(reader.body(sequence[-1]), SourceUnavailable) < sequence[-1].size


def test_a_wrong_split_object_is_noticed_in_a_part_that_goes_on_after_it() -> None:
    limits = PartLimits(min_bytes=10, max_bytes=20, max_parts=6, part_bytes=10)
    source = source_of(13, 13, 13, 13, 13, 13, 13, chunk_bytes=4)
    sequence = planned(source, limits)[0]
    crossing = next(part for part in sequence if len(part.runs) > 1 and part.runs[0].first > 0)
    split = crossing.runs[0].piece
    source.objects[split.container, split.name] = bytes(13)
    reader = PartReader(source, sequence)
    for part in sequence[:sequence.index(crossing)]:
        read(reader.body(part))
    assert taken(reader.body(crossing), SourceUnavailable) < crossing.runs[0].length


def test_one_sequence_may_split_many_objects() -> None:
    limits = PartLimits(min_bytes=10, max_bytes=20, max_parts=6, part_bytes=10)
    source = source_of(13, 13, 13, 13, 13, 13, 13, chunk_bytes=4)
    sequence, = planned(source, limits)
    assert len({run.piece for part in sequence for run in part.runs if not run.whole}) > 1
    reader = PartReader(source, sequence)
    assert b''.join(read(reader.body(part)) for part in sequence) == source.data


@pytest.mark.parametrize('change', [False, True])
def test_a_split_range_is_checked_against_the_whole_object(change: bool) -> None:
    held: dict[Name, bytes] = {('c', 'o'): varied(400)}
    source = MemoryLargeSource(held, [segment(held, 'c', 'o', 10, 300)], chunk_bytes=16)
    sequence, = planned(source)
    reader = PartReader(source, sequence)
    for part in sequence[:-1]:
        read(reader.body(part))
    if change:
        source.objects['c', 'o'] = varied(400, seed=3)
        assert taken(reader.body(sequence[-1]), SegmentChanged) < sequence[-1].size
    else:
        assert read(reader.body(sequence[-1])) == source.data[-sequence[-1].size:]
    assert source.reading == 0


def test_a_range_that_was_read_wrong_is_noticed_though_the_object_is_right() -> None:
    held: dict[Name, bytes] = {('c', 'o'): varied(400)}
    source = MemoryLargeSource(held, [segment(held, 'c', 'o', 10, 300)], chunk_bytes=16)
    sequence, = planned(source)
    reader = PartReader(source, sequence)
    source.objects['c', 'o'] = varied(400, seed=3)
    read(reader.body(sequence[0]))
    source.objects['c', 'o'] = varied(400)
    for part in sequence[1:-1]:
        read(reader.body(part))
    assert taken(reader.body(sequence[-1]), SourceUnavailable) < sequence[-1].size


def test_a_joined_part_checks_every_object_in_it() -> None:
    source = source_of(4, 4, 4, 30)
    sequence = planned(source)[0]
    assert len(sequence[0].runs) == 3
    source.objects['c', '1'] = b'none'
    assert taken(PartReader(source, sequence).body(sequence[0]), SegmentChanged) <= 4
    assert source.reading == 0


def test_inline_data_is_split_like_anything_else() -> None:
    source = MemoryLargeSource({}, [inline(varied(250))])
    sequence, = planned(source)
    reader = PartReader(source, sequence)
    assert b''.join(read(reader.body(part)) for part in sequence) == source.data


def test_nothing_is_opened_before_it_is_read() -> None:
    source = source_of(250)
    sequence, = planned(source)
    PartReader(source, sequence).body(sequence[0])
    WholeBody(source)
    assert source.opened == []


# -- everything -------------------------------------------------------------------------

@st.composite
def sources(draw: st.DrawFn) -> tuple[MemoryLargeSource, PartLimits]:
    lengths = draw(st.lists(st.integers(1, 250), min_size=1, max_size=6))
    held: dict[Name, bytes] = {('c', str(n)): varied(size, n) for n, size in enumerate(lengths)}
    segments: list[Segment] = []
    for n, size in enumerate(lengths):
        first = draw(st.integers(0, size - 1) | st.just(0))
        length = draw(st.integers(1, size - first) | st.just(size - first))
        segments.append(segment(held, 'c', str(n), first, length))
        if draw(st.booleans()):
            segments.append(inline(varied(draw(st.integers(1, 150)), 77)))
    smallest = draw(st.integers(1, 20))
    limits = PartLimits(min_bytes=smallest, max_bytes=draw(st.integers(2 * smallest, 120)),
                        max_parts=draw(st.integers(40, 200)), part_bytes=2 * smallest)
    return MemoryLargeSource(held, segments, chunk_bytes=draw(st.integers(1, 60))), limits


@given(sources(), st.data())
def test_any_layout_is_read_exactly_through_any_retries(drawn: tuple[MemoryLargeSource, PartLimits],
                                                        data: st.DataObject) -> None:
    source, limits = drawn
    if source.layout.size > limits.max_bytes * limits.max_parts:
        return
    found = b''
    for sequence in planned(source, limits):
        reader = PartReader(source, sequence)
        for part in sequence:
            body = reader.body(part)
            for _ in range(data.draw(st.integers(0, 2))):
                iterator = iter(body)
                for _ in range(data.draw(st.integers(0, 8))):
                    with suppress(StopIteration):
                        next(iterator)
                body.rewind()
            if data.draw(st.booleans()):
                assert reader.skip(part) == md5(source.data[len(found):len(found) + part.size])
                body = reader.body(part)
            found += read(body)
            assert source.reading == 0
    assert found == source.data
    assert read(WholeBody(source)) == source.data
    assert flatten(source.layout.segments) == source.layout.pieces


class EndlessSource:
    """One object of any size, made while it is read."""

    def __init__(self, size: int) -> None:
        self._chunk = varied(256 * 1024)
        digest = hashlib.md5(usedforsecurity=False)
        for _ in range(size // len(self._chunk)):
            digest.update(self._chunk)
        one = Segment('c', 'o', digest.hexdigest(), size, 0, size)
        self.layout = Layout('plain', (one,), flatten([one]), one.etag, size)

    def open(self, piece: Piece) -> Body:
        return self.open_run(piece, 0, piece.length)

    def open_run(self, piece: Piece, first: int, length: int) -> Body:
        return StreamBody(lambda: (bytes(self._chunk) for _ in range(length // len(self._chunk))), length)


def test_memory_is_bounded_whatever_the_sizes_of_object_and_parts() -> None:
    mebibyte = 1024 ** 2
    source = EndlessSource(96 * mebibyte)
    sequence, = sequences(plan_parts(source.layout.pieces, PartLimits(
        min_bytes=mebibyte, max_bytes=64 * mebibyte, part_bytes=32 * mebibyte)))
    reader = PartReader(source, sequence)
    tracemalloc.start()
    try:
        for part in sequence:
            body = reader.body(part)
            assert sum(len(chunk) for chunk in body) == part.size
            body.close()
        whole = WholeBody(source)
        assert sum(len(chunk) for chunk in whole) == whole.size
        whole.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * mebibyte
