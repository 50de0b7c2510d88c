"""Bytes of a remote object as Swift's response class wants them: whole, one range, several ranges.

What was already opened is used when it is the part that is asked for. A
connection that breaks in the middle is taken up again where it broke, as
long as the same version is there; a client sees a cut body only when that
fails too.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator

from swift.common.swob import multi_range_iterator

from s3_sync.base_sync import ProviderResponse
from s3_sync.errors import ConnectionFailed, TemporaryError

RESUMES = 3

Open = Callable[[int, int], ProviderResponse]
"""From first byte up to (not with) an end: a fresh answer for these bytes of the same version, or an error."""


class RemoteBody:
    """``opened`` holds the bytes from ``first`` up to ``stop`` of ``size``; None: nothing is open yet."""

    def __init__(self, opened: ProviderResponse | None, first: int, stop: int, size: int, reopen: Open) -> None:
        self._opened = opened
        self._span = (first, stop)
        self._size = size
        self._reopen = reopen

    def __iter__(self) -> Iterator[bytes]:
        return self.app_iter_range(0, self._size)

    def app_iter_range(self, start: int, stop: int) -> Iterator[bytes]:
        return _Span(self, start, stop)

    def app_iter_ranges(self, ranges: list[tuple[int, int]], content_type: str, boundary: bytes,
                        content_size: int) -> Iterator[bytes]:
        parts: Iterator[bytes] = multi_range_iterator(ranges, content_type, boundary, content_size,
                                                      self.app_iter_range)
        return _Closing(parts, self)

    def take(self, start: int, stop: int) -> ProviderResponse:
        opened, self._opened = self._opened, None
        if opened is not None:
            if self._span == (start, stop):
                return opened
            opened.close()
        return self._reopen(start, stop)

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()


class _Span:
    """Iterator over some bytes; resumes broken connections, and checks that exactly these bytes come."""

    def __init__(self, body: RemoteBody, start: int, stop: int) -> None:
        self._body = body
        self._at = start
        self._stop = stop
        self._answer: ProviderResponse | None = None
        self._resumes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while True:
            if self._at >= self._stop:
                self._release()
                raise StopIteration
            try:
                if self._answer is None:
                    self._answer = self._body.take(self._at, self._stop)
                chunk = next(self._answer.body, None)
                if chunk is None:
                    raise ConnectionFailed(f'the remote body ended {self._stop - self._at} bytes early')
            except TemporaryError:
                self._release()
                self._resumes += 1
                if self._resumes > RESUMES:
                    raise
                continue
            if chunk:
                chunk = chunk[:self._stop - self._at]
                self._at += len(chunk)
                return chunk

    def _release(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def close(self) -> None:
        self._stop = self._at
        self._release()
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
        close = getattr(self._parts, 'close', None)
        if close is not None:
            close()
        self._body.close()
