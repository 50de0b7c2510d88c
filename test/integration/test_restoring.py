"""Restores into a real Swift: clients see what was archived, users always win, the daemon knows the rows as ours."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from swift.common.utils import FileLikeIter, Timestamp
from swift.container.backend import ContainerBroker
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from container_crawler.internal_client import make_internal_client
from s3_sync.clock import SystemClock
from s3_sync.errors import ConnectionFailed
from s3_sync.large_objects.dlo import dlo_digest
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.manifest import slo_etag
from s3_sync.large_objects.model import Kind, Layout, Segment
from s3_sync.local.versions import meta_of, restored_at
from s3_sync.restoring.plan import Limits, Origin, RestorePlan, plan_restore
from s3_sync.restoring.sources import Source, StreamSource
from s3_sync.restoring.tee import Tee
from s3_sync.restoring.writer import Outcome, Writer
from s3_sync.timestamps import RowTimes, http_date, is_ours, marked, row_times
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ObjectMeta
from test.servers.insider import inside

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning')

DAY = 86400.0
LIMITS = Limits(max_file_size=5 * 1024 ** 3, segment_bytes=1024 ** 3)
SMALL = Limits(max_file_size=1000, segment_bytes=300, max_segments=100)
ORIGIN = Origin('0123456789abcdef')
DATA = bytes(range(256)) * 10
PARTS = [b'a' * 700, b'b' * 300, b'c' * 11]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Inside:
    """Swift's own proxy application, slo and dlo included, in this process: a ``LocalWriter``."""

    def __init__(self, cluster: SwiftCluster, folder: Path) -> None:
        text = cluster.internal_client_conf.read_text()
        text = text.replace('cache symlink', 'cache slo dlo versioned_writes symlink')
        assert 'slo dlo' in text
        conf = folder / 'restoring.conf'
        conf.write_text(text + '\n[filter:slo]\nuse = egg:swift#slo\nrate_limit_under_size = 0\n'
                               '[filter:dlo]\nuse = egg:swift#dlo\n'
                               '[filter:versioned_writes]\nuse = egg:swift#versioned_writes\n'
                               'allow_object_versioning = true\n')
        self._account = cluster.account
        self._client = make_internal_client(str(cluster.swift_dir), str(conf), tries=1)
        self.requests: list[tuple[str, str, int]] = []

    def put(self, container: str, name: str, headers: Mapping[str, str], body: Iterable[bytes],
            query: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        return self.request('PUT', container, name, headers, body, query)

    def head(self, container: str, name: str) -> tuple[int, Mapping[str, str]]:
        return self.request('HEAD', container, name, {'x-newest': 'true'})

    def delete(self, container: str, name: str, headers: Mapping[str, str]) -> int:
        return self.request('DELETE', container, name, headers)[0]

    def ensure_container(self, container: str) -> int:
        return self.request('PUT', container, '', {})[0]

    def request(self, method: str, container: str, name: str, headers: Mapping[str, str],
                body: Iterable[bytes] | None = None,
                query: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, str]]:
        sent = {k.encode().decode('latin-1'): v.encode().decode('latin-1') for k, v in headers.items()}
        path = quote(f'/v1/{self._account}/{container}' + (f'/{name}' if name else ''))
        response = self._client.make_request(
            method, path, sent, (2, 3, 4, 5), body_file=None if body is None else FileLikeIter(iter(body)),
            params=dict(query or {}))
        response.body  # noqa: B018  frees the connection
        self.requests.append((method, name, response.status_int))
        return response.status_int, {k.lower(): v.encode('latin-1').decode() for k, v in response.headers.items()}


class World:
    def __init__(self, cluster: SwiftCluster, client: Connection, container: str, local: Inside) -> None:
        self.cluster = cluster
        self.client = client
        self.container = container
        self.segments = f'{container}-segs'
        self.local = local
        self.written = Timestamp(time.time() - DAY)

    def plan(self, meta: ObjectMeta, layout: Layout | None = None, limits: Limits = LIMITS,
             **options: Any) -> RestorePlan:
        return plan_restore(meta, self.container, layout, limits, ORIGIN, **{'now': time.time(), **options})

    def version(self, data: bytes = DATA, name: str = 'o', **other: Any) -> ObjectMeta:
        return ObjectMeta(name, **{'size': len(data), 'etag': md5(data), 'content_type': 'text/plain',  # type: ignore[arg-type]
                                   'data_time': self.written, **other})

    def run(self, plan: RestorePlan, data: bytes | Iterator[bytes] = DATA) -> Outcome:
        chunks = iter([data[:100], data[100:]]) if isinstance(data, bytes) else data
        return Writer(self.local, clock=SystemClock()).run(plan, StreamSource(c for c in chunks if c))

    def restore(self, **options: Any) -> Outcome:
        return self.run(self.plan(self.version(), **options))

    def layout(self, kind: Kind = 'slo') -> Layout:
        segments = tuple(Segment(self.segments, f'p/{n}', md5(part), len(part), 0, len(part))
                         for n, part in enumerate(PARTS))
        etag = slo_etag(segments) if kind == 'slo' else dlo_digest(segments)
        return Layout(kind, segments, (), etag, sum(map(len, PARTS)), prefix=f'{self.segments}/p/')

    def large(self, kind: Kind, **other: Any) -> ObjectMeta:
        return self.version(b''.join(PARTS), large_object=kind, etag=self.layout(kind).etag, etag_is_md5=False, **other)

    def archive(self, name: str = 'o', container: str = '', written: Timestamp | None = None) -> None:
        """The local delete after a copy, as the daemon does it."""
        at = written or self.written
        now = self.local.head(container or self.container, name)[1].get('x-backend-data-timestamp', at)
        stamp = marked(RowTimes(at, Timestamp(now), at), time.time())
        self.local.request('DELETE', container or self.container, name, {'x-timestamp': stamp.internal})

    def put(self, data: bytes, at: Timestamp, name: str = 'o', container: str = '') -> int:
        return self.local.put(container or self.container, name, {'x-timestamp': at.internal,
                                                                  'content-length': str(len(data))}, [data], {})[0]

    def get(self, name: str = 'o') -> bytes | None:
        try:
            body: bytes = self.client.get_object(self.container, name)[1]
            return body
        except ClientException as error:
            assert error.http_status == 404, error
            return None

    def listed(self, container: str = '') -> list[dict[str, Any]]:
        try:
            entries: list[dict[str, Any]] = self.client.get_container(container or self.container)[1]
            return entries
        except ClientException as error:
            assert error.http_status == 404, error
            return []

    def row(self, name: str = 'o', container: str = '') -> dict[str, Any]:
        [database] = self.cluster.container_databases(container or self.container)
        rows = [row for row in ContainerBroker(str(database)).get_items_since(-1, 1000) if row['name'] == name]
        return dict(rows[-1])


@pytest.fixture(scope='module')
def local(swift: SwiftCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(swift):
        yield Inside(swift, tmp_path_factory.mktemp('restoring'))


@pytest.fixture
def world(swift: SwiftCluster, swift_client: Connection, container: str, local: Inside) -> World:
    local.requests.clear()
    return World(swift, swift_client, container, local)


# -- what clients see --------------------------------------------------------------------

def test_an_archived_object_is_back_as_it_was(world: World) -> None:
    world.put(DATA, world.written)
    world.archive()
    assert world.get() is None
    expires = int(time.time()) + 3600
    meta = world.version(user_metadata={'farg': 'Blå', 'empty': ''}, delete_at=expires,
                         headers={'content-encoding': 'x', 'cache-control': 'y', 'content-language': 'sv',
                                  'content-disposition': 'z'})
    assert world.run(world.plan(meta)) == Outcome('restored', bytes=len(DATA))
    headers, body = world.client.get_object(world.container, 'o')
    assert body == DATA
    assert headers['last-modified'] == http_date(-(-float(world.written) // 1))
    assert headers['x-timestamp'] == world.written.normal
    assert (headers['content-type'], headers['x-object-meta-farg'], headers['x-delete-at']) == (
        'text/plain', 'Blå', str(expires))
    assert [headers[name] for name in ('content-encoding', 'cache-control', 'content-language',
                                       'content-disposition')] == ['x', 'y', 'sv', 'z']
    assert not any('1space' in name or 'sysmeta' in name for name in headers)


@pytest.mark.parametrize('age', [5 * 7 * DAY, DAY])
def test_a_restore_after_our_delete_is_stored_whatever_its_age(world: World, age: float) -> None:
    """A PUT at the original time answers 202 and stores nothing; an old tombstone is reclaimed at once."""
    world.written = Timestamp(time.time() - age)
    world.put(DATA, world.written)
    world.archive()
    if age == DAY:
        assert world.put(DATA, world.written) == 202
    for _ in range(2):
        assert world.restore() == Outcome('restored', bytes=len(DATA))
        assert world.get() == DATA
        world.archive()


@pytest.mark.parametrize('name', ['ключ \U0001f600', 'a//b', 'q?a=1&b#c', '%41', 'x' * 1024])
def test_names_come_back_byte_for_byte(world: World, name: str) -> None:
    assert world.run(world.plan(world.version(name=name))).kind == 'restored'
    assert [entry['name'] for entry in world.listed()] == [name]
    assert world.get(name) == DATA


def test_an_archived_slo_is_back_with_its_segments_and_its_listing(world: World) -> None:
    world.local.ensure_container(world.segments)
    for n, part in enumerate(PARTS):
        # Segments are rarely as old as their manifest; and one was written after it.
        at = Timestamp(float(world.written) + (n - 1) * 10)
        world.put(part, at, f'p/{n}', world.segments)
        world.archive(f'p/{n}', world.segments, at)
    assert world.run(world.plan(world.large('slo'), world.layout()), b''.join(PARTS)).kind == 'restored'
    assert world.get() == b''.join(PARTS)
    [entry] = world.listed()
    assert (entry['bytes'], entry['slo_etag']) == (1011, f'"{world.layout().etag}"')
    assert [entry['name'] for entry in world.listed(world.segments)] == ['p/0', 'p/1', 'p/2']
    headers = world.client.head_object(world.container, 'o')
    assert (headers['etag'], headers['x-timestamp']) == (f'"{world.layout().etag}"', world.written.normal)


def test_s3_clients_keep_seeing_the_etag_of_their_multipart_upload(world: World) -> None:
    etag = multipart_etag([md5(part) for part in PARTS])
    s3 = world.cluster.s3_client()
    try:
        assert world.run(world.plan(world.version(
            b''.join(PARTS), large_object='slo', etag=etag), world.layout()), b''.join(PARTS)).kind == 'restored'
        plain = world.version(name='plain', etag=etag, large_object='multipart', etag_is_md5=False)
        assert world.run(world.plan(plain)).kind == 'restored'
        for name, body in (('o', b''.join(PARTS)), ('plain', DATA)):
            shown = s3.get_object(Bucket=world.container, Key=name)
            assert (shown['ETag'], shown['Body'].read()) == (f'"{etag}"', body)
        assert [o['ETag'] for o in s3.list_objects_v2(Bucket=world.container)['Contents']] == [
            f'"{etag}"', f'"{md5(DATA)}"']
    finally:
        s3.close()


def test_an_archived_dlo_is_back_with_its_segments(world: World) -> None:
    assert world.run(world.plan(world.large('dlo'), world.layout('dlo')), b''.join(PARTS)).kind == 'restored'
    assert world.get() == b''.join(PARTS)
    assert world.client.head_object(world.container, 'o')['x-object-manifest'] == f'{world.segments}/p/'


def test_what_is_too_large_for_one_put_comes_back_in_segments_of_ours(world: World) -> None:
    plan = world.plan(world.version(), limits=SMALL)
    assert world.run(plan).kind == 'restored'
    assert world.get() == DATA
    names = [entry['name'] for entry in world.listed(f'{world.container}_segments')]
    assert names == [f'o/{world.written.normal}/2560/300/{n:08}' for n in range(9)]
    stored = json.loads(world.client.get_object(world.container, 'o', query_string='multipart-manifest=get')[1])
    assert [entry['bytes'] for entry in stored] == [300] * 8 + [160]


def test_a_second_restore_finds_the_first_one_s_segments(world: World) -> None:
    world.run(world.plan(world.large('slo'), world.layout(), now=time.time() - 7200), b''.join(PARTS))
    world.archive()
    world.local.requests.clear()
    assert world.run(world.plan(world.large('slo'), world.layout()), b''.join(PARTS)).kind == 'restored'
    assert {name for method, name, _ in world.local.requests if method == 'PUT' and name} == {'o'}
    assert world.get() == b''.join(PARTS)


# -- users win ---------------------------------------------------------------------------

def test_a_user_s_newer_object_stays(world: World) -> None:
    world.client.put_object(world.container, 'o', b'new')
    assert world.restore() == Outcome('newer')
    assert world.get() == b'new'


def test_a_user_s_newer_metadata_stays(world: World) -> None:
    world.put(DATA, world.written)
    world.client.post_object(world.container, 'o', {'X-Object-Meta-New': 'yes'})
    world.restore()
    assert world.client.head_object(world.container, 'o')['x-object-meta-new'] == 'yes'
    assert not is_ours(row_times(world.row()['created_at']).newest)


def test_a_user_s_delete_stays_and_its_time_is_told(world: World) -> None:
    world.put(DATA, world.written)
    world.client.delete_object(world.container, 'o')
    outcome = world.restore()
    assert outcome.kind == 'deleted'
    assert outcome.time is not None and float(outcome.time) > time.time() - 60 and not is_ours(outcome.time)
    assert world.get() is None


def test_the_same_version_being_there_needs_nothing(world: World) -> None:
    later = world.plan(world.version(), now=time.time() + 10)
    assert world.run(later).kind == 'restored'
    assert world.restore() == Outcome('already')


def test_a_delete_or_a_write_after_the_restore_wins(world: World) -> None:
    world.restore()
    world.client.delete_object(world.container, 'o')
    assert (world.get(), world.listed()) == (None, [])
    assert world.restore().kind == 'deleted'
    world.client.put_object(world.container, 'o', b'new')
    assert world.restore().kind == 'newer'
    assert world.get() == b'new'


def test_a_delete_while_the_bytes_still_come_wins(world: World) -> None:
    def chunks() -> Iterator[bytes]:
        yield DATA[:1000]
        yield DATA[1000:2000]
        world.local.request('DELETE', world.container, 'o', {'x-timestamp': Timestamp(time.time()).internal})
        yield DATA[2000:]
    world.run(world.plan(world.version()), chunks())
    assert (world.get(), world.listed()) == (None, [])


def test_a_copy_dated_in_the_future_can_still_be_written_over_and_deleted(world: World) -> None:
    world.written = Timestamp(time.time() + DAY)
    assert world.restore().kind == 'restored'
    headers = world.local.head(world.container, 'o')[1]
    assert meta_of('o', dict(headers), row_times(world.row()['created_at'])).data_time == world.written
    world.client.put_object(world.container, 'o', b'new')
    assert world.get() == b'new'
    world.client.delete_object(world.container, 'o')
    assert world.get() is None


def test_a_versioned_container_keeps_what_users_wrote_and_shows_the_restored_object(world: World) -> None:
    world.client.post_container(world.container, {'X-Versions-Enabled': 'true'})
    assert world.restore().kind == 'restored'
    assert world.get() == DATA
    world.client.put_object(world.container, 'o', b'new')
    assert world.restore().kind == 'newer'
    assert world.get() == b'new'
    versions = world.client.get_container(world.container, query_string='versions=true')[1]
    assert sorted(entry['bytes'] for entry in versions) == [3, len(DATA)]


# -- the daemon --------------------------------------------------------------------------

@pytest.mark.parametrize('kind', ['plain', 'slo', 'dlo', 'own'])
def test_rows_of_restored_objects_and_segments_are_known_as_ours(world: World, kind: str) -> None:
    before = time.time()
    if kind in ('slo', 'dlo'):
        layout = world.layout(kind)  # type: ignore[arg-type]
        world.run(world.plan(world.large(kind), layout), b''.join(PARTS))  # type: ignore[arg-type]
        places = [(world.container, 'o'), (world.segments, 'p/1')]
    else:
        world.run(world.plan(world.version(), limits=SMALL if kind == 'own' else LIMITS))
        places = [(world.container, 'o')]
        if kind == 'own':
            places.append((f'{world.container}_segments', f'o/{world.written.normal}/2560/300/00000001'))
    for container, name in places:
        times = row_times(world.row(name, container)['created_at'])
        headers = world.local.head(container, name)[1]
        assert is_ours(times.newest) and is_ours(times.data)
        assert times.newest.normal == world.written.normal
        restored = restored_at(headers, times)
        assert restored is not None and before - 1 <= restored <= time.time() + 1
        assert headers['x-object-sysmeta-1space-restored-from'] == ORIGIN.generation
        assert meta_of(name, dict(headers), times).data_time == world.written


def test_metadata_that_was_set_later_is_no_newer_data_for_the_daemon(world: World) -> None:
    posted = Timestamp(float(world.written) + 100)
    assert world.run(world.plan(world.version(meta_time=posted))).kind == 'restored'
    times = row_times(world.row()['created_at'])
    assert times.newest.normal == posted.normal
    assert meta_of('o', dict(world.local.head(world.container, 'o')[1]), times).data_time == world.written


def test_a_user_s_post_after_the_restore_makes_the_row_the_user_s(world: World) -> None:
    world.restore()
    world.client.post_object(world.container, 'o', {'X-Object-Meta-New': 'yes'})
    assert not is_ours(row_times(world.row()['created_at']).newest)


# -- faults ------------------------------------------------------------------------------

@pytest.mark.parametrize('kind', ['plain', 'slo', 'own'])
@pytest.mark.parametrize('fault', ['reset', 'short', 'other'])
def test_bytes_that_are_not_right_leave_nothing_behind(world: World, kind: str, fault: str) -> None:
    data = b''.join(PARTS) if kind == 'slo' else DATA

    def chunks() -> Iterator[bytes]:
        yield data[:300]
        yield data[300:-1]
        if fault == 'reset':
            raise ConnectionFailed('reset')
        if fault == 'other':
            yield b'\xff' if data[-1:] != b'\xff' else b'\xfe'
    plan = (world.plan(world.large('slo'), world.layout()) if kind == 'slo'
            else world.plan(world.version(), limits=SMALL if kind == 'own' else LIMITS))
    outcome = world.run(plan, chunks())
    assert (outcome.kind, outcome.reason) == ('failed', 'connection' if fault == 'reset' else 'checksum')
    assert world.get() is None
    assert [world.listed(name) for name in (world.container, world.segments, f'{world.container}_segments')] == [
        [], [], []]


def test_a_container_that_is_not_here_ends_it(world: World) -> None:
    world.client.delete_container(world.container)
    assert world.restore().reason == 'no-container'


# -- streamed to a client at once --------------------------------------------------------

def tee(world: World, plan: RestorePlan, data: bytes) -> Tee:
    writer = Writer(world.local, clock=SystemClock())

    def restore(source: Source) -> Outcome:
        return writer.run(plan, source)
    stream = (data[at:at + 65536] for at in range(0, len(data), 65536))
    return Tee(stream, len(data), restore, lambda outcome: None, clock=SystemClock(), patience_seconds=30)


def test_a_client_s_download_brings_the_object_back(world: World) -> None:
    data = DATA * 2000
    both = tee(world, world.plan(world.version(data)), data)
    assert b''.join(both) == data
    assert both.wait() == Outcome('restored', bytes=len(data))
    assert world.get() == data


def test_a_client_that_goes_leaves_nothing(world: World) -> None:
    data = DATA * 2000
    limits = Limits(max_file_size=1024 ** 2, segment_bytes=1024 ** 2)
    both = tee(world, world.plan(world.version(data), limits=limits), data)
    for _ in range(40):
        next(both)
    both.close()
    assert both.wait().reason == 'client-gone'
    assert world.get() is None
    assert world.listed(f'{world.container}_segments') == []


def test_migrated_versions_of_a_large_object_meet_restored_ones(world: World) -> None:
    restored = world.plan(world.version(), limits=SMALL)
    migrated = plan_restore(world.version(), world.container, None, SMALL, Origin('x', migration=True),
                            now=time.time() + 5)
    assert world.run(restored).kind == world.run(migrated).kind == 'restored'
    assert len(world.listed(f'{world.container}_segments')) == 9
    assert world.get() == DATA
