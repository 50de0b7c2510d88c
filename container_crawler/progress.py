"""Where one database stands: two windows of rows, this node's own and those of others."""
from __future__ import annotations

from dataclasses import dataclass

from container_crawler.arrivals import Arrivals
from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.reader import DatabaseFile
from container_crawler.window import Window


@dataclass(slots=True)
class DatabaseState:
    info: DatabaseInfo
    file: DatabaseFile
    own: Window
    others: Window
    arrivals: Arrivals
    saved: Progress | None
    wake_at: float = 0.0
    """Monotonic time before which no row of others is due."""
    behind_since: float | None = None
    """Wall clock when rows were first seen that are not read yet."""

    @classmethod
    def begin(cls, info: DatabaseInfo, file: DatabaseFile, stored: Progress | None, slack: float) -> DatabaseState:
        start = usable_progress(stored, info)
        return cls(info, file, Window(start.own_row), Window(start.verified_row),
                   Arrivals(slack, file.max_row if stored is not None else 0), stored)

    @property
    def progress(self) -> Progress:
        own = self.own.pointer
        return Progress(own, own if self.info.owns_all else min(own, self.others.pointer), self.info.share)

    @property
    def unread(self) -> bool:
        return self.own.position < self.file.max_row

    @property
    def unverified(self) -> bool:
        return not self.info.owns_all and self.others.position < self.own.position

    @property
    def outstanding(self) -> int:
        return self.own.outstanding + self.others.outstanding

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do, and that is stored."""
        return not (self.unread or self.unverified or self.outstanding) and self.saved == self.progress

    def went_back(self) -> bool:
        """Whether the database holds fewer rows than were already read: an old copy was put in its place."""
        return self.file.max_row < self.own.position


def usable_progress(stored: Progress | None, info: DatabaseInfo) -> Progress:
    """Progress to go on from, given that ring or node may have changed since it was stored.

    Rows that were not this node's to do then are only known to be done as far
    as they were verified, unless the node has fewer to do now.
    """
    if stored is None or stored.own_row > info.max_row:
        return Progress(0, 0, info.share)
    verified = min(stored.verified_row, stored.own_row)
    if stored.share in ('', info.share) or _is_part_of(info, stored.share):
        return Progress(stored.own_row, verified, info.share)
    return Progress(verified, verified, info.share)


def _is_part_of(info: DatabaseInfo, share: str) -> bool:
    indexes, _, replicas = share.partition('/')
    return replicas == str(info.replicas) and {str(i) for i in info.indexes} <= set(indexes.split(','))
