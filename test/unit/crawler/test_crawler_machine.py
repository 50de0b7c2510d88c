"""Any interleaving of writes, polls, rows finishing late, failures, crashes and replaced databases."""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from container_crawler.crawler import Crawler
from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.rows import Row
from test.unit.crawler.cluster import (
    Cluster,
    LiveClock,
    Pair,
    Recorder,
    RecorderFactory,
    crawler_of,
    replace_database,
    settle,
)

A = 'AUTH_ä'
NAMES = [f'ü{n}' for n in range(8)]


class Durable(Recorder):
    """Remembers finished rows as a ledger would, and checks every progress it is told to store."""

    def __init__(self, machine: CrawlerMachine, factory: RecorderFactory) -> None:
        super().__init__(factory, (A, 'c', ''))
        self.machine = machine

    def save_progress(self, db_id: str, progress: Progress) -> None:
        super().save_progress(db_id, progress)
        self.machine.check(db_id, progress)

    def _take(self, list_of: list[str], kind: str, db: DatabaseInfo, rows: Sequence[Row],
              done: Callable[[Row], None]) -> None:
        def durable(row: Row) -> None:
            self.machine.finished.add((db.db_id, row.row_id))
            done(row)

        super()._take(list_of, kind, db, rows, durable)


class CrawlerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.cluster = Cluster(self.folder / 'c', nodes=2, replicas=2)
        self.cluster.put(A, 'c', [])
        self.clock = LiveClock()
        self.stored: dict[Any, Progress] = {}
        self.finished: set[tuple[str, int]] = set()
        self.crawler: Crawler | None = None
        self.start()

    def start(self) -> None:
        machine = self

        class Factory(RecorderFactory):
            def create(self, mapping: Pair, container: str) -> Recorder:
                machine.handler = Durable(machine, self)
                machine.handler.keeping = machine.keeping
                return machine.handler

        self.keeping = True
        self.handler: Durable | None = None
        self.crawler = crawler_of(self.cluster, Factory(self.stored), [Pair(A, 'c')], items_chunk=3,
                                  clock=self.clock, verification_slack_seconds=100.0)

    def rows(self) -> tuple[str, list[tuple[int, str]]]:
        broker, = self.cluster.brokers(A, 'c', [1])
        with broker, broker.get() as connection:
            rows = connection.execute('SELECT ROWID, name FROM object').fetchall()
            return broker.get_info()['id'], [(r[0], r[1]) for r in rows]

    def check(self, db_id: str, progress: Progress) -> None:
        """Stored progress never passes a row that is not finished."""
        place, = self.cluster.places(A, 'c', 1)
        info = DatabaseInfo('', A, 'c', A, 'c', '', '', (place.replica,), 2, True, False, False, 0, 0)
        current, rows = self.rows()
        assert progress.verified_row <= progress.own_row
        if current == db_id:
            for row_id, name in rows:
                if row_id <= progress.verified_row or row_id <= progress.own_row and info.owns(name):
                    assert (db_id, row_id) in self.finished

    @rule(name=st.sampled_from(NAMES), deleted=st.booleans(), commit=st.booleans())
    def write(self, name: str, deleted: bool, commit: bool) -> None:
        self.cluster.put(A, 'c', [name], nodes=[1], deleted=deleted, commit=commit)

    @rule()
    def poll(self) -> None:
        assert self.crawler is not None
        settle(self.crawler)

    @rule(seconds=st.sampled_from([1, 60, 200]))
    def wait(self, seconds: int) -> None:
        self.clock.ahead += seconds

    @precondition(lambda self: self.handler is not None and self.handler.kept)
    @rule(data=st.data())
    def finish_some(self, data: st.DataObject) -> None:
        assert self.handler is not None
        self.handler.finish(data.draw(st.sampled_from([row.name for row, _ in self.handler.kept])))

    @precondition(lambda self: self.handler is not None)
    @rule(failing=st.booleans())
    def handler_fails_or_not(self, failing: bool) -> None:
        assert self.handler is not None
        self.handler.failing = ValueError('ouch') if failing else None

    @rule()
    def crash(self) -> None:
        """Nothing is said goodbye to."""
        assert self.crawler is not None
        self.crawler.stop()
        self.crawler._threads.close()
        self.start()

    @rule()
    def replication_replaces_the_database(self) -> None:
        database = self.cluster.brokers(A, 'c', [1])[0].db_file
        replace_database(database, database)

    @invariant()
    def few_rows_are_outstanding(self) -> None:
        assert self.crawler is not None and self.crawler.outstanding <= 6

    def teardown(self) -> None:
        """Once faults stop, everything gets finished."""
        assert self.crawler is not None
        try:
            if self.handler is not None:
                self.handler.failing, self.handler.keeping = None, False
            self.keeping = False
            for _ in range(12):
                self.clock.ahead += 200
                settle(self.crawler)
                if self.handler is not None:
                    self.handler.keeping = False
                    self.handler.finish()
            assert self.crawler.outstanding == 0
            db_id, rows = self.rows()
            assert {row_id for row_id, _ in rows} <= {n for d, n in self.finished if d == db_id}
        finally:
            self.crawler.close()
            shutil.rmtree(self.folder)


TestCrawlerMachine = CrawlerMachine.TestCase
TestCrawlerMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
