"""Any interleaving of users' writes, replication, faults and restarts ends with both sides alike.

Two nodes with a database replica each share one container. The real handler,
ledger, decisions and (in memory) provider run; users' changes reach each node's
database at random moments; the remote fails before or after its effect; a node
is killed between any two requests and goes on from its ledger.
"""
from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.rows import Row
from container_crawler.shares import node_share
from container_crawler.window import Window
from s3_sync.channel import Rows
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.apply import Applier
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.verify import proven_by_pages
from s3_sync.errors import ConnectionFailed, Forbidden, Throttled
from s3_sync.ledger import Backoff, Ledger
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.metrics import NoMetrics
from s3_sync.providers.memory import MemorySync
from s3_sync.remote_health import RemoteHealth
from s3_sync.sync_container import MappingState, Results, Services, SyncContainer
from s3_sync.types import ObjectRow
from test.fakes.faulty import Fault, FaultySync
from test.fakes.source import FakeSource

NAMES = ['a', 'b/c', 'ü', 'z']
FAULTS = [Fault(ConnectionFailed('reset')), Fault(ConnectionFailed('answer lost'), after=True),
          Fault(Throttled('slow down', retry_after=7)), Fault(Forbidden('not you'))]
LOGGER = logging.getLogger('test.machine')
LOGGER.setLevel(logging.CRITICAL)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class InlineDispatch:
    """Does at once what a worker process would."""

    def __init__(self, applier: Applier) -> None:
        self.applier = applier

    def submit(self, message: Rows, rows: Sequence[Row], finished: Callable[[Results], None]) -> None:
        objects = [ObjectRow(message.account, message.container, row) for row in rows]
        mode = message.mode
        if mode == 'verify':
            proven = proven_by_pages(self.applier.provider, objects, 2.0)
            finished([(o.row, Outcome('same', 'verified')) for o in objects if o.name in proven])
            objects = [o for o in objects if o.name not in proven]
        deletes = [o for o in objects if o.deleted]
        finished([(o.row, outcome) for o, outcome in zip(deletes, self.applier.delete(deletes), strict=True)])
        for one in objects:
            if not one.deleted:
                finished([(one.row, self.applier.handle(one, 'own' if mode == 'own' else 'look'))])


class Node:
    """A database replica and the daemon beside it."""

    def __init__(self, index: int, mapping: Mapping, source: FakeSource, provider: FaultySync,
                 clock: FakeClock) -> None:
        self.index = index
        self.mapping, self.source, self.provider, self.clock = mapping, source, provider, clock
        self.folder = tempfile.TemporaryDirectory(prefix='machine-')
        self.rows: dict[str, Row] = {}
        self.last_row = 0
        self.start()

    def start(self) -> None:
        self.ledger = Ledger.open(self.folder.name, clock=self.clock, logger=LOGGER, backoff=Backoff(draw=lambda: 1.0))
        services = Services(
            ledger=self.ledger, dispatch=InlineDispatch(Applier(self.mapping, self.source, self.provider,
                                                                clock=self.clock, logger=LOGGER)),
            metrics=NoMetrics(), clock=self.clock, logger=LOGGER,
            on_ledger_error=self.fail, metadata_changed=lambda container, headers: None,
            importer=StatusImporter(self.ledger, self.folder.name, [self.mapping], LOGGER))
        self.state = MappingState(self.mapping, RemoteHealth(self.clock))
        self.handler = SyncContainer(self.state, 'c', services)
        kept = self.handler.load_progress(self.db().db_id) or Progress(0, 0, '')
        self.own, self.others = Window(kept.own_row), Window(kept.verified_row)

    def fail(self, error: Exception) -> None:
        raise AssertionError(error)

    def kill(self) -> None:
        self.ledger.close()
        self.start()

    def db(self) -> DatabaseInfo:
        return DatabaseInfo(f'db{self.index}', 'AUTH_a', 'c', 'AUTH_a', 'c', '', 'd', (self.index,), 2, True, False,
                            False, self.last_row, len(self.rows))

    def learn(self, row: ObjectRow) -> None:
        """A row arrives, by the proxy or by replication; the database keeps the newer of two."""
        known = self.rows.get(row.name)
        if known is not None and ObjectRow('', '', known).times.newest >= row.times.newest:
            return
        self.last_row += 1
        self.rows[row.name] = row.row._replace(row_id=self.last_row)

    def poll(self) -> None:
        if not self.handler.ready():
            return
        for window, handle, ours in ((self.own, self.handler.handle_own, True),
                                     (self.others, self.handler.handle_others, False)):
            new = sorted(r for r in self.rows.values() if r.row_id > window.position)
            mine = [r for r in new if (node_share(r.name, 2) == self.index) == ours]
            if new:
                window.add(mine, new[-1].row_id)
            if mine:
                handle(self.db(), mine, lambda row, window=window: window.done(row.row_id))  # type: ignore[misc]
        self.handler.save_progress(self.db().db_id, Progress(self.own.pointer, self.others.pointer, ''))

    def retry(self) -> None:
        self.handler.resume_waiting()
        self.handler.retry(self.ledger.due(self.mapping.generation, self.clock.now(), 100))

    def close(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


class GuardedMemory(MemorySync):
    """A remote that knows what must never be asked of it."""

    def __init__(self, source: FakeSource, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.source = source
        self.wrongly_deleted: set[str] = set()

    def delete_objects(self, keys: Sequence[str]) -> dict[str, Exception | None]:
        self.wrongly_deleted |= set(keys) & set(self.source.live)
        return super().delete_objects(keys)


class SyncMachine(RuleBasedStateMachine):
    @initialize(copy_after=st.sampled_from([0, 30]))
    def begin(self, copy_after: float) -> None:
        self.clock = FakeClock(1_000_000.0)
        self.source = FakeSource()
        self.memory = GuardedMemory(self.source, self.clock)
        self.provider = FaultySync(self.memory, self.next_fault)
        self.faults: list[Fault | None] = []
        self.kill_at = -1
        self.deleted_by_user: set[str] = set()
        self.history: list[ObjectRow] = []
        mapping = Mapping.model_validate({
            'account': 'AUTH_a', 'container': 'c', 'copy_after': copy_after, 'remote': Remote.model_validate(
                {'aws_bucket': 'bucket', 'aws_identity': 'i', 'aws_secret': Secret('s')})})
        self.nodes = [Node(i, mapping, self.source, self.provider, self.clock) for i in range(2)]

    def next_fault(self, operation: str, number: int) -> Fault | None:
        if self.kill_at == 0:
            self.kill_at = -1
            raise Killed
        if self.kill_at > 0:
            self.kill_at -= 1
        return self.faults.pop(0) if self.faults else None

    # -- users ---------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), data=st.binary(max_size=3), node=st.integers(0, 1))
    def put(self, name: str, data: bytes, node: int) -> None:
        self.clock.advance(1)
        self.change(self.source.put(name, data, self.clock.now()), node)

    @rule(name=st.sampled_from(NAMES), value=st.sampled_from(['x', 'é']), node=st.integers(0, 1))
    def post(self, name: str, value: str, node: int) -> None:
        if name in self.source.live:
            self.clock.advance(1)
            self.change(self.source.post(name, self.clock.now(), {'k': value}), node)

    @rule(name=st.sampled_from(NAMES), node=st.integers(0, 1))
    def delete(self, name: str, node: int) -> None:
        if name in self.source.live:
            self.clock.advance(1)
            self.deleted_by_user.add(name)
            self.change(self.source.delete(name, self.clock.now()), node)

    def change(self, row: ObjectRow, node: int) -> None:
        self.history.append(row)
        self.nodes[node].learn(row)

    @rule(node=st.integers(0, 1), seed=st.randoms(use_true_random=False))
    def replicate(self, node: int, seed: object) -> None:
        for row in self.history:
            self.nodes[node].learn(row)

    # -- daemons ---------------------------------------------------------------------------

    @rule(node=st.integers(0, 1), faults=st.lists(st.sampled_from([*FAULTS, None]), max_size=4))
    def poll(self, node: int, faults: list[Fault | None]) -> None:
        self.faults = list(faults)
        self.run(node, self.nodes[node].poll)

    @rule(node=st.integers(0, 1), faults=st.lists(st.sampled_from([*FAULTS, None]), max_size=4),
          pause=st.sampled_from([0, 20, 5000]))
    def retry(self, node: int, faults: list[Fault | None], pause: float) -> None:
        self.clock.advance(pause)
        self.faults = list(faults)
        self.run(node, self.nodes[node].retry)

    @precondition(lambda self: self.kill_at < 0)
    @rule(requests=st.integers(0, 3))
    def will_be_killed(self, requests: int) -> None:
        self.kill_at = requests

    @rule(node=st.integers(0, 1))
    def restart(self, node: int) -> None:
        self.nodes[node].kill()

    def run(self, node: int, step: Callable[[], None]) -> None:
        try:
            step()
        except Killed:
            self.nodes[node].kill()
        self.faults = []

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def nothing_vanishes_at_the_remote_that_no_user_deleted(self) -> None:
        remote = {e.name for e in self.memory.list_objects().entries}
        self.seen = getattr(self, 'seen', set()) | remote
        assert self.seen - remote <= self.deleted_by_user
        assert not self.memory.wrongly_deleted, 'deleted though a live version exists'

    @invariant()
    def what_the_pointer_passed_is_done_or_in_the_ledger(self) -> None:
        for node in self.nodes:
            kept = node.ledger.progress(node.mapping.generation, node.db().db_id)
            for row in node.rows.values():
                own = node_share(row.name, 2) == node.index
                if kept is None or row.row_id > (kept.own_row if own else kept.verified_row):
                    continue
                if node.ledger.find(node.mapping.generation, 'AUTH_a', 'c', row.name) is None:
                    assert self.remote_is_at_least(row), row

    def remote_is_at_least(self, row: Row) -> bool:
        times = ObjectRow('', '', row).times
        stored = self.memory.store.buckets['bucket'].get(row.name)
        if stored is not None and stored.meta.data_time is not None:
            newest = max(stored.meta.data_time, stored.meta.meta_time or stored.meta.data_time)
            if newest >= times.newest or not row.deleted:
                return bool(newest >= times.newest) or self.changed_since(row)
            return self.changed_since(row)
        return row.deleted or self.changed_since(row)

    def changed_since(self, row: Row) -> bool:
        """A newer change of the name exists, whose own row will do the rest."""
        return any(r.name == row.name and r.times.newest > ObjectRow('', '', row).times.newest for r in self.history)

    def teardown(self) -> None:
        if not hasattr(self, 'nodes'):
            return
        self.faults, self.kill_at = [], -1
        for _ in range(8):
            self.clock.advance(5000)
            for node in self.nodes:
                for row in self.history:
                    node.learn(row)
                node.state.health.on_trial()
                node.poll()
                node.retry()
        remote = {name: (o.data, dict(o.meta.user_metadata)) for name, o in
                  self.memory.store.buckets['bucket'].items()}
        local = {name: (data, dict(meta.user_metadata)) for name, (data, meta, _) in self.source.live.items()}
        assert remote == local
        for node in self.nodes:
            assert node.ledger.counts() == {}
            node.close()


TestSyncMachine = SyncMachine.TestCase
TestSyncMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
