"""Telling a remote (or a cluster) that does not work from rows that do not.

One row that the remote refuses goes to the ledger and blocks nothing. When
*every* row is refused, for reasons that are the remote's or our own cluster's,
sending the rest of the container into the ledger would only fill it: the
mapping is held, its rows stay where they are, and a few are tried again after
a growing wait.
"""
from __future__ import annotations

from s3_sync.clock import Clock
from s3_sync.engine.outcomes import CLUSTER_WIDE, REMOTE_WIDE, Outcome
from s3_sync.ledger.backoff import MAX_RETRY_AFTER_SECONDS

TRIP_AFTER = 20
"""Failures of the remote in a row, without one success, after which the mapping is held."""
FIRST_HOLD_SECONDS = 5.0
HELD_FACT = 'session:held'
"""Ledger fact for ``1space status``: generation to reason, of mappings that are held."""
LONGEST_HOLD_SECONDS = 60.0
"""Without a Retry-After of the remote's; that is honoured."""


class RemoteHealth:
    """State of one mapping: working, held, or on trial."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._hold = FIRST_HOLD_SECONDS
        self._until = 0.0
        self.reason = ''
        """Why it is held, for people; '' when it is not."""

    def note(self, outcome: Outcome) -> bool:
        """Count one outcome. True when it is the remote's failure while the mapping is held."""
        if outcome.kind == 'failed' and outcome.reason in REMOTE_WIDE | CLUSTER_WIDE:
            self._failures += 1
            if self._failures < TRIP_AFTER:
                return False
            who = 'this cluster cannot be read' if outcome.reason in CLUSTER_WIDE else 'the remote does not work'
            self.reason = f'{who}: {outcome.reason}: {outcome.detail}'
            if self._clock.monotonic() >= self._until:
                asked = min(outcome.due - self._clock.now(), MAX_RETRY_AFTER_SECONDS) if outcome.due else 0.0
                self._until = self._clock.monotonic() + max(self._hold, asked)
                self._hold = min(self._hold * 2, LONGEST_HOLD_SECONDS)
            return True
        if outcome.kind in ('copied', 'updated', 'deleted') or outcome.reason in ('same', 'verified', 'remote-newer'):
            self._failures, self._hold, self._until, self.reason = 0, FIRST_HOLD_SECONDS, 0.0, ''
        return False

    @property
    def tripped(self) -> bool:
        """The remote does not work: give it no new rows."""
        return self._failures >= TRIP_AFTER

    @property
    def may_try(self) -> bool:
        """Tripped, but the wait is over: a few rows may find out."""
        return self.tripped and self._clock.monotonic() >= self._until

    def tried(self) -> None:
        """A few rows are out to find out: no more of them until their answer, or the next wait, is over."""
        self._until = self._clock.monotonic() + self._hold

    def on_trial(self) -> None:
        """Nothing is at hand to find out with: let new rows in, the first failure holds them again."""
        self._failures = TRIP_AFTER - 1
