"""Bytes of a remote object as Swift's response class wants them: whole, one range, several ranges.

What was already opened is used when it is the part that is asked for. A
connection that breaks in the middle is taken up again where it broke, as
long as the same version is there; when that fails too, an error ends the body
and the server cuts the client's connection: never a short body that looks whole.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator

from swift.common.swob import multi_range_iterator

from s3_sync.base_sync import ProviderResponse
from s3_sync.clock import Clock
from s3_sync.concurrency import sleep
from s3_sync.errors import ConnectionFailed, NotFound, TemporaryError
from s3_sync.shunting.remotes import RemoteUnavailable

FAIR_CHUNKS = 5
"""So many in a row may come without a wait; then others have their turn, as in Swift's own proxy."""
RESUME_WAITS = (0.0, 0.5, 2.0)
"""Seconds before each try to take a broken body up again."""

Span = tuple[int, int]
Open = Callable[[int, int], tuple[ProviderResponse, Span]]
"""From first byte up to (not with) an end: a new answer of the same version with at least these, or an error."""


class RemoteBody:
    """A response's ``app_iter``. ``close`` frees everything at once, also while the body is being read.

    ``opened`` holds the bytes of ``span`` (first byte and end).
    ``done`` is called once, when nothing of the remote is in use any more.
    """

    def __init__(self, opened: ProviderResponse, span: Span, reopen: Open, *, clock: Clock,
                 done: Callable[[], None] = lambda: None) -> None:
        self._opened: ProviderResponse | None = opened
        self._span = span
        self._reopen = reopen
        self._clock = clock
        self._done = done
        self._current: _Run | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self.app_iter_range(*self._span)

    def app_iter_range(self, start: int, stop: int) -> Iterator[bytes]:
        """These bytes; ``close`` of the iterator closes the whole body."""
        if self._current is not None:
            self._current.release()
        self._current = _Run(self, start, stop, self._clock)
        return self._current

    def app_iter_ranges(self, ranges: list[tuple[int, int]], content_type: bytes, boundary: bytes,
                        content_size: int) -> Iterator[bytes]:
        parts = multi_range_iterator(ranges, content_type, boundary, content_size, self.app_iter_range)
        return _Closing(parts, self)

    def take(self, start: int, stop: int) -> tuple[ProviderResponse, int]:
        """An answer with these bytes, and which byte it begins with."""
        opened, self._opened = self._opened, None
        if opened is not None:
            if self._span[0] <= start and stop <= self._span[1]:
                return opened, self._span[0]
            opened.close()
        if self._closed:
            raise NotFound('the body was closed')
        opened, span = self._reopen(start, stop)
        return opened, span[0]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        if self._current is not None:
            self._current.release()
        self._done()


class _Run:
    """Iterator over some bytes; resumes broken connections, and checks that exactly these bytes come."""

    def __init__(self, body: RemoteBody, start: int, stop: int, clock: Clock) -> None:
        self._body = body
        self._at = start
        self._stop = stop
        self._clock = clock
        self._answer: ProviderResponse | None = None
        self._skip = 0
        self._breaks = 0
        self._chunks = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while self._at < self._stop:
            try:
                chunk = self._read()
            except (TemporaryError, RemoteUnavailable):
                self.release()
                if self._breaks == len(RESUME_WAITS):
                    raise
                self._clock.sleep(RESUME_WAITS[self._breaks])
                self._breaks += 1
                continue
            self._chunks += 1
            if self._chunks % FAIR_CHUNKS == 0:
                sleep(0)
            if chunk:
                chunk = chunk[:self._stop - self._at]
                self._at += len(chunk)
                return chunk
        self.release()
        raise StopIteration

    def _read(self) -> bytes:
        if self._answer is None:
            self._answer, begins = self._body.take(self._at, self._stop)
            self._skip = self._at - begins  # not everybody heeds Range
        chunk = next(self._answer.body, None)
        if chunk is None:
            raise ConnectionFailed(f'the remote body ended {self._stop - self._at} bytes early')
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        return chunk[skipped:]

    def release(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def close(self) -> None:
        self._stop = self._at
        self._body.close()


class _Closing:
    """An iterator that closes something of somebody else's as well."""

    def __init__(self, parts: Iterator[bytes], body: RemoteBody) -> None:
        self._parts = parts
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        self._body.close()


class UnmeasuredBody:
    """A body whose length the remote does not tell: as it comes, to its end."""

    def __init__(self, opened: ProviderResponse, done: Callable[[], None] = lambda: None) -> None:
        self._opened = opened
        self._done = done
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self._opened.body

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._opened.close()
            self._done()
