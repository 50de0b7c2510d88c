"""When failed work is tried again: exponential, jittered, honouring what the remote asked for.

Arithmetic only. Half of each delay is fixed and half is drawn, so that a
thousand objects that failed together do not come back together, and none
comes back at once.
"""
from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

MAX_RETRY_AFTER_SECONDS = 24 * 3600.0
"""A remote that asks for more than this is wrong or hostile; it is not obeyed further."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays of ``base_seconds`` doubled per attempt, up to ``cap_seconds``."""

    base_seconds: float = 10.0
    cap_seconds: float = 3600.0
    draw: Callable[[], float] = random.random
    """Gives numbers from 0 to 1."""

    def delay(self, attempts: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the ``attempts``-th failed try (1 is the first).

        Between half and all of the exponential step; never less than
        ``retry_after``, above which the jitter of one base step is laid, so
        that those told the same moment spread out.
        """
        doublings = min(max(attempts - 1, 0), 40)
        step = min(self.base_seconds * 2.0 ** doublings, self.cap_seconds)
        wait = step / 2 + step / 2 * self.draw()
        if retry_after is None or retry_after <= 0:
            return wait
        asked = min(retry_after, MAX_RETRY_AFTER_SECONDS)
        return max(wait, asked + min(self.base_seconds, asked) * self.draw())
