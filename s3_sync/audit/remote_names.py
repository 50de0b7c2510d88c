"""The remote's names in order, whatever order the store lists them in (semantics 6.1)."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain

from s3_sync.base_sync import BaseSync
from s3_sync.engine.verify import PAGE_NAMES, on_our_clock
from s3_sync.engine.whole_listing import SpooledListing
from s3_sync.types import ListingEntry, ListingPage


def remote_entries(provider: BaseSync, prefix: str, folder: str) -> Iterator[ListingEntry]:
    """Every object below ``prefix``, names ascending, times told by our clock.

    An ordered listing is a page in memory; an unordered one is sorted in a file
    in ``folder``. Ends only at the listing's own end sign; raises ProviderError.
    """
    pages = _pages(provider, prefix)
    first = next(pages)  # only an answer tells what kind of store it is
    entries = (entry for page in chain((first,), pages) for entry in on_our_clock(page) if not entry.subdir)
    if provider.capabilities.ordered_listing:
        yield from entries
        return
    with closing(SpooledListing(folder, entries)) as spooled:
        yield from spooled.in_order()


def _pages(provider: BaseSync, prefix: str) -> Iterator[ListingPage]:
    marker = ''
    while True:
        page = provider.list_objects(marker=marker, limit=PAGE_NAMES, prefix=prefix)
        yield page
        if page.next_marker is None:
            return
        marker = page.next_marker
