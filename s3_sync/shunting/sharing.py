"""One remote GET for everybody who wants the same small object now (semantics 13).

The bytes are read once, as fast as the remote gives them, into memory, from
which each reader takes them at its own pace: a slow one holds up nobody, one
that leaves stops nobody, and the last one that leaves stops the remote read.
Who comes just after the end still finds them, because a crowd does not come in
the same moment.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Protocol

from s3_sync.base_sync import ProviderResponse
from s3_sync.clock import Clock
from s3_sync.concurrency import Event, GreenThread, Timeout, spawn
from s3_sync.errors import ConnectionFailed
from s3_sync.types import ObjectMeta

MEMORY_BYTES = 256 * 1024 ** 2
"""Of all shared objects in a process; what does not fit is read by each for itself."""
LINGER_SECONDS = 2.0
"""For whoever comes after the last byte; a change through this process ends it (``forget``)."""
RESTORE_SECONDS = 30.0
"""While the object is being restored it may stay longer."""


class Stream(Protocol):
    """A remote body: exactly the object's bytes, or an error."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Shares:
    """Of one process."""

    def __init__(self, *, clock: Clock, memory_bytes: int = MEMORY_BYTES,
                 linger_seconds: float = LINGER_SECONDS) -> None:
        self._clock = clock
        self._free = memory_bytes
        self._linger = linger_seconds
        self._downloads: dict[Hashable, Download] = {}

    @property
    def free_bytes(self) -> int:
        return self._free

    def join(self, key: Hashable, opener: Callable[[], ProviderResponse],
             stream: Callable[[ProviderResponse], Stream], limit_bytes: int) -> Reader | ProviderResponse | None:
        """Read along with others, or begin.

        ``opener``: the remote's answer; ``stream``: the body of one that is shared.
        A ProviderResponse is not to be shared (no 200, more than ``limit_bytes``, no
        memory) and this caller's own; None: somebody else has just found that out.
        What ``opener`` raises is raised to all who wait for it.
        """
        download = self._downloads.get(key)
        if download is not None:
            return self._follow(download)
        download = self._downloads[key] = Download(self, key)
        try:
            answer = opener()
            if not self._fits(answer, limit_bytes) or answer.meta is None:
                download.refuse(None if answer.status != 404 else ProviderResponse(404, answer.headers))
                return answer
            self._free -= answer.meta.size
            return download.begin(answer, answer.meta, stream(answer), clock=self._clock,
                                  linger_seconds=self._linger)
        except Exception as error:
            download.refuse(error)
            raise
        except BaseException:  # nobody else is to blame
            download.refuse(None)
            raise

    def forget(self, key: Hashable) -> None:
        """Whoever comes from now on reads anew."""
        self._downloads.pop(key, None)

    def _fits(self, answer: ProviderResponse, limit_bytes: int) -> bool:
        return (answer.status == 200 and answer.meta is not None
                and answer.headers.get('content-length') == str(answer.meta.size)  # not every remote tells it
                and answer.meta.size <= min(limit_bytes, self._free))

    @staticmethod
    def _follow(download: Download) -> Reader | ProviderResponse | None:
        found = download.reader()
        if isinstance(found, Exception):
            raise found
        return found

    # -- for downloads ----------------------------------------------------------------------

    def drop(self, download: Download) -> None:
        if self._downloads.get(download.key) is download:
            del self._downloads[download.key]

    def release(self, size: int) -> None:
        self._free += size


class Download:
    """An object on its way into memory, and for a moment after."""

    def __init__(self, shares: Shares, key: Hashable) -> None:
        self.key = key
        self.chunks: list[bytes] = []
        self.complete = False
        self.error: BaseException | None = None
        self._shares = shares
        self._opened = Event()
        self._news = Event()
        self._readers = 0
        self._holders = 0
        self._thread: GreenThread | None = None
        self._stream: Stream | None = None
        self._job: Callable[[Download], bool] | None = None
        self._restored: Event | None = None

    # -- beginning ----------------------------------------------------------------------------

    def begin(self, answer: ProviderResponse, meta: ObjectMeta, stream: Stream, *, clock: Clock,
              linger_seconds: float) -> Reader:
        """The first reader; its place, and that of all who waited, is kept before anything is read."""
        self.meta = meta
        self.headers = answer.headers
        self._stream = stream
        self._holders = 1  # the reading itself
        reader = self._new_reader()
        self._thread = spawn(self._read, stream, clock, linger_seconds)
        self._opened.send(None)
        return reader

    def refuse(self, why: Exception | ProviderResponse | None) -> None:
        """Nothing to share: what those who wait are told."""
        self._shares.drop(self)
        self._opened.send((why,))

    def reader(self) -> Reader | Exception | ProviderResponse | None:
        self._readers += 1  # from now on: nobody may stop it meanwhile
        try:
            refused = self._opened.wait()
        except BaseException:
            self._readers -= 1
            raise
        self._readers -= 1
        if refused is not None:
            why: Exception | ProviderResponse | None = refused[0]
            return why
        return self._new_reader()

    def _new_reader(self) -> Reader:
        self._readers += 1
        self._holders += 1
        return Reader(self)

    # -- reading ------------------------------------------------------------------------------

    def _read(self, stream: Stream, clock: Clock, linger_seconds: float) -> None:
        try:
            for chunk in stream:
                self.chunks.append(chunk)
                self._tell()
            self.complete = True
        except (Exception, Timeout) as error:
            self.error = error
        finally:
            if not self.complete and self.error is None:
                self.error = ConnectionFailed('the read was stopped')
            stream.close()
            self._tell()
        if self.complete:
            self._restore()
            clock.sleep(linger_seconds)
            if self._restored is not None:
                with Timeout(RESTORE_SECONDS, False):
                    self._restored.wait()
        self._shares.drop(self)
        self.let_go()

    def wait(self) -> None:
        """Until there is more, or the end."""
        self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, Event()
        news.send()

    # -- ending -------------------------------------------------------------------------------

    def leave(self) -> None:
        """A reader goes."""
        self._readers -= 1
        self.let_go()
        if self._readers or self.complete or self.error is not None or self._thread is None:
            return
        thread, self._thread = self._thread, None
        self.error = ConnectionFailed('nobody wanted it any more')
        self._shares.drop(self)
        thread.kill()
        assert self._stream is not None
        self._stream.close()  # a thread that had not begun yet closes nothing
        self.let_go()

    def let_go(self) -> None:
        """One of those who need the bytes is through with them."""
        self._holders -= 1
        if not self._holders:
            self.chunks = []
            self._shares.release(self.meta.size)

    # -- restoring ----------------------------------------------------------------------------

    def when_complete(self, job: Callable[[Download], bool]) -> None:
        """Have ``job`` called, once and whoever asked for it first, when all bytes are here.

        True from it: they are needed until ``restored`` is called.
        """
        if self._job is None:
            self._job = job
            if self.complete:
                self._restore()

    def restored(self) -> None:
        assert self._restored is not None
        self._restored.send()
        self.let_go()

    def _restore(self) -> None:
        if self._job is None:
            return
        self._restored, self._holders = Event(), self._holders + 1
        if not self._job(self):
            self.restored()


class Reader:
    """One client's iterator."""

    def __init__(self, download: Download) -> None:
        self.download = download
        self._at = 0
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        download = self.download
        while not self._closed:
            if self._at < len(download.chunks):
                chunk = download.chunks[self._at]
                self._at += 1
                return chunk
            if download.complete:
                break
            if download.error is not None:
                raise ConnectionFailed(f'the shared read failed: {download.error}') from download.error
            download.wait()
        raise StopIteration

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.download.leave()
