"""What worker processes do, for a dry run: in green threads of the command, with a provider that writes nothing."""
from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from container_crawler.rows import Row
from s3_sync.channel import Rows
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenPool
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Settings
from s3_sync.engine.apply import Applier
from s3_sync.engine.archive import Archiver, objects_leave, peers_of
from s3_sync.engine.outcomes import Outcome, outcome_of_error
from s3_sync.engine.segments import remove_segments
from s3_sync.engine.sweep import unreferenced
from s3_sync.engine.verify import proven_by_pages
from s3_sync.engine.whole_listing import ListingCache
from s3_sync.ledger.work import compare_rows
from s3_sync.local.account import LocalAccount
from s3_sync.local.factory import make_source
from s3_sync.provider_factory import ProviderCache
from s3_sync.providers.dryrun import DryRunSync
from s3_sync.sync_container import Results
from s3_sync.timestamps import RowTimes
from s3_sync.types import ObjectRow, Removal
from s3_sync.worker import CLOCK_SKEW_SECONDS


class Planned(NamedTuple):
    """What would become of one object."""

    account: str
    container: str
    row: Row
    outcome: Outcome
    why: str
    """Of a copy: ``new`` or ``changed``; otherwise the outcome's reason."""


class PlanDispatch:
    """Works on rows in green threads of this process, each object once."""

    def __init__(self, settings: Settings, mapping: SyncMapping, providers: ProviderCache, folder: Path, *,
                 limit: int | None, clock: Clock, logger: logging.Logger, told: Callable[[Planned], None]) -> None:
        self._mapping = mapping
        self._mappings = settings.containers
        self._at_once = settings.workers
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

    def unreferenced(self, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """What a sweep of the account would free. AccountUnreadable."""
        account = LocalAccount(self._mapping.account, self._source.proxy_client, clock=self._clock)
        return unreferenced(account, names, spread=GreenPool(self._at_once).imap)

    def remove_segments(self, account: str, removals: Sequence[Removal]) -> None:
        """Segments of one manifest that nothing refers to: whether the remote has what it must."""
        provider = self._applier(removals[0].owner.partition('/')[0]).provider
        decisions = remove_segments(removals, provider, lambda removal: 'removed', self._clock.now)
        for removal, decided in zip(removals, decisions, strict=True):
            match decided.verdict:
                case 'removed':
                    outcome = Outcome('archived', 'unreferenced')
                case 'waits':
                    outcome = Outcome('failed', decided.reason, decided.detail)
                case _:
                    outcome = Outcome('same', decided.reason, decided.detail)
            self.given_up(account, removal.container, removal.row, outcome)

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
        if message.mode == 'verify' and applier.archiver is None:
            self._spawn(self._verify, applier, message, tasks, finished)
        else:
            self._singly(applier, message, tasks, finished)

    def _singly(self, applier: Applier, message: Rows, tasks: Sequence[ObjectRow],
                finished: Callable[[Results], None]) -> None:
        deletes = [row for row in tasks if row.deleted]
        batch = applier.deletes_at_once
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
        mode = 'look' if message.mode == 'verify' else message.mode
        self._end(applier, row, applier.handle(row, mode), finished)

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
            archiver = None if concrete.retain_local else Archiver(
                concrete, provider, NoRemover(), peers_of(concrete, self._mappings, self._providers.get),
                clock=self._clock)
            leave = objects_leave(concrete.account, container, self._mappings)
            applier = Applier(concrete, self._source, provider, archiver=archiver, objects_leave=leave,
                              clock=self._clock, logger=self._logger)
            self._appliers[container] = applier
        return applier


class NoRemover:
    """Whatever is to go stays."""

    def remove(self, row: ObjectRow, times: RowTimes) -> Literal['removed', 'superseded', 'gone']:
        return 'removed'


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


def _dry(applier: Applier) -> DryRunSync:
    assert isinstance(applier.provider, DryRunSync)
    return applier.provider
