"""An object server whose answers are scripted for each device."""
from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from swift.common.utils import Timestamp


class ScriptedServer:
    """Speaks just enough HTTP. ``answers``: device to raw bytes (then closes if told) or a list of them in turn."""

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.seen: list[str] = []
        self.connections = 0
        self.hang_up_after: set[str] = set()
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        workers = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            self.connections += 1
            self._open.append(connection)
            workers.append(threading.Thread(target=self._serve, args=(connection,)))
            workers[-1].start()
        for worker in workers:
            worker.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile('rb') as file:
            while True:
                head = b''
                while not head.endswith(b'\r\n\r\n'):
                    try:
                        line = file.readline()
                    except OSError:
                        return
                    if not line:
                        return
                    head += line
                method, target, _ = head.decode().split(' ', 2)
                device = target.split('/')[1]
                self.requests.append((method, device))
                self.seen.append(head.decode())
                script = self.answers[device]
                answer = script.pop(0) if len(script) > 1 else script[0]
                if method == 'HEAD':
                    answer = answer.partition(b'\r\n\r\n')[0] + b'\r\n\r\n'
                try:
                    connection.sendall(answer)
                except OSError:
                    return
                if device in self.hang_up_after or not answer:
                    return

    def hang_up(self) -> None:
        """Close every connection, as a server that restarts or tires of idle ones."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join()


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    try:
        yield server
    finally:
        server.close()


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b'') -> bytes:
    lines = [f'HTTP/1.1 {status} Reason', f'Content-Length: {len(body)}',
             *(f'{key}: {value}' for key, value in (headers or {}).items())]
    return '\r\n'.join([*lines, '', '']).encode() + body


def version(body: bytes, data: float, metadata: float | None = None, *, md5_of: bytes | None = None,
            **headers: str) -> bytes:
    """A 200 as an object server gives it."""
    digest = hashlib.md5(body if md5_of is None else md5_of, usedforsecurity=False).hexdigest()
    return answer(200, {'Content-Type': 'text/plain', 'ETag': f'"{digest}"',
                        'X-Backend-Data-Timestamp': Timestamp(data).internal,
                        'X-Backend-Timestamp': Timestamp(data if metadata is None else metadata).internal,
                        'X-Timestamp': Timestamp(data if metadata is None else metadata).normal,
                        **{k.replace('_', '-'): v for k, v in headers.items()}}, body)


def missing(tombstone: float | None = None) -> bytes:
    return answer(404, {} if tombstone is None else {'X-Backend-Timestamp': Timestamp(tombstone).internal}, b'<html>')
