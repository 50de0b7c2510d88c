"""Any order of operations, of the daemon and of an operator's command, against a dictionary."""
from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from swift.common.utils import Timestamp, encode_timestamps

from s3_sync.clock import FakeClock
from s3_sync.ledger import Backoff, Ledger

from .helpers import work

GENERATIONS = ('g1', 'g2')
PLACES = (('A', 'c'), ('A', 'd'), ('B', 'c'))
generations = st.sampled_from(GENERATIONS)
places = st.sampled_from(PLACES)
names = st.sampled_from(['a', 'a\0', 'a\0b', 'a/b', 'z\n', '\U0001f600'])
kinds = st.sampled_from(['deferred', 'failed', 'permanent'])
versions = st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 17))
"""Data time, steps to the content type's and metadata's times, offset of the data time."""
waits = st.integers(-20, 20).map(float)


def created_at(version) -> str:
    data, ctype, meta, offset = version
    base = 1_600_000_000
    return encode_timestamps(Timestamp(base + data, offset=offset), Timestamp(base + data + ctype, offset=offset),
                             Timestamp(base + data + ctype + meta, offset=offset), explicit=True)


def order(version):
    """(newest, data, content type, metadata); in a row's notation a step forward loses the offset."""
    data, ctype, meta, offset = version
    times = [(data, offset)]
    for step in (ctype, meta):
        second, its_offset = times[-1]
        times.append((second + step, 0 if step else its_offset))
    return max(times), *times


@dataclass
class Entry:
    version: tuple
    kind: str
    attempts: int
    due: float
    first_seen: float


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.clock = FakeClock(1_700_000_000.0)
        self.model: dict[tuple, Entry] = {}
        self.progress: dict[tuple, tuple] = {}
        self.paused: set[str] = set()
        self.open()

    def open(self) -> None:
        self.ledger = Ledger.open(self.folder, clock=self.clock, backoff=Backoff(draw=lambda: 1.0))
        self.command = Ledger.open(self.folder, clock=self.clock, owner=False)

    def teardown(self) -> None:
        self.command.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    # -- the daemon ----------------------------------------------------------------------

    def _record(self, generation, place, name, version, kind, wait) -> None:
        key = (generation, *place, name)
        old = self.model.get(key)
        now = self.clock.now()
        due = now + wait
        stored = self.ledger.record(generation, work(name, created_at(version), kind=kind, due=due,
                                                     account=place[0], container=place[1]))
        if old is not None and order(old.version) > order(version):
            assert stored.attempts == old.attempts
            return
        same = old is not None and order(old.version) == order(version)
        attempts = (old.attempts if same else 0) + (kind != 'deferred')
        self.model[key] = Entry(version, kind, attempts, due, old.first_seen if same else now)
        assert stored.attempts == attempts

    @rule(generation=generations, place=places, name=names, version=versions, kind=kinds, wait=waits)
    def record(self, **arguments):
        self._record(**arguments)

    def _resolve(self, generation, place, name, version) -> None:
        self.ledger.resolve(generation, *place, name, created_at(version))
        old = self.model.get((generation, *place, name))
        if old is not None and order(old.version) <= order(version):
            del self.model[generation, *place, name]

    @rule(generation=generations, place=places, name=names, version=versions)
    def resolve(self, **arguments):
        self._resolve(**arguments)

    @rule(generation=generations, place=places, rows=st.lists(st.tuples(names, versions, kinds, waits), max_size=5),
          done=st.lists(st.tuples(names, versions), max_size=5), own_row=st.integers(0, 9), fails=st.booleans())
    def chunk(self, generation, place, rows, done, own_row, fails):
        before, progress = dict(self.model), dict(self.progress)
        try:
            with self.ledger.transaction():
                for name, version, kind, wait in rows:
                    self._record(generation, place, name, version, kind, wait)
                for name, version in done:
                    self._resolve(generation, place, name, version)
                self.ledger.save_progress(generation, place[1], account=place[0], container=place[1], own_row=own_row,
                                          verified_row=0, share='s', evaluation='e')
                self.progress[generation, place[1]] = (*place, own_row)
                if fails:
                    raise InterruptedError
        except InterruptedError:
            self.model, self.progress = before, progress

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def restart(self):
        self.command.close()
        self.ledger.close()
        self.open()

    # -- the operator --------------------------------------------------------------------

    def _chosen(self, generation, kind):
        wanted = {'failed', 'permanent'} if kind is None else {kind}
        return {key: entry for key, entry in self.model.items()
                if generation in (None, key[0]) and entry.kind in wanted}

    @rule(generation=st.none() | generations, kind=st.none() | kinds)
    def retry(self, generation, kind):
        chosen = self._chosen(generation, kind)
        assert self.command.retry(generation, kind=kind) == len(chosen)
        for entry in chosen.values():
            entry.kind = 'failed' if entry.kind == 'permanent' else entry.kind
            entry.attempts, entry.due = 0, self.clock.now()

    @rule(generation=st.none() | generations, kind=st.none() | kinds, prefix=st.sampled_from(['', 'A', 'A/c', 'A/c/a']))
    def drop(self, generation, kind, prefix):
        chosen = [key for key in self._chosen(generation, kind) if '/'.join(key[1:]).startswith(prefix)]
        assert self.command.drop(generation, kind=kind, path_prefix=prefix) == len(chosen)
        for key in chosen:
            del self.model[key]

    @rule(generation=generations)
    def pause(self, generation):
        self.command.pause(generation)
        self.paused.add(generation)

    @rule(generation=generations)
    def resume(self, generation):
        self.command.resume(generation)
        self.paused.discard(generation)

    # -- what must always hold -----------------------------------------------------------

    @invariant()
    def entries_agree(self):
        for ledger in (self.ledger, self.command):
            found = {(entry.generation, entry.account, entry.container, entry.row.name):
                     (entry.row.created_at, entry.kind, entry.attempts, entry.first_seen)
                     for kind in ('deferred', 'failed', 'permanent') for entry in ledger.failures(kind=kind)}
            assert found == {key: (created_at(entry.version), entry.kind, entry.attempts, entry.first_seen)
                             for key, entry in self.model.items()}
            assert ledger.counts() == Counter((key[0], entry.kind) for key, entry in self.model.items())

    @invariant()
    def due_work_agrees(self):
        now = self.clock.now()
        for generation in GENERATIONS:
            times = [(entry.due, key) for key, entry in self.model.items()
                     if key[0] == generation and entry.kind != 'permanent' and generation not in self.paused]
            due = self.ledger.due(generation, now, 100)
            assert sorted((entry.due, (generation, entry.account, entry.container, entry.row.name))
                          for entry in due) == sorted(each for each in times if each[0] <= now)
            assert [entry.due for entry in due] == sorted(entry.due for entry in due)
            few = self.ledger.due(generation, now, 2)
            assert len(few) == min(2, len(due))
            assert set(few) <= set(due)

    @invariant()
    def progress_agrees(self):
        assert {(generation, row.db_id): (row.account, row.container, row.own_row)
                for generation in GENERATIONS for row in self.command.all_progress(generation)} == self.progress
        assert self.ledger.paused() == self.paused


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestMachine = Machine.TestCase
