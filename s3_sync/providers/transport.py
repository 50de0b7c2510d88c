"""Pooled connections to a remote: bounded, kept alive, over TLS and proxies.

Works in plain threads and, once the process is monkey-patched, in green ones.
The environment's ``http_proxy``, ``https_proxy`` and ``no_proxy`` are honoured.
"""
from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from s3_sync.clock import Clock
from s3_sync.errors import ConnectionFailed, NotConnected, Throttled
from s3_sync.providers.http import (
    BUFFERED_BODY_BYTES,
    EXPECT_BYTES,
    Connection,
    NoAnswer,
    Response,
)
from s3_sync.streams import Body

CONNECT_SECONDS = 10.0
MAX_IDLE_SECONDS = 45.0
"""Stores close idle connections after a minute or less; older ones are not worth the failed try."""
WAIT_FOR_CONNECTION_SECONDS = 600.0
"""For work that nobody waits for; who serves clients gives up much earlier."""
LOOK_SECONDS = 1.0
"""How often one who waits looks for places that were forgotten."""


class Origin(NamedTuple):
    """Where a connection leads."""

    scheme: str
    host: str
    """Without brackets."""
    port: int


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    authorization: str = field(default='', repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        parts = urlsplit(url if '://' in url else f'http://{url}')
        authorization = ''
        if parts.username is not None:
            pair = f'{unquote(parts.username)}:{unquote(parts.password or "")}'
            authorization = 'Basic ' + base64.b64encode(pair.encode()).decode()
        return cls(parts.hostname or '', parts.port or 3128, authorization)

    def headers(self) -> dict[str, str]:
        return {'proxy-authorization': self.authorization} if self.authorization else {}


class Transport:
    """Sends requests and hands out answers. ``close`` when done; shared by all green threads."""

    def __init__(self, *, max_connections: int, clock: Clock, connect_seconds: float = CONNECT_SECONDS,
                 ca_file: str | None = None, verify: bool = True,
                 connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> None:
        """``connection_wait``: seconds to wait for a free connection before the request fails as Throttled ('busy')."""
        self.max_connections = max_connections
        self._slots = threading.Semaphore(max_connections)
        self._forgotten: deque[None] = deque()
        """Places of answers that nobody closed; given back by the next who asks for one."""
        self._idle: dict[Origin, list[Connection]] = {}
        self._clock = clock
        self._connect_seconds = connect_seconds
        self._connection_wait = connection_wait
        self._ca_file = ca_file
        self._verify = verify
        self._closed = False
        self._tls: ssl.SSLContext | None = None
        self._asks_first = True
        self._proxies = {k: Proxy.parse(v) for k, v in getproxies_environment().items() if k in ('http', 'https')}

    def send(self, origin: Origin, method: str, target: str, headers: dict[str, str], body: Body | None, *,
             timeout: float, bounded: bool = True, fresh: bool = False) -> Response:
        """One request; the answer's body is still unread.

        ``target`` is path and query as sent, ``headers`` without Host's framing
        headers. A kept-alive connection that was closed before any byte of the
        answer is replaced once; ``fresh`` takes no such connection, for what must
        not be sent twice. ``bounded`` False takes no place of the pool: for
        the small read that a caller needs while it holds a connection.
        """
        proxy = self._proxy(origin) if origin.scheme == 'http' else None
        if proxy is not None:
            target = f'http://{headers["host"]}{target}'
            headers = {**headers, **proxy.headers()}
        request = Request(method, target, headers, body)
        if bounded:
            self._take_slot()
        try:
            if not fresh and (conn := self._kept(origin)) is not None:
                with contextlib.suppress(NoAnswer):
                    return self._exchange(conn, origin, request, timeout, bounded)
                if body is not None:
                    body.rewind()
            try:
                return self._exchange(self._connect(origin, timeout), origin, request, timeout, bounded)
            except NoAnswer as error:
                raise ConnectionFailed(f'{origin.host}: connection closed without an answer: {error}') from error
        except BaseException:
            if bounded:
                self._slots.release()
            raise

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._closed = True
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for conn in connections:
                conn.close()

    # -- one exchange -----------------------------------------------------------------

    def _exchange(self, conn: Connection, origin: Origin, request: Request, timeout: float,
                  bounded: bool) -> Response:
        try:
            conn.set_timeout(timeout)
            status, headers = self._roundtrip(conn, request)
        except BaseException:
            conn.close()
            raise

        def release(done: Connection, reusable: bool) -> None:
            idle = self._idle.setdefault(origin, [])
            if reusable and not self._closed and len(idle) < self.max_connections:
                done.idle_since = self._clock.monotonic()
                idle.append(done)
            else:
                done.close()
            if bounded:
                self._slots.release()

        def forgotten() -> None:
            if bounded:
                self._forgotten.append(None)
        return Response(conn, status, headers, head_only=request.method == 'HEAD', release=release,
                        forgotten=forgotten)

    def _roundtrip(self, conn: Connection, request: Request) -> tuple[int, dict[str, str]]:
        body = request.body
        if body is None or body.size <= BUFFERED_BODY_BYTES:
            conn.send(request.head() + (b''.join(body) if body is not None else b''))
            return conn.read_head()
        if body.size >= EXPECT_BYTES and self._asks_first:
            conn.send(request.head({'expect': '100-continue'}))
            if conn.wait_continue():
                status, headers = conn.read_head(stop_at_continue=True)
                if status != 100:
                    headers['connection'] = 'close'  # the body was announced and will not come
                    return status, headers
            else:
                self._asks_first = False  # so that no later body waits in vain
        else:
            conn.send(request.head())
        whole = conn.send_body(body, body.size)
        status, headers = conn.read_head()
        if not whole:
            headers['connection'] = 'close'
        return status, headers

    def _take_slot(self) -> None:
        waited = 0.0
        while True:
            while self._forgotten:
                with contextlib.suppress(IndexError):
                    self._forgotten.pop()
                    self._slots.release()
            look = min(LOOK_SECONDS, max(0.0, self._connection_wait - waited))
            if self._slots.acquire(timeout=look):
                return
            waited += look
            if waited >= self._connection_wait:
                error = Throttled(f'all {self.max_connections} connections stayed busy', reason='busy')
                error.sent = False
                raise error

    # -- connections ------------------------------------------------------------------

    def _kept(self, origin: Origin) -> Connection | None:
        connections = self._idle.get(origin, [])
        oldest = self._clock.monotonic() - MAX_IDLE_SECONDS
        while True:
            try:
                conn = connections.pop()
            except IndexError:  # asking first would be a race between threads
                return None
            if conn.idle_since >= oldest and not conn.has_more:
                return conn
            conn.close()

    def _connect(self, origin: Origin, timeout: float) -> Connection:
        proxy = self._proxy(origin)
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        sock: socket.socket | None = None
        try:
            sock = socket.create_connection((host, port), min(timeout, self._connect_seconds))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == 'https':
                if proxy:
                    _tunnel(sock, origin, proxy)
                sock = self._tls_context().wrap_socket(sock, server_hostname=origin.host)
            return Connection(sock, timeout=timeout)
        except BaseException as error:
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.close()
            if isinstance(error, (OSError, NoAnswer, UnicodeError)):  # UnicodeError: no host can have this name
                raise NotConnected(f'cannot connect to {host}:{port}: {error}') from error
            raise

    def _proxy(self, origin: Origin) -> Proxy | None:
        proxy = self._proxies.get(origin.scheme)
        return None if proxy is None or proxy_bypass_environment(origin.host) else proxy

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file or os.environ.get('AWS_CA_BUNDLE'))
            if not self._verify:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        return self._tls


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out."""

    method: str
    target: str
    headers: dict[str, str]
    body: Body | None = None

    def head(self, more: dict[str, str] | None = None) -> bytes:
        """The head as bytes. ValueError when a value would break out of its line."""
        lines = [f'{self.method} {self.target} HTTP/1.1']
        lines += [f'{name}: {value}' for name, value in self.headers.items()]
        lines += [f'{name}: {value}' for name, value in (more or {}).items()]
        if self.body is not None or self.method in ('PUT', 'POST'):
            lines.append(f'content-length: {self.body.size if self.body is not None else 0}')
        head = '\r\n'.join(lines).encode()
        if head.count(b'\n') != len(lines) - 1 or head.count(b'\r') != len(lines) - 1:
            raise ValueError('line break in a request header')
        return head + b'\r\n\r\n'


def _tunnel(sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """CONNECT through a proxy; ConnectionFailed when it refuses."""
    host = f'[{origin.host}]' if ':' in origin.host else origin.host
    target = f'{host}:{origin.port}'
    conn = Connection(sock, timeout=CONNECT_SECONDS)
    conn.send(Request('CONNECT', target, {'host': target, **proxy.headers()}).head())
    status, _headers = conn.read_head()
    if status != 200:
        raise ConnectionFailed(f'proxy refuses to connect to {host}: {status}')
