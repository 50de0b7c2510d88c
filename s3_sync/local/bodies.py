"""Bodies of objects too large to be read when they are opened, from sources that answer requests."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from s3_sync.streams import StreamBody


class Answer(Iterable[bytes], Protocol):
    """An open answer; its iteration raises SourceUnavailable when it cannot go on."""

    def close(self) -> None:
        """Give the connection back. Safe to call twice."""


class ReopeningBody:
    """The answer that came with the metadata, then, after ``rewind``, one from ``again``.

    Checked like any StreamBody: a wrong length or MD5 raises SourceUnavailable
    before the last chunk is handed out.
    """

    def __init__(self, first: Answer, again: Callable[[], Answer], size: int, md5: str) -> None:
        self._first: Answer | None = first
        self._again = again
        self._stream = StreamBody(self._chunks, size, md5)
        self.size = size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def _chunks(self) -> Iterator[bytes]:
        answer, self._first = self._first, None
        if answer is None:
            answer = self._again()
        try:
            yield from answer
        finally:
            answer.close()

    def rewind(self) -> None:
        self._stream.rewind()

    def close(self) -> None:
        self._stream.close()
        first, self._first = self._first, None
        if first is not None:
            first.close()
