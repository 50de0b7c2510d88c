"""The proxy breaks what it is told to break, and nothing else."""
from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError
from swiftclient import Connection
from urllib3.exceptions import IncompleteRead, ProtocolError

from s3_sync.trial.s3_endpoint import S3Endpoint, s3_client
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import (
    Answer,
    Corrupt,
    FaultProxy,
    LoseAnswer,
    ResetRequest,
    ResetResponse,
    Stall,
    Truncate,
    throttled,
)
from test.servers.sync_daemon import eventually

BODY = bytes(range(256)) * 4096


@pytest.fixture
def proxy(fault_proxy: Callable[[str], FaultProxy], s3: S3Endpoint) -> FaultProxy:
    return fault_proxy(s3.url)


@pytest.fixture
def client(proxy: FaultProxy, s3: S3Endpoint) -> Iterator[Any]:
    client = s3_client(proxy.url, s3.access_key, s3.secret_key)
    yield client
    client.close()


def test_signed_requests_pass_and_are_recorded(proxy: FaultProxy, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key='key', Body=BODY)
    assert client.get_object(Bucket=bucket, Key='key')['Body'].read() == BODY
    client.head_object(Bucket=bucket, Key='key')
    client.delete_object(Bucket=bucket, Key='key')
    assert [(r.method, r.path, r.status) for r in proxy.requests] == [
        ('PUT', f'/{bucket}/key', 200), ('GET', f'/{bucket}/key', 200), ('HEAD', f'/{bucket}/key', 200),
        ('DELETE', f'/{bucket}/key', 204)]


def test_chunked_uploads_pass(fault_proxy: Callable[[str], FaultProxy], swift: SwiftCluster, swift_client: Connection,
                              container: str) -> None:
    proxy = fault_proxy(swift.url)
    client = Connection(preauthurl=f'{proxy.url}/v1/{swift.account}', preauthtoken=swift_client.get_auth()[1],
                        retries=0)
    try:
        client.put_object(container, 'chunked', iter([b'one', b'two']))
        assert client.get_object(container, 'chunked')[1] == b'onetwo'
    finally:
        client.close()
    assert proxy.requests[0].headers['transfer-encoding'] == 'chunked'


def test_only_the_named_occurrence_is_hit(proxy: FaultProxy, client: Any, bucket: str) -> None:
    rule = proxy.fail(throttled(503, retry_after=7), method='PUT', path=r'/key$', nth=2)
    client.put_object(Bucket=bucket, Key='key', Body=b'1')
    with pytest.raises(ClientError) as failed:
        client.put_object(Bucket=bucket, Key='key', Body=b'2')
    assert failed.value.response['ResponseMetadata']['HTTPHeaders']['retry-after'] == '7'
    client.put_object(Bucket=bucket, Key='key', Body=b'3')
    assert (rule.hits, proxy.count('PUT')) == (1, 3)
    assert client.get_object(Bucket=bucket, Key='key')['Body'].read() == b'3'


def test_a_reset_request_never_becomes_an_object(proxy: FaultProxy, client: Any, bucket: str) -> None:
    proxy.fail(ResetRequest(after=100_000), method='PUT')
    with pytest.raises((ConnectionClosedError, ClientError, OSError)):
        client.put_object(Bucket=bucket, Key='key', Body=BODY)
    assert client.list_objects_v2(Bucket=bucket)['KeyCount'] == 0
    assert proxy.requests[0].status == 0


def test_a_lost_answer_leaves_the_object_written(proxy: FaultProxy, client: Any, bucket: str) -> None:
    proxy.fail(LoseAnswer(), method='PUT')
    with pytest.raises(ConnectionClosedError):
        client.put_object(Bucket=bucket, Key='key', Body=b'written')
    assert client.get_object(Bucket=bucket, Key='key')['Body'].read() == b'written'


@pytest.mark.parametrize('fault', [ResetResponse(after=70_000), Truncate(after=70_000)])
def test_a_body_cut_short_is_seen_by_the_client(proxy: FaultProxy, client: Any, bucket: str,
                                                fault: ResetResponse | Truncate) -> None:
    client.put_object(Bucket=bucket, Key='key', Body=BODY)
    proxy.fail(fault, method='GET')
    body = client.get_object(Bucket=bucket, Key='key')['Body']
    with pytest.raises((ResponseStreamingError, IncompleteRead, ProtocolError)):
        body.read()
    body.close()


def test_a_corrupt_body_differs_in_one_byte(proxy: FaultProxy, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key='key', Body=BODY)
    proxy.fail(Corrupt(at=500_000), method='GET')
    found = client.get_object(Bucket=bucket, Key='key')['Body'].read()
    assert [position for position in range(len(BODY)) if found[position] != BODY[position]] == [500_000]


def test_a_stall_ends_when_the_proxy_closes(s3: S3Endpoint) -> None:
    with FaultProxy(s3.url) as proxy:
        rule = proxy.fail(Stall(3600))
        parts = urlsplit(proxy.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
        with closing(connection):
            connection.request('GET', '/')
            eventually(lambda: rule.hits == 1, 'the request that is to stall')
            proxy.close()
            with pytest.raises((http.client.HTTPException, OSError)):
                connection.getresponse()


def test_an_answer_of_any_status_reaches_the_client_without_the_server(proxy: FaultProxy, client: Any,
                                                                       bucket: str) -> None:
    proxy.fail(Answer(418, {'x-kind': 'pot'}, b'short'), times=None)
    for _ in range(2):
        with pytest.raises(ClientError) as failed:
            client.put_object(Bucket=bucket, Key='key', Body=BODY)
        assert failed.value.response['ResponseMetadata']['HTTPStatusCode'] == 418
    proxy.clear()
    assert client.list_objects_v2(Bucket=bucket)['KeyCount'] == 0
