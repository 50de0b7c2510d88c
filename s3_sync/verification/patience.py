"""Time limits and signals, as exceptions in the main thread: whatever waits for the remote is interrupted.

A verification is one thread that does one request after the other, so the
kernel's timer is enough; nothing here needs green threads.
"""
from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from s3_sync.clock import Clock, SystemClock

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 1.0
"""The timer fires again, should the first exception have been lost in a destructor."""


class OutOfTime(BaseException):
    """The time limit of a step is over. Not an Exception, so that no library takes it for an answer."""


class Stopped(BaseException):
    """A signal asked to end; ``name`` is the signal's."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        super().__init__(name)


class Patience:
    """How long is waited, and whether at all. To be used in the main thread only."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._armed = False
        self._tidying = False
        self.stopped: Stopped | None = None
        """The first signal that came."""

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP raise Stopped in here."""
        before = {number: signal.signal(number, self._stop) for number in ENDING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """OutOfTime after so many seconds. A timer that somebody else had set goes on afterwards."""
        began = self._clock.monotonic()
        handler = signal.signal(signal.SIGALRM, self._ring)
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), AGAIN_SECONDS)
            yield
        finally:
            self._disarm(handler)
            if left:
                signal.setitimer(signal.ITIMER_REAL, max(left - (self._clock.monotonic() - began), 0.001), interval)

    @contextmanager
    def tidying(self) -> Iterator[None]:
        """A first signal is only noted in here; a second one raises Stopped."""
        self._tidying = True
        try:
            yield
        finally:
            self._tidying = False

    def _disarm(self, handler: Callable[[int, FrameType | None], Any] | int | None) -> None:
        try:
            self._armed = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            raise OutOfTime

    def _stop(self, number: int, frame: FrameType | None) -> None:
        stopped = Stopped(signal.Signals(number).name, number)
        first, self.stopped = self.stopped is None, self.stopped or stopped
        if not (self._tidying and first):
            raise stopped
