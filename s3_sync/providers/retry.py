"""Trying again: only what may work later, with growing random waits, for a bounded time.

What still fails afterwards goes to the ledger, which waits longer. Nothing is
repeated blindly: a write is sent again with the condition it had. After a
connection failure the earlier try may have arrived, so a repeated create-only
or If-Match write can meet its own result and fail with PreconditionFailed.
That error means "look, then decide again" here as everywhere, and the caller's
HEAD finds its own version.

Requests on behalf of a waiting client (``shunt_*``) are never repeated here,
nor is the upload of a large object where its provider repeats (``retried``)
each of the many requests that it comes to.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import TemporaryError
from s3_sync.providers.wrapper import T, Wrapper
from s3_sync.streams import Body


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. All times in seconds."""

    attempts: int = 4
    """Tries in all, the first one included."""
    base_seconds: float = 0.25
    """Upper end of the first random wait; doubles with each try."""
    longest_wait_seconds: float = 8.0
    """No wait is longer. A remote that asks for more (Retry-After) is left to the ledger at once."""


DEFAULT_POLICY = RetryPolicy()


def wait_before(error: TemporaryError, attempt: int, policy: RetryPolicy,
                chance: Callable[[], float] = random.random) -> float | None:
    """Seconds until the try after number ``attempt`` (full jitter, never before Retry-After), None to give up."""
    asked = error.retry_after or 0.0
    if attempt >= policy.attempts or asked > policy.longest_wait_seconds:
        return None
    spread: float = min(policy.longest_wait_seconds, policy.base_seconds * 2 ** (attempt - 1))
    return asked + chance() * spread


def retried(call: Callable[[], T], *, clock: Clock, policy: RetryPolicy = DEFAULT_POLICY,
            chance: Callable[[], float] = random.random, body: Body | None = None) -> T:
    """What ``call`` returns, repeated while it fails with TemporaryError and the policy allows; ``body`` is rewound."""
    attempt = 1
    while True:
        try:
            return call()
        except TemporaryError as error:
            wait = wait_before(error, attempt, policy, chance)
            if wait is None:
                raise
        clock.sleep(wait)
        if body is not None:
            body.rewind()
        attempt += 1


class RetrySync(Wrapper):
    """Repeats what failed with TemporaryError."""

    def __init__(self, inner: BaseSync, *, policy: RetryPolicy = DEFAULT_POLICY,
                 clock: Clock | None = None, chance: Callable[[], float] = random.random) -> None:
        """``chance`` gives numbers from 0 to 1 and is the only randomness."""
        super().__init__(inner)
        self._policy = policy
        self._clock = clock or SystemClock()
        self._chance = chance

    def _around(self, operation: str, call: Callable[[], T], body: Body | None = None) -> T:
        if operation.startswith('shunt_') or (
                operation == 'upload_large_object' and self.capabilities.repeats_parts):
            return call()
        return retried(call, clock=self._clock, policy=self._policy, chance=self._chance, body=body)

    def delete_objects(self, keys: Sequence[str]) -> dict[str, Exception | None]:
        """Names whose own outcome is temporary are tried again, the others are left as they are."""
        outcomes: dict[str, Exception | None] = {}
        left: Sequence[str] = keys
        attempt = 1
        while True:
            outcomes.update(super().delete_objects(left))
            failed = {k: e for k, e in outcomes.items() if isinstance(e, TemporaryError)}
            waits = [self._wait(error, attempt) for error in failed.values()]
            known = [wait for wait in waits if wait is not None]
            if len(known) < len(waits) or not waits:
                return outcomes
            self._clock.sleep(max(known))
            left = list(failed)
            attempt += 1

    def _wait(self, error: TemporaryError, attempt: int) -> float | None:
        return wait_before(error, attempt, self._policy, self._chance)
