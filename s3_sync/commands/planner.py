"""A dry run of one mapping, made of the daemon's own parts.

The crawler only looks at the databases; progress and waiting work come from a
*copy* of the ledger, which takes all that the run would record; the rows go
through the daemon's ``SyncContainer`` and ``Applier``, whose provider writes
nothing (``s3_sync.providers.dryrun``). So the decisions are those of the daemon,
and neither ledger, databases nor remote change.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from container_crawler.crawler import Crawler, CrawlerSettings, OnceReport
from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import HandlerFactory, RowHandler
from container_crawler.internal_client import account_listing, make_internal_client
from container_crawler.rows import Row
from s3_sync.clock import Clock
from s3_sync.commands.plan_dispatch import PlanDispatch, Planned
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Settings
from s3_sync.config.cluster import cluster_id
from s3_sync.container_metadata import container_digest, wanted
from s3_sync.engine.outcomes import Outcome
from s3_sync.errors import AccountUnreadable
from s3_sync.ledger import Kind, Ledger, WaitingRemoval, Work
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.metric_defs import REQUESTS
from s3_sync.metrics import Registry
from s3_sync.provider_factory import ProviderCache, limit_key, probe_fact
from s3_sync.providers.limit import SharedLimiter
from s3_sync.remote_health import RemoteHealth
from s3_sync.removals import LONGEST_REST_SECONDS, MAX_CANDIDATES
from s3_sync.sync_container import MappingState, Services, SyncContainer
from s3_sync.types import Removal
from s3_sync.wire.tombstones import is_tombstone_container

WAITING_BATCH = 500


class PlanResult(NamedTuple):
    """How the run went."""

    requests: Mapping[str, int]
    """By operation: what the real run would send to the remote."""
    asked: int
    """Requests to the remote that the dry run itself sent, all of them reads."""
    containers: tuple[str, ...]
    """Containers whose settings would be brought to the remote."""
    own_share_only: bool
    """Rows that other nodes are to do first were left out."""
    limited: bool
    guessed: bool
    """Nobody has found out yet whether the remote honours conditional PUTs: a HEAD is counted before each PUT."""
    held: str
    """Why the daemon would hold the mapping (its remote does not work, or this cluster), '' when it would not."""
    failed: tuple[str, ...]
    """Containers or devices that could not be read."""


class Planner(HandlerFactory):
    """One use: ``run``. ``told`` hears of every object once."""

    def __init__(self, settings: Settings, mapping: SyncMapping, ledger: Ledger, folder: Path, *, all_rows: bool,
                 limit: int | None, clock: Clock, logger: logging.Logger, told: Callable[[Planned], None]) -> None:
        """``ledger``: a copy, which is written. ``folder``: for temporary files."""
        self._settings = settings
        self._mapping = mapping
        self._ledger = ledger
        self._all_rows = all_rows
        self._clock = clock
        self._logger = logger
        self.state = MappingState(mapping, RemoteHealth(clock))
        self._metrics = Registry()
        self._limiter = SharedLimiter.create(requests_per_second=mapping.remote.max_requests_per_second,
                                             bytes_per_second=mapping.remote.max_bytes_per_second)
        self._providers = _providers(settings, mapping, ledger, self._limiter, self._metrics, clock)
        self._guessed = _guesses(mapping, ledger)
        self._dispatch = PlanDispatch(settings, mapping, self._providers, folder, limit=limit, clock=clock,
                                      logger=logger, told=told)
        self._containers: dict[str, PlanContainer] = {}
        self._brought: set[str] = set()
        self._unswept = False
        """The account could not be read for what refers to archived segments."""
        # Failures are told by the plan itself, not logged.
        quiet = logging.getLogger('1space.plan.quiet')
        quiet.disabled = True
        self._services = Services(
            ledger=ledger, dispatch=self._dispatch, metrics=Registry(), clock=clock, logger=quiet,
            on_ledger_error=self._dispatch.give_up, metadata_changed=self._metadata_changed,
            importer=StatusImporter(ledger, settings.status_dir, settings.containers, logger))

    def run(self) -> PlanResult:
        """Raises what a green thread met and could not put into the plan (the copy's disk full, the output closed)."""
        try:
            self._waiting()
            if not self._mapping.retain_local:
                self._removals()
            report = self._crawl()
            if self._dispatch.fatal is not None:
                raise self._dispatch.fatal
        finally:
            self._dispatch.close()
            self._providers.close()
            self._limiter.close()
        partial_share = any(container.partial_share for container in self._containers.values())
        held = self.state.health.reason if self.state.health.tripped else ''
        unread = report.unlisted or self._unswept
        return PlanResult(self._dispatch.requests, _requests(self._metrics), tuple(sorted(self._brought)),
                          partial_share and not self._all_rows, self._dispatch.limited, self._guessed, held,
                          (*report.failed, *([f'account {self._mapping.account}'] if unread else [])))

    # -- for the crawler -------------------------------------------------------------------

    def create(self, mapping: Any, container: str) -> RowHandler:
        return self._container(container)

    def known_containers(self, account: str) -> Iterable[str]:
        for _, container in self._ledger.containers(self._mapping.generation):
            yield container

    def _container(self, name: str) -> PlanContainer:
        if name not in self._containers:
            self._containers[name] = PlanContainer(self.state, name, self._services, self._dispatch)
        return self._containers[name]

    # -- the run ---------------------------------------------------------------------------

    def _waiting(self) -> None:
        """The ledger's own entries: what failed or is deferred comes first, what was given up is only told."""
        for work in self._failures('permanent'):
            self._dispatch.given_up(work.account, work.container, work.row,
                                    Outcome('permanent', work.reason, work.detail))
        for kind in ('failed', 'deferred'):
            entries = self._failures(kind)
            while batch := list(islice(entries, WAITING_BATCH)):
                for work in batch:
                    if not (self._dispatch.stopped or self.state.health.tripped):
                        self._container(work.container).retry([work])
                self._dispatch.wait()

    def _failures(self, kind: Kind) -> Iterator[Work]:
        """Those of users' objects: what deletions in a merged namespace left over is not planned."""
        return (work for work in self._ledger.failures(self._mapping.generation, kind=kind)
                if not is_tombstone_container(work.container))

    def _removals(self) -> None:
        """Local objects that wait to go, as far as they are due; those that may be segments after a sweep."""
        generation, now = self._mapping.generation, self._clock.now()
        self._remove(self._ledger.due_removals(generation, now, MAX_CANDIDATES))
        names = self._ledger.sweep_candidates(generation, now, MAX_CANDIDATES,
                                              segments=not self._mapping.retain_local_segments)
        if names and not self._dispatch.stopped:
            try:
                free = self._dispatch.unreferenced(names)
            except AccountUnreadable as error:
                self._unswept = True
                self._logger.warning('%s: no archived segment would go: %s', self._mapping.account, error)
                return
            self._swept(self._ledger.removals_named(generation, self._mapping.account, dict.fromkeys(names), now), free)
        self._dispatch.wait()

    def _swept(self, waiting: Iterable[WaitingRemoval], free: set[tuple[str, str]]) -> None:
        """What becomes of the candidates of a sweep that found these ``free``."""
        by_owner: dict[tuple[str, str], list[Removal]] = {}
        for entry in waiting:
            removal = entry.removal
            if (removal.container, removal.row.name) not in free:
                again = self._clock.now() + min(self._mapping.segments_grace, LONGEST_REST_SECONDS)
                self._dispatch.given_up(entry.account, removal.container, removal.row,
                                        Outcome('deferred', 'referenced', due=again))
            elif removal.owner:
                by_owner.setdefault((removal.owner, removal.owner_etag), []).append(removal)
            else:
                self._remove([entry])
        for removals in by_owner.values():
            self._dispatch.remove_segments(self._mapping.account, removals)

    def _remove(self, waiting: Iterable[WaitingRemoval]) -> None:
        for entry in waiting:
            if not (self._dispatch.stopped or self.state.health.tripped):
                self._container(entry.removal.container).remove([entry.removal])

    def _crawl(self) -> OnceReport:
        settings = self._settings
        client = make_internal_client(settings.swift_dir, settings.internal_client_path,
                                      user_agent=settings.internal_client_logname) \
            if self._mapping.all_containers else None
        crawler = Crawler(
            CrawlerSettings(devices=settings.devices, swift_dir=settings.swift_dir,
                            swift_bind_ip=settings.swift_bind_ip, items_chunk=settings.items_chunk,
                            enumerator_workers=settings.enumerator_workers, commit_pending=False),
            [self.state], self, list_containers=account_listing(client) if client else _no_names, logger=self._logger,
            clock=self._clock)
        try:
            return crawler.run_once(until=self._over, verify=self._all_rows)
        finally:
            crawler.close()

    def _over(self) -> bool:
        return self._dispatch.fatal is not None or (self.state.health.tripped and not self._dispatch.busy)

    def _metadata_changed(self, container: SyncContainer, headers: Mapping[str, str]) -> None:
        mapping = container.mapping
        if not wanted(mapping):
            return
        known = self._ledger.metadata_hash(self._mapping.generation, mapping.account, container.container)
        if known != container_digest(mapping, headers):
            self._brought.add(f'{mapping.account}/{container.container}')


class PlanContainer(SyncContainer):
    """The daemon's handler, which also stops at the limit and notices what belongs to other nodes."""

    def __init__(self, state: MappingState, container: str, services: Services, dispatch: PlanDispatch) -> None:
        super().__init__(state, container, services)
        self._plan = dispatch
        self.partial_share = False

    def ready(self) -> bool:
        return not self._plan.stopped and super().ready()

    def handle_own(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        self.partial_share = self.partial_share or not db.owns_all
        super().handle_own(db, rows, done)


def _providers(settings: Settings, mapping: SyncMapping, ledger: Ledger, limiter: SharedLimiter, metrics: Registry,
               clock: Clock) -> ProviderCache:
    providers = ProviderCache(clock=clock, metrics=metrics, limiters={limit_key(mapping.remote): limiter},
                              max_connections=settings.workers, via=cluster_id(settings))
    probed = ledger.fact(probe_fact(mapping.remote))
    if probed is not None:
        providers.set_conditional_put(mapping, probed[0], probed[1])
    return providers


def _guesses(mapping: SyncMapping, ledger: Ledger) -> bool:
    remote = mapping.remote
    unknown = remote.protocol == 's3' and not remote.is_amazon and remote.conditional_put == 'auto'
    return unknown and ledger.fact(probe_fact(remote)) is None


def _requests(metrics: Registry) -> int:
    return int(sum(sum(sample.values) for sample in metrics.drain() if sample.metric == REQUESTS.name))


def _no_names(account: str) -> Iterator[str]:
    return iter(())
