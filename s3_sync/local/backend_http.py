"""GET, HEAD and DELETE to object and container servers over kept-alive connections.

Swift's ``direct_client`` opens a connection for each request and parses
headers with the mail parser, which also loses headers with non-ASCII names.
Storage servers answer plain HTTP/1.1 with a Content-Length; that is all that is
understood here. Green when the process is monkey-patched, blocking otherwise.
"""
from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import SourceUnavailable
from s3_sync.local.placement import Node
from s3_sync.streams import CHUNK_BYTES

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
IDLE_SECONDS = 20.0
"""Well below the server's client_timeout (60), so that it rarely closes a connection under us."""
IDLE_CONNECTIONS = 8
"""Kept for each server. Each holds a green thread there."""
MAX_HEADERS = 1000
MAX_LINE_BYTES = 64 * 1024
DRAIN_BYTES = 64 * 1024
"""An unread rest up to this is read away to keep the connection; more closes it."""


class BackendError(SourceUnavailable):
    """An object server gave no usable answer."""


class _Connection:
    def __init__(self, address: tuple[str, int], answer_seconds: float) -> None:
        self.address = address
        self._socket = socket.create_connection(address, timeout=CONNECT_SECONDS)
        self._socket.settimeout(answer_seconds)
        self.file: BinaryIO = self._socket.makefile('rb')
        self.idle_since = 0.0

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def close(self) -> None:
        self.file.close()
        self._socket.close()


@dataclass
class BackendResponse:
    """An answer whose body was not read yet. ``close`` it, also when it was read to the end."""

    status: int
    headers: dict[str, str]
    """Lower-case names, Unicode values."""
    size: int
    _connection: _Connection
    _pool: BackendConnections
    _left: int = field(init=False)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._left = self.size

    def __iter__(self) -> Iterator[bytes]:
        """BackendError when the body ends early."""
        while self._left:
            yield self._read(min(CHUNK_BYTES, self._left))

    def read(self) -> bytes:
        """The whole rest at once."""
        return self._read(self._left) if self._left else b''

    def _read(self, size: int) -> bytes:
        try:
            chunk = self._connection.file.read(size)
        except (OSError, ValueError) as error:
            self._abandon()
            raise BackendError(f'{self._connection.address}: body: {error}') from error
        self._left -= len(chunk)
        if len(chunk) != size:
            self._abandon()
            raise BackendError(f'{self._connection.address}: body ended {self._left} bytes early')
        return chunk

    def _abandon(self) -> None:
        self._closed = True
        self._connection.close()

    def close(self) -> None:
        if self._closed:
            return
        if self._left > DRAIN_BYTES or self.headers.get('connection', '').lower() == 'close':
            self._abandon()
            return
        try:
            self.read()
        except BackendError:
            return
        self._closed = True
        self._pool.give_back(self._connection)


class BackendConnections:
    """Idle connections to storage servers, for all green threads of a process.

    ``answer_seconds``: how long a server may say nothing.
    """

    def __init__(self, clock: Clock | None = None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._clock = clock or SystemClock()
        self._answer_seconds = answer_seconds
        self._idle: dict[tuple[str, int], deque[_Connection]] = {}
        self._closed = False

    def request(self, method: str, node: Node, partition: int, path: tuple[str, ...],
                headers: Mapping[str, str], *, query: str = '') -> BackendResponse:
        """One request without a body that may be sent twice: GET, HEAD, DELETE with an X-Timestamp.

        ``path`` is account, container, object; ``query`` is encoded. BackendError
        when there is no answer. A kept-alive connection that the server has
        closed meanwhile is replaced once; nothing else is tried twice.
        """
        address = (str(node['ip']), int(node['port']))
        target = quote('/'.join(('', str(node['device']), str(partition), *path))) + (f'?{query}' if query else '')
        lines = [f'{method} {target} HTTP/1.1', f'Host: {address[0]}:{address[1]}']
        lines += [f'{key}: {value}' for key, value in headers.items()]
        request = '\r\n'.join([*lines, '', '']).encode()
        try:
            connection = self._take(address)
            if connection is not None:
                response = self._exchange(connection, method, request)
                if response is not None:
                    return response
            response = self._exchange(_Connection(address, self._answer_seconds), method, request)
        except OSError as error:
            raise BackendError(f'{address[0]}:{address[1]}: {error}') from error
        if response is None:
            raise BackendError(f'{address[0]}:{address[1]}: closed the connection without an answer')
        return response

    def _exchange(self, connection: _Connection, method: str, request: bytes) -> BackendResponse | None:
        """None when the connection turned out to be dead before anything was answered."""
        try:
            try:
                connection.send(request)
                status_line = connection.file.readline(MAX_LINE_BYTES)
            except (ConnectionResetError, BrokenPipeError):
                status_line = b''
            if not status_line:
                connection.close()
                return None
            status, headers = self._head(connection, status_line)
            bodiless = method == 'HEAD' or status in (204, 304)
            return BackendResponse(status, headers, 0 if bodiless else int(headers['content-length']), connection, self)
        except (KeyError, ValueError, IndexError) as error:
            connection.close()
            raise BackendError(f'{connection.address}: not an answer of an object server: {error!r}') from error
        except BaseException:  # green timeouts included: what was sent half cannot be used again
            connection.close()
            raise

    @staticmethod
    def _head(connection: _Connection, status_line: bytes) -> tuple[int, dict[str, str]]:
        version, status, _ = (status_line + b' ').split(b' ', 2)
        if not version.startswith(b'HTTP/1.'):
            raise ValueError(status_line[:80])
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = connection.file.readline(MAX_LINE_BYTES)
            if line in (b'\r\n', b'\n'):
                return int(status), headers
            key, colon, value = line.partition(b':')
            if not colon:
                raise ValueError(line[:80])
            headers[key.decode('utf-8', 'surrogateescape').lower()] = value.strip().decode('utf-8', 'surrogateescape')
        raise ValueError(f'more than {MAX_HEADERS} headers')

    def _take(self, address: tuple[str, int]) -> _Connection | None:
        idle = self._idle.get(address)
        oldest = self._clock.monotonic() - IDLE_SECONDS
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest:
                return connection
            connection.close()
        return None

    def give_back(self, connection: _Connection) -> None:
        """Keep it for the next request to the same server, or close it when there are enough."""
        idle = self._idle.setdefault(connection.address, deque())
        if self._closed or len(idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        connection.idle_since = self._clock.monotonic()
        idle.append(connection)

    def close(self) -> None:
        self._closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()
