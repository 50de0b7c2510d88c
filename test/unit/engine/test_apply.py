"""What happens at the remote for each kind of row, and how often the remote is asked."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.apply import Applier
from s3_sync.engine.outcomes import Outcome
from s3_sync.errors import ConnectionFailed, Forbidden, PermanentError, Throttled, Unsupported
from s3_sync.providers.memory import MemorySync
from s3_sync.streams import BytesBody
from s3_sync.types import ObjectMeta, ObjectRow
from test.fakes.faulty import LOST_ANSWER, Fault, FaultySync, on
from test.fakes.source import FakeSource

NOW = 2_000_000_000.0


class Bench:
    """One container, one remote, one applier."""

    def __init__(self, **mapping: object) -> None:
        self.source = FakeSource()
        self.memory = MemorySync()
        self.provider = FaultySync(self.memory)
        self.clock = FakeClock(NOW)
        self.mapping = Mapping.model_validate({
            'account': 'AUTH_a', 'container': 'c',
            'remote': Remote.model_validate({'aws_bucket': 'bucket', 'aws_identity': 'i', 'aws_secret': Secret('s')}),
            **mapping})
        self.applier = Applier(self.mapping, self.source, self.provider, clock=self.clock)

    def remote(self, name: str = 'o') -> bytes:
        return self.memory.get_object(name).read()

    def holds(self, name: str = 'o') -> bool:
        return name in {e.name for e in self.memory.list_objects().entries}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_new_object_costs_one_read_and_one_request(bench: Bench) -> None:
    row = bench.source.put('o', b'data', 1000, user_metadata={'colour': 'blåu'})
    assert bench.applier.handle(row).kind == 'copied'
    assert bench.remote() == b'data'
    assert bench.memory.head_object('o').user_metadata == {'colour': 'blåu'}
    assert (bench.source.opened, bench.provider.calls) == (1, ['upload_object'])


def test_a_row_seen_again_changes_nothing(bench: Bench) -> None:
    row = bench.source.put('o', b'data', 1000)
    bench.applier.handle(row)
    assert bench.applier.handle(row) == Outcome('same', 'same')
    assert bench.applier.handle(row, 'look').kind == 'same'
    assert bench.provider.calls == ['upload_object', 'upload_object', 'head_object', 'head_object']


def test_an_overwrite_and_a_post_reach_the_remote(bench: Bench) -> None:
    bench.applier.handle(bench.source.put('o', b'one', 1000))
    assert bench.applier.handle(bench.source.put('o', b'two!', 1001)).kind == 'copied'
    assert bench.remote() == b'two!'
    assert bench.applier.handle(bench.source.post('o', 1002, {'k': 'v'})).kind == 'updated'
    assert bench.memory.head_object('o').user_metadata == {'k': 'v'}
    assert bench.remote() == b'two!'


def test_an_old_row_never_overwrites_a_newer_remote(bench: Bench) -> None:
    bench.applier.handle(bench.source.put('o', b'newer', 2000))
    stale = Bench()
    stale.applier.provider = bench.provider
    assert stale.applier.handle(stale.source.put('o', b'older', 1000)).reason == 'remote-newer'
    assert bench.remote() == b'newer'


def test_a_lost_answer_is_looked_at_and_found_done(bench: Bench) -> None:
    bench.provider.plan = on('upload_object', LOST_ANSWER)
    row = bench.source.put('o', b'data', 1000)
    assert bench.applier.handle(row).kind == 'failed'
    assert bench.applier.handle(row, 'look').kind == 'same'
    assert bench.provider.calls.count('upload_object') == 1


def test_somebody_who_keeps_writing_the_name_makes_it_a_failure_not_a_loop(bench: Bench) -> None:
    row = bench.source.put('o', b'ours', 1000)
    times = iter(range(100))

    def meddle(operation: str, number: int) -> Fault | None:
        if operation == 'head_object':
            bench.memory.put_object('o', BytesBody(b'x'), ObjectMeta(name='o', size=1, user_metadata={
                'n': str(next(times))}))
        if operation == 'upload_object' and bench.holds():
            bench.memory.put_object('o', BytesBody(str(next(times)).encode()), ObjectMeta(name='o', size=1))
        return None
    bench.memory.put_object('o', BytesBody(b'theirs'), ObjectMeta(name='o', size=6))
    bench.provider.plan = meddle
    assert bench.applier.handle(row).reason == 'contended'
    assert bench.remote() != b'ours'


@pytest.mark.parametrize('error, kind, reason', [
    (Throttled('slow down', retry_after=30), 'failed', 'throttled'),
    (ConnectionFailed('reset'), 'failed', 'connection'),
    (Forbidden('no', status=403), 'failed', 'forbidden'),
    (PermanentError('bad name'), 'permanent', 'rejected'),
])
def test_an_error_becomes_an_outcome_and_the_body_is_closed(bench: Bench, error: PermanentError, kind: str,
                                                            reason: str) -> None:
    bench.provider.plan = on('upload_object', Fault(error))
    outcome = bench.applier.handle(bench.source.put('o', b'data', 1000))
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert bench.source.bodies[0].closed
    assert outcome.due == (NOW + 30 if reason == 'throttled' else 0)


def test_where_metadata_cannot_change_in_place_the_data_is_sent_again(bench: Bench) -> None:
    bench.applier.handle(bench.source.put('o', b'data', 1000))
    bench.provider.plan = on('update_metadata', Fault(Unsupported('archive class')))
    assert bench.applier.handle(bench.source.post('o', 1001, {'k': 'v'})).kind == 'copied'
    assert bench.memory.head_object('o').user_metadata == {'k': 'v'}


def test_a_vanished_object_is_done_and_a_stale_replica_is_tried_again(bench: Bench) -> None:
    row = bench.source.put('o', b'data', 1000)
    bench.source.live.clear()
    assert bench.applier.handle(row) == Outcome('same', 'gone')
    bench.source.put('o', b'old', 900)
    assert bench.applier.handle(row).reason == 'stale-replica'
    assert bench.provider.calls == []


# -- what is selected ----------------------------------------------------------------------


def test_copy_after_is_a_due_time_and_opens_nothing() -> None:
    bench = Bench(copy_after=100)
    row = bench.source.put('o', b'data', NOW - 40)
    outcome = bench.applier.handle(row)
    assert (outcome.kind, outcome.reason, outcome.due) == ('deferred', 'copy-after', NOW + 60)
    assert bench.source.opened == 0
    bench.clock.advance(60)
    assert bench.applier.handle(row).kind == 'copied'


def test_copy_after_counts_from_the_newest_of_the_three_times() -> None:
    bench = Bench(copy_after=100)
    bench.source.put('o', b'data', NOW - 500)
    assert bench.applier.handle(bench.source.post('o', NOW - 10, {})).due == NOW + 90


def test_an_empty_exclude_pattern_excludes_nothing_and_another_is_anchored_at_the_start() -> None:
    assert Bench(exclude_pattern='').applier.handle(Bench().source.put('x', b'', 1)).reason != 'exclude-pattern'
    bench = Bench(exclude_pattern='tmp/')
    assert bench.applier.handle(bench.source.put('tmp/o', b'', 1)) == Outcome('excluded', 'exclude-pattern')
    assert bench.applier.handle(bench.source.put('a/tmp/o', b'', 1)).kind == 'copied'


def test_excluded_names_are_not_deleted_either() -> None:
    bench = Bench(exclude_pattern='tmp/')
    bench.memory.put_object('tmp/o', BytesBody(b'x'), ObjectMeta(name='tmp/o', size=1))
    [outcome] = bench.applier.delete([bench.source.delete('tmp/o', 1000)])
    assert outcome.reason == 'exclude-pattern'
    assert bench.holds('tmp/o')


def test_header_criteria_open_the_object_and_send_only_what_fits() -> None:
    bench = Bench(selection_criteria={'x-object-meta-colour': 'Blue'})
    fits = bench.source.put('a', b'', 1, sysmeta={'x-object-meta-colour': 'blue'}, user_metadata={'colour': 'blue'})
    assert bench.applier.handle(fits).kind == 'copied'
    assert bench.applier.handle(bench.source.put('b', b'', 1)).reason == 'selection-criteria'
    assert not bench.holds('b')


# -- deletes -------------------------------------------------------------------------------


def test_deletes_go_in_one_batch(bench: Bench) -> None:
    for name in 'abc':
        bench.applier.handle(bench.source.put(name, b'', 1000))
    bench.provider.calls.clear()
    outcomes = bench.applier.delete([bench.source.delete(name, 1001) for name in 'abc'])
    assert [o.kind for o in outcomes] == ['deleted'] * 3
    assert bench.provider.calls == ['delete_objects']
    assert bench.memory.list_objects().entries == ()


def test_a_newer_put_since_the_tombstone_keeps_the_remote(bench: Bench) -> None:
    bench.applier.handle(bench.source.put('o', b'one', 1000))
    tombstone = bench.source.delete('o', 1001)
    bench.source.put('o', b'two', 1002)
    assert bench.applier.delete([tombstone])[0].reason == 'superseded'
    assert bench.remote() == b'one'


def test_with_a_replica_down_only_what_says_it_is_older_than_the_tombstone_is_deleted(bench: Bench) -> None:
    for name in ('older', 'newer', 'untold'):
        bench.applier.handle(bench.source.put(name, name.encode(), 1000))
    bench.applier.handle(bench.source.put('newer', b'newest', 1002))
    bench.memory.put_object('untold', BytesBody(b'somebody'), ObjectMeta('untold', 8))
    bench.source.unreachable = True
    rows = [bench.source.delete(name, 1001) for name in ('older', 'newer', 'untold', 'absent')]
    outcomes = bench.applier.delete(rows)
    assert [(o.kind, o.reason) for o in outcomes] == [
        ('deleted', ''), ('same', 'remote-newer'), ('failed', 'source-unavailable'), ('same', 'already-gone')]
    assert not bench.holds('older') and bench.remote('newer') == b'newest' and bench.holds('untold')


def test_one_failing_delete_does_not_hold_the_others(bench: Bench) -> None:
    for name in 'ab':
        bench.applier.handle(bench.source.put(name, b'', 1000))
    original: Callable[..., dict[str, Exception | None]] = bench.memory.delete_objects

    class Partly(FaultySync):
        def delete_objects(self, keys):  # type: ignore[no-untyped-def]
            return {**original([k for k in keys if k != 'a']), 'a': Forbidden('no')}
    bench.applier.provider = Partly(bench.memory)
    outcomes = bench.applier.delete([bench.source.delete(name, 1001) for name in 'ab'])
    assert [o.kind for o in outcomes] == ['failed', 'deleted']
    assert bench.holds('a') and not bench.holds('b')


def test_propagate_delete_off_leaves_the_remote() -> None:
    bench = Bench(propagate_delete=False)
    bench.applier.handle(bench.source.put('o', b'one', 1000))
    assert bench.applier.delete([bench.source.delete('o', 1001)])[0].reason == 'not-propagated'
    assert bench.holds()


@pytest.mark.parametrize('another', [False, True])
def test_an_archives_remote_is_asked_before_a_delete(another: bool) -> None:
    """There local data may be gone for good: only the remote knows that it holds something newer.

    ``another``: it is another mapping that archives, and this one only copies.
    """
    bench = Bench(retain_local=another)
    if another:
        bench.applier = Applier(bench.mapping, bench.source, bench.provider, objects_leave=True, clock=bench.clock)
    bench.applier.handle(bench.source.put('o', b'newer', 2000))
    bench.source.live.clear()
    assert bench.applier.delete([bench.source.delete('o', 1500)])[0].reason == 'remote-newer'
    assert bench.holds()


def test_what_comes_and_leaves_again_while_others_are_asked_is_not_deleted_at_an_archives_remote() -> None:
    bench = Bench(retain_local=False)
    bench.applier.handle(bench.source.put('o', b'older', 1000))
    tombstone = bench.source.delete('o', 1500)

    def archived_by_another_node(row: ObjectRow) -> bool:
        bench.memory.upload_object(BytesBody(b'newer'), ObjectMeta('o', 5, data_time=Timestamp(2000)))
        return False
    bench.source.superseded = archived_by_another_node  # type: ignore[method-assign]
    assert bench.applier.delete([tombstone])[0].reason == 'remote-newer'
    assert bench.remote() == b'newer'


@pytest.mark.parametrize(('retain_local', 'at_once'), [(True, 1000), (False, 1)])
def test_an_archives_tombstones_do_not_wait_for_each_other(retain_local: bool, at_once: int) -> None:
    assert Bench(retain_local=retain_local).applier.deletes_at_once == at_once


def test_an_endpoint_without_conditions_is_always_asked_first(bench: Bench) -> None:
    bench.memory.capabilities = replace(bench.memory.capabilities, create_only=False, conditional_overwrite=False)
    bench.applier.handle(bench.source.put('o', b'data', 1000))
    assert bench.provider.calls == ['head_object', 'upload_object']
