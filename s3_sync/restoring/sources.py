"""The remote version's bytes on their way into Swift: cut at segment borders, checked before the last of them.

What Swift is given for a body ends in an error instead of its last chunk when
anything is wrong with it, and Swift stores nothing then.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol

from s3_sync.concurrency import Timeout
from s3_sync.errors import Error
from s3_sync.restoring.proof import Mismatch, Witness


class Abandoned(Error):
    """Somebody stopped this restore; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokenBody(OSError):
    """The body ends here. Swift's proxy takes an OSError of its input for a client that went away."""


class Source(Protocol):
    """The logical bytes of one remote version. ``close`` is idempotent."""

    def read(self, first: int, length: int) -> Iterator[bytes]:
        """Exactly these bytes. ValueError for bytes that are past, where there is only one stream.

        Raises (also while reading) what the remote raises, Mismatch when it ends
        early, Abandoned.
        """

    def close(self) -> None: ...


class StreamSource:
    """One stream, read once from its beginning; what nobody asks for is thrown away."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._stream = chunks
        self._chunks = iter(chunks)
        self._rest = b''
        self._at = 0

    def read(self, first: int, length: int) -> Iterator[bytes]:
        if first < self._at:
            raise ValueError(f'byte {first} is past: the stream is at {self._at}')
        for _ in self._take(first - self._at):
            pass
        yield from self._take(length)

    def close(self) -> None:
        close = getattr(self._stream, 'close', None)
        if close is not None:
            close()

    def _take(self, length: int) -> Iterator[bytes]:
        while length:
            chunk = self._rest or next(self._chunks, b'')
            if not chunk:
                raise Mismatch(f'the stream ended after {self._at} bytes')
            taken, self._rest = chunk[:length], chunk[length:]
            length -= len(taken)
            self._at += len(taken)
            yield taken


class RangeSource:
    """A remote version that can be opened anywhere: bytes that are not needed are not fetched.

    ``opener(first)`` gives the bytes from there to the end. Reads that follow
    each other share one request. ``check`` is called before each chunk; it may
    raise Abandoned.
    """

    def __init__(self, opener: Callable[[int], Iterable[bytes]], check: Callable[[], None] = lambda: None) -> None:
        self._opener = opener
        self._check = check
        self._stream: StreamSource | None = None
        self._begin = 0
        self._end = -1

    def read(self, first: int, length: int) -> Iterator[bytes]:
        if self._stream is None or first != self._end:
            self.close()
            self._stream, self._begin = StreamSource(self._opener(first)), first
        self._end = -1  # until all of it was taken
        stream = self._stream
        for chunk in stream.read(first - self._begin, length):
            self._check()
            yield chunk
        self._end = first + length

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class CheckedBody:
    """The body of one PUT. Iterated at most once, and only when Swift wants it.

    Its last chunk comes when length and MD5 are right and, where this is the
    last body of the version, ``witness`` is content as well.
    """

    def __init__(self, source: Source, first: int, length: int, *, md5: str = '', witness: Witness | None = None,
                 last: bool = False) -> None:
        self._source = source
        self._first = first
        self._length = length
        self._expected = md5
        self._witness = witness
        self._last = last
        self._chunks: Generator[bytes, None, None] | None = None
        self.md5 = ''
        """Hex, of the whole body once it was read."""
        self.error: BaseException | None = None
        """Why it broke off."""
        self.touched = False
        """Whether anybody asked for a chunk."""

    def __iter__(self) -> Iterator[bytes]:
        if self._chunks is None:
            self._chunks = self._run()
        return self._chunks

    def drain(self) -> None:
        """Read what is left without giving it to anybody. BrokenBody."""
        for _ in self:
            pass

    def _run(self) -> Generator[bytes, None, None]:
        self.touched = True
        digest, held, seen = hashlib.md5(usedforsecurity=False), b'', 0
        chunks = self._source.read(self._first, self._length)
        while True:
            try:
                chunk = next(chunks, b'')
                if not chunk:
                    break
                digest.update(chunk)
                seen += len(chunk)
                if self._witness is not None:
                    self._witness.update(chunk)
                if seen == self._length:
                    self._check(digest.hexdigest())
            except (Exception, Timeout) as error:
                raise self._broken(error) from error
            if held:
                yield held
            held = chunk
        if not self._length:
            try:
                self._check(digest.hexdigest())
            except Mismatch as error:
                raise self._broken(error) from error
        if held:
            yield held

    def _check(self, md5: str) -> None:
        if self._expected and md5 != self._expected:
            raise Mismatch(f'{self._length} bytes from {self._first} have MD5 {md5}, expected {self._expected}')
        if self._witness is not None and self._last:
            self._witness.check()
        self.md5 = md5

    def _broken(self, error: BaseException) -> BrokenBody:
        self.error = error
        return BrokenBody(str(error) or type(error).__name__)
