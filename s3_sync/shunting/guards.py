"""What keeps a sick or busy remote from harming clients, and clients from harming it: of one proxy process."""
from __future__ import annotations

from collections import OrderedDict

from s3_sync.clock import Clock

BREAK_AFTER = 5
"""Failures of a remote in a row."""
BREAK_SECONDS = 10.0
"""Then nobody asks it for so long; afterwards one request tries."""
MISSING_SECONDS = 5.0
LARGE_SECONDS = 60.0
KEPT_NAMES = 100_000

Name = tuple[str, str]
"""A mapping's generation, and an object's name."""


class Breaker:
    """Of one remote: closed (all may ask), open (nobody), on trial (one)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._trial = False

    def wait_seconds(self) -> float:
        """0: ask, and tell ``worked``, ``failed`` or ``neither`` afterwards. Else how long to leave it alone."""
        if self._failures < BREAK_AFTER:
            return 0.0
        left = self._open_until - self._clock.monotonic()
        if left > 0:
            return left
        if self._trial:
            return 1.0
        self._trial = True
        return 0.0

    def worked(self) -> None:
        """It answered, and be it 404."""
        self._failures = 0
        self._trial = False

    def failed(self) -> None:
        self._failures += 1
        self._trial = False
        if self._failures >= BREAK_AFTER:
            self._open_until = self._clock.monotonic() + BREAK_SECONDS

    def neither(self) -> None:
        """It answered, but that says nothing about others (our credentials, one client too many)."""
        self._trial = False


class Names:
    """Names that something was found out about a moment ago, at most KEPT_NAMES of them."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until: OrderedDict[Name, float] = OrderedDict()

    def holds(self, key: Name) -> bool:
        return self._until.get(key, 0.0) > self._clock.monotonic()

    def note(self, key: Name) -> None:
        self._until[key] = self._clock.monotonic() + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > KEPT_NAMES:
            self._until.popitem(last=False)

    def forget(self, key: Name) -> None:
        self._until.pop(key, None)


class Places:
    """How many reads of large objects are under way at one remote."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, limit: int) -> Lease | None:
        """A place, unless ``limit`` of them are taken."""
        if self.taken >= limit:
            return None
        self.taken += 1
        return Lease(self)


class Lease:
    """A place that was taken; ``release`` is idempotent."""

    def __init__(self, places: Places) -> None:
        self._places: Places | None = places

    def release(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.taken -= 1
