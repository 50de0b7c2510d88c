"""Requests and bytes a second to one remote, shared by the processes of a node.

The state is two numbers in a few bytes of anonymous shared memory, which the
main process creates and its workers inherit as a file descriptor: no server,
no file, gone with the last process. Each number is the time at which all that
was taken so far is paid for. Who takes more moves it on and waits until it has
passed: first come, first served, and nobody's wait depends on others waking up.
"""
from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import LimiterStopped
from s3_sync.providers.wrapper import T, Wrapper
from s3_sync.streams import Body
from s3_sync.types import PutResult

BURST_SECONDS = 1.0
"""An idle remote may be given this long a stretch of its rate at once."""
LONGEST_SLEEP_SECONDS = 0.5
"""How soon a waiting thread notices that the process is to stop."""

_STATE = struct.Struct('=4d')
"""Requests a second, bytes a second (infinite: no limit), and when either is paid for (monotonic seconds)."""


class SharedLimiter:
    """Two token buckets in shared memory. Safe between threads and processes of one machine.

    Inherit ``fileno()`` (``pass_fds``) and ``attach`` to it in the child.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._memory = mmap.mmap(fd, _STATE.size)
        self._lock = threading.Lock()
        self._stopped = False

    @classmethod
    def create(cls, *, requests_per_second: float | None = None,
               bytes_per_second: float | None = None) -> SharedLimiter:
        """New shared state; None means without limit."""
        fd = os.memfd_create('1space-limiter', os.MFD_CLOEXEC)
        os.ftruncate(fd, _STATE.size)
        limiter = cls(fd)
        limiter._memory[:] = _STATE.pack(requests_per_second or math.inf, bytes_per_second or math.inf,
                                         -math.inf, -math.inf)
        return limiter

    @classmethod
    def attach(cls, fd: int) -> SharedLimiter:
        """The state behind an inherited descriptor, which this object now owns."""
        os.set_inheritable(fd, False)
        return cls(fd)

    def fileno(self) -> int:
        return self._fd

    @property
    def limits_anything(self) -> bool:
        """False: neither rate is limited, and no request need ask."""
        return any(rate < math.inf for rate in _STATE.unpack(self._memory[:])[:2])

    def take_requests(self, count: float, now: float) -> float:
        """Take ``count`` requests at monotonic time ``now``; seconds to wait before sending them."""
        return self._take(0, count, now)

    def take_bytes(self, count: float, now: float) -> float:
        """Take ``count`` bytes at monotonic time ``now``; seconds to wait before (or after) moving them."""
        return self._take(1, count, now)

    def stop(self) -> None:
        """All waits of this process end now, with LimiterStopped."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        return self._stopped

    def close(self) -> None:
        if not self._memory.closed:
            self._memory.close()
            os.close(self._fd)

    def _take(self, which: int, count: float, now: float) -> float:
        wait = 0.0

        def change(state: list[float]) -> None:
            nonlocal wait
            paid = max(state[2 + which], now - BURST_SECONDS) + count / state[which]
            state[2 + which] = paid
            wait = max(0.0, paid - now)
        self._change(change)
        return wait

    def _change(self, change: Callable[[list[float]], None]) -> None:
        # lockf keeps processes apart but not the threads of one; neither lock is held across a wait.
        with self._lock:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                state = list(_STATE.unpack(self._memory[:]))
                change(state)
                self._memory[:] = _STATE.pack(*state)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)


class LimitSync(Wrapper):
    """Waits before each request, and before each chunk of a body, in either direction."""

    def __init__(self, inner: BaseSync, limiter: SharedLimiter, *, clock: Clock | None = None) -> None:
        super().__init__(inner)
        self._limiter = limiter
        self._clock = clock or SystemClock()

    def _around(self, operation: str, call: Callable[[], T], body: Body | None = None) -> T:
        self._wait(self._limiter.take_requests(1, self._clock.monotonic()))
        result = call()
        if isinstance(result, PutResult) and result.requests > 1:
            # Known only now how many it took (a large object's parts): whoever comes next waits for them.
            self._limiter.take_requests(result.requests - 1, self._clock.monotonic())
        return result

    def _sending(self, body: Body) -> Body:
        return _LimitedBody(body, self._pay)

    def _receiving(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        return _LimitedChunks(chunks, self._pay)

    def _pay(self, count: int) -> None:
        self._wait(self._limiter.take_bytes(count, self._clock.monotonic()))

    def _wait(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while True:
            if self._limiter.stopped:
                raise LimiterStopped('stopping')
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            self._clock.sleep(min(left, LONGEST_SLEEP_SECONDS))


class _LimitedBody:
    """A Body whose chunks are paid for before they are handed out."""

    def __init__(self, body: Body, pay: Callable[[int], None]) -> None:
        self._body = body
        self._pay = pay
        self.size = body.size

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            self._pay(len(chunk))
            yield chunk

    def rewind(self) -> None:
        self._body.rewind()

    def close(self) -> None:
        self._body.close()


class _LimitedChunks:
    """A remote body whose chunks are paid for as they come; closing it closes the remote's."""

    def __init__(self, chunks: Iterator[bytes], pay: Callable[[int], None]) -> None:
        self._chunks = chunks
        self._pay = pay

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        try:
            self._pay(len(chunk))
        except LimiterStopped:
            self.close()
            raise
        return chunk

    def close(self) -> None:
        close = getattr(self._chunks, 'close', None)
        if close is not None:
            close()
