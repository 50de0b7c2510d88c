"""Rows of one container, for one mapping: from the crawler to the workers, from their outcomes to the ledger.

A row is *done* for the crawler once nothing depends on its being read again:
it was finished, or its rest (not due yet, failed, never possible) is safely in
the ledger.
"""
from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress, RowHandler
from container_crawler.rows import Row
from s3_sync import metric_defs
from s3_sync.channel import Mode, Rows
from s3_sync.clock import Clock
from s3_sync.config import Mapping as SyncMapping
from s3_sync.delete_guard import HELD, DeleteGuard
from s3_sync.engine.outcomes import Outcome
from s3_sync.errors import ConnectionFailed, LedgerError
from s3_sync.ledger import Ledger, Work
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.metrics import Metrics
from s3_sync.remote_health import RemoteHealth
from s3_sync.stats import Statsd
from s3_sync.types import Removal

Results = list[tuple[Row, Outcome]]

STATSD_NAMES = {'copied': 'copied_objects', 'bytes': 'bytes', 'deleted': 'deleted_objects'}
"""Our totals under the predecessor's statsd names."""


CONTAINER_HEADERS = ('x-container-meta-', 'x-container-read', 'x-container-write')
"""What of a container may travel; the mapping's settings and the provider choose among it."""

LATE_SECONDS = 600.0
"""How long a store may take to carry out a request whose answer never came."""
DELETE_AGAIN = 'delete-again'
"""Reason to wait: the object was deleted, but a write without an answer came before, and may come after."""


AWAY = frozenset({'replica-away', 'ghost'})
"""Reasons to wait for servers of this cluster, as ``RemovalDeferred`` has them."""
LONGEST_REST_SECONDS = 3600.0
"""What waits for those is looked at this often at least."""


class Dispatch(Protocol):
    """Where rows are worked on: the worker pool, or the calling thread in tests."""

    def submit(self, message: Rows, rows: Sequence[Row], finished: Callable[[Results], None]) -> None: ...


@dataclass(eq=False)
class MappingState:
    """What all containers of one configured mapping share; the crawler's idea of a mapping."""

    mapping: SyncMapping
    health: RemoteHealth
    paused: bool = False
    unprobed: bool = False
    """Its endpoint is being asked what it honours."""
    held_told: bool = False
    """Whether the log says that it is held; trials in between are not told of."""
    busy: int = 0
    """Rows in the workers' hands."""
    waiting: set[SyncContainer] = field(default_factory=set)
    """Containers with rows that met a remote that did not work."""
    totals: dict[SyncContainer, Counter[str]] = field(default_factory=dict)
    """What ended in which container and is not written down yet."""

    @property
    def account(self) -> str:
        return self.mapping.account

    @property
    def container(self) -> str:
        return self.mapping.container


@dataclass
class Services:
    """The daemon's parts that a container needs."""

    ledger: Ledger
    dispatch: Dispatch
    metrics: Metrics
    clock: Clock
    logger: logging.Logger
    on_ledger_error: Callable[[LedgerError], None]
    """The ledger cannot be written: the daemon has to stop before anything is forgotten."""
    metadata_changed: Callable[[SyncContainer, Mapping[str, str]], None]
    importer: StatusImporter


@dataclass
class _Rescan:
    """Rows that were there when it began are probably done: they are asked about before anything is sent."""

    mode: Mode
    until: int | None = None
    """Last row of the database when it began."""


class SyncContainer(RowHandler):
    """One (mapping, concrete container). Kept while there is something to do in it.

    What must not be lost with it stands in ``MappingState`` and in the ledger.
    """

    def __init__(self, state: MappingState, container: str, services: Services) -> None:
        self.state = state
        self._generation = state.mapping.generation
        self.mapping = state.mapping.for_container(container)
        self.container = container
        self._s = services
        self._waiting: list[tuple[Rows, Row, Callable[[Results], None]]] = []
        self._in_hand: set[str] = set()
        self._rescans: dict[str, _Rescan] = {}
        """Of databases that are compared from row 0."""
        self._object_counts: dict[str, int] = {}
        self._max_row: dict[str, int] = {}
        self._guard = DeleteGuard(self.mapping)

    @property
    def key(self) -> tuple[str, str]:
        """Generation and container: what tells handlers apart."""
        return self._generation, self.container

    @property
    def _where(self) -> tuple[str, str, str]:
        return self._generation, self.mapping.account, self.container

    # -- progress ------------------------------------------------------------------------

    def load_progress(self, db_id: str) -> Progress | None:
        """Where to go on in this database, None for its first row.

        Changed selection or header settings (``Mapping.evaluation``) start over,
        but ask about each object before sending, as listings show no headers. A
        database that is new in a container that was already synchronised starts
        over too; there a listing tells enough.
        """
        try:
            return self._load_progress(db_id)
        except LedgerError as error:
            self._s.on_ledger_error(error)
            raise

    def _load_progress(self, db_id: str) -> Progress | None:
        ledger = self._s.ledger
        self._s.importer.import_container(self.state.mapping, self.container, db_id)
        kept = ledger.progress(self._generation, db_id)
        if kept is not None and kept.evaluation == self.mapping.evaluation:
            return Progress(kept.own_row, kept.verified_row, kept.share)
        if kept is not None:
            self._rescans[db_id] = _Rescan('look')
            self._guard.judged(db_id, kept.own_row, kept.verified_row)
        elif ledger.imports_closed or ledger.container_seen(*self._where):
            otherwise = ledger.evaluated_otherwise(*self._where, self.mapping.evaluation)
            self._rescans[db_id] = _Rescan('look' if otherwise else 'verify')
        return None

    def save_progress(self, db_id: str, progress: Progress) -> None:
        ledger = self._s.ledger
        try:
            ledger.save_progress(
                self._generation, db_id, account=self.mapping.account, container=self.container,
                own_row=progress.own_row, verified_row=progress.verified_row, share=progress.share,
                evaluation=self.mapping.evaluation)
            if self.mapping.guard_tombstones:
                self._note_pass(db_id, progress)
        except LedgerError as error:
            self._s.on_ledger_error(error)

    def _note_pass(self, db_id: str, progress: Progress) -> None:
        last = self._max_row.get(db_id, sys.maxsize)
        if progress.own_row >= last:
            self._s.ledger.save_complete_count(*self._where, self._object_count)
            self._guard.passed(own=True)
        if progress.verified_row >= last:
            self._guard.passed(own=False)

    # -- rows ----------------------------------------------------------------------------

    def ready(self) -> bool:
        return not (self.state.paused or self.state.unprobed or self.state.health.tripped or self._waiting)

    def handle_own(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        self._note(db)
        rows = self._let_through(db, rows, done, own=True)
        rescan = self._rescan(db, rows)
        self._submit(rescan.mode if rescan is not None else 'own', rows, done)

    def _rescan(self, db: DatabaseInfo, rows: Sequence[Row]) -> _Rescan | None:
        rescan = self._rescans.get(db.db_id)
        if rescan is None or not rows:
            return None
        if rescan.until is None:
            rescan.until = db.max_row
        if rows[-1].row_id <= rescan.until:
            return rescan
        del self._rescans[db.db_id]
        return None

    def handle_others(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        self._note(db)
        self._submit('verify', self._let_through(db, rows, done, own=False), done)

    def _let_through(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None], *,
                     own: bool) -> Sequence[Row]:
        """``rows`` without those that the mass-delete guard holds; these are listed."""
        held = self._guard.held(db, rows, self._known_count, own=own)
        if not held:
            return rows
        self.state.busy += len(held)
        self._ended(Rows(self._generation, '', '', 0, 'own', []), done, [(row, HELD) for row in held])
        return [row for row in rows if row not in held]

    @property
    def _known_count(self) -> int | None:
        return self._s.ledger.complete_count(*self._where) if self.mapping.guard_tombstones else None

    def handle_container_info(self, info: Mapping[str, object], metadata: Mapping[str, str]) -> None:
        """Note what the remote container should have; removed names are brought as ''."""
        times = info.get('metadata_timestamps')
        names = {name.lower() for name in (times if isinstance(times, Mapping) else ())}
        headers = dict.fromkeys((n for n in names if n.startswith(CONTAINER_HEADERS)), '')
        headers.update({k.lower(): v for k, v in metadata.items() if k.lower().startswith(CONTAINER_HEADERS)})
        self._s.metadata_changed(self, headers)

    def retry(self, work: Iterable[Work]) -> int:
        """Try entries of the ledger that are due; they are asked about before anything is sent. Returns how many."""
        rows = [w.row for w in work if w.row.name not in self._in_hand]
        self._submit('look', rows, lambda row: None)
        return len(rows)

    def remove(self, removals: Sequence[Removal]) -> int:
        """Archived objects that nothing needs here any more: prove them once more and let them go. Returns how many.

        Those in the workers' hands are left out; they are still in the ledger afterwards.
        """
        rows = [removal.row for removal in removals if removal.row.name not in self._in_hand]
        self._submit('remove', rows, lambda row: None)
        return len(rows)

    def resume_waiting(self, limit: int | None = None) -> int:
        """Send rows again that met a remote that did not work. Returns how many."""
        again, self._waiting = self._waiting[:limit], self._waiting[len(self._waiting[:limit]):]
        if not self._waiting:
            self.state.waiting.discard(self)
        self.state.busy += len(again)
        for message, row, finished in again:
            self._s.dispatch.submit(message, [row], finished)
        return len(again)

    def _submit(self, mode: Mode, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        if not rows:
            return
        self._in_hand.update(row.name for row in rows)
        self.state.busy += len(rows)
        message = Rows(self._generation, self.mapping.account, self.container, self._object_count, mode, [])
        self._s.dispatch.submit(message, rows, lambda results: self._ended(message, done, results))

    @property
    def _object_count(self) -> int:
        """Of the databases seen here, all of the container's shards on this node among them."""
        return sum(self._object_counts.values())

    def _note(self, db: DatabaseInfo) -> None:
        self._object_counts[db.db_id] = db.object_count
        self._max_row[db.db_id] = db.max_row

    # -- outcomes ------------------------------------------------------------------------

    def _ended(self, message: Rows, done: Callable[[Row], None], results: Results) -> None:
        """Outcomes of some rows, from the workers. What is not finished is in the ledger before it counts."""
        self.state.busy -= len(results)
        settled: Results = []
        for row, outcome in results:
            if self.state.health.note(outcome.end):
                self._waiting.append((message, row, lambda r: self._ended(message, done, r)))
                self.state.waiting.add(self)
            else:
                settled.append((row, outcome))
        try:
            self._record(settled, removed=message.mode == 'remove')
        except LedgerError as error:
            self._s.on_ledger_error(error)
            return
        self._count([step for _, outcome in settled for step in outcome.steps])
        for row, _ in settled:
            self._in_hand.discard(row.name)
            done(row)

    def _record(self, results: Results, *, removed: bool) -> None:
        """``removed``: these rows were waiting removals; whatever waits still is waiting work or a new removal.

        Nor does anything wait to be removed that was deleted: in a week nobody could tell it from a lost replica.
        """
        ledger = self._s.ledger
        with ledger.transaction():
            for row, outcome in results:
                end = outcome.end
                if removed or (row.deleted and not self.mapping.retain_local):
                    ledger.drop_removals(*self._where, [row])
                # A removal that met a newer version is over: that one's own row brings the next.
                removals = [r for r in end.removals if not (removed and r.row == row)]
                if removals:
                    ledger.add_removals(self._generation, self.mapping.account, removals)
                if end.finished:
                    late = outcome.kind == 'deleted' and self._may_come_late(row)
                    ledger.resolve(*self._where, row.name, row.created_at)
                    if late:
                        ledger.record(self._generation, Work(
                            self.mapping.account, self.container, row, 'deferred', DELETE_AGAIN,
                            due=self._s.clock.now() + LATE_SECONDS))
                elif end.kind == 'deferred':
                    ledger.record(self._generation, Work(self.mapping.account, self.container, row, 'deferred',
                                                         end.reason, end.detail, due=self._due(row, end)))
                else:
                    self._record_failure(row, end)

    def _due(self, row: Row, end: Outcome) -> float:
        """When to look again. What waits for a server of this cluster waits half as long again as it has already.

        Otherwise a disk that is away for days has a million objects read and compared every few minutes.
        """
        known = self._s.ledger.find(*self._where, row.name) if end.reason in AWAY else None
        if known is None or (known.reason, known.row.created_at) != (end.reason, row.created_at):
            return end.due
        now = self._s.clock.now()
        return max(end.due, now + min((now - known.first_seen) / 2, LONGEST_REST_SECONDS))

    def _may_come_late(self, row: Row) -> bool:
        """Whether a write of this object lost its answer a short while ago: the store may yet carry it out."""
        known = self._s.ledger.find(*self._where, row.name)
        return (known is not None and known.reason == ConnectionFailed.reason
                and self._s.clock.now() - known.updated < LATE_SECONDS)

    def _record_failure(self, row: Row, outcome: Outcome) -> None:
        permanent = outcome.kind == 'permanent'
        wait = outcome.due - self._s.clock.now() if outcome.due else None
        work = self._s.ledger.fail(*self._where, row, outcome.reason, outcome.detail, retry_after=wait,
                                   permanent=permanent)
        then = 'not tried again until "1space failures retry"' if permanent else f'attempt {work.attempts}'
        level = logging.ERROR if permanent else logging.WARNING if work.attempts == 1 else logging.INFO
        self._s.logger.log(level, '%s: %r: %s: %s (%s)', self.mapping.name, work.path, outcome.reason, work.detail,
                           then)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        name, metrics = self.mapping.name, self._s.metrics
        totals = self.state.totals.setdefault(self, Counter())
        totals['rows'] += len(outcomes)
        for (kind, reason), count in Counter((outcome.kind, outcome.reason) for outcome in outcomes).items():
            metrics.add(metric_defs.OBJECTS, name, kind, reason, value=count)
            if kind == 'copied':
                sent = sum(o.bytes for o in outcomes if (o.kind, o.reason) == (kind, reason))
                metrics.add(metric_defs.COPIED, name, value=count)
                metrics.add(metric_defs.BYTES, name, value=sent)
                totals.update(copied=count, bytes=sent)
            elif kind == 'deleted':
                metrics.add(metric_defs.DELETED, name, value=count)
                totals.update(deleted=count)
            elif kind == 'updated':
                totals.update(updated=count)
            elif (kind, reason) == ('archived', 'removed'):
                totals.update(archived=count)


def write_totals(state: MappingState, ledger: Ledger, statsd: Statsd) -> Counter[str]:
    """Add what was counted since the last call to the ledger's totals and to statsd; returns the sum of it."""
    counted, state.totals = state.totals, {}
    whole: Counter[str] = Counter()
    for container, totals in counted.items():
        whole.update(totals)
        for ours, theirs in STATSD_NAMES.items():
            if totals[ours]:
                statsd.count(container.mapping, theirs, totals[ours])
    if whole:
        ledger.add_totals(state.mapping.generation, **whole)
    return whole
