"""Roots without a replica on this node: their shards may be here, so they are asked for now and then.

In a large cluster nearly all containers of an account are such, and each costs
a request; so requests are spread to a steady rate, and the round gets longer
with their number. Nobody waits for an answer but ``--once``.
"""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from eventlet import spawn_n

from container_crawler.exceptions import CrawlerError
from container_crawler.folder import Clock, Target
from container_crawler.shards import ContainerPath, is_hidden

ROUND_SECONDS = 60.0
HIDDEN_ROUND_SECONDS = 600.0
"""Of hidden containers, of which most do not exist."""
REQUESTS_PER_SECOND = 20.0
AT_ONCE = 4
MOST = 1_000_000
"""So many roots are remembered; beyond that the round starts over."""


class RemoteRoots:
    def __init__(self, ask: Callable[[str, str], tuple[ContainerPath, ...]],
                 found: Callable[[Target, tuple[ContainerPath, ...]], None], clock: Clock,
                 logger: logging.Logger) -> None:
        """``ask(account, container)`` tells a root's shards, or raises CrawlerError; ``found`` hears of them."""
        self._ask = ask
        self._found = found
        self._clock = clock
        self._logger = logger
        self._asked: dict[int, float] = {}
        self._allowance = REQUESTS_PER_SECOND
        self._refilled_at = clock.monotonic()
        self._failing = False
        self._line: deque[Target] = deque()
        self._asking = 0

    def visit(self, target: Target, *, now: bool = False) -> None:
        """Have the root's shards asked for if it is its time, or ``now``."""
        key = hash(target.path)
        monotonic = self._clock.monotonic()
        every = HIDDEN_ROUND_SECONDS if is_hidden(target.container) else ROUND_SECONDS
        if not (now or self._is_due(key, monotonic, every)):
            return
        if len(self._asked) >= MOST:
            self._asked.clear()
        self._asked[key] = monotonic
        self._line.append(target)
        if self._asking < AT_ONCE:
            self._asking += 1
            spawn_n(self._work)

    @property
    def busy(self) -> bool:
        return self._asking > 0

    def _work(self) -> None:
        try:
            while self._line:
                target = self._line.popleft()
                try:
                    shards = self._ask(*target.path)
                except CrawlerError as error:
                    self._complain(target.path, error)
                else:
                    self._failing = False
                    self._found(target, shards)
        finally:
            self._asking -= 1

    def _is_due(self, key: int, monotonic: float, every: float) -> bool:
        asked = self._asked.get(key)
        period = max(every, len(self._asked) / REQUESTS_PER_SECOND)
        if asked is not None and monotonic - asked < period:
            return False
        self._allowance = min(self._allowance + (monotonic - self._refilled_at) * REQUESTS_PER_SECOND,
                              REQUESTS_PER_SECOND * ROUND_SECONDS)
        self._refilled_at = monotonic
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _complain(self, root: ContainerPath, error: CrawlerError) -> None:
        """Loudly once, until one can be asked again."""
        log = self._logger.debug if self._failing else self._logger.warning
        self._failing = True
        log('%s/%s: shards are not known now: %s', *root, error)
