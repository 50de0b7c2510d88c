"""Large objects on S3 when things go wrong: every request cut off, answers that lie, uploads that nobody finishes."""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest
from swift.common.utils import Timestamp

from s3_sync.base_sync import NO_CONDITION
from s3_sync.clock import SystemClock
from s3_sync.errors import (
    ChecksumMismatch,
    ConnectionFailed,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    SourceUnavailable,
    TemporaryError,
    Throttled,
    Unproven,
)
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.parts import LIMITS, PartLimits
from s3_sync.providers.s3 import settings
from s3_sync.streams import BytesBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.trial.s3_endpoint import Endpoint, MotoEndpoint, S3Endpoint
from s3_sync.types import ABSENT, Condition, ObjectMeta, PutResult
from s3_sync.wire.keys import KeyScheme
from test.fakes.large_source import MemoryLargeSource, Name, segment
from test.fakes.s3_mapping import s3_mapping
from test.servers.fault_proxy import Answer, FaultProxy, LoseAnswer, ResetRequest, throttled

MEBIBYTE = 1024 ** 2
TIME = Timestamp(1_600_000_000.5)
LATER = Timestamp(1_600_000_600.5)
SCHEME = KeyScheme('AUTH_test', 'c')
PART = r'[?&]partNumber='
COMPLETE = r'\?uploadId='
MANIFEST = r'/\.manifests/'
NOTE = r'/\.pending/'
SMALL_PARTS = PartLimits(part_bytes=5 * MEBIBYTE, max_bytes=10 * MEBIBYTE)
INTERNAL_ERROR = b'<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>try again</Message></Error>'


class Hasty(SystemClock):
    """Waits for nothing, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def film(seed: int = 0) -> MemoryLargeSource:
    """Three segments that are parts of their own."""
    held: dict[Name, bytes] = {
        ('film_segments', f'film/{n}'): bytes([(seed + n) % 256]) * size
        for n, size in enumerate((5 * MEBIBYTE, 5 * MEBIBYTE + 1, 1000))}
    return MemoryLargeSource(held, [segment(held, *name) for name in held], chunk_bytes=256 * 1024)


def meta_of(large: MemoryLargeSource, **changes: Any) -> ObjectMeta:
    kind = large.layout.kind
    return ObjectMeta(**{
        'name': 'film', 'size': large.layout.size, 'etag': large.layout.etag, 'source_etag': large.layout.etag,
        'etag_is_md5': False, 'data_time': TIME, 'large_object': None if kind == 'plain' else kind, **changes})


def part_etag(large: MemoryLargeSource) -> str:
    return multipart_etag([piece.md5 for piece in large.layout.pieces])


class Scene:
    """One bucket behind a fault proxy, and whoever works on it."""

    def __init__(self, endpoint: Endpoint, bucket: str, proxy: FaultProxy, stack: ExitStack) -> None:
        self.endpoint = endpoint
        self.bucket = bucket
        self.proxy = proxy
        self.stack = stack
        self.clock = Hasty()
        self.client = endpoint.client()
        stack.callback(self.client.close)

    def provider(self, **options: Any) -> SyncS3:
        """What a newly started process has."""
        limits = options.pop('part_limits', LIMITS)
        provider = SyncS3(s3_mapping(
            self.proxy.url, access_key=self.endpoint.access_key, secret_key=self.endpoint.secret_key,
            bucket=self.bucket, remote={'conditional_put': 'always'}, **options), clock=self.clock, part_limits=limits)
        self.stack.callback(provider.close)
        return provider

    def send(self, large: MemoryLargeSource, provider: SyncS3 | None = None, condition: Condition = NO_CONDITION,
             **changes: Any) -> PutResult:
        return (provider or self.provider()).upload_large_object(large, meta_of(large, **changes), condition=condition)

    def keys(self) -> set[str]:
        return {o['Key'] for o in self.client.list_objects_v2(Bucket=self.bucket).get('Contents', ())}

    def uploads(self) -> list[str]:
        return [u['UploadId'] for u in self.client.list_multipart_uploads(Bucket=self.bucket).get('Uploads', ())]

    def data(self) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=SCHEME.key('film'))['Body'].read())

    def cut_off_at(self, number: int, *, done: bool) -> None:
        """From the n-th request on nobody hears from the store any more; ``done``: the n-th itself takes effect."""
        if done:
            self.proxy.fail(LoseAnswer(), nth=number)
        self.proxy.fail(ResetRequest(), nth=number, times=None)

    def parts_sent(self) -> int:
        return self.proxy.count('PUT', PART)


@pytest.fixture
def make_scene(fresh_name: Callable[[str], str]) -> Iterator[Callable[[Endpoint], Scene]]:
    with ExitStack() as stack:
        def make(endpoint: Endpoint) -> Scene:
            proxy = stack.enter_context(FaultProxy(endpoint.url))
            return Scene(endpoint, endpoint.make_bucket(fresh_name('film')), proxy, stack)
        yield make


@pytest.fixture
def scene(make_scene: Callable[[Endpoint], Scene], s3: S3Endpoint) -> Scene:
    return make_scene(s3)


@pytest.fixture
def aws_like(make_scene: Callable[[Endpoint], Scene], moto: MotoEndpoint) -> Scene:
    return make_scene(moto)


# -- what is stored ------------------------------------------------------------------------------


def test_an_slo_is_one_object_of_its_segments_with_the_stored_manifest_beside_it(scene: Scene) -> None:
    large = film()
    result = scene.send(large, user_metadata={'color': 'red'}, content_type='video/mp4')
    assert result.etag == part_etag(large)
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}
    assert scene.uploads() == []
    found = scene.client.get_object(Bucket=scene.bucket, Key=SCHEME.manifest_key('film'))
    assert found['Body'].read() == large.layout.manifest
    assert found['ContentType'] == 'application/json'
    assert found['Metadata'] == {'1space-etag': large.layout.etag, '1space-copy-etag': result.etag}
    told = scene.client.head_object(Bucket=scene.bucket, Key=SCHEME.key('film'))
    assert told['ETag'] == f'"{result.etag}"'
    assert told['Metadata']['x-static-large-object'] == 'True'
    head = scene.provider().head_object('film')
    assert (head.large_object, head.source_etag, dict(head.user_metadata)) == ('slo', large.layout.etag, {
        'color': 'red'})


def test_a_dlo_is_real_data_and_tells_its_prefix(scene: Scene) -> None:
    held: dict[Name, bytes] = {('segs', f'größe/{n}'): b'x' * 10 for n in range(3)}
    large = MemoryLargeSource(held, [segment(held, *name) for name in held], kind='dlo', prefix='segs/größe/')
    scene.send(large)
    assert scene.data() == b'x' * 30
    told = scene.client.head_object(Bucket=scene.bucket, Key=SCHEME.key('film'))
    assert told['Metadata']['x-object-manifest'] == 'segs/gr%C3%B6%C3%9Fe/'
    assert told['ETag'].endswith('-1"')
    body = scene.client.get_object(Bucket=scene.bucket, Key=SCHEME.manifest_key('film'))['Body'].read()
    assert [entry['name'] for entry in json.loads(body)] == [f'/segs/größe/{n}' for n in range(3)]
    head = scene.provider().head_object('film')
    assert (head.large_object, dict(head.user_metadata), head.size) == ('dlo', {}, 30)


def test_a_too_large_plain_object_has_no_manifest_and_takes_an_old_one_away(scene: Scene) -> None:
    scene.send(film())
    held = {('c', 'film'): b'y' * 1000}
    plain = MemoryLargeSource(held, [segment(held, 'c', 'film')], kind='plain')
    scene.send(plain, data_time=LATER)
    assert scene.keys() == {SCHEME.key('film')}
    head = scene.provider().head_object('film')
    assert (head.large_object, head.content_md5) == ('multipart', plain.layout.etag)
    scene.provider().prove(meta_of(plain, data_time=LATER), large=plain)


def test_settings_and_large_metadata_go_with_an_upload_in_parts(aws_like: Scene) -> None:
    many = {f'k{i}': chr(97 + i) * 200 for i in range(15)}
    options = {'storage_class': 'STANDARD_IA', 'tags': {'team': 'a b'}, 'encryption': 'AES256'}
    aws_like.send(film(), aws_like.provider(**options), user_metadata=many, headers={'cache-control': 'no-cache'})
    told = aws_like.client.head_object(Bucket=aws_like.bucket, Key=SCHEME.key('film'))
    assert (told['StorageClass'], told['ServerSideEncryption'], told['CacheControl']) == (
        'STANDARD_IA', 'AES256', 'no-cache')
    tags = aws_like.client.get_object_tagging(Bucket=aws_like.bucket, Key=SCHEME.key('film'))['TagSet']
    assert tags == [{'Key': 'team', 'Value': 'a b'}]
    assert dict(aws_like.provider().head_object('film').user_metadata) == many
    assert SCHEME.side_key('film') in set(aws_like.keys())
    aws_like.send(film(1), aws_like.provider(), data_time=LATER, user_metadata=many)
    provider = aws_like.provider()
    provider.head_object('film')
    aws_like.send(film(2), provider, data_time=LATER)
    assert aws_like.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


def test_a_deleted_object_leaves_no_manifest(scene: Scene) -> None:
    provider = scene.provider()
    scene.send(film(), provider)
    assert provider.delete_object('film') is True
    assert scene.keys() == set()
    scene.send(film(), provider)
    assert provider.delete_objects(['film']) == {'film': None}
    assert scene.keys() == set()


# -- cut off between any two requests ---------------------------------------------------------------


def requests_of_a_whole_upload(scene: Scene) -> int:
    scene.send(film())
    count = len(scene.proxy.requests)
    scene.provider().delete_object('film')
    scene.proxy.clear()
    return count


@pytest.mark.parametrize('done', [False, True], ids=['before', 'after'])
def test_killed_at_any_request_the_next_process_sends_only_what_is_missing(scene: Scene, done: bool) -> None:
    large = film()
    foreign = [scene.client.create_multipart_upload(Bucket=scene.bucket, Key=key)['UploadId']
               for key in (SCHEME.key('film'), SCHEME.key('film') + 'x', 'elsewhere')]
    old = film(100)
    count = requests_of_a_whole_upload(scene)
    assert count == 11
    for number in range(1, count + 1):
        scene.send(old)
        scene.proxy.clear()
        scene.cut_off_at(number, done=done)
        try:
            scene.send(large, data_time=LATER)
            cut = False
        except ConnectionFailed:
            cut = True
        sent = sum(request.status == 200 and 'partNumber' in request.path for request in scene.proxy.requests)
        scene.proxy.clear()

        provider = scene.provider()
        head = provider.head_object('film')
        relation = provider.relation(large, head)
        meta = meta_of(large, data_time=LATER)
        if relation != 'same':
            assert cut
            assert scene.data() == old.data, 'the old version is not whole any more'
            provider.prove(meta_of(old), large=old)
            provider.upload_large_object(large, meta)
            assert scene.parts_sent() <= 3 - sent
        else:
            provider.ensure_manifest(large, meta)
            assert scene.parts_sent() == 0
        assert scene.data() == large.data
        provider.prove(meta, large=large)

        provider.sweep_uploads(0)
        assert sorted(scene.uploads()) == sorted(foreign), f'cut off at request {number}'
        assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}
        provider.delete_object('film')


def test_parts_made_of_several_segments_are_read_again_but_not_sent_again(scene: Scene) -> None:
    held: dict[Name, bytes] = {('s', f'{n:03}'): bytes([n]) * MEBIBYTE for n in range(70)}
    large = MemoryLargeSource(held, [segment(held, *name) for name in held], chunk_bytes=MEBIBYTE)
    scene.proxy.fail(ResetRequest(), method='PUT', path=r'partNumber=2&', times=None)
    with pytest.raises(ConnectionFailed):
        scene.send(large)
    scene.proxy.clear()
    result = scene.send(large)
    assert [r.path.partition('partNumber=')[2][0] for r in scene.proxy.requests if 'partNumber' in r.path] == ['2']
    assert hashlib.md5(scene.data()).hexdigest() == hashlib.md5(large.data).hexdigest()
    # Another process finds the ETag recorded, and needs no data.
    large.opened.clear()
    scene.provider().prove(meta_of(large), large=large)
    assert large.opened == []
    # Without the record the local data is the evidence.
    scene.client.delete_object(Bucket=scene.bucket, Key=SCHEME.manifest_key('film'))
    provider = scene.provider()
    assert provider.ensure_manifest(large, meta_of(large)) is True
    assert provider.prove(meta_of(large), large=large).etag == result.etag
    assert len(large.opened) == 70


def split(data: bytes) -> MemoryLargeSource:
    """One object that is too large for one part."""
    held = {('c', 'film'): data}
    return MemoryLargeSource(held, [segment(held, 'c', 'film')], kind='plain', chunk_bytes=256 * 1024)


def test_a_split_object_goes_on_where_it_was_cut_off(scene: Scene) -> None:
    large = split(bytes(range(256)) * 4096 * 16)
    scene.proxy.fail(ResetRequest(), method='PUT', path=r'partNumber=3&', times=None)
    with pytest.raises(ConnectionFailed):
        scene.send(large, scene.provider(part_limits=SMALL_PARTS))
    scene.proxy.clear()
    scene.send(large, scene.provider(part_limits=SMALL_PARTS))
    assert scene.parts_sent() == 2
    assert scene.data() == large.data


def test_parts_of_a_source_that_changed_meanwhile_are_not_taken(scene: Scene) -> None:
    """A range cannot tell another object of the same size: what an earlier try sent is compared with what is here."""
    large, wrong = split(b'1' * (16 * MEBIBYTE)), b'2' * (16 * MEBIBYTE)
    right, large.objects['c', 'film'] = large.objects['c', 'film'], wrong
    scene.proxy.fail(ResetRequest(), method='PUT', path=r'partNumber=3&', times=None)
    with pytest.raises(ConnectionFailed):
        scene.send(large, scene.provider(part_limits=SMALL_PARTS))
    scene.proxy.clear()
    with pytest.raises(SourceUnavailable):
        scene.send(large, scene.provider(part_limits=SMALL_PARTS))
    assert all('/.pending/' in key for key in sorted(scene.keys()))
    scene.proxy.clear()
    large.objects['c', 'film'] = right
    scene.send(large, scene.provider(part_limits=SMALL_PARTS))
    assert scene.parts_sent() == 4
    assert scene.data() == right


# -- answers that are no success -----------------------------------------------------------------------


def test_a_part_waits_as_long_as_it_is_asked_to(scene: Scene) -> None:
    scene.proxy.fail(throttled(503, retry_after=3), method='PUT', path=r'partNumber=2&')
    scene.send(film())
    assert len(scene.clock.slept) == 1 and 3 <= scene.clock.slept[0] <= 3.25
    assert scene.parts_sent() == 4
    scene.proxy.clear()
    scene.proxy.fail(throttled(503, retry_after=60), method='PUT', path=r'partNumber=2&')
    with pytest.raises(Throttled) as caught:
        scene.send(film(1), data_time=LATER)
    assert caught.value.retry_after == 60


def test_a_part_that_fails_on_its_last_try_leaves_the_others_for_the_next_call(scene: Scene) -> None:
    old, large = film(50), film()
    scene.send(old)
    scene.proxy.clear()
    scene.proxy.fail(Answer(500, {}, INTERNAL_ERROR), method='PUT', path=r'partNumber=2&', times=None)
    with pytest.raises(TemporaryError):
        scene.send(large, data_time=LATER)
    assert scene.proxy.count('PUT', r'partNumber=2&') == 4
    assert scene.proxy.count('DELETE', COMPLETE) == 0
    assert scene.data() == old.data
    scene.proxy.clear()
    scene.send(large, data_time=LATER)
    assert scene.parts_sent() == 2
    assert scene.data() == large.data


def test_a_part_that_is_refused_for_good_ends_the_upload(scene: Scene) -> None:
    scene.proxy.fail(Answer(400, {}, b'<Error><Code>InvalidRequest</Code></Error>'), method='PUT', path=PART, nth=2)
    with pytest.raises(PermanentError):
        scene.send(film())
    assert scene.proxy.count('PUT', r'partNumber=2&') == 1
    assert scene.uploads() == []
    assert scene.keys() == set()


def test_an_upload_that_cannot_be_ended_is_remembered_for_the_sweep(scene: Scene) -> None:
    scene.proxy.fail(Answer(400, {}, b'<Error><Code>InvalidRequest</Code></Error>'), method='PUT', path=PART, nth=2)
    scene.proxy.fail(Answer(403, {}, b'<Error><Code>AccessDenied</Code></Error>'), method='DELETE', times=None)
    with pytest.raises(PermanentError):
        scene.send(film())
    provider = scene.provider()
    assert provider.sweep_uploads(0) == 0
    assert len(scene.uploads()) == 1
    scene.proxy.clear()
    assert provider.sweep_uploads(0) == 1
    assert (scene.uploads(), scene.keys()) == ([], set())


def test_a_wrong_etag_for_a_part_is_never_completed(scene: Scene) -> None:
    old, large = film(50), film()
    scene.send(old)
    scene.proxy.clear()
    wrong = Answer(200, {'ETag': '"' + '0' * 32 + '"'})
    rule = scene.proxy.fail(wrong, method='PUT', path=r'partNumber=2&')
    scene.send(large, data_time=LATER)
    assert (rule.hits, scene.data() == large.data) == (1, True)
    scene.send(old)
    scene.proxy.clear()
    scene.proxy.fail(wrong, method='PUT', path=r'partNumber=2&', times=None)
    with pytest.raises(ChecksumMismatch):
        scene.send(large, data_time=LATER)
    assert scene.proxy.count('POST', COMPLETE) == 0
    assert scene.data() == old.data


def test_completing_answered_with_an_error_in_a_success_is_tried_again(scene: Scene) -> None:
    old, large = film(50), film()
    scene.send(old)
    scene.proxy.clear()
    scene.proxy.fail(Answer(200, {}, b'  \n' + INTERNAL_ERROR), method='POST', path=COMPLETE, times=None)
    with pytest.raises(TemporaryError):
        scene.send(large, data_time=LATER)
    assert scene.proxy.count('POST', COMPLETE) == 4
    assert scene.data() == old.data
    scene.proxy.clear()
    scene.proxy.fail(Answer(200, {}, INTERNAL_ERROR), method='POST', path=COMPLETE)
    scene.proxy.fail(Answer(200, {}, b''), method='POST', path=COMPLETE)
    assert scene.send(large, data_time=LATER).etag == part_etag(large)
    assert (scene.parts_sent(), scene.proxy.count('POST', COMPLETE)) == (0, 3)
    assert scene.data() == large.data


def test_a_lost_answer_to_completing_is_found_to_be_a_success(scene: Scene) -> None:
    large = film()
    scene.proxy.fail(LoseAnswer(), method='POST', path=COMPLETE)
    assert scene.send(large, condition=ABSENT).etag == part_etag(large)
    assert scene.data() == large.data
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


def test_a_version_with_other_metadata_is_not_taken_for_the_one_just_completed(scene: Scene) -> None:
    """The same bytes at the same ETag, but of an older version: a failed completion is none."""
    large = film()
    scene.send(large)
    scene.proxy.clear()
    scene.proxy.fail(Answer(500, {}, INTERNAL_ERROR), method='POST', path=COMPLETE, times=None)
    with pytest.raises(TemporaryError):
        scene.send(large, data_time=LATER)
    assert scene.provider().head_object('film').data_time == TIME


def test_a_manifest_that_fails_after_the_data_arrived_is_repaired_by_the_next_call(scene: Scene) -> None:
    large = film()
    scene.proxy.fail(Answer(500, {}, INTERNAL_ERROR), method='PUT', path=MANIFEST, times=None)
    with pytest.raises(TemporaryError):
        scene.send(large)
    scene.proxy.clear()
    provider = scene.provider()
    assert provider.relation(large, provider.head_object('film')) == 'same'
    with pytest.raises(Unproven):
        provider.prove(meta_of(large), large=large)
    assert provider.ensure_manifest(large, meta_of(large)) is True
    assert provider.ensure_manifest(large, meta_of(large)) is False
    provider.prove(meta_of(large), large=large)
    assert scene.parts_sent() == 0


@pytest.mark.parametrize('damage', [b'', b'[]', b'\0' * 100])
def test_a_manifest_of_another_version_proves_nothing_and_is_repaired(aws_like: Scene, damage: bytes) -> None:
    large, provider = film(), aws_like.provider()
    written = aws_like.send(large, provider)
    key = SCHEME.manifest_key('film')
    other = damage[:len(large.layout.manifest)] if damage != b'\0' * 100 else b'\0' * len(large.layout.manifest)
    aws_like.client.put_object(Bucket=aws_like.bucket, Key=key, Body=other)
    with pytest.raises(Unproven):
        provider.prove(meta_of(large), large=large, written=written)
    assert provider.ensure_manifest(large, meta_of(large)) is True
    provider.prove(meta_of(large), large=large)


def test_an_etag_recorded_for_another_version_proves_nothing(scene: Scene) -> None:
    """Somebody wrote over the object, but the manifest still tells what our upload was answered."""
    held: dict[Name, bytes] = {('s', f'{n}'): bytes([n]) * 1000 for n in range(3)}
    large = MemoryLargeSource(held, [segment(held, *name) for name in held])
    provider = scene.provider()
    scene.send(large, provider)
    told = scene.client.head_object(Bucket=scene.bucket, Key=SCHEME.key('film'))
    scene.client.put_object(Bucket=scene.bucket, Key=SCHEME.key('film'), Body=b'z' * 3000,
                            Metadata=told['Metadata'], ContentType=told['ContentType'])
    with pytest.raises(Unproven):
        provider.prove(meta_of(large), large=large)


# -- conditions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('which', ['scene', 'aws_like'])
def test_a_write_that_came_between_is_not_overwritten_and_costs_no_second_upload(
        request: pytest.FixtureRequest, which: str) -> None:
    scene: Scene = request.getfixturevalue(which)
    large, provider = film(), scene.provider()
    key = SCHEME.key('film')
    scene.client.put_object(Bucket=scene.bucket, Key=key, Body=b'theirs')
    with pytest.raises(PreconditionFailed):
        scene.send(large, provider, condition=ABSENT)
    scene.client.put_object(Bucket=scene.bucket, Key=key, Body=b'newer')
    with pytest.raises(PreconditionFailed):
        scene.send(large, provider, condition=Condition(if_match=hashlib.md5(b'theirs').hexdigest()))
    assert scene.data() == b'newer'
    scene.send(large, provider, condition=Condition(if_match=hashlib.md5(b'newer').hexdigest()))
    assert scene.data() == large.data
    assert scene.parts_sent() == 3


def test_a_refused_upload_never_touches_the_winner_s_large_metadata(scene: Scene) -> None:
    theirs = {f'k{i}': chr(97 + i) * 200 for i in range(15)}
    ours = {f'k{i}': chr(65 + i) * 200 for i in range(15)}
    scene.send(film(), user_metadata=theirs)
    scene.proxy.clear()
    with pytest.raises(PreconditionFailed):
        scene.send(film(1), condition=ABSENT, user_metadata=ours)
    assert scene.proxy.count('PUT', r'/\.metadata/') == 0
    assert dict(scene.provider().head_object('film').user_metadata) == theirs


def test_an_upload_begun_with_older_metadata_is_ended_and_not_used(scene: Scene) -> None:
    large = film()
    scene.proxy.fail(ResetRequest(), method='POST', path=COMPLETE, times=None)
    with pytest.raises(ConnectionFailed):
        scene.send(large, user_metadata={'color': 'red'})
    scene.proxy.clear()
    before = scene.uploads()
    scene.send(large, user_metadata={'color': 'blue'}, meta_time=LATER)
    assert scene.parts_sent() == 3
    assert (len(before), scene.uploads()) == (1, [])
    assert dict(scene.provider().head_object('film').user_metadata) == {'color': 'blue'}
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


def test_a_newer_version_s_upload_is_left_alone(scene: Scene) -> None:
    scene.proxy.fail(ResetRequest(), method='POST', path=COMPLETE, times=None)
    with pytest.raises(ConnectionFailed):
        scene.send(film(1), data_time=LATER)
    scene.proxy.clear()
    scene.send(film())
    assert len(scene.uploads()) == 1
    scene.proxy.clear()
    scene.send(film(1), data_time=LATER)
    assert scene.parts_sent() == 0


def test_an_upload_ended_by_somebody_else_is_begun_again_by_the_next_call(scene: Scene) -> None:
    large = film()
    scene.proxy.fail(ResetRequest(), method='PUT', path=r'partNumber=3&', times=None)
    with pytest.raises(ConnectionFailed):
        scene.send(large)
    scene.proxy.clear()
    scene.client.abort_multipart_upload(Bucket=scene.bucket, Key=SCHEME.key('film'), UploadId=scene.uploads()[0])
    scene.send(large)
    assert scene.parts_sent() == 3
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


# -- sweeping ----------------------------------------------------------------------------------------------


def test_only_uploads_of_ours_that_nobody_goes_on_with_are_ended(scene: Scene) -> None:
    other = scene.provider(container='other')
    foreign = scene.client.create_multipart_upload(Bucket=scene.bucket, Key=SCHEME.key('film'))['UploadId']
    scene.client.upload_part(Bucket=scene.bucket, Key=SCHEME.key('film'), UploadId=foreign, PartNumber=1, Body=b'x')
    scene.proxy.fail(ResetRequest(), method='POST', path=COMPLETE, times=None)
    for provider in (scene.provider(), other):
        with pytest.raises(ConnectionFailed):
            scene.send(film(), provider)
    scene.proxy.clear()
    assert len(scene.uploads()) == 3
    assert scene.provider().sweep_uploads(3600) == 0
    assert scene.provider().sweep_uploads(0) == 1
    assert len(scene.uploads()) == 2
    assert other.sweep_uploads(0) == 1
    assert scene.uploads() == [foreign]
    assert scene.keys() == set()


def test_an_upload_whose_id_never_came_is_begun_once_and_swept(scene: Scene) -> None:
    provider = scene.provider()
    scene.send(film(), provider)  # so that there is a connection to use again
    scene.proxy.clear()
    scene.proxy.fail(LoseAnswer(), method='POST', path=r'\?uploads=')
    with pytest.raises(ConnectionFailed):
        scene.send(film(1), provider, data_time=LATER)
    assert len(scene.uploads()) == 1
    scene.send(film(1), provider, data_time=LATER)
    assert len(scene.uploads()) == 1
    assert provider.sweep_uploads(0) == 1
    assert scene.uploads() == []
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


def test_a_sweep_goes_on_after_an_upload_that_cannot_be_ended(scene: Scene) -> None:
    scene.proxy.fail(ResetRequest(), method='POST', path=COMPLETE, times=None)
    for name in ('one', 'two', 'three'):
        with pytest.raises(ConnectionFailed):
            scene.send(film(), name=name)
    scene.proxy.clear()
    scene.proxy.fail(Answer(500, {}, INTERNAL_ERROR), method='DELETE', path=r'/two\?', times=None)
    assert scene.provider().sweep_uploads(0) == 2
    assert len(scene.uploads()) == 1
    scene.proxy.clear()
    assert scene.provider().sweep_uploads(0) == 1
    assert scene.keys() == set()


def test_a_note_that_is_none_of_ours_is_left_alone(scene: Scene) -> None:
    key = SCHEME.upload_key('film', '0af')
    for body in (b'garbage', b'[]', b'{}', b'{"name": 1, "version": 2}'):
        scene.client.put_object(Bucket=scene.bucket, Key=key, Body=body)
        assert scene.provider().sweep_uploads(0) == 0
        assert scene.keys() == {key}


# -- what others left ------------------------------------------------------------------------------------------


def test_a_copy_of_the_predecessor_is_known_and_proven_without_a_byte_being_read(scene: Scene) -> None:
    large, key = film(), SCHEME.key('film')
    upload = scene.client.create_multipart_upload(
        Bucket=scene.bucket, Key=key, ContentType='video/mp4',
        Metadata={'color': 'red', 'x-static-large-object': 'True'})['UploadId']
    parts = []
    for number, piece in enumerate(large.layout.pieces, 1):
        etag = scene.client.upload_part(Bucket=scene.bucket, Key=key, UploadId=upload, PartNumber=number,
                                        Body=large.objects[piece.container, piece.name])['ETag']
        parts.append({'PartNumber': number, 'ETag': etag})
    scene.client.complete_multipart_upload(Bucket=scene.bucket, Key=key, UploadId=upload,
                                           MultipartUpload={'Parts': parts})
    provider = scene.provider()
    head = provider.head_object('film')
    meta = meta_of(large, user_metadata={'color': 'red'}, content_type='video/mp4')
    assert (head.data_time, provider.relation(large, head)) == (None, 'same')
    assert provider.comparable(head) == provider.comparable(meta)
    # Its manifest PUT had failed, and it never noticed.
    with pytest.raises(Unproven):
        provider.prove(meta, large=large)
    assert provider.ensure_manifest(large, meta) is True
    provider.prove(meta, large=large)
    scene.client.put_object(Bucket=scene.bucket, Key=SCHEME.manifest_key('film'), Body=large.layout.manifest,
                            ContentType='application/json')
    assert provider.ensure_manifest(large, meta) is False
    provider.prove(meta, large=large)
    assert large.opened == []


# -- ordinary objects instead --------------------------------------------------------------------------------


def plain_meta(data: bytes) -> ObjectMeta:
    return ObjectMeta('film', len(data), hashlib.md5(data).hexdigest(), data_time=LATER)


def test_an_ordinary_object_takes_the_manifest_of_the_large_one_away(scene: Scene) -> None:
    scene.send(film())
    provider = scene.provider()
    etag = provider.head_object('film').etag
    provider.upload_object(BytesBody(b'data'), plain_meta(b'data'), condition=Condition(if_match=etag))
    assert scene.keys() == {SCHEME.key('film')}
    # Nobody looked, but the condition tells as much.
    written = scene.send(film())
    scene.provider().upload_object(BytesBody(b'data'), plain_meta(b'data'), condition=Condition(if_match=written.etag))
    assert scene.keys() == {SCHEME.key('film')}


@pytest.mark.parametrize('number', [1, 2, 3, 4])
@pytest.mark.parametrize('done', [False, True], ids=['before', 'after'])
def test_a_manifest_is_taken_away_also_when_that_was_cut_off(scene: Scene, number: int, done: bool) -> None:
    large = film()
    written = scene.send(large)
    provider = scene.provider()
    scene.proxy.clear()
    scene.cut_off_at(number, done=done)
    with suppress(ProviderError):
        provider.upload_object(BytesBody(b'data'), plain_meta(b'data'), condition=Condition(if_match=written.etag))
    scene.proxy.clear()
    scene.provider().sweep_uploads(0)
    if scene.data() == b'data':
        assert scene.keys() == {SCHEME.key('film')}
    else:
        scene.provider().prove(meta_of(large), large=large)
        assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


# -- metadata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('which', ['scene', 'aws_like'])
def test_metadata_changes_without_data_and_the_etag_stays(request: pytest.FixtureRequest, which: str) -> None:
    scene: Scene = request.getfixturevalue(which)
    large = film()
    provider = scene.provider(storage_class='STANDARD_IA', tags={'team': 'a b'})
    written = scene.send(large, provider, user_metadata={'color': 'red'})
    large.opened.clear()
    meta = meta_of(large, user_metadata={'color': 'blue'}, content_type='text/x', meta_time=LATER,
                   headers={'content-language': 'de'})
    assert provider.update_metadata(meta, provider.head_object('film')).etag == written.etag
    assert large.opened == []
    head = provider.head_object('film')
    assert (head.etag, head.large_object, head.storage_class) == (written.etag, 'slo', 'STANDARD_IA')
    assert provider.comparable(head) == provider.comparable(meta)
    tags = scene.client.get_object_tagging(Bucket=scene.bucket, Key=SCHEME.key('film'))['TagSet']
    assert tags == [{'Key': 'team', 'Value': 'a b'}]
    assert scene.data() == large.data
    provider.prove(meta, large=large)
    assert scene.uploads() == []
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}


def test_metadata_is_changed_for_the_version_that_was_looked_at_only(aws_like: Scene) -> None:
    provider = aws_like.provider()
    aws_like.send(film(), provider)
    seen = provider.head_object('film')
    other = film(7)
    aws_like.send(other, provider, data_time=LATER)
    with pytest.raises((PreconditionFailed, ProviderError)):
        provider.update_metadata(meta_of(film(), user_metadata={'color': 'blue'}), seen)
    head = provider.head_object('film')
    assert (head.data_time, dict(head.user_metadata)) == (LATER, {})
    assert aws_like.data() == other.data
    assert aws_like.uploads() == []


@pytest.mark.parametrize('done', [False, True], ids=['before', 'after'])
def test_a_metadata_change_that_is_cut_off_leaves_one_version_or_the_other(aws_like: Scene, done: bool) -> None:
    scene, large = aws_like, film()
    scene.send(large, user_metadata={'color': 'red'})
    changed = meta_of(large, user_metadata={'color': 'blue'}, meta_time=LATER)
    number, whole = 0, False
    while not whole:
        number += 1
        provider = scene.provider()
        head = provider.head_object('film')
        scene.proxy.clear()
        scene.cut_off_at(number, done=done)
        try:
            provider.update_metadata(changed, head)
            whole = not any(request.faulted for request in scene.proxy.requests)
        except ProviderError:
            pass
        scene.proxy.clear()
        provider = scene.provider()
        head = provider.head_object('film')
        color = dict(head.user_metadata)['color']
        provider.prove(changed if color == 'blue' else meta_of(large, user_metadata={'color': 'red'}), large=large)
        if color == 'blue':
            provider.update_metadata(meta_of(large, user_metadata={'color': 'red'}), head)
        provider.sweep_uploads(0)
        assert scene.uploads() == [] and scene.data() == large.data
    assert number > 10


# -- opaque ETags --------------------------------------------------------------------------------------------------


def test_where_etags_tell_nothing_the_recorded_one_is_the_proof(aws_like: Scene) -> None:
    held: dict[Name, bytes] = {('s', f'{n}'): bytes([n]) * 1000 for n in range(3)}
    large = MemoryLargeSource(held, [segment(held, *name) for name in held])
    options = {'encryption': 'aws:kms', 'kms_key_id': 'key-1'}
    provider = aws_like.provider(**options)
    written = aws_like.send(large, provider)
    large.opened.clear()
    provider.prove(meta_of(large), large=large, written=written)
    aws_like.provider(**options).prove(meta_of(large), large=large)
    changed = meta_of(large, user_metadata={'color': 'blue'}, meta_time=LATER)
    provider.update_metadata(changed, provider.head_object('film'))
    aws_like.provider(**options).prove(changed, large=large)
    assert large.opened == []


# -- Google ----------------------------------------------------------------------------------------------------------


def as_google(scene: Scene) -> SyncS3:
    """Google's ways, told to a store that has Amazon's."""
    mapping = s3_mapping(scene.proxy.url, access_key=scene.endpoint.access_key, secret_key=scene.endpoint.secret_key,
                         bucket=scene.bucket, remote={'conditional_put': 'never'})
    endpoint = replace(settings.make_endpoint(mapping), flavour='google')
    client = settings.make_client(mapping, endpoint, max_connections=4, clock=scene.clock)
    scene.stack.callback(client.close)
    return SyncS3(mapping, client=client)


def test_google_gets_one_stream_that_tells_the_manifest_s_md5(aws_like: Scene) -> None:
    scene, large = aws_like, film()
    provider = as_google(scene)
    written = scene.send(large, provider, user_metadata={'color': 'red'})
    assert written.etag == hashlib.md5(large.data).hexdigest()
    assert scene.proxy.count('POST') == 0
    assert scene.keys() == {SCHEME.key('film'), SCHEME.manifest_key('film')}
    told = scene.client.head_object(Bucket=scene.bucket, Key=SCHEME.key('film'))['Metadata']
    assert told['swift-slo-etag'] == hashlib.md5(large.layout.manifest).hexdigest()
    head = provider.head_object('film')
    assert (head.large_object, provider.relation(large, head)) == ('slo', 'same')
    assert provider.relation(large, replace(head, source_etag='')) == 'same'  # as the predecessor left it

    changed = meta_of(large, user_metadata={'color': 'blue'}, meta_time=LATER)
    large.opened.clear()
    provider.update_metadata(changed, head)
    told = scene.client.head_object(Bucket=scene.bucket, Key=SCHEME.key('film'))['Metadata']
    assert told['swift-slo-etag'] == hashlib.md5(large.layout.manifest).hexdigest()
    as_google(scene).prove(changed, large=large)
    assert large.opened == []
    scene.client.delete_object(Bucket=scene.bucket, Key=SCHEME.manifest_key('film'))
    provider.ensure_manifest(large, changed)
    provider.prove(changed, large=large)
    assert len(large.opened) == 3, 'the ETag is not recorded any more: the local data has to make it'


def test_a_stream_to_google_that_breaks_off_is_sent_again_from_its_beginning(aws_like: Scene) -> None:
    large = film()
    aws_like.proxy.fail(ResetRequest(after=3 * MEBIBYTE), method='PUT', path=r'/film$')
    aws_like.send(large, as_google(aws_like))
    assert aws_like.data() == large.data
    large.broken['film_segments', 'film/1'] = 100, SourceUnavailable('the disk went away')
    with pytest.raises(SourceUnavailable):
        aws_like.send(large, as_google(aws_like), data_time=LATER)
    assert aws_like.provider().head_object('film').data_time == TIME


# -- many at once ------------------------------------------------------------------------------------------------------


GREEN = '''
from s3_sync.concurrency import monkey_patch
monkey_patch()
import hashlib, resource, sys
from swift.common.utils import Timestamp
from s3_sync.large_objects.manifest import flatten, logical_size, slo_etag, stored_manifest
from s3_sync.large_objects.model import Layout, Segment
from s3_sync.streams import CHUNK_BYTES, StreamBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.types import ObjectMeta
from test.fakes.s3_mapping import s3_mapping
url, access, secret, bucket = sys.argv[1:]
size, chunk = 8 * 1024 ** 2, b'x' * CHUNK_BYTES
md5 = hashlib.md5(chunk * (size // len(chunk))).hexdigest()
segments = tuple(Segment('s', str(number), md5, size, 0, size) for number in range(32))
open_now, most = set(), 0

class Large:
    layout = Layout('slo', segments, flatten(segments), slo_etag(segments), logical_size(segments),
                    stored_manifest(segments))

    def open(self, piece):
        def chunks():
            global most
            open_now.add(piece.name)
            most = max(most, len(open_now))
            try:
                for _ in range(size // len(chunk)):
                    yield bytes(chunk)
            finally:
                open_now.remove(piece.name)
        return StreamBody(chunks, size, md5)

provider = SyncS3(s3_mapping(url, access_key=access, secret_key=secret, bucket=bucket))
layout = Large.layout
meta = ObjectMeta('o', layout.size, source_etag=layout.etag, data_time=Timestamp(1.6e9), large_object='slo')
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
provider.upload_large_object(Large(), meta)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
assert provider.head_object('o').size == layout.size
assert 2 <= most <= 4, most
assert grown < 48, f'{grown} MiB for an object of {layout.size >> 20}'
provider.close()
print('green')
'''


def test_several_parts_travel_at_once_in_bounded_memory(s3: S3Endpoint, bucket: str) -> None:
    done = subprocess.run([sys.executable, '-W', 'error::ResourceWarning', '-c', GREEN, s3.url, s3.access_key,
                           s3.secret_key, bucket], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == 'green', done.stderr


def test_a_missing_object_is_unproven(scene: Scene) -> None:
    large = film()
    with pytest.raises(Unproven):
        scene.provider().prove(meta_of(large), large=large)
    with pytest.raises(NotFound):
        scene.provider().head_object('film')
