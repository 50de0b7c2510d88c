"""Swift to Swift by the daemon itself: large objects of every kind, in its green threads and processes."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from swiftclient import Connection

from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.sync_daemon import SyncDaemon, swift_mapping

MakeDaemon = Callable[..., SyncDaemon]


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    """A client of the remote account."""
    client = swift.client(user='test2:tester2', key='testing2')
    yield client
    client.close()


@pytest.fixture
def target(far: Connection, fresh_name: Callable[[str], str]) -> str:
    name = fresh_name('target')
    far.put_container(name)
    return name


@pytest.fixture
def daemon(swift: SwiftCluster) -> Iterator[MakeDaemon]:
    made: list[SyncDaemon] = []

    def make(*mappings: dict[str, object], **settings: object) -> SyncDaemon:
        made.append(SyncDaemon(swift, mappings, **settings))
        return made[-1]
    yield make
    for one in made:
        one.close()


def put_segments(client: Connection, container: str, prefix: str, *parts: bytes) -> bytes:
    client.put_container(container)
    for number, data in enumerate(parts):
        client.put_object(container, f'{prefix}{number:04}', data)
    return b''.join(parts)


def put_slo(client: Connection, container: str, name: str, *paths: str, **headers: str) -> None:
    client.put_object(container, name, json.dumps([{'path': path} for path in paths]),
                      query_string='multipart-manifest=put', headers=headers)


def blocks(*sizes: int) -> list[bytes]:
    return [bytes([65 + n]) * size for n, size in enumerate(sizes)]


def names(client: Connection, container: str) -> list[str]:
    return [entry['name'] for entry in client.get_container(container, full_listing=True)[1]]


def test_slos_and_dlos_arrive_are_updated_and_go(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        target: str) -> None:
    segments = f'{container}_segments'
    data = put_segments(swift_client, segments, 'ü/', *blocks(3_000_000, 2_000_000, 500, 1_500_000, 70_000, 1))
    paths = [f'/{segments}/ü/{n:04}' for n in range(6)]
    put_slo(swift_client, container, 'slo', *paths, **{'X-Object-Meta-Color': 'Blue'})
    put_slo(swift_client, container, 'again', *reversed(paths))
    put_slo(swift_client, segments, 'inner', *paths[2:5])
    put_slo(swift_client, container, 'nested', f'/{segments}/inner', paths[0])
    video = put_segments(swift_client, segments, 'video/', *blocks(1000, 2000))
    put_segments(swift_client, segments, 'video2/', *blocks(7))
    swift_client.put_object(container, 'dlo', b'', headers={'X-Object-Manifest': f'{segments}/video%2F'})
    sync = daemon(swift_mapping(swift, container, target), processes=2)
    sync.once()
    assert names(far, target) == ['again', 'dlo', 'nested', 'slo']
    for name, body in (('slo', data), ('dlo', video)):
        headers, found = far.get_object(target, name)
        assert found == body
        assert headers['etag'] == swift_client.head_object(container, name)['etag']
    assert far.head_object(target, 'slo')['x-object-meta-color'] == 'Blue'
    for name in ('again', 'nested'):
        assert far.get_object(target, name)[1] == swift_client.get_object(container, name)[1]
    copies = names(far, f'{target}_segments')
    assert sorted(copies) == sorted(['inner', 'video/0000', 'video/0001', *(f'ü/{n:04}' for n in range(6))])
    before = {name: far.head_object(f'{target}_segments', name)['x-timestamp'] for name in copies}
    swift_client.post_object(container, 'slo', headers={'X-Object-Meta-Color': 'Red'})
    swift_client.post_object(container, 'dlo', headers={'X-Object-Meta-Color': 'Red',
                                                        'X-Object-Manifest': f'{segments}/video%2F'})
    sync.once()
    for name, body in (('slo', data), ('dlo', video)):
        headers, found = far.get_object(target, name)
        assert (headers['x-object-meta-color'], found) == ('Red', body)
    assert before == {name: far.head_object(f'{target}_segments', name)['x-timestamp']
                      for name in names(far, f'{target}_segments')}
    for name in ('slo', 'again', 'dlo', 'nested'):
        swift_client.delete_object(container, name)
    sync.once()
    assert names(far, target) == []
    assert names(far, f'{target}_segments') == []


def test_an_account_mapping_brings_manifests_and_segments_in_any_order(
        daemon: MakeDaemon, swift: SwiftCluster, far: Connection, fresh_name: Callable[[str], str]) -> None:
    owner = swift.client(user='admin:admin', key='admin')
    prefix, container = fresh_name('all:'), fresh_name('films')
    try:
        owner.put_container(container)
        data = put_segments(owner, f'{container}_segments', 's/', *blocks(100_000, 50_000, 7))
        put_slo(owner, container, 'slo', *(f'/{container}_segments/s/{n:04}' for n in range(3)))
        owner.put_object(container, 'dlo', b'', headers={'X-Object-Manifest': f'{container}_segments/s/'})
        sync = daemon({**swift_mapping(swift, '/*', prefix), 'account': 'AUTH_admin'})
        sync.once()
        for name in ('slo', 'dlo'):
            assert far.get_object(prefix + container, name)[1] == data
        assert names(far, f'{prefix}{container}_segments') == ['s/0000', 's/0001', 's/0002']
        assert far.head_object(f'{prefix}{container}_segments', 's/0000')['x-object-meta-1space-timestamp']
    finally:
        owner.close()


def test_a_segment_that_comes_with_its_manifest_is_the_copy_that_its_own_row_asks_for(
        daemon: MakeDaemon, swift: SwiftCluster, far: Connection, fresh_name: Callable[[str], str]) -> None:
    owner = swift.client(user='admin:admin', key='admin')
    prefix, container = fresh_name('all:'), fresh_name('films')
    segments = f'{container}_segments'
    mapping = {**swift_mapping(swift, '/*', prefix), 'account': 'AUTH_admin'}
    try:
        owner.put_container(container)
        put_segments(owner, segments, 's/', *blocks(100_000, 7))
        owner.post_object(segments, 's/0000', headers={'X-Object-Meta-Color': 'Blue', 'Content-Type': 'video/x'})
        put_slo(owner, segments, 's/inner', f'/{segments}/s/0001', **{'X-Object-Meta-Color': 'Red'})
        put_slo(owner, container, 'slo', f'/{segments}/s/0000', f'/{segments}/s/inner')

        def seen() -> list[dict[str, str]]:
            answers = [far.head_object(prefix + segments, name) for name in names(far, prefix + segments)]
            return [{k: v for k, v in a.items() if k.startswith(('x-object-meta-', 'content-', 'x-timestamp', 'etag'))}
                    for a in answers]
        daemon({**mapping, 'exclude_pattern': '^s/'}).once()
        came = seen()
        assert [(a.get('x-object-meta-color'), 'x-object-meta-1space-timestamp' in a) for a in came] == [
            ('Blue', True), (None, True), ('Red', True)]
        daemon(mapping).once()
        assert seen() == came
    finally:
        owner.close()


def test_a_copy_outlives_the_manifest_that_brought_it(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        target: str) -> None:
    """Two mappings whose copies meet: one brings segments with manifests, the other as objects in their own right."""
    segments = f'{container}_segments'
    put_segments(swift_client, segments, 's/', *blocks(100_000, 7))
    put_slo(swift_client, container, 'slo', *(f'/{segments}/s/{n:04}' for n in range(2)))
    manifests = swift_mapping(swift, container, target)
    daemon(manifests).once()
    both = daemon(manifests, swift_mapping(swift, segments, f'{target}_segments'))
    both.once()
    swift_client.delete_object(container, 'slo')
    both.once()
    assert names(far, target) == []
    assert names(far, f'{target}_segments') == ['s/0000', 's/0001']


def test_small_segments_are_joined_and_a_second_run_does_nothing(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        target: str) -> None:
    data = put_segments(swift_client, f'{container}_segments', 's/', *blocks(*[400_000] * 7))
    put_slo(swift_client, container, 'slo', *(f'/{container}_segments/s/{n:04}' for n in range(7)))
    swift_client.put_object(container, 'dlo', b'', headers={'X-Object-Manifest': f'{container}_segments/s/'})
    mapping = swift_mapping(swift, container, target, convert_dlo=True, min_segment_size=1_000_000)
    daemon(mapping).once()
    for name in ('slo', 'dlo'):
        assert far.get_object(target, name)[1] == data
    joined = names(far, f'{target}_segments_joined')
    assert len(joined) == 4
    before = {name: far.head_object(target, name)['x-timestamp'] for name in ('slo', 'dlo')}
    daemon(mapping).once()
    assert before == {name: far.head_object(target, name)['x-timestamp'] for name in ('slo', 'dlo')}
    assert names(far, f'{target}_segments_joined') == joined
