"""Whatever writes a replica missed, it is taken for the row's version only when nothing of it is missing."""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.errors import SourceError
from s3_sync.local.disk import DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.versions import buries, newest_of, times_from_headers
from s3_sync.timestamps import RowTimes
from test.unit.local.conftest import Disks, row_of
from test.unit.local.test_disk import HereAndNow

T = 1_600_000_000


@dataclass
class Write:
    """One client's write at its place in time, and whether the replica got it."""

    kind: str
    got: bool


HISTORIES = st.lists(st.builds(Write, st.sampled_from(['put', 'post', 'ctype']), st.booleans()), min_size=1, max_size=6)


@dataclass
class State:
    """An object as the writes that arrived made it; times count the writes."""

    data: int = -1
    content_type: int = -1
    metadata: int = -1

    def apply(self, at: int, kind: str) -> None:
        if kind == 'put':
            self.data = self.content_type = self.metadata = at
        elif self.data >= 0:
            self.metadata = at
            if kind == 'ctype':
                self.content_type = at


def states(history: list[Write]) -> tuple[State, State]:
    """What the cluster agreed on, and what the replica holds."""
    whole, replica = State(), State()
    for at, write in enumerate(history):
        whole.apply(at, write.kind)
        if write.got:
            replica.apply(at, write.kind)
    return whole, replica


@given(HISTORIES)
def test_a_backend_answer_covers_the_row_only_when_the_replica_has_everything(history: list[Write]) -> None:
    history = [Write('put', True), *history]
    whole, replica = states(history)
    row = row_of('o', T + whole.data, T + whole.content_type, T + whole.metadata,
                 content_type=f'text/type-{whole.content_type}')
    answer = {'x-backend-data-timestamp': Timestamp(T + replica.data).internal,
              'x-backend-timestamp': Timestamp(T + replica.metadata).internal,
              'content-type': f'text/type-{replica.content_type}'}
    times = times_from_headers(answer, row)
    if times.covers(row.times):
        assert (replica.data, replica.content_type) == (whole.data, whole.content_type)
        assert replica.metadata == whole.metadata
        assert times == row.times
    if replica == whole:
        assert times.covers(row.times)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=HISTORIES)
def test_a_replica_on_disk_serves_the_row_only_when_it_has_everything(make_disks: Any, history: list[Write]) -> None:
    history = [Write('put', True), *history]
    whole, replica = states(history)
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
        disks = Disks(Path(folder))
        for at, write in enumerate(history):
            if not write.got:
                continue
            if write.kind == 'put':
                disks.put('o', b'%d' % at, T + at, devices=('d0',), Content_Type=f'text/type-{at}',
                          X_Object_Meta_At=str(at))
            elif write.kind == 'post':
                disks.post('o', T + at, devices=('d0',), X_Object_Meta_At=str(at))
            else:
                disks.post('o', T + at, devices=('d0',), X_Object_Meta_At=str(at), Content_Type=f'text/type-{at}')
        row = row_of('o', T + whole.data, T + whole.content_type, T + whole.metadata)
        source = DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.devices),
                            runner=HereAndNow())
        try:
            found = source.open(row)
        except SourceError:
            assert replica != whole
            return
        assert b''.join(found.body) == b'%d' % whole.data
        assert found.meta.content_type == f'text/type-{whole.content_type}'
        assert found.meta.user_metadata == {'at': str(whole.metadata)}


STAMPS = st.builds(lambda seconds, offset: Timestamp(T + seconds, offset=offset), st.integers(0, 3), st.integers(0, 2))
TIMES = st.builds(RowTimes, STAMPS, STAMPS, STAMPS)


@given(TIMES, TIMES)
def test_the_newest_of_two_covers_both_and_covering_is_a_partial_order(one: RowTimes, other: RowTimes) -> None:
    both = newest_of(one, other)
    assert both.covers(one) and both.covers(other) and one.covers(one)
    if one.covers(other) and other.covers(one):
        assert one == other
    if one.covers(other):
        assert both == one


@given(TIMES, STAMPS)
def test_a_tombstone_buries_what_is_not_written_after_it(times: RowTimes, tombstone: Timestamp) -> None:
    assert buries(tombstone, times) == (times.data <= tombstone)
    assert not buries(None, times)
