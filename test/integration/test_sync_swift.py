"""Swift to Swift: what travels, what is counted, how copies expire, what a container's metadata does."""
from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Remote, Secret
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.keys import KeyScheme
from test.servers.fault_proxy import Answer, FaultProxy
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping, swift_mapping

Headers = Mapping[str, str]
MakeDaemon = Callable[..., SyncDaemon]


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    """A client of the remote account."""
    client = swift.client(user='test2:tester2', key='testing2')
    yield client
    client.close()


@pytest.fixture
def target(far: Connection, fresh_name: Callable[[str], str]) -> str:
    """A new, empty container of the remote account."""
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


@pytest.fixture
def watched(swift: SwiftCluster, fault_proxy: Callable[[str], FaultProxy]) -> FaultProxy:
    """The cluster as the daemon reaches it, requests seen. Its remote is ``through(watched, mapping)``."""
    return fault_proxy(swift.url)


def through(proxy: FaultProxy, mapping: dict[str, object]) -> dict[str, object]:
    return {**mapping, 'aws_endpoint': f'{proxy.url}/auth/v1.0'}


def writes(proxy: FaultProxy, container: str) -> list[str]:
    """Methods of the requests that changed the remote container or its objects; a refused condition changed nothing."""
    return [r.method for r in proxy.requests
            if f'/{container}' in r.path and r.method not in ('GET', 'HEAD') and r.status != 412]


def names(client: Connection, container: str) -> set[str]:
    return {entry['name'] for entry in client.get_container(container, full_listing=True)[1]}


def stored(swift: SwiftCluster, target: str) -> SyncSwift:
    """For reading headers whose names are not ASCII, which swiftclient loses."""
    remote = Remote.model_validate({'protocol': 'swift', 'endpoint': swift.auth_url, 'identity': 'test2:tester2',
                                    'secret': Secret('testing2'), 'bucket': target})
    return SyncSwift(SyncMapping.model_validate({'account': 'AUTH_test', 'container': 'c', 'remote': remote}))


class StatsdReceiver:
    """A UDP socket that adds up counters."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(('127.0.0.1', 0))
        self._socket.setblocking(False)
        self.counters: dict[str, int] = {}

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def read(self) -> dict[str, int]:
        """All counters so far. Datagrams of a process that has ended have arrived."""
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return self.counters
            for line in data.decode('ascii').splitlines():
                name, _, value = line.rpartition(':')
                amount, kind = value.split('|')
                assert kind == 'c', line
                self.counters[name] = self.counters.get(name, 0) + int(amount)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def statsd() -> Iterator[StatsdReceiver]:
    receiver = StatsdReceiver()
    yield receiver
    receiver.close()


# -- objects ------------------------------------------------------------------------------


def test_objects_travel_and_are_counted_exactly(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        target: str, watched: FaultProxy, statsd: StatsdReceiver) -> None:
    data = b'y' * 70_000
    swift_client.put_object(container, 'größe/ü 😀', data, content_type='Text/Plain; Charset=UTF-8', headers={
        'X-Object-Meta-Case': 'MiXed Värde', 'Content-Encoding': 'identity', 'Cache-Control': 'max-age=3',
        'Content-Disposition': 'attachment; filename="a b"', 'Content-Language': 'sv'})
    swift_client.put_object(container, 'gone', b'soon')
    swift_client.put_object(container, 'empty', b'', headers={'X-Object-Meta-Färg': 'BLÅ'})
    sync = daemon(through(watched, swift_mapping(swift, container, target)), statsd_host='127.0.0.1',
                  statsd_port=statsd.port, statsd_prefix='site')
    sync.once()
    assert names(far, target) == {'größe/ü 😀', 'gone', 'empty'}
    headers, body = far.get_object(target, 'größe/ü 😀')
    assert body == data and headers['etag'] == hashlib.md5(data).hexdigest()
    assert headers['content-type'] == 'Text/Plain; Charset=UTF-8'
    assert (headers['content-encoding'], headers['cache-control'], headers['content-disposition'],
            headers['content-language']) == ('identity', 'max-age=3', 'attachment; filename="a b"', 'sv')
    assert headers['x-object-meta-case'] == 'MiXed Värde'
    provider = stored(swift, target)
    try:
        assert provider.head_object('empty').user_metadata == {'färg': 'BLÅ'}
    finally:
        provider.close()
    endpoint = quote(f'{watched.url}/auth/v1.0', safe='').replace('.', '%2E')
    counted = f'site.{endpoint}.AUTH_test.{target}.{container}'
    assert statsd.read() == {f'{counted}.copied_objects': 3, f'{counted}.bytes': len(data) + 4}

    # Mixed case compared unequal in the predecessor: a POST on each visit.
    with SyncDaemon(swift, [through(watched, swift_mapping(swift, container, target))]) as another:
        before = len(writes(watched, target))
        another.once()
        assert writes(watched, target)[before:] == []

    swift_client.post_object(container, 'größe/ü 😀', {'X-Object-Meta-Size': 'Large', 'Content-Type': 'Image/PNG',
                                                      'Cache-Control': 'no-store'})
    swift_client.delete_object(container, 'gone')
    before = len(writes(watched, target))
    sync.once()
    assert sorted(writes(watched, target)[before:]) == ['DELETE', 'POST']
    assert names(far, target) == {'größe/ü 😀', 'empty'}
    headers, body = far.get_object(target, 'größe/ü 😀')
    assert body == data and headers['x-object-meta-size'] == 'Large' and 'x-object-meta-case' not in headers
    assert (headers['content-type'], headers['cache-control']) == ('Image/PNG', 'no-store')
    assert 'content-language' not in headers
    assert statsd.read() == {f'{counted}.copied_objects': 3, f'{counted}.bytes': len(data) + 4,
                             f'{counted}.deleted_objects': 1}


def test_without_propagation_the_remote_keeps_what_is_deleted_here_and_excluded_names_do_nothing(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str, target: str,
        fresh_name: Callable[[str], str]) -> None:
    other = fresh_name('target')
    far.put_container(other)
    for name in ('kept', 'tmp/scratch', 'not/tmp/'):
        swift_client.put_object(container, name, b'data')
    far.put_object(other, 'tmp/scratch', b'not ours')
    sync = daemon(swift_mapping(swift, container, target, propagate_delete=False),
                  swift_mapping(swift, container, other, exclude_pattern='tmp/'))
    sync.once()
    assert names(far, target) == {'kept', 'tmp/scratch', 'not/tmp/'}
    assert far.get_object(other, 'tmp/scratch')[1] == b'not ours'
    for name in ('kept', 'tmp/scratch', 'not/tmp/'):
        swift_client.delete_object(container, name)
    sync.once()
    assert names(far, target) == {'kept', 'tmp/scratch', 'not/tmp/'}
    assert names(far, other) == {'tmp/scratch'}


def test_one_destination_down_the_other_goes_on_and_nothing_is_lost(
        daemon: MakeDaemon, swift: SwiftCluster, s3: S3Endpoint, s3_client: Any, swift_client: Connection,
        far: Connection, container: str, bucket: str, target: str, fault_proxy: Callable[[str], FaultProxy]) -> None:
    broken = fault_proxy(s3.url)
    broken.fail(Answer(503), times=None)
    wanted = {f'o{i:02}' for i in range(40)}
    for name in wanted:
        swift_client.put_object(container, name, b'data')
    scheme = KeyScheme('AUTH_test', container, None)

    def in_bucket() -> set[str]:
        return {entry['Key'].removeprefix(scheme.prefix)
                for entry in s3_client.list_objects_v2(Bucket=bucket).get('Contents', [])}

    sync = daemon({**s3_mapping(s3, container, bucket), 'aws_endpoint': broken.url},
                  swift_mapping(swift, container, target))
    sync.start()
    eventually(lambda: names(far, target) == wanted, 'everything at the destination that works')
    assert in_bucket() == set()
    broken.clear()
    eventually(lambda: in_bucket() == wanted, 'everything at the one that came back')
    swift_client.delete_object(container, 'o00')
    wanted.remove('o00')
    eventually(lambda: names(far, target) == wanted == in_bucket(), 'the delete at both')
    assert sync.stop() == 0


# -- expiry -------------------------------------------------------------------------------


def test_an_expiry_travels_with_and_without_an_offset_and_later_changes_follow(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str, target: str,
        fresh_name: Callable[[str], str]) -> None:
    later, never = fresh_name('later'), fresh_name('never')
    far.put_container(later)
    far.put_container(never)
    end = int(time.time()) + 5000
    swift_client.put_object(container, 'o', b'data', headers={'X-Delete-At': str(end)})
    swift_client.put_object(container, 'forever', b'data')
    sync = daemon(swift_mapping(swift, container, target, propagate_expiration=True),
                  swift_mapping(swift, container, later, propagate_expiration=True, propagate_expiration_offset=3600),
                  swift_mapping(swift, container, never))

    def ends() -> tuple[str | None, ...]:
        return tuple(far.head_object(place, 'o').get('x-delete-at') for place in (target, later, never))

    sync.once()
    assert ends() == (str(end), str(end + 3600), None)
    assert 'x-delete-at' not in far.head_object(later, 'forever')
    before = far.head_object(later, 'o')['x-timestamp']
    sync.once()
    assert far.head_object(later, 'o')['x-timestamp'] == before
    swift_client.post_object(container, 'o', {'X-Delete-At': str(end + 777)})
    sync.once()
    assert ends() == (str(end + 777), str(end + 777 + 3600), None)
    swift_client.post_object(container, 'o', {'X-Object-Meta-A': 'b'})  # takes the expiry away
    sync.once()
    assert ends() == (None, None, None)


def test_remote_delete_after_counts_from_the_object_s_date_and_comes_to_what_is_there(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str, target: str,
        watched: FaultProxy) -> None:
    mapping = through(watched, swift_mapping(swift, container, target))
    data_names = {f'o{i}' for i in range(6)}
    for name in data_names:
        swift_client.put_object(container, name, b'data')
    sync = daemon(mapping)
    sync.once()
    assert all('x-delete-at' not in far.head_object(target, name) for name in data_names)
    assert writes(watched, target).count('PUT') == 6

    born = {name: int(float(swift_client.head_object(container, name)['x-timestamp'])) for name in data_names}
    watched.clear()
    sync.configure([{**mapping, 'remote_delete_after': 90_000}])
    sync.once()
    assert {name: int(far.head_object(target, name)['x-delete-at']) - born[name] for name in data_names} \
        == dict.fromkeys(data_names, 90_000)
    assert writes(watched, target) == ['POST'] * 6  # headers only, data is not sent again

    watched.clear()
    with SyncDaemon(swift, [{**mapping, 'remote_delete_after': 90_000}]) as forgetful:
        forgetful.once()
        assert writes(watched, target) == []
        swift_client.put_object(container, 'new', b'data')
        forgetful.once()
    assert writes(watched, target) == ['PUT']
    made = int(float(swift_client.head_object(container, 'new')['x-timestamp']))
    assert int(far.head_object(target, 'new')['x-delete-at']) - made == 90_000


def test_what_has_expired_is_neither_copied_nor_a_failure_and_its_end_is_a_delete(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        target: str) -> None:
    swift_client.put_object(container, 'short', b'data', headers={'X-Delete-After': '1'})
    put = time.time()
    swift_client.put_object(container, 'longer', b'data', headers={'X-Delete-After': '8'})
    sync = daemon(swift_mapping(swift, container, target))
    eventually(lambda: time.time() > put + 2, 'the end of the short one')
    sync.once()
    assert names(far, target) == {'longer'}
    eventually(lambda: time.time() > put + 10, 'the end of the longer one')
    swift.expire_objects()
    sync.once()
    assert names(far, target) == set()


# -- the container ------------------------------------------------------------------------


def test_container_metadata_and_acls_follow_and_go(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str, target: str,
        watched: FaultProxy) -> None:
    far.post_container(target, {'X-Container-Meta-Theirs': 'stays'})
    swift_client.post_container(container, {
        'X-Container-Meta-☃': 'BLÅtt', 'X-Container-Meta-Colour': 'Red', 'X-Container-Read': '.r:*,.rlistings',
        'X-Container-Write': 'test:tester3'})
    mapping = through(watched, swift_mapping(swift, container, target, sync_container_metadata=True,
                                             sync_container_acl=True))
    provider = stored(swift, target)

    def there() -> Headers:
        headers = provider.head_bucket()
        return {k: v for k, v in headers.items() if k.startswith(('x-container-meta-', 'x-container-read',
                                                                  'x-container-write')) and v}

    try:
        sync = daemon(mapping)
        sync.start()
        eventually(lambda: 'x-container-read' in there(), 'the metadata at the remote')
        assert there() == {
            'x-container-meta-☃': 'BLÅtt', 'x-container-meta-colour': 'Red', 'x-container-meta-theirs': 'stays',
            'x-container-read': '.r:*,.rlistings', 'x-container-write': 'test:tester3'}
        swift_client.post_container(container, {'X-Container-Meta-☃': '', 'X-Container-Meta-Colour': 'Green',
                                                'X-Container-Read': ''})
        eventually(lambda: there() == {
            'x-container-meta-colour': 'Green', 'x-container-meta-theirs': 'stays',
            'x-container-write': 'test:tester3'}, 'the changes')
        assert sync.stop() == 0
        watched.clear()
        sync.once()  # nothing changed: nothing is sent
        assert writes(watched, target) == []
    finally:
        provider.close()


def test_container_metadata_that_cannot_be_brought_is_a_failure_of_once(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str, target: str,
        watched: FaultProxy) -> None:
    swift_client.post_container(container, {'X-Container-Meta-Colour': 'Red'})
    swift_client.put_object(container, 'o', b'data')
    watched.fail(Answer(400), method='POST', path=f'/{target}$', times=None)
    sync = daemon(through(watched, swift_mapping(swift, container, target, sync_container_metadata=True)))
    said = sync.once(expect=3)
    assert container in said
    assert names(far, target) == {'o'}
    watched.clear()
    sync.once()
    assert far.head_container(target)['x-container-meta-colour'] == 'Red'


def test_acls_stay_here_until_they_are_asked_for(daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection,
                                                 far: Connection, container: str, target: str) -> None:
    swift_client.post_container(container, {'X-Container-Meta-Colour': 'Red', 'X-Container-Read': '.r:*'})
    sync = daemon(swift_mapping(swift, container, target, sync_container_metadata=True))
    sync.once()
    headers = far.head_container(target)
    assert headers['x-container-meta-colour'] == 'Red' and not headers.get('x-container-read')
    sync.configure([swift_mapping(swift, container, target, sync_container_metadata=True, sync_container_acl=True)])
    sync.once()
    assert far.head_container(target)['x-container-read'] == '.r:*'


def test_a_container_that_is_not_there_fails_and_is_filled_when_it_comes(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        fresh_name: Callable[[str], str]) -> None:
    missing = fresh_name('missing')
    swift_client.put_object(container, 'o', b'data')
    sync = daemon(swift_mapping(swift, container, missing))
    assert 'bucket-not-found' in sync.once(expect=3)
    with pytest.raises(ClientException) as answer:
        far.head_container(missing)
    assert answer.value.http_status == 404
    far.put_container(missing)
    with sync.ledger() as ledger:
        ledger.retry()
    sync.once()
    assert names(far, missing) == {'o'}
