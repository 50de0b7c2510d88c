"""One HTTP/1.1 connection, as lean as the hot path needs it.

The standard client parses response headers with the e-mail package, which
costs more than the rest of a 4 KiB PUT. This one does what S3 needs: one
request after the other on a kept-alive socket, ``100-continue``, bodies by
length, chunks or end of connection.
"""
from __future__ import annotations

import contextlib
import fcntl
import socket
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping

from s3_sync.errors import ConnectionFailed, SourceUnavailable
from s3_sync.timestamps import http_date_seconds
from s3_sync.wire.swift_headers import text_of_header

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 128 * 1024
BUFFERED_BODY_BYTES = 64 * 1024
"""Bodies up to this leave in one piece with the head."""
EXPECT_BYTES = 1024 * 1024
"""From this size on the server is asked first (100-continue)."""
CONTINUE_SECONDS = 1.0

Headers = dict[str, str]


class NoAnswer(Exception):
    """The connection ended before the first byte of an answer."""


class Connection:
    """A socket and the bytes read from it so far. Any error leaves it closed."""

    def __init__(self, sock: socket.socket, *, timeout: float) -> None:
        self._sock = sock
        self._buffer = b''
        self._timeout = timeout
        self.idle_since = 0.0
        sock.settimeout(timeout)

    def set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._sock.settimeout(seconds)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()

    @property
    def has_more(self) -> bool:
        """Whether bytes came that nobody asked for: an answer longer than it said, or a word before closing."""
        waiting = fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, bytes(4))
        return bool(self._buffer) or any(waiting)

    # -- sending --------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """NoAnswer when the other side is gone."""
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            raise ConnectionFailed('sending timed out') from error
        except OSError as error:
            raise NoAnswer(str(error)) from error

    def send_body(self, chunks: Iterable[bytes], size: int) -> bool:
        """False: the other side stopped reading (it may have answered already)."""
        left = size
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise SourceUnavailable(f'body is longer than the {size} bytes announced')
            try:
                self.send(chunk)
            except NoAnswer:
                return False
        if left:
            raise SourceUnavailable(f'body ended {left} bytes early')
        return True

    def wait_continue(self) -> bool:
        """Whether the server said anything within a moment. False: it may not know the question."""
        if self._buffer:
            return True
        self._sock.settimeout(CONTINUE_SECONDS)
        try:
            self._buffer = self._sock.recv(READ_BYTES)
        except TimeoutError:
            return False
        except OSError as error:
            raise NoAnswer(str(error)) from error
        finally:
            self._sock.settimeout(self._timeout)
        if not self._buffer:
            raise NoAnswer('closed')
        return True

    # -- receiving ------------------------------------------------------------------

    def read_head(self, *, stop_at_continue: bool = False) -> tuple[int, Headers]:
        """Status and headers of the answer; informational ones are passed over.

        ``stop_at_continue``: return at ``100 Continue``.
        """
        while True:
            end = self._buffer.find(b'\r\n\r\n')
            while end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise ConnectionFailed('answer has no end of headers')
                self._receive()
                end = self._buffer.find(b'\r\n\r\n')
            head, self._buffer = self._buffer[:end], self._buffer[end + 4:]
            status, headers = parse_head(head)
            if status >= 200 or status == 101 or (stop_at_continue and status == 100):
                return status, headers

    def _receive(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except TimeoutError as error:
            raise ConnectionFailed('no answer in time') from error
        except OSError as error:
            if self._buffer:
                raise ConnectionFailed(f'answer cut short: {error}') from error
            raise NoAnswer(str(error)) from error
        if not data:
            if self._buffer:
                raise ConnectionFailed('answer cut short')
            raise NoAnswer('closed')
        self._buffer += data

    def read_length(self, length: int) -> Iterator[bytes]:
        while length:
            chunk = self._take(length)
            if not chunk:
                raise ConnectionFailed(f'body cut short, {length} bytes missing')
            length -= len(chunk)
            yield chunk

    def read_chunked(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            try:
                length = int(line.split(b';')[0], 16)
            except ValueError as error:
                raise ConnectionFailed('malformed chunk') from error
            if length == 0:
                while self._line():
                    pass
                return
            yield from self.read_length(length)
            if self._line():
                raise ConnectionFailed('malformed chunk')

    def read_to_end(self) -> Iterator[bytes]:
        while chunk := self._take(READ_BYTES):
            yield chunk

    def _take(self, most: int) -> bytes:
        """Some bytes, at most ``most``; b'' at the end of the connection."""
        if self._buffer:
            data, self._buffer = self._buffer[:most], self._buffer[most:]
            return data
        try:
            return self._sock.recv(min(most, 4 * READ_BYTES))
        except TimeoutError as error:
            raise ConnectionFailed('reading timed out') from error
        except OSError as error:
            raise ConnectionFailed(f'body cut short: {error}') from error

    def _line(self) -> bytes:
        while (end := self._buffer.find(b'\r\n')) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise ConnectionFailed('malformed chunk')
            try:
                self._receive()
            except NoAnswer as error:
                raise ConnectionFailed('body cut short') from error
        line, self._buffer = self._buffer[:end], self._buffer[end + 2:]
        return line


def parse_head(head: bytes) -> tuple[int, Headers]:
    """Status and headers (lower-case names, Unicode values; repeated ones joined by commas)."""
    lines = head.decode('latin-1').split('\r\n')
    try:
        version, code = lines[0].split(' ', 2)[:2]
        status = int(code)
    except ValueError as error:
        raise ConnectionFailed('answer is not HTTP') from error
    if not version.startswith('HTTP/1.'):
        raise ConnectionFailed('answer is not HTTP')
    headers: Headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(':')
        # Blanks and letters are judged on text, never on Latin-1: bytes of UTF-8 look like both there.
        value = value.strip(' \t')
        if not line.isascii():
            name, value = text_of_header(name), text_of_header(value)
        name = name.lower()
        headers[name] = f'{headers[name]}, {value}' if name in headers else value
    if version == 'HTTP/1.0' and headers.get('connection', '').lower() != 'keep-alive':
        headers['connection'] = 'close'
    return status, headers


class Response:
    """An answer whose body is still to be read. Reading to the end or closing frees the connection."""

    def __init__(self, conn: Connection, status: int, headers: Headers, *, head_only: bool,
                 release: Callable[[Connection, bool], None], forgotten: Callable[[], None]) -> None:
        self.status = status
        self.headers = headers
        self._conn: Connection | None = conn
        self._release = release
        self._forgotten = forgotten
        self._reusable = headers.get('connection', '').lower() != 'close'
        self._chunks = self._body(conn, head_only)

    def _body(self, conn: Connection, head_only: bool) -> Iterator[bytes]:
        length = self.headers.get('content-length')
        if length is not None and not (length.isascii() and length.isdigit()):
            self._finish(reusable=False)
            raise ConnectionFailed('malformed Content-Length')
        if head_only or self.status in (204, 304) or length == '0':
            self._finish(reusable=self._reusable)
            return iter(())
        if 'chunked' in self.headers.get('transfer-encoding', '').lower():
            return conn.read_chunked()
        if length is None:
            self._reusable = False
            return conn.read_to_end()
        return conn.read_length(int(length))

    def __iter__(self) -> Response:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self._finish(reusable=self._reusable)
            raise
        except BaseException:
            self._finish(reusable=False)
            raise

    def read(self, limit: int) -> bytes:
        """The whole body. ConnectionFailed when it is longer than ``limit``."""
        parts, seen = [], 0
        for chunk in self:
            seen += len(chunk)
            if seen > limit:
                self.close()
                raise ConnectionFailed(f'answer is longer than {limit} bytes')
            parts.append(chunk)
        return b''.join(parts)

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up, unless the body was read to its end."""
        self._finish(reusable=False)

    def _finish(self, *, reusable: bool) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            self._release(conn, reusable)

    def __del__(self) -> None:
        conn = getattr(self, '_conn', None)
        if conn is not None:  # may run anywhere, so no lock may be taken here
            conn.close()
            self._forgotten()


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """How long the remote asks to wait: seconds, or an HTTP date seen from ``now``. None: it asks nothing."""
    text = headers.get('retry-after', '').strip()
    if text.isascii() and text.isdigit():
        return float(text)
    when = http_date_seconds(text)
    return None if when is None else max(0.0, when - now)
