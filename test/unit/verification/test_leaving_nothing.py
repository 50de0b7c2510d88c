"""Time limits, signals, and cleaning up under all of them."""
from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from s3_sync.clock import SystemClock
from s3_sync.errors import ConnectionFailed, Forbidden, NotConnected, NotFound, TemporaryError
from s3_sync.verification.leftovers import Leftovers
from s3_sync.verification.patience import OutOfTime, Patience, Stopped


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def leftovers(patience: Patience) -> Leftovers:
    return Leftovers(patience, SystemClock(), seconds=5.0)


def forever() -> None:
    SystemClock().sleep(60)


def raising(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error
    return action


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


# -- time limits ----------------------------------------------------------------------------

def test_a_limit_interrupts_what_waits(patience: Patience) -> None:
    with pytest.raises(OutOfTime), patience.limit(0.05):
        forever()


def test_a_limit_that_was_kept_does_nothing_later(patience: Patience) -> None:
    with patience.limit(0.05):
        pass
    SystemClock().sleep(0.1)


def test_somebody_else_s_timer_goes_on(patience: Patience) -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    left = signal.setitimer(signal.ITIMER_REAL, 0.15)
    try:
        with patience.limit(5):
            SystemClock().sleep(0.05)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 0.11
        SystemClock().sleep(0.3)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_and_is_remembered(patience: Patience, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with patience.signals(), pytest.raises(Stopped, match=number.name):
        kill(number)
        forever()
    assert patience.stopped is not None and patience.stopped.number == number
    assert signal.getsignal(number) is before


# -- cleaning up ----------------------------------------------------------------------------

def test_removal_is_in_reverse_order(leftovers: Leftovers) -> None:
    removed: list[str] = []
    for name in ('container', 'object', 'manifest'):
        with leftovers.made(name, lambda name=name: removed.append(name)):  # type: ignore[misc]
            pass
    assert leftovers.clear() == []
    assert removed == ['manifest', 'object', 'container']
    assert leftovers.clear() == [] and len(removed) == 3


@pytest.mark.parametrize(('error', 'kept', 'late'), [
    (Forbidden('no', status=403), False, False), (NotConnected('no'), False, False),
    (TemporaryError('no', status=500), True, False), (ConnectionFailed('lost'), True, True), (OutOfTime(), True, True),
    (Stopped('SIGINT', 2), True, True), (ValueError('bug'), True, False)])
def test_what_may_have_been_made_is_removed(leftovers: Leftovers, error: BaseException, kept: bool,
                                            late: bool) -> None:
    removed: list[str] = []
    with pytest.raises(type(error)), leftovers.made('it', lambda: removed.append('it')):
        raise error
    assert leftovers.clear() == []
    assert removed == (['it'] if kept else [])
    assert leftovers.late == (['it'] if late else [])


def test_what_a_step_removed_itself_is_not_removed_again(leftovers: Leftovers) -> None:
    with leftovers.made('it', raising(AssertionError())) as item:
        pass
    leftovers.gone(item)
    assert leftovers.clear() == []


def test_one_that_cannot_be_removed_is_named_and_does_not_hold_up_others(leftovers: Leftovers) -> None:
    removed: list[str] = []
    with leftovers.made('first', lambda: removed.append('first')):
        pass
    with leftovers.made('refused', raising(Forbidden('DELETE: 403', status=403))):
        pass
    with leftovers.made('missing', raising(NotFound('gone'))):
        pass
    with pytest.raises(ConnectionFailed), leftovers.made('unsure', raising(ConnectionFailed('down'))):
        raise ConnectionFailed('lost')
    assert leftovers.clear() == ['perhaps unsure (down)', 'refused (DELETE: 403)']
    assert removed == ['first']


def test_a_removal_is_tried_again_when_that_may_help(leftovers: Leftovers) -> None:
    tries: list[int] = []

    def remove() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TemporaryError('503', status=503)
    with leftovers.made('it', remove):
        pass
    assert leftovers.clear() == [] and len(tries) == 3


def test_a_removal_that_hangs_is_given_up(patience: Patience) -> None:
    leftovers = Leftovers(patience, SystemClock(), seconds=0.05)
    with leftovers.made('it', forever):
        pass
    assert leftovers.clear() == ['it (no answer in time)']


def test_a_first_signal_does_not_stop_the_removal_and_a_second_does(leftovers: Leftovers, patience: Patience) -> None:
    removed: list[str] = []
    with leftovers.made('last', lambda: removed.append('last')):
        pass
    with leftovers.made('second signal', lambda: kill(signal.SIGTERM)):
        pass
    with leftovers.made('first signal', lambda: (kill(signal.SIGINT), removed.append('first'))):
        pass
    with patience.signals():
        problems = leftovers.clear()
    assert removed == ['first']
    assert problems == ['second signal (stopped by a second signal)', 'last (no time left)']
    assert patience.stopped is not None and patience.stopped.name == 'SIGINT'
