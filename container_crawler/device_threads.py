"""Blocking disk work in native threads, one thread per device.

SQLite and file reads cannot be made green. In the hub they would stop every
green thread of the process, and on a hung disk for ever. So each device gets a
native thread of its own with a queue: a hung disk stalls the work of its own
device only. Works monkey-patched and plain.

Functions run there must not log and must not touch green locks, sockets or
queues of the caller: they compute and return, or raise; the exception comes
back to the caller.
"""
from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from eventlet import Timeout, hubs, patcher
from eventlet.event import Event

from container_crawler.exceptions import DeviceTimeout

native_threading = patcher.original('threading')
native_queue = patcher.original('queue')

P = ParamSpec('P')
T = TypeVar('T')


class _Call:
    """One function on its way to a device thread and back."""

    __slots__ = ('function', 'args', 'kwargs', 'event', 'result', 'error', 'abandoned', 'overdue')

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.event = Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.abandoned = False
        self.overdue = False

    def run(self) -> None:
        try:
            self.result = self.function(*self.args, **self.kwargs)
        except BaseException as error:  # eventlet's timeouts are no Exceptions; all must reach the caller
            self.error = error


class _Mailbox:
    """Brings finished calls from native threads into the hub; one byte in a pipe wakes it for all of them."""

    def __init__(self) -> None:
        self._finished: deque[_Call] = deque()
        self._lock = native_threading.Lock()
        self._signalled = False
        self._closed = False
        self._read_end, self._write_end = os.pipe()
        self._hub = hubs.get_hub()
        self._listener = self._hub.add(self._hub.READ, self._read_end, self._deliver, self._deliver, self._gone)

    def put(self, call: _Call) -> None:
        """Called in native threads."""
        with self._lock:
            self._finished.append(call)
            if not self._signalled and not self._closed:
                self._signalled = True
                os.write(self._write_end, b'.')

    def _deliver(self, *_: object) -> None:
        with self._lock:
            os.read(self._read_end, 1)
            self._signalled = False
            calls = list(self._finished)
            self._finished.clear()
        for call in calls:
            call.event.send()

    def _gone(self) -> None:
        """The hub's word that somebody else closed our pipe; nobody does."""

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._hub.remove(self._listener)
        os.close(self._read_end)
        os.close(self._write_end)


class _Device:
    """The thread of one device and what it is doing."""

    def __init__(self, name: str, mailbox: _Mailbox) -> None:
        self.queue: Any = native_queue.SimpleQueue()
        self._mailbox = mailbox
        self._current: _Call | None = None
        native_threading.Thread(target=self._work, name=f'device-{name}', daemon=True).start()

    @property
    def stuck(self) -> bool:
        """Whether a call runs whose caller's time is over."""
        current = self._current
        return current is not None and current.overdue

    def _work(self) -> None:
        while True:
            call = self.queue.get()
            if call is None:
                return
            if not call.abandoned:
                self._current = call
                call.run()
                self._current = None
                self._mailbox.put(call)
            call = None  # keep no result alive while waiting for the next call


class DeviceThreads:
    """Runs functions in the thread of a device and lets other green threads go on meanwhile.

    Belongs to the hub where it is first used; made after a fork, in the process
    that uses it.
    """

    def __init__(self, timeout: float = 30.0) -> None:
        """``timeout``: seconds a caller of :meth:`run` waits for its result."""
        self._timeout = timeout
        self._devices: dict[str, _Device] = {}
        self._mailbox: _Mailbox | None = None

    def run(self, device: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(*args)`` in the thread of ``device``; its result, or its exception raised here.

        Raises DeviceTimeout after the default timeout, and at once while an
        earlier call on the device has outlived its own. A call that has begun
        cannot be interrupted: its result is dropped.
        """
        return self.run_within(self._timeout, device, function, *args, **kwargs)

    def run_within(self, timeout: float, device: str, function: Callable[P, T],
                   *args: P.args, **kwargs: P.kwargs) -> T:
        """The same with a timeout of its own, in seconds."""
        worker = self._device(device)
        if worker.stuck:
            raise DeviceTimeout(device, timeout)
        call = _Call(function, args, kwargs)
        expiry = Timeout(timeout)
        try:
            worker.queue.put(call)
            call.event.wait()
        except BaseException as raised:
            call.abandoned = True
            if raised is not expiry:
                raise
            call.overdue = True
            raise DeviceTimeout(device, timeout) from None
        finally:
            expiry.cancel()
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def stuck(self, device: str) -> bool:
        """Whether a call on the device has outlived its timeout and has not come back."""
        worker = self._devices.get(device)
        return worker is not None and worker.stuck

    def close(self) -> None:
        """End the threads once their queues are empty; one that hangs in a call ends with the process."""
        for worker in self._devices.values():
            worker.queue.put(None)
        self._devices.clear()
        if self._mailbox is not None:
            self._mailbox.close()
            self._mailbox = None

    def _device(self, name: str) -> _Device:
        worker = self._devices.get(name)
        if worker is None:
            if self._mailbox is None:
                self._mailbox = _Mailbox()
            worker = self._devices[name] = _Device(name, self._mailbox)
        return worker
