"""A node's daemon in one thread and in memory: its own parts, on an account and remotes in memory.

Only the processes are left out: ``work`` does what workers would, row after
row, in the order in which they were handed out. It may be killed before or after
anything that has an effect, and goes on from its ledger.
"""
from __future__ import annotations

import logging
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.rows import Row
from container_crawler.shares import node_share
from container_crawler.window import Window
from s3_sync.base_sync import BaseSync
from s3_sync.channel import Answer, Errand, Rows, Sweep
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping
from s3_sync.engine.apply import Applier
from s3_sync.engine.apply import Mode as ApplyMode
from s3_sync.engine.archive import Archiver, objects_leave, peers_of
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.verify import proven_by_pages
from s3_sync.errands import Errands
from s3_sync.ledger import Backoff, Ledger
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.ledger.work import compare_rows
from s3_sync.local.remove import LocalRemover
from s3_sync.metrics import NoMetrics
from s3_sync.remote_health import RemoteHealth
from s3_sync.removals import Removals
from s3_sync.sync_container import MappingState, Results, Services, SyncContainer
from s3_sync.types import ObjectRow
from test.fakes.memory_swift import MemoryProxy, MemoryReplicas, MemorySource, MemorySwift

Step = Callable[[], None]
Providers = Callable[[Mapping], BaseSync]


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class SteppingLedger(Ledger):
    """Calls ``step`` before and after every transaction's commit."""

    step: Step = staticmethod(lambda: None)
    _open = 0

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:  # type: ignore[override]
        self._open += 1
        try:
            with super().transaction(durable=durable):
                yield
                if self._open == 1:
                    self.step()
        finally:
            self._open -= 1
        if not self._open:
            self.step()


class MemoryDaemon:
    """Node ``index`` of ``count``, each with a replica of every container's database."""

    def __init__(self, index: int, count: int, mappings: Sequence[Mapping], swift: MemorySwift, proxy: MemoryProxy,
                 providers: Providers, *, reclaim_age: float, clock: FakeClock, logger: logging.Logger,
                 step: Step) -> None:
        self.index, self.count = index, count
        self.mappings = {mapping.generation: mapping for mapping in mappings}
        self._swift, self._proxy, self._providers = swift, proxy, providers
        self._reclaim_age = reclaim_age
        self._clock, self._logger, self._step = clock, logger, step
        self._folder = tempfile.TemporaryDirectory(prefix='archive-')
        self.rows: dict[str, dict[str, Row]] = {container: {} for container in swift.rows}
        self._last_row = 0
        self.start()

    # -- life ----------------------------------------------------------------------------

    def start(self) -> None:
        clock, logger = self._clock, self._logger
        self.ledger = SteppingLedger.open(self._folder.name, clock=clock, logger=logger,
                                          backoff=Backoff(draw=lambda: 1.0))
        source = MemorySource(self._swift, self._proxy, clock)
        self._remover = LocalRemover(MemoryReplicas(self._swift), self._proxy,  # type: ignore[arg-type]
                                     reclaim_age=self._reclaim_age, clock=clock, logger=logger)
        self._handed: deque[tuple[Rows, Row, Callable[[Results], None]]] = deque()
        self._answers: list[Answer] = []
        self._errands = Errands(self.mappings, _Cache(self._providers), self._remover, source,  # type: ignore[arg-type]
                                at_once=2, send=self._answers.append, clock=clock, logger=logger)
        services = Services(
            ledger=self.ledger, dispatch=self, metrics=NoMetrics(), clock=clock, logger=logger,
            on_ledger_error=self._fail, metadata_changed=lambda container, headers: None,
            importer=StatusImporter(self.ledger, self._folder.name, list(self.mappings.values()), logger))
        self.states = {generation: MappingState(mapping, RemoteHealth(clock))
                       for generation, mapping in self.mappings.items()}
        self.handlers = {
            (generation, container): SyncContainer(state, container, services)
            for generation, state in self.states.items() for container in self.rows
            if state.mapping.all_containers or container == state.mapping.container}
        self._appliers = {key: self._applier(*key, source) for key in self.handlers}
        self.removals = Removals(self.states, self.ledger, self, lambda *key: self.handlers[key], metrics=NoMetrics(),
                                 clock=clock, logger=logger, on_ledger_error=self._fail)
        self.windows = {key: self._windows(*key) for key in self.handlers}
        self.ledger.step = self._step

    def kill(self) -> None:
        self.ledger.close()
        self.start()

    def close(self) -> None:
        self.ledger.close()
        self._folder.cleanup()

    def _applier(self, generation: str, container: str, source: MemorySource) -> Applier:
        mapping = self.mappings[generation].for_container(container)
        provider = self._providers(mapping)
        archiver = None
        if not mapping.retain_local:
            peers = peers_of(mapping, self.mappings.values(), self._providers)
            archiver = Archiver(mapping, provider, self._remover, peers, clock=self._clock)
        leave = objects_leave(mapping.account, container, self.mappings.values())
        return Applier(mapping, source, provider, archiver=archiver, objects_leave=leave, clock=self._clock,
                       logger=self._logger)

    def _windows(self, generation: str, container: str) -> tuple[Window, Window]:
        db_id = self.db(container).db_id
        kept = self.handlers[generation, container].load_progress(db_id) or Progress(0, 0, '')
        return Window(kept.own_row), Window(kept.verified_row)

    def _fail(self, error: Exception) -> None:
        raise AssertionError(error)

    # -- its databases -------------------------------------------------------------------

    def db(self, container: str) -> DatabaseInfo:
        return DatabaseInfo(f'db{self.index}-{container}', 'AUTH_a', container, 'AUTH_a', container, '', 'd',
                            (self.index,), self.count, True, False, False, self._last_row, len(self.rows[container]))

    def learn(self, container: str, row: Row) -> None:
        """A row arrives, by an object server or by replication; the database keeps the newer of two."""
        known = self.rows[container].get(row.name)
        if known is None or compare_rows(row.created_at, known.created_at) > 0:
            self._last_row += 1
            self.rows[container][row.name] = row._replace(row_id=self._last_row)

    def own(self, name: str) -> bool:
        return self.count == 1 or node_share(name, self.count) == self.index

    # -- what comes round ----------------------------------------------------------------

    def poll(self) -> None:
        """One pass over every container."""
        for (generation, container), handler in self.handlers.items():
            if handler.ready():
                self._read(generation, container)
        self.removals.pass_ended()

    def _read(self, generation: str, container: str) -> None:
        handler = self.handlers[generation, container]
        own, others = self.windows[generation, container]
        for window, handle, ours in ((own, handler.handle_own, True), (others, handler.handle_others, False)):
            new = sorted(row for row in self.rows[container].values() if row.row_id > window.position)
            mine = [row for row in new if self.own(row.name) == ours]
            if new:
                window.add(mine, new[-1].row_id)
            if mine:
                handle(self.db(container), mine, lambda row, window=window: window.done(row.row_id))  # type: ignore[misc]
        handler.save_progress(self.db(container).db_id, Progress(own.pointer, others.pointer, ''))

    def retry(self) -> None:
        """Work of the ledger that is due."""
        for generation, state in self.states.items():
            if state.paused:
                continue
            if state.health.tripped:
                state.health.on_trial()
            for container in list(state.waiting):
                container.resume_waiting()
            for work in self.ledger.due(generation, self._clock.now(), 100):
                self.handlers[generation, work.container].retry([work])

    def tick(self) -> None:
        """Removals that are due, and the next step of a sweep."""
        self.removals.tick()

    # -- in the place of workers ---------------------------------------------------------

    def submit(self, message: Rows, rows: Sequence[Row], finished: Callable[[Results], None]) -> None:
        self._handed.extend((message, row, finished) for row in rows)

    def work(self) -> None:
        """Whatever was handed to the workers."""
        while self._handed:
            message, row, finished = self._handed.popleft()
            finished([(row, self._worked(message, ObjectRow(message.account, message.container, row)))])

    def _worked(self, message: Rows, row: ObjectRow) -> Outcome:
        applier = self._appliers[message.generation, message.container]
        mode: ApplyMode = 'look' if message.mode == 'verify' else message.mode
        if message.mode == 'verify' and applier.archiver is None and proven_by_pages(applier.provider, [row], 2.0):
            return Outcome('same', 'verified')
        return applier.delete([row])[0] if row.deleted else applier.handle(row, mode)

    def ask(self, errand: Errand, share: str, answered: Callable[[Answer | None], None]) -> None:
        if isinstance(errand, Sweep):
            self._errands.sweep(errand)
        else:
            self._errands.remove_segments(errand)
        answered(self._answers.pop())


class _Cache:
    """As ``ProviderCache``."""

    def __init__(self, providers: Providers) -> None:
        self.get = providers
