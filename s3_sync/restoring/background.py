"""Restores apart from any client: a few green threads, a short queue, and what does not fit is dropped and counted.

Nothing is lost by that: the next reader asks again.
"""
from __future__ import annotations

import logging
from collections.abc import Callable

from s3_sync.clock import Clock
from s3_sync.concurrency import Empty, GreenThread, LightQueue, Timeout, spawn
from s3_sync.restoring.sources import Abandoned
from s3_sync.restoring.writer import Outcome

STOPPING = 'stopping'


class Stop:
    """Told to every job; ``check`` is for ``RangeSource``."""

    def __init__(self) -> None:
        self.set = False

    def check(self) -> None:
        """Abandoned once everything is to end."""
        if self.set:
            raise Abandoned(STOPPING)


Job = Callable[[Stop], Outcome]
"""Opens the remote itself, restores, and closes everything."""
Done = Callable[[Outcome], None]


class BackgroundRestores:
    """``concurrency`` green threads, started when first needed; ``queued`` jobs may wait."""

    def __init__(self, *, clock: Clock, concurrency: int = 4, queued: int = 100,
                 logger: logging.Logger | None = None) -> None:
        self._clock = clock
        self._concurrency = concurrency
        self._queued = queued
        self._logger = logger or logging.getLogger(__name__)
        self._queue = LightQueue()
        self._threads: set[GreenThread] = set()
        self._idle = 0
        self._stop = Stop()
        self.dropped = 0
        """Jobs that found no place."""

    @property
    def waiting(self) -> int:
        return int(self._queue.qsize())

    def submit(self, job: Job, done: Done = lambda outcome: None) -> bool:
        """Have it done some time. False: there is no place for it, and ``done`` is never called."""
        if self._stop.set or self.waiting >= self._queued:
            self.dropped += 1
            return False
        self._queue.put((job, done))
        if self.waiting > self._idle and len(self._threads) < self._concurrency:
            thread = spawn(self._work)
            self._threads.add(thread)
            thread.link(self._threads.discard)
        return True

    def close(self, seconds: float = 5.0) -> None:
        """End everything: what runs breaks off at its next chunk, or is killed after so long; what waits is dropped."""
        self._stop.set = True
        for done in self._drop():
            done(Outcome('failed', STOPPING))
        for _ in range(len(self._threads)):
            self._queue.put(None)
        deadline = self._clock.monotonic() + seconds
        for thread in list(self._threads):
            with Timeout(max(0.001, deadline - self._clock.monotonic()), False):
                thread.wait()
        for thread in list(self._threads):
            thread.kill()

    def _drop(self) -> list[Done]:
        dropped: list[Done] = []
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return dropped
            if item is not None:
                self.dropped += 1
                dropped.append(item[1])

    def _work(self) -> None:
        while not self._stop.set:
            self._idle += 1
            try:
                item = self._queue.get()
            finally:
                self._idle -= 1
            if item is None:
                return
            self._do(*item)

    def _do(self, job: Job, done: Done) -> None:
        outcome = Outcome('failed', STOPPING)
        try:
            outcome = job(self._stop)
        except (Exception, Timeout) as error:
            outcome = Outcome('failed', str(getattr(error, 'reason', 'error')), repr(error))
            if outcome.reason == 'error':
                self._logger.exception('a restore in the background')
        finally:
            done(outcome)
