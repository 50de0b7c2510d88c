from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from container_crawler.device_threads import DeviceThreads
from s3_sync.clock import FakeClock
from s3_sync.concurrency import GreenPool
from s3_sync.errors import SourceStale, SourceUnavailable
from s3_sync.local.disk import DEVICE_REST_SECONDS, DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.read_ahead import AHEAD_BYTES, FRESH_SECONDS, GROUP
from test.unit.local.test_disk import HereAndNow

T = 1_600_000_000.0


class CountingThreads(DeviceThreads):
    hops = 0

    def run(self, device: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.hops += 1
        return super().run(device, function, *args, **kwargs)


@pytest.fixture
def runner() -> HereAndNow:
    return HereAndNow()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(disks: Any, runner: HereAndNow, clock: FakeClock) -> DiskSource:
    return DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.devices), runner=runner,
                      clock=clock)


@pytest.fixture
def threaded(disks: Any) -> Iterator[tuple[DiskSource, CountingThreads]]:
    threads = CountingThreads()
    source = DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.devices), runner=threads)
    yield source, threads
    source.close()


def put(disks: Any, count: int) -> list[Any]:
    return [disks.put(f'o{i}', b'body %d' % i, T + i) for i in range(count)]


def body(source: DiskSource, row: Any) -> bytes:
    return b''.join(source.open(row).body)


def test_expected_rows_are_read_in_groups(disks: Any, source: DiskSource, runner: HereAndNow) -> None:
    rows = put(disks, 2 * GROUP)
    source.expect(rows)
    assert not runner.calls
    assert [body(source, row) for row in rows] == [b'body %d' % i for i in range(len(rows))]
    assert len(runner.calls) == 2


def test_rows_that_were_not_expected_are_read_alone(disks: Any, source: DiskSource, runner: HereAndNow) -> None:
    rows = put(disks, 3)
    assert [body(source, row) for row in rows] == [b'body 0', b'body 1', b'body 2']
    assert len(runner.calls) == 3


def test_green_threads_wait_for_the_group_that_brings_theirs(disks: Any, threaded: Any) -> None:
    source, threads = threaded
    rows = put(disks, GROUP)
    source.expect(rows)
    pool = GreenPool(GROUP)
    assert sorted(pool.imap(lambda row: body(source, row), rows)) == [b'body %d' % i for i in range(GROUP)]
    assert threads.hops == 1


def test_a_replica_read_too_long_ago_is_read_again(disks: Any, source: DiskSource, clock: FakeClock) -> None:
    rows = put(disks, 2)
    source.expect(rows)
    body(source, rows[0])
    disks.put('o1', b'newer', T + 9)
    clock.advance(FRESH_SECONDS)
    assert body(source, rows[1]) == b'newer'


def test_each_replica_read_ahead_is_used_once(disks: Any, source: DiskSource) -> None:
    rows = put(disks, 2)
    source.expect(rows)
    body(source, rows[0])
    assert body(source, rows[1]) == b'body 1'
    disks.put('o1', b'newer', T + 9)
    assert body(source, rows[1]) == b'newer'


def test_a_stale_replica_read_ahead_is_stale(disks: Any, source: DiskSource, make_row: Any) -> None:
    rows = [*put(disks, 1), make_row('late', T + 5)]
    disks.put('late', b'old', T)
    source.expect(rows)
    body(source, rows[0])
    with pytest.raises(SourceStale):
        source.open(rows[1])


def test_a_group_on_a_hung_device_leaves_nobody_waiting(disks: Any, source: DiskSource, runner: HereAndNow,
                                                       clock: FakeClock, expected_warnings: Any) -> None:
    expected_warnings('device d. does not answer')
    rows = put(disks, 3)
    source.expect(rows)
    runner.hung = {'d0', 'd1'}
    for row in rows:
        with pytest.raises(SourceUnavailable):
            source.open(row)
    runner.hung = set()
    clock.advance(DEVICE_REST_SECONDS)
    assert [body(source, row) for row in rows] == [b'body 0', b'body 1', b'body 2']


def test_large_objects_are_not_read_ahead(disks: Any, source: DiskSource, runner: HereAndNow) -> None:
    large = os.urandom(AHEAD_BYTES + 1)
    rows = [*put(disks, 1), disks.put('large', large, T)]
    source.expect(rows)
    body(source, rows[0])
    assert body(source, rows[1]) == large
    assert len(runner.calls) == 2


def test_an_object_that_grew_after_its_row_is_read_when_it_is_wanted(disks: Any, source: DiskSource) -> None:
    rows = put(disks, 2)
    large = os.urandom(AHEAD_BYTES + 1)
    disks.put('o1', large, T + 9)
    source.expect(rows)
    body(source, rows[0])
    assert body(source, rows[1]) == large


def test_rows_that_two_mappings_expect_reach_both_whoever_reads_them_first(disks: Any) -> None:
    class LetsAnotherIn(HereAndNow):
        """While the first group is on its way, another mapping expects the same rows, and reads the last."""

        def run(self, device: str, function: Any, *args: Any, **kwargs: Any) -> Any:
            if another:
                another.pop()
                source.expect(rows)
                assert body(source, rows[-1]) == b'body %d' % GROUP
            return super().run(device, function, *args, **kwargs)

    another = [True]
    source = DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.devices),
                        runner=LetsAnotherIn())
    rows = put(disks, GROUP + 1)
    source.expect(rows)
    for _mapping in range(2):
        assert [body(source, row) for row in rows] == [b'body %d' % i for i in range(GROUP + 1)]
