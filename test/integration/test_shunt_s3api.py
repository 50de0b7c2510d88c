"""S3 clients of Swift's own s3api, which stands left of the shunt and looks for containers past it."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from s3_sync.trial.s3_endpoint import S3Endpoint, s3_client
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.merged import SHUNT, MergedWorld, merged_world
from test.servers.sync_daemon import eventually, s3_mapping

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

PART = 5 * 2 ** 20
SPARE = 30
NAMES = ['a', 'a-b', 'a/1', 'a/2', 'a/b/3', 'b', 'dir/x', 'dir0', 'm n', 'z+ü ☃']
Fresh = Callable[[str], str]


class Stage:
    """``shunt`` and ``plain`` are the two proxies' S3 APIs, ``store`` is the remote's own."""

    def __init__(self, world: MergedWorld, s3: S3Endpoint, stack: ExitStack) -> None:
        self.world, self.s3 = world, s3
        self.spare = [s3.make_bucket(f'spare-{number}') for number in range(SPARE)]
        """Buckets for tests to take, all seen by the shunt."""
        self.store: Any = stack.enter_context(closing(s3.client()))
        self.shunt: Any = stack.enter_context(closing(_client(world.cluster, SHUNT)))
        self.plain: Any = stack.enter_context(closing(_client(world.cluster, 0)))

    def configure(self, **keys: object) -> None:
        entry = {**s3_mapping(self.s3, '', '/*'), 'restore_object': False, **keys}
        del entry['container']
        self.world.cluster.write_shunt_config({'migrations': [entry]})
        self.world.cluster.restart_proxy(SHUNT)

    def put(self, bucket: str, *names: str) -> None:
        for name in names:
            self.store.put_object(Bucket=bucket, Key=name, Body=name.encode(), ContentType='text/plain',
                                  Metadata={'color': 'green'})


def _client(cluster: SwiftCluster, proxy: int) -> Any:
    return s3_client(cluster.proxy_url(proxy), cluster.user, cluster.key)


def code(call: Callable[[], object]) -> int:
    """The status of what fails."""
    with pytest.raises(ClientError) as failed:
        call()
    return int(failed.value.response['ResponseMetadata']['HTTPStatusCode'])


def keys(page: dict[str, Any]) -> tuple[list[str], list[str]]:
    return ([entry['Key'] for entry in page.get('Contents', [])],
            [entry['Prefix'] for entry in page.get('CommonPrefixes', [])])


@pytest.fixture(scope='module')
def stage(s3: S3Endpoint) -> Iterator[Stage]:
    with merged_world(s3) as world, ExitStack() as stack:
        made = Stage(world, s3, stack)
        made.configure()
        made.shunt.list_buckets()  # the first request of a process has it begin
        eventually(lambda: all(_there(made.plain, bucket) for bucket in made.spare), 'all buckets are seen')
        yield made


@pytest.fixture
def bucket(stage: Stage) -> str:
    """An empty bucket of the store whose container has been made here."""
    return stage.spare.pop()


def _there(client: Any, bucket: str) -> bool:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError:
        return False
    return True


# -- buckets ----------------------------------------------------------------------------------------

def test_buckets_of_the_remote_are_buckets_here(stage: Stage, bucket: str, fresh_name: Fresh) -> None:
    unseen = stage.s3.make_bucket(fresh_name('unseen'))
    names = [entry['Name'] for entry in stage.shunt.list_buckets()['Buckets']]
    assert {bucket, unseen} <= set(names)
    assert names == sorted(names)
    assert code(lambda: stage.shunt.head_bucket(Bucket=fresh_name('nowhere'))) == 404
    assert code(lambda: stage.plain.head_bucket(Bucket=unseen)) == 404


def test_a_bucket_with_remote_objects_is_not_deleted_and_an_empty_one_stays_deleted(stage: Stage, bucket: str) -> None:
    stage.put(bucket, 'name')
    assert code(lambda: stage.shunt.delete_bucket(Bucket=bucket)) == 409
    stage.shunt.delete_object(Bucket=bucket, Key='name')
    stage.shunt.delete_bucket(Bucket=bucket)
    assert code(lambda: stage.shunt.head_bucket(Bucket=bucket)) == 404
    assert bucket not in [entry['Name'] for entry in stage.shunt.list_buckets()['Buckets']]
    stage.store.head_object(Bucket=bucket, Key='name')


# -- listings -----------------------------------------------------------------------------------------

@pytest.mark.parametrize('options', [
    {}, {'MaxKeys': 1}, {'MaxKeys': 3}, {'Delimiter': '/'}, {'Delimiter': '/', 'MaxKeys': 1},
    {'Delimiter': '/', 'MaxKeys': 2}, {'Prefix': 'a/'}, {'Prefix': 'a', 'Delimiter': '/', 'MaxKeys': 2},
    {'Prefix': 'nothing'}, {'Delimiter': '/', 'Prefix': 'dir/'}])
@pytest.mark.parametrize('version', ['list_objects', 'list_objects_v2'])
def test_pages_of_a_merged_bucket_are_those_of_one_that_is_all_here(
        stage: Stage, bucket: str, fresh_name: Fresh, version: str, options: dict[str, Any]) -> None:
    whole = fresh_name('whole')
    stage.plain.create_bucket(Bucket=whole)
    for number, name in enumerate(NAMES):
        stage.plain.put_object(Bucket=whole, Key=name, Body=name.encode())
        if number % 3:
            stage.put(bucket, name)
        if not number % 2:
            stage.plain.put_object(Bucket=bucket, Key=name, Body=name.encode())
        elif not number % 3:
            stage.put(bucket, name)

    def pages(client: Any, of: str) -> list[tuple[list[str], list[str]]]:
        return [keys(page) for page in client.get_paginator(version).paginate(Bucket=of, **options)]
    assert pages(stage.shunt, bucket) == pages(stage.plain, whole)


def test_a_listing_tells_size_and_etag_of_what_is_only_at_the_remote(stage: Stage, bucket: str) -> None:
    stage.put(bucket, 'name')
    entry = stage.shunt.list_objects_v2(Bucket=bucket)['Contents'][0]
    assert (entry['Size'], entry['ETag']) == (4, f'"{hashlib.md5(b"name", usedforsecurity=False).hexdigest()}"')


# -- objects --------------------------------------------------------------------------------------------

def test_get_head_and_ranges_of_what_is_only_at_the_remote(stage: Stage, bucket: str) -> None:
    stage.put(bucket, 'some ü ☃ name')
    where = {'Bucket': bucket, 'Key': 'some ü ☃ name'}
    found = stage.shunt.get_object(**where)
    assert found['Body'].read() == 'some ü ☃ name'.encode()
    assert (found['Metadata'], found['ContentType']) == ({'color': 'green'}, 'text/plain')
    head, there = stage.shunt.head_object(**where), stage.store.head_object(**where)
    assert (head['ETag'], head['ContentLength'], head['LastModified']) == (
        there['ETag'], there['ContentLength'], there['LastModified'])
    part = stage.shunt.get_object(**where, Range='bytes=1-3')
    assert (part['Body'].read(), part['ContentRange']) == (b'ome', 'bytes 1-3/16')
    assert stage.shunt.get_object(**where, Range='bytes=-4')['Body'].read() == b'name'
    assert code(lambda: stage.shunt.get_object(**where, Range='bytes=100-')) == 416
    assert code(lambda: stage.shunt.get_object(**where, IfNoneMatch=head['ETag'])) == 304
    assert code(lambda: stage.shunt.get_object(**where, IfMatch='"other"')) == 412
    assert stage.shunt.get_object(**where, IfMatch=head['ETag'])['Body'].read() == 'some ü ☃ name'.encode()
    assert code(lambda: stage.plain.head_object(**where)) == 404


def test_a_copy_of_what_is_only_at_the_remote_is_here(stage: Stage, bucket: str) -> None:
    stage.put(bucket, 'source')
    stage.shunt.copy_object(Bucket=bucket, Key='copy', CopySource={'Bucket': bucket, 'Key': 'source'})
    copy = stage.plain.get_object(Bucket=bucket, Key='copy')
    assert (copy['Body'].read(), copy['Metadata']) == (b'source', {'color': 'green'})


def test_deletes_single_and_many_hide_what_the_remote_keeps(stage: Stage, bucket: str) -> None:
    stage.put(bucket, *NAMES)
    stage.shunt.delete_object(Bucket=bucket, Key='a')
    stage.shunt.delete_object(Bucket=bucket, Key='never there')
    gone = ['a-b', 'z+ü ☃', 'never either']
    answer = stage.shunt.delete_objects(Bucket=bucket, Delete={'Objects': [{'Key': name} for name in gone]})
    assert {entry['Key'] for entry in answer['Deleted']} == set(gone)
    assert 'Errors' not in answer
    left = [name for name in NAMES if name not in ('a', *gone)]
    assert keys(stage.shunt.list_objects_v2(Bucket=bucket))[0] == left
    assert code(lambda: stage.shunt.head_object(Bucket=bucket, Key='z+ü ☃')) == 404
    assert len(keys(stage.store.list_objects_v2(Bucket=bucket))[0]) == len(NAMES)


def test_what_was_deleted_can_be_put_again(stage: Stage, bucket: str) -> None:
    stage.put(bucket, 'name')
    stage.shunt.delete_object(Bucket=bucket, Key='name')
    stage.shunt.put_object(Bucket=bucket, Key='name', Body=b'new')
    assert stage.shunt.get_object(Bucket=bucket, Key='name')['Body'].read() == b'new'
    assert keys(stage.shunt.list_objects(Bucket=bucket))[0] == ['name']


# -- multipart ------------------------------------------------------------------------------------------

def upload(client: Any, bucket: str, key: str, parts: list[bytes]) -> str:
    where = {'Bucket': bucket, 'Key': key}
    upload_id = client.create_multipart_upload(**where, Metadata={'color': 'green'})['UploadId']
    done = [{'PartNumber': number, 'ETag': client.upload_part(
        **where, UploadId=upload_id, PartNumber=number, Body=part)['ETag']} for number, part in enumerate(parts, 1)]
    return str(client.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={'Parts': done})['ETag'])


PARTS = [b'1' * PART, b'2' * 100]
ETAG = '"{}-2"'.format(hashlib.md5(b''.join(
    hashlib.md5(part, usedforsecurity=False).digest() for part in PARTS), usedforsecurity=False).hexdigest())


def test_a_multipart_upload_into_a_bucket_that_nobody_has_asked_for_here(
        stage: Stage, fresh_name: Fresh) -> None:
    bucket = stage.s3.make_bucket(fresh_name('untouched'))
    stage.put(bucket, 'there')
    stage.configure()
    stage.shunt.list_buckets()  # the first request of a process has it begin
    eventually(lambda: _there(stage.plain, bucket), 'the container is made before anybody asks')
    where = {'Bucket': bucket, 'Key': 'large'}
    upload_id = stage.shunt.create_multipart_upload(**where)['UploadId']
    stage.shunt.upload_part(**where, UploadId=upload_id, PartNumber=1, Body=PARTS[0])
    assert [part['Size'] for part in stage.shunt.list_parts(**where, UploadId=upload_id)['Parts']] == [PART]
    assert len(stage.shunt.list_multipart_uploads(Bucket=bucket)['Uploads']) == 1
    stage.shunt.abort_multipart_upload(**where, UploadId=upload_id)
    assert upload(stage.shunt, bucket, 'large', PARTS) == ETAG
    head = stage.shunt.head_object(**where)
    assert (head['ETag'], head['ContentLength']) == (ETAG, PART + 100)
    assert stage.shunt.get_object(**where, Range=f'bytes={PART - 1}-{PART}')['Body'].read() == b'12'
    listed = {entry['Key']: entry['ETag'] for entry in stage.shunt.list_objects_v2(Bucket=bucket)['Contents']}
    assert listed['large'] == ETAG
    assert set(listed) == {'large', 'there'}


def test_a_multipart_object_of_the_remote_keeps_its_etag_and_its_parts(stage: Stage, bucket: str) -> None:
    assert upload(stage.store, bucket, 'large', PARTS) == ETAG
    where = {'Bucket': bucket, 'Key': 'large'}
    head = stage.shunt.head_object(**where)
    assert (head['ETag'], head['ContentLength'], head['Metadata']) == (ETAG, PART + 100, {'color': 'green'})
    assert stage.shunt.get_object(**where, IfMatch=ETAG)['Body'].read() == b''.join(PARTS)
    assert code(lambda: stage.shunt.get_object(**where, IfNoneMatch=ETAG)) == 304
    assert stage.shunt.list_objects_v2(Bucket=bucket)['Contents'][0]['ETag'] == ETAG
    part = stage.shunt.get_object(**where, PartNumber=2)
    assert (part['Body'].read(), part['PartsCount']) == (PARTS[1], 2)


def test_a_multipart_object_that_was_brought_here_keeps_its_etag(stage: Stage, fresh_name: Fresh) -> None:
    bucket = stage.s3.make_bucket(fresh_name('restored'))
    assert upload(stage.store, bucket, 'large', PARTS) == ETAG
    stage.configure(restore_object=True)
    where = {'Bucket': bucket, 'Key': 'large'}
    eventually(lambda: _there(stage.shunt, bucket), 'the bucket is seen')
    assert stage.shunt.get_object(**where)['Body'].read() == b''.join(PARTS)
    eventually(lambda: 'large' in keys(stage.plain.list_objects_v2(Bucket=bucket))[0], 'it is brought here')
    for client in (stage.plain, stage.shunt):
        head = client.head_object(**where)
        assert (head['ETag'], head['ContentLength'], head['Metadata']) == (ETAG, PART + 100, {'color': 'green'})
        assert client.get_object(**where, IfMatch=ETAG)['Body'].read() == b''.join(PARTS)
