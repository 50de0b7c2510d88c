"""An HTTP proxy between a client and a real server that goes wrong exactly when told.

Everything passes through byte for byte (the Host header too, which S3
signatures cover); a rule picks requests by method, path and count and says
what happens to them instead. Rules count on their own and are tried in the
order in which they were added; the first that fires wins.
"""
from __future__ import annotations

import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn
from urllib.parse import urlsplit

CHUNK = 1 << 16
MAX_HEAD = 1 << 18
JOIN_SECONDS = 5.0
LINGER_SECONDS = 2.0

# -- what can go wrong --------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """Answer without asking the server; the request's body is read first, so that the client sees the answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b''


@dataclass(frozen=True)
class ResetRequest:
    """Reset both connections after this many bytes of the request's body."""

    after: int = 0


@dataclass(frozen=True)
class ResetResponse:
    """Reset the client's connection after this many bytes of the response's body."""

    after: int = 0


@dataclass(frozen=True)
class LoseAnswer:
    """The server does what was asked, and the connection closes before its answer arrives."""


@dataclass(frozen=True)
class Stall:
    """Wait before passing the request on."""

    seconds: float


@dataclass(frozen=True)
class HoldAnswer:
    """The server does what was asked; its answer comes so much later."""

    seconds: float


@dataclass(frozen=True)
class Corrupt:
    """Flip every bit of one byte of the response's body."""

    at: int = 0


@dataclass(frozen=True)
class Truncate:
    """Close the client's connection politely after this many bytes of the response's body."""

    after: int = 0


Fault = Answer | ResetRequest | ResetResponse | LoseAnswer | HoldAnswer | Stall | Corrupt | Truncate


def throttled(status: int = 503, retry_after: float | None = None) -> Answer:
    """503 SlowDown or 429, with Retry-After when given."""
    headers = {} if retry_after is None else {'Retry-After': f'{retry_after:g}'}
    return Answer(status, headers, b'<Error><Code>SlowDown</Code></Error>')


@dataclass
class Rule:
    """Which requests a fault hits. ``hits`` counts them."""

    fault: Fault
    method: str | None = None
    path: str = ''
    """Regular expression, searched in the raw request target with its query."""
    nth: int = 1
    """The first matching request that is hit, counted from 1."""
    times: int | None = 1
    """How many matching requests in a row are hit; None: all from then on."""
    seen: int = 0
    hits: int = 0

    def fires(self, method: str, path: str) -> bool:
        if self.method not in (None, method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.seen >= self.nth + self.times):
            return False
        self.hits += 1
        return True


@dataclass(frozen=True)
class Request:
    """One request that came. ``status`` 0: the client got no status."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Lower-case names."""
    faulted: bool = False


# -- the proxy ----------------------------------------------------------------------------


class FaultProxy:
    """Runs between ``__enter__`` and ``__exit__``; ``url`` stands for the target's."""

    def __init__(self, target: str, *, port: int = 0) -> None:
        """``port``: of a proxy that was closed, to stand in its place."""
        parts = urlsplit(target)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self._path = parts.path
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._requests: list[Request] = []
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._listener = socket.create_server(('127.0.0.1', port))

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()
        return f'http://{host}:{port}{self._path}'

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def fail(self, fault: Fault, *, method: str | None = None, path: str = '', nth: int = 1,
             times: int | None = 1) -> Rule:
        """Add a rule; see Rule for the arguments."""
        rule = Rule(fault, method, path, nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """No more faults; forget the requests so far."""
        with self._lock:
            self._rules.clear()
            self._requests.clear()

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order in which they were answered or failed."""
        with self._lock:
            return list(self._requests)

    def count(self, method: str, path: str = '') -> int:
        """How many requests of a method had a path that matches the regular expression."""
        return sum(request.method == method and bool(re.search(path, request.path)) for request in self.requests)

    def __enter__(self) -> FaultProxy:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets = list(self._sockets)
        for connection in sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
            assert not thread.is_alive(), 'a connection of the fault proxy does not end'

    # -- used by connections ----------------------------------------------------------------

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.fires(method, path)), None)

    def record(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def wait(self, seconds: float) -> bool:
        """Until the time is over; False: the proxy closes instead."""
        return not self._closing.wait(seconds)

    def connect(self) -> socket.socket:
        upstream = socket.create_connection(self._target, timeout=60)
        self._keep(upstream)
        return upstream

    def _keep(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets.add(connection)
        if self._closing.is_set():  # close() may have counted the open ones before this one came
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(connection)
        connection.close()

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._keep(client)
            self._spawn(_Connection(self, client).run)


class _Broken(Exception):
    """This connection ends here, on purpose or because a side went away."""


class _Connection:
    """One client connection and the one to the server that belongs to it."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._client_in = _Reader(client)
        self._upstream: socket.socket | None = None
        self._note: Callable[[int], None] = lambda status: None

    def run(self) -> None:
        try:
            while self._one_request():
                pass
        except (_Broken, OSError):
            pass
        finally:
            self._drop_upstream()
            self._proxy.forget(self._client)

    def _one_request(self) -> bool:
        head = self._client_in.head()
        if head is None:
            return False
        method, path, _ = head.first.split(' ', 2)
        fault = self._proxy.fault_for(method, path)
        self._note = lambda status: self._record(Request(method, path, status, head.headers, fault is not None))
        try:
            if isinstance(fault, Stall) and not self._proxy.wait(fault.seconds):
                return False
            if isinstance(fault, Answer):
                self._answer(head, fault, method)
                return True
            return self._forward(head, method, fault)
        finally:
            self._note(0)

    def _record(self, request: Request) -> None:
        """Once for each request, and before the client can have seen the whole answer."""
        self._proxy.record(request)
        self._note = lambda status: None

    def _answer(self, head: _Head, fault: Answer, method: str) -> None:
        if not head.expects_continue:
            for _ in self._client_in.body(head):
                pass
        # Whether the body of an Expect request still comes is the client's choice: not to be kept alive.
        closing = ['Connection: close'] if head.expects_continue else []
        lines = [f'HTTP/1.1 {fault.status} Scripted', *(f'{k}: {v}' for k, v in fault.headers.items()),
                 f'Content-Length: {len(fault.body)}', *closing, '', '']
        self._note(fault.status)
        self._client.sendall('\r\n'.join(lines).encode('latin1') + (b'' if method == 'HEAD' else fault.body))
        if closing:
            self._linger()
            raise _Broken

    def _linger(self) -> None:
        """Closing with unread bytes would be a reset, and the client might never see what was sent."""
        self._client.shutdown(socket.SHUT_WR)
        self._client.settimeout(LINGER_SECONDS)
        with suppress(OSError):
            while self._client.recv(CHUNK):
                pass

    def _forward(self, head: _Head, method: str, fault: Fault | None) -> bool:
        """True when both connections can carry another request."""
        if isinstance(fault, ResetRequest) and fault.after == 0:
            self._reset()
        upstream = self._fresh_upstream()
        upstream.sendall(head.raw)
        answers = _Reader(upstream)
        if head.expects_continue:
            answer = self._response_head(answers)
            if answer.status != 100:
                self._note(answer.status)
                self._client.sendall(answer.raw)
                self._send_body(answers, answer, method, None)
                self._linger()
                raise _Broken
            self._client.sendall(answer.raw)
        self._send_request_body(upstream, head, fault)
        answer = self._response_head(answers)
        while answer.status == 100:
            answer = self._response_head(answers)
        if isinstance(fault, LoseAnswer) or (isinstance(fault, HoldAnswer) and not self._proxy.wait(fault.seconds)):
            raise _Broken
        if isinstance(fault, ResetResponse) and fault.after == 0:
            self._reset()
        self._note(answer.status)
        self._client.sendall(answer.raw)
        self._send_body(answers, answer, method, fault)
        keep = not any(h.headers.get('connection', '').lower() == 'close' for h in (head, answer))
        return keep and answer.has_end(method)

    def _send_request_body(self, upstream: socket.socket, head: _Head, fault: Fault | None) -> None:
        left = fault.after if isinstance(fault, ResetRequest) else None
        for raw in self._client_in.body(head):
            if left is not None and len(raw) >= left:
                upstream.sendall(raw[:left])
                self._reset()
            if left is not None:
                left -= len(raw)
            try:
                upstream.sendall(raw)
            except (BrokenPipeError, ConnectionResetError):
                return  # it has answered already and wants no more
        if left is not None:
            self._reset()

    def _send_body(self, answers: _Reader, answer: _Head, method: str, fault: Fault | None) -> None:
        """The response's body, as long as the fault lets it."""
        position = 0
        limit = fault.after if isinstance(fault, ResetResponse | Truncate) else None
        for raw in answers.body(answer, method=method):
            if isinstance(fault, Corrupt) and position <= fault.at < position + len(raw):
                changed = bytearray(raw)
                changed[fault.at - position] ^= 0xff
                raw = bytes(changed)
            if limit is not None and position + len(raw) >= limit:
                self._client.sendall(raw[:limit - position])
                if isinstance(fault, ResetResponse):
                    self._reset()
                raise _Broken
            position += len(raw)
            self._client.sendall(raw)

    def _response_head(self, answers: _Reader) -> _Head:
        head = answers.head()
        if head is None:
            raise _Broken
        return head

    def _reset(self) -> NoReturn:
        """RST instead of FIN, to both sides."""
        for connection in (self._client, self._upstream):
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        raise _Broken

    def _fresh_upstream(self) -> socket.socket:
        """The server's connection of the last request, or a new one when the server closed it since."""
        if self._upstream is not None and select.select([self._upstream], [], [], 0)[0]:
            self._drop_upstream()
        if self._upstream is None:
            self._upstream = self._proxy.connect()
        return self._upstream

    def _drop_upstream(self) -> None:
        if self._upstream is not None:
            self._proxy.forget(self._upstream)
            self._upstream = None


@dataclass(frozen=True)
class _Head:
    raw: bytes
    first: str
    headers: Mapping[str, str]

    @property
    def status(self) -> int:
        return int(self.first.split(' ', 2)[1])

    @property
    def expects_continue(self) -> bool:
        return self.headers.get('expect', '').lower() == '100-continue'

    @property
    def chunked(self) -> bool:
        return 'chunked' in self.headers.get('transfer-encoding', '').lower()

    def has_end(self, method: str) -> bool:
        """Whether a response's body ends before its connection does."""
        return (self.chunked or 'content-length' in self.headers or self.status in (204, 304) or method == 'HEAD')


class _Reader:
    """Heads and bodies from a socket, raw."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b''

    def head(self) -> _Head | None:
        """The next head with its empty line; None when the peer closed instead."""
        while b'\r\n\r\n' not in self._buffer:
            more = self._connection.recv(CHUNK)
            if not more or len(self._buffer) > MAX_HEAD:
                return None
            self._buffer += more
        end = self._buffer.index(b'\r\n\r\n') + 4
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        first, *lines = raw[:-4].decode('latin1').split('\r\n')
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(':') for line in lines)}
        return _Head(raw, first, headers)

    def body(self, head: _Head, *, method: str | None = None) -> Iterator[bytes]:
        """The body's bytes as they are on the wire (chunk headers included). ``method``: of the request answered."""
        if method == 'HEAD' or (method is not None and head.status in (204, 304)):
            return
        if head.chunked:
            yield from self._chunks()
        elif 'content-length' in head.headers:
            yield from self._exactly(int(head.headers['content-length']))
        elif method is not None:
            yield from self._until_closed()

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if not self._buffer:
                self._more()
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(part)
            yield part

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            yield line
            size = int(line.split(b';')[0], 16)
            if size == 0:
                break
            yield from self._exactly(size + 2)
        while True:
            line = self._line()
            yield line
            if line == b'\r\n':
                return

    def _line(self) -> bytes:
        while b'\r\n' not in self._buffer:
            self._more()
        end = self._buffer.index(b'\r\n') + 2
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def _until_closed(self) -> Iterator[bytes]:
        while True:
            if self._buffer:
                part, self._buffer = self._buffer, b''
                yield part
            more = self._connection.recv(CHUNK)
            if not more:
                return
            self._buffer = more

    def _more(self) -> None:
        more = self._connection.recv(CHUNK)
        if not more:
            raise _Broken
        self._buffer += more
