"""Compares all containers of one mapping with their remote, name by name.

The merge of the two listings runs in one green thread and settles most names at
a glance; what it cannot settle is examined by a bounded number of others. No
more is in memory than a page of either side and the names under examination.
"""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from container_crawler.exceptions import CrawlerError
from container_crawler.rows import Row
from s3_sync.audit.examine import Examiner
from s3_sync.audit.findings import Finding
from s3_sync.audit.glance import NOT_REMOVED, Glance
from s3_sync.audit.local_names import LocalNames
from s3_sync.audit.reading import Reader
from s3_sync.audit.remote_names import remote_entries
from s3_sync.audit.repair import Repairer
from s3_sync.audit.sampling import NOTHING, Depth, Pick, Sampler
from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenPool
from s3_sync.config import Mapping
from s3_sync.engine.outcomes import outcome_of_error
from s3_sync.engine.select import Selector
from s3_sync.errors import BucketNotFound, Error, LedgerError
from s3_sync.ledger import Ledger
from s3_sync.local.source import Source
from s3_sync.lockstep import lockstep
from s3_sync.types import ListingEntry
from s3_sync.worker import CLOCK_SKEW_SECONDS

GIVE_UP_AFTER = 50
"""Names of one container in a row that could not be compared: the rest would not be either."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator asked for."""

    prefix: str = ''
    """Of object names."""
    metadata: bool = False
    """Look at every object, for what no listing shows."""
    depth: Depth = NOTHING
    seed: str = ''
    grace_seconds: float = 60.0
    """What changed within this time before the audit began is in flight."""
    at_once: int = 10
    """Names under examination."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What an audit reads with."""

    open_local: Callable[[str], LocalNames]
    """By container. Raises CrawlerError."""
    source: Source
    provider_of: Callable[[Mapping], BaseSync]
    """Of a mapping with a concrete container."""
    ledger: Ledger | None
    """None: the daemon never ran here, nothing is known of work in progress."""
    clock: Clock
    logger: logging.Logger
    folder: str
    """For temporary files: the listing of an unordered store."""


class Told(NamedTuple):
    """One name's end."""

    container: str
    name: str
    finding: Finding


@dataclass
class Result:
    """How the audit of a mapping went."""

    containers: int = 0
    listed_containers: int = 0
    """Those without a database on this node, or sharded: listed through Swift's proxy application."""
    local_objects: int = 0
    local_bytes: int = 0
    """As the rows tell: of a large object its manifest's."""
    remote_objects: int = 0
    remote_bytes: int = 0
    read_objects: int = 0
    read_bytes: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By verdict and reason."""
    not_read: list[str] = field(default_factory=list)
    """Containers, or the account's listing, that could not be compared to their end, and why."""

    @property
    def complete(self) -> bool:
        return not self.not_read and not any(verdict == 'unread' for verdict, _ in self.counts)


class _GivenUp(Error):
    """Too much of a container cannot be compared."""


class Auditor:
    """One use: ``run``. ``told`` hears of every name; of one that is read afterwards, twice."""

    def __init__(self, mapping: Mapping, tools: Tools, options: Options, *, told: Callable[[Told], None],
                 only_archive: bool = True, repairer: Repairer | None = None) -> None:
        """``only_archive``: no other mapping of these containers deletes local objects."""
        self._mapping = mapping
        self._tools = tools
        self._options = options
        self._told = told
        self._only_archive = only_archive
        self._repairer = repairer
        self._sampler = Sampler(options.depth, options.seed)
        self._started = tools.clock.now()
        self._fatal: BaseException | None = None
        self._in_vain = 0
        self.result = Result()

    def run(self, containers: Iterable[str]) -> Result:
        """Raises LedgerError, and what nobody expected; what cannot be read is in the result."""
        try:
            for container in containers:
                self._guarded(container, self._container)
        except CrawlerError as error:
            self._not_read(f'account {self._mapping.account}', error)
        picks: dict[str, list[Pick]] = {}
        for pick in self._sampler.picks():
            picks.setdefault(pick.container, []).append(pick)
        for container, chosen in picks.items():
            self._guarded(container, partial(self._read_picks, chosen))
        return self.result

    def _guarded(self, container: str, work: Callable[[str], None]) -> None:
        try:
            work(container)
        except LedgerError:
            raise
        except (Error, CrawlerError) as error:
            self._not_read(f'{self._mapping.account}/{container}', error)

    def _not_read(self, what: str, error: Exception) -> None:
        reason = outcome_of_error(error, 0.0).detail if isinstance(error, Error) else str(error)
        self.result.not_read.append(f'{what}: {reason}')

    # -- one container ---------------------------------------------------------------------

    def _container(self, container: str) -> None:
        self.result.containers += 1
        local = self._tools.open_local(container)
        self.result.listed_containers += local.how == 'listing'
        mapping = self._mapping.for_container(container)
        provider = self._tools.provider_of(mapping)
        glance = Glance(mapping, Selector(mapping), self._started, CLOCK_SKEW_SECONDS, self._options.metadata,
                        self._only_archive)
        examiner = self._examiner(mapping, provider, local)
        remote_before = self.result.remote_objects
        entries = self._counted(self._entries(mapping, provider))
        pool = self._pool()
        try:
            for row, entry in lockstep(local.rows(self._options.prefix), entries):
                self._check()
                self._name(container, glance, examiner, row, entry, pool)
            pool.waitall()
            self._check()
        except BaseException:
            pool.waitall()
            if self._repairer is not None:
                self._repairer.forget_deletes()
            raise
        if self._repairer is not None:
            self._repairer.container_done(container, self.result.remote_objects - remote_before)

    def _name(self, container: str, glance: Glance, examiner: Examiner, row: Row | None, entry: ListingEntry | None,
              pool: GreenPool) -> None:
        name = row.name if row is not None else entry.name if entry is not None else ''
        if row is not None and not row.deleted:
            self.result.local_objects += 1
            self.result.local_bytes += row.size
        finding = glance.judge(row, entry)
        read = self._sampler.wants(container, name)
        if finding is None or (read and _can_be_read(finding) and entry is not None):
            pool.spawn_n(self._examine, examiner, container, row, entry, read)
        else:
            self._end(container, name, finding, Pick(container, row, entry))

    def _examine(self, examiner: Examiner, container: str, row: Row | None, entry: ListingEntry | None,
                 read: bool) -> None:
        """In a green thread: nobody hears what it raises, so it is kept."""
        if self._fatal is not None:
            return
        name = row.name if row is not None else entry.name if entry is not None else ''
        try:
            finding = examiner.examine(row, entry, read=read)
            self._in_vain = self._in_vain + 1 if finding.verdict == 'unread' else 0
            if self._in_vain >= GIVE_UP_AFTER:
                self._fatal = _GivenUp(f'{self._in_vain} objects in a row could not be compared, the last one: '
                                       f'{finding.detail}')
            self._end(container, name, finding, Pick(container, row, entry))
        except BaseException as error:
            self._fatal = self._fatal or error

    def _end(self, container: str, name: str, finding: Finding, pick: Pick) -> None:
        if (finding.verdict, finding.reason) == ('same', 'gone'):
            return  # on neither side
        result = self.result
        result.counts[finding.verdict, finding.reason] += 1
        if finding.read:
            result.read_objects += 1
            result.read_bytes += finding.read
        elif _can_be_read(finding):
            self._sampler.offer(pick._replace(counted=(finding.verdict, finding.reason)), name)
        if self._repairer is not None and finding.repair is not None and finding.row is not None:
            if finding.repair == 'delete':
                self._repairer.delete(finding.row)
            else:
                self._repairer.copy(container, finding.row, f'{finding.verdict}: {finding.reason}')
        self._told(Told(container, name, finding))

    def _check(self) -> None:
        if self._fatal is not None:
            fatal, self._fatal, self._in_vain = self._fatal, None, 0
            raise fatal

    # -- reading afterwards ----------------------------------------------------------------

    def _read_picks(self, picks: list[Pick], container: str) -> None:
        """Names that counted as right already: what is read replaces their verdicts."""
        for pick in picks:
            self.result.counts[pick.counted] -= 1
        self.result.counts += Counter()  # without those that came to nothing
        local = self._tools.open_local(container)
        mapping = self._mapping.for_container(container)
        examiner = self._examiner(mapping, self._tools.provider_of(mapping), local)
        pool = self._pool()
        for pick in picks:
            pool.spawn_n(self._examine, examiner, container, pick.row, pick.entry, True)
        pool.waitall()
        self._check()

    # -- parts -----------------------------------------------------------------------------

    def _pool(self) -> GreenPool:
        return GreenPool(self._options.at_once)

    def _examiner(self, mapping: Mapping, provider: BaseSync, local: LocalNames) -> Examiner:
        tools = self._tools
        known = partial(tools.ledger.find, self._mapping.generation, mapping.account, mapping.container) \
            if tools.ledger is not None else lambda name: None
        return Examiner(
            mapping, tools.source, provider, Selector(mapping), known, local.exact, Reader(provider), tools.clock,
            self._started - self._options.grace_seconds, local.policy_index, self._only_archive,
            self._options.depth.anything)

    def _entries(self, mapping: Mapping, provider: BaseSync) -> Iterator[ListingEntry]:
        try:
            yield from remote_entries(provider, self._options.prefix, self._tools.folder)
        except BucketNotFound:
            if not (mapping.of_all_containers and mapping.remote.protocol == 'swift'):
                raise
            # Made with the first object that is copied.

    def _counted(self, entries: Iterator[ListingEntry]) -> Iterator[ListingEntry]:
        for entry in entries:
            self.result.remote_objects += 1
            self.result.remote_bytes += entry.size
            yield entry


def _can_be_read(finding: Finding) -> bool:
    """Whether it looks right, so that only reading could tell otherwise."""
    return finding.verdict in ('same', 'archived') or finding.reason == NOT_REMOVED
