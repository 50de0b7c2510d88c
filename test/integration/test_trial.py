"""The trial servers are what they claim to be; every other integration test stands on that."""
from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from swiftclient import ClientException, Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster


def test_a_put_is_read_back_with_ninety_headers_of_unicode(swift_client: Connection, container: str) -> None:
    headers = {f'x-object-meta-key-{number}': 'żółw' for number in range(90)}
    swift_client.put_object(container, 'a/ü', b'hello', headers=headers)
    found, body = swift_client.get_object(container, 'a/ü')
    assert body == b'hello'
    assert headers.items() <= found.items()


@pytest.mark.parametrize('policy, folder', [('gold', 'objects'), ('silver', 'objects-1'), ('pieces', 'objects-2')])
def test_an_object_lies_in_the_folder_of_its_policy(swift: SwiftCluster, swift_client: Connection, container: str,
                                                    policy: str, folder: str) -> None:
    name = f'{container}-{policy}'
    swift_client.put_container(name, headers={'x-storage-policy': policy})
    before = _data_files(swift, folder)
    swift_client.put_object(name, 'object', b'x' * 5000)
    assert _data_files(swift, folder) - before
    assert swift_client.get_object(name, 'object')[1] == b'x' * 5000


def _data_files(swift: SwiftCluster, folder: str) -> set[str]:
    return {str(path) for path in swift.devices().glob(f'*/{folder}/**/*.data')}


def test_the_cluster_is_an_s3_endpoint_too(swift: SwiftCluster, swift_client: Connection, container: str) -> None:
    swift_client.put_object(container, 'object', b'through Swift')
    client = swift.s3_client()
    try:
        assert client.get_object(Bucket=container, Key='object')['Body'].read() == b'through Swift'
    finally:
        client.close()


def test_users_have_only_their_own_account(swift: SwiftCluster, container: str) -> None:
    stranger = swift.client(user='test2:tester2', key='testing2', os_options={'object_storage_url': swift.storage_url})
    try:
        with pytest.raises(ClientException) as refused:
            stranger.get_container(container)
    finally:
        stranger.close()
    assert refused.value.http_status == 403


def test_an_expired_object_is_removed_by_the_expirer(swift: SwiftCluster, swift_client: Connection,
                                                                container: str) -> None:
    swift_client.put_object(container, 'object', b'x', headers={'x-delete-after': '1'})
    swift_client.put_object(container, 'other', b'x')
    while _is_there(swift_client, container, 'object'):
        pass
    swift.expire_objects()
    assert [entry['name'] for entry in swift_client.get_container(container)[1]] == ['other']


def _is_there(client: Connection, container: str, name: str) -> bool:
    try:
        client.head_object(container, name)
    except ClientException as error:
        if error.http_status == 404:
            return False
        raise
    return True


def test_seaweedfs_keeps_its_data_over_stop_and_kill(s3_client: Any, s3: S3Endpoint, bucket: str) -> None:
    s3_client.put_object(Bucket=bucket, Key='first', Body=b'one')
    s3.stop()
    s3.start()
    s3_client.put_object(Bucket=bucket, Key='second', Body=b'two')
    s3.kill9()
    s3.start()
    assert [s3_client.get_object(Bucket=bucket, Key=key)['Body'].read() for key in ('first', 'second')] == [
        b'one', b'two']


def test_the_reader_of_seaweedfs_may_not_write(s3: S3Endpoint, s3_client: Any, bucket: str) -> None:
    s3_client.put_object(Bucket=bucket, Key='key', Body=b'x')
    reader = s3.client(s3.reader_access_key, s3.reader_secret_key)
    try:
        assert reader.get_object(Bucket=bucket, Key='key')['Body'].read() == b'x'
        with pytest.raises(ClientError, match='AccessDenied'):
            reader.put_object(Bucket=bucket, Key='key', Body=b'y')
    finally:
        reader.close()
