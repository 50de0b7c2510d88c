"""A server that speaks memcached's text protocol, as far as Swift's ``MemcacheRing`` uses it.

For tests that need several processes to share a cache, on machines that have no memcached.
"""
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

ABSOLUTE_TIME = 30 * 24 * 3600
"""A larger expiry is a Unix time, not a number of seconds."""


class MemcachedServer(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128  # of the usual five, connections that come at once wait a second for another try

    def __init__(self) -> None:
        self._lock = Lock()
        self._items: dict[bytes, tuple[bytes, bytes, float]] = {}
        super().__init__(('127.0.0.1', 0), _Connection)

    @property
    def address(self) -> str:
        host, port = self.socket.getsockname()
        return f'{host}:{port}'

    @property
    def keys(self) -> set[bytes]:
        with self._lock:
            return {key for key in self._items if self._live(key)}

    def get(self, key: bytes) -> tuple[bytes, bytes] | None:
        """Flags and data."""
        with self._lock:
            return self._items[key][:2] if self._live(key) else None

    def store(self, key: bytes, flags: bytes, expiry: int, data: bytes, *, only_new: bool) -> bool:
        with self._lock:
            if only_new and self._live(key):
                return False
            if 0 < expiry <= ABSOLUTE_TIME:
                until = time.time() + expiry
            else:
                until = expiry or float('inf')
            self._items[key] = flags, data, until
            return True

    def add_up(self, key: bytes, delta: int) -> int | None:
        with self._lock:
            if not self._live(key):
                return None
            flags, data, until = self._items[key]
            total = max(0, int(data) + delta)
            self._items[key] = flags, str(total).encode(), until
            return total

    def delete(self, key: bytes) -> bool:
        with self._lock:
            return self._live(key) and bool(self._items.pop(key))

    def _live(self, key: bytes) -> bool:
        return key in self._items and self._items[key][2] > time.time()


class _Connection(StreamRequestHandler):
    server: MemcachedServer

    def handle(self) -> None:
        while line := self.rfile.readline():
            command, *words = line.split()
            silent = bool(words) and words[-1] == b'noreply'
            answer = self._answer(command, words[:-1] if silent else words)
            if not silent:
                self.wfile.write(answer)

    def _answer(self, command: bytes, words: list[bytes]) -> bytes:
        server = self.server
        if command == b'get':
            found = ((key, server.get(key)) for key in words)
            return b''.join(b'VALUE %s %s %d\r\n%s\r\n' % (key, item[0], len(item[1]), item[1])
                            for key, item in found if item is not None) + b'END\r\n'
        if command in (b'set', b'add'):
            key, flags, expiry, size = words
            data = self.rfile.read(int(size) + 2)[:-2]
            done = server.store(key, flags, int(expiry), data, only_new=command == b'add')
            return b'STORED\r\n' if done else b'NOT_STORED\r\n'
        if command in (b'incr', b'decr'):
            total = server.add_up(words[0], int(words[1]) * (1 if command == b'incr' else -1))
            return b'NOT_FOUND\r\n' if total is None else b'%d\r\n' % total
        if command == b'delete':
            return b'DELETED\r\n' if server.delete(words[0]) else b'NOT_FOUND\r\n'
        return b'ERROR\r\n'


@contextmanager
def memcached() -> Iterator[MemcachedServer]:
    with MemcachedServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
