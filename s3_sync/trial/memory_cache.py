"""The paste filter that stands in for memcached where the machine has none.

It gives the proxy an in-process object with the methods of Swift's
``MemcacheRing``. That is right for one worker only: a second one would not
know the tokens that the first has issued.
"""
from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from s3_sync.clock import Clock, SystemClock

ABSOLUTE_TIME = 30 * 24 * 3600
"""As in memcached: a larger expiry is a Unix time, not a number of seconds."""

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class MemoryCache:
    """Values go through JSON as with memcached, so that nobody shares a mutable object by accident.

    Bytes are kept as they are: keystonemiddleware packs its tokens itself.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._items: dict[str, tuple[str | bytes, float]] = {}

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **_: Any) -> None:
        with self._lock:
            self._items[key] = (value if isinstance(value, bytes) else json.dumps(value), self._expiry(time))

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        with self._lock:
            return self._get(key)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        with self._lock:
            value = max(0, int(self._get(key) or 0) + delta)
            self._items[key] = (json.dumps(value), self._expiry(time))
            return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        with self._lock:
            self._items.pop(key, None)

    def set_multi(self, mapping: dict[str, Any], server_key: str, serialize: bool = True, time: float = 0,
                  **_: Any) -> None:
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys: list[str], server_key: str, raise_on_error: bool = False) -> list[Any]:
        return [self.get(key) for key in keys]

    def _expiry(self, time: float) -> float:
        if time <= 0:
            return float('inf')
        return time if time > ABSOLUTE_TIME else self._clock.now() + time

    def _get(self, key: str) -> Any:
        value, expiry = self._items.get(key, ('null', 0.0))
        if expiry <= self._clock.now():
            self._items.pop(key, None)
            return None
        return value if isinstance(value, bytes) else json.loads(value)


def filter_factory(global_conf: dict[str, str], **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    """Used by paste: ``paste.filter_factory = s3_sync.trial.memory_cache:filter_factory``."""
    cache = MemoryCache()

    def factory(app: WSGIApp) -> WSGIApp:
        def with_cache(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ.setdefault('swift.cache', cache)
            return app(environ, start_response)
        return with_cache
    return factory
