"""Restores into a Swift that behaves like one about times: what is there afterwards, whatever happens in between."""
from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.concurrency import Timeout
from s3_sync.errors import ConnectionFailed
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.model import Layout
from s3_sync.local.versions import RESTORED_FROM_HEADER, RESTORED_HEADER
from s3_sync.restoring.plan import Origin, RestorePlan
from s3_sync.restoring.sources import RangeSource, StreamSource
from s3_sync.restoring.writer import CHANGED, Outcome, Writer
from s3_sync.timestamps import MARKER, is_ours, without_marker
from s3_sync.types import ObjectMeta
from test.unit.restoring.cluster import Cluster
from test.unit.restoring.objects import (
    NOW,
    ORIGIN,
    WRITTEN,
    chunks,
    layout,
    md5,
    plan,
    some_bytes,
    stream,
    version,
    whole,
)

DATA = some_bytes(500)
PARTS = [some_bytes(300, 1), some_bytes(200, 2), some_bytes(100, 3)]
WHOLE = b''.join(PARTS)
RESTORED = Outcome('restored', bytes=len(WHOLE))
OBJECT = ('c', 'o')


def archived(at: Timestamp = WRITTEN, counter: int = int(NOW) - 9) -> Timestamp:
    """The time of our own delete of the version written at ``at``."""
    return Timestamp(at.normal, offset=MARKER << 32 | counter)


def later(at: Timestamp, seconds: float = 1.0) -> Timestamp:
    return Timestamp(float(at) + seconds)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def run(cluster: Cluster, made: RestorePlan, data: bytes | StreamSource | RangeSource) -> Outcome:
    source = stream(data) if isinstance(data, bytes) else data
    return Writer(cluster, clock=FakeClock(NOW)).run(made, source)


def slo(kind: Any = 'slo') -> tuple[ObjectMeta, Layout]:
    made_of = layout([whole('segs', f'p/{n}', part) for n, part in enumerate(PARTS)], kind, 'segs/p/')
    return version(WHOLE, large_object=kind, etag=made_of.etag, etag_is_md5=False), made_of


def restore_slo(cluster: Cluster, kind: Any = 'slo') -> Outcome:
    return run(cluster, plan(*slo(kind)), WHOLE)


def segments(cluster: Cluster) -> set[str]:
    return {name for container, name in cluster.objects if container != 'c'}


def test_what_changed_at_the_remote_meanwhile_is_not_covered(cluster: Cluster) -> None:
    seen: list[bool] = []

    def still() -> bool:
        seen.append(OBJECT in cluster.objects)
        return False
    for made, data in ((plan(version(DATA)), DATA), (plan(*slo()), WHOLE)):
        outcome = Writer(cluster, clock=FakeClock(NOW)).run(made, stream(data), still)
        assert (outcome.kind, outcome.reason) == ('failed', CHANGED)
        assert cluster.objects == {}
        assert is_ours(cluster.tombstones[OBJECT])
    assert seen == [True, True], 'it is asked too early to notice everything'


def test_what_a_user_wrote_over_a_restore_is_not_taken_back(cluster: Cluster) -> None:
    def still() -> bool:
        cluster.write(OBJECT, b'new', later(Timestamp(NOW)))
        return False
    Writer(cluster, clock=FakeClock(NOW)).run(plan(version(DATA)), stream(DATA), still)
    assert cluster.objects[OBJECT].data == b'new'


# -- what comes back ---------------------------------------------------------------------

@pytest.mark.parametrize('data', [DATA, b'', b'x'])
def test_a_plain_object_is_back_with_its_time_and_marks(cluster: Cluster, data: bytes) -> None:
    cluster.tombstones[OBJECT] = archived()
    assert run(cluster, plan(version(data, user_metadata={'färg': 'Blå'})), data) == Outcome('restored',
                                                                                            bytes=len(data))
    stored = cluster.objects[OBJECT]
    assert (stored.data, without_marker(stored.data_time)) == (data, WRITTEN)
    assert is_ours(stored.data_time)
    assert stored.headers['x-object-meta-färg'] == 'Blå'
    assert {RESTORED_HEADER, RESTORED_FROM_HEADER} <= set(stored.headers)


def test_an_slo_is_back_with_its_segments_and_their_marks(cluster: Cluster) -> None:
    outcome = restore_slo(cluster)
    assert outcome.kind == 'restored', outcome.detail
    assert cluster.read(OBJECT) == WHOLE
    assert segments(cluster) == {'p/0', 'p/1', 'p/2'}
    for stored in cluster.objects.values():
        assert is_ours(stored.data_time) and stored.headers[RESTORED_FROM_HEADER] == ORIGIN.generation


def test_a_dlo_is_back_with_its_segments(cluster: Cluster) -> None:
    assert restore_slo(cluster, 'dlo').kind == 'restored'
    assert cluster.read(OBJECT) == WHOLE
    assert cluster.objects[OBJECT].data == b''


def test_a_big_object_is_back_in_segments_of_ours(cluster: Cluster) -> None:
    data = some_bytes(2345)
    assert run(cluster, plan(version(data)), data) == Outcome('restored', bytes=2345)
    assert cluster.read(OBJECT) == data
    assert [entry['bytes'] for entry in json.loads(cluster.objects[OBJECT].data)] == [300] * 7 + [245]


def test_manifests_are_written_last(cluster: Cluster) -> None:
    restore_slo(cluster)
    assert cluster.puts[-1] == OBJECT


def test_segments_that_are_here_are_neither_read_nor_written(cluster: Cluster) -> None:
    for n in (0, 2):
        cluster.containers.add('segs')
        cluster.write(('segs', f'p/{n}'), PARTS[n], later(WRITTEN, -10))
    opened: list[int] = []

    def opener(first: int) -> Iterator[bytes]:
        opened.append(first)
        return chunks(WHOLE[first:])
    assert run(cluster, plan(*slo()), RangeSource(opener)).kind == 'restored'
    assert cluster.read(OBJECT) == WHOLE
    assert cluster.puts == [('segs', 'p/1'), OBJECT]
    assert opened == [300]


def test_a_stream_is_read_on_over_segments_that_are_here(cluster: Cluster) -> None:
    cluster.containers.add('segs')
    cluster.write(('segs', 'p/1'), PARTS[1], later(WRITTEN, -10))
    outcome = restore_slo(cluster)
    assert outcome.kind == 'restored', outcome.detail
    assert cluster.read(OBJECT) == WHOLE


def test_one_request_serves_all_segments_that_are_missing(cluster: Cluster) -> None:
    opened: list[int] = []

    def opener(first: int) -> Iterator[bytes]:
        opened.append(first)
        return chunks(WHOLE[first:])
    run(cluster, plan(*slo()), RangeSource(opener))
    assert opened == [0]


def test_a_segment_that_another_restore_just_brought_is_written_again_so_that_its_failure_takes_nothing_away(
        cluster: Cluster) -> None:
    cluster.containers.add('segs')
    cluster.write(('segs', 'p/1'), PARTS[1], archived(counter=int(NOW) - 5),
                  **{RESTORED_HEADER: Timestamp(NOW - 5).internal})
    outcome = restore_slo(cluster)
    assert outcome.kind == 'restored', outcome.detail
    assert cluster.remove(('segs', 'p/1'), archived(counter=int(NOW) - 4)) == 409


# -- what stands against it --------------------------------------------------------------

def test_our_own_delete_never_stands_against_it(cluster: Cluster) -> None:
    cluster.tombstones[OBJECT] = archived(counter=int(NOW) + 1000)
    assert run(cluster, plan(version(DATA)), DATA).kind == 'restored'


def test_a_segment_that_was_archived_later_than_its_manifest_is_back_too(cluster: Cluster) -> None:
    cluster.tombstones['segs', 'p/1'] = archived(later(WRITTEN), int(NOW) + 5)
    outcome = restore_slo(cluster)
    assert outcome.kind == 'restored', outcome.detail
    assert cluster.read(OBJECT) == WHOLE
    assert without_marker(cluster.objects['segs', 'p/1'].data_time) == later(WRITTEN)


def test_the_same_version_being_there_is_no_failure(cluster: Cluster) -> None:
    cluster.write(OBJECT, DATA, archived(counter=int(NOW) + 50))
    assert run(cluster, plan(version(DATA)), DATA) == Outcome('already')


def test_a_user_s_newer_write_stays(cluster: Cluster) -> None:
    cluster.write(OBJECT, b'new', later(WRITTEN))
    assert run(cluster, plan(version(DATA)), DATA) == Outcome('newer')
    assert cluster.objects[OBJECT].data == b'new'


def test_a_user_s_newer_metadata_stays(cluster: Cluster) -> None:
    cluster.write(OBJECT, DATA, archived(counter=int(NOW) + 9), x_object_meta_new='yes')
    cluster.objects[OBJECT].meta_time = later(WRITTEN)
    assert run(cluster, plan(version(DATA)), DATA) == Outcome('newer')
    cluster.objects[OBJECT].data_time = WRITTEN
    assert run(cluster, plan(version(DATA, user_metadata={'old': '1'})), DATA).kind == 'restored'
    stored = cluster.objects[OBJECT]
    assert (stored.headers.get('x-object-meta-new'), stored.headers.get('x-object-meta-old')) == ('yes', None)


def test_a_write_newer_than_ours_stays_though_the_source_is_dated_in_the_future(cluster: Cluster) -> None:
    made = plan(version(DATA, data_time=Timestamp(NOW + 9999)))
    cluster.write(OBJECT, b'new', Timestamp(NOW + 1))
    assert run(cluster, made, DATA) == Outcome('newer')


def test_a_user_s_delete_stays_and_its_time_is_told(cluster: Cluster) -> None:
    cluster.tombstones[OBJECT] = later(WRITTEN)
    assert run(cluster, plan(version(DATA)), DATA) == Outcome('deleted', time=later(WRITTEN))
    assert OBJECT not in cluster.objects


def test_a_version_older_than_the_archived_one_is_not_brought_back(cluster: Cluster) -> None:
    cluster.tombstones[OBJECT] = archived(later(WRITTEN))
    outcome = run(cluster, plan(version(DATA)), DATA)
    assert (outcome.kind, outcome.reason) == ('failed', 'older-than-archived')
    assert OBJECT not in cluster.objects


@pytest.mark.parametrize('meanwhile', ['write', 'delete'])
def test_what_a_user_did_while_segments_were_written_wins_and_they_go(cluster: Cluster, meanwhile: str) -> None:
    def act(method: str, container: str, name: str) -> None:
        if (container, name) == OBJECT:
            cluster.fault = lambda *_: None
            if meanwhile == 'write':
                cluster.write(OBJECT, b'new', later(WRITTEN))
            else:
                cluster.remove(OBJECT, later(WRITTEN))
    cluster.fault = act
    data = some_bytes(1301)
    assert run(cluster, plan(version(data)), data).kind == {'write': 'newer', 'delete': 'deleted'}[meanwhile]
    assert segments(cluster) == set()


def test_a_user_s_new_manifest_keeps_the_segments_that_it_found(cluster: Cluster) -> None:
    def act(method: str, container: str, name: str) -> None:
        if (container, name) == OBJECT:
            cluster.fault = lambda *_: None
            cluster.write(OBJECT, b'a manifest perhaps', later(WRITTEN))
    cluster.fault = act
    assert restore_slo(cluster) == Outcome('newer')
    assert segments(cluster) == {'p/0', 'p/1', 'p/2'}


@pytest.mark.parametrize('when', ['before', 'after'])
def test_a_second_restore_that_fails_never_breaks_what_the_first_one_brought(cluster: Cluster, when: str) -> None:
    data = some_bytes(1301)
    second = plan(version(data), now=NOW + 5)
    state = {'failing': True}

    def first() -> None:
        cluster.fault = lambda *_: None
        assert run(cluster, plan(version(data), now=NOW + 7), data).kind == 'restored'

    def act(method: str, container: str, name: str) -> object:
        if (container, name) == OBJECT and method == 'PUT' and state.pop('failing', None):
            if when == 'before':
                first()
            return 507
        if method == 'DELETE' and container != 'c' and when == 'after':  # the object was looked for, and not there
            cluster.fault = lambda *_: None
            assert cluster._request('PUT', 'c', 'o', *manifest(plan(version(data), now=NOW + 7), cluster))[0] == 201
        return None
    cluster.fault = act
    assert run(cluster, second, data).reason == 'full'
    if when == 'before':
        assert cluster.read(OBJECT) == data
    else:
        assert OBJECT not in cluster.objects, 'the remote still has it'


def manifest(made: RestorePlan, cluster: Cluster) -> tuple[dict[str, str], list[bytes], dict[str, str]]:
    """The object's PUT of another restore of the same plan."""
    body = json.dumps([{'path': f'/{w.container}/{w.name}'} for w in made.segments]).encode()
    return ({**made.headers, 'x-timestamp': made.stamp.internal, 'content-length': str(len(body))}, [body],
            {'multipart-manifest': 'put'})


def test_another_object_under_a_segment_s_name_ends_it(cluster: Cluster) -> None:
    cluster.containers.add('segs')
    cluster.write(('segs', 'p/1'), b'new', later(WRITTEN))
    outcome = restore_slo(cluster)
    assert (outcome.kind, outcome.reason) == ('failed', 'segment-changed')
    assert set(cluster.objects) == {('segs', 'p/1')}


def test_a_segment_that_a_user_deleted_stays_deleted(cluster: Cluster) -> None:
    cluster.tombstones['segs', 'p/1'] = later(WRITTEN)
    outcome = restore_slo(cluster)
    assert (outcome.kind, outcome.reason) == ('failed', 'segment-deleted')
    assert cluster.objects == {}


def test_own_segments_that_another_process_writes_as_well_do_for_both(cluster: Cluster) -> None:
    data = some_bytes(1200)
    made = plan(version(data))
    cluster.containers.add('c_segments')
    for write in made.segments:
        cluster.write((write.container, write.name), data[write.first:write.first + write.length],
                      Timestamp(write.stamp.normal, offset=write.stamp.offset + 5))
    assert run(cluster, made, data).kind == 'restored'
    assert cluster.read(OBJECT) == data


def test_a_name_that_refuses_without_a_reason_is_given_up(cluster: Cluster) -> None:
    cluster.fault = lambda method, container, name: 202 if method == 'PUT' else None
    assert run(cluster, plan(version(DATA)), DATA).reason == 'refused'


# -- what goes wrong ---------------------------------------------------------------------

def broken(data: bytes, at: int, error: BaseException) -> Iterator[bytes]:
    yield from chunks(data[:at])
    raise error


@pytest.mark.parametrize(('stream_of', 'reason'), [
    (lambda data: chunks(data[:-1]), 'checksum'),
    (lambda data: chunks(data[:-1] + b'\xff'), 'checksum'),
    (lambda data: broken(data, len(data) - 1, ConnectionFailed('reset')), 'connection'),
    (lambda data: broken(data, len(data) - 1, Timeout()), 'body'),
    (lambda data: broken(data, 0, OSError('gone')), 'body')], ids=['short', 'other', 'reset', 'timeout', 'nothing'])
@pytest.mark.parametrize('size', ['plain', 'own', 'slo', 'dlo'])
def test_bytes_that_are_not_right_are_never_stored(cluster: Cluster, size: str, stream_of: Any, reason: str) -> None:
    data = {'plain': DATA, 'own': some_bytes(1301)}.get(size, WHOLE)
    made = plan(version(data)) if size in ('plain', 'own') else plan(*slo(size))
    outcome = run(cluster, made, StreamSource(stream_of(data)))
    assert (outcome.kind, outcome.reason) == ('failed', reason)
    assert cluster.objects == {}


def test_a_plain_object_with_only_a_multipart_etag_is_checked_as_well(cluster: Cluster) -> None:
    etag = multipart_etag([md5(DATA[:400]), md5(DATA[400:])])
    made = plan(version(DATA, etag=etag, etag_is_md5=False, large_object='multipart'), part_bytes=400)
    assert run(cluster, made, DATA[:-1] + b'\xff').reason == 'checksum'
    assert cluster.objects == {}
    assert run(cluster, made, DATA).kind == 'restored'


def test_bytes_that_are_gone_are_not_sent_a_second_time(cluster: Cluster) -> None:
    class Late(Cluster):
        def put(self, container: str, name: str, headers: Any, body: Any, query: Any) -> Any:
            self.puts.append((container, name))
            b''.join(body)
            return 202, {}
    late = Late()
    assert run(late, plan(version(DATA)), DATA) == Outcome('failed', 'refused')
    assert late.puts == [OBJECT]


def test_a_longer_stream_gives_the_bytes_that_were_announced(cluster: Cluster) -> None:
    assert run(cluster, plan(version(DATA)), DATA + b'more').kind == 'restored'
    assert cluster.objects[OBJECT].data == DATA


@pytest.mark.parametrize(('answer', 'reason'), [
    (413, 'too-large'), (422, 'checksum'), (507, 'full'), (403, 'forbidden'), (404, 'no-container'),
    (400, 'rejected'), (503, 'unavailable'), (RuntimeError('x'), 'error'), (Timeout(), 'error')])
@pytest.mark.parametrize('kind', ['plain', 'own', 'slo', 'dlo'])
def test_nothing_is_half_there_whichever_request_fails(kind: str, answer: object, reason: str) -> None:
    """Each request in turn fails, and all after it do their work."""
    data = {'plain': DATA, 'own': some_bytes(1301)}.get(kind, WHOLE)
    made = plan(version(data)) if kind in ('plain', 'own') else plan(*slo(kind))
    for failing in count():
        cluster, asked = Cluster(), count()
        cluster.fault = lambda *request: answer if next(asked) == failing else None  # noqa: B023
        outcome = run(cluster, made, data)
        if outcome.kind == 'restored':
            if next(asked) <= failing:
                break
            assert answer == 404  # to a HEAD of a segment: an answer like any other
            continue
        assert outcome.kind == 'failed'
        assert outcome.reason == reason, outcome
        assert cluster.objects == {}, failing
        assert failing < 50


@pytest.mark.parametrize('lost', [('segs', 'p/1'), OBJECT])
def test_what_was_stored_although_the_answer_was_no_goes_as_well(cluster: Cluster, lost: tuple[str, str]) -> None:
    cluster.lost_answers = {lost}
    assert restore_slo(cluster).reason == 'unavailable'
    assert cluster.objects == {}


def test_a_manifest_that_may_be_there_keeps_its_segments_when_it_cannot_be_removed(
        cluster: Cluster, expected_warnings: Any) -> None:
    expected_warnings('left behind')
    cluster.lost_answers = {OBJECT}
    cluster.fault = lambda method, container, name: 503 if method == 'DELETE' else None
    assert restore_slo(cluster).kind == 'failed'
    assert cluster.read(OBJECT) == WHOLE


def test_segments_that_somebody_wrote_again_are_left_alone(cluster: Cluster) -> None:
    def act(method: str, container: str, name: str) -> object:
        if (method, container, name) == ('PUT', *OBJECT):
            cluster.write(('segs', 'p/0'), b'theirs', later(WRITTEN))
            return 507
        return None
    cluster.fault = act
    assert restore_slo(cluster).reason == 'full'
    assert {path: stored.data for path, stored in cluster.objects.items()} == {('segs', 'p/0'): b'theirs'}


def test_the_source_is_closed_in_every_case(cluster: Cluster) -> None:
    class Closing:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return chunks(DATA)

        def close(self) -> None:
            self.closed += 1
            raise RuntimeError('on top of that')
    for fault in (None, 507, RuntimeError('x')):
        cluster.fault = lambda *_, fault=fault: fault  # type: ignore[misc]
        closing = Closing()
        run(cluster, plan(version(DATA)), StreamSource(closing))
        assert closing.closed == 1


# -- all together ------------------------------------------------------------------------

@given(st.sampled_from(['plain', 'own', 'slo', 'dlo']),
       st.lists(st.tuples(st.integers(0, 12), st.sampled_from([503, 507, 202, 404, 'write', 'delete', 'archive'])),
                max_size=4), st.booleans())
def test_users_win_and_nothing_is_ever_half_there(kind: str, faults: list[tuple[int, object]], again: bool) -> None:
    """Faults and other people's writes at any request; the name then shows the version, theirs, or nothing."""
    data = {'plain': DATA, 'own': some_bytes(1301)}.get(kind, WHOLE)
    cluster, asked, at, theirs = Cluster(), count(), dict(faults), count(1)
    shown: list[bytes | None] = []

    def act(method: str, container: str, name: str) -> object:
        what = at.get(next(asked))
        when = later(WRITTEN, float(next(theirs)))
        if what == 'write':
            cluster.write(OBJECT, b'theirs', when)
            shown.append(b'theirs')
        elif what == 'delete':
            cluster.remove(OBJECT, when)
            shown.append(None)
        elif what == 'archive':
            cluster.tombstones.setdefault(OBJECT, archived())
        return what if isinstance(what, int) else None
    cluster.fault = act
    outcome = Outcome('failed')
    for _ in range(1 + again):
        made = plan(version(data)) if kind in ('plain', 'own') else plan(*slo(kind))
        outcome = Writer(cluster, clock=FakeClock(NOW), logger=logging.getLogger('expected')).run(made, stream(data))
    there = cluster.read(OBJECT) if OBJECT in cluster.objects else None
    if shown:
        assert there == shown[-1]
        assert outcome.kind != 'restored' or there != data or shown[-1] == data
    elif outcome.kind in ('restored', 'already'):
        assert there == data
    else:
        assert there in (None, data)
    if there is None and not again and kind == 'own' and not any(isinstance(what, int) for _, what in faults):
        assert segments(cluster) == set()


def test_a_migration_writes_the_same_names_as_a_restore(cluster: Cluster) -> None:
    data = some_bytes(1301)
    ours = plan(version(data))
    migrated = plan(version(data), origin=Origin('other', migration=True))
    assert [(w.container, w.name) for w in ours.segments] == [(w.container, w.name) for w in migrated.segments]
    assert md5(data) == ours.proof.md5
