"""Selection criteria: which objects a mapping means.

A criterion is an object with exactly one key:

- ``AND`` / ``OR``: a list of criteria; ``NOT``: one criterion.
- ``SIZE``: ``{min, max}``, bytes or text such as ``10MiB``; both ends included.
- ``AGE``: ``{min, max}``, seconds or text such as ``30d``, since the object's newest time; at least ``min``,
  less than ``max``.
- ``NAME``: ``{glob: PATTERN}``, ``{glob: [PATTERN, ...]}`` or a list of patterns; one of them must fit the whole
  name. ``*`` fits any text, ``/`` included; case counts.
- Any other key is the name of a response header, and its value the text that the header must be equal to. Names and
  values are compared without regard to case, in any script. A header that is not there matches nothing.

``{}`` matches everything. The six operators are upper case and only upper case, so no header is lost to them: header
names know no case, and a header called "Age" is written ``Age`` or ``age``.
"""
from __future__ import annotations

import fnmatch
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from s3_sync.types import ObjectMeta
from s3_sync.wire.swift_headers import USER_PREFIX
from s3_sync.wire.units import parse_seconds, parse_size

MAX_DEPTH = 50
OPERATORS = ('AND', 'OR', 'NOT', 'SIZE', 'AGE', 'NAME')


class CriteriaError(ValueError):
    """Criteria that mean nothing; ``path`` leads to the place, for example ``AND[1].SIZE``."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f'{path}: {message}' if path else message)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one evaluation looks at. ``headers_known`` False: only name, size and age are."""

    meta: ObjectMeta
    age_base: float
    now: float
    headers_known: bool


class _Node(ABC):
    """Part of a criterion. Truth has three values: None means that the headers would have to be known."""

    __slots__ = ()

    @abstractmethod
    def test(self, facts: _Facts) -> bool | None:
        """Whether the object matches at ``facts.now``."""

    @abstractmethod
    def canonical(self) -> list[Any]:
        """The same text for the same meaning, as JSON values."""

    def parts(self) -> Iterator[_Node]:
        yield self


@dataclass(frozen=True, slots=True)
class _All(_Node):
    nodes: tuple[_Node, ...]

    def test(self, facts: _Facts) -> bool | None:
        return _all_of(node.test(facts) for node in self.nodes)

    def canonical(self) -> list[Any]:
        return ['AND', *(node.canonical() for node in self.nodes)]

    def parts(self) -> Iterator[_Node]:
        for node in self.nodes:
            yield from node.parts()


@dataclass(frozen=True, slots=True)
class _Any(_Node):
    nodes: tuple[_Node, ...]

    def test(self, facts: _Facts) -> bool | None:
        return _negate(_all_of(_negate(node.test(facts)) for node in self.nodes))

    def canonical(self) -> list[Any]:
        return ['OR', *(node.canonical() for node in self.nodes)]

    def parts(self) -> Iterator[_Node]:
        for node in self.nodes:
            yield from node.parts()


@dataclass(frozen=True, slots=True)
class _Not(_Node):
    node: _Node

    def test(self, facts: _Facts) -> bool | None:
        return _negate(self.node.test(facts))

    def canonical(self) -> list[Any]:
        return ['NOT', self.node.canonical()]

    def parts(self) -> Iterator[_Node]:
        yield from self.node.parts()


@dataclass(frozen=True, slots=True)
class _Size(_Node):
    min: int | None
    max: int | None

    def test(self, facts: _Facts) -> bool:
        size = facts.meta.size
        return (self.min is None or size >= self.min) and (self.max is None or size <= self.max)

    def canonical(self) -> list[Any]:
        return ['SIZE', self.min, self.max]


@dataclass(frozen=True, slots=True)
class _Age(_Node):
    min: float | None
    max: float | None

    def test(self, facts: _Facts) -> bool:
        # Compared with the very sums that next_match_time offers, so that no rounding lies between the two.
        return ((self.min is None or facts.now >= facts.age_base + self.min)
                and (self.max is None or facts.now < facts.age_base + self.max))

    def turns(self, age_base: float) -> Iterator[float]:
        """The moments at which the answer changes."""
        for bound in (self.min, self.max):
            if bound is not None:
                yield age_base + bound

    def canonical(self) -> list[Any]:
        return ['AGE', self.min, self.max]


@dataclass(frozen=True, slots=True)
class _Name(_Node):
    globs: tuple[str, ...]
    pattern: re.Pattern[str]

    def test(self, facts: _Facts) -> bool:
        return self.pattern.match(facts.meta.name) is not None

    def canonical(self) -> list[Any]:
        return ['NAME', *sorted(set(self.globs))]


@dataclass(frozen=True, slots=True)
class _Header(_Node):
    name: str
    """Folded."""
    value: str
    """Folded."""

    def test(self, facts: _Facts) -> bool | None:
        if not facts.headers_known:
            return None
        found = _find_header(facts.meta, self.name)
        return found is not None and fold(found) == self.value

    def canonical(self) -> list[Any]:
        return ['HEADER', self.name, self.value]


@dataclass(frozen=True, slots=True)
class Criteria:
    """Parsed selection criteria; see the module docstring. Picklable, compared by meaning of the text."""

    node: _Node | None

    @property
    def needs_headers(self) -> bool:
        """False when name, size and age of the row say everything."""
        return self.node is not None and any(isinstance(part, _Header) for part in self.node.parts())

    def matches(self, meta: ObjectMeta, *, newest_time: float, now: float) -> bool:
        """Whether the object is selected. ``meta.size`` is the logical size; times are Unix seconds."""
        return self.node is None or self.node.test(_Facts(meta, newest_time, now, True)) is True

    def may_match(self, meta: ObjectMeta, *, newest_time: float, now: float) -> bool:
        """False when name, size and age alone exclude the object, whatever its headers are."""
        return self.node is None or self.node.test(_Facts(meta, newest_time, now, False)) is not False

    def next_match_time(self, meta: ObjectMeta, *, newest_time: float, now: float,
                        headers_known: bool = True) -> float | None:
        """The earliest time from ``now`` on at which the unchanged object matches; None: never.

        With ``headers_known`` False: at which it may match.
        """
        if self.node is None:
            return now
        turns = {t for part in self.node.parts() if isinstance(part, _Age) for t in part.turns(newest_time)}
        for when in [now, *sorted(t for t in turns if t > now)]:
            verdict = self.node.test(_Facts(meta, newest_time, when, headers_known))
            if verdict or (verdict is None and not headers_known):
                return when
        return None

    def canonical(self) -> list[Any]:
        """JSON values that are equal for criteria written differently but meaning the same by spelling."""
        return [] if self.node is None else self.node.canonical()


EVERYTHING = Criteria(None)


def parse_criteria(raw: object) -> Criteria:
    """Criteria from a file's value. CriteriaError (a ValueError) names the place and what is wrong there."""
    if raw == {}:
        return EVERYTHING
    return Criteria(_parse(raw, '', 0))


def fold(text: str) -> str:
    """Canonical caseless form of Unicode (definition D145)."""
    return unicodedata.normalize('NFD', unicodedata.normalize('NFD', text).casefold())


def _negate(value: bool | None) -> bool | None:
    return None if value is None else not value


def _all_of(values: Iterator[bool | None]) -> bool | None:
    result: bool | None = True
    for value in values:
        if value is False:
            return False
        if value is None:
            result = None
    return result


def _find_header(meta: ObjectMeta, name: str) -> str | None:
    if name.startswith(USER_PREFIX):
        short = name[len(USER_PREFIX):]
        return next((v for k, v in meta.user_metadata.items() if fold(k) == short), None)
    found = _FROM_FIELDS[name](meta) if name in _FROM_FIELDS else None
    return meta.sysmeta.get(name, meta.headers.get(name)) if found is None else found


_FROM_FIELDS: dict[str, Callable[[ObjectMeta], str | None]] = {
    'content-type': lambda meta: meta.content_type,
    'etag': lambda meta: meta.etag or None,
    'content-length': lambda meta: str(meta.size),
    'x-delete-at': lambda meta: None if meta.delete_at is None else str(meta.delete_at),
}
"""Headers that are fields first: readers of disks have nothing else, and an ETag header may stand in quotes."""


# -- parsing ----------------------------------------------------------------------------

def _parse(raw: object, path: str, depth: int) -> _Node:
    if depth > MAX_DEPTH:
        raise CriteriaError(path, f'nested deeper than {MAX_DEPTH}')
    if not isinstance(raw, dict):
        raise CriteriaError(path, 'must be an object with exactly one key')
    if len(raw) != 1:
        raise CriteriaError(path, f'must have exactly one key, not {len(raw)}; join several with AND or OR')
    (key, value), = raw.items()
    if not isinstance(key, str) or not key:
        raise CriteriaError(path, 'a header name must be text')
    here = f'{path}.{key}' if path else key
    if key in ('AND', 'OR'):
        return _parse_list(key, value, here, depth)
    if key == 'NOT':
        return _Not(_parse(value, here, depth + 1))
    if key == 'SIZE':
        low, high = _parse_range(value, here, parse_size)
        return _Size(low, high)
    if key == 'AGE':
        young, old = _parse_range(value, here, parse_seconds)
        return _Age(young, old)
    if key == 'NAME':
        return _parse_name(value, here)
    return _parse_header(key, value, here)


def _parse_list(key: str, value: object, path: str, depth: int) -> _Node:
    if not isinstance(value, (list, tuple)) or not value:
        raise CriteriaError(path, 'must be a list with at least one criterion')
    nodes = tuple(_parse(item, f'{path}[{n}]', depth + 1) for n, item in enumerate(value))
    return _All(nodes) if key == 'AND' else _Any(nodes)


def _parse_range(value: object, path: str, convert: Any) -> tuple[Any, Any]:
    if not isinstance(value, dict) or not value or not value.keys() <= {'min', 'max'}:
        raise CriteriaError(path, f'must be an object with min, max or both (for a header of this name write '
                                  f'{path.rpartition(".")[2].lower()!r})')
    bounds: dict[str, Any] = {}
    for end, bound in value.items():
        try:
            bounds[end] = convert(bound)
        except ValueError as err:
            raise CriteriaError(f'{path}.{end}', str(err)) from None
    low, high = bounds.get('min'), bounds.get('max')
    if low is not None and high is not None and low > high:
        raise CriteriaError(path, 'min is greater than max, so nothing would match')
    return low, high


def _parse_name(value: object, path: str) -> _Node:
    globs: object = value
    if isinstance(value, dict):
        if value.keys() != {'glob'}:
            raise CriteriaError(path, 'must be {glob: PATTERN}')
        globs = value['glob']
        if isinstance(globs, str):
            globs = [globs]
    if not isinstance(globs, (list, tuple)) or not globs or not all(isinstance(g, str) and g for g in globs):
        raise CriteriaError(path, 'must be {glob: PATTERN}, {glob: [PATTERN, ...]} or a list of patterns')
    pattern = re.compile('|'.join(fnmatch.translate(glob) for glob in globs))
    return _Name(tuple(globs), pattern)


def _parse_header(key: str, value: object, path: str) -> _Node:
    if key.upper() in OPERATORS and not isinstance(value, str):
        raise CriteriaError(path, f'operators are upper case: write {key.upper()}')
    if not isinstance(value, str):
        raise CriteriaError(path, 'the value of a header must be text (in quotes)')
    return _Header(fold(key.strip()), fold(value))
