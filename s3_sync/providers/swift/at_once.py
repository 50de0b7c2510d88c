"""The same work on many things, several at a time."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from s3_sync.concurrency import GreenPool

AT_ONCE = 4
"""Segments of one large object that travel together. A segment needs a connection and a chunk or two of memory."""

T = TypeVar('T')
R = TypeVar('R')


def at_once(work: Callable[[T], R], items: Iterable[T], *, many: int = AT_ONCE) -> list[R]:
    """What ``work`` gives for each item, in order.

    After the first error no further work is begun; what runs is waited for, and
    the error is raised.
    """
    waiting = list(items)
    if len(waiting) < 2:
        return [work(item) for item in waiting]
    done: list[R] = []
    failures: list[BaseException] = []

    def one(item: T) -> tuple[R, ...]:
        if failures:
            return ()
        try:
            return (work(item),)
        except BaseException as error:
            failures.append(error)
            return ()
    try:
        for result in GreenPool(min(many, len(waiting))).imap(one, waiting):
            done.extend(result)
    except BaseException as error:  # whoever waited is being stopped
        failures.append(error)
        raise
    if failures:
        raise failures[0]
    return done
