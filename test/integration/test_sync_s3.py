"""Swift to S3, as the predecessor did it and as it did not: the daemon as a process, real servers on both sides."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.keys import KeyScheme
from test.servers.fault_proxy import FaultProxy
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping

MakeDaemon = Callable[..., SyncDaemon]


@pytest.fixture
def daemon(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> Iterator[MakeDaemon]:
    """A daemon with one mapping of ``container`` to ``bucket``; keys of the mapping as arguments."""
    made: list[SyncDaemon] = []

    def make(**keys: object) -> SyncDaemon:
        made.append(SyncDaemon(swift, [s3_mapping(s3, container, bucket, **keys)], processes=2))
        return made[-1]
    yield make
    for one in made:
        one.close()


class Remote:
    """What lies in the bucket, by object name."""

    def __init__(self, client: Any, bucket: str, scheme: KeyScheme) -> None:
        self.client, self.bucket, self.scheme = client, bucket, scheme

    def names(self) -> set[str]:
        pages = self.client.get_paginator('list_objects_v2').paginate(Bucket=self.bucket)
        keys = {entry['Key'] for page in pages for entry in page.get('Contents', [])}
        return {key.removeprefix(self.scheme.prefix) for key in keys}

    def get(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.scheme.key(name))['Body'].read())

    def head(self, name: str) -> Any:
        return self.client.head_object(Bucket=self.bucket, Key=self.scheme.key(name))


@pytest.fixture
def remote(s3_client: Any, bucket: str, container: str) -> Remote:
    return Remote(s3_client, bucket, KeyScheme('AUTH_test', container, None))


def test_put_post_and_delete_travel(daemon: MakeDaemon, remote: Remote, swift_client: Connection,
                                    container: str) -> None:
    data = b'x' * 100_000
    swift_client.put_object(container, 'größe/ü', data, content_type='text/plain; charset=utf-8', headers={
        'X-Object-Meta-Colour': 'Blåu', 'Content-Encoding': 'identity', 'Cache-Control': 'max-age=3',
        'Content-Disposition': 'attachment; filename="a b"', 'Content-Language': 'sv'})
    swift_client.put_object(container, 'gone', b'soon')
    sync = daemon()
    sync.once()
    assert remote.names() == {'größe/ü', 'gone'}
    assert remote.get('größe/ü') == data
    head = remote.head('größe/ü')
    assert head['ETag'] == f'"{hashlib.md5(data).hexdigest()}"'
    assert (head['ContentType'], head['CacheControl'], head['ContentEncoding'], head['ContentLanguage']) == (
        'text/plain; charset=utf-8', 'max-age=3', 'identity', 'sv')
    assert head['ContentDisposition'] == 'attachment; filename="a b"'
    assert head['Metadata']['colour'] == '=?UTF-8?B?QmzDpXU=?='

    swift_client.post_object(container, 'größe/ü', {'X-Object-Meta-Size': 'Large'})
    swift_client.delete_object(container, 'gone')
    sync.once()
    assert remote.names() == {'größe/ü'}
    metadata = remote.head('größe/ü')['Metadata']
    assert metadata['size'] == 'Large' and 'colour' not in metadata
    assert remote.get('größe/ü') == data


def test_a_second_run_asks_the_remote_nothing(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str,
                                              swift_client: Connection,
                                              fault_proxy: Callable[[str], FaultProxy]) -> None:
    proxy = fault_proxy(s3.url)
    for i in range(10):
        swift_client.put_object(container, f'o{i}', b'data')
    mapping = s3_mapping(s3, container, bucket) | {'aws_endpoint': proxy.url}
    with SyncDaemon(swift, [mapping]) as sync:
        sync.once()
        puts = [r for r in proxy.requests if r.method == 'PUT' and '/o' in r.path]
        assert len(puts) == 10
        assert not [r for r in proxy.requests if r.method == 'HEAD' and '.1space' not in r.path]
        before = len(proxy.requests)
        sync.once()
        assert len(proxy.requests) == before


def test_the_running_daemon_sends_a_change_at_once_and_stops_when_told(
        daemon: MakeDaemon, remote: Remote, swift_client: Connection, container: str) -> None:
    sync = daemon()
    sync.start()
    swift_client.put_object(container, 'o', b'one')
    eventually(lambda: remote.names() == {'o'}, 'the object at the remote')
    swift_client.put_object(container, 'o', b'two')
    eventually(lambda: remote.get('o') == b'two', 'the new version at the remote')
    assert sync.stop() == 0


def test_after_kill_9_the_rest_is_sent_and_nothing_twice(daemon: MakeDaemon, remote: Remote,
                                                         swift_client: Connection, container: str) -> None:
    for i in range(300):
        swift_client.put_object(container, f'o{i:03}', f'{i}'.encode())
    sync = daemon(max_requests_per_second=100)
    sync.start()
    eventually(lambda: len(remote.names()) > 20, 'some objects at the remote')
    sync.kill9()
    sync.once()
    assert remote.names() == {f'o{i:03}' for i in range(300)}
    assert all(remote.get(f'o{i:03}') == f'{i}'.encode() for i in range(0, 300, 50))


def test_a_wrong_key_fails_loudly_and_loses_nothing(daemon: MakeDaemon, remote: Remote, s3: S3Endpoint,
                                                    swift_client: Connection, container: str, bucket: str) -> None:
    for i in range(30):
        swift_client.put_object(container, f'o{i:02}', b'data')
    sync = daemon(aws_secret='wrong-secret-value')
    said = sync.once(expect=3)
    assert 'forbidden' in said and 'wrong-secret-value' not in said
    assert remote.names() == set()
    sync.configure([s3_mapping(s3, container, bucket)])
    sync.once(expect=None)
    with sync.ledger() as ledger:
        ledger.retry()
    sync.once()
    assert len(remote.names()) == 30


def test_copy_after_waits_without_failing_or_holding_others(daemon: MakeDaemon, remote: Remote,
                                                            swift_client: Connection, container: str) -> None:
    swift_client.put_object(container, 'young', b'data')
    sync = daemon(copy_after=15)
    sync.once()
    assert list(sync.failures().values()) == [('deferred', 'copy-after')]
    assert remote.names() == set()
    sync.start()
    eventually(lambda: remote.names() == {'young'}, 'the object when it is due')
    assert sync.stop() == 0
