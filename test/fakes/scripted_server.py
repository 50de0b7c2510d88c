"""An HTTP server that says exactly what a test tells it to, byte for byte, and keeps what it was sent."""
from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Step = Callable[['Exchange'], None]


@dataclass
class Exchange:
    """One request being answered."""

    conn: socket.socket
    request: bytes = b''
    body: bytes = b''
    closed: bool = False
    number: int = 0

    @property
    def headers(self) -> dict[str, str]:
        lines = self.request.decode().split('\r\n')[1:]
        return {k.lower(): v.strip() for k, _, v in (line.partition(':') for line in lines if line)}

    @property
    def line(self) -> str:
        return self.request.decode().split('\r\n', 1)[0]

    def read_body(self) -> None:
        length = int(self.headers.get('content-length') or 0)
        while len(self.body) < length:
            data = self.conn.recv(65536)
            if not data:
                return
            self.body += data

    def send(self, data: bytes) -> None:
        self.conn.sendall(data)

    def close(self) -> None:
        self.closed = True


@dataclass
class ScriptedServer:
    """Answers the n-th request with the n-th step; a step may send, read, wait and close as it likes."""

    steps: Sequence[Step]
    tls: ssl.SSLContext | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    connections: int = 0
    failure: BaseException | None = None

    def __enter__(self) -> ScriptedServer:
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.url = f'http{"s" if self.tls else ""}://127.0.0.1:{self.port}'
        self._open: list[socket.socket] = []
        self._left = list(self.steps)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for conn in self._open:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for conn in self._open:
            conn.close()
        if self.failure is not None and exc[0] is None:
            raise self.failure

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.tls is not None:
                try:
                    conn = self.tls.wrap_socket(conn, server_side=True)
                except OSError:  # the client did not like our certificate
                    conn.close()
                    continue
            self._open.append(conn)
            thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn: socket.socket) -> None:
        try:
            while self._answer(conn):
                pass
        except (ConnectionError, OSError):
            return
        except BaseException as error:  # told to the test by __exit__
            self.failure = error

    def _answer(self, conn: socket.socket) -> bool:
        data = b''
        while b'\r\n\r\n' not in data:
            more = conn.recv(65536)
            if not more:
                return False
            data += more
        head, _, rest = data.partition(b'\r\n\r\n')
        exchange = Exchange(conn, head, rest)
        with self._lock:
            exchange.number = len(self.exchanges)
            self.exchanges.append(exchange)
            step = self._left.pop(0) if self._left else gone
        step(exchange)
        if exchange.closed:
            conn.shutdown(socket.SHUT_RDWR)
        return not exchange.closed


def reply(status: str = '200 OK', body: bytes = b'', **headers: str) -> Step:
    """Read the whole request, answer with a body of known length."""
    def step(exchange: Exchange) -> None:
        exchange.read_body()
        lines = [f'HTTP/1.1 {status}', *(f'{k.replace("_", "-")}: {v}' for k, v in headers.items())]
        if 'content_length' not in headers:
            lines.append(f'Content-Length: {len(body)}')
        exchange.send('\r\n'.join(lines).encode() + b'\r\n\r\n' + body)
    return step


def raw(data: bytes, *, close: bool = False) -> Step:
    """Read the whole request, answer with these bytes."""
    def step(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(data)
        if close:
            exchange.close()
    return step


def hang_up(exchange: Exchange) -> None:
    """Close without a word."""
    exchange.close()


def gone(exchange: Exchange) -> None:
    raise AssertionError(f'no answer scripted for {exchange.line}')


def s3_error(code: str, message: str = '', more: str = '') -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'.encode()
