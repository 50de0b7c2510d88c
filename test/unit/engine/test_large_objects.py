"""Large objects on their way through the engine: decided by times like any other, archived with what they leave."""
from __future__ import annotations

from dataclasses import replace

import pytest
from swift.common.utils import Timestamp

from s3_sync.base_sync import NO_CONDITION
from s3_sync.engine.outcomes import Outcome
from s3_sync.large_objects.manifest import slo_etag, stored_manifest
from s3_sync.large_objects.model import LargeSource, Segment
from s3_sync.types import ABSENT, Condition, ObjectMeta, ObjectRow, PutResult
from test.fakes.large_source import MemoryLargeSource, md5, segment, sub_slo
from test.unit.engine.test_archive import DAY, NOW, Bench

SEGMENTS = {('s', 'a'): b'a' * 1000, ('s', 'b'): b'b' * 500}


def slo(bench: Bench, at: float, name: str = 'o', objects: dict[tuple[str, str], bytes] | None = None) -> ObjectRow:
    objects = SEGMENTS if objects is None else objects
    bench.source.segments.update(objects)
    entries = [segment(objects, *where) for where in objects]
    return bench.source.put(name, stored_manifest(entries), at, large_object='slo')


def test_an_slo_arrives_as_its_content_with_its_times_and_what_tells_it() -> None:
    bench = Bench(retain_local_segments=True)
    bench.applier.archiver = None
    assert bench.applier.handle(slo(bench, 1000)).kind == 'copied'
    remote = bench.memory.head_object('o')
    assert bench.memory.get_object('o').read() == b'a' * 1000 + b'b' * 500
    assert (remote.size, remote.data_time) == (1500, Timestamp(1000))
    assert remote.source_etag == slo_etag([segment(SEGMENTS, 's', 'a'), segment(SEGMENTS, 's', 'b')])


def test_an_slo_that_is_there_is_not_read_and_a_change_of_metadata_moves_no_data() -> None:
    bench = Bench()
    bench.applier.archiver = None
    row = slo(bench, 1000)
    bench.applier.handle(row)
    bench.provider.calls.clear()
    assert bench.applier.handle(row) == Outcome('same', 'same')
    assert bench.applier.handle(bench.source.post('o', 2000, {'colour': 'red'})).kind == 'updated'
    assert bench.memory.head_object('o').user_metadata == {'colour': 'red'}
    assert 'upload_large_object' not in bench.provider.calls


def test_a_manifest_that_is_missing_beside_the_data_is_brought() -> None:
    bench = Bench()
    bench.applier.archiver = None
    row = slo(bench, 1000)
    bench.applier.handle(row)
    bench.memory.store.manifests.clear()
    assert bench.applier.handle(row, 'look') == Outcome('updated', 'manifest')
    assert bench.applier.handle(row, 'look') == Outcome('same', 'same')


def test_a_changed_segment_is_a_failure_and_the_old_version_stays() -> None:
    bench = Bench()
    bench.applier.archiver = None
    bench.applier.handle(slo(bench, 1000))
    row = slo(bench, 2000, objects={('s', 'a'): b'x' * 10, ('s', 'c'): b'y' * 10})
    bench.source.segments['s', 'c'] = b'changed...'
    assert bench.applier.handle(row)[:2] == ('failed', 'segment-changed')
    assert bench.memory.get_object('o').read() == b'a' * 1000 + b'b' * 500


def test_a_dlo_whose_listing_changed_is_sent_again_though_its_manifest_object_did_not() -> None:
    bench = Bench()
    bench.applier.archiver = None
    row = bench.source.put('o', b'', 1000, large_object='dlo')
    for objects in ({('s', 'p/1'): b'one'}, {('s', 'p/1'): b'two'}, {('s', 'p/1'): b'two', ('s', 'p/2'): b'3'}):
        bench.source.larges['o'] = MemoryLargeSource(objects, [segment(objects, *where) for where in objects],
                                                     kind='dlo', prefix='s/p/')
        assert bench.applier.handle(row, 'look').kind == 'copied'
        assert bench.memory.get_object('o').read() == b''.join(objects.values())


# -- archives -------------------------------------------------------------------------------


def test_the_manifest_leaves_after_its_segments_are_written_down_for_the_sweep() -> None:
    bench = Bench(segments_grace=DAY)
    row = slo(bench, 1000)
    outcome = bench.applier.handle(row)
    assert [step[:2] for step in outcome.steps] == [('copied', ''), ('archived', 'waits')]
    assert 'o' in bench.source.live
    first, *segments = outcome.end.removals
    etag = bench.memory.head_object('o').source_etag
    assert (first.row, first.sweep, first.due) == (row.row._replace(etag=etag), False, NOW)
    assert [(r.container, r.row.name, r.row.etag, r.row.size) for r in segments] == [
        ('s', 'a', md5(b'a' * 1000), 1000), ('s', 'b', md5(b'b' * 500), 500)]
    assert {(r.sweep, r.due, r.owner, r.owner_etag) for r in segments} == {(True, NOW + DAY, 'c/o', etag)}
    cleared = ObjectRow(row.account, row.container, first.row)
    assert bench.applier.handle(cleared, 'remove').end == Outcome('archived', 'removed')
    assert 'o' not in bench.source.live


def test_a_dlo_that_changed_since_its_segments_were_written_down_waits_for_the_new_ones() -> None:
    bench = Bench()
    row = bench.source.put('o', b'', 1000, large_object='dlo')

    def lists(objects: dict[tuple[str, str], bytes]) -> None:
        bench.source.larges['o'] = MemoryLargeSource(objects, [segment(objects, *where) for where in objects],
                                                     kind='dlo', prefix='s/p/')
    lists({('s', 'p/1'): b'one'})
    cleared = ObjectRow(row.account, row.container, bench.applier.handle(row).end.removals[0].row)
    lists({('s', 'p/1'): b'one', ('s', 'p/2'): b'two'})
    end = bench.applier.handle(cleared, 'remove').end
    assert [r.row.name for r in end.removals] == ['o', 'p/1', 'p/2'] and 'o' in bench.source.live
    cleared = ObjectRow(row.account, row.container, end.removals[0].row)
    assert bench.applier.handle(cleared, 'remove').end == Outcome('archived', 'removed')


def test_a_newer_large_version_than_the_one_cleared_is_left_to_its_own_row() -> None:
    bench = Bench()
    row = slo(bench, 1000)
    cleared = ObjectRow(row.account, row.container, bench.applier.handle(row).end.removals[0].row)
    slo(bench, 2000, objects={('s', 'a'): b'new'})
    assert bench.applier.handle(cleared, 'remove').end == Outcome('archived', 'superseded')
    assert 'o' in bench.source.live


def test_sub_manifests_and_what_they_name_are_segments_too() -> None:
    bench = Bench()
    row = slo(bench, 1000)
    inner = [segment(SEGMENTS, 's', 'a')]
    nested: list[Segment] = [sub_slo('m', 'inner', inner), segment(SEGMENTS, 's', 'b')]
    bench.source.larges['o'] = MemoryLargeSource(SEGMENTS, nested)
    removals = bench.applier.handle(row).end.removals
    assert {(r.container, r.row.name) for r in removals} == {('c', 'o'), ('m', 'inner'), ('s', 'a'), ('s', 'b')}


@pytest.mark.parametrize('keys', [{'retain_local_segments': True}, {}])
def test_a_manifest_leaves_at_once_when_its_segments_stay(keys: dict[str, object]) -> None:
    bench = Bench(**keys)
    row = slo(bench, 1000)
    end = bench.applier.handle(row).end
    assert (end.reason == 'removed') == bool(keys)


def test_nothing_leaves_while_the_manifest_is_missing_at_the_remote() -> None:
    bench = Bench(retain_local_segments=True)
    row = slo(bench, 1000)

    def forgetful(operation: str, number: int) -> None:
        if operation == 'prove':
            bench.memory.store.manifests.clear()
    bench.provider.plan = forgetful
    assert bench.applier.handle(row).end[:2] == ('failed', 'manifest')
    assert 'o' in bench.source.live


def test_a_manifest_that_got_lost_before_the_proof_is_brought_again() -> None:
    bench = Bench(retain_local_segments=True)
    row = slo(bench, 1000)
    lost = iter([True])

    def forgetful_once(operation: str, number: int) -> None:
        if operation == 'prove' and next(lost, False):
            bench.memory.store.manifests.clear()
    bench.provider.plan = forgetful_once
    assert bench.applier.handle(row).end == Outcome('archived', 'removed')
    assert bench.provider.calls.count('upload_large_object') == 1


def test_a_dlo_without_segments_stays_and_is_looked_at_again() -> None:
    bench = Bench()
    row = bench.source.put('o', b'', 1000, large_object='dlo')
    bench.source.larges['o'] = MemoryLargeSource({}, [], kind='dlo', prefix='s/p/')
    assert bench.applier.handle(row).end == Outcome('deferred', 'empty-dlo', due=NOW + DAY)
    assert 'o' in bench.source.live


def test_a_large_object_carries_its_condition_where_the_provider_itself_looks_before_the_end() -> None:
    """Another node may bring a newer version while this one is under way, at a store that knows no If-Match."""
    bench = Bench()
    bench.applier.archiver = None
    can = bench.memory.capabilities
    conditions = []
    upload = bench.memory.upload_large_object

    def noted(large: LargeSource, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        conditions.append(condition)
        return upload(large, meta, condition=condition)
    bench.memory.upload_large_object = noted  # type: ignore[method-assign]
    for late in (False, True):
        bench.memory.capabilities = replace(can, create_only=False, conditional_overwrite=False, late_conditions=late)
        for at, objects in ((1000, SEGMENTS), (2000, {('s', 'c'): b'c' * 10})):
            bench.applier.handle(slo(bench, at, f'o{late}', objects))
    first, second, absent, match = conditions
    assert (first, second, absent) == (NO_CONDITION, NO_CONDITION, ABSENT)
    assert match.if_match
