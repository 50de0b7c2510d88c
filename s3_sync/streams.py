"""Bodies: bounded in memory, rewindable, closed exactly once."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

from s3_sync.errors import SourceUnavailable

CHUNK_BYTES = 256 * 1024


@runtime_checkable
class Body(Protocol):
    """Bytes to send. May be iterated again after ``rewind``; ``close`` is idempotent."""

    size: int
    """Bytes; exact, known before the first is read."""

    def __iter__(self) -> Iterator[bytes]:
        """Chunks from the start. A chunk is at most a few hundred KiB, never empty."""

    def rewind(self) -> None:
        """Make the next iteration start at the first byte again."""

    def close(self) -> None:
        """Free whatever stands behind it. Safe to call twice."""


class BytesBody:
    """A body already in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, self.size, CHUNK_BYTES):
            yield self.data[at:at + CHUNK_BYTES]

    def rewind(self) -> None:
        pass

    def close(self) -> None:
        pass


class StreamBody:
    """A body that is opened when first read, and opened again after ``rewind``.

    ``opener`` returns an iterable of bytes, closed through its ``close`` when it
    has one. A body that ends early, runs long, or (when ``md5`` is given) has
    another MD5 raises SourceUnavailable *before the last chunk is handed out*,
    so that nothing wrong can be completed at the other side.
    """

    def __init__(self, opener: Callable[[], Iterable[bytes]], size: int, md5: str = '') -> None:
        self._opener = opener
        self._open: Iterable[bytes] | None = None
        self.size = size
        self._md5 = md5

    def __iter__(self) -> Iterator[bytes]:
        self.close()
        self._open = source = self._opener()
        digest = hashlib.md5(usedforsecurity=False)
        seen = 0
        held = b''
        try:
            for chunk in source:
                if not chunk:
                    continue
                if held:
                    yield held
                digest.update(chunk)
                seen += len(chunk)
                if seen > self.size:
                    raise SourceUnavailable(f'body is longer than the {self.size} bytes announced')
                held = chunk
            if seen != self.size:
                raise SourceUnavailable(f'body ended after {seen} of {self.size} bytes')
            if self._md5 and digest.hexdigest() != self._md5:
                raise SourceUnavailable(f'body has MD5 {digest.hexdigest()}, expected {self._md5}')
            if held:
                yield held
        finally:
            self.close()

    def rewind(self) -> None:
        self.close()

    def close(self) -> None:
        source, self._open = self._open, None
        close = getattr(source, 'close', None)
        if close is not None:
            close()
