"""A container, its copies, a ledger and the engine between them, all in memory but the ledger."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from container_crawler.rows import Row
from s3_sync.audit.auditor import Auditor, Options, Result, Told, Tools
from s3_sync.audit.local_names import LocalNames, LocalUnreadable
from s3_sync.audit.repair import Repairer
from s3_sync.base_sync import BaseSync
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.apply import Applier
from s3_sync.ledger import Ledger, Work
from s3_sync.providers.memory import MemorySync
from s3_sync.streams import BytesBody
from s3_sync.types import ObjectMeta, ObjectRow
from test.fakes.faulty import FaultySync
from test.fakes.source import FakeSource

WRITTEN = 1_000_000.0
"""When users wrote."""
SYNCED = 1_001_000.0
AUDITED = 1_100_000.0


class Names:
    """Rows as a database would give them. ``unreadable``: after so many rows."""

    how: Literal['databases', 'listing'] = 'databases'
    policy_index = 0

    def __init__(self, rows: dict[str, Row], unreadable: int | None = None) -> None:
        self._rows = rows
        self._unreadable = unreadable

    def rows(self, prefix: str) -> Iterator[Row]:
        for number, name in enumerate(sorted(self._rows)):
            if number == self._unreadable:
                raise LocalUnreadable('the disk is gone')
            if name.startswith(prefix):
                yield self._rows[name]

    def exact(self, row: Row) -> Row | None:
        return row


class World:
    """``rows`` are the container's database. Nothing is synchronised until ``sync``."""

    def __init__(self, folder: Path, **mapping: object) -> None:
        self.folder = folder
        self.clock = FakeClock(SYNCED)
        self.source = FakeSource()
        self.memory = MemorySync(clock=self.clock)
        self.provider = FaultySync(self.memory)
        self.rows: dict[str, Row] = {}
        self.unreadable: int | None = None
        self.mapping = Mapping.model_validate({
            'account': 'AUTH_a', 'container': 'c', 'exclude_pattern': 'excluded',
            'remote': Remote.model_validate({'aws_bucket': 'bucket', 'aws_identity': 'i', 'aws_secret': Secret('s')}),
            **mapping})
        self.ledger = Ledger.open(str(folder), clock=self.clock)
        self.told: dict[str, tuple[str, str]] = {}
        self.queued = self.held = 0
        """By the last audit that repaired."""

    def close(self) -> None:
        self.ledger.close()

    # -- users ----------------------------------------------------------------------------

    def put(self, name: str, data: bytes = b'data', at: float = WRITTEN, **meta: object) -> ObjectRow:
        return self._row(self.source.put(name, data, at, **meta))

    def post(self, name: str, at: float, **user_metadata: str) -> ObjectRow:
        return self._row(self.source.post(name, at, user_metadata))

    def delete(self, name: str, at: float = WRITTEN + 1) -> ObjectRow:
        return self._row(self.source.delete(name, at))

    def _row(self, row: ObjectRow) -> ObjectRow:
        self.rows[row.name] = row.row
        return row

    # -- the daemon -----------------------------------------------------------------------

    @property
    def applier(self) -> Applier:
        return Applier(self.mapping, self.source, self.memory, clock=self.clock)

    def sync(self, *names: str) -> None:
        """Bring these, or all."""
        for name in names or list(self.rows):
            row = ObjectRow('AUTH_a', 'c', self.rows[name])
            outcomes = self.applier.delete([row]) if row.deleted else [self.applier.handle(row, 'look')]
            assert all(outcome.finished for outcome in outcomes), outcomes

    def work_off(self) -> list[Work]:
        """What the ledger has that is due, done as the daemon would; the rest of it."""
        for work in self.ledger.due(self.mapping.generation, self.clock.now(), 1000):
            row = ObjectRow('AUTH_a', 'c', work.row)
            outcome = self.applier.delete([row])[0] if row.deleted else self.applier.handle(row, 'look')
            assert outcome.finished, outcome
            self.ledger.resolve(work.generation, 'AUTH_a', 'c', row.name, work.row.created_at)
        return list(self.ledger.failures(self.mapping.generation))

    # -- what nobody should do ------------------------------------------------------------

    def overwrite(self, name: str, data: bytes, *, keep_metadata: bool = False) -> None:
        """At the remote, behind everybody's back."""
        meta = ObjectMeta(name, len(data))
        if keep_metadata:
            meta = replace(self.memory.head_object(name), size=len(data), etag='', source_etag='')
        self.memory.put_object(name, BytesBody(data), meta)

    # -- the audit ------------------------------------------------------------------------

    def audit(self, *, repair: bool = False, at: float = AUDITED, provider: BaseSync | None = None,
              only_archive: bool = True, **options: Any) -> Result:
        """``told`` has the verdict and reason of every name afterwards."""
        self.told = {}
        self.clock.advance(at - self.clock.now())

        def open_local(container: str) -> LocalNames:
            return Names(self.rows, self.unreadable)

        def tell(told: Told) -> None:
            self.told[told.name] = told.finding.verdict, told.finding.reason
        tools = Tools(open_local, self.source, lambda mapping: provider or self.provider, self.ledger, self.clock,
                      logging.getLogger('audit-test'), str(self.folder))
        repairer = Repairer(self.mapping, self.ledger, now=self.clock.now()) if repair else None
        auditor = Auditor(self.mapping, tools, Options(**options), told=tell, only_archive=only_archive,
                          repairer=repairer)
        result = auditor.run(['c'])
        if repairer is not None:
            repairer.close()
            self.queued, self.held = repairer.queued, repairer.held
        return result
