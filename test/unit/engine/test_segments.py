"""Segments go only while the remote holds the manifest that they were archived with."""
from __future__ import annotations

from dataclasses import replace

import pytest

from container_crawler.rows import Row
from s3_sync.clock import FakeClock
from s3_sync.engine.archive import large_meta
from s3_sync.engine.segments import Decided, Verdict, remove_segments
from s3_sync.errors import (
    BucketNotFound,
    ConnectionFailed,
    Forbidden,
    ProviderError,
    RemovalDeferred,
    SourceUnavailable,
    Throttled,
    Unproven,
)
from s3_sync.providers.memory import MemorySync
from s3_sync.streams import BytesBody
from s3_sync.types import ObjectMeta, Removal
from test.fakes.faulty import Fault, FaultySync, on
from test.fakes.large_source import MemoryLargeSource, segment

OBJECTS = {('c_segments', name): name.encode() for name in 'abc'}
LARGE = MemoryLargeSource(OBJECTS, [segment(OBJECTS, 'c_segments', name) for name in 'abc'])
REMOVALS = [Removal('c_segments', Row(0, name, '', 1, '', 'md5', False, 0), 0.0, True, 'c/dir/o', LARGE.layout.etag)
            for name in 'abc']


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.memory = MemorySync(clock=self.clock)
        self.memory.upload_large_object(LARGE, large_meta(ObjectMeta('dir/o', 3, large_object='slo'), LARGE))
        self.provider = FaultySync(self.memory)
        self.asked: list[str] = []

    def run(self, **verdicts: Verdict | Exception) -> list[Decided]:
        def remove(removal: Removal) -> Verdict:
            self.asked.append(removal.row.name)
            verdict = verdicts.get(removal.row.name, 'removed')
            if isinstance(verdict, Exception):
                raise verdict
            return verdict
        return list(remove_segments(REMOVALS, self.provider, remove, self.clock.now))


def test_the_remote_is_asked_once_for_all_segments_of_a_manifest() -> None:
    bench = Bench()
    assert bench.run(b='changed', c='gone') == [Decided('removed'), Decided('changed'), Decided('gone')]
    assert bench.provider.calls == ['head_object', 'check_whole'] and bench.asked == ['a', 'b', 'c']


@pytest.mark.parametrize(('there', 'reason'), [(True, 'owner-changed'), (False, 'owner-gone')])
def test_nothing_goes_when_the_remote_does_not_have_that_version(there: bool, reason: str) -> None:
    bench = Bench()
    if there:
        bench.memory.upload_object(BytesBody(b'new'), ObjectMeta('dir/o', 3))
    else:
        bench.memory.delete_object('dir/o')
    decided = bench.run()
    assert [(d.verdict, d.reason, d.settled) for d in decided] == [('kept', reason, True)] * 3
    assert bench.asked == []


@pytest.mark.parametrize(('error', 'reason', 'due'), [
    (ConnectionFailed('reset'), 'connection', 0.0), (Throttled('later', retry_after=60), 'throttled', 60.0),
    (Forbidden('no'), 'forbidden', 0.0), (BucketNotFound('none'), 'bucket-not-found', 0.0)])
def test_a_remote_that_does_not_answer_proves_nothing_and_all_wait(
        error: ProviderError, reason: str, due: float) -> None:
    bench = Bench()
    bench.provider.plan = on('head_object', Fault(error))
    expected = bench.clock.now() + due if due else 0.0
    assert [(d.verdict, d.reason, d.due, d.settled) for d in bench.run()] == [('waits', reason, expected, False)] * 3
    assert bench.asked == []


def test_all_wait_while_the_copy_at_the_remote_is_not_whole() -> None:
    bench = Bench()
    bench.provider.plan = on('check_whole', Fault(Unproven('a segment is missing')))
    assert [(d.verdict, d.reason) for d in bench.run()] == [('waits', 'unproven')] * 3
    assert bench.asked == []


def test_an_etag_tells_the_content_where_our_own_key_had_to_give_way() -> None:
    bench = Bench()
    stored = bench.memory.store.buckets[bench.memory.bucket]['dir/o']
    stored.meta = replace(stored.meta, source_etag='', etag=LARGE.layout.etag)
    assert [d.verdict for d in bench.run()] == ['removed'] * 3


def test_one_segment_that_cannot_go_holds_up_no_other() -> None:
    found = Bench().run(a=RemovalDeferred('restored', reason='restored', due=9.0), b=SourceUnavailable('down'))
    assert [(d.verdict, d.reason, d.due) for d in found] == [
        ('waits', 'restored', 9.0), ('waits', 'source-unavailable', 0.0), ('removed', '', 0.0)]
