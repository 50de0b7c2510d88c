"""One configuration in use: its workers, crawler and containers, from load to reload.

A changed configuration ends the session and begins another. Nothing is carried
over but the ledger, which is all that needs to be.
"""
from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from container_crawler.crawler import Crawler, CrawlerSettings
from container_crawler.handlers import HandlerFactory, RowHandler
from container_crawler.internal_client import account_listing, make_internal_client
from s3_sync import metric_defs
from s3_sync.channel import Configure, Learned
from s3_sync.clock import Clock
from s3_sync.concurrency import sleep
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Settings
from s3_sync.config.cluster import cluster_id
from s3_sync.container_metadata import ContainerMetadata
from s3_sync.endpoint_probes import EndpointProbes
from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.marker_container import MarkerContainer
from s3_sync.metrics import Metrics
from s3_sync.progress_report import Standing
from s3_sync.provider_factory import ProviderCache, limit_key
from s3_sync.providers.limit import SharedLimiter
from s3_sync.remote_health import HELD_FACT, RemoteHealth
from s3_sync.removals import Removals
from s3_sync.stats import Statsd
from s3_sync.sync_container import MappingState, Services, SyncContainer, write_totals
from s3_sync.upload_sweeps import UploadSweeps
from s3_sync.wire.tombstones import ACCOUNT_TOMBSTONES, is_tombstone_container, tombstone_container
from s3_sync.worker_pool import WorkerPool

RETRY_BATCH = 500
"""Due entries of a mapping that are given to the workers at once."""
TRIAL_ROWS = 5
"""Rows that find out whether a remote works again."""
STOP_SECONDS = 5.0
CLOCK_STEP_SECONDS = 1.0
"""Setting the clock back by more than this has failed work looked at; less is waited for."""


class Session(HandlerFactory):
    """Made by the daemon for each configuration; ``close`` ends its processes."""

    def __init__(self, settings: Settings, ledger: Ledger, *, metrics: Metrics, clock: Clock,
                 logger: logging.Logger, on_ledger_error: Callable[[LedgerError], None]) -> None:
        self.settings = settings
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._logger = logger
        self._statsd = Statsd(settings)
        self._done: Counter[str] = Counter()
        # The crawler and the rows under way keep containers alive; an account may have millions of idle ones.
        self._containers: WeakValueDictionary[tuple[str, str], SyncContainer] = WeakValueDictionary()
        self.states = {m.generation: MappingState(m, RemoteHealth(clock)) for m in settings.containers}
        for mapping in settings.containers:
            ledger.set_generation(mapping.generation, mapping.name, describe(mapping), mapping.evaluation)
        self._held: dict[str, str] | None = None
        self._clock_offset = math.inf  # whatever time the failures were noted in: looked at by the first tick
        self._note_pauses()
        self._limiters = {limit_key(m.remote): SharedLimiter.create(
            requests_per_second=m.remote.max_requests_per_second,
            bytes_per_second=m.remote.max_bytes_per_second) for m in settings.containers}
        self._providers = ProviderCache(clock=clock, metrics=metrics, limiters=self._limiters, max_connections=4,
                                        via=cluster_id(settings))
        self.probes = EndpointProbes(settings.containers, ledger, self._providers, clock=clock, logger=logger,
                                     changed=self._probed, on_ledger_error=on_ledger_error)
        self._pool = WorkerPool(settings.processes, self._configuration, metrics=metrics, clock=clock, logger=logger)
        self.metadata = ContainerMetadata(ledger, self._providers.get, clock=clock, logger=logger,
                                          on_ledger_error=on_ledger_error)
        self._services = Services(ledger=ledger, dispatch=self._pool, metrics=metrics, clock=clock, logger=logger,
                                  on_ledger_error=on_ledger_error, metadata_changed=self.metadata.changed,
                                  importer=StatusImporter(ledger, settings.status_dir, settings.containers, logger))
        self.removals = Removals(self.states, ledger, self._pool, self._container, metrics=metrics, clock=clock,
                                 logger=logger, on_ledger_error=on_ledger_error)
        self._upload_sweeps = UploadSweeps(self.states, ledger, self._providers.get, clock=clock, logger=logger,
                                           on_ledger_error=on_ledger_error)
        self.crawler = self._make_crawler()
        self._note_probes()
        self.probes.start()

    def close(self) -> None:
        """Stop crawling and end the workers; what they have in hand is abandoned, which loses nothing."""
        self.crawler.stop()
        self._pool.stop(STOP_SECONDS)
        self.crawler.close()  # stores progress, the workers' last outcomes included
        self.flush()
        self.metadata.close()
        self._upload_sweeps.close()
        self.probes.close()
        self._providers.close()
        for limiter in self._limiters.values():
            limiter.close()
        self._statsd.close()

    def drain(self, seconds: float) -> None:
        """Let what the workers have in hand come to its end, for so long."""
        self.crawler.stop()
        until = self._clock.monotonic() + seconds
        while self.busy and self._clock.monotonic() < until:
            sleep(0.05)

    @property
    def busy(self) -> int:
        """Rows in the workers' hands."""
        return sum(state.busy for state in self.states.values())

    @property
    def stuck(self) -> bool:
        """Nothing is under way because a remote does not work."""
        return not (self.busy or self.removals.busy) and any(s.health.tripped for s in self.states.values())

    # -- for the crawler -------------------------------------------------------------------

    def create(self, mapping: Any, container: str) -> RowHandler:
        """``mapping`` is one of our ``MappingState``."""
        return self._container(mapping.mapping.generation, container)

    def known_containers(self, account: str) -> Iterable[str]:
        for generation, state in self.states.items():
            if state.mapping.account == account:
                for _, container in self._ledger.containers(generation):
                    yield container

    def companions(self, container: str) -> Iterable[str]:
        return (tombstone_container(container),)

    def wants_hidden(self, container: str) -> bool:
        return is_tombstone_container(container) and container != ACCOUNT_TOMBSTONES

    def _container(self, generation: str, container: str) -> SyncContainer:
        kept = self._containers.get((generation, container))
        if kept is None:
            kind = MarkerContainer if is_tombstone_container(container) else SyncContainer
            kept = kind(self.states[generation], container, self._services)
            self._containers[generation, container] = kept
        return kept

    def _make_crawler(self) -> Crawler:
        settings = self.settings
        client = make_internal_client(settings.swift_dir, settings.internal_client_path,
                                      user_agent=settings.internal_client_logname)

        return Crawler(
            CrawlerSettings(devices=settings.devices, swift_dir=settings.swift_dir,
                            swift_bind_ip=settings.swift_bind_ip, items_chunk=settings.items_chunk,
                            enumerator_workers=settings.enumerator_workers,
                            verification_slack_seconds=settings.verification_slack_seconds,
                            poll_interval=settings.poll_interval),
            self.states.values(), self, list_containers=account_listing(client), logger=self._logger, clock=self._clock)

    # -- workers ---------------------------------------------------------------------------

    def _configuration(self) -> Configure:
        return Configure(self.settings, {key: limiter.fileno() for key, limiter in self._limiters.items()},
                         self._providers.conditional_put)

    def _probed(self) -> None:
        """An endpoint has answered its probe, or had its chance to."""
        self._pool.tell(Learned(self._providers.conditional_put))
        self._note_probes()

    def _note_probes(self) -> None:
        for state in self.states.values():
            state.unprobed = self.probes.awaited(state.mapping)

    # -- what comes round ------------------------------------------------------------------

    def tick(self) -> None:
        """Twice a second: pauses, due work, remotes on trial, local removals, container metadata, numbers."""
        self._note_pauses()
        self._note_clock()
        counts = self._ledger.counts()
        for generation, state in self.states.items():
            if not (state.paused or state.unprobed):
                if state.health.may_try:
                    self._try_again(state)
                elif not state.health.tripped:
                    for container in list(state.waiting):
                        container.resume_waiting()
                    self.retry_due(generation, RETRY_BATCH)
            self._show(state, counts)
        self._metrics.set(metric_defs.DATABASES, 'idle', value=self.crawler.idle)
        self._metrics.set(metric_defs.DATABASES, 'active', value=self.crawler.active)
        self._tell_held()
        self.removals.tick()
        self._upload_sweeps.tick()
        self.removals.show()
        self.metadata.bring()
        self.flush()

    def _note_pauses(self) -> None:
        # A pause of everything names each generation that was not resumed by itself.
        paused = self._ledger.paused()
        for generation, state in self.states.items():
            state.paused = generation in paused

    def _note_clock(self) -> None:
        """A clock that was set back must not keep failed work waiting for the time from which it came."""
        offset = self._clock.now() - self._clock.monotonic()
        if self._clock_offset - offset > CLOCK_STEP_SECONDS:
            mended = self._ledger.mend_due_times()
            self._ledger.mend_removal_times()
            if mended:
                self._logger.warning('the clock was set back: %d failures are tried again now', mended)
            self._clock_offset = offset
        self._clock_offset = max(self._clock_offset, offset)

    def _tell_held(self) -> None:
        held = {generation: state.health.reason for generation, state in self.states.items() if state.health.tripped}
        if held != self._held:
            self._ledger.save_fact(HELD_FACT, held)
            self._held = held
        for state in self.states.values():
            if state.health.tripped and not state.held_told:
                self._logger.error('%s: held, its rows wait: %s', state.mapping.name, state.health.reason)
                state.held_told = True
            elif state.held_told and not state.health.reason:
                self._logger.info('%s: works again', state.mapping.name)
                state.held_told = False

    def flush(self) -> None:
        """Write down what was counted."""
        for state in self.states.values():
            self._done.update(write_totals(state, self._ledger, self._statsd))

    @property
    def standing(self) -> Standing:
        """How far this session has come."""
        failures = sum(count for (generation, kind), count in self._ledger.counts().items()
                       if generation in self.states and kind != 'deferred')
        return Standing(self._done['rows'], self._done['bytes'], failures, self.crawler.backlog)

    def retry_due(self, generation: str, limit: int) -> int:
        """Hand work of the ledger whose time has come to the workers. Returns how much."""
        handed = 0
        by_container: dict[str, list[Any]] = {}
        for work in self._ledger.due(generation, self._clock.now(), limit):
            by_container.setdefault(work.container, []).append(work)
        for name, works in by_container.items():
            handed += self._container(generation, name).retry(works)
        return handed

    def _try_again(self, state: MappingState) -> None:
        if state.waiting:
            next(iter(state.waiting)).resume_waiting(TRIAL_ROWS)
            state.health.tried()
        else:
            state.health.on_trial()

    def _show(self, state: MappingState, counts: Mapping[tuple[str, Any], int]) -> None:
        name, generation = state.mapping.name, state.mapping.generation
        for kind in ('deferred', 'failed', 'permanent'):
            self._metrics.set(metric_defs.LEDGER, name, kind, value=counts.get((generation, kind), 0))
        self._metrics.set(metric_defs.PAUSED, name, value=state.paused)
        self._metrics.set(metric_defs.REMOTE_HELD, name, value=state.health.tripped)
        self._metrics.set(metric_defs.LAG, name, value=self.crawler.lag(state))


def describe(mapping: SyncMapping) -> str:
    """JSON of where a mapping's data goes, for ``1space status``; no secrets."""
    remote = mapping.remote
    return json.dumps({'account': mapping.account, 'container': mapping.container, 'protocol': remote.protocol,
                       'endpoint': remote.endpoint, 'bucket': remote.bucket, 'custom_prefix': mapping.custom_prefix})
