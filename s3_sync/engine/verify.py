"""Telling by listings that other nodes' rows have been done (DESIGN 6, semantics 6).

One LIST answers for up to a thousand rows where rows lie dense among the
remote's names; where they are sparse a HEAD each is cheaper, and those rows
are handed back. A listing only ever proves presence of the right version; what
it does not prove is looked at one by one.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from s3_sync.base_sync import BaseSync
from s3_sync.errors import ProviderError
from s3_sync.timestamps import without_marker
from s3_sync.types import ListingEntry, ListingPage, ObjectRow

PAGE_NAMES = 1000
WORTHWHILE = 3
"""A LIST must settle at least this many rows, or the next ones are looked at singly."""


class Lookup(Protocol):
    """Listing entries of a whole container, kept outside of memory."""

    def get(self, names: Sequence[str]) -> Mapping[str, ListingEntry]:
        """Entries of those of ``names`` that the listing held."""


def proves(entry: ListingEntry, row: ObjectRow, skew_seconds: float) -> bool:
    """Whether a listed name is the row's version or newer (semantics 6.2).

    ETag and size must match and the entry, its time told by our clock, be
    younger than every time of the row by more than clocks of our cluster differ.
    Encrypted rows know no ETag: never proven.
    """
    if row.deleted or not row.row.etag or entry.subdir:
        return False
    return (entry.etag == row.row.etag and entry.size == row.row.size
            and entry.last_modified >= float(without_marker(row.times.newest)) + skew_seconds)


def proven_by_pages(provider: BaseSync, rows: Sequence[ObjectRow], skew_seconds: float) -> set[str]:
    """Names of ``rows`` that a few LISTs prove done. ``provider`` lists in order.

    Stops asking as soon as a page settles fewer rows than it is worth. A listing
    that fails proves nothing; rows then go on singly and meet the error there.
    """
    ordered = sorted((r for r in rows if not r.deleted), key=lambda r: r.name.encode())
    done: set[str] = set()
    at = 0
    while len(ordered) - at >= WORTHWHILE:
        try:
            page = provider.list_objects(marker=just_before(ordered[at].name), limit=PAGE_NAMES)
        except ProviderError:
            break
        entries = {e.name: e for e in on_our_clock(page)}
        last = page.entries[-1].name.encode() if page.entries else b''
        covered = at
        while covered < len(ordered) and (page.next_marker is None or ordered[covered].name.encode() <= last):
            row = ordered[covered]
            if row.name in entries and proves(entries[row.name], row, skew_seconds):
                done.add(row.name)
            covered += 1
        if covered - at < WORTHWHILE:
            break
        at = covered
    return done


def proven_by_lookup(listing: Lookup, rows: Sequence[ObjectRow], skew_seconds: float) -> set[str]:
    """The same from a listing taken whole, for endpoints that list out of order."""
    entries = listing.get([r.name for r in rows])
    return {r.name for r in rows if r.name in entries and proves(entries[r.name], r, skew_seconds)}


def on_our_clock(page: ListingPage) -> Iterator[ListingEntry]:
    """A page's entries with times as our clock would have told them."""
    for entry in page.entries:
        yield replace(entry, last_modified=entry.last_modified - page.clock_offset)


def just_before(name: str) -> str:
    """A marker that sorts before ``name`` with hardly anything in between.

    Listings start after the marker, and the first row itself must be in it. ''
    starts at the beginning, which is right for a name of one lowest character.
    """
    head, last = name[:-1], name[-1:]
    if last <= '!' or 0xD800 <= ord(last) - 1 <= 0xDFFF:
        return head
    return head + chr(ord(last) - 1) + '~'


def whole_listing(provider: BaseSync) -> Iterator[ListingEntry]:
    """Every entry of a container, pages as they come; ends only at the listing's own end sign."""
    marker = ''
    while True:
        page = provider.list_objects(marker=marker, limit=PAGE_NAMES)
        yield from on_our_clock(page)
        if page.next_marker is None:
            return
        marker = page.next_marker
