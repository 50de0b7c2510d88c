"""Names of a store that knows only ``list_objects``: pages of any length, folded here as Swift folds them.

Nothing is believed that can be checked: a store may ignore a delimiter or roll
up in its own way, give short or empty pages, list in an order of its own, and
does not know what Swift means by a marker within a subdir, ``end_marker``,
``path`` or ``reverse``.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from s3_sync.engine.whole_listing import SpooledListing
from s3_sync.errors import PermanentError
from s3_sync.lockstep import OutOfOrder
from s3_sync.shunting.listing.scope import LAST_CHARACTER, RESERVED, Scope

PAGE_NAMES = 1000
Item = tuple[str, Any]
"""A key, and what the side knows of that object; None for a subdir."""


class NamePage(NamedTuple):
    names: Sequence[Item]
    next_marker: str | None
    """None is the only end."""


class Fetch(Protocol):
    def __call__(self, marker: str, limit: int | None, prefix: str, delimiter: str) -> NamePage | None:
        """One page after ``marker``. None: this store lists in an order of its own and cannot begin there."""


class StoreNames:
    """The entries of one scope in one store. ``own_prefix``: only names that begin with it belong."""

    def __init__(self, fetch: Fetch, scope: Scope, limit: int, *, own_prefix: str = '',
                 ordered: Callable[[], bool] = lambda: True, spool_folder: str = '/tmp',  # noqa: S108
                 reverse_scan_limit: int = 100_000) -> None:
        self._fetch = fetch
        self._scope = scope
        self._limit = limit
        self._own_prefix = own_prefix
        self._ordered = ordered
        self._spool_folder = spool_folder
        self._reverse_scan_limit = reverse_scan_limit
        self._scanned = 0

    def chunks(self, lower: str, upper: str) -> Iterator[list[Item]]:
        """Entries between the bounds, in the scope's direction. Chunks may be empty."""
        if self._scope.reverse:
            return self._backward(lower, upper)
        return self._forward(lower, upper)

    def below(self, prefix: str, lower: str, upper: str, limit: int = PAGE_NAMES) -> Generator[Item, None, None]:
        """Every single name that begins with ``prefix``, ascending."""
        asked = common(prefix, self._own_prefix)
        if asked is None:
            return
        walk = _Walk(self, asked, '', lower if lower > asked else '', limit)
        for names in walk.pages():
            for item in names:
                if upper and item[0] >= upper:
                    return
                if item[0] > lower and item[0].startswith(asked) and item[1] is not None:
                    yield item

    # -- inside -------------------------------------------------------------------------

    def _any(self, prefix: str, lower: str, upper: str) -> bool:
        with closing(self.below(prefix, lower, upper, 1)) as names:
            return next(names, None) is not None

    def _forward(self, lower: str, upper: str) -> Iterator[list[Item]]:
        scope = self._scope
        asked = common(scope.prefix, self._own_prefix)
        if asked is None or (upper and upper <= asked) or (lower > asked and not lower.startswith(asked)):
            return
        whole = '' if scope.path or asked == scope.prefix else scope.subdir(asked)
        if whole:  # all that belongs is in one subdir
            if whole != lower and self._any(asked, lower, upper):
                yield [(whole, None)]
            return
        delimiter = '' if scope.path else scope.delimiter
        marker = lower if lower > asked else ''
        fold = _Fold(scope, asked, lower, upper, self._any)
        inside = scope.subdir(marker) if delimiter and marker else ''
        if inside:
            if inside != lower and self._any(inside, lower, upper):
                yield [(inside, None)]
            fold.subdir = fold.last = marker = inside
        walk = _Walk(self, asked, delimiter, marker, self._limit)
        for names in walk.pages():
            yield fold.feed(names)
            if fold.done:
                return
            walk.leap = fold.leap

    def _backward(self, lower: str, upper: str) -> Iterator[list[Item]]:
        """By going through all forwards and keeping the last ones, as often as they do not suffice."""
        size = max(self._limit, PAGE_NAMES)
        while True:
            kept: deque[Item] = deque(maxlen=size)
            found = 0
            self._scanned = 0
            for chunk in self._forward(lower, upper):
                found += len(chunk)
                kept.extend(chunk)
            if kept:
                yield list(reversed(kept))
            if found <= size:
                return
            upper = kept[0][0]

    def fetch(self, marker: str, limit: int | None, prefix: str, delimiter: str) -> NamePage | None:
        page = self._fetch(marker, limit, prefix, delimiter)
        self._scanned += len(page.names) if page else 0
        if self._scope.reverse and self._scanned > self._reverse_scan_limit:
            raise PermanentError(f'a reversed listing needs more than {self._reverse_scan_limit} names of the store',
                                 reason='reverse-scan')
        return page

    @property
    def ordered(self) -> bool:
        return self._ordered()

    @property
    def spool_folder(self) -> str:
        return self._spool_folder


class _Walk:
    """Once through the names below a prefix, after a marker; pages ascending, whatever the store does."""

    def __init__(self, store: StoreNames, prefix: str, delimiter: str, marker: str, limit: int) -> None:
        self._store = store
        self._prefix = prefix
        self._delimiter = delimiter
        self._marker = marker
        self._limit: int | None = limit
        self.leap = ''
        """Where to go on instead of the page's own end; set between two pages."""

    def pages(self) -> Iterator[Sequence[Item]]:
        first, delimiter = self._marker, self._delimiter
        seen: set[str] = set()
        while True:
            page = self._store.fetch(self._marker, self._limit, self._prefix, delimiter)
            if page is None or not self._store.ordered:  # told by the first answer at the latest
                yield from self._sorted(page if not first and not delimiter else None)
                return
            yield page.names
            if page.next_marker is None:
                return
            seen = {self._marker} if page.names else seen | {self._marker}
            if page.next_marker in seen:
                raise PermanentError('listing does not go on beyond its marker', reason='lying-listing')
            self._marker = self.leap or page.next_marker
            self._limit = None

    def _sorted(self, first: NamePage | None) -> Iterator[Sequence[Item]]:
        if first is None:
            first = self._whole_page('')
        if first.next_marker is None:
            yield sorted(first.names, key=itemgetter(0))
            return
        entries = (payload for names in self._rest(first) for _, payload in names if payload is not None)
        with closing(SpooledListing(self._store.spool_folder, entries)) as spooled:
            in_order = spooled.in_order()
            while chunk := [(entry.name, entry) for entry in islice(in_order, PAGE_NAMES)]:
                yield chunk

    def _rest(self, page: NamePage) -> Iterator[Sequence[Item]]:
        while True:
            yield page.names
            if page.next_marker is None:
                return
            page = self._whole_page(page.next_marker)

    def _whole_page(self, marker: str) -> NamePage:
        page = self._store.fetch(marker, None, self._prefix, '')
        if page is None:
            raise PermanentError('listing cannot be resumed from its own marker', reason='lying-listing')
        return page


class _Fold:
    """Makes entries out of ascending names, page by page."""

    def __init__(self, scope: Scope, asked: str, lower: str, upper: str,
                 any_name: Callable[[str, str, str], bool]) -> None:
        self._scope = scope
        self._asked = asked
        self._lower = lower
        self._upper = upper
        self._any = any_name
        edge = scope.subdir(upper) if upper.startswith(scope.prefix) else ''
        self._edge = edge if edge != upper else ''
        self.last = ''
        self.subdir = lower
        """The subdir that is being passed; one that equals the lower bound was emitted before."""
        self.leap = ''
        self.done = False

    def feed(self, names: Sequence[Item]) -> list[Item]:
        """The entries that these names make. Raises OutOfOrder."""
        entries: list[Item] = []
        for name, payload in names:
            item = self._item(name, payload)
            if item is not None:
                if item[0] <= self.last:
                    raise OutOfOrder(f'remote names are out of order: {item[0]!r} comes after {self.last!r}')
                self.last = item[0]
                entries.append(item)
            elif self.done:
                break
        self.leap = self._end_of_subdir(*names[-1]) if names else ''
        return entries

    def _item(self, name: str, payload: Any) -> Item | None:
        """What ``name`` is listed as, None when it is not (or not again)."""
        scope = self._scope
        if not name.startswith(self._asked):
            self.done = name > self._asked
            return None
        if payload is not None:
            if self._upper and name >= self._upper:
                self.done = True
                return None
            if name <= self._lower or RESERVED in name:
                return None
        subdir = scope.subdir(name)
        if not subdir:
            if payload is None:
                raise PermanentError(f'listing rolls up {name!r} without a delimiter in it', reason='lying-listing')
            return None if scope.path and name == scope.prefix else (name, payload)
        if scope.path:
            return (name, payload) if subdir == name and payload is not None else None
        return self._subdir_item(subdir, payload is None)

    def _subdir_item(self, subdir: str, rolled_up: bool) -> Item | None:
        if subdir == self.subdir or RESERVED in subdir:
            return None
        if self._upper and subdir >= self._upper:
            self.done = True
            return None
        if rolled_up and (subdir < self._lower
                          or (subdir == self._edge and not self._any(subdir, self._lower, self._upper))):
            return None
        self.subdir = subdir
        return subdir, None

    def _end_of_subdir(self, name: str, payload: Any) -> str:
        """Where to go on when a page ends with a single name within a subdir: nothing in there is needed any more."""
        subdir = self._scope.subdir(name) if payload is not None and name.startswith(self._asked) else ''
        return subdir and subdir + LAST_CHARACTER


def common(one: str, other: str) -> str | None:
    """The prefix of all names that have both prefixes; None when no name can."""
    if one.startswith(other):
        return one
    return other if other.startswith(one) else None
