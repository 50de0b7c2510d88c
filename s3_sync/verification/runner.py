"""Steps one after the other: each within its time, each with its result, and nothing left behind."""
from __future__ import annotations

from collections.abc import Callable, Collection

from s3_sync.clock import Clock
from s3_sync.errors import ConnectionFailed, Error, ProviderError
from s3_sync.verification.leftovers import Leftovers
from s3_sync.verification.outcomes import (
    Advice,
    Doubtful,
    NotTried,
    Outcome,
    Step,
    StepResult,
    Value,
    Verdict,
)
from s3_sync.verification.patience import OutOfTime, Patience

STEP_SECONDS = 30.0


class Run:
    """One verification. Steps raise Wrong, Doubtful, NotTried or a ProviderError, or return a detail."""

    def __init__(self, verdict: Verdict, *, clock: Clock, patience: Patience, told: Callable[[StepResult], None],
                 skip: Collection[str] = (), seconds: float = STEP_SECONDS) -> None:
        self.verdict = verdict
        self.clock = clock
        self.leftovers = Leftovers(patience, clock, seconds=seconds)
        self._patience = patience
        self._told = told
        self._skip = skip
        self._seconds = seconds
        self._silent = ''
        """Why nothing more is tried; '' while the remote answers."""

    def step(self, step: Step, action: Callable[[], str], *, after: Collection[Step] = (), patience: float = 1.0,
             failure: Outcome = 'failed') -> bool:
        """Try it; whether it went well enough for what builds on it.

        ``after``: steps that must have gone well. ``patience``: so many times
        longer than others. ``failure``: what it counts as when the remote refuses.
        """
        why = self._why_not(step, after)
        if why:
            self._record(StepResult(step, 'skipped', why))
            return False
        began = self.clock.monotonic()
        outcome, detail, status = self._try(action, self._seconds * patience, failure)
        self._record(StepResult(step, outcome, detail, status, self.clock.monotonic() - began))
        return outcome in ('ok', 'warning')

    def within(self, seconds: float, action: Callable[[], bool]) -> bool:
        """A question beside the steps; False when it is not answered in time, or nothing answers any more."""
        if self._silent:
            return False
        try:
            with self._patience.limit(seconds):
                return action()
        except OutOfTime:
            return False

    def find(self, name: str, value: Value) -> None:
        """A fact about the endpoint."""
        self.verdict.findings[name] = value

    def advise(self, why: str, setting: str = '', value: Value = None) -> None:
        """A setting that suits the endpoint, or a thing to know about it."""
        self.verdict.advice.append(Advice(setting, value, why))

    def _why_not(self, step: Step, after: Collection[Step]) -> str:
        if step.name in self._skip:
            return 'not asked for'
        if self._silent:
            return self._silent
        bad = [result.step.title for result in self.verdict.steps
               if result.outcome in ('failed', 'skipped') and result.step in after]
        return f'needs "{bad[0]}"' if bad else ''

    def _try(self, action: Callable[[], str], seconds: float, failure: Outcome) -> tuple[Outcome, str, int | None]:
        try:
            with self._patience.limit(seconds):
                return 'ok', action(), None
        except OutOfTime:
            self._silent = 'the remote does not answer'
            return 'failed', f'no answer within {seconds:g} seconds', None
        except NotTried as error:
            return 'skipped', str(error), None
        except Doubtful as error:
            return 'warning', str(error), None
        except ConnectionFailed as error:
            self._silent = 'the remote does not answer'
            return 'failed', str(error), error.status
        except ProviderError as error:
            return failure, str(error), error.status
        except Error as error:
            return 'failed', str(error), None

    def _record(self, result: StepResult) -> None:
        self.verdict.steps.append(result)
        self._told(result)
