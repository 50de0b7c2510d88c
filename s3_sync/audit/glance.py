"""What a row and a listing entry say together, before anything is asked: pure.

Most names end here. A listing proves content where ETag and size match and it
is younger than the row (semantics 6.2); everything that looks wrong, and
everything that proves nothing, has to be looked at.
"""
from __future__ import annotations

from dataclasses import dataclass

from container_crawler.rows import Row
from s3_sync.audit.findings import Finding, Side
from s3_sync.config import Mapping
from s3_sync.engine.select import Selector
from s3_sync.engine.verify import proves
from s3_sync.timestamps import is_ours, without_marker
from s3_sync.types import ListingEntry, ObjectRow

NOT_REMOVED = 'not-removed-yet'
"""An archive's local object is still here although the remote has it: waiting, not wrong."""


@dataclass(frozen=True, slots=True)
class Glance:
    """Judges one container's names. ``mapping`` has a concrete container."""

    mapping: Mapping
    selector: Selector
    now: float
    skew_seconds: float
    look_at_all: bool
    """Also at what the listing proves: metadata is in no listing."""
    only_archive: bool
    """No other mapping deletes local objects of this container."""

    def judge(self, row: Row | None, entry: ListingEntry | None) -> Finding | None:
        """None: look at it. At least one of the two is there."""
        if row is None:
            assert entry is not None
            return self._remote_only(entry)
        if self.selector.excluded(row.name):
            return Finding('excluded', 'exclude-pattern', row=row, remote=seen(entry))
        return self._tombstone(row, entry) if row.deleted else self._live(row, entry)

    def _remote_only(self, entry: ListingEntry) -> Finding | None:
        if self.selector.excluded(entry.name):
            return Finding('excluded', 'exclude-pattern', remote=seen(entry))
        # Rows of our own deletes are reclaimed like any others; the copies stay.
        kept_here = self.mapping.retain_local and self.only_archive
        return None if kept_here else Finding('archived', 'no-row-left', remote=seen(entry))

    def _tombstone(self, row: Row, entry: ListingEntry | None) -> Finding | None:
        where = ObjectRow(self.mapping.account, self.mapping.container, row)
        if is_ours(where.times.data):
            if entry is not None:
                return Finding('archived', 'own-delete', row=row, remote=seen(entry))
            return Finding('same', 'gone', row=row) if self.mapping.retain_local else None
        if entry is None:
            return Finding('same', 'gone', row=row)
        if not self.mapping.propagate_delete:
            return Finding('kept', 'not-propagated', row=row, remote=seen(entry))
        return None

    def _live(self, row: Row, entry: ListingEntry | None) -> Finding | None:
        where = ObjectRow(self.mapping.account, self.mapping.container, row)
        unfit = self.selector.before_read(where, self.now)
        if unfit is not None:
            return Finding('waiting' if unfit.kind == 'deferred' else 'excluded', unfit.reason, row=row,
                           remote=seen(entry))
        if self.look_at_all or entry is None or not proves(entry, where, self.skew_seconds):
            return None
        return same(self.mapping, row, 'listing', entry)


def same(mapping: Mapping, row: Row, reason: str, entry: ListingEntry | None = None) -> Finding:
    """Both sides hold it; of an archive that is not the end yet."""
    local, remote = Side(row.size, row.etag, row_seconds(mapping, row)), seen(entry)
    if mapping.retain_local:
        return Finding('same', reason, row=row, local=local, remote=remote)
    return Finding('waiting', NOT_REMOVED, row=row, local=local, remote=remote)


def seen(entry: ListingEntry | None) -> Side | None:
    return None if entry is None else Side(entry.size, entry.etag, entry.last_modified)


def row_seconds(mapping: Mapping, row: Row) -> float:
    return float(without_marker(ObjectRow(mapping.account, mapping.container, row).times.data))
