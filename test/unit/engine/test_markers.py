"""What a marker has done at the remote, when it goes, and what is left where somebody else writes meanwhile."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Remote, Secret
from s3_sync.engine.markers import STILL_HERE_SECONDS, MarkerFinisher, Written
from s3_sync.engine.outcomes import Outcome
from s3_sync.errors import BucketNotFound, ConnectionFailed, SourceUnavailable
from s3_sync.providers.memory import MemorySync
from s3_sync.streams import BytesBody
from s3_sync.timestamps import is_ours, without_marker
from s3_sync.types import ObjectMeta, ObjectRow
from s3_sync.wire.tombstones import (
    NAME_HEADER,
    Policies,
    Policy,
    content_type,
    is_hashed,
    parse_content_type,
    tombstone_container,
    tombstone_name,
)
from test.fakes.faulty import Fault, FaultySync, on
from test.fakes.source import FakeSource

NOW = 2_000_000_000.0
PLAIN = {'aws_bucket': 'bucket', 'aws_identity': 'i', 'aws_secret': Secret('s')}


class Cluster(FakeSource):
    """The hidden container, and beside it what lives in the user's; as Swift it keeps what is newest."""

    def __init__(self) -> None:
        super().__init__(container=tombstone_container('c'))
        self.before_write: Callable[[], None] = lambda: None

    def mark(self, name: str, policies: Mapping[str, Policy], at: float) -> ObjectRow:
        return self._mark(name, Policies(policies), Timestamp(at))

    def _mark(self, name: str, policies: Policies, at: Timestamp) -> ObjectRow:
        sysmeta = {NAME_HEADER.lower(): name} if is_hashed(name) else {}
        row = super().put(tombstone_name(name), b'', 0, content_type=content_type(policies), sysmeta=sysmeta)
        data, meta, times = self.live[row.name]
        self.live[row.name] = data, replace(meta, data_time=at), times._replace(data=at, content_type=at, metadata=at)
        return self.marker_row(name)

    def marker_row(self, name: str) -> ObjectRow:
        row = self.row(tombstone_name(name))
        return replace(row, row=row.row._replace(content_type=self.live[row.name][1].content_type))

    def policies(self, name: str) -> Policies | None:
        found = self.live.get(tombstone_name(name))
        return None if found is None else parse_content_type(found[1].content_type)

    def time(self, name: str) -> Timestamp:
        return self.live[tombstone_name(name)][2].data

    # -- Markers -------------------------------------------------------------------------

    def drop(self, account: str, hidden: str, marker: str, at: Timestamp) -> Written:
        self.before_write()
        assert (account, hidden) == (self.account, self.container)
        found = self.live.get(marker)
        if found is not None and found[2].data >= at:
            return 'superseded'
        self.live.pop(marker, None)
        return 'written'

    def put_marker(self, account: str, hidden: str, name: str, policies: Policies, at: Timestamp) -> Written:
        self.before_write()
        assert (account, hidden) == (self.account, self.container)
        found = self.live.get(tombstone_name(name))
        if found is not None and found[2].data >= at:
            return 'superseded'
        self._mark(name, policies, at)
        return 'written'


class Markers:
    """``Markers`` of a cluster; its ``put`` is not that of the source."""

    def __init__(self, cluster: Cluster) -> None:
        self.drop, self.put = cluster.drop, cluster.put_marker


class Bench:
    """One container, its markers, and one or more mappings."""

    def __init__(self, policy_index: int | None = 0, cluster: Cluster | None = None, **mapping: object) -> None:
        self.cluster = cluster or Cluster()
        self.memory = MemorySync()
        self.provider = FaultySync(self.memory)
        self.clock = FakeClock(NOW)
        self.mapping = SyncMapping.model_validate({
            'account': 'AUTH_a', 'container': 'c', 'remote': Remote.model_validate(PLAIN), **mapping})
        self.generation = self.mapping.generation
        self.policy_index = policy_index
        self.finisher = self.another(self.generation, self.provider)

    def another(self, generation: str, provider: BaseSync) -> MarkerFinisher:
        return MarkerFinisher(self.mapping, {generation, 'alias'}, self.cluster, provider, Markers(self.cluster),
                              lambda: self.policy_index, clock=self.clock)

    def mark(self, name: str = 'o', at: float = 1000.0, policy: Policy = 'propagate',
             more: Mapping[str, Policy] | None = None) -> ObjectRow:
        return self.cluster.mark(name, {self.generation: policy, **(more or {})}, at)

    def store(self, name: str = 'o', at: float | None = 900.0, data: bytes = b'data') -> None:
        """At the remote; a copy of what was written here ``at``, None: somebody else's."""
        time = None if at is None else Timestamp(at)
        self.memory.put_object(name, BytesBody(data), ObjectMeta(name=name, size=len(data), data_time=time,
                                                                 meta_time=time))

    def holds(self, name: str = 'o') -> bool:
        return name in {entry.name for entry in self.memory.list_objects().entries}

    def lives(self, name: str, at: float) -> None:
        self.cluster.put(name, b'local', at)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_older_copy_goes_and_then_its_marker(bench: Bench) -> None:
    bench.store()
    assert bench.finisher.handle(bench.mark()) == Outcome('deleted', 'removed')
    assert not bench.holds() and bench.cluster.policies('o') is None
    assert bench.provider.calls == ['head_object', 'delete_object']


def test_a_copy_of_the_very_version_that_was_deleted_goes(bench: Bench) -> None:
    bench.store(at=1000.0)
    assert bench.finisher.handle(bench.mark(at=1000.0)).reason == 'removed'


def test_what_is_not_there_costs_one_look(bench: Bench) -> None:
    assert bench.finisher.handle(bench.mark()) == Outcome('deleted', 'gone')
    assert bench.cluster.policies('o') is None and bench.provider.calls == ['head_object']


def test_the_name_of_a_hashed_marker_is_read_from_it(bench: Bench) -> None:
    name = 'ü' * 512
    bench.store(name)
    assert bench.finisher.handle(bench.mark(name)).reason == 'removed'
    assert not bench.holds(name) and bench.cluster.policies(name) is None


def test_a_hashed_marker_that_has_lost_its_name_is_left_alone_and_told(bench: Bench) -> None:
    name = 'ü' * 512
    row = bench.mark(name)
    data, meta, times = bench.cluster.live[row.name]
    bench.cluster.live[row.name] = data, replace(meta, sysmeta={}), times
    assert bench.finisher.handle(row)[:2] == ('permanent', 'no-marker')
    assert bench.provider.calls == []


@pytest.mark.parametrize('at', [1000.00001, 5000.0])
def test_a_newer_copy_stays_and_so_does_the_marker(bench: Bench, at: float) -> None:
    bench.store(at=at)
    assert bench.finisher.handle(bench.mark()) == Outcome('same', 'remote-newer')
    assert bench.holds() and bench.cluster.policies('o') is not None


def test_the_remote_s_own_date_counts_where_it_is_no_copy(bench: Bench) -> None:
    bench.store(at=None)
    written = bench.memory.head_object('o').last_modified
    assert written is not None
    assert bench.finisher.handle(bench.mark(at=written - 1)).reason == 'remote-newer'
    assert bench.finisher.handle(bench.mark(at=written)).reason == 'removed'


@pytest.mark.parametrize('policies', [{'feed': 'propagate'}, {}])
def test_markers_of_others_cost_nothing(bench: Bench, policies: Mapping[str, Policy]) -> None:
    bench.store()
    for row in (bench.mark(policy='tombstone'), bench.cluster.mark('p', policies, 1000.0)):
        assert bench.finisher.handle(row) == Outcome('same', 'kept')
    assert bench.holds() and bench.provider.calls == [] and bench.cluster.opened == 0


def test_rows_that_are_no_markers_or_deleted_cost_nothing(bench: Bench) -> None:
    stray = bench.cluster.put('\0x', b'', 1000.0)
    assert bench.finisher.handle(stray) == Outcome('same', 'kept')
    deleted = bench.mark()
    assert bench.finisher.handle(replace(deleted, row=deleted.row._replace(deleted=True))).reason == 'dropped'
    assert bench.provider.calls == []


def test_a_mapping_of_all_containers_knows_its_markers_by_both_ids(bench: Bench) -> None:
    bench.store()
    assert bench.finisher.handle(bench.cluster.mark('o', {'alias': 'propagate', bench.generation: 'propagate'}, 1000.0)
                                 ).reason == 'removed'
    assert bench.cluster.policies('o') is None


def test_what_the_marker_says_by_now_counts_not_its_row(bench: Bench) -> None:
    """The row may have waited for days: the deletion was purged, or only hides now."""
    bench.store()
    row = bench.mark()
    bench.cluster.live.clear()
    assert bench.finisher.handle(row) == Outcome('same', 'gone')
    bench.mark(at=1001.0, policy='tombstone')
    assert bench.finisher.handle(row) == Outcome('same', 'kept')
    assert bench.holds()


def test_excluded_names_are_left_alone() -> None:
    bench = Bench(exclude_pattern='o')
    bench.store()
    assert bench.finisher.handle(bench.mark()).kind == 'excluded'
    assert bench.holds()


# -- what lives here ---------------------------------------------------------------------------

def test_a_newer_local_object_keeps_the_copy(bench: Bench) -> None:
    bench.store()
    bench.lives('o', 1001.0)
    assert bench.finisher.handle(bench.mark()) == Outcome('same', 'superseded')
    assert bench.holds() and bench.cluster.policies('o') is not None


def test_the_local_name_is_read_after_the_remote_was_asked(bench: Bench) -> None:
    bench.store()
    asked = bench.provider.plan

    def write_then(operation: str, number: int) -> Fault | None:
        if operation == 'head_object':
            bench.lives('o', 1001.0)
        return asked(operation, number)
    bench.provider.plan = write_then
    assert bench.finisher.handle(bench.mark()).reason == 'superseded'


def test_an_object_that_its_delete_has_not_reached_keeps_the_copy_for_now(bench: Bench) -> None:
    bench.store()
    bench.lives('o', 900.0)
    outcome = bench.finisher.handle(bench.mark())
    assert outcome[:2] == ('deferred', 'still-here') and outcome.due == NOW + STILL_HERE_SECONDS[1]
    assert bench.holds() and bench.cluster.policies('o') is not None
    del bench.cluster.live['o']
    assert bench.finisher.handle(bench.cluster.marker_row('o')).reason == 'removed'


def test_a_delete_that_is_just_under_way_is_looked_at_soon_and_then_less_and_less_often(bench: Bench) -> None:
    bench.store(at=NOW - 1)
    bench.lives('o', NOW - 1)
    row = bench.mark(at=NOW)
    waits = []
    for _ in range(9):
        due = bench.finisher.handle(row).due
        waits.append(due - bench.clock.now())
        bench.clock.advance(waits[-1])
    assert waits == [5, 5, 10, 20, 40, 80, 160, 320, 600]


class Deaf(Cluster):
    """Markers can be read; of users' objects nobody can tell."""

    def superseded(self, row: ObjectRow) -> bool:
        raise SourceUnavailable('a primary does not answer')


def test_while_that_cannot_be_told_only_copies_that_say_how_old_they_are_go() -> None:
    bench = Bench(cluster=Deaf())
    bench.store('copy')
    bench.store('plain', at=None)
    assert bench.finisher.handle(bench.mark('copy')).reason == 'removed'
    outcome = bench.finisher.handle(bench.mark('plain', at=NOW * 2))
    assert outcome[:2] == ('failed', 'source-unavailable') and bench.holds('plain')


def test_in_a_container_that_is_gone_nothing_lives() -> None:
    bench = Bench(policy_index=None, cluster=Deaf())
    bench.store(at=None)
    assert bench.finisher.handle(bench.mark(at=NOW * 2)).reason == 'removed'


# -- remotes --------------------------------------------------------------------------------------

def test_a_version_that_comes_between_look_and_delete_stays(bench: Bench) -> None:
    bench.store()

    def meddle(operation: str, number: int) -> Fault | None:
        if operation == 'delete_object' and number == 1:
            bench.store(at=2000.0, data=b'newer')
        return None
    bench.provider.plan = meddle
    assert bench.finisher.handle(bench.mark()) == Outcome('same', 'remote-newer')
    assert bench.holds() and bench.provider.calls.count('delete_object') == 1


def test_where_deletes_know_no_conditions_none_is_sent() -> None:
    bench = Bench()
    bench.memory.capabilities = replace(bench.memory.capabilities, conditional_delete=False)
    bench.store()
    bench.finisher = bench.another(bench.generation, FaultySync(bench.memory))
    assert bench.finisher.handle(bench.mark()).reason == 'removed'


def test_somebody_who_keeps_writing_makes_it_a_failure_not_a_loop(bench: Bench) -> None:
    bench.store()
    written = iter(range(100))

    def meddle(operation: str, number: int) -> Fault | None:
        if operation == 'delete_object':
            bench.store(data=str(next(written)).encode())
        return None
    bench.provider.plan = meddle
    assert bench.finisher.handle(bench.mark())[:2] == ('failed', 'contended')
    assert bench.holds() and bench.cluster.policies('o') is not None


@pytest.mark.parametrize('operation', ['head_object', 'delete_object'])
def test_a_remote_that_fails_leaves_the_marker(bench: Bench, operation: str) -> None:
    bench.store()
    bench.provider.plan = on(operation, Fault(ConnectionFailed('reset')))
    assert bench.finisher.handle(bench.mark())[:2] == ('failed', 'connection')
    assert bench.holds() and bench.cluster.policies('o') is not None


def test_a_bucket_that_is_missing_is_a_failure_but_for_containers_made_when_needed() -> None:
    missing = on('head_object', *[Fault(BucketNotFound('no bucket'))] * 2)
    bench = Bench()
    bench.provider.plan = missing
    assert bench.finisher.handle(bench.mark())[:2] == ('failed', 'bucket-not-found')
    whole = Bench(container='/*', remote=Remote.model_validate(
        {**PLAIN, 'protocol': 'swift', 'aws_endpoint': 'http://127.0.0.1:1/auth/v1.0'}))
    whole.mapping = whole.mapping.for_container('c')
    whole.provider.plan = on('head_object', Fault(BucketNotFound('no container')))
    finisher = whole.another(whole.generation, whole.provider)
    assert finisher.handle(whole.mark()).reason == 'gone'


# -- several mappings, several deletions ------------------------------------------------------------

def test_a_marker_of_several_is_rewritten_until_the_last_is_done(bench: Bench) -> None:
    other = MemorySync()
    second = bench.another('feed', other)
    bench.store()
    row = bench.mark(more={'feed': 'propagate'})
    assert bench.finisher.handle(row).reason == 'removed'
    assert bench.cluster.policies('o') == Policies({'feed': 'propagate'})
    at = bench.cluster.time('o')
    assert is_ours(at) and without_marker(at) == Timestamp(1000.0)
    assert bench.finisher.handle(bench.cluster.marker_row('o')) == Outcome('same', 'kept')
    assert second.handle(bench.cluster.marker_row('o')).reason == 'gone'
    assert bench.cluster.policies('o') is None


def test_a_policy_that_hides_keeps_the_marker(bench: Bench) -> None:
    assert bench.finisher.handle(bench.mark(more={'feed': 'tombstone', 'gone': 'propagate'})).reason == 'gone'
    assert bench.cluster.policies('o') == Policies({'feed': 'tombstone', 'gone': 'propagate'})


def test_two_mappings_that_finish_at_the_same_moment_lose_nothing(bench: Bench) -> None:
    """Both write at the same time; the one that comes second does its part again, at a later time."""
    second = bench.another('feed', MemorySync())
    row = bench.mark(more={'feed': 'propagate'})

    def other_first() -> None:
        bench.cluster.before_write = lambda: None
        assert second.handle(row).reason == 'gone'
    bench.cluster.before_write = other_first
    assert bench.finisher.handle(row).reason == 'gone'
    assert bench.cluster.policies('o') == Policies({bench.generation: 'propagate'})
    assert bench.finisher.handle(bench.cluster.marker_row('o')).reason == 'gone'
    assert bench.cluster.policies('o') is None


@pytest.mark.parametrize('more', [{}, {'feed': 'tombstone'}])
def test_a_newer_deletion_of_the_user_is_not_dropped_with_the_older_one(bench: Bench,
                                                                        more: Mapping[str, Policy]) -> None:
    bench.store()
    row = bench.mark(more=more)

    def delete_again() -> None:
        bench.mark(at=1000.00001)
    bench.cluster.before_write = delete_again
    assert bench.finisher.handle(row).reason == 'removed'
    assert bench.cluster.time('o') == Timestamp(1000.00001)
    assert bench.cluster.policies('o') == Policies({bench.generation: 'propagate'})


# -- crashes ------------------------------------------------------------------------------------------

class Killed(BaseException):
    """The process is gone: nothing catches this."""


@given(st.integers(0, 6), st.sampled_from([{}, {'feed': 'tombstone'}, {'alias': 'propagate'}]),
       st.sampled_from([None, 500.0, 1000.0, 1500.0]))
def test_whenever_it_is_killed_the_next_run_ends_where_one_run_would_have(
        step: int, more: Mapping[str, Policy], remote: float | None) -> None:
    ends = []
    for kill in (None, step):
        bench = Bench()
        steps = iter(range(100))

        def count(kill: int | None = kill, steps: Iterator[int] = steps) -> None:
            if next(steps) == kill:
                raise Killed
        bench.provider.plan = lambda operation, number, count=count: count()  # type: ignore[misc]
        bench.cluster.before_write = count
        if remote is not None:
            bench.store(at=remote)
        bench.mark(more=more)
        for _ in range(2):
            if bench.cluster.policies('o') is not None:
                with suppress(Killed):
                    bench.finisher.handle(bench.cluster.marker_row('o'))
        ends.append((bench.holds(), bench.cluster.policies('o')))
    assert ends[0] == ends[1]
