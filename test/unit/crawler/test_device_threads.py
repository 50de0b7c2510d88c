from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import eventlet
import pytest
from eventlet import patcher

from container_crawler.device_threads import DeviceThreads
from container_crawler.exceptions import DeviceTimeout

native_threading = patcher.original('threading')


@pytest.fixture
def threads() -> Iterator[DeviceThreads]:
    threads = DeviceThreads()
    yield threads
    threads.close()


def test_results_come_back_from_another_thread(threads: DeviceThreads) -> None:
    assert threads.run('sda', divmod, 7, 2) == (3, 1)
    assert threads.run('sda', int, 'ff', base=16) == 255
    assert threads.run('sda', threading.get_ident) != threading.get_ident()


def test_a_device_has_one_thread_and_devices_have_different_ones(threads: DeviceThreads) -> None:
    idents = {threads.run('sda', threading.get_ident) for _ in range(5)}
    assert len(idents) == 1
    assert threads.run('sdb', threading.get_ident) not in idents


def test_exceptions_come_back(threads: DeviceThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        threads.run('sda', divmod, 1, 0)
    assert threads.run('sda', divmod, 1, 1) == (1, 0)


def test_a_hung_device_stalls_only_its_own_work(threads: DeviceThreads) -> None:
    release = native_threading.Event()
    hung = eventlet.spawn(threads.run, 'hung', release.wait)
    eventlet.sleep(0)
    assert [threads.run('sda', abs, -n) for n in range(3)] == [0, 1, 2]
    assert not hung.dead
    release.set()
    assert hung.wait() is True


def test_a_call_that_takes_too_long_raises_and_later_ones_are_refused_until_it_returns(
        threads: DeviceThreads) -> None:
    release = native_threading.Event()
    with pytest.raises(DeviceTimeout, match='hung'):
        threads.run_within(0.01, 'hung', release.wait)
    assert threads.stuck('hung')
    ran: list[int] = []
    with pytest.raises(DeviceTimeout):
        threads.run('hung', ran.append, 1)
    release.set()
    while threads.stuck('hung'):
        eventlet.sleep(0.001)
    assert threads.run('hung', abs, -5) == 5
    assert ran == []


def test_a_call_given_up_before_it_began_never_runs(threads: DeviceThreads) -> None:
    release, ran = native_threading.Event(), list[int]()
    first = eventlet.spawn(threads.run, 'sda', release.wait)
    eventlet.sleep(0)
    with pytest.raises(DeviceTimeout):
        threads.run_within(0.01, 'sda', ran.append, 1)
    assert not threads.stuck('sda'), 'the running call is still within its time'
    release.set()
    first.wait()
    threads.run('sda', abs, 1)
    assert ran == []


def test_many_green_threads_get_their_own_results(threads: DeviceThreads) -> None:
    pool = eventlet.GreenPool(50)
    results = list(pool.imap(lambda n: threads.run(f'sd{n % 3}', lambda: n * n), range(500)))
    assert results == [n * n for n in range(500)]


def test_other_timeouts_of_the_caller_pass_through(threads: DeviceThreads) -> None:
    with pytest.raises(eventlet.Timeout) as caught, eventlet.Timeout(0.01):
        threads.run('sda', time.sleep, 0.1)
    assert not isinstance(caught.value, DeviceTimeout)


def test_close_ends_the_threads() -> None:
    threads = DeviceThreads()
    thread = threads.run('sda', native_threading.current_thread)
    threads.close()
    thread.join(5)
    assert not thread.is_alive()


PATCHED = '''
from swift.common.utils import monkey_patch
monkey_patch()
import eventlet, threading, time
from container_crawler.device_threads import DeviceThreads
eventlet.monkey_patch(all=False, time=True)
threads = DeviceThreads()
sleep = eventlet.patcher.original('time').sleep
ticks = []
def tick():
    while len(ticks) < 5:
        ticks.append(1)
        time.sleep(0.001)
ticker = eventlet.spawn(tick)
threads.run('sda', sleep, 0.2)
assert len(ticks) == 5, ticks
assert threads.run('sda', divmod, 7, 2) == (3, 1)
print('fine')
'''


def test_green_threads_go_on_in_a_monkey_patched_process() -> None:
    done = subprocess.run([sys.executable, '-c', PATCHED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, 'fine'), done.stderr
