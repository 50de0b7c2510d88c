"""What the steps have put at the remote, to be taken away again however they end.

Everything is noted *before* the request that makes it: an answer may be lost,
and a signal may come between any two lines.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from s3_sync.clock import Clock
from s3_sync.errors import ConnectionFailed, NotFound, ProviderError, TemporaryError
from s3_sync.verification.outcomes import not_done
from s3_sync.verification.patience import OutOfTime, Patience, Stopped

TIDY_SECONDS = 60.0
TRIES = 3
AGAIN_SECONDS = 0.5
STOPPED_SECONDS = 9.0
"""The same after a signal: a supervisor kills after ten."""


@dataclass(eq=False)
class Leftover:
    what: str
    """Where it is, for people."""
    remove: Callable[[], object]
    """Takes it away; what is not there is no error, or NotFound."""
    certain: bool = False
    """False: perhaps it was never made."""
    unanswered: bool = False
    """The write was sent, perhaps, and may be carried out later than its removal."""


class Leftovers:
    """Taken away in reverse order by ``clear``, unless a step has done so itself (``gone``)."""

    def __init__(self, patience: Patience, clock: Clock, *, seconds: float) -> None:
        """``seconds``: how long one removal may take."""
        self._patience = patience
        self._clock = clock
        self._seconds = seconds
        self._items: list[Leftover] = []
        self.late: list[str] = []
        """After ``clear``: what is gone now, and whose write was never answered, so that it may still happen."""

    @contextmanager
    def made(self, what: str, remove: Callable[[], object]) -> Iterator[Leftover]:
        """Around the request that makes it."""
        item = Leftover(what, remove)
        self._items.append(item)
        try:
            yield item
        except BaseException as error:
            item.unanswered = isinstance(error, ConnectionFailed | OutOfTime | Stopped)
            if not_done(error):
                self.gone(item)
            raise
        item.certain = True

    def gone(self, *items: Leftover) -> None:
        """They have been removed."""
        self._items = [item for item in self._items if item not in items]

    def clear(self) -> list[str]:
        """Remove everything; what could not be, and why. Never raises."""
        began = self._clock.monotonic()
        problems: list[str] = []
        given_up = False
        with self._patience.tidying():
            while self._items:
                item = self._items[-1]
                budget = STOPPED_SECONDS if self._patience.stopped else TIDY_SECONDS
                left = began + budget - self._clock.monotonic()
                problem = 'no time left' if given_up or left <= 0 else ''
                try:
                    if not problem:
                        problem = self._remove(item, min(left, self._seconds))
                except Stopped:
                    given_up, problem = True, 'stopped by a second signal'
                if not problem and item.unanswered:
                    self.late.append(item.what)
                if problem:
                    problems.append(f'{"" if item.certain else "perhaps "}{item.what} ({problem})')
                self.gone(item)
        return problems

    def _remove(self, item: Leftover, seconds: float) -> str:
        try:
            with self._patience.limit(seconds):
                for _ in range(TRIES - 1):
                    try:
                        item.remove()
                        return ''
                    except TemporaryError as error:
                        if not error.sent:
                            raise
                    self._clock.sleep(AGAIN_SECONDS)
                item.remove()
        except NotFound:
            return ''
        except ProviderError as error:
            return str(error)
        except OutOfTime:
            return 'no answer in time'
        return ''
