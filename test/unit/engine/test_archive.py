"""A local object goes when, and only when, every destination has shown that it holds just this version."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from swift.common.utils import Timestamp

from s3_sync.base_sync import NO_CONDITION
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.apply import Applier
from s3_sync.engine.archive import DEFER_SECONDS, Archiver, Peer, objects_leave
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.select import Selector
from s3_sync.errors import ConnectionFailed, RemovalDeferred, Unsupported
from s3_sync.local.versions import RESTORED_FROM_HEADER, RESTORED_HEADER
from s3_sync.providers.memory import MemorySync
from s3_sync.streams import Body, BytesBody
from s3_sync.timestamps import MARKER, RowTimes
from s3_sync.types import Condition, ObjectMeta, ObjectRow, PutResult
from test.fakes.faulty import Fault, FaultySync, on
from test.fakes.source import FakeSource

NOW = 2_000_000_000.0
DAY = 86400.0


@dataclass
class FakeRemover:
    """Removes from a FakeSource what has just these times."""

    source: FakeSource
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def remove(self, row: ObjectRow, times: RowTimes) -> Literal['removed', 'superseded', 'gone']:
        self.asked.append(row.name)
        if self.error is not None:
            raise self.error
        if row.name not in self.source.live:
            return 'gone'
        if self.source.live[row.name][2].newest > times.newest:
            return 'superseded'
        del self.source.live[row.name]
        return 'removed'


class OpaqueStore(MemorySync):
    """A store whose ETags are no MD5s, as with SSE-KMS."""

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        return replace(super().head_object(key, bucket=bucket), etag=f'opaque-{key}', etag_is_md5=False)

    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        super().upload_object(body, meta)
        return PutResult(f'opaque-{meta.name}')


class Bench:
    """One container that is archived to one remote, and perhaps synchronised to another."""

    def __init__(self, *, container: str = 'c', peer: dict[str, object] | None = None, **keys: object) -> None:
        self.source = FakeSource(container=container)
        self.remover = FakeRemover(self.source)
        self.memory = MemorySync()
        self.provider = FaultySync(self.memory)
        self.clock = FakeClock(NOW)
        self.mapping = mapping(container, 'bucket', retain_local=False, **keys)
        self.other = MemorySync()
        peers = []
        if peer is not None:
            second = mapping(container, 'second', **peer)
            peers = [Peer('second', Selector(second), self.other)]
        archiver = Archiver(self.mapping, self.provider, self.remover, peers, clock=self.clock)
        self.applier = Applier(self.mapping, self.source, self.provider, archiver=archiver, clock=self.clock)


def mapping(container: str, bucket: str, **keys: object) -> Mapping:
    return Mapping.model_validate({
        'account': 'AUTH_a', 'container': container, 'remote': Remote.model_validate(
            {'aws_bucket': bucket, 'aws_identity': 'i', 'aws_secret': Secret('s')}), **keys})


def restored(bench: Bench, at: float, **sysmeta: str) -> ObjectRow:
    """The object of 1000 back again, as a restore puts it."""
    bench.source.put('o', b'data', 1000)
    data, meta, _ = bench.source.live['o']
    marked = Timestamp(1000, offset=MARKER << 32 | 7)
    headers = {RESTORED_HEADER: str(at), **sysmeta}
    bench.source.live['o'] = data, replace(meta, sysmeta=headers), RowTimes(marked, marked, marked)
    return bench.source.row('o')


def test_a_new_object_is_copied_proven_and_gone() -> None:
    bench = Bench()
    outcome = bench.applier.handle(bench.source.put('o', b'data', 1000))
    assert [step[:2] for step in outcome.steps] == [('copied', ''), ('archived', 'removed')]
    assert outcome.finished
    assert bench.memory.get_object('o').read() == b'data'
    assert 'o' not in bench.source.live


def test_an_object_that_is_at_the_remote_already_goes_as_well() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    bench.remover.error = RemovalDeferred('node 2 is away')
    bench.applier.handle(row)
    bench.remover.error = None
    outcome = bench.applier.handle(row, 'look')
    assert [step[:2] for step in outcome.steps] == [('same', 'same'), ('archived', 'removed')]


def test_what_the_replicas_do_not_allow_waits_and_is_told() -> None:
    bench = Bench()
    bench.remover.error = RemovalDeferred('node 2 is away')
    outcome = bench.applier.handle(bench.source.put('o', b'data', 1000))
    assert outcome.kind == 'copied' and not outcome.finished
    assert outcome.end == Outcome('deferred', 'replica-away', 'node 2 is away', due=NOW + DEFER_SECONDS)


def test_nothing_goes_when_the_copy_cannot_be_looked_at() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    reset = Fault(ConnectionFailed('reset'))
    bench.provider.plan = lambda operation, number: reset if operation in ('prove', 'head_object') else None
    outcome = bench.applier.handle(row)
    assert (outcome.kind, outcome.end.kind, outcome.end.reason) == ('copied', 'failed', 'connection')
    assert bench.remover.asked == []


def test_a_copy_that_somebody_damaged_is_sent_again_before_anything_goes() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    meta = bench.source.live['o'][1]
    bench.memory.put_object('o', BytesBody(b'DATA'), replace(meta, etag='', etag_is_md5=False))
    outcome = bench.applier.handle(row, 'look')
    assert outcome.end == Outcome('archived', 'removed')
    assert bench.memory.get_object('o').read() == b'data'


def test_a_newer_local_version_wins_over_the_delete() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    removal = bench.remover.remove

    def overwritten_meanwhile(row: ObjectRow, times: RowTimes) -> Literal['removed', 'superseded', 'gone']:
        bench.source.put('o', b'newer', 2000)
        return removal(row, times)
    bench.remover.remove = overwritten_meanwhile  # type: ignore[method-assign]
    assert bench.applier.handle(row).end == Outcome('archived', 'superseded')
    assert bench.source.live['o'][0] == b'newer'


def test_a_newer_version_that_came_before_the_proof_is_not_overwritten() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    bench.memory.upload_object(BytesBody(b'data'), bench.source.live['o'][1])

    nodes = iter(['another'])

    def another_node(operation: str, number: int) -> None:
        if operation == 'prove' and next(nodes, None):
            bench.memory.upload_object(BytesBody(b'newer'), ObjectMeta('o', 5, data_time=Timestamp(2000)))
    bench.provider.plan = another_node
    outcome = bench.applier.handle(row, 'look')
    assert outcome.end[:2] == ('failed', 'unproven')
    assert bench.memory.get_object('o').read() == b'newer'
    assert bench.remover.asked == []


def test_older_data_does_not_come_along_with_newer_metadata_where_that_cannot_be_set_alone() -> None:
    bench = Bench()
    bench.memory.upload_object(BytesBody(b'newer'), ObjectMeta('o', 5, data_time=Timestamp(2000)))
    bench.source.put('o', b'older', 1000)
    row = bench.source.post('o', 3000, {'colour': 'red'})
    bench.provider.plan = on('update_metadata', Fault(Unsupported('in an archive class')))
    assert bench.applier.handle(row, 'look')[:2] == ('permanent', 'unsupported')
    assert bench.memory.get_object('o').read() == b'newer'
    assert bench.remover.asked == []


def test_a_store_whose_etags_tell_nothing_gets_the_data_once_however_long_the_local_object_has_to_wait() -> None:
    bench = Bench()
    bench.memory = OpaqueStore()
    bench.provider.inner = bench.memory
    row = bench.source.put('o', b'data', 1000)
    bench.remover.error = RemovalDeferred('node 2 is away')
    for mode in ('own', 'look', 'look'):
        assert bench.applier.handle(row, mode).end.reason == 'replica-away'
    bench.remover.error = None
    assert bench.applier.handle(row, 'look').end == Outcome('archived', 'removed')
    assert bench.provider.calls.count('upload_object') == 1


# -- ghosts ---------------------------------------------------------------------------------


def test_an_old_replica_that_comes_back_after_the_archive_of_a_newer_version_goes() -> None:
    bench = Bench()
    bench.applier.handle(bench.source.put('o', b'newer', 2000))
    ghost = bench.source.put('o', b'older', 1000)
    outcome = bench.applier.handle(ghost, 'look')
    assert [step[:2] for step in outcome.steps] == [('same', 'remote-newer'), ('archived', 'removed')]
    assert bench.memory.get_object('o').read() == b'newer'


def test_a_row_without_a_file_goes_when_the_remote_has_its_version() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    bench.applier.handle(row)
    bench.source.put('o', b'stale', 500)  # all that is found is older than the row
    assert bench.applier.handle(row, 'look').end.kind == 'archived'
    assert bench.remover.asked == ['o', 'o']


def test_a_row_whose_version_nobody_has_stays_a_failure() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000)
    bench.source.put('o', b'stale', 500)
    assert bench.applier.handle(row, 'look')[:2] == ('failed', 'stale-replica')
    assert bench.remover.asked == []


def test_a_row_whose_metadata_the_remote_lacks_is_no_ghost() -> None:
    bench = Bench()
    bench.source.put('o', b'data', 1000)
    bench.memory.upload_object(BytesBody(b'data'), bench.source.live['o'][1])
    row = bench.source.post('o', 2000, {'colour': 'red'})
    bench.source.put('o', b'data', 1000)  # the only replica that is left missed the POST
    assert bench.applier.handle(row, 'look')[:2] == ('failed', 'stale-replica')
    assert bench.remover.asked == []


def test_an_old_replica_goes_also_where_several_destinations_have_the_newer_version() -> None:
    bench = Bench(peer={})
    bench.source.put('o', b'newer', 2000)
    for remote in (bench.memory, bench.other):
        remote.upload_object(BytesBody(b'newer'), bench.source.live['o'][1])
    ghost = bench.source.put('o', b'older', 1000)
    assert bench.applier.handle(ghost, 'look').end == Outcome('archived', 'removed')


# -- restored objects -----------------------------------------------------------------------


@pytest.mark.parametrize(('keys', 'days'), [({}, 7), ({'restore_days': 1}, 1), ({'copy_after': 30 * DAY}, 30)])
def test_a_restored_object_stays_for_its_days_and_sends_nothing(keys: dict[str, object], days: int) -> None:
    bench = Bench(**keys)
    bench.applier.handle(bench.source.put('o', b'data', 1000))
    row = restored(bench, NOW)
    bench.provider.calls.clear()
    outcome = bench.applier.handle(row)
    assert outcome.end == Outcome('deferred', 'restored', due=NOW + days * DAY)
    assert 'upload_object' not in bench.provider.calls
    bench.clock.advance(days * DAY)
    assert bench.applier.handle(row).end == Outcome('archived', 'removed')


def test_a_restored_object_whose_archive_is_gone_is_not_sent_back_to_it_and_stays() -> None:
    bench = Bench()
    row = restored(bench, NOW - 30 * DAY, **{RESTORED_FROM_HEADER: bench.mapping.generation})
    assert bench.applier.handle(row) == Outcome('same', 'restored')
    assert bench.memory.list_objects().entries == ()
    assert bench.remover.asked == []


def test_an_object_restored_from_elsewhere_is_copied() -> None:
    bench = Bench(restore_days=0)
    row = restored(bench, NOW, **{RESTORED_FROM_HEADER: 'another'})
    assert bench.applier.handle(row).kind == 'copied'
    assert bench.memory.head_object('o').data_time == Timestamp(1000)


def test_the_mark_of_a_restore_counts_only_with_a_time_of_ours() -> None:
    bench = Bench()
    row = bench.source.put('o', b'data', 1000, sysmeta={RESTORED_HEADER: str(NOW)})
    assert bench.applier.handle(row).end == Outcome('archived', 'removed')


# -- several destinations -------------------------------------------------------------------


def test_a_delete_waits_for_every_mapping_that_selects_the_object() -> None:
    bench = Bench(peer={})
    row = bench.source.put('o', b'data', 1000)
    outcome = bench.applier.handle(row)
    assert (outcome.end.kind, outcome.end.reason, outcome.end.due) == ('deferred', 'awaits-copy', NOW + DEFER_SECONDS)
    assert 'second' in outcome.end.detail
    bench.other.upload_object(BytesBody(b'data'), bench.source.live['o'][1])
    assert bench.applier.handle(row, 'look').end == Outcome('archived', 'removed')


def test_a_mapping_that_does_not_want_the_object_is_not_waited_for() -> None:
    bench = Bench(peer={'exclude_pattern': 'o'})
    assert bench.applier.handle(bench.source.put('o', b'data', 1000)).end == Outcome('archived', 'removed')


def test_a_mapping_that_will_want_the_object_later_is_waited_for_until_then() -> None:
    bench = Bench(peer={'copy_after': 60})
    outcome = bench.applier.handle(bench.source.put('o', b'data', NOW - 20))
    assert outcome.end == Outcome('deferred', 'awaits-copy', 'for second', due=NOW + 40)


@pytest.mark.parametrize(('others', 'leave'), [
    ([], False), ([('c', {})], True), ([('/*', {})], True), ([('d', {})], True),
    ([('d', {'retain_local_segments': True})], False), ([('c', {'retain_local': True})], False)])
def test_whose_objects_an_archive_may_take(others: list[tuple[str, dict[str, object]]], leave: bool) -> None:
    """Segments may be in any container of the account."""
    mappings = [mapping(container, 'b', **{'retain_local': False, **keys}) for container, keys in others]
    assert objects_leave('AUTH_a', 'c', mappings) == leave
    assert not objects_leave('AUTH_b', 'c', mappings)


# -- what waits for the sweep ---------------------------------------------------------------


def test_what_may_be_a_segment_waits_for_the_sweep() -> None:
    bench = Bench(container='c_segments', segments_grace=DAY)
    row = bench.source.put('o', b'data', NOW - 100)
    outcome = bench.applier.handle(row)
    (removal,) = outcome.end.removals
    assert outcome.end[:2] == ('archived', 'waits')
    assert (removal.row, removal.due, removal.sweep) == (row.row, NOW - 100 + DAY, True)
    assert bench.remover.asked == []
    assert bench.applier.handle(row, 'remove').end == Outcome('archived', 'removed')


def test_a_newer_version_than_the_one_swept_waits_for_its_own_turn() -> None:
    bench = Bench(container='c_segments')
    old = bench.source.put('o', b'data', NOW - 100)
    bench.applier.handle(old)
    bench.source.put('o', b'newer', NOW - 50)
    assert bench.applier.handle(old, 'remove').end == Outcome('archived', 'superseded')
    assert 'o' in bench.source.live


def test_objects_of_a_mapping_of_the_whole_account_wait_for_the_sweep() -> None:
    whole = mapping('/*', 'bucket', retain_local=False).for_container('c')
    bench = Bench()
    archiver = Archiver(whole, bench.provider, bench.remover, [], clock=bench.clock)
    applier = Applier(whole, bench.source, bench.provider, archiver=archiver, clock=bench.clock)
    assert applier.handle(bench.source.put('o', b'data', 1000)).end.removals[0].sweep
    assert bench.remover.asked == []


def test_an_excluded_object_is_left_alone() -> None:
    bench = Bench(exclude_pattern='o')
    assert bench.applier.handle(bench.source.put('o', b'data', 1000)) == Outcome('excluded', 'exclude-pattern')
    assert bench.remover.asked == []


def test_metadata_that_changed_is_brought_before_the_object_goes() -> None:
    bench = Bench()
    bench.source.put('o', b'data', 1000)
    bench.memory.upload_object(BytesBody(b'data'), bench.source.live['o'][1])
    row = bench.source.post('o', 2000, {'colour': 'red'})
    outcome = bench.applier.handle(row, 'look')
    assert [step.kind for step in outcome.steps] == ['updated', 'archived']
    assert bench.memory.head_object('o').user_metadata == {'colour': 'red'}


def test_metadata_that_could_not_be_brought_keeps_the_object_here() -> None:
    """The predecessor took no notice of a refused POST, and deleted the object (its defect 7.1.7)."""
    bench = Bench()
    bench.source.put('o', b'data', 1000)
    bench.memory.upload_object(BytesBody(b'data'), bench.source.live['o'][1])
    row = bench.source.post('o', 2000, {'colour': 'red'})
    bench.provider.plan = lambda operation, number: Fault(ConnectionFailed('reset')) \
        if operation == 'update_metadata' else None
    assert bench.applier.handle(row, 'look')[:2] == ('failed', 'connection')
    assert bench.remover.asked == []
