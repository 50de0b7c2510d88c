from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from container_crawler.rows import Row
from s3_sync.clock import FakeClock
from s3_sync.errors import RemovalDeferred, SourceUnavailable
from s3_sync.local.remove import LocalRemover, file_standing, judge, row_standing
from s3_sync.local.replicas import Database, File, LiveRow, LiveRows, Unanswered
from s3_sync.timestamps import MARKER, MAX_COUNTER, RowTimes, is_ours, marked
from s3_sync.types import ObjectRow
from test.fakes.memory_swift import MemoryProxy, MemoryReplicas, MemorySwift

NOW = 1_700_000_000.0
WEEK = 7 * 86400.0
OLD = NOW - 4 * WEEK


def times(data: float, content_type: float | None = None, metadata: float | None = None) -> RowTimes:
    content_type = data if content_type is None else content_type
    return RowTimes(Timestamp(data), Timestamp(content_type), Timestamp(content_type if metadata is None else metadata))


# -- the time of a delete -----------------------------------------------------------------


def test_a_delete_has_the_newest_time_our_marker_and_the_second() -> None:
    stamp = marked(times(10, 20, 30), NOW)
    assert (stamp.normal, stamp.offset) == (Timestamp(30).normal, MARKER << 32 | int(NOW))
    assert is_ours(stamp) and Timestamp(30) < stamp < Timestamp(30.00001)
    # Users' deletes that the reconciler issues again have a small offset.
    assert stamp > Timestamp(30, offset=3)


@pytest.mark.parametrize('now', [NOW, NOW - 1, NOW - 1000, 0.0])
def test_each_delete_and_restore_of_a_version_is_later_than_the_one_before(now: float) -> None:
    first = marked(times(10), NOW)
    second = marked(RowTimes(first, first, first), now)
    assert second > first and second.normal == first.normal
    posted = RowTimes(second, second, Timestamp(20))  # a user's POST after a restore
    assert marked(posted, now).offset == second.offset + 1


def test_the_counter_never_runs_into_the_marker() -> None:
    last = Timestamp(10, offset=MARKER << 32 | MAX_COUNTER)
    assert is_ours(marked(RowTimes(last, last, last), NOW))


# -- what is newer ------------------------------------------------------------------------


@pytest.mark.parametrize(('data', 'metadata', 'standing'), [
    (10, 30, 'exact'), (10, 10, 'older'), (9, 9, 'older'), (9, 30, 'older'),
    (10, 31, 'newer'), (31, 31, 'newer'), (11, 11, 'newer'), (11, 30, 'newer')])
def test_a_file_is_newer_by_data_or_by_metadata(data: float, metadata: float, standing: str) -> None:
    file = File({}, True, Timestamp(data), Timestamp(metadata))
    assert file_standing(file, times(10, 20, 30)) == standing
    assert file_standing(File({}), times(10, 20, 30)) == 'none'


def test_a_restored_file_is_newer_than_the_version_it_came_from() -> None:
    stamp = marked(times(10), NOW)
    assert file_standing(File({}, True, stamp, stamp), times(10)) == 'newer'
    assert file_standing(File({}, True, Timestamp(10), Timestamp(10)), RowTimes(stamp, stamp, stamp)) == 'older'


def test_a_row_is_compared_by_what_listings_show() -> None:
    def standing(at: Timestamp | None) -> str:
        return row_standing(LiveRow(Database({}, 0, 'a', 'c'), at.isoformat if at else ''), times(10, 20, 30.5))
    assert [standing(at) for at in (None, Timestamp(30), Timestamp(30.5), Timestamp(30.50001))] == [
        'none', 'older', 'exact', 'newer']
    assert standing(Timestamp(30.5, offset=MARKER << 32)) == 'exact'


@pytest.mark.parametrize(('files', 'rows', 'verdict'), [
    ('EEE', 'EEE', 'remove'),
    ('EEN', 'EEE', 'superseded'), ('EEE', 'EEN', 'superseded'), ('---', '--N', 'superseded'),
    ('---', '---', 'gone'),
    ('EE-', 'EEE', 'wait'), ('EEo', 'EEE', 'wait'), ('EEE', 'EE-', 'wait'), ('EEE', 'EEo', 'wait'),
    ('EE-', 'E--', 'wait'), ('E-', 'EE', 'wait'),
    ('E--', 'EEE', 'remove'), ('o--', 'E--', 'remove'), ('---', 'E--', 'remove'), ('---', 'EEE', 'remove'),
    ('E--', '---', 'remove'), ('EEE', '---', 'remove'), ('E', 'E', 'remove'), ('o', 'E', 'wait')])
def test_verdicts(files: str, rows: str, verdict: str) -> None:
    names: Any = {'E': 'exact', 'N': 'newer', 'o': 'older', '-': 'none'}
    assert judge([names[f] for f in files], [names[r] for r in rows]) == verdict


# -- the whole course, on a cluster in memory ---------------------------------------------

VERSION = times(OLD, OLD, OLD + 5)
LIVE = {'exact': (OLD, OLD + 5), 'older': (OLD - 9, OLD - 9), 'posted': (OLD, OLD + 6), 'put': (OLD + 7, OLD + 7)}
"""Data and newest time."""
STATES = ['none', *LIVE]


class Cluster:
    """Three primaries and a handoff for files and for rows, as Swift would keep them; also stands in for the proxy.

    ``silent_before`` and ``silent_after``: which servers (``f0``, ``r2``, ...)
    do not answer before and after the proxy's DELETE; it reaches those that do.
    """

    def __init__(self, files: Iterable[str], rows: Iterable[str], silent_before: Iterable[str] = (),
                 silent_after: Iterable[str] = (), proxy_fails: bool = False) -> None:
        self.files = {i: LIVE.get(state) for i, state in enumerate(files)}
        self.rows_shown = {i: LIVE.get(state) for i, state in enumerate(rows)}
        self.silent = set(silent_before)
        self.silent_after = set(silent_after)
        self.proxy_fails = proxy_fails
        self.deleted = False

    # what Replicas gives
    def primaries(self, row: ObjectRow) -> list[dict[str, Any]]:
        return [{'id': i} for i in range(3)]

    def handoffs(self, row: ObjectRow) -> list[dict[str, Any]]:
        return [{'id': 3}]

    def file(self, row: ObjectRow, node: dict[str, Any]) -> File:
        self._speak(f'f{node["id"]}')
        found = self.files[node['id']]
        return File(node) if found is None else File(node, True, Timestamp(found[0]), Timestamp(found[1]))

    def delete_file(self, row: ObjectRow, node: dict[str, Any], stamp: Timestamp) -> None:
        self._speak(f'f{node["id"]}')
        self._delete(self.files, node['id'], stamp)

    def rows(self, row: ObjectRow) -> LiveRows:
        first, second, third, handoff = [self.row(row, Database({'id': i}, 0, 'a', 'c')) for i in range(4)]
        return LiveRows((first, second, third), (handoff,))

    def row(self, row: ObjectRow, database: Database) -> LiveRow:
        self._speak(f'r{database.node["id"]}')
        found = self.rows_shown[database.node['id']]
        return LiveRow(database, Timestamp(found[1]).isoformat if found else '')

    def delete_row(self, row: ObjectRow, database: Database, stamp: Timestamp) -> None:
        self._speak(f'r{database.node["id"]}')
        self._delete(self.rows_shown, database.node['id'], stamp)

    # what ProxyClient gives
    def request(self, method: str, path: tuple[str, ...], headers: dict[str, str]) -> Any:
        assert method == 'DELETE'
        self.silent = self.silent_after
        if self.proxy_fails:
            raise SourceUnavailable('503')
        self.deleted = True
        stamp = Timestamp(headers['X-Timestamp'])
        for i in range(3):
            if f'f{i}' not in self.silent:
                self._delete(self.files, i, stamp)
                if f'r{i}' not in self.silent:
                    self._delete(self.rows_shown, i, stamp)
        return Answer(204)

    def _speak(self, server: str) -> None:
        if server in self.silent:
            raise Unanswered(server)

    @staticmethod
    def _delete(held: dict[int, Any], key: int, stamp: Timestamp) -> None:
        """By data time, as object and container servers decide."""
        if held[key] is not None and Timestamp(held[key][0]) < stamp:
            held[key] = None

    def left(self) -> list[tuple[float, float]]:
        return [found for found in (*self.files.values(), *self.rows_shown.values()) if found is not None]


class Answer:
    headers: dict[str, str] = {}

    def __init__(self, status: int) -> None:
        self.status = status

    def close(self) -> None:
        pass


def remover(cluster: Cluster) -> LocalRemover:
    return LocalRemover(cluster, cluster, reclaim_age=WEEK, clock=FakeClock(NOW))  # type: ignore[arg-type]


ROW = ObjectRow('a', 'c', Row(1, 'o', '', 4, 'text/plain', '', False, 0))
states = st.lists(st.sampled_from(STATES), min_size=4, max_size=4)
servers = st.sets(st.sampled_from([f'{kind}{i}' for kind in 'fr' for i in range(4)]), max_size=2)


@given(states, states, st.one_of(st.just(set()), servers), st.one_of(st.just(set()), servers), st.booleans())
@example(['exact'] * 3 + ['none'], ['exact'] * 3 + ['none'], set(), set(), False)
@example(['exact'] * 3 + ['put'], ['exact'] * 3 + ['none'], set(), set(), False)
@example(['exact'] * 3 + ['none'], ['exact'] * 3 + ['posted'], set(), set(), False)
@example(['none'] * 3 + ['exact'], ['none'] * 4, set(), set(), False)
@example(['none'] * 4, ['none'] * 3 + ['older'], set(), set(), False)
@example(['exact', 'none', 'none', 'exact'], ['none'] * 4, set(), {'f3'}, False)
def test_whatever_the_replicas_hold(files: list[str], rows: list[str], before: set[str], after: set[str],
                                    proxy_fails: bool) -> None:
    cluster = Cluster(files, rows, before, after, proxy_fails)
    held = cluster.left()
    newer = [found for found in held if found in (LIVE['posted'], LIVE['put'])]
    try:
        outcome: str = remover(cluster).remove(ROW, VERSION)
    except RemovalDeferred as error:
        outcome = error.reason
    assert [found for found in cluster.left() if found in newer] == newer, 'something newer was taken'
    if newer:
        assert not cluster.deleted and outcome in ('superseded', 'replica-away')
        assert cluster.left() == held
    elif before:
        assert outcome == 'replica-away' and cluster.left() == held
    elif outcome in ('removed', 'gone'):
        assert cluster.left() == []
    elif outcome == 'replica-away':
        assert cluster.left() == held or after
    else:
        assert outcome == 'ghost' and (after or proxy_fails)
        # The next call finishes it, once all answer.
        cluster.silent, cluster.silent_after, cluster.proxy_fails = set(), set(), False
        try:
            assert remover(cluster).remove(ROW, VERSION) in ('removed', 'gone')
            assert cluster.left() == []
        except RemovalDeferred as error:
            assert error.reason == 'replica-away'  # most of it is still there; Swift heals it first


def test_handoffs_are_emptied_before_they_can_push_what_they_hold() -> None:
    cluster = Cluster(['exact'] * 4, ['exact'] * 3 + ['none'], silent_after={'f3'})
    with pytest.raises(RemovalDeferred, match='f3'):
        remover(cluster).remove(ROW, VERSION)
    assert cluster.left() == []


def test_a_young_object_needs_somebody_to_answer() -> None:
    young = times(NOW - 60)
    nobody = Cluster(['none'] * 4, ['none'] * 4, {'f0', 'f1', 'f2'})
    with pytest.raises(RemovalDeferred):
        remover(nobody).remove(ROW, young)
    assert not nobody.deleted


@pytest.mark.parametrize(('age', 'guarded'), [(5.9 * 86400, True), (6.1 * 86400, False)])
def test_a_day_before_reclaim_age_tombstones_are_no_longer_trusted(age: float, guarded: bool) -> None:
    cluster = Cluster(['none'] * 4, ['none'] * 4, {'f2'})
    cluster.files = dict.fromkeys(range(4), (NOW - age, NOW - age))
    if guarded:
        assert remover(cluster).remove(ROW, times(NOW - age)) == 'removed'
    else:
        with pytest.raises(RemovalDeferred):
            remover(cluster).remove(ROW, times(NOW - age))
    assert cluster.deleted is guarded


# -- segments -----------------------------------------------------------------------------


def test_a_segment_that_was_written_again_since_then_waits_until_it_is_as_old() -> None:
    clock = FakeClock(NOW)
    swift = MemorySwift(['s'], clock, reclaim_age=WEEK)
    remover = LocalRemover(MemoryReplicas(swift), MemoryProxy(swift),  # type: ignore[arg-type]
                           reclaim_age=WEEK, clock=clock)
    swift.put(('s', 'o'), b'data', Timestamp(NOW - 100))
    etag = swift.files['s', 'o'].etag
    with pytest.raises(RemovalDeferred) as caught:
        remover.remove_segment('a', 's', 'o', etag, 4, written_before=NOW - 3600)
    assert (caught.value.reason, caught.value.due) == ('written-again', NOW + 3500)
    assert ('s', 'o') in swift.files
    assert remover.remove_segment('a', 's', 'o', etag, 4, written_before=NOW - 99) == 'removed'
    assert ('s', 'o') not in swift.files
