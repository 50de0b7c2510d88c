"""How pieces are cut and joined into the parts of a multipart upload.

Segments of an SLO rarely break S3's rules, and a segment sent as a part of its
own keeps its known MD5; so they stay one to one wherever that is legal. What is
too small is joined with its neighbours, what is too large, or cannot be
joined within the largest part, is split. Too many parts are joined, the
smallest first; where that does not help, the whole is cut evenly. Everything is
linear in the number of pieces (times a logarithm).
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from s3_sync.large_objects.model import Piece

MEBIBYTE = 1024 ** 2
GIBIBYTE = 1024 ** 3


class Uncuttable(ValueError):
    """No legal parts hold this much data."""


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What the target takes, in bytes. The last part may be smaller than ``min_bytes``."""

    min_bytes: int = 5 * MEBIBYTE
    max_bytes: int = 5 * GIBIBYTE
    max_parts: int = 10_000
    part_bytes: int = 64 * MEBIBYTE
    """The size wished for where pieces have to be split or small ones joined."""

    def __post_init__(self) -> None:
        if not (1 <= self.min_bytes <= self.part_bytes <= self.max_bytes and 2 * self.min_bytes <= self.max_bytes
                and self.max_parts >= 1):
            raise ValueError(f'these limits leave nothing to choose from: {self}')


LIMITS = PartLimits()


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of one piece. ``first`` is counted from the beginning of the piece."""

    piece: Piece
    first: int
    length: int

    @property
    def whole(self) -> bool:
        """The whole piece (which may itself be a range of an object)."""
        return self.length == self.piece.length

    @property
    def last(self) -> bool:
        """The piece ends with this run."""
        return self.first + self.length == self.piece.length


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart upload."""

    number: int
    """From 1."""
    runs: tuple[Run, ...]
    size: int
    md5: str = ''
    """Hex; '' unless the part is exactly one whole piece whose MD5 is known."""


def plan_parts(pieces: Sequence[Piece], limits: PartLimits = LIMITS) -> tuple[Part, ...]:
    """Legal parts that give exactly the bytes of ``pieces``, in order; none for no bytes. Uncuttable if impossible."""
    total = sum(piece.length for piece in pieces)
    if total > limits.max_parts * limits.max_bytes:
        raise Uncuttable(f'{total} bytes are more than {limits.max_parts} parts of {limits.max_bytes} bytes')
    wished = limits.part_bytes
    must_split = sum(piece.length for piece in pieces if piece.length > limits.max_bytes)
    while must_split > wished * limits.max_parts:
        wished *= 2
    wished = min(wished, limits.max_bytes)
    while True:
        groups = _merged(_legal(pieces, limits, wished), limits.max_parts, wished)
        if len(groups) <= limits.max_parts:
            break
        if wished == limits.max_bytes:
            # Whole pieces do not fit together: even cuts, wherever they fall.
            groups = _evenly(pieces, max(limits.min_bytes, -(-total // limits.max_parts)))
            break
        wished = min(2 * wished, limits.max_bytes)
    return tuple(_part(number, group) for number, group in enumerate(groups, 1))


def sequences(parts: Sequence[Part]) -> tuple[tuple[Part, ...], ...]:
    """The parts in runs that one reader must read in order, because a piece is split between them."""
    found: list[list[Part]] = []
    for part in parts:
        if found and part.runs[0].first > 0:
            found[-1].append(part)
        else:
            found.append([part])
    return tuple(tuple(sequence) for sequence in found)


class _Group:
    """A part in the making."""

    __slots__ = ('runs', 'size')

    def __init__(self, runs: Sequence[Run] = ()) -> None:
        self.runs = list(runs)
        self.size = sum(run.length for run in self.runs)

    def add(self, run: Run) -> None:
        self.runs.append(run)
        self.size += run.length

    def take(self, other: _Group) -> None:
        self.runs += other.runs
        self.size += other.size


def _legal(pieces: Sequence[Piece], limits: PartLimits, wished: int) -> list[_Group]:
    """Parts of legal sizes, however many; pieces are split only where no legal parts of whole ones exist."""
    groups = _grouped(pieces, limits, wished)
    if any(not run.whole for group in groups for run in group.runs):
        if all(piece.length <= limits.max_bytes for piece in pieces):
            return _whole(pieces, limits) or groups
    return groups


def _grouped(pieces: Sequence[Piece], limits: PartLimits, wished: int) -> list[_Group]:
    """Pieces alone where they may be, small ones joined up to ``wished`` bytes; looks no further than a neighbour."""
    groups: list[_Group] = []
    small = _Group()  # pieces too small to stand alone, gathered
    for index, piece in enumerate(pieces):
        run = Run(piece, 0, piece.length)
        alone = piece.length >= limits.min_bytes
        if small.size >= limits.min_bytes and (alone or small.size + piece.length > wished):
            groups.append(small)
            small = _Group()
        if small.size + piece.length > limits.max_bytes and small.size:
            # The gathered rest is too small, and the next piece too large to take it: the part before may.
            if groups and groups[-1].size + small.size <= limits.max_bytes:
                groups[-1].take(small)
                small = _Group()
        if small.size + piece.length > limits.max_bytes:
            groups += _split(small, piece, limits, wished, last=index == len(pieces) - 1)
            small = _Group()
            continue
        small.add(run)
        if alone:
            groups.append(small)
            small = _Group()
    if small.size:
        groups.append(small)
    return groups


def _split(head: _Group, piece: Piece, limits: PartLimits, wished: int, *, last: bool) -> Iterator[_Group]:
    """``piece``, with what is to go before it, in equal parts of at most ``wished`` bytes; all legal.

    At the end of the object all parts but the last are of exactly ``wished``
    bytes, as other tools (and some stores) would have it.
    """
    total = head.size + piece.length
    if last:
        sizes = [wished] * (total // wished) + [total % wished] * bool(total % wished)
    else:
        count = min(-(-total // wished), total // limits.min_bytes)
        sizes = [total // count + (index < total % count) for index in range(count)]
    at = 0
    group = head
    for size in sizes:
        length = size - group.size
        group.add(Run(piece, at, length))
        at += length
        yield group
        group = _Group()


def _whole(pieces: Sequence[Piece], limits: PartLimits) -> list[_Group] | None:
    """Legal parts of whole pieces, each as small as the others let it be; None when there are none."""
    ends = [0, *accumulate(piece.length for piece in pieces)]
    begins = [0] * len(ends)  # of the part that ends here
    nearest = [0] * len(ends)  # the last place up to here where a part may end
    candidate = -1
    for end in range(1, len(ends)):
        at_least = limits.min_bytes if end < len(pieces) else 1
        while ends[end] - ends[candidate + 1] >= at_least:
            candidate += 1
        begin = nearest[candidate] if candidate >= 0 else -1
        legal = begin >= 0 and ends[end] - ends[begin] <= limits.max_bytes
        begins[end] = begin if legal else -1
        nearest[end] = end if legal else nearest[end - 1]
    groups: list[_Group] = []
    end = len(pieces)
    while end:
        if begins[end] < 0:
            return None
        groups.append(_Group([Run(piece, 0, piece.length) for piece in pieces[begins[end]:end]]))
        end = begins[end]
    return groups[::-1]


def _merged(groups: list[_Group], max_parts: int, largest: int) -> list[_Group]:
    """Neighbours joined, the smallest first and up to ``largest`` bytes, until they are few enough or none is left."""
    while len(groups) > max_parts:
        excess = len(groups) - max_parts
        taken: set[int] = set()
        joined: set[int] = set()
        sizes = [a.size + b.size for a, b in zip(groups, groups[1:], strict=False)]
        for index in sorted(range(len(sizes)), key=sizes.__getitem__):
            if len(joined) == excess or sizes[index] > largest:
                break
            if index not in taken and index + 1 not in taken:
                taken |= {index, index + 1}
                joined.add(index)
        if not joined:
            return groups
        for index in joined:
            groups[index].take(groups[index + 1])
        groups = [group for index, group in enumerate(groups) if index - 1 not in joined]
    return groups


def _evenly(pieces: Sequence[Piece], size: int) -> list[_Group]:
    """Parts of exactly ``size`` bytes, the last of what is left."""
    groups: list[_Group] = []
    group = _Group()
    for piece in pieces:
        at = 0
        while at < piece.length:
            length = min(piece.length - at, size - group.size)
            group.add(Run(piece, at, length))
            at += length
            if group.size == size:
                groups.append(group)
                group = _Group()
    if group.size:
        groups.append(group)
    return groups


def _part(number: int, group: _Group) -> Part:
    runs = _seamless(group.runs)
    md5 = runs[0].piece.md5 if len(runs) == 1 and runs[0].whole else ''
    return Part(number, runs, group.size, md5)


def _seamless(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Runs of one piece that follow each other (parts of a split piece, joined again) as one run."""
    found: list[Run] = []
    for run in runs:
        if found and run.first > 0:
            found[-1] = Run(run.piece, found[-1].first, found[-1].length + run.length)
        else:
            found.append(run)
    return tuple(found)
