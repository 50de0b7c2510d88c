"""One remote stream for a client and a restore at once.

The client pulls; what it was given goes into a bounded queue as well, from
which a green thread writes it into Swift. Nobody waits for a restore: when the
queue stays full, or the client stays away, the restore ends and the download
goes on. The restore's last bytes reach Swift only when all of them are right.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from s3_sync.clock import Clock
from s3_sync.concurrency import Empty, Event, LightQueue, Timeout, spawn
from s3_sync.restoring.sources import Abandoned, Source, StreamSource
from s3_sync.restoring.writer import Outcome

QUEUE_BYTES = 4 * 1024 ** 2
PATIENCE_SECONDS = 1.0
"""What all waits of one download for its restore may come to."""
ABSENCE_SECONDS = 10.0
"""A client that asks for nothing for so long ends the restore: Swift would not wait much longer for its body."""

STALLED, SLOW, GONE, REMOTE = 'stalled', 'slow-client', 'client-gone', 'remote-failed'
LATER = frozenset({STALLED, SLOW})
"""Reasons of restores that were given up for their client's sake: worth doing in the background."""


class _Feed:
    """Chunks from the client's side to the restore's, bounded by bytes; ended by either side."""

    def __init__(self, limit_bytes: int, absence_seconds: float, clock: Clock) -> None:
        self._queue = LightQueue()
        self._limit = limit_bytes
        self._absence = absence_seconds
        self._clock = clock
        self._waiting = 0
        self._room: Event | None = None
        self.pulling = False
        """The client waits for the remote: that is not its absence."""
        self.seen = clock.monotonic()
        """When the client was last here."""
        self.ended = ''
        """Why nothing more is taken; '' while it is."""

    def put(self, chunk: bytes, patience: float) -> float:
        """Hand a chunk over; seconds that took. ``ended`` afterwards when there was no room for so long."""
        began = self._clock.monotonic()
        while not self.ended and self._waiting and self._waiting + len(chunk) > self._limit:
            left = patience - (self._clock.monotonic() - began)
            if left <= 0:
                self.end(STALLED)
                break
            self._room = Event()
            with Timeout(left, False):
                self._room.wait()
            self._room = None
        if not self.ended:
            self._waiting += len(chunk)
            self._queue.put(chunk)
        return self._clock.monotonic() - began

    def finish(self) -> None:
        """All bytes are in."""
        self._queue.put(None)

    def end(self, reason: str) -> None:
        """Take nothing more; the reader, wherever it is, breaks off at its next chunk."""
        if self.ended:
            return
        self.ended = reason
        self._queue.put(None)
        self._tell()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            chunk = self._next()
            if self.ended:
                raise Abandoned(self.ended)
            if chunk is None:
                return
            self._waiting -= len(chunk)
            self._tell()
            yield chunk

    def _next(self) -> bytes | None:
        while True:
            try:
                chunk: bytes | None = self._queue.get(timeout=self._absence)
                return chunk
            except Empty:
                if not self.pulling and self._clock.monotonic() - self.seen >= self._absence:
                    self.end(SLOW)

    def _tell(self) -> None:
        if self._room is not None and not self._room.ready():
            self._room.send()


class Tee:
    """The client's iterator. ``close`` is idempotent and never waits.

    ``stream``: the remote body; what it raises reaches the client. ``size``:
    bytes it must have. ``restore`` writes a ``Source`` (``Writer.run`` with its
    plan) and runs in a green thread of its own; ``done`` is told there how it
    ended, once, in every case. Where the outcome's reason is in LATER, another
    try in the background makes sense.
    """

    def __init__(self, stream: Iterable[bytes], size: int, restore: Callable[[Source], Outcome],
                 done: Callable[[Outcome], None], *, clock: Clock, queue_bytes: int = QUEUE_BYTES,
                 patience_seconds: float = PATIENCE_SECONDS, absence_seconds: float = ABSENCE_SECONDS,
                 logger: logging.Logger | None = None) -> None:
        self._stream = stream
        self._chunks = iter(stream)
        self._left = size
        self._restore = restore
        self._done = done
        self._clock = clock
        self._patience = patience_seconds
        self._logger = logger or logging.getLogger(__name__)
        self._feed = _Feed(queue_bytes, absence_seconds, clock)
        self._closed = False
        self._thread = spawn(self._run)
        if not size:
            self._feed.finish()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        feed = self._feed
        feed.pulling = True
        try:
            chunk = next(self._chunks)
        except StopIteration:
            if self._left:
                feed.end(REMOTE)
            raise
        except BaseException:
            feed.end(REMOTE)
            raise
        finally:
            feed.pulling = False
            feed.seen = self._clock.monotonic()
        self._give(chunk)
        return chunk

    def close(self) -> None:
        """The client is through, or gone: then so is the restore."""
        if self._closed:
            return
        self._closed = True
        if self._left:
            self._feed.end(GONE)
        close = getattr(self._stream, 'close', None)
        if close is not None:
            close()

    def wait(self) -> Outcome:
        """How the restore ended; for tests and for whoever may wait."""
        outcome: Outcome = self._thread.wait()
        return outcome

    def _give(self, chunk: bytes) -> None:
        if not chunk or not self._left:
            return
        if len(chunk) > self._left:
            self._left = 0
            self._feed.end(REMOTE)  # longer than it said
            return
        self._left -= len(chunk)
        self._patience -= self._feed.put(chunk, self._patience)
        if not self._left:
            # Servers need not ask for more when they have all they announced.
            self._feed.finish()

    def _run(self) -> Outcome:
        outcome = Outcome('failed', 'error')
        try:
            outcome = self._restore(StreamSource(self._feed))
            return outcome
        except (Exception, Timeout) as error:
            self._logger.exception('a restore')
            outcome = Outcome('failed', 'error', repr(error))
            return outcome
        finally:
            self._feed.end(self._feed.ended or 'over')
            self._done(outcome)
