"""Who may restore what, now: one at a time of an object in the cluster, few in a process, none right after a failure.

Only ever a matter of economy: two restores of one version end the same. So a
cache that cannot be asked is no reason not to restore.
"""
from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, Protocol

from s3_sync.clock import Clock
from s3_sync.concurrency import Timeout

REST_SECONDS = 60.0
REMEMBERED_FAILURES = 10_000
LOCK_SECONDS = 60
SLOW_BYTES_PER_SECOND = 2 * 1024 ** 2
"""A restore that is slower may meet a second one of the same object."""
HARMLESS = frozenset({'client-gone', 'slow-client', 'stalled', 'stopping', 'dropped', 'changed'})
"""Reasons of failures that say nothing of the object: the next reader may try."""

Refusal = Literal['busy', 'failed-lately', 'too-large', 'too-many']


class Cache(Protocol):
    """Swift's ``MemcacheRing``, as far as it is needed."""

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int: ...

    def delete(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Flight:
    """Leave to restore one object; ``RestoreLocks.end`` gives it back."""

    key: str
    cache: Cache | None
    """Where others see it; None: nowhere."""
    until: float
    """Monotonic seconds at which others stop seeing it."""


class RestoreLocks:
    """Of one process. Green-thread safe."""

    def __init__(self, *, clock: Clock, max_restore_size: int | None = None, restore_concurrency: int = 16,
                 rest_seconds: float = REST_SECONDS) -> None:
        self._clock = clock
        self._max_size = max_restore_size
        self._concurrency = restore_concurrency
        self._rest = rest_seconds
        self._flying: set[str] = set()
        self._failed: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Restores under way."""
        return len(self._flying)

    def begin(self, account: str, container: str, name: str, size: int, cache: Cache | None) -> Flight | Refusal:
        """Leave to restore this object of ``size`` bytes, or why not. Asks the cache at most once."""
        key = _key(account, container, name)
        if self._max_size is not None and size > self._max_size:
            return 'too-large'
        if key in self._flying:
            return 'busy'
        if self._resting(key):
            return 'failed-lately'
        if len(self._flying) >= self._concurrency:
            return 'too-many'
        self._flying.add(key)
        seconds = LOCK_SECONDS + size // SLOW_BYTES_PER_SECOND
        until = self._clock.monotonic() + seconds
        try:
            alone = cache is None or cache.incr(key, time=seconds) == 1
        except (Exception, Timeout):
            return Flight(key, None, until)
        except BaseException:
            self._flying.discard(key)
            raise
        if alone:
            return Flight(key, cache, until)
        self._flying.discard(key)
        return 'busy'

    def end(self, flight: Flight, *, failed: str = '') -> None:
        """``failed``: the reason of a failure, '' for any other end. Once for each flight."""
        self._flying.discard(flight.key)
        if failed and failed not in HARMLESS:
            self._failed[flight.key] = self._clock.monotonic() + self._rest
            self._failed.move_to_end(flight.key)
            if len(self._failed) > REMEMBERED_FAILURES:
                self._failed.popitem(last=False)
        if flight.cache is None or self._clock.monotonic() >= flight.until:
            return  # by now it may be somebody else's
        try:
            flight.cache.delete(flight.key)
        except (Exception, Timeout):
            return  # it goes by itself

    def _resting(self, key: str) -> bool:
        until = self._failed.get(key)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        del self._failed[key]
        return False


def _key(account: str, container: str, name: str) -> str:
    return 'onespace-restore/' + hashlib.sha256(f'{account}/{container}/{name}'.encode()).hexdigest()
