"""Multipart uploads of ours that nobody goes on with are ended: they cost money and show in no listing.

Asked for a few times a day, one container after the other, in a green thread of
each mapping. When the last time was stands in the ledger, so that restarts ask
no more often.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, spawn
from s3_sync.config import Mapping as SyncMapping
from s3_sync.errors import LedgerError, ProviderError
from s3_sync.ledger import Ledger
from s3_sync.sync_container import MappingState
from s3_sync.wire.tombstones import is_tombstone_container

EVERY_SECONDS = 6 * 3600.0
ABANDONED_SECONDS = 86400.0
"""An upload that nobody went on with for so long will not be gone on with."""
FACT = 'uploads-swept:'
"""Ledger fact, followed by the generation: when its uploads were last looked at."""


class UploadSweeps:
    """Of one session; ``tick`` comes round. ``provider``: of a mapping with a concrete container."""

    def __init__(self, states: Mapping[str, MappingState], ledger: Ledger, provider: Callable[[SyncMapping], BaseSync],
                 *, clock: Clock, logger: logging.Logger, on_ledger_error: Callable[[LedgerError], None]) -> None:
        self._states = states
        self._ledger = ledger
        self._provider = provider
        self._clock = clock
        self._logger = logger
        self._on_ledger_error = on_ledger_error
        self._threads: dict[str, GreenThread] = {}
        # A mapping that is new here has nothing to end yet, and one that is not begins where the last process was.
        self._next = {generation: clock.monotonic() + self._wait(generation) for generation in states}

    def tick(self) -> None:
        """Start what is due; returns at once."""
        now = self._clock.monotonic()
        for generation, state in self._states.items():
            held = state.paused or state.unprobed or state.health.tripped
            if self._next[generation] <= now and generation not in self._threads and not held:
                self._next[generation] = now + EVERY_SECONDS
                self._threads[generation] = spawn(self._sweep, generation, state)

    def close(self) -> None:
        """Abandon what is under way; the next process goes on."""
        for thread in list(self._threads.values()):
            thread.kill()

    def _wait(self, generation: str) -> float:
        last = self._ledger.fact(FACT + generation, EVERY_SECONDS)
        if last is None and self._ledger.fact(FACT + generation) is None:
            self._ledger.save_fact(FACT + generation, self._clock.now())
            return EVERY_SECONDS
        return 0.0 if last is None else float(last) + EVERY_SECONDS - self._clock.now()

    def _sweep(self, generation: str, state: MappingState) -> None:
        try:
            for container in self._containers(generation, state.mapping):
                self._sweep_one(state.mapping.for_container(container))
            self._ledger.save_fact(FACT + generation, self._clock.now())
        except LedgerError as error:
            self._on_ledger_error(error)
        except Exception:  # the next time will do
            self._logger.exception('%s: unexpected error while unfinished uploads were looked at', state.mapping.name)
        finally:
            del self._threads[generation]

    def _containers(self, generation: str, mapping: SyncMapping) -> Iterable[str]:
        if not mapping.all_containers:
            return [mapping.container]
        return [container for _, container in self._ledger.containers(generation)
                if not is_tombstone_container(container)]

    def _sweep_one(self, mapping: SyncMapping) -> None:
        try:
            ended = self._provider(mapping).sweep_uploads(ABANDONED_SECONDS)
        except ProviderError as error:  # the next time will do
            self._logger.warning('%s: unfinished uploads could not be looked at: %s', mapping.name, error)
        else:
            if ended:
                self._logger.info('%s: ended %d uploads that nobody went on with', mapping.name, ended)
