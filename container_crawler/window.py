"""Rows of one database that were handed out, and up to where everything is finished.

Rows finish in any order. The pointer that is stored is the row before the
lowest unfinished one: after a crash nothing unfinished is skipped, whoever
worked on it and however many processes there were.
"""
from __future__ import annotations

from collections.abc import Iterable

from container_crawler.rows import Row


class Window:
    """Rows are added in ascending order and finish in any."""

    def __init__(self, pointer: int) -> None:
        self.position = pointer
        """Every row up to here was handed out or needs nothing; reading goes on behind it."""
        self._open: dict[int, str] = {}

    def add(self, rows: Iterable[Row], position: int) -> None:
        """``rows`` are handed out now; everything up to ``position`` has been looked at."""
        self._open.update((row.row_id, row.created_at) for row in rows)
        self.position = max(self.position, position)

    def done(self, row_id: int) -> bool:
        """The row is finished. False when it was not outstanding (twice, or withdrawn)."""
        return self._open.pop(row_id, None) is not None

    def withdraw(self, position: int) -> int:
        """Rows above ``position`` count as never handed out. Returns how many were outstanding."""
        rows = [row_id for row_id in self._open if row_id > position]
        for row_id in rows:
            del self._open[row_id]
        self.position = min(self.position, position)
        return len(rows)

    @property
    def pointer(self) -> int:
        """Everything up to here is finished."""
        return next(iter(self._open)) - 1 if self._open else self.position

    @property
    def outstanding(self) -> int:
        return len(self._open)

    @property
    def oldest(self) -> str | None:
        """``created_at`` of the lowest unfinished row."""
        return next(iter(self._open.values()), None)
