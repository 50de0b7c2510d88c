"""Which entries an operator means: a generation, a kind, one path, or a path's beginning.

Ranges instead of LIKE or GLOB: names hold every byte, NUL and wildcards
included, and ranges use the index.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from s3_sync.ledger.values import FAILURES, KINDS, Kind

_SURROGATES = (0xd800, 0xdfff)


@dataclass(slots=True)
class Selection:
    """SQL conditions on ``place`` and ``work`` with their parameters."""

    place: list[str] = field(default_factory=list)
    place_params: list[str | int] = field(default_factory=list)
    work: list[str] = field(default_factory=list)
    work_params: list[str | int] = field(default_factory=list)

    def place_is(self, column: str, value: str) -> None:
        self.place.append(f'place.{column} = ?')
        self.place_params.append(value)

    def place_starts(self, column: str, prefix: str) -> None:
        conditions, params = _starts(f'place.{column}', prefix)
        self.place += conditions
        self.place_params += params


def select(generation: str | None, kind: Kind | None, path: str | None, path_prefix: str | None) -> Selection:
    """``path``: ``account[/container[/object]]``, exactly; ``path_prefix``: any beginning of such a path.

    ``kind`` None means what is a failure: not what is merely deferred.
    """
    chosen = Selection()
    if generation is not None:
        chosen.place_is('generation', generation)
    kinds: Sequence[Kind] = FAILURES if kind is None else (kind,)
    chosen.work.append(f'work.kind IN ({", ".join("?" * len(kinds))})')
    chosen.work_params += [KINDS.index(each) for each in kinds]
    chosen.place.append('(' + ' + '.join(f'place.{each}' for each in kinds) + ') > 0')
    if path is not None:
        parts = path.split('/', 2)
        for column, value in zip(('account', 'container'), parts, strict=False):
            chosen.place_is(column, value)
        if len(parts) == 3:
            chosen.work.append('work.name = ?')
            chosen.work_params.append(parts[2])
    if path_prefix:
        *whole, start = path_prefix.split('/', 2)
        for column, value in zip(('account', 'container'), whole, strict=False):
            chosen.place_is(column, value)
        if len(whole) < 2:
            chosen.place_starts(('account', 'container')[len(whole)], start)
        else:
            conditions, params = _starts('work.name', start)
            chosen.work += conditions
            chosen.work_params += params
    return chosen


def _starts(column: str, prefix: str) -> tuple[list[str], list[str]]:
    if not prefix:
        return [], []
    end = _after(prefix)
    if end is None:
        return [f'{column} >= ?'], [prefix]
    return [f'{column} >= ?', f'{column} < ?'], [prefix, end]


def _after(prefix: str) -> str | None:
    """The least string greater than all that start so (UTF-8 byte order), None when there is none."""
    while prefix:
        point = ord(prefix[-1]) + 1
        if point == _SURROGATES[0]:
            point = _SURROGATES[1] + 1
        if point <= 0x10ffff:
            return prefix[:-1] + chr(point)
        prefix = prefix[:-1]
    return None
