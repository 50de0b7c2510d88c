"""A dry run of one mapping, made of the daemon's own parts.

The crawler only looks at the databases; progress and waiting work come from a
*copy* of the ledger, which takes all that the run would record; the rows go
through the daemon's ``SyncContainer`` and ``Applier``, whose provider writes
nothing (``s3_sync.providers.dryrun``). So the decisions are those of the daemon,
and neither ledger, databases nor remote change.
"""
from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from container_crawler.crawler import Crawler, CrawlerSettings, OnceReport
from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import HandlerFactory, RowHandler
from container_crawler.internal_client import account_listing, make_internal_client
from container_crawler.rows import Row
from s3_sync.channel import Rows
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenPool
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Settings
from s3_sync.container_metadata import container_digest, wanted
from s3_sync.engine.apply import Applier
from s3_sync.engine.outcomes import Outcome, outcome_of_error
from s3_sync.engine.verify import proven_by_pages
from s3_sync.engine.whole_listing import ListingCache
from s3_sync.ledger import Ledger
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.ledger.work import compare_rows
from s3_sync.local.factory import make_source
from s3_sync.metric_defs import REQUESTS
from s3_sync.metrics import Registry
from s3_sync.provider_factory import ProviderCache, limit_key, probe_fact
from s3_sync.providers.dryrun import DryRunSync
from s3_sync.providers.limit import SharedLimiter
from s3_sync.remote_health import RemoteHealth
from s3_sync.sync_container import MappingState, Results, Services, SyncContainer
from s3_sync.types import ObjectRow
from s3_sync.worker import CLOCK_SKEW_SECONDS

WAITING_BATCH = 500


class Planned(NamedTuple):
    """What would become of one object."""

    account: str
    container: str
    row: Row
    outcome: Outcome
    why: str
    """Of a copy: ``new`` or ``changed``; otherwise the outcome's reason."""


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
            report = self._crawl()
            if self._dispatch.fatal is not None:
                raise self._dispatch.fatal
        finally:
            self._dispatch.close()
            self._providers.close()
            self._limiter.close()
        partial_share = any(container.partial_share for container in self._containers.values())
        held = self.state.health.reason if self.state.health.tripped else ''
        return PlanResult(self._dispatch.requests, _requests(self._metrics), tuple(sorted(self._brought)),
                          partial_share and not self._all_rows, self._dispatch.limited, self._guessed, held,
                          (*report.failed, *([f'account {self._mapping.account}'] if report.unlisted else [])))

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
        generation = self._mapping.generation
        for work in self._ledger.failures(generation, kind='permanent'):
            self._dispatch.given_up(work.account, work.container, work.row,
                                    Outcome('permanent', work.reason, work.detail))
        for kind in ('failed', 'deferred'):
            entries = self._ledger.failures(generation, kind=kind)
            while batch := list(islice(entries, WAITING_BATCH)):
                for work in batch:
                    if not (self._dispatch.stopped or self.state.health.tripped):
                        self._container(work.container).retry([work])
                self._dispatch.wait()

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


class PlanDispatch:
    """Works on rows in green threads of this process, each object once."""

    def __init__(self, settings: Settings, mapping: SyncMapping, providers: ProviderCache, folder: Path, *,
                 limit: int | None, clock: Clock, logger: logging.Logger, told: Callable[[Planned], None]) -> None:
        self._mapping = mapping
        self._providers = providers
        self._clock = clock
        self._told = told
        self._room = limit
        self.limited = False
        """The limit is reached and there was more."""
        self.fatal: Exception | None = None
        """What ends the whole plan."""
        self._logger = logger
        self._pool = GreenPool(settings.workers)
        self._source = make_source(settings.model_copy(update={'local_reads': mapping.local_reads}), clock=clock,
                                   logger=logger)
        self._listings = ListingCache(str(folder), clock=clock)
        self._appliers: dict[str, Applier] = {}
        self._seen = Seen(folder / 'seen.sqlite')

    @property
    def requests(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for applier in self._appliers.values():
            for operation, number in _dry(applier).requests.items():
                total[operation] = total.get(operation, 0) + number
        return total

    @property
    def stopped(self) -> bool:
        return self.limited or self.fatal is not None

    def give_up(self, error: Exception) -> None:
        """End the plan with this error."""
        self.fatal = self.fatal or error

    @property
    def busy(self) -> bool:
        return bool(self._pool.running())

    def wait(self) -> None:
        self._pool.waitall()

    def close(self) -> None:
        self._source.close()
        self._listings.close()
        self._seen.close()

    # -- rows ----------------------------------------------------------------------------

    def given_up(self, account: str, container: str, row: Row, outcome: Outcome) -> None:
        """Nothing is tried for this one; the plan says so."""
        self._seen.fresh(account, container, [row])
        self._told(Planned(account, container, row, outcome, outcome.reason))

    def submit(self, message: Rows, rows: Sequence[Row], finished: Callable[[Results], None]) -> None:
        """As the worker pool does. Rows beyond the limit, and objects that were there already, end at once."""
        fresh = self._seen.fresh(message.account, message.container, rows)
        if self._room is not None and len(fresh) > self._room:
            self.limited = True
            fresh = fresh[:self._room]
        if self._room is not None:
            self._room -= len(fresh)
        chosen = {row.row_id for row in fresh}
        passed = [(row, Outcome('same', 'seen')) for row in rows if row.row_id not in chosen]
        if passed:
            finished(passed)
        if not fresh:
            return
        tasks = [ObjectRow(message.account, message.container, row) for row in fresh]
        applier = self._applier(message.container)
        if message.mode == 'verify':
            self._spawn(self._verify, applier, message, tasks, finished)
        else:
            self._singly(applier, message, tasks, finished)

    def _singly(self, applier: Applier, message: Rows, tasks: Sequence[ObjectRow],
                finished: Callable[[Results], None]) -> None:
        deletes = [row for row in tasks if row.deleted]
        batch = max(1, applier.provider.capabilities.batch_delete)
        for at in range(0, len(deletes), batch):
            self._spawn(self._delete, applier, deletes[at:at + batch], finished)
        for row in tasks:
            if not row.deleted:
                self._spawn(self._handle, applier, message, row, finished)

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        """In a green thread, once one is free. Nobody hears what one raises: it is kept, and ends the plan."""
        def guarded() -> None:
            if self.fatal is None:
                try:
                    work(*arguments)
                except Exception as error:
                    self.give_up(error)
        self._pool.spawn_n(guarded)

    def _handle(self, applier: Applier, message: Rows, row: ObjectRow, finished: Callable[[Results], None]) -> None:
        self._end(applier, row, applier.handle(row, 'own' if message.mode == 'own' else 'look'), finished)

    def _delete(self, applier: Applier, rows: Sequence[ObjectRow], finished: Callable[[Results], None]) -> None:
        for row, outcome in zip(rows, applier.delete(rows), strict=True):
            self._end(applier, row, outcome, finished)

    def _verify(self, applier: Applier, message: Rows, rows: Sequence[ObjectRow],
                finished: Callable[[Results], None]) -> None:
        try:
            proven = self._proven(applier, message, rows)
        except Exception as error:  # as in the worker: what was not proven is looked at singly
            self._logger.warning('%s/%s: listing for verification failed: %s', message.account, message.container,
                                 outcome_of_error(error, self._clock.now()).detail)
            proven = set()
        for row in rows:
            if row.name in proven:
                self._end(applier, row, Outcome('same', 'verified'), finished)
        for row in rows:
            if row.name not in proven and row.deleted:
                self._delete(applier, [row], finished)
            elif row.name not in proven:
                self._handle(applier, message, row, finished)

    def _proven(self, applier: Applier, message: Rows, rows: Sequence[ObjectRow]) -> set[str]:
        if applier.provider.capabilities.ordered_listing:
            return proven_by_pages(applier.provider, rows, CLOCK_SKEW_SECONDS)
        return self._listings.proven(message.container, applier.provider, rows, message.object_count,
                                     CLOCK_SKEW_SECONDS)

    def _end(self, applier: Applier, row: ObjectRow, outcome: Outcome, finished: Callable[[Results], None]) -> None:
        why: str = _dry(applier).why(row.name)
        self._told(Planned(row.account, row.container, row.row, outcome,
                           why if outcome.kind == 'copied' else outcome.reason))
        finished([(row.row, outcome)])

    def _applier(self, container: str) -> Applier:
        applier = self._appliers.get(container)
        if applier is None:
            concrete = self._mapping.for_container(container)
            creates = self._mapping.all_containers and self._mapping.remote.protocol == 'swift'
            provider = DryRunSync(self._providers.get(concrete), creates_bucket=creates)
            applier = Applier(concrete, self._source, provider, clock=self._clock, logger=self._logger)
            self._appliers[container] = applier
        return applier


class Seen:
    """Which objects were planned already: several databases of a node, and the ledger, may name the same one."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute('PRAGMA journal_mode = OFF')
        self._database.execute('PRAGMA synchronous = OFF')
        self._database.execute('CREATE TABLE seen (account TEXT, container TEXT, name TEXT, created_at TEXT, '
                               'PRIMARY KEY (account, container, name)) WITHOUT ROWID')

    def fresh(self, account: str, container: str, rows: Sequence[Row]) -> list[Row]:
        """Those of ``rows`` whose object was not here yet at this time or a newer one."""
        new = []
        self._database.execute('BEGIN')
        for row in rows:
            with closing(self._database.execute(
                    'SELECT created_at FROM seen WHERE account = ? AND container = ? AND name = ?',
                    (account, container, row.name))) as cursor:
                known = cursor.fetchone()
            if known is None or compare_rows(row.created_at, known[0]) > 0:
                self._database.execute('INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)',
                                       (account, container, row.name, row.created_at))
                new.append(row)
        self._database.execute('COMMIT')
        return new

    def close(self) -> None:
        self._database.close()


def _providers(settings: Settings, mapping: SyncMapping, ledger: Ledger, limiter: SharedLimiter, metrics: Registry,
               clock: Clock) -> ProviderCache:
    providers = ProviderCache(clock=clock, metrics=metrics, limiters={limit_key(mapping.remote): limiter},
                              max_connections=settings.workers)
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


def _dry(applier: Applier) -> DryRunSync:
    assert isinstance(applier.provider, DryRunSync)
    return applier.provider


def _no_names(account: str) -> Iterator[str]:
    return iter(())
