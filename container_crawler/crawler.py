"""The crawler: looks for changed container databases and gives their rows to handlers.

A poll only stats files and lets folders that changed line up for turns; turns
and handlers go on meanwhile. Nothing waits for a slow row but the pointer of
its own database.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from eventlet import sleep
from eventlet.semaphore import Semaphore

from container_crawler.databases import ContainerRing, DatabaseInfo
from container_crawler.device_threads import DeviceThreads
from container_crawler.exceptions import SkipContainer
from container_crawler.folder import Clock, Folder, HandlerEntry, MappingState, Surroundings, Target, Verify
from container_crawler.handlers import ContainerMapping, HandlerFactory, Progress, RowHandler
from container_crawler.remote_roots import RemoteRoots
from container_crawler.scan import Scanner, ScanPass, Visit
from container_crawler.shards import ContainerPath, ask_for_shards, is_hidden
from container_crawler.stamps import Stamp
from container_crawler.targets import Targets
from container_crawler.turns import Turns

__all__ = ['Crawler', 'CrawlerSettings', 'DatabaseInfo', 'HandlerFactory', 'OnceReport', 'Progress', 'RowHandler']

MOST_IDLE = 2_000_000
"""Idle databases that are remembered; beyond that all are looked at again."""
MOST_HANDLERS = 10_000
"""Handlers of one mapping kept though nothing is to be done for them."""
NAP_SECONDS = 0.05


@dataclass(frozen=True)
class CrawlerSettings:
    devices: str
    """Root of the device folders."""
    swift_dir: str = '/etc/swift'
    """Folder of the container ring; :func:`load_swift_dir` has been called for it."""
    swift_bind_ip: str = '0.0.0.0'
    """Which of the ring's addresses is this node; 0.0.0.0: any local one."""
    items_chunk: int = 1000
    """Rows of one database that are read, and may be outstanding, at once."""
    enumerator_workers: int = 10
    """Containers whose handlers are called at once."""
    verification_slack_seconds: float = 3600.0
    """How long other nodes have for their rows."""
    poll_interval: float = 5.0
    """Seconds."""
    device_timeout: float = 30.0
    """Seconds a disk may take for one chunk of rows."""
    commit_pending: bool = True
    """False: container databases are only looked at, nothing is written into them."""


@dataclass(frozen=True)
class OnceReport:
    """What :meth:`Crawler.run_once` left undone."""

    caught_up: bool
    """Whether everything visible at the start was handed out and is finished."""
    failed: tuple[str, ...] = ()
    """Containers (account/container) with errors, logged."""
    held: tuple[str, ...] = ()
    """Containers whose handler was not ready."""
    unlisted: bool = False
    """Whether a listing of an account failed."""


class Crawler:
    def __init__(self, settings: CrawlerSettings, mappings: Iterable[ContainerMapping], factory: HandlerFactory, *,
                 list_containers: Callable[[str], Iterable[str]], logger: logging.Logger, clock: Clock,
                 threads: DeviceThreads | None = None,
                 ask_shards: Callable[[str, str], tuple[ContainerPath, ...]] | None = None) -> None:
        """``list_containers(account)`` streams names; ``threads`` may be shared; ``ask_shards`` replaces requests
        to other nodes for the shards of containers without a local replica.

        Raises OSError or ValueError when ring or devices cannot be read.
        """
        self._settings = settings
        self._factory = factory
        self._logger = logger
        self._clock = clock
        self._own_threads = threads is None
        self._threads = threads or DeviceThreads(settings.device_timeout)
        self._ring = ContainerRing(settings.swift_dir, settings.devices, settings.swift_bind_ip)
        self._turns = Turns(self._turn, settings.enumerator_workers)
        self._surroundings = Surroundings(
            threads=self._threads, clock=clock, logger=logger, items_chunk=settings.items_chunk,
            slack=settings.verification_slack_seconds, limit=settings.enumerator_workers * settings.items_chunk,
            slots=Semaphore(settings.enumerator_workers), request_turn=self._turns.request,
            found_shards=self._found_shards, commit=settings.commit_pending)
        self._targets = Targets(list_containers, factory, logger, clock)
        self._scanner = Scanner(self._threads, self._seen, logger)
        self._remote = RemoteRoots(ask_shards or (lambda a, c: ask_for_shards(self._ring, a, c)),
                                   self._found_shards, clock, logger)
        self._mappings: dict[int, MappingState] = {}
        self._next_number = 0
        self._folders: dict[int, Folder] = {}
        self._idle: dict[int, int] = {}
        self._absent: set[str] = set()
        """Folders without a database whose container has another one on this node."""
        self._unreadable: set[str] = set()
        """Containers that cannot be looked at, as they were logged."""
        self._polls = 0
        self._once = False
        self._stopping = False
        self._ring_complaint = ''
        self.set_mappings(mappings)

    # -- settings ------------------------------------------------------------------------

    def set_mappings(self, mappings: Iterable[ContainerMapping]) -> None:
        """Crawl these from the next poll on. Those that were there before keep their state and handlers."""
        known: dict[Hashable, MappingState] = {state.mapping: state for state in self._mappings.values()}
        kept = {}
        for mapping in dict.fromkeys(mappings):
            state = known.get(mapping)
            if state is None:
                state = MappingState(self._next_number, mapping)
                self._next_number += 1
            kept[state.number] = state
        self._mappings = kept
        self._targets.set_mappings([(state.number, state.mapping) for state in kept.values()])
        for folder in [f for f in self._folders.values() if f.mapping.number not in kept]:
            self._drop(folder)

    def stop(self) -> None:
        """Begin nothing any more. Only sets flags: safe in a signal handler."""
        self._stopping = True
        self._turns.stopped = True

    def close(self) -> None:
        """Store progress of what finished, end the threads."""
        self.stop()
        for folder in self._folders.values():
            self._guarded(folder, folder.save)
        if self._own_threads:
            self._threads.close()

    # -- running -------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Poll until :meth:`stop`."""
        while not self._stopping:
            began = self._clock.monotonic()
            self.poll()
            while not self._stopping and self._clock.monotonic() - began < self._settings.poll_interval:
                self._clock.sleep(min(0.5, self._settings.poll_interval))

    def run_once(self, until: Callable[[], bool] | None = None, *, verify: bool = True) -> OnceReport:
        """Run until everything visible now is finished, this node's own rows first, then those of others.

        Containers that fail or are held are not tried again. ``until``: asked
        all the time, True ends the run early. ``verify`` False leaves rows of others out. Waits for outstanding rows.
        """
        self._once = True
        listed = complete = True
        try:
            phases: tuple[Verify, ...] = ('not now', 'now') if verify else ('not now',)
            for phase in phases:
                self._surroundings.verify = phase
                if phase == 'not now':
                    self.poll()
                    listed = self._targets.all_listed
                else:
                    for folder in list(self._folders.values()):
                        self._turns.request(folder)
                complete = self._wait(until)
                if not complete:
                    break
        finally:
            self._surroundings.verify = 'when due'
            self._once = False
        return self._report(listed, complete, verify)

    def poll(self) -> None:
        """One look at everything; returns when all folders were scanned, while turns go on."""
        self._polls += 1
        self._refresh_ring()
        earlier = list(self._folders.values())
        scan = self._scanner.begin()
        for target in self._targets:
            if self._stopping:
                break
            self._visit(target, scan)
        scan.finish()
        monotonic = self._clock.monotonic()
        for folder in earlier:
            if self._folders.get(folder.key) is folder:
                if folder.polled != self._polls:
                    self._visit_again(folder, scan)
                if folder.wants_turn(monotonic):
                    folder.retry = False
                    self._turns.request(folder)
        scan.finish()

    def lag(self, mapping: ContainerMapping) -> float:
        """Age in seconds of the oldest change of a user that is this node's and not finished, 0 when there is none."""
        times = [folder.oldest_seconds() for folder in self._folders.values()
                 if folder.mapping.mapping == mapping and not is_hidden(folder.target.container)]
        oldest = min((t for t in times if t is not None), default=None)
        return 0.0 if oldest is None else max(0.0, self._clock.now() - oldest)

    @property
    def outstanding(self) -> int:
        """Rows in handlers' hands."""
        return sum(state.outstanding for state in self._mappings.values())

    @property
    def backlog(self) -> int:
        """Users' own rows seen and not finished, at most: row numbers have gaps where rows were replaced."""
        return sum(max(0, db.file.max_row - db.own.pointer) for folder in self._folders.values()
                   if not is_hidden(folder.target.container) for db in folder.databases.values())

    @property
    def idle(self) -> int:
        """Databases with nothing left to do, of those that are remembered."""
        return len(self._idle)

    @property
    def active(self) -> int:
        """Databases with something left to do."""
        return len(self._folders)

    def _wait(self, until: Callable[[], bool] | None) -> bool:
        """Until nothing runs and nothing is outstanding. False when stopped earlier."""
        sleep(0)
        while self._turns.busy or self._remote.busy or self.outstanding:
            if self._stopping or (until is not None and until()):
                return False
            sleep(NAP_SECONDS)
        return not self._stopping

    def _report(self, listed: bool, complete: bool, verify: bool) -> OnceReport:
        left = list(self._folders.values())
        failed = sorted({'/'.join(f.target.path) for f in left if f.retry or f.complaint}
                        | self._unreadable | {f'device {device}' for device in self._scanner.silent})
        held = sorted({'/'.join(f.target.path) for f in left if f.held})
        undone = any(f.outstanding or f.unfinished_own
                     or (verify and any(db.unverified for db in f.databases.values())) for f in left)
        caught_up = complete and listed and not (failed or held or undone)
        return OnceReport(caught_up, tuple(failed), tuple(held), not listed)

    # -- looking -------------------------------------------------------------------------

    def _refresh_ring(self) -> None:
        try:
            self._ring.refresh()
        except Exception as error:
            if str(error) != self._ring_complaint:
                self._ring_complaint = str(error)
                self._logger.error('container ring or devices cannot be read, going on with what is known: %s', error)
        else:
            self._ring_complaint = ''

    def _visit(self, target: Target, scan: ScanPass) -> None:
        places = tuple(self._ring.places(*target.path))
        for place in places:
            scan.add(Visit(target, place, places))
        if not places and target.path == (target.account, target.container):
            self._remote.visit(target, now=self._once)

    def _visit_again(self, folder: Folder, scan: ScanPass) -> None:
        """A folder with work left that this pass did not come by: no listing names its container any more."""
        places = tuple(self._ring.places(*folder.target.path))
        if all(place.folder != folder.place.folder for place in places):
            self._drop(folder)
        for place in places:
            scan.add(Visit(folder.target, place, places))

    def _found_shards(self, target: Target, shards: tuple[ContainerPath, ...]) -> None:
        """Called for a root, in its turn or when another node answered: news need not wait for the next poll."""
        if self._targets.set_shards(target.path, shards):
            scan = self._scanner.begin()
            for shard in self._targets.shards(target):
                self._visit(shard, scan)
            scan.finish()

    def _seen(self, visit: Visit, stamp: Stamp | None | OSError) -> None:
        """What a scan saw of one folder, for every mapping that wants its container."""
        name = visit.place.folder
        if isinstance(stamp, OSError):
            self._complain(f'{"/".join(visit.target.path)} on {visit.place.device}', stamp)
            return
        if self._unreadable:
            self._unreadable.discard(f'{"/".join(visit.target.path)} on {visit.place.device}')
        indexes = self._indexes(visit, stamp is not None)
        for number in visit.target.mappings:
            if stamp is None:
                self._gone(number, name)
            else:
                self._seen_by(number, visit, stamp, indexes)

    def _seen_by(self, number: int, visit: Visit, stamp: Stamp, indexes: tuple[int, ...]) -> None:
        state = self._mappings.get(number)
        if state is None:
            return
        key = hash((number, visit.place.folder))
        folder = self._folders.get(key)
        if folder is None:
            if self._idle.get(key) == hash((stamp.value, indexes)):
                return
            entry = self._handler(state, visit.target)
            if entry is None:
                return
            entry.users += 1
            self._idle.pop(key, None)
            folder = self._folders[key] = Folder(key, visit.target, visit.place, state, entry, self._surroundings)
        folder.polled = self._polls
        if folder.changed(stamp, indexes):
            folder.retry = False
            self._turns.request(folder)

    def _indexes(self, visit: Visit, present: bool) -> tuple[int, ...]:
        """Replica indexes the database of this place works for.

        Its own, and those of other local places that have no database (a
        disk was replaced, the container is new), for the first that has one.
        """
        own = visit.place.replica
        if len(visit.places) == 1:
            return (own,)
        (self._absent.discard if present else self._absent.add)(visit.place.folder)
        if not present and all(place.folder in self._absent for place in visit.places):
            self._absent.difference_update(place.folder for place in visit.places)
        present_places = [p for p in visit.places if p.folder not in self._absent]
        if not present or present_places[0] != visit.place:
            return (own,)
        return tuple(sorted([own, *(p.replica for p in visit.places if p.folder in self._absent)]))

    def _gone(self, number: int, name: str) -> None:
        key = hash((number, name))
        self._idle.pop(key, None)
        folder = self._folders.get(key)
        if folder is not None:
            self._logger.debug('%s/%s: database is gone', *folder.target.path)
            self._drop(folder)

    def _handler(self, state: MappingState, target: Target) -> HandlerEntry | None:
        """The container's handler, made once. None when it is skipped or cannot be made now."""
        root = (target.account, target.container)
        if root in state.handlers:
            return state.handlers[root]
        if len(state.handlers) >= MOST_HANDLERS:
            for unused in [key for key, entry in state.handlers.items() if entry is None or not entry.users]:
                del state.handlers[unused]
        try:
            state.handlers[root] = HandlerEntry(self._factory.create(state.mapping, target.container))
        except SkipContainer as reason:
            self._logger.info('%s/%s is skipped: %s', *root, reason)
            state.handlers[root] = None
        except Exception as error:
            self._complain('/'.join(root), error)
            return None
        self._unreadable.discard('/'.join(root))
        return state.handlers[root]

    def _complain(self, name: str, error: Exception) -> None:
        """A container that cannot be looked at, logged once until it can."""
        if name not in self._unreadable:
            self._unreadable.add(name)
            self._logger.error('%s: %s', name, error, exc_info=error)

    # -- turns ---------------------------------------------------------------------------

    def _turn(self, folder: Folder) -> bool:
        if self._folders.get(folder.key) is not folder:
            return False
        again = self._guarded(folder, folder.turn)
        if self._folders.get(folder.key) is not folder:
            return False
        if folder.settled:
            self._settle(folder)
        return bool(again) and not self._stopping

    def _guarded(self, folder: Folder, step: Callable[[], bool | None]) -> bool | None:
        """Errors of one container are its own."""
        try:
            again = step()
        except Exception as error:
            folder.retry = True
            folder.complain(error)
            return False
        if not folder.retry:
            folder.complaint = ''
        return again

    def _settle(self, folder: Folder) -> None:
        """Nothing is left to do: forget all but its stamp, if that can be relied upon."""
        stamp = folder.stamp
        if stamp is not None and stamp.settled:
            if len(self._idle) >= MOST_IDLE:
                self._idle.clear()
            self._idle[folder.key] = hash((stamp.value, folder.indexes))
        self._drop(folder)

    def _drop(self, folder: Folder) -> None:
        if self._folders.get(folder.key) is folder:
            del self._folders[folder.key]
            folder.release()
