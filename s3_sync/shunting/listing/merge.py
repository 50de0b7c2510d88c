"""The merge: local entries, those of the remotes, and the deletions between them, as one page.

Everything a side has not told yet is asked for only when an entry of another
side would otherwise be emitted before it: so no name can be passed over, and a
page costs no request that it does not need.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import ge, le
from typing import Any

from s3_sync.shunting.listing.cursor import Cursor
from s3_sync.shunting.listing.judge import Judge
from s3_sync.shunting.listing.params import Entry, ListingParams, key_of
from s3_sync.shunting.listing.scope import check_order

LocalPages = Callable[[ListingParams], list[Entry]]
"""The cluster's JSON page for these parameters. Errors of the caller's own pass through."""
LOCAL = 'swift'


class LocalSide:
    """Pages of the cluster's own listing; the next one is asked for only by ``more``."""

    def __init__(self, pages: LocalPages, params: ListingParams) -> None:
        """``params``: of the first page, which is asked for now."""
        self._pages = pages
        self._params = params
        self._asked = params.limit
        self._versions = params.versions
        self._before = params.scope.before
        # Versions of a name stand one after the other.
        self._may_follow = (ge if params.reverse else le) if params.versions else self._before
        self._ended = False
        self.last = ''
        """Key of the last entry that was taken."""
        self.key = ''
        """Of the next entry on this page, '' at its end."""
        self._page: list[Entry] = []
        self._keys: list[str] = []
        self._at = 0
        self._set(pages(params))

    @property
    def cut(self) -> bool:
        """Whether this page is as long as we asked, and so not where the cluster itself would end one."""
        return len(self._page) >= self._asked

    def more(self, limit: int) -> bool:
        """Whether another page has more entries. A short page is no sign of the end, only an empty one is."""
        if self._ended or not self._page:
            return False
        self._asked = limit
        page = self._pages(self._params.after(self._page[-1], limit))
        if self._versions:  # Swift repeats a subdir that is the marker of a listing of versions
            page = [entry for entry in page if 'subdir' not in entry or entry['subdir'] != self.last]
        self._ended = not page
        if page:
            self._set(page)
        return bool(page)

    def take_before(self, key: str, room: int) -> list[Entry]:
        """The entries up to ``key`` (excluded; '' for all), at most ``room``."""
        keys, start = self._keys, self._at
        end = min(len(keys), start + room)
        at = start
        if key:
            before = self._before
            while at < end and before(keys[at], key):
                at += 1
        else:
            at = end
        self._move(at)
        return self._page[start:at]

    def take(self, key: str, room: int) -> list[Entry]:
        """The entries that are named ``key``; several only in listings of versions."""
        start = at = self._at
        end = min(len(self._keys), start + room)
        while at < end and self._keys[at] == key:
            at += 1
        self._move(at)
        return self._page[start:at]

    def _move(self, at: int) -> None:
        if at > self._at:
            self.last = self._keys[at - 1]
        self._at = at
        self.key = self._keys[at] if at < len(self._keys) else ''

    def _set(self, page: list[Entry]) -> None:
        keys = [key_of(entry) for entry in page]
        check_order('local', self.last, keys, self._may_follow)
        self._page, self._keys = page, keys
        self._at = 0
        self.key = keys[0] if keys else ''


class Merge:
    """One page. ``remotes`` are opened, in order of precedence."""

    def __init__(self, local: LocalSide, remotes: Sequence[Cursor], judge: Judge, params: ListingParams) -> None:
        self._local = local
        self._remotes = remotes
        self._judge = judge
        self._versions = params.versions
        self._before = params.scope.before
        self._limit = params.limit
        self._entries: list[Entry] = []
        self._locations: dict[tuple[str, ...], tuple[str, ...]] = {}

    def entries(self) -> list[Entry]:
        """At most ``limit``. Raises OutOfOrder, RemoteUnavailable and what the local pages raise."""
        found, local = self._entries, self._local
        while (room := self._limit - len(found)) > 0:
            key, having = self._first()
            if not key or (local.key and local.key != key):
                found += local.take_before(key, room)
                if len(found) == self._limit:
                    break
            if not key:
                if not local.cut or not self._more():
                    break
                continue
            if key == local.key:
                self._both(key, having)
            elif not self._remote_only(key, having):
                continue
            for cursor in having:
                if cursor.key == key:
                    cursor.advance()
        return found

    def _first(self) -> tuple[str, Sequence[Cursor]]:
        """The first key of all remotes, '' when they are at their ends, and those that have it."""
        if len(self._remotes) == 1:  # nearly always, and once for each entry
            return self._remotes[0].key, self._remotes
        first = ''
        for cursor in self._remotes:
            key = cursor.key
            if key and (not first or self._before(key, first)):
                first = key
        return first, [cursor for cursor in self._remotes if cursor.key == first]

    def _both(self, key: str, having: Sequence[Cursor]) -> None:
        locations = self._at(*(cursor.names.location_of(key) for cursor in having), LOCAL)
        taken = self._local.take(key, self._limit - len(self._entries))
        for entry in taken:
            if not self._versions or entry.get('is_latest', True):
                entry['content_location'] = locations
        self._entries += taken

    def _remote_only(self, key: str, having: Sequence[Cursor]) -> bool:
        """Emit it, if it shows and no local page that is still to come has it. False: look at this key again."""
        shown = [cursor for cursor in having if self._judge.shows(cursor)]
        if not shown:
            return True
        if not self._local.key and self._more():
            return False
        entry: dict[str, Any] = shown[0].names.entry(key, shown[0].payload)
        if self._versions and 'name' in entry:
            entry |= {'version_id': 'null', 'is_latest': True}
        entry['content_location'] = self._at(*(cursor.names.location_of(key) for cursor in shown))
        self._entries.append(entry)
        return True

    def _at(self, *locations: str) -> Sequence[str]:
        """The same object for the same places: there are few of them, and ten thousand entries."""
        return self._locations.setdefault(locations, locations)

    def _more(self) -> bool:
        """Whether the cluster has another page. Archives are asked again: what left in between was on none before."""
        if not self._local.more(self._limit - len(self._entries)):
            return False
        for cursor in self._remotes:
            if cursor.side.archives:
                cursor.restart(self._local.last)
                self._judge.rewind()
        return True
