"""Large objects at a Swift target: the contract, and what becomes of the segments, on a real cluster."""
from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from swift.common.utils import Timestamp
from swiftclient import Connection

from s3_sync.clock import SystemClock
from s3_sync.config import Mapping as MappingConfig
from s3_sync.config import Remote
from s3_sync.config.secrets import Secret
from s3_sync.errors import BucketNotFound, LimitExceeded, PermanentError, PreconditionFailed, TemporaryError, Unproven
from s3_sync.providers.http import Response
from s3_sync.providers.swift.client import Call, SwiftClient
from s3_sync.providers.swift.limits import DEFAULTS, Limits
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ABSENT, ShuntRequest
from test.fakes.large_source import MemoryLargeSource, Name, inline, md5, segment, sub_slo
from test.unit.contract.large_object_contract import LargeObjectContract, meta_of, send
from test.unit.contract.provider_contract import DATA_TIME, LATER, Build, described, upload

MEBIBYTE = 1024 ** 2
NOW = int(SystemClock().now())


def mapping(swift: SwiftCluster, bucket: str, container: str = 'c', **keys: Any) -> MappingConfig:
    return MappingConfig.model_validate({
        'account': 'AUTH_local', 'container': container, **keys, 'remote': Remote.model_validate({
            'protocol': 'swift', 'endpoint': swift.auth_url, 'identity': swift.user, 'secret': Secret(swift.key),
            'bucket': bucket})}).for_container('c')


class WatchedClient(SwiftClient):
    """Tells what was asked, and lets a test do something just before a request goes out."""

    def __init__(self, settings: MappingConfig, max_connections: int = 10, limits: Limits | None = None) -> None:
        super().__init__(settings.remote, max_connections=max_connections, clock=SystemClock(),
                         timeout=settings.remote_timeout)
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = lambda call: None
        self._told_limits = limits

    def open(self, call: Call, *, accept: frozenset[int] = frozenset(), bounded: bool = True) -> Response:
        self.before(call)
        self.calls.append(call)
        return super().open(call, accept=accept, bounded=bounded)

    def limits(self) -> Limits:
        return self._told_limits or super().limits()

    def sent(self, method: str) -> list[str]:
        """Where requests of this kind went since the last time they were asked for."""
        found = [f'{call.container}/{call.key}' for call in self.calls if call.method == method]
        self.calls = [call for call in self.calls if call.method != method]
        return found

    def bytes_sent(self) -> int:
        """Of segments and plain objects, once each (the first to a new container goes twice); without manifests."""
        bodies = {(call.container, call.key): call.body.size for call in self.calls
                  if call.body is not None and 'multipart-manifest' not in call.query}
        return sum(bodies.values())


class Remote_:
    """A bucket of the cluster, and what a client of the cluster sees there."""

    def __init__(self, swift: SwiftCluster, client: Connection, bucket: str) -> None:
        self.swift = swift
        self.client = client
        self.bucket = bucket
        self.made: list[WatchedClient] = []

    def provider(self, *, bucket: str = '', container: str = 'c', limits: Limits | None = None,
                 max_connections: int = 10, **keys: Any) -> tuple[SyncSwift, WatchedClient]:
        settings = mapping(self.swift, bucket or self.bucket, container, **keys)
        client = WatchedClient(settings, max_connections, limits)
        self.made.append(client)
        return SyncSwift(settings, client=client), client

    def containers(self) -> list[str]:
        listed = self.client.get_account(prefix=self.bucket, full_listing=True)[1]
        return sorted(entry['name'].removeprefix(self.bucket) for entry in listed)

    def everything(self) -> list[str]:
        """All objects of all containers whose names begin with the bucket's; that beginning left out."""
        return [f'{end}/{name}' for end in self.containers() for name in self.names(end)]

    def segments(self) -> list[str]:
        return [path for path in self.everything() if not path.startswith('/')]

    def names(self, end: str = '') -> list[str]:
        return [entry['name'] for entry in self.client.get_container(self.bucket + end, full_listing=True)[1]]

    def head(self, name: str, end: str = '') -> dict[str, str]:
        return dict(self.client.head_object(self.bucket + end, name))

    def read(self, name: str, end: str = '') -> bytes:
        return bytes(self.client.get_object(self.bucket + end, name)[1])

    def manifest(self, name: str, end: str = '') -> list[dict[str, Any]]:
        return list(json.loads(self.client.get_object(self.bucket + end, name,
                                                      query_string='multipart-manifest=get')[1]))


@pytest.fixture
def remote(swift: SwiftCluster, swift_client: Connection) -> Iterator[Remote_]:
    bucket = f'large-{uuid.uuid4().hex[:8]}'
    swift_client.put_container(bucket)
    remote = Remote_(swift, swift_client, bucket)
    yield remote
    for client in remote.made:
        client.close()


class TestLargeObjectContract(LargeObjectContract):
    test_only_the_version_that_was_looked_at_is_replaced = None  # Swift knows no If-Match on PUT

    @pytest.fixture(scope='class')
    def client(self, swift: SwiftCluster) -> Iterator[SwiftClient]:
        """One login for all tests, as one process of the daemon has."""
        client = WatchedClient(mapping(swift, 'any'))
        yield client
        client.close()

    @pytest.fixture
    def build(self, swift: SwiftCluster, client: SwiftClient, swift_client: Connection) -> Build:
        bucket = f'contract-{uuid.uuid4().hex[:8]}-ü%41'
        swift_client.put_container(bucket)

        def make(**_: Any) -> SyncSwift:
            return SyncSwift(mapping(swift, bucket, 'pictures'), client=client)
        return make


def slo(objects: Mapping[Name, bytes], *names: Name) -> MemoryLargeSource:
    return MemoryLargeSource(objects, [segment(objects, *name) for name in names or objects])


def film(**changes: bytes) -> MemoryLargeSource:
    """Three segments in the usual container; ``changes`` by the last part of the name."""
    return slo({('c_segments', f'film/{part}'): changes.get(part, part.encode() * 1000) for part in 'abc'})


def dlo(objects: Mapping[Name, bytes], container: str, prefix: str) -> MemoryLargeSource:
    names = sorted(name for name in objects if name[0] == container and name[1].startswith(prefix))
    return MemoryLargeSource(objects, [segment(objects, *name) for name in names], kind='dlo',
                             prefix=f'{container}/{prefix}')


# -- SLO ----------------------------------------------------------------------------------

def test_each_source_container_has_a_segment_container_of_its_own(remote: Remote_) -> None:
    """Defect 7.1.11: the predecessor put all of them into one, where equal names overwrote each other."""
    provider, _ = remote.provider()
    sources = ('c_segments', 'c+segments', 'c', 'elsewhere', 'ü_segments')
    objects = {(container, 'part/1'): container.encode() * 10 for container in sources}
    large = slo(objects)
    send(provider, large)
    assert remote.read('o') == large.data
    ends = remote.containers()
    assert len(ends) == 1 + len(sources)
    assert {'', '_segments', '+segments'} <= set(ends)
    assert remote.read('part/1', '_segments') == b'c_segments' * 10
    assert remote.read('part/1', '+segments') == b'c+segments' * 10


def test_segments_that_are_there_are_not_sent_again(remote: Remote_) -> None:
    provider, client = remote.provider()
    send(provider, film(), 'one')
    client.calls.clear()
    second = film()
    send(provider, second, 'two')
    assert client.bytes_sent() == 0
    assert second.opened == []
    assert remote.read('two') == second.data
    assert len(remote.segments()) == 3


def test_only_changed_segments_are_sent_again_and_the_old_ones_go(remote: Remote_) -> None:
    provider, client = remote.provider()
    send(provider, film())
    client.calls.clear()
    newer = film(b=b'B' * 1500)
    send(provider, newer, data_time=LATER)
    assert client.bytes_sent() == 1500
    assert {piece.name for piece in newer.opened} == {'film/b'}
    assert remote.read('o') == newer.data
    assert len(remote.segments()) == 3
    provider.prove(meta_of(newer, data_time=LATER), large=newer)
    again = film(b=b'again' * 10)
    send(provider, again, data_time=LATER)
    assert remote.read('o') == again.data
    assert len(remote.segments()) == 3


def test_the_old_version_is_whole_until_the_new_manifest_is_there(remote: Remote_) -> None:
    """Segments overwritten in place would break it as soon as the first of them has arrived."""
    provider, client = remote.provider()
    old, newer = film(), film(a=b'A' * 900, c=b'')
    send(provider, old)

    def look(call: Call) -> None:
        if call.query.get('multipart-manifest') == 'put':
            assert remote.read('o') == old.data
            raise TemporaryError('no manifest today')
    client.before = look
    with pytest.raises(TemporaryError, match='today'):
        send(provider, newer, data_time=LATER)
    assert remote.read('o') == old.data
    provider.prove(meta_of(old), large=old)
    client.before = lambda call: None
    send(provider, newer, data_time=LATER)
    assert remote.read('o') == newer.data
    assert len(remote.segments()) == 3


def test_ranges_and_inline_data_stay_what_they_are(remote: Remote_) -> None:
    """Defect 7.1.5: without its ranges the copy had other bytes, and passed for the same."""
    provider, _ = remote.provider()
    objects = {('c_segments', 'a'): bytes(range(256)) * 4, ('c_segments', 'b'): b'b' * 500}
    large = MemoryLargeSource(objects, [segment(objects, 'c_segments', 'a', 10, 100), inline(b'\x00between'),
                                        segment(objects, 'c_segments', 'b', 1), segment(objects, 'c_segments', 'a')])
    send(provider, large)
    assert remote.read('o') == large.data
    assert remote.head('o')['etag'].strip('"') == large.layout.etag
    assert [entry.get('range') for entry in remote.manifest('o')] == ['10-109', None, '1-499', None]
    assert len(remote.segments()) == 2


def nested() -> MemoryLargeSource:
    objects = {('c_segments', part): part.encode() * 700 for part in 'abcd'}
    a, b, c, d = (segment(objects, 'c_segments', part) for part in 'abcd')
    inner = sub_slo('other', 'inner', [a, b])
    outer = sub_slo('c_segments', 'outer', [inner, c])
    return MemoryLargeSource(objects, [outer, replace(inner, first=5, length=900), d])


def test_manifests_inside_manifests_are_kept_and_go_with_them(remote: Remote_) -> None:
    provider, _ = remote.provider()
    large = nested()
    send(provider, large, 'one')
    assert remote.read('one') == large.data
    assert remote.head('one')['etag'].strip('"') == large.layout.etag
    assert [entry.get('sub_slo') for entry in remote.manifest('one')] == [True, True, None]
    provider.prove(meta_of(large, 'one'), large=large)
    count = len(remote.segments())
    assert count == 6
    send(provider, nested(), 'two')
    assert len(remote.segments()) == count
    provider.delete_object('one')
    assert remote.read('two') == large.data
    provider.delete_object('two')
    assert remote.everything() == []


def test_a_copy_of_the_predecessor_is_left_alone_and_cleaned_up_like_any_other(remote: Remote_) -> None:
    large = film()
    remote.client.put_container(remote.bucket + '_segments')
    entries = []
    for (_, name), data in large.objects.items():
        remote.client.put_object(remote.bucket + '_segments', name, data)
        entries.append({'path': f'/{remote.bucket}_segments/{name}', 'etag': md5(data), 'size_bytes': len(data)})
    for name in ('o', 'other'):
        remote.client.put_object(remote.bucket, name, json.dumps(entries), query_string='multipart-manifest=put')
    provider, client = remote.provider()
    head = provider.head_object('o')
    assert provider.relation(large, head) == 'same'
    provider.update_metadata(meta_of(large), head)
    assert provider.head_object('o').data_time == DATA_TIME
    provider.prove(meta_of(large), large=large)
    assert client.bytes_sent() == 0
    provider.delete_object('o')
    assert remote.read('other') == large.data
    provider.delete_object('other')
    assert remote.everything() == []


def test_a_joined_copy_of_the_predecessor_is_known_by_its_manifest_etag(remote: Remote_) -> None:
    large = film()
    remote.client.put_container(remote.bucket + '_segments')
    remote.client.put_object(remote.bucket + '_segments', 'o/1/000000', large.data)
    remote.client.put_object(
        remote.bucket, 'o', json.dumps([{'path': f'/{remote.bucket}_segments/o/1/000000', 'etag': None}]),
        query_string='multipart-manifest=put', headers={'X-Object-Meta-Swift-Slo-Etag': md5(large.layout.manifest)})
    provider, _ = remote.provider(convert_dlo=True, min_segment_size=5000)
    head = provider.head_object('o')
    assert provider.relation(large, head) == 'same'
    assert provider.relation(film(a=b'x' * 1000), head) != 'same'
    assert dict(head.user_metadata) == {}
    provider.update_metadata(meta_of(large, user_metadata={'a': 'b'}), head)
    assert remote.head('o')['x-object-meta-swift-slo-etag'] == md5(large.layout.manifest)


# -- joined and cut -----------------------------------------------------------------------

def joined_source() -> MemoryLargeSource:
    objects = {('c_segments', f'film/{n}'): bytes([65 + n]) * size
               for n, size in enumerate((400, 700, 3000, 10, 20, 2000, 5))}
    return slo(objects)


def test_small_segments_are_joined(remote: Remote_) -> None:
    provider, client = remote.provider(convert_dlo=True, min_segment_size=1000)
    large = joined_source()
    send(provider, large, 'a/ö')
    assert remote.read('a/ö') == large.data
    head = remote.head('a/ö')
    assert head['x-object-meta-swift-slo-etag'] == md5(large.layout.manifest)
    names = remote.names('_segments_joined')
    assert names and all(name.startswith(f'a/ö/{DATA_TIME.normal}/') for name in names)
    assert names[0] == f'a/ö/{DATA_TIME.normal}/000000'
    first = remote.head(names[0], '_segments_joined')
    etags = [entry.etag for entry in large.layout.segments]
    assert first['x-object-meta-combined-etag'] == md5((etags[0] + etags[1]).encode())
    assert all(entry['bytes'] >= 1000 for entry in remote.manifest('a/ö')[:-1])
    meta = meta_of(large, 'a/ö')
    seen = provider.head_object('a/ö')
    assert provider.relation(large, seen) == 'same'
    assert provider.comparable(seen) == provider.comparable(meta)
    provider.prove(meta, large=large)
    client.calls.clear()
    large.opened.clear()
    send(provider, large, 'a/ö')
    assert client.bytes_sent() == 0
    assert large.opened == []
    provider.delete_object('a/ö')
    assert remote.everything() == []


def test_segments_that_are_large_enough_stay_as_they_are(remote: Remote_) -> None:
    provider, _ = remote.provider(convert_dlo=True, min_segment_size=1000)
    large = film()
    send(provider, large)
    assert remote.head('o')['etag'].strip('"') == large.layout.etag
    assert remote.names('_segments') == ['film/a', 'film/b', 'film/c']


def test_metadata_of_a_joined_copy_changes_without_data(remote: Remote_) -> None:
    provider, client = remote.provider(convert_dlo=True, min_segment_size=1000)
    large = joined_source()
    send(provider, large)
    before = remote.segments()
    client.calls.clear()
    meta = meta_of(large, user_metadata={'größe': 'Groß'}, meta_time=LATER)
    provider.update_metadata(meta, provider.head_object('o'))
    assert client.bytes_sent() == 0
    assert len(client.sent('POST')) == 1
    head = provider.head_object('o')
    assert provider.relation(large, head) == 'same'
    assert dict(head.user_metadata) == {'größe': 'Groß'}
    assert head.sysmeta['swift-slo-etag'] == md5(large.layout.manifest)
    assert remote.segments() == before


def test_more_segments_than_the_target_takes_are_joined(remote: Remote_) -> None:
    provider, _ = remote.provider(limits=replace(DEFAULTS, max_manifest_segments=5))
    large = slo({('c_segments', f'{n:02}'): bytes([n + 1]) * 100 for n in range(12)})
    send(provider, large)
    assert remote.read('o') == large.data
    assert len(remote.manifest('o')) <= 5
    assert provider.relation(large, provider.head_object('o')) == 'same'
    provider.prove(meta_of(large), large=large)


def test_an_object_beyond_the_target_s_limit_becomes_an_slo(remote: Remote_) -> None:
    limits = replace(DEFAULTS, max_file_size=1000)
    provider, client = remote.provider(limits=limits)
    assert provider.capabilities.max_put_bytes == 1000
    data = bytes(i % 251 for i in range(3500))
    large = MemoryLargeSource({('c', 'o'): data}, [segment({('c', 'o'): data}, 'c', 'o')], kind='plain')
    send(provider, large)
    assert remote.read('o') == data
    head = provider.head_object('o')
    assert (head.source_etag, head.size) == (md5(data), 3500)
    assert provider.relation(large, head) == 'same'
    provider.prove(meta_of(large), large=large)
    provider.update_metadata(meta_of(large, user_metadata={'a': 'b'}, meta_time=LATER), head)
    assert provider.relation(large, provider.head_object('o')) == 'same'
    client.calls.clear()
    send(provider, large, meta_time=LATER)
    assert client.bytes_sent() == 0
    provider.delete_object('o')
    assert remote.everything() == []


def test_what_no_slo_can_hold_is_a_limit_told_before_anything_is_sent(remote: Remote_) -> None:
    provider, client = remote.provider(limits=replace(DEFAULTS, max_file_size=1000, max_manifest_segments=2))
    with pytest.raises(LimitExceeded) as caught:
        send(provider, film())
    assert caught.value.reason == 'too-many-segments'
    assert client.calls == []


# -- DLO ----------------------------------------------------------------------------------

def test_a_dlo_has_just_its_own_segments_below_its_prefix(remote: Remote_) -> None:
    """Defects 7.1.3 and 7.1.13: a slash at the end counts, and the header is URL-encoded."""
    provider, _ = remote.provider()
    objects = {('söurce é%41', name): name.encode() * 10
               for name in ('video/a b', 'video/ü%41', 'video2/x', 'video')}
    first, second = dlo(objects, 'söurce é%41', 'video/'), dlo(objects, 'söurce é%41', 'video2/')
    send(provider, first, 'first')
    send(provider, second, 'second')
    assert remote.read('first') == first.data == b'video/a b' * 10 + 'video/ü%41'.encode() * 10
    assert remote.read('second') == second.data
    for name, large in (('first', first), ('second', second)):
        head = provider.head_object(name)
        assert (head.large_object, head.size, head.etag) == ('dlo', large.layout.size, large.layout.etag)
        assert remote.head(name)['x-object-meta-swift-source-dlo-etag'] == large.layout.etag
        assert dict(head.user_metadata) == {}
        provider.prove(meta_of(large, name), large=large)
    provider.delete_object('first')
    assert remote.read('second') == second.data
    provider.delete_object('second')
    assert remote.everything() == []


def test_a_prefix_that_begins_with_a_slash_is_one(remote: Remote_) -> None:
    provider, _ = remote.provider()
    large = dlo({('c_segments', '/lead//a?b&c'): b'odd', ('c_segments', '/lead//b'): b'ly'}, 'c_segments', '/lead//')
    send(provider, large)
    assert remote.read('o') == b'oddly'
    provider.prove(meta_of(large), large=large)


def test_of_a_changed_dlo_only_what_changed_is_sent_and_what_is_gone_goes(remote: Remote_) -> None:
    provider, client = remote.provider()
    objects = {('c_segments', f'v/{n}'): bytes([65 + n]) * 500 for n in range(4)}
    send(provider, dlo(objects, 'c_segments', 'v/'))
    del objects['c_segments', 'v/0']
    objects['c_segments', 'v/1'] = b'changed' * 100
    objects['c_segments', 'v/5'] = b'new'
    newer = dlo(objects, 'c_segments', 'v/')
    assert provider.relation(newer, provider.head_object('o')) == 'different'
    client.calls.clear()
    send(provider, newer, data_time=LATER)
    assert client.bytes_sent() == 703
    assert remote.read('o') == newer.data
    assert remote.names('_segments') == ['v/1', 'v/2', 'v/3', 'v/5']
    provider.prove(meta_of(newer, data_time=LATER), large=newer)
    client.calls.clear()
    assert provider.relation(newer, provider.head_object('o')) == 'same'
    assert client.bytes_sent() == 0


def test_a_dlo_gets_a_prefix_to_itself_where_something_else_is_in_the_way(remote: Remote_) -> None:
    """Archived segments of another manifest below the same prefix are neither shown nor lost."""
    provider, _ = remote.provider()
    archived = slo({('c_segments', 'v/1'): b'archived', ('c_segments', 'v/2'): b'too'})
    send(provider, archived, 'archived')
    objects = {('c_segments', 'v/1'): b'other', ('c_segments', 'v/3'): b'third'}
    large = dlo(objects, 'c_segments', 'v/')
    send(provider, large)
    assert remote.read('o') == b'otherthird'
    assert remote.read('archived') == b'archivedtoo'
    provider.prove(meta_of(large), large=large)
    provider.prove(meta_of(archived, 'archived'), large=archived)
    newer = dlo({**objects, ('c_segments', 'v/3'): b'3'}, 'c_segments', 'v/')
    send(provider, newer, data_time=LATER)
    assert remote.read('o') == b'other3'
    provider.delete_object('o')
    assert remote.read('archived') == b'archivedtoo'
    provider.delete_object('archived')
    assert remote.everything() == []


def test_an_slo_never_overwrites_what_another_manifest_has_there(remote: Remote_) -> None:
    provider, _ = remote.provider()
    old = film()
    send(provider, old, 'archived')
    newer = film(b=b'B' * 10)
    send(provider, newer, 'new')
    assert remote.read('archived') == old.data
    assert remote.read('new') == newer.data
    for name, large in (('archived', old), ('new', newer)):
        provider.prove(meta_of(large, name), large=large)
        provider.delete_object(name)
    assert remote.everything() == []


def test_metadata_of_a_dlo_changes_and_it_stays_one(remote: Remote_) -> None:
    provider, client = remote.provider()
    large = dlo({('c_segments', 'v/1'): b'one', ('c_segments', 'v/2'): b'two'}, 'c_segments', 'v/')
    send(provider, large)
    segments = [remote.head(name, '_segments') for name in remote.names('_segments')]
    client.calls.clear()
    provider.update_metadata(meta_of(large, user_metadata={'a': 'B'}, meta_time=LATER), provider.head_object('o'))
    assert (client.bytes_sent(), len(client.sent('POST'))) == (0, 1)
    head = remote.head('o')
    assert head['x-object-manifest'] == f'{remote.bucket}_segments/v/'
    assert head['x-object-meta-swift-source-dlo-etag'] == large.layout.etag
    assert remote.read('o') == b'onetwo'
    assert [s['last-modified'] for s in segments] == [remote.head(name, '_segments')['last-modified']
                                                      for name in remote.names('_segments')]


def test_a_converted_dlo_is_an_slo_and_stays_one(remote: Remote_) -> None:
    provider, client = remote.provider(convert_dlo=True)
    large = dlo({('c_segments', 'v/1'): b'one', ('c_segments', 'v/2'): b'', ('c_segments', 'v/3'): b'three'},
                'c_segments', 'v/')
    send(provider, large)
    head = provider.head_object('o')
    assert (head.large_object, head.size) == ('slo', 8)
    assert provider.relation(large, head) == 'same'
    provider.prove(meta_of(large), large=large)
    client.calls.clear()
    provider.update_metadata(meta_of(large, user_metadata={'a': 'B'}, meta_time=LATER), head)
    head = provider.head_object('o')
    assert (head.large_object, provider.relation(large, head)) == ('slo', 'same')
    provider.check_whole(head)
    assert remote.head('o')['x-object-meta-swift-source-dlo-etag'] == large.layout.etag
    assert client.bytes_sent() == 0
    changed = dlo({**large.objects, ('c_segments', 'v/3'): b'THREE'}, 'c_segments', 'v/')
    assert provider.relation(changed, head) != 'same'


def test_a_missing_segment_of_a_dlo_is_no_proof(remote: Remote_) -> None:
    provider, _ = remote.provider()
    large = dlo({('c_segments', 'v/1'): b'one', ('c_segments', 'v/2'): b'two'}, 'c_segments', 'v/')
    send(provider, large)
    remote.client.put_object(remote.bucket + '_segments', 'v/2', b'TWO')
    with pytest.raises(Unproven):
        provider.prove(meta_of(large), large=large)
    remote.client.put_object(remote.bucket + '_segments', 'v/2', b'two')
    provider.prove(meta_of(large), large=large)
    provider.check_whole(provider.head_object('o'))
    remote.client.put_object(remote.bucket + '_segments', 'v/3', b'more')
    with pytest.raises(Unproven):
        provider.prove(meta_of(large), large=large)
    with pytest.raises(Unproven):
        provider.check_whole(provider.head_object('o'))


# -- proof --------------------------------------------------------------------------------

@pytest.mark.parametrize('count', [3, 25])
@pytest.mark.parametrize('damage', ['gone', 'other'])
def test_a_segment_that_is_gone_or_another_is_no_proof(remote: Remote_, count: int, damage: str) -> None:
    provider, _ = remote.provider()
    large = slo({('c_segments', f'{n:02}'): bytes([n + 1]) * 50 for n in range(count)})
    send(provider, large)
    provider.prove(meta_of(large), large=large)
    provider.check_whole(provider.head_object('o'))
    if damage == 'gone':
        remote.client.delete_object(remote.bucket + '_segments', '02')
    else:
        remote.client.put_object(remote.bucket + '_segments', '02', b'\x00' * 50)
    with pytest.raises(Unproven, match='02'):
        provider.prove(meta_of(large), large=large)
    with pytest.raises(Unproven, match='02'):
        provider.check_whole(provider.head_object('o'))


def test_many_segments_are_proven_by_a_listing(remote: Remote_) -> None:
    provider, client = remote.provider()
    large = slo({('c_segments', f'{n:02}'): bytes([n + 1]) * 50 for n in range(25)})
    send(provider, large)
    client.calls.clear()
    provider.prove(meta_of(large), large=large)
    assert len(client.sent('HEAD')) == 1
    assert len(client.sent('GET')) == 2


# -- who needs what -----------------------------------------------------------------------

def test_what_others_use_stays_and_the_last_one_takes_it_along(remote: Remote_) -> None:
    """Defect 7.1.4: segments shared by two manifests went with the first."""
    provider, _ = remote.provider()
    objects = {('c_segments', part): part.encode() * 100 for part in 'abcd'}
    names = list(objects)
    send(provider, slo(objects, *names[:3]), 'one')
    send(provider, slo(objects, *names[1:]), 'two')
    send(provider, dlo(objects, 'c_segments', 'b'), 'three')
    upload(provider, 'empty', b'')
    provider.delete_object('one')
    assert remote.names('_segments') == ['b', 'c', 'd']
    upload(provider, 'two', b'plain', data_time=LATER)
    assert remote.names('_segments') == ['b']
    assert remote.read('three') == b'b' * 100
    provider.delete_object('three')
    assert remote.everything() == ['/empty', '/two']


def test_overwriting_by_a_plain_object_cleans_up_after_a_head(remote: Remote_) -> None:
    send(remote.provider()[0], film())
    provider, client = remote.provider()
    provider.head_object('o')
    upload(provider, 'o', b'small', data_time=LATER)
    assert remote.everything() == ['/o']
    client.calls.clear()
    upload(provider, 'o', b'other', data_time=LATER)
    upload(provider, 'p', b'other')
    assert [call.method for call in client.calls] == ['PUT', 'PUT']


def test_deleting_plain_objects_costs_nothing_more_than_it_did(remote: Remote_) -> None:
    provider, client = remote.provider()
    for name in 'abcdef':
        upload(provider, name)
    client.calls.clear()
    assert provider.delete_objects(['a', 'b', 'c']) == dict.fromkeys('abc')
    methods = [call.method for call in client.calls]
    assert methods.count('DELETE') == 3
    assert methods.count('HEAD') == 0
    assert methods.count('GET') <= 2  # once: whether the mapping has segments at all
    client.calls.clear()
    provider.delete_object('d')
    assert [call.method for call in client.calls] == ['DELETE']
    send(provider, film(), 'large')
    provider.head_object('e')
    client.calls.clear()
    provider.delete_object('e')
    assert [call.method for call in client.calls] == ['DELETE']
    provider.delete_object('f')
    assert [call.method for call in client.calls] == ['DELETE', 'HEAD', 'DELETE']


def test_segments_that_are_copies_in_their_own_right_are_never_deleted(remote: Remote_) -> None:
    """Somebody maps the segment container too, to just where the segments of the other mapping go."""
    remote.client.put_container(remote.bucket + '_segments')
    rows, _ = remote.provider(bucket=remote.bucket + '_segments', container='c_segments')
    upload(rows, 'film/a', b'a' * 1000)
    provider, _ = remote.provider()
    send(provider, film())
    provider.delete_object('o')
    assert remote.segments() == ['_segments/film/a']


def test_a_foreign_slo_s_segments_are_none_of_ours(remote: Remote_) -> None:
    remote.client.put_object(remote.bucket, 'theirs/1', b'one')
    remote.client.put_object(remote.bucket, 'slo', json.dumps([{'path': f'/{remote.bucket}/theirs/1'}]),
                             query_string='multipart-manifest=put')
    provider, _ = remote.provider()
    send(provider, film(), 'o')  # so that there is a segment container
    provider.delete_object('slo')
    assert remote.names() == ['o', 'theirs/1']


def test_a_failed_cleanup_is_made_up_for_by_the_next_try(remote: Remote_) -> None:
    provider, client = remote.provider()
    send(provider, film())

    def fail(call: Call) -> None:
        if call.method == 'DELETE' and call.key.startswith('film'):
            raise TemporaryError('not now')
    client.before = fail
    with pytest.raises(TemporaryError):
        provider.delete_object('o')
    client.before = lambda call: None
    assert provider.delete_object('o') is False
    assert remote.everything() == []


def test_what_an_overwrite_could_not_clean_up_goes_at_the_next_visit_and_nothing_else(remote: Remote_) -> None:
    provider, client = remote.provider()
    send(provider, film())
    newer = film(b=b'B' * 10)

    def fail(call: Call) -> None:
        if call.method == 'DELETE':
            raise TemporaryError('not now')
    client.before = fail
    with pytest.raises(TemporaryError):
        send(provider, newer, data_time=LATER)
    client.before = lambda call: None
    assert len(remote.segments()) == 4
    assert provider.ensure_manifest(newer, meta_of(newer)) is False
    assert len(remote.segments()) == 3
    assert remote.read('o') == newer.data


def test_what_a_failed_try_has_sent_goes_with_the_next_version(remote: Remote_) -> None:
    provider, client = remote.provider()
    send(provider, film())

    def fail(call: Call) -> None:
        if call.query.get('multipart-manifest') == 'put':
            raise TemporaryError('not now')
    client.before = fail
    with pytest.raises(TemporaryError):
        send(provider, film(a=b'A' * 10), data_time=LATER)
    client.before = lambda call: None
    assert len(remote.segments()) == 4
    latest = film(a=b'latest')
    send(provider, latest, data_time=LATER)
    assert remote.read('o') == latest.data
    assert len(remote.segments()) == 3


def test_what_was_sent_for_a_name_that_somebody_else_made_meanwhile_goes(remote: Remote_) -> None:
    provider, client = remote.provider()

    def overtake(call: Call) -> None:
        if call.query.get('multipart-manifest') == 'put':
            remote.client.put_object(remote.bucket, 'o', b'theirs')
    client.before = overtake
    with pytest.raises(PreconditionFailed):
        send(provider, film(), condition=ABSENT)
    assert remote.everything() == ['/o']
    assert remote.read('o') == b'theirs'


def test_two_nodes_that_bring_the_same_new_object_do_not_harm_each_other(remote: Remote_) -> None:
    provider, client = remote.provider()
    other, _ = remote.provider()
    once = [True]

    def overtake(call: Call) -> None:
        if call.query.get('multipart-manifest') == 'put' and once:
            once.clear()
            send(other, film(), condition=ABSENT)
    client.before = overtake
    with pytest.raises(PreconditionFailed):
        send(provider, film(), condition=ABSENT)
    assert remote.read('o') == film().data
    assert len(remote.segments()) == 3


def test_a_client_s_delete_takes_the_segments_along(remote: Remote_) -> None:
    provider, _ = remote.provider()
    send(provider, film())
    response = provider.shunt_delete(ShuntRequest('DELETE', 'o'))
    assert response.status == 204
    response.close()
    assert remote.everything() == []


def test_what_another_node_has_just_brought_back_keeps_its_segments(remote: Remote_) -> None:
    provider, client = remote.provider()
    other, _ = remote.provider()
    send(provider, film())
    deleted: list[bool] = []

    def bring_back(call: Call) -> None:
        if deleted == [True]:
            deleted.append(False)
            send(other, film(), condition=ABSENT)
        if call.method == 'DELETE' and call.key == 'o':
            deleted.append(True)
    client.before = bring_back
    provider.delete_object('o')
    assert deleted == [True, False]
    assert remote.read('o') == film().data


def test_a_missing_segment_is_told_and_the_manifest_is_not_written(remote: Remote_) -> None:
    provider, client = remote.provider()
    old = film()
    send(provider, old)
    newer = film(b=b'B' * 10)

    def spoil(call: Call) -> None:
        if call.query.get('multipart-manifest') == 'put':
            for name in remote.names('_segments_versions'):
                remote.client.delete_object(remote.bucket + '_segments_versions', name)
    client.before = spoil
    with pytest.raises(TemporaryError, match=r'film/b.*404') as caught:
        send(provider, newer, data_time=LATER)
    assert caught.value.reason == 'segments'
    assert remote.read('o') == old.data


def test_a_shared_segment_that_vanishes_meanwhile_is_sent_again(remote: Remote_) -> None:
    """Another manifest's end takes it along, just while ours becomes visible."""
    provider, client = remote.provider()
    send(provider, film(), 'one')
    other, _ = remote.provider()
    once = [True]

    def spoil(call: Call) -> None:
        if call.method == 'HEAD' and once and remote.names().count('two'):
            once.clear()
            remote.client.delete_object(remote.bucket + '_segments', 'film/b')
    client.before = spoil
    large = film()
    send(provider, large, 'two', condition=ABSENT)
    assert not once
    assert remote.read('two') == large.data
    provider.prove(meta_of(large, 'two'), large=large)


def test_two_that_send_the_same_segment_at_once_share_it(remote: Remote_) -> None:
    """Whoever's owner mark was overwritten must not lose the segment with the other's delete."""
    one, first = remote.provider()
    two, second = remote.provider()
    barrier = threading.Barrier(2, timeout=20)

    def meet(call: Call) -> None:
        if call.method == 'PUT' and call.key == 'film/a':
            barrier.wait()  # both have seen that it is not there
    first.before = second.before = meet
    failures: list[BaseException] = []

    def run(provider: SyncSwift, name: str) -> None:
        try:
            send(provider, slo({('c_segments', 'film/a'): b'a' * 1000}), name)
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=run, args=args) for args in ((one, 'one'), (two, 'two'))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    first.before = second.before = lambda call: None
    for provider, name, left in ((one, 'one', 'two'), (two, 'two', '')):
        provider.delete_object(name)
        if left:
            assert remote.read(left) == b'a' * 1000
    assert remote.everything() == []


def test_a_segment_that_somebody_else_finished_first_is_shared(remote: Remote_) -> None:
    """Also with a single connection, which the body that is on its way holds."""
    provider, client = remote.provider(max_connections=1)
    other, _ = remote.provider()
    data = b'x' * (2 * MEBIBYTE)
    large = slo({('c_segments', 'big'): data})
    once = [True]

    def overtake(call: Call) -> None:
        if call.method == 'PUT' and call.key == 'big' and once:
            once.clear()
            send(other, slo({('c_segments', 'big'): data}), 'theirs')

    class Overtaken(MemoryLargeSource):
        def _read(self, *arguments: Any) -> Iterator[bytes]:
            for chunk in super()._read(*arguments):
                overtake(Call('PUT', 'c', 'big'))
                yield chunk
    large.__class__ = Overtaken
    send(provider, large)
    assert remote.head('big', '_segments')['x-object-meta-1space-owner'] == '*'
    other.delete_object('theirs')
    assert remote.read('o') == data


def test_nothing_of_ours_shows_as_anybody_s_metadata(remote: Remote_) -> None:
    provider, _ = remote.provider(convert_dlo=True, min_segment_size=1000)
    send(provider, joined_source(), user_metadata={'a': 'b'})
    assert dict(provider.head_object('o').user_metadata) == {'a': 'b'}
    for end in ('_segments_joined', '_segments'):
        for name in remote.names(end):
            assert dict(provider.head_object(name, bucket=remote.bucket + end).user_metadata) == {}
    found = dict(provider.head_object('o').sysmeta)
    assert found['swift-slo-etag']


# -- expiry -------------------------------------------------------------------------------

def ends(remote: Remote_, end: str = '_segments') -> set[int | None]:
    found = set()
    for name in remote.names(end):
        text = remote.head(name, end).get('x-delete-at')
        found.add(int(text) if text else None)
    return found


def test_segments_outlive_their_manifest_and_no_visit_moves_their_end(remote: Remote_) -> None:
    provider, _ = remote.provider(remote_delete_after=10_000, remote_delete_after_addition=500)
    born = Timestamp(NOW - 1000)
    large = film()
    for _ in range(2):
        send(provider, large, data_time=born)
        assert int(remote.head('o')['x-delete-at']) == NOW - 1000 + 10_000
        assert ends(remote) == {NOW - 1000 + 10_500}
    head = provider.head_object('o')
    meta = meta_of(large, data_time=born)
    assert provider.comparable(head) == provider.comparable(meta)
    provider.update_metadata(replace(meta, user_metadata={'a': 'b'}), head)
    assert int(remote.head('o')['x-delete-at']) == NOW - 1000 + 10_000
    assert ends(remote) == {NOW - 1000 + 10_500}


def test_an_end_of_the_object_s_own_counts_with_the_offset(remote: Remote_) -> None:
    provider, _ = remote.provider(propagate_expiration=True, propagate_expiration_offset=7)
    send(provider, film(), delete_at=NOW + 50_000)
    assert int(remote.head('o')['x-delete-at']) == NOW + 50_007
    assert ends(remote) == {NOW + 50_007 + 86_400}


def test_segments_that_are_there_live_as_long_as_the_last_manifest_needs_them(remote: Remote_) -> None:
    provider, _ = remote.provider(propagate_expiration=True, remote_delete_after_addition=100)
    send(provider, film(), 'one', delete_at=NOW + 10_000)
    send(provider, film(), 'two', delete_at=NOW + 20_000)
    assert ends(remote) == {NOW + 20_100}
    send(provider, film(), 'three', delete_at=NOW + 15_000)
    assert ends(remote) == {NOW + 20_100}
    send(provider, film(), 'four')
    assert ends(remote) == {None}
    send(provider, film(), 'five', delete_at=NOW + 15_000)
    assert ends(remote) == {None}
    assert all(remote.head(name, '_segments')['content-type'] == 'application/octet-stream'
               for name in remote.names('_segments'))


@pytest.mark.parametrize('kind', ['slo', 'dlo'])
def test_a_new_end_of_a_manifest_takes_its_own_segments_along(remote: Remote_, kind: str) -> None:
    provider, _ = remote.provider(propagate_expiration=True, remote_delete_after_addition=100)
    large = film() if kind == 'slo' else dlo(film().objects, 'c_segments', 'film/')
    send(provider, large)
    for moment, end in enumerate((NOW + 10_000, NOW + 30_000, NOW + 20_000)):
        meta = meta_of(large, delete_at=end, meta_time=Timestamp(NOW + moment))
        provider.update_metadata(meta, provider.head_object('o'))
        assert int(remote.head('o')['x-delete-at']) == end
        assert ends(remote) == {end + 100}
        assert remote.read('o') == large.data


def test_an_end_given_to_one_manifest_shortens_nobody_else_s(remote: Remote_) -> None:
    provider, _ = remote.provider(propagate_expiration=True)
    send(provider, film(), 'one')
    send(provider, film(), 'two')
    provider.update_metadata(meta_of(film(), 'one', delete_at=NOW + 10_000, meta_time=LATER),
                             provider.head_object('one'))
    assert ends(remote) == {None}


# -- mappings of a whole account, policies, limits ----------------------------------------

def test_under_an_account_mapping_segments_keep_their_containers_and_stay_with_their_rows(remote: Remote_) -> None:
    provider, client = remote.provider(bucket=remote.bucket + ':', container='/*')
    large = slo({('c_segments', 'a'): b'a' * 100, ('other', 'b'): b'b' * 100})
    send(provider, large)
    assert set(remote.containers()) == {'', ':c', ':c_segments', ':other'}
    assert remote.read('o', ':c') == large.data
    assert 'x-object-meta-1space-owner' not in remote.head('a', ':c_segments')
    rows, _ = remote.provider(bucket=remote.bucket + ':c_segments', container='c_segments')
    source = described('a', b'a' * 100, user_metadata={'own': 'metadata'})
    rows.update_metadata(source, rows.head_object('a'))
    client.calls.clear()
    send(provider, large)
    assert client.bytes_sent() == 0
    provider.prove(meta_of(large), large=large)
    assert dict(rows.head_object('a').user_metadata) == {'own': 'metadata'}
    provider.delete_object('o')
    assert set(remote.everything()) == {':c_segments/a', ':other/b'}


def test_under_an_account_mapping_a_dlo_shows_what_the_rows_bring(remote: Remote_) -> None:
    provider, _ = remote.provider(bucket=remote.bucket + ':', container='/*')
    large = dlo({('c_segments', 'v/1'): b'one', ('c_segments', 'v/2'): b'two'}, 'c_segments', 'v/')
    send(provider, large)
    assert remote.read('o', ':c') == b'onetwo'
    assert remote.head('o', ':c')['x-object-manifest'] == f'{remote.bucket}:c_segments/v/'
    provider.prove(meta_of(large), large=large)


def test_a_segment_with_a_row_of_its_own_lives_as_long_as_its_manifest(remote: Remote_) -> None:
    """The segment is older than the manifest, so by itself it would vanish first."""
    keys: dict[str, Any] = {'remote_delete_after': 10_000, 'remote_delete_after_addition': 500}
    remote.client.put_container(remote.bucket + ':c')
    remote.client.put_container(remote.bucket + ':c_segments')
    provider, _ = remote.provider(bucket=remote.bucket + ':', container='/*', **keys)
    rows, _ = remote.provider(bucket=remote.bucket + ':c_segments', container='c_segments', **keys)
    segment_born, born = Timestamp(NOW - 5000), Timestamp(NOW - 1000)
    upload(rows, 'a', b'a' * 100, data_time=segment_born)
    source = described('a', b'a' * 100, data_time=segment_born)
    assert ends(remote, ':c_segments') == {NOW + 5000}
    send(provider, slo({('c_segments', 'a'): b'a' * 100}), data_time=born)
    assert ends(remote, ':c_segments') == {NOW + 9500}
    head = rows.head_object('a')
    assert rows.comparable(source) == rows.comparable(head)
    rows.update_metadata(replace(source, user_metadata={'a': 'b'}), head)
    assert ends(remote, ':c_segments') == {NOW + 9500}
    assert rows.comparable(replace(source, user_metadata={'a': 'b'})) == rows.comparable(rows.head_object('a'))


def test_segment_containers_are_made_with_the_mapping_s_policy(remote: Remote_) -> None:
    provider, _ = remote.provider(storage_policy='silver')
    send(provider, film())
    assert remote.client.head_container(remote.bucket + '_segments')['x-storage-policy'] == 'silver'


@pytest.mark.parametrize('container', ['c', '/*'])
def test_with_an_unknown_policy_nothing_is_made(remote: Remote_, container: str) -> None:
    bucket = remote.bucket if container == 'c' else remote.bucket + ':'
    provider, _ = remote.provider(bucket=bucket, container=container, storage_policy='fake')
    with pytest.raises(PermanentError) as caught:
        send(provider, film())
    assert caught.value.reason == 'storage-policy'
    assert remote.containers() == ['']
    assert remote.names() == []


def test_nothing_is_sent_for_a_container_that_does_not_exist(remote: Remote_) -> None:
    provider, client = remote.provider(bucket=remote.bucket + '-missing')
    with pytest.raises(BucketNotFound):
        send(provider, film())
    assert client.sent('PUT') == []
    assert remote.containers() == ['']


def test_metadata_that_does_not_fit_is_told_before_anything_is_sent(remote: Remote_) -> None:
    provider, client = remote.provider()
    with pytest.raises(LimitExceeded):
        send(provider, film(), user_metadata={'x' * 129: 'y'})
    assert client.sent('PUT') == []


def test_our_keys_give_way_to_the_user_s_on_large_objects_too(remote: Remote_) -> None:
    provider, _ = remote.provider(convert_dlo=True, min_segment_size=1000)
    user = {f'k{i:02}': 'v' for i in range(90)}
    large = joined_source()
    send(provider, large, user_metadata=user)
    assert dict(provider.head_object('o').user_metadata) == user


def test_a_large_object_in_an_account_of_many_names_costs_bounded_requests(remote: Remote_) -> None:
    """A copy of n new segments: a HEAD, a PUT and a last HEAD each, and the manifest."""
    provider, client = remote.provider()
    send(provider, film(), 'first')
    client.calls.clear()
    large = slo({('c_segments', f'g/{n}'): bytes([n + 1]) * 10 for n in range(8)})
    send(provider, large, condition=ABSENT)
    assert len(client.sent('HEAD')) == 16
    assert len(client.sent('PUT')) == 9
    assert client.calls == []


def test_the_bytes_of_large_segments_stay_out_of_memory(remote: Remote_) -> None:
    import tracemalloc
    provider, _ = remote.provider()
    block = b'z' * (8 * MEBIBYTE)
    large = slo({('c_segments', str(n)): block for n in range(6)})
    send(provider, film(), 'warm')
    tracemalloc.start()
    try:
        send(provider, large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert remote.head('o')['content-length'] == str(48 * MEBIBYTE)
    assert peak < 6 * MEBIBYTE
