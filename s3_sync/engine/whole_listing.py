"""Listings taken whole, for endpoints that list out of order (semantics 6.1).

Such a listing cannot be resumed from a marker of ours, so it is read from end
to end into a temporary SQLite file, which sorts it, and serves all
verification of that container for a while. It only proves presence of the right
version, and an entry that proved a row once proves it for ever, so its age
does not matter for safety; only what was uploaded since is not in it.
"""
from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.concurrency import Semaphore
from s3_sync.engine.verify import PAGE_NAMES, proven_by_lookup, whole_listing
from s3_sync.types import ListingEntry, ObjectRow

KEPT_SECONDS = 300.0
"""How long one spooled listing serves; a verification pass over a container takes about this long."""
BATCH = 500


class SpooledListing:
    """One container's entries in a temporary file, unlinked while open."""

    def __init__(self, folder: str, entries: Iterator[ListingEntry]) -> None:
        handle, path = tempfile.mkstemp(prefix='1space-listing-', dir=folder)
        os.close(handle)
        self._database = sqlite3.connect(path, isolation_level=None)
        try:
            self._database.execute('PRAGMA journal_mode=OFF')
            self._database.execute('PRAGMA synchronous=OFF')
            self._database.execute('CREATE TABLE entry (name TEXT PRIMARY KEY, size INT, etag TEXT, modified REAL) '
                                   'WITHOUT ROWID')
            os.unlink(path)
            self._database.execute('BEGIN')
            self._database.executemany(
                'INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)',
                ((e.name, e.size, e.etag, e.last_modified) for e in entries if not e.subdir))
            self._database.execute('COMMIT')
        except BaseException:
            self._database.close()
            raise

    def get(self, names: Sequence[str]) -> Mapping[str, ListingEntry]:
        found = {}
        for at in range(0, len(names), BATCH):
            part = names[at:at + BATCH]
            marks = ','.join('?' * len(part))
            for name, size, etag, modified in self._database.execute(
                    f'SELECT name, size, etag, modified FROM entry WHERE name IN ({marks})', part):  # noqa: S608
                found[name] = ListingEntry(name=name, size=size, etag=etag, last_modified=modified)
        return found

    def in_order(self) -> Iterator[ListingEntry]:
        """All entries, in order of UTF-8 bytes."""
        for name, size, etag, modified in self._database.execute(
                'SELECT name, size, etag, modified FROM entry ORDER BY name'):
            yield ListingEntry(name=name, size=size, etag=etag, last_modified=modified)

    def close(self) -> None:
        self._database.close()


class ListingCache:
    """The spooled listings of a process, each for a short time."""

    def __init__(self, folder: str, *, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = Semaphore(1)
        self._kept: dict[object, tuple[float, SpooledListing]] = {}

    def proven(self, key: object, provider: BaseSync, rows: Sequence[ObjectRow], object_count: int,
               skew_seconds: float) -> set[str]:
        """Names of ``rows`` that a whole listing proves done.

        A new listing is taken only when it costs fewer requests than a HEAD for
        each row: ``object_count`` tells how many pages it will have.
        """
        with self._lock:  # a second chunk waits for the first one's listing instead of taking its own
            self._drop_old()
            if key not in self._kept:
                if len(rows) <= object_count / PAGE_NAMES + 1:
                    return set()
                listing = SpooledListing(self._folder, whole_listing(provider))
                self._kept[key] = self._clock.monotonic(), listing
            return proven_by_lookup(self._kept[key][1], rows, skew_seconds)

    def _drop_old(self) -> None:
        oldest = self._clock.monotonic() - KEPT_SECONDS
        for key in [k for k, (taken, _) in self._kept.items() if taken < oldest]:
            self._kept.pop(key)[1].close()

    def close(self) -> None:
        for _, listing in self._kept.values():
            listing.close()
        self._kept.clear()
