"""Which rows of other nodes are old enough to be verified.

Their node gets ``slack`` seconds from the row's arrival here, which is what
counts: a row's own time may lie in the future, or long ago. For rows that were
here before this process, the own time stands in, and one in the future counts
as long ago. In a database that nobody has worked through yet, everything
counts as having arrived now: its other nodes have only begun too.
"""
from __future__ import annotations

import math
from collections import deque

from swift.common.utils import decode_timestamps

from container_crawler.rows import Row

STEPS = 60
"""Arrival times are rounded up to so many steps per slack, so that few need to be kept."""


class Arrivals:
    def __init__(self, slack: float, known_row: int) -> None:
        """``slack`` in seconds; ``known_row``: rows up to here came before and are judged by their own time."""
        self._slack = slack
        self._known_row = known_row
        self._due_row = 0
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, monotonic: float, max_row: int) -> None:
        """At this time the database's highest row was ``max_row``."""
        step = self._slack / STEPS
        when = math.ceil(monotonic / step) * step if step else monotonic
        if self._samples and self._samples[-1][0] == when:
            self._samples[-1] = (when, max_row)
        elif max_row > (self._samples[-1][1] if self._samples else max(self._known_row, self._due_row)):
            self._samples.append((when, max_row))

    def wait(self, row: Row, monotonic: float, now: float) -> float:
        """Seconds until ``row`` may be verified, 0 when it may. ``now``: wall clock."""
        if row.row_id <= self._known_row:
            age = now - row_seconds(row.created_at)
            return 0.0 if age < 0 else max(0.0, self._slack - age)
        while self._samples and self._samples[0][0] + self._slack <= monotonic:
            self._due_row = self._samples.popleft()[1]
        if row.row_id <= self._due_row:
            return 0.0
        return next((when + self._slack - monotonic for when, known in self._samples if row.row_id <= known),
                    self._slack)


def row_seconds(created_at: str) -> float:
    """Unix seconds of a row's newest time."""
    if '+' in created_at:
        return max(float(t) for t in decode_timestamps(created_at))
    return float(created_at.partition('_')[0])
