"""One at a time for each key: what many requests want at once is done once, and found done by the rest."""
from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from s3_sync.concurrency import Semaphore


class Turns:
    def __init__(self) -> None:
        self._queues: dict[Hashable, tuple[Semaphore, int]] = {}

    @contextmanager
    def of(self, key: Hashable) -> Iterator[None]:
        """Hold ``key``; whoever else wants it waits. Keys that nobody wants cost nothing."""
        place, wanted = self._queues.get(key) or (Semaphore(1), 0)
        self._queues[key] = place, wanted + 1
        try:
            with place:
                yield
        finally:
            left = self._queues[key][1] - 1
            if left:
                self._queues[key] = place, left
            else:
                del self._queues[key]
