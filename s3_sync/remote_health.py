"""Telling a remote that does not work from rows that do not.

One row that the remote refuses goes to the ledger and blocks nothing. When
*every* row is refused, for reasons that are the remote's, sending the rest of
the container into the ledger would only fill it: the mapping is held, its rows
stay where they are, and a few are tried again after a growing wait.
"""
from __future__ import annotations

from s3_sync.clock import Clock
from s3_sync.engine.outcomes import REMOTE_WIDE, Outcome

TRIP_AFTER = 20
"""Failures of the remote in a row, without one success, after which the mapping is held."""
FIRST_HOLD_SECONDS = 5.0
HELD_FACT = 'session:held'
"""Ledger fact for ``1space status``: generation to reason, of mappings whose remote does not work."""
LONGEST_HOLD_SECONDS = 60.0


class RemoteHealth:
    """State of one mapping's remote: working, held, or on trial."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._hold = FIRST_HOLD_SECONDS
        self._until = 0.0
        self.reason = ''

    def note(self, outcome: Outcome) -> bool:
        """Count one outcome. True when it is the remote's failure while the mapping is held."""
        if outcome.kind == 'failed' and outcome.reason in REMOTE_WIDE:
            self._failures += 1
            if self._failures < TRIP_AFTER:
                return False
            self.reason = f'{outcome.reason}: {outcome.detail}'
            if self._clock.monotonic() >= self._until:
                wait = max(self._hold, outcome.due - self._clock.now()) if outcome.due else self._hold
                self._until = self._clock.monotonic() + min(wait, LONGEST_HOLD_SECONDS)
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
