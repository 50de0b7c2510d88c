"""Two sorted streams of names as one: the merge that every comparison of two sides is made of (DESIGN 4.1).

Order is that of UTF-8 bytes, which is also how Python orders text. A side
that goes back or repeats a name lies about what it has: that is an error, never
a missing name.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from s3_sync.errors import Error


class Named(Protocol):
    @property
    def name(self) -> str:
        """What the stream is sorted by."""


L = TypeVar('L', bound=Named)
R = TypeVar('R', bound=Named)
T = TypeVar('T', bound=Named)


class OutOfOrder(Error):
    """A stream that was to be sorted is not."""

    reason = 'unordered'


def lockstep(left: Iterable[L], right: Iterable[R]) -> Iterator[tuple[L | None, R | None]]:
    """Every name of either side once, in order, with what each side has of it.

    Holds one item of each side. Raises OutOfOrder, and whatever the sides raise.
    """
    lefts, rights = ascending(left, 'local names'), ascending(right, 'remote names')
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.name < other.name):
            yield one, None
            one = next(lefts, None)
        elif one is None or other.name < one.name:
            yield None, other
            other = next(rights, None)
        else:
            yield one, other
            one, other = next(lefts, None), next(rights, None)


def ascending(items: Iterable[T], what: str) -> Iterator[T]:
    """``items``, as long as each name is greater than the one before; then OutOfOrder."""
    last: str | None = None
    for item in items:
        if last is not None and item.name <= last:
            raise OutOfOrder(f'{what} are out of order: {item.name!r} comes after {last!r}')
        last = item.name
        yield item
