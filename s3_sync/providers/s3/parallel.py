"""Several requests for one large object at a time."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from s3_sync.concurrency import GreenThread, LightQueue, spawn
from s3_sync.errors import PermanentError

AT_ONCE = 4
"""Green threads for one large object. Each holds a connection and a chunk or two in memory."""

T = TypeVar('T')


def in_parallel(work: Callable[[T, Callable[[], bool]], None], items: Iterable[T], *, at_once: int = AT_ONCE) -> None:
    """Call ``work(item, stopped)`` for each item, in green threads where there are several.

    After a failure nothing new is begun, and ``stopped()`` tells so to what is
    under way. That may come to an end, because a later try goes on from there,
    unless the failure is permanent: then it is cut off, as when the caller is
    stopped itself. The first failure is raised.
    """
    waiting = deque(enumerate(items))
    running: dict[int, GreenThread] = {}
    ended = LightQueue()
    failures: list[Exception] = []

    def stopped() -> bool:
        return bool(failures)

    def one(index: int, item: T) -> None:
        try:
            if not failures:
                work(item, stopped)
        except Exception as error:
            failures.append(error)
        ended.put(index)
    if len(waiting) == 1:
        work(waiting[0][1], stopped)
        return
    try:
        while running or (waiting and not failures):
            while waiting and not failures and len(running) < at_once:
                index, item = waiting.popleft()
                running[index] = spawn(one, index, item)
            del running[ended.get()]
            if any(isinstance(error, PermanentError) for error in failures):
                break
    finally:
        for thread in running.values():
            thread.kill()
    if failures:
        raise failures[0]
