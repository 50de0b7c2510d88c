"""Which entries a listing consists of, as values: bounds, prefix, and how names are folded into subdirs.

The rules are those of ``list_objects_iter`` of Swift's container broker. A
listing is the same set in both directions; ``reverse`` only turns it round.
Two accidents of Swift's ``path`` listings are not repeated, because they lose
names: forwards, ``a0`` behind a name in ``a/``; backwards, the object ``a/``
that has names below it. Where both lie in the cluster, its own answer still
lacks them.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import gt, lt

from s3_sync.lockstep import OutOfOrder

LAST_CHARACTER = '\U0010ffff'
RESERVED = '\0'


@dataclass(frozen=True, slots=True)
class Scope:
    """Names greater than ``lower`` and less than ``upper`` (each '' for none) that begin with ``prefix``."""

    lower: str
    upper: str
    prefix: str
    delimiter: str
    """'' folds nothing; any length."""
    path: bool
    """Names in subdirs are left out instead of folded; the object that is named as the subdir itself stays."""
    reverse: bool

    @property
    def empty(self) -> bool:
        return bool(self.upper) and self.lower >= self.upper

    @property
    def before(self) -> Callable[[str, str], bool]:
        """Whether the first of two keys comes first in this listing."""
        return gt if self.reverse else lt

    def subdir(self, name: str) -> str:
        """The subdir that ``name`` (which begins with the prefix) is in, '' for none."""
        if not self.delimiter:
            return ''
        end = name.find(self.delimiter, len(self.prefix))
        return name[:end + len(self.delimiter)] if end >= 0 else ''

    def beyond(self, key: str) -> tuple[str, str]:
        """The bounds that are left behind ``key``, in the direction of the listing."""
        return (self.lower, key) if self.reverse else (key, self.upper)


def check_order(side: str, last: str, keys: Sequence[str], before: Callable[[str, str], bool]) -> None:
    """OutOfOrder unless each key comes behind the one before it, the first behind ``last`` ('' for none)."""
    whole = [last, *keys] if last else keys
    if all(map(before, whole, islice(whole, 1, None))):  # ten thousand of them in a fraction of a millisecond
        return
    one, other = next(pair for pair in pairwise(whole) if not before(*pair))
    raise OutOfOrder(f'{side} names are out of order: {other!r} comes after {one!r}')


def just_before(name: str) -> str:
    """A marker that sorts before ``name`` with hardly anything in between."""
    head, last = name[:-1], name[-1:]
    if last <= '!' or 0xD800 <= ord(last) - 1 <= 0xDFFF:
        return head
    return head + chr(ord(last) - 1) + LAST_CHARACTER
