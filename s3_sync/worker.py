"""A worker process of the daemon: takes rows, works on them in green threads, tells how each ended.

Started by ``s3_sync.worker_pool`` as ``python -m s3_sync.worker FD``; ends when
the main process does, however that happens.
"""
from __future__ import annotations

if __name__ == '__main__':
    from s3_sync.concurrency import monkey_patch
    monkey_patch()

import logging
import os
import socket
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from container_crawler.swift_dir import load_swift_dir
from s3_sync.base_sync import BaseSync
from s3_sync.channel import Channel, Configure, Counted, Learned, Logged, Outcomes, Rows, Segments, Sweep
from s3_sync.clock import SystemClock
from s3_sync.concurrency import Event, Semaphore, sleep, spawn
from s3_sync.config import Mapping
from s3_sync.config.cluster import cluster_id
from s3_sync.engine.apply import Applier
from s3_sync.engine.apply import Mode as ApplyMode
from s3_sync.engine.archive import Archiver, objects_leave, peers_of
from s3_sync.engine.outcomes import Outcome, outcome_of_error
from s3_sync.engine.verify import proven_by_pages
from s3_sync.engine.whole_listing import ListingCache
from s3_sync.errands import Errands
from s3_sync.local.chain import ChainSource
from s3_sync.local.factory import make_remover, make_source
from s3_sync.local.remove import LocalRemover
from s3_sync.marker_work import MarkerWork
from s3_sync.metrics import Registry
from s3_sync.provider_factory import ProviderCache
from s3_sync.providers.limit import SharedLimiter
from s3_sync.types import ObjectRow
from s3_sync.wire.tombstones import is_tombstone_container

Key = tuple[str, str, str]
"""Generation, account, container: what takes turns."""
Task = tuple[int, ObjectRow]
"""A row and the token it is reported with."""

FLUSH_SECONDS = 0.05
"""How long finished rows may wait for company before they are reported."""
METRICS_SECONDS = 1.0
KEPT_APPLIERS = 200
CLOCK_SKEW_SECONDS = 2.0
"""Beyond one second of a store's time resolution: how far two synchronised clocks may differ."""


class FairQueue:
    """First in, first out within a container; containers take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Key, deque[Callable[[], None]]] = OrderedDict()
        self._waiting: deque[Event] = deque()

    def put(self, key: Key, job: Callable[[], None]) -> None:
        self._queues.setdefault(key, deque()).append(job)
        if self._waiting:
            self._waiting.popleft().send()

    def get(self) -> Callable[[], None]:
        while not self._queues:
            event = Event()
            self._waiting.append(event)
            event.wait()
        key, queue = next(iter(self._queues.items()))
        job = queue.popleft()
        if queue:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]
        return job


class NameLocks:
    """One green thread at a time on an object name."""

    def __init__(self) -> None:
        self._held: dict[str, list[Event]] = {}

    @contextmanager
    def hold(self, names: Sequence[str]) -> Iterator[None]:
        taken: list[str] = []
        try:
            for name in sorted(names):
                while name in self._held:
                    event = Event()
                    self._held[name].append(event)
                    event.wait()
                self._held[name] = []
                taken.append(name)
            yield
        finally:
            for name in taken:
                for event in self._held.pop(name):
                    event.send()


class Worker:
    """The process' state: providers, the local source, the queue of rows."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._clock = SystemClock()
        self._logger = logging.getLogger('s3_sync.worker')
        self.metrics = Registry()
        self._queue = FairQueue()
        self._locks = NameLocks()
        self._appliers: OrderedDict[tuple[str, str], Applier] = OrderedDict()
        self._finished: list[tuple[int, Outcome]] = []
        self._send_lock = Semaphore(1)
        self._mappings: dict[str, Mapping] = {}
        self._source: ChainSource | None = None
        self._source_without_disk: ChainSource | None = None
        self._providers: ProviderCache | None = None
        self._listings: ListingCache | None = None
        self._remover: LocalRemover | None = None
        self._errands: Errands | None = None
        self._marker_work: MarkerWork | None = None

    # -- life ----------------------------------------------------------------------------

    def run(self) -> None:
        spawn(self._count_forever)
        try:
            while True:
                message = self._channel.receive()
                match message:
                    case Configure():
                        self._configure(message)  # comes first, and once: a new configuration has new workers
                    case Learned():
                        self._learn(message)
                    case Rows():
                        self._accept(message)
                    case Sweep():
                        assert self._errands is not None
                        spawn(self._errands.sweep, message)  # may take long, and must not take a place of rows
                    case Segments():
                        assert self._errands is not None
                        key = (message.generation, message.account, message.removals[0].container)
                        self._queue.put(key, partial(self._errands.remove_segments, message))
        except EOFError:
            self._report()

    def _configure(self, message: Configure) -> None:
        settings = message.settings
        load_swift_dir(settings.swift_dir)
        self._source = make_source(settings, metrics=self.metrics, clock=self._clock, logger=self._logger)
        self._source_without_disk = self._source.without_disk()
        self._remover = make_remover(settings, self._source, clock=self._clock, logger=self._logger)
        self._listings = ListingCache(settings.status_dir, clock=self._clock)
        self._providers = ProviderCache(
            clock=self._clock, metrics=self.metrics,
            limiters={label: SharedLimiter.attach(fd) for label, fd in message.limiters.items()},
            conditional_put=message.conditional_put, max_connections=settings.workers,
            via=cluster_id(settings))
        self._mappings = {m.generation: m for m in settings.containers}
        self._errands = Errands(self._mappings, self._providers, self._remover, self._source,
                                at_once=settings.workers, send=self.send, clock=self._clock, logger=self._logger)
        self._marker_work = MarkerWork(self._mappings, self._providers, self._source, self._source_without_disk,
                                       clock=self._clock)
        for _ in range(settings.workers):
            spawn(self._work_forever)

    def _learn(self, message: Learned) -> None:
        assert self._providers is not None and self._marker_work is not None
        self._providers.learn(message.conditional_put)
        self._marker_work.forget()
        self._appliers.clear()  # rows under way keep theirs, which ask more often and are right all the same

    def _work_forever(self) -> None:
        while True:
            job = self._queue.get()
            try:
                job()
            except Exception:
                # Its rows would never be heard of again. A new process gets them, twice at most.
                self._logger.exception('unexpected error')
                self._report()
                os._exit(1)

    # -- rows ----------------------------------------------------------------------------

    def _accept(self, message: Rows) -> None:
        key = (message.generation, message.account, message.container)
        mapping = self._mappings.get(message.generation)
        if mapping is None:
            gone = Outcome('failed', 'mapping-gone', 'the mapping left the configuration')
            self._finish((token, gone) for token, _ in message.tasks)
            return
        if is_tombstone_container(message.container):
            for token, row in message.tasks:
                marker = ObjectRow(message.account, message.container, row)
                self._queue.put(key, partial(self._finish_delete, message.generation, token, marker))
            return
        applier = self._applier(mapping, message.container)
        tasks = [(token, ObjectRow(message.account, message.container, row)) for token, row in message.tasks]
        if message.mode == 'verify' and applier.archiver is None:
            self._queue.put(key, lambda: self._verify(key, applier, tasks, message.object_count))
        else:
            # Of an archive's rows no listing tells enough: what still lives here has to go.
            self._queue_singly(key, applier, tasks, 'look' if message.mode == 'verify' else message.mode)

    def _queue_singly(self, key: Key, applier: Applier, tasks: list[Task], mode: ApplyMode) -> None:
        deletes = [task for task in tasks if task[1].deleted]
        batch = applier.deletes_at_once
        for at in range(0, len(deletes), batch):
            self._queue.put(key, partial(self._delete, key, applier, deletes[at:at + batch]))
        live = [task for task in tasks if not task[1].deleted]
        applier.expect([row for _, row in live])
        for token, row in live:
            self._queue.put(key, partial(self._handle, key, applier, token, row, mode))

    def _handle(self, key: Key, applier: Applier, token: int, row: ObjectRow,
                mode: ApplyMode) -> None:
        with self._locks.hold([f'{key}{row.name}']):
            self._finish([(token, applier.handle(row, mode))])

    def _finish_delete(self, generation: str, token: int, row: ObjectRow) -> None:
        assert self._marker_work is not None
        with self._locks.hold(self._marker_work.locks(generation, row)):
            self._finish([(token, self._marker_work.handle(generation, row))])

    def _delete(self, key: Key, applier: Applier, tasks: list[Task]) -> None:
        with self._locks.hold([f'{key}{row.name}' for _, row in tasks]):
            outcomes = applier.delete([row for _, row in tasks])
        self._finish((token, outcome) for (token, _), outcome in zip(tasks, outcomes, strict=True))

    def _verify(self, key: Key, applier: Applier, tasks: list[Task],
                object_count: int) -> None:
        assert self._listings is not None
        rows = [row for _, row in tasks]
        try:
            if applier.provider.capabilities.ordered_listing:
                proven = proven_by_pages(applier.provider, rows, CLOCK_SKEW_SECONDS)
            else:
                proven = self._listings.proven(key, applier.provider, rows, object_count, CLOCK_SKEW_SECONDS)
        except Exception as error:  # what was not proven is looked at singly, and meets the error there
            self._logger.warning('%s/%s: listing for verification failed: %s', key[1], key[2],
                                 outcome_of_error(error, self._clock.now()).detail)
            proven = set()
        self._finish((token, Outcome('same', 'verified')) for token, row in tasks if row.name in proven)
        self._queue_singly(key, applier, [task for task in tasks if task[1].name not in proven], 'look')

    def _applier(self, mapping: Mapping, container: str) -> Applier:
        assert self._providers is not None and self._source is not None and self._source_without_disk is not None
        key = (mapping.generation, container)
        applier = self._appliers.get(key)
        if applier is None:
            concrete = mapping.for_container(container)
            source = self._source if concrete.local_reads == 'auto' else self._source_without_disk
            provider = self._providers.get(concrete)
            applier = Applier(concrete, source, provider, archiver=self._archiver(concrete, provider),
                              objects_leave=objects_leave(mapping.account, container, self._mappings.values()),
                              clock=self._clock, logger=self._logger)
            self._appliers[key] = applier
            if len(self._appliers) > KEPT_APPLIERS:
                self._appliers.popitem(last=False)
        self._appliers.move_to_end(key)
        return applier

    def _archiver(self, mapping: Mapping, provider: BaseSync) -> Archiver | None:
        """What lets local objects go. Other mappings of the container must have what they select before it goes."""
        if mapping.retain_local:
            return None
        assert self._providers is not None and self._remover is not None
        peers = peers_of(mapping, self._mappings.values(), self._providers.get)
        return Archiver(mapping, provider, self._remover, peers, clock=self._clock)

    # -- reporting -----------------------------------------------------------------------

    def _finish(self, results: Iterable[tuple[int, Outcome]]) -> None:
        if not self._finished:
            spawn(self._report_soon)
        self._finished.extend(results)

    def _report_soon(self) -> None:
        sleep(FLUSH_SECONDS)
        self._report()

    def _count_forever(self) -> None:
        while True:
            sleep(METRICS_SECONDS)
            samples = self.metrics.drain()
            if samples:
                self.send(Counted(samples))

    def _report(self) -> None:
        if self._finished:
            results, self._finished = self._finished, []
            self.send(Outcomes(results))

    def send(self, message: object) -> None:
        with self._send_lock:
            try:
                self._channel.send(message)
            except OSError:
                os._exit(0)  # the main process is gone, and with it everyone who could be told


class ChannelHandler(logging.Handler):
    """Log records go to the main process, which owns the log files."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += '\n' + logging.Formatter().formatException(record.exc_info)
        self._worker.send(Logged(record.levelno, record.name, message))


def main() -> None:
    worker = Worker(Channel(socket.socket(fileno=int(sys.argv[1]))))
    root = logging.getLogger()
    root.addHandler(ChannelHandler(worker))
    root.setLevel(logging.INFO)
    worker.run()
    # Green threads may hang in a read from a dead disk or remote; nothing they hold needs an orderly end.
    os._exit(0)


if __name__ == '__main__':
    main()
