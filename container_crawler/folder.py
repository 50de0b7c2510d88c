"""The databases in one hash folder, worked on for one mapping, one chunk at a time."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from eventlet.semaphore import Semaphore

from container_crawler.arrivals import row_seconds
from container_crawler.databases import DatabaseInfo, Place
from container_crawler.device_threads import DeviceThreads
from container_crawler.exceptions import DatabaseBusy, DeviceTimeout, RetryError
from container_crawler.handlers import ContainerMapping, RowHandler
from container_crawler.progress import DatabaseState
from container_crawler.reader import DatabaseFile, FolderFacts, inspect_folder, read_rows
from container_crawler.rows import Row
from container_crawler.shards import ContainerPath
from container_crawler.stamps import Stamp
from container_crawler.window import Window

Verify = Literal['when due', 'not now', 'now']
HandRows = Callable[[DatabaseInfo, Sequence[Row], Callable[[Row], None]], None]


class Clock(Protocol):
    def now(self) -> float:
        """Wall clock, Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never step."""

    def sleep(self, seconds: float) -> None:
        """Let others run for that long."""


class Target(NamedTuple):
    """A container to look at: a users' container, or a shard of one."""

    account: str
    container: str
    path: ContainerPath
    """Where it is in Swift; a shard's differs from ``account`` and ``container``."""
    mappings: tuple[int, ...]
    """Numbers of the mappings that want it."""


@dataclass(slots=True)
class HandlerEntry:
    """A handler and what it was last told of its container."""

    handler: RowHandler
    told: tuple[str, int] | None = None
    """Time of its newest metadata and a digest of all. Another replica may be behind, and is not believed."""
    users: int = 0


@dataclass(slots=True)
class MappingState:
    """What the containers of one mapping share."""

    number: int
    mapping: ContainerMapping
    outstanding: int = 0
    handlers: dict[tuple[str, str], HandlerEntry | None] = field(default_factory=dict)
    """By container; None: the factory refused it."""
    waiting: list[Folder] = field(default_factory=list)
    """Have rows to read, but too many of the mapping's rows are outstanding."""


@dataclass
class Surroundings:
    """What every folder needs of the crawler."""

    threads: DeviceThreads
    clock: Clock
    logger: logging.Logger
    items_chunk: int
    slack: float
    limit: int
    """Rows of one mapping that may be outstanding at once, over all its containers."""
    slots: Semaphore
    """Containers whose handlers work at once."""
    request_turn: Callable[[Folder], None]
    found_shards: Callable[[Target, tuple[ContainerPath, ...]], None]
    verify: Verify = 'when due'
    commit: bool = True
    """Whether pending files are merged; False: databases are only looked at."""


class Folder:
    def __init__(self, key: int, target: Target, place: Place, state: MappingState, entry: HandlerEntry,
                 surroundings: Surroundings) -> None:
        self.key = key
        self.target = target
        self.place = place
        self.mapping = state
        self.indexes: tuple[int, ...] = ()
        self.stamp: Stamp | None = None
        """Of the files as they were before the last inspection."""
        self.held = False
        self.retry = False
        """Something went wrong or is not possible yet: have a turn at the next poll though nothing changed."""
        self.complaint = ''
        """Last error that was logged, so that it is logged once."""
        self.polled = 0
        self.databases: dict[str, DatabaseState] = {}
        self._entry = entry
        self._s = surroundings
        self._look = True

    def changed(self, stamp: Stamp, indexes: tuple[int, ...]) -> bool:
        """Tell it what a scan saw; whether the files must be looked at again."""
        if self.stamp is None or self.stamp != stamp or self.indexes != indexes:
            self.stamp, self.indexes, self._look = stamp, indexes, True
        return self._look

    def turn(self) -> bool:
        """At most one chunk per database. Whether another turn could do more at once.

        After a failure only progress is stored, until a poll clears ``retry``.
        Raises what reading or the handler raised; what was done so far is kept.
        """
        try:
            if self._look and not self.retry:
                self._inspect()
            self.held = not self._entry.handler.ready()
            again = False
            if not (self.held or self.retry):
                for db in list(self.databases.values()):
                    again = self._own_chunk(db) or self._verify_chunk(db) or again
            return again and not (self._look or self.retry)
        finally:
            self.save()

    def save(self) -> None:
        """Store progress that changed."""
        for db in self.databases.values():
            progress = db.progress
            if progress != db.saved:
                self._entry.handler.save_progress(db.info.db_id, progress)
                db.saved = progress

    @property
    def settled(self) -> bool:
        return not (self._look or self.held or self.retry) and all(db.settled for db in self.databases.values())

    @property
    def outstanding(self) -> int:
        return sum(db.outstanding for db in self.databases.values())

    @property
    def unfinished_own(self) -> bool:
        return any(db.unread or db.own.outstanding for db in self.databases.values())

    def wants_turn(self, monotonic: float) -> bool:
        """Whether a turn could do something though no file changed."""
        return self.held or self.retry or self._look or any(
            db.saved != db.progress or (db.unread and not db.own.outstanding)
            or (db.unverified and not db.others.outstanding and db.wake_at <= monotonic)
            for db in self.databases.values())

    def oldest_seconds(self) -> float | None:
        """Wall clock time of the oldest own row that is not finished, None when there is none."""
        times = [row_seconds(db.own.oldest) for db in self.databases.values() if db.own.oldest]
        times += [db.behind_since for db in self.databases.values() if db.unread and db.behind_since is not None]
        return min(times, default=None)

    def release(self) -> None:
        """Not needed any more: its outstanding rows, if any, count no longer."""
        self.mapping.outstanding -= self.outstanding
        self.databases = {}
        self._entry.users -= 1

    # -- files ---------------------------------------------------------------------------

    def _inspect(self) -> None:
        self._look = False
        try:
            facts = self._s.threads.run(self.place.device, inspect_folder, self.place.folder, self._s.commit)
        except BaseException:
            self._look = True
            raise
        if facts is None:
            self._forget(set(self.databases))
            return
        for line in facts.complaints:
            self._s.logger.error('%s/%s: %s', *self.target.path, line)
        if facts.is_root and self.target.path == (self.target.account, self.target.container):
            self._s.found_shards(self.target, facts.shards)
            self._tell_of_container(facts)
        self._forget(set(self.databases) - {file.db_id for file in facts.files})
        for file in facts.files:
            self._take_up(self._info(facts, file), file)

    def _info(self, facts: FolderFacts, file: DatabaseFile) -> DatabaseInfo:
        target, place = self.target, self.place
        return DatabaseInfo(
            db_id=file.db_id, account=target.account, container=target.container,
            internal_account=target.path.account, internal_container=target.path.container, path=file.path,
            device=place.device, indexes=self.indexes, replicas=place.replicas,
            is_root=facts.is_root, deleted=facts.deleted, retiring=file.retiring,
            max_row=file.max_row, object_count=file.object_count)

    def _take_up(self, info: DatabaseInfo, file: DatabaseFile) -> None:
        state = self.databases.get(info.db_id)
        if state is not None and state.info.share == info.share:
            state.info, state.file = info, file
            if state.went_back():
                self._forget({info.db_id})
                state = None
        elif state is not None:
            self.save()
            self._forget({info.db_id})
            state = None
        if state is None:
            stored = self._entry.handler.load_progress(info.db_id)
            if stored is not None and stored.own_row > info.max_row:
                self._s.logger.warning('%s/%s: database %s has fewer rows than were already read, an older copy has '
                                       'taken its place: starting over', *self.target.path, info.db_id)
            state = self.databases[info.db_id] = DatabaseState.begin(info, file, stored, self._s.slack)
        if not state.unread:
            state.behind_since = None
        elif state.behind_since is None:
            state.behind_since = self._s.clock.now()
        state.arrivals.note(self._s.clock.monotonic(), file.max_row)

    def _forget(self, db_ids: set[str]) -> None:
        for db_id in db_ids:
            self.mapping.outstanding -= self.databases.pop(db_id).outstanding

    def _tell_of_container(self, facts: FolderFacts) -> None:
        """Only its own failure when the handler cannot take it: rows go on, and it is told again."""
        times = facts.info['metadata_timestamps']
        told = (max(times.values(), default=''),
                hash((*sorted(facts.metadata.items()), *sorted(times.items()), facts.info['storage_policy_index'])))
        last = self._entry.told
        if facts.deleted or last is not None and (told == last or told[0] < last[0]):
            return
        try:
            with self._s.slots:
                self._entry.handler.handle_container_info(facts.info, facts.metadata)
        except Exception as error:
            self.retry = self._look = True
            self.complain(error)
        else:
            self._entry.told = told

    # -- rows ----------------------------------------------------------------------------

    def _own_chunk(self, db: DatabaseState) -> bool:
        room = self._room(db.own)
        if not (db.unread and room):
            return False
        before = db.own.position
        chunk = self._s.threads.run(self.place.device, read_rows, db.file, before, db.file.max_row, room)
        if chunk is None:
            self._look = True
            return False
        rows = [row for row in chunk.rows if db.info.owns(row.name)]
        self._hand_over(self._entry.handler.handle_own, db, db.own, rows,
                        db.file.max_row if chunk.complete else chunk.rows[-1].row_id)
        return db.unread and self._room(db.own) > 0 or db.unverified

    def _verify_chunk(self, db: DatabaseState) -> bool:
        monotonic, now = self._s.clock.monotonic(), self._s.clock.now()
        room = self._room(db.others)
        if self._s.verify == 'not now' or db.unread or not (db.unverified and room):
            return False
        if self._s.verify == 'when due' and monotonic < db.wake_at:
            return False
        upto = db.own.position
        chunk = self._s.threads.run(self.place.device, read_rows, db.file, db.others.position, upto, room)
        if chunk is None:
            self._look = True
            return False
        position = upto if chunk.complete else chunk.rows[-1].row_id
        rows = []
        for row in chunk.rows:
            if db.info.owns(row.name):
                continue
            wait = db.arrivals.wait(row, monotonic, now) if self._s.verify == 'when due' else 0
            if wait > 0:
                position, db.wake_at = row.row_id - 1, monotonic + wait
                break
            rows.append(row)
        self._hand_over(self._entry.handler.handle_others, db, db.others, rows, position)
        return db.unverified and db.wake_at <= monotonic and self._room(db.others) > 0

    def _room(self, window: Window) -> int:
        """How many rows may be read now: half a chunk or more, or none until the window drains."""
        if window.outstanding > self._s.items_chunk // 2:
            return 0
        room = min(self._s.items_chunk - window.outstanding, self._s.limit - self.mapping.outstanding)
        if room <= 0:
            if self not in self.mapping.waiting:
                self.mapping.waiting.append(self)
            return 0
        return room

    def _hand_over(self, handle: HandRows, db: DatabaseState, window: Window, rows: list[Row], position: int) -> None:
        before = window.position
        window.add(rows, position)
        if not rows:
            return
        self.mapping.outstanding += len(rows)

        def done(row: Row) -> None:
            if window.done(row.row_id):
                self._finished(db, window)

        try:
            with self._s.slots:
                handle(db.info, rows, done)
        except BaseException as error:
            withdrawn = window.withdraw(before)
            if self.databases.get(db.info.db_id) is db:
                self.mapping.outstanding -= withdrawn
            self.retry = True
            if not isinstance(error, RetryError):
                raise

    def _finished(self, db: DatabaseState, window: Window) -> None:
        if self.databases.get(db.info.db_id) is not db:
            return
        self.mapping.outstanding -= 1
        if window.outstanding in (0, self._s.items_chunk // 2):
            self._s.request_turn(self)
        if self.mapping.waiting and self.mapping.outstanding <= self._s.limit // 2:
            waiting, self.mapping.waiting = self.mapping.waiting, []
            for folder in waiting:
                self._s.request_turn(folder)

    def complain(self, error: BaseException) -> None:
        """Log an error of this container once, until it is another one or gone. Silent devices are told of as such."""
        text = f'{type(error).__name__}: {error}'
        if text == self.complaint:
            return
        self.complaint = text
        if isinstance(error, DeviceTimeout | DatabaseBusy):
            level, trace = logging.DEBUG if isinstance(error, DeviceTimeout) else logging.WARNING, None
        else:
            level, trace = logging.ERROR, error
        self._s.logger.log(level, '%s/%s on %s: %s', *self.target.path, self.place.device, text, exc_info=trace)
