"""What is written to have a remote version here again: bytes, times, metadata, names."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.engine.decide import Nothing, Rules, decide
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.manifest import slo_etag
from s3_sync.large_objects.model import Segment
from s3_sync.local.versions import RESTORED_FROM_HEADER, RESTORED_HEADER, SOURCE_TIME_HEADER, meta_of, restored_at
from s3_sync.restoring.names import (
    LISTED_ETAG_HEADER,
    MIGRATOR_TAG,
    REMOTE_ETAG_TAG,
    S3_ETAG_HEADER,
    segment_name,
    segments_container,
)
from s3_sync.restoring.plan import Limits, Origin, RestorePlan, Unrestorable, source_times
from s3_sync.restoring.proof import Mismatch, Proof, Witness, parts_proof
from s3_sync.timestamps import MARKER, RowTimes, is_ours, without_marker
from s3_sync.types import ObjectMeta
from test.unit.restoring.objects import (
    LIMITS,
    NOW,
    ORIGIN,
    WRITTEN,
    layout,
    md5,
    plan,
    some_bytes,
    version,
    whole,
)

DATA = some_bytes(500)
MULTIPART = 'a' * 32 + '-3'


# -- time --------------------------------------------------------------------------------

def test_the_copy_has_the_source_s_newest_time_with_our_marker() -> None:
    made = plan(version(DATA, meta_time=Timestamp(1_650_000_000.5)))
    assert without_marker(made.stamp) == Timestamp(1_650_000_000.5)
    assert is_ours(made.stamp)
    assert made.stamp.offset & 0xffffffff == int(NOW)


def test_the_row_is_known_as_restored_by_this_generation_and_as_the_same_version() -> None:
    made = plan(version(DATA, meta_time=Timestamp(1_650_000_000.5)))
    times = RowTimes(made.stamp, made.stamp, made.stamp)
    headers = dict(made.headers)
    assert restored_at(headers, times) == NOW
    assert headers[RESTORED_FROM_HEADER] == ORIGIN.generation
    assert meta_of('o', {**headers, 'content-length': '500'}, times).data_time == WRITTEN


def test_a_user_s_copy_of_a_restored_object_has_a_time_of_its_own() -> None:
    made = plan(version(DATA, meta_time=Timestamp(1_650_000_000.5)))
    now = Timestamp(NOW)
    assert meta_of('copy', dict(made.headers), RowTimes(now, now, now)).data_time == now


def test_nothing_is_sent_back_for_a_restored_object() -> None:
    remote = version(DATA, meta_time=Timestamp(1_650_000_000.5), etag_is_md5=True)
    made = plan(remote)
    local = meta_of('o', {**made.headers, 'content-length': '500'}, RowTimes(made.stamp, made.stamp, made.stamp))
    rules = Rules(create_only=True, conditional_overwrite=True, optimistic_bytes=0, restored=True,
                  comparable=lambda meta: meta.content_type)
    assert isinstance(decide(local, remote, rules), Nothing)
    assert decide(local, None, rules) == Nothing('restored')


def test_a_time_in_the_future_becomes_now_and_the_source_s_travels_along() -> None:
    future = Timestamp(NOW + 86400)
    made = plan(version(DATA, data_time=future))
    assert float(made.stamp) <= NOW and is_ours(made.stamp)
    assert made.headers[SOURCE_TIME_HEADER] == future.internal
    own = plan(version(some_bytes(2000), data_time=future))
    assert all(float(write.stamp) <= NOW and write.headers[SOURCE_TIME_HEADER] == future.internal
               for write in own.segments)


def test_a_version_that_is_as_old_as_its_copy_says_its_time_once() -> None:
    assert SOURCE_TIME_HEADER not in plan(version(DATA)).headers


@pytest.mark.parametrize(('meta', 'expected'), [
    (ObjectMeta('o', 1, last_modified=1_500_000_000.0), Timestamp(1_500_000_000)),
    (ObjectMeta('o', 1, last_modified=1_500_000_001.0, sysmeta={'x-timestamp': '1500000000.12345'}),
     Timestamp('1500000000.12345')),
    (ObjectMeta('o', 1, last_modified=1_600_000_000.0, data_time=Timestamp(1_500_000_000, offset=MARKER << 32 | 7)),
     Timestamp(1_500_000_000))])
def test_a_version_s_time_is_the_copied_one_then_swift_s_then_the_store_s(meta: ObjectMeta,
                                                                          expected: Timestamp) -> None:
    assert source_times(meta) == (expected, expected, expected)


def test_a_version_without_any_time_is_left_alone() -> None:
    with pytest.raises(Unrestorable) as caught:
        plan(version(DATA, data_time=None))
    assert caught.value.reason == 'no-time'


def test_our_tombstone_of_the_same_version_is_beaten_at_once() -> None:
    tombstone = Timestamp(WRITTEN.normal, offset=MARKER << 32 | int(NOW) + 50)
    assert plan(version(DATA), tombstone=tombstone).stamp > tombstone


def test_a_user_s_tombstone_is_never_outdone() -> None:
    tombstone = Timestamp(WRITTEN.normal + '0', delta=100000)
    assert plan(version(DATA), tombstone=tombstone).stamp < tombstone


# -- metadata ----------------------------------------------------------------------------

def test_metadata_comes_back_as_the_source_had_it_and_none_of_our_keys() -> None:
    made = plan(version(DATA, content_type='image/png', headers={'content-encoding': 'gzip', 'cache-control': 'no'},
                        user_metadata={'färg': 'Blå', 'empty': '', '1space-timestamp': '1', 'swift-slo-etag': 'x',
                                       'combined-etag': 'y'}, delete_at=int(NOW) + 60))
    shown = {k: v for k, v in made.headers.items() if not k.startswith('x-object-sysmeta-')}
    assert shown == {'content-type': 'image/png', 'content-encoding': 'gzip', 'cache-control': 'no',
                     'x-object-meta-färg': 'Blå', 'x-delete-at': str(int(NOW) + 60), 'etag': md5(DATA)}


def test_an_expired_version_is_not_brought_back() -> None:
    with pytest.raises(Unrestorable) as caught:
        plan(version(DATA, delete_at=int(NOW)))
    assert caught.value.reason == 'expired'


@pytest.mark.parametrize('other', [{'user_metadata': {'k': 'a\r\nX-Evil: 1'}}, {'user_metadata': {'k\n': 'v'}},
                                   {'headers': {'cache-control': 'a\nb'}}, {'content_type': 'a\0'}])
def test_metadata_that_could_not_be_a_header_is_never_made_one(other: dict[str, Any]) -> None:
    with pytest.raises(Unrestorable) as caught:
        plan(version(DATA, **other))
    assert caught.value.reason == 'metadata'


def test_a_missing_content_type_is_not_guessed() -> None:
    assert plan(version(DATA, content_type='')).headers['content-type'] == 'application/octet-stream'


def test_s3_clients_keep_seeing_the_etag_of_a_multipart_upload() -> None:
    meta = version(DATA, etag=MULTIPART, etag_is_md5=False, large_object='multipart')
    assert plan(meta).headers[S3_ETAG_HEADER] == MULTIPART
    assert LISTED_ETAG_HEADER not in plan(meta).headers, 'the listing would show an empty MD5'
    known = plan(version(DATA, etag=MULTIPART, large_object='multipart', source_etag=md5(DATA)))
    assert known.headers[LISTED_ETAG_HEADER] == f'{md5(DATA)}; s3_etag={MULTIPART}'
    big = plan(version(some_bytes(2000), etag=MULTIPART, large_object='multipart'))
    assert (big.headers[S3_ETAG_HEADER], big.headers[LISTED_ETAG_HEADER]) == (MULTIPART, f'; s3_etag={MULTIPART}')
    assert S3_ETAG_HEADER not in plan(version(DATA)).headers


def test_migrated_objects_carry_the_migrator_s_tag() -> None:
    migration = Origin('gen', migration=True)
    made = plan(version(DATA, data_time=None, last_modified=1_500_000_000.0), origin=migration)
    assert made.headers[MIGRATOR_TAG] == Timestamp(1_500_000_000).internal
    assert made.headers[RESTORED_HEADER]
    assert MIGRATOR_TAG not in plan(version(DATA)).headers
    big = plan(version(some_bytes(2000), etag=MULTIPART, large_object='multipart'), origin=migration)
    assert big.headers[REMOTE_ETAG_TAG] == MULTIPART
    assert all(MIGRATOR_TAG not in write.headers for write in big.segments), 'they would be taken for the source\'s'


# -- large objects -----------------------------------------------------------------------

def covered(made: RestorePlan) -> list[tuple[int, int]]:
    return [(write.first, write.length) for write in made.segments]


def test_an_slo_of_whole_objects_comes_back_under_their_names() -> None:
    parts = [some_bytes(300, 1), some_bytes(200, 2)]
    made_of = layout([whole('segs', 'b', parts[0]), whole('segs', 'a', parts[1])])
    made = plan(version(b''.join(parts), large_object='slo', etag=made_of.etag, etag_is_md5=False), made_of)
    assert (made.kind, made.headers['etag']) == ('slo', made_of.etag)
    assert [(w.container, w.name, w.md5, w.own) for w in made.segments] == [
        ('segs', 'b', md5(parts[0]), False), ('segs', 'a', md5(parts[1]), False)]
    assert covered(made) == [(0, 300), (300, 200)]
    assert not made.sequential, 'segments that are here are not read'


def test_segments_are_as_old_as_the_data_whatever_was_posted_since() -> None:
    data = some_bytes(300)
    made = plan(version(data, large_object='slo', meta_time=Timestamp(1_650_000_000)),
                layout([whole('segs', 'a', data)]))
    assert without_marker(made.stamp) == Timestamp(1_650_000_000)
    assert without_marker(made.segments[0].stamp) == WRITTEN


def test_an_object_that_an_slo_names_twice_is_written_once() -> None:
    part, other = some_bytes(300, 1), some_bytes(100, 2)
    twice = whole('segs', 'a', part)
    made = plan(version(part + other + part, large_object='slo'), layout([twice, whole('segs', 'b', other), twice]))
    assert covered(made) == [(0, 300), (300, 100)]
    assert [entry.name for entry in made.manifest] == ['a', 'b', 'a']


def test_an_slo_that_s3api_made_shows_its_s3_etag_again() -> None:
    parts = [some_bytes(300, 1), some_bytes(200, 2)]
    made_of = layout([whole('segs', 'b', parts[0]), whole('segs', 'a', parts[1])])
    etag = multipart_etag([md5(part) for part in parts])
    shown = plan(version(b''.join(parts), large_object='slo', etag=etag), made_of).headers
    assert (shown[S3_ETAG_HEADER], shown[LISTED_ETAG_HEADER]) == (etag, f'; s3_etag={etag}')
    assert S3_ETAG_HEADER not in plan(version(b''.join(parts), large_object='slo', etag=MULTIPART), made_of).headers


A, B = some_bytes(300, 1), some_bytes(200, 2)


@pytest.mark.parametrize('segments', [
    [Segment('segs', 'a', md5(A), 300, 0, 299), whole('segs', 'b', A + b'x')],
    [Segment('segs', 'a', 'e' * 32, 300, 0, 300, sub_slo=True), whole('segs', 'b', B)],
    [Segment(etag=md5(A), size=300, length=300, data=A), whole('segs', 'b', B)],
    [whole('c', 'o', A), whole('segs', 'b', B)],
    [whole('segs', 'a', A), Segment('segs', 'a', 'f' * 32, 200, 0, 200)],
    [whole('\0hidden', 'a', A), whole('segs', 'b', B)],
    [whole('segs', 'a', A), whole('segs', 'e', b''), whole('segs', 'b', B)],
    [whole('segs', 'a', A), whole('segs', 'b', B[:-1])],
], ids=['range', 'sub-slo', 'inline', 'itself', 'two-contents', 'hidden', 'empty', 'other-size'])
def test_a_manifest_that_cannot_be_written_like_this_gives_just_its_bytes(segments: list[Segment]) -> None:
    made = plan(version(A + B, large_object='slo', etag='x', etag_is_md5=False), layout(segments))
    assert (made.kind, made.segments, made.size) == ('bytes', (), 500)


def test_a_layout_of_another_version_is_not_believed() -> None:
    made_of = layout([whole('segs', 'a', A), whole('segs', 'b', B)])
    other = layout([whole('segs', 'a', A[::-1]), whole('segs', 'b', B)])
    wrong = type(made_of)('slo', made_of.segments, (), other.etag, 500)
    assert plan(version(A + B, large_object='slo'), wrong).kind == 'bytes'


def test_more_segments_than_the_cluster_takes_are_joined() -> None:
    data = some_bytes(1500)
    made_of = layout([whole('segs', f'{n:02}', data[n * 100:n * 100 + 100]) for n in range(15)])
    made = plan(version(data, large_object='slo'), made_of)
    assert covered(made) == [(at, 300) for at in range(0, 1500, 300)]
    assert made.segments[0].own


def test_a_dlo_comes_back_as_one() -> None:
    made_of = layout([whole('ségs', 'p/1', A), whole('ségs', 'p/2', B)], 'dlo', 'ségs/p/')
    made = plan(version(A + B, large_object='dlo', etag='x', etag_is_md5=False), made_of)
    assert (made.kind, made.headers['x-object-manifest']) == ('dlo', 's%C3%A9gs/p/')
    assert covered(made) == [(0, 300), (300, 200)]
    assert 'etag' not in made.headers


def test_a_dlo_that_lists_something_else_by_now_comes_back_as_its_bytes() -> None:
    made_of = layout([whole('segs', 'p/1', A)], 'dlo', 'segs/p/')
    assert plan(version(A + B, large_object='dlo'), made_of).kind == 'bytes'
    assert plan(version(A + B, large_object='dlo')).kind == 'bytes'


def test_a_dlo_whose_length_nobody_tells_needs_its_listing() -> None:
    silent = version(b'', large_object='dlo')
    with pytest.raises(Unrestorable) as caught:
        plan(silent)
    assert caught.value.reason == 'size-unknown'
    assert plan(silent, layout([whole('segs', 'p/1', A)], 'dlo', 'segs/p/')).size == 300


def test_what_is_too_large_for_one_put_gets_segments_by_the_common_scheme() -> None:
    made = plan(version(some_bytes(1001)))
    assert made.kind == 'slo'
    assert [(w.container, w.name, w.first, w.length) for w in made.segments] == [
        ('c_segments', f'o/1600000000.25000/1001/300/{n:08}', n * 300, length)
        for n, length in enumerate([300, 300, 300, 101])]
    assert made.sequential
    assert made.proof == Proof(1001, md5(some_bytes(1001)))


def test_own_segments_expire_with_their_object() -> None:
    made = plan(version(some_bytes(1001), delete_at=int(NOW) + 9))
    assert {write.headers['x-delete-at'] for write in made.segments} == {str(int(NOW) + 9)}


def test_segments_grow_rather_than_become_too_many() -> None:
    mib = 1024 ** 2
    limits = Limits(max_file_size=64 * mib, segment_bytes=mib, max_segments=10)
    made = plan(ObjectMeta('o', 100 * mib + 1, data_time=WRITTEN), limits=limits)
    assert {write.length for write in made.segments[:-1]} == {11 * mib}
    with pytest.raises(Unrestorable) as caught:
        plan(ObjectMeta('o', 640 * mib + 1, data_time=WRITTEN), limits=limits)
    assert caught.value.reason == 'too-large'


def test_names_of_own_segments_stay_within_swift_s_limits() -> None:
    assert len(segments_container('ü' * 128).encode()) <= 256
    long = {segment_name(prefix + 'ö' * 511, WRITTEN, 10, 5, 0) for prefix in ('a', 'b')}
    assert len(long) == 2 and all(len(name.encode()) <= 1024 for name in long)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(['', 'range', 'sub', 'data'])),
                min_size=1, max_size=14), st.sampled_from(['slo', 'dlo']), st.integers(0, 2000))
def test_the_pieces_of_any_plan_are_the_object_s_bytes(of: list[tuple[int, int, str]], kind: Any, odd: int) -> None:
    segments = []
    for size, seed, what in of:
        data = some_bytes(size, seed)
        segment = whole('segs', f'p/{size}-{seed}', data)
        if what == 'range' and size > 1:
            segment = Segment('segs', 'r', md5(data + b'.'), size + 1, 1, size)
        if what == 'sub':
            segment = Segment('segs', 's', 'e' * 32, size, 0, size, sub_slo=True)
        if what == 'data':
            segment = Segment(etag=md5(data), size=size, length=size, data=data)
        segments.append(segment)
    made_of = layout(segments, kind, 'segs/p/')
    size = made_of.size if odd % 3 else odd
    meta = ObjectMeta('o', size, large_object=kind, etag_is_md5=False, data_time=WRITTEN,
                      sysmeta={'content-length': str(size)})
    made = plan(meta, made_of)
    assert made.size == size or (kind == 'dlo' and not size)
    if made.kind == 'bytes':
        assert size <= LIMITS.max_file_size and not made.segments
        return
    at, found = 0, {(w.container, w.name): w for w in made.segments}
    assert len(found) == len(made.segments)
    entries = made.manifest if made.kind == 'slo' else made_of.segments
    first_seen: set[tuple[str, str]] = set()
    for entry in entries:
        place = (entry.container, entry.name)
        write = found[place]
        assert write.length == entry.length
        if place not in first_seen:
            assert write.first == at
        first_seen.add(place)
        at += entry.length
    assert at == made.size
    assert [w.first for w in made.segments] == sorted(w.first for w in made.segments), 'one pass over the stream'
    if made.kind == 'slo' and not made.segments[0].own:
        assert made.headers['etag'] == slo_etag(made_of.segments)


# -- proof -------------------------------------------------------------------------------

@pytest.mark.parametrize('step', [1, 7, 64, 1000])
@pytest.mark.parametrize('size', [0, 1, 99, 100, 101, 200, 500])
def test_a_multipart_etag_is_computed_again_where_the_part_size_is_told(size: int, step: int) -> None:
    data = some_bytes(size)
    etag = multipart_etag([md5(data[at:at + 100]) for at in range(0, max(size, 1), 100)])
    proof = parts_proof(size, etag, 100)
    for content, right in ((data, True), (data[:-1] + b'\xff', not size)):
        witness = Witness(proof)
        for at in range(0, size, step):
            witness.update(content[at:at + step])
        if right:
            witness.check()
        else:
            with pytest.raises(Mismatch):
                witness.check()


def test_a_part_size_that_is_not_told_is_not_guessed() -> None:
    assert parts_proof(500, MULTIPART, None) == Proof(500)
    assert parts_proof(500, MULTIPART, 100) == Proof(500), 'five parts are no three'
    assert parts_proof(500, 'a' * 32 + '-1', None).part_bytes == 500


@pytest.mark.parametrize(('meta', 'proof'), [
    (version(DATA), Proof(500, md5(DATA))),
    (version(DATA, etag='kms', etag_is_md5=False), Proof(500)),
    (version(DATA, etag='kms', etag_is_md5=False, source_etag=md5(DATA)), Proof(500, md5(DATA))),
    (version(DATA, etag=MULTIPART, large_object='multipart', source_etag=md5(DATA)), Proof(500, md5(DATA))),
    # The source's ETag of an SLO is none of its bytes.
    (version(DATA, etag=MULTIPART, large_object='slo', source_etag='e' * 32), Proof(500)),
    (version(DATA, etag='e' * 32, large_object='slo', etag_is_md5=False), Proof(500)),
    (version(DATA, etag='e' * 32, large_object='dlo', etag_is_md5=False, source_etag='d' * 32), Proof(500)),
    (version(DATA, large_object='slo', source_etag='e' * 32), Proof(500, md5(DATA)))])
def test_only_what_is_an_md5_of_the_bytes_is_taken_for_one(meta: ObjectMeta, proof: Proof) -> None:
    assert plan(meta).proof == proof
    assert plan(meta).headers.get('etag', '') == proof.md5
