"""Disk, object servers and proxy give the same object; what no source can give is told apart."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import SourceEncrypted, SourceGone, SourceStale, SourceUnavailable, SourceUnusable
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DiskSource
from s3_sync.local.proxy import ProxySource
from s3_sync.local.versions import SMALL_BYTES, ThroughProxy
from s3_sync.metric_defs import SOURCES
from s3_sync.trial.swift_rings import Policy
from s3_sync.types import ObjectRow
from test.servers.local_world import World, cluster_world, read

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning')

AWKWARD = ['%41', 'a//b', '/lead', 'end/', 'line\nbreak', 'ключ \U0001f600', 'q?a=1&b#c', '.', '../up', 'x' * 1024]
LARGE = os.urandom(3 * SMALL_BYTES + 17)


@pytest.fixture(scope='module')
def shared_world() -> Iterator[World]:
    policies = (Policy('gold', default=True), Policy('pieces', kind='erasure_coding'))
    with cluster_world(nodes=3, replicas=3, policies=policies) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """Nobody rests from an earlier test in which a node was down."""
    shared_world.direct._resting.clear()
    shared_world.chain._direct._resting.clear()
    return shared_world


class TestTheThreeSourcesAgree:
    """Same bytes, metadata and times from each source, and from the chain."""

    def check(self, world: World, row: ObjectRow, body: bytes) -> Any:
        from_disk, *others = [read(source, row) for source in (world.disk, world.direct, world.proxy, world.chain)]
        assert from_disk[0] == body
        for other in others:
            assert dict(other[1].user_metadata) == dict(from_disk[1].user_metadata)
            assert dict(other[1].sysmeta) == dict(from_disk[1].sysmeta)
            assert other == from_disk
        assert from_disk[2].covers(row.times)
        return from_disk[1]

    @pytest.mark.parametrize('body', [b'hello', b'', LARGE], ids=['small', 'empty', 'large'])
    def test_on_a_regular_object(self, world: World, body: bytes) -> None:
        c = world.container('agree')
        world.client.put_object(c, 'o', body, content_type='text/x-test; charset=utf-8', headers={
            'X-Object-Meta-Colour': 'grün \U0001f600', 'Content-Encoding': 'br', 'Content-Language': 'de',
            'Content-Disposition': 'attachment', 'Cache-Control': 'no-cache', 'X-Delete-At': '4102444800'})
        meta = self.check(world, world.row(c, 'o'), body)
        assert meta.user_metadata == {'colour': 'grün \U0001f600'}
        assert (meta.content_type, meta.delete_at) == ('text/x-test; charset=utf-8', 4102444800)
        assert set(meta.headers) == {'content-encoding', 'content-language', 'content-disposition', 'cache-control'}

    @pytest.mark.parametrize('name', AWKWARD)
    def test_on_awkward_names(self, world: World, name: str) -> None:
        c = world.container('awkward')
        world.put_exactly(c, name, name.encode())
        assert self.check(world, world.row(c, name), name.encode()).name == name

    def test_after_a_post(self, world: World) -> None:
        c = world.container('posted')
        world.client.put_object(c, 'o', b'x', headers={'X-Object-Meta-A': '1'}, content_type='text/plain')
        first = world.row(c, 'o')
        world.client.post_object(c, 'o', {'X-Object-Meta-B': '2'})
        row = world.row(c, 'o')
        meta = self.check(world, row, b'x')
        assert meta.user_metadata == {'b': '2'}
        assert meta.data_time == first.times.data < meta.meta_time == row.times.metadata

    def test_after_a_post_of_the_content_type(self, world: World) -> None:
        c = world.container('ctype')
        world.client.put_object(c, 'o', b'x', content_type='text/plain')
        world.client.post_object(c, 'o', {'Content-Type': 'text/new'})
        world.client.post_object(c, 'o', {'X-Object-Meta-B': '2'})
        row = world.row(c, 'o')
        assert row.times.data < row.times.content_type < row.times.metadata
        meta = self.check(world, row, b'x')
        assert (meta.content_type, meta.ctype_time) == ('text/new', row.times.content_type)

    def test_on_a_raw_large_object_manifest(self, world: World) -> None:
        c = world.container('large')
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{c}/seg'})
        world.client.put_object(c, 'seg', b'1')
        world.client.put_object(c, 'slo', b'[{"path": "/large/seg"}]', query_string='multipart-manifest=put')
        assert self.check(world, world.row(c, 'dlo'), b'').large_object == 'dlo'
        row = world.row(c, 'slo')
        assert self.check(world, row, read(world.disk, row)[0]).large_object == 'slo'

    def test_on_a_deleted_object(self, world: World) -> None:
        c = world.container('deleted')
        world.client.put_object(c, 'o', b'x')
        row = world.row(c, 'o')
        world.client.delete_object(c, 'o')
        for source in (world.disk, world.direct, world.proxy, world.chain):
            with pytest.raises(SourceGone):
                source.open(row)
        assert not world.chain.superseded(world.row(c, 'o'))

    def test_on_a_body_read_twice(self, world: World) -> None:
        c = world.container('twice')
        world.client.put_object(c, 'o', LARGE)
        for source in (world.disk, world.direct, world.proxy):
            found = source.open(world.row(c, 'o'))
            body = iter(found.body)
            next(body)
            found.body.rewind()
            assert b''.join(found.body) == LARGE
            found.body.rewind()
            assert b''.join(found.body) == LARGE
            found.body.close()


def origin(source: Any, row: ObjectRow) -> str:
    found = source.open(row)
    found.body.close()
    return str(found.origin)


@pytest.fixture
def without_node(world: World) -> Iterator[Callable[[int], None]]:
    """Stops a node's servers; all run again at the end."""
    stopped = []

    def stop(node: int) -> None:
        world.cluster.stop_node(node)
        stopped.append(node)

    yield stop
    for node in stopped:
        world.cluster.start_node(node)


def data_file(world: World, container: str, name: str) -> Path:
    """The .data file of the object's replica on node 0."""
    place = world.placement.of(world.row(container, name))
    diskfile = world.disk._manager.get_diskfile('d1', place.partition, world.cluster.account, container, name,
                                                place.policy)
    [path] = Path(diskfile._datadir).glob('*.data')
    return path


def test_the_cheapest_source_serves_and_is_counted(world: World) -> None:
    c = world.container('counted')
    world.client.put_object(c, 'o', b'x')
    row = world.row(c, 'o')
    before = [world.metrics.value(SOURCES, label) for label in ('disk', 'direct')]
    assert origin(world.chain, row) == 'disk'
    assert origin(world.chain.without_disk(), row) == 'direct'
    chain = world.make_chain(local_reads='off')
    assert origin(chain, row) == 'direct'
    chain.close()
    assert [world.metrics.value(SOURCES, label) for label in ('disk', 'direct')] == [before[0] + 1, before[1] + 2]


def test_a_replica_that_missed_the_put_but_got_the_post_is_never_taken(world: World) -> None:
    c = world.container('missed')
    world.client.put_object(c, 'o', b'old body')
    world.cluster.stop_node(0)
    world.client.put_object(c, 'o', b'new body')
    world.cluster.start_node(0)
    world.client.post_object(c, 'o', {'X-Object-Meta-A': '1'})
    row = world.row(c, 'o')
    stale = world.disk._manager.get_diskfile('d1', world.placement.of(row).partition, world.cluster.account, c, 'o',
                                             world.placement.of(row).policy)
    with stale.open():  # the trap is set: an old body with the row's X-Timestamp
        assert (stale.timestamp, stale.content_length) == (row.times.metadata, 8)
        assert stale.data_timestamp < row.times.data
    with pytest.raises(SourceStale):
        world.disk.open(row)
    for source in (world.direct, world.proxy, world.chain):
        assert read(source, row)[0] == b'new body'
    assert origin(world.chain, row) == 'direct'


def test_stale_here_and_silence_elsewhere_is_not_taken_either(world: World,
                                                              without_node: Callable[[int], None]) -> None:
    c = world.container('alone')
    world.client.put_object(c, 'o', b'old body')
    world.cluster.stop_node(0)
    world.client.put_object(c, 'o', b'new body')
    row = world.row(c, 'o')
    world.cluster.start_node(0)
    without_node(1)
    without_node(2)
    chain = world.make_chain()
    with pytest.raises(SourceUnavailable):
        chain.open(row)
    chain.close()


@pytest.mark.parametrize('body', [b'small body', LARGE], ids=['small', 'large'])
def test_a_corrupt_replica_stays_untouched_and_the_next_one_serves(world: World, body: bytes) -> None:
    c = world.container('corrupt')
    world.client.put_object(c, 'o', body)
    row = world.row(c, 'o')
    path = data_file(world, c, 'o')
    with open(path, 'r+b') as file:
        file.seek(3)
        file.write(bytes([body[3] ^ 1]))
    before = path.stat()
    if len(body) > SMALL_BYTES:  # found out at the end of the body; not tried again
        with pytest.raises(SourceUnavailable):
            read(world.chain, row)
    assert read(world.chain, row)[0] == body
    assert origin(world.chain, row) == 'direct'
    after = path.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_a_truncated_replica_is_passed_over(world: World) -> None:
    c = world.container('truncated')
    world.client.put_object(c, 'o', LARGE)
    os.truncate(data_file(world, c, 'o'), 1000)
    row = world.row(c, 'o')
    assert read(world.chain, row)[0] == LARGE
    assert data_file(world, c, 'o').stat().st_size in (1000, len(LARGE))


def test_a_node_that_is_down_is_made_up_for(world: World, without_node: Callable[[int], None]) -> None:
    c = world.container('down')
    world.client.put_object(c, 'o', b'x')
    row = world.row(c, 'o')
    without_node(1)
    chain = world.make_chain(local_reads='off')
    assert [read(chain, row)[0] for _ in range(3)] == [b'x'] * 3
    chain.close()


def test_an_expired_object_is_gone_for_every_source(world: World) -> None:
    c = world.container('expired')
    world.client.put_object(c, 'o', b'x', headers={'X-Delete-After': '3600'})
    row = world.row(c, 'o')
    deadline = world.chain.open(row).meta.delete_at
    clock = FakeClock(float(deadline))
    direct = DirectSource(world.placement, clock=clock)
    disk = DiskSource(world.placement, devices=str(world.cluster.devices(0)), runner=world.threads, clock=clock)
    proxy = ProxySource(lambda: world.internal_client(world.cluster.internal_client_conf), clock=clock)
    for source in (disk, direct, proxy):
        with pytest.raises(SourceGone):
            source.open(row)
    direct.close()


def test_a_newer_version_anywhere_supersedes_a_tombstone(world: World) -> None:
    c = world.container('superseded')
    world.client.put_object(c, 'o', b'x')
    world.client.delete_object(c, 'o')
    tombstone = world.row(c, 'o')
    assert tombstone.deleted
    assert not world.chain.superseded(tombstone)
    world.cluster.stop_node(0)
    world.client.put_object(c, 'o', b'again')
    world.cluster.start_node(0)
    assert set(world.disk.newest(tombstone).values()) == {None}  # this node missed it
    assert world.chain.superseded(tombstone)


def test_silence_leaves_a_tombstone_undecided(world: World, without_node: Callable[[int], None]) -> None:
    c = world.container('undecided')
    world.client.put_object(c, 'o', b'x')
    world.client.delete_object(c, 'o')
    tombstone = world.row(c, 'o')
    without_node(2)
    chain = world.make_chain()
    with pytest.raises(SourceUnavailable):
        chain.superseded(tombstone)
    world.client.put_object(c, 'o', b'again')
    assert chain.superseded(tombstone)
    chain.close()


@pytest.mark.parametrize('body', [b'hello', b'', LARGE], ids=['small', 'empty', 'large'])
def test_erasure_coded_objects_come_whole(world: World, body: bytes) -> None:
    c = world.container('pieces', policy='pieces')
    world.client.put_object(c, 'o', body, headers={'X-Object-Meta-A': 'ä'}, content_type='text/plain')
    world.client.post_object(c, 'o', {'X-Object-Meta-B': 'ß'})
    row = world.row(c, 'o')
    data, meta, times = read(world.chain, row)
    assert (data, meta.user_metadata, meta.content_type) == (body, {'b': 'ß'}, 'text/plain')
    assert times == row.times
    assert meta.content_md5 == hashlib.md5(body).hexdigest()
    assert origin(world.chain, row) == 'proxy'
    world.client.delete_object(c, 'o')
    assert not world.chain.superseded(world.row(c, 'o'))
    with pytest.raises(SourceGone):
        world.chain.open(row)


def test_links_are_followed(world: World) -> None:
    c = world.container('links')
    world.client.put_object(c, 'target', LARGE, headers={'X-Object-Meta-A': '1'}, content_type='text/plain')
    world.client.put_object(c, 'link', b'', headers={'X-Symlink-Target': f'{c}/target'})
    row = world.row(c, 'link')
    data, meta, times = read(world.chain, row)
    assert (data, meta.name, meta.size, meta.user_metadata) == (LARGE, 'link', len(LARGE), {'a': '1'})
    assert times.covers(row.times) and meta.data_time == row.times.data
    world.client.put_object(c, 'target', b'newer', content_type='text/plain')
    data, meta, _ = read(world.chain, row)
    assert (data, meta.data_time) == (b'newer', world.row(c, 'target').times.data)


def test_links_that_lead_nowhere_are_told_apart(world: World) -> None:
    c = world.container('dangling')
    world.client.put_object(c, 'lost', b'', headers={'X-Symlink-Target': f'{c}/nothing'})
    world.client.put_object(c, 'a', b'', headers={'X-Symlink-Target': f'{c}/b'})
    world.client.put_object(c, 'b', b'', headers={'X-Symlink-Target': f'{c}/a'})
    for name in ('lost', 'a'):
        with pytest.raises(SourceUnusable) as error:
            world.chain.open(world.row(c, name))
        assert error.value.reason == 'dangling-symlink'


def test_a_pipeline_that_follows_no_links_never_copies_the_empty_link(world: World) -> None:
    c = world.container('unfollowed')
    world.client.put_object(c, 'target', b'x')
    world.client.put_object(c, 'link', b'', headers={'X-Symlink-Target': f'{c}/target'})
    conf = world.cluster.swift_dir / 'no-symlink.conf'
    conf.write_text(world.cluster.internal_client_conf.read_text().replace(' symlink ', ' '))
    chain = world.make_chain(internal_client_path=str(conf))
    with pytest.raises(SourceUnusable) as error:
        chain.open(world.row(c, 'link'))
    assert error.value.reason == 'symlink'
    chain.close()


def test_the_built_in_pipeline_puts_pieces_together_and_follows_links(world: World) -> None:
    c = world.container('builtin', policy='pieces')
    world.client.put_object(c, 'target', LARGE)
    world.client.put_object(c, 'link', b'', headers={'X-Symlink-Target': f'{c}/target'})
    conf = world.cluster.internal_client_conf
    aside = conf.rename(conf.with_suffix('.aside'))
    try:
        chain = world.make_chain(internal_client_path=None)
        for name in ('target', 'link'):
            assert read(chain, world.row(c, name))[0] == LARGE
        chain.close()
    finally:
        aside.rename(conf)


def test_a_pipeline_that_cannot_be_loaded_is_told(world: World, expected_warnings: Any) -> None:
    expected_warnings('internal client cannot be loaded')
    c = world.container('unloadable', policy='pieces')
    world.client.put_object(c, 'o', b'x')
    chain = world.make_chain(internal_client_path=str(world.cluster.swift_dir / 'none.conf'))
    for _ in range(2):
        with pytest.raises(SourceUnavailable, match=r'none\.conf'):
            chain.open(world.row(c, 'o'))
    chain.close()


def test_encrypted_objects_are_decrypted_or_refused() -> None:
    with cluster_world(nodes=1, replicas=1, encrypted=True) as world:
        c = world.container('secret')
        world.client.put_object(c, 'o', LARGE, headers={'X-Object-Meta-A': 'ä'}, content_type='text/plain')
        world.client.put_object(c, 'small', b'hello')
        world.client.post_object(c, 'small', {'X-Object-Meta-B': 'ö'})
        row = world.row(c, 'o')
        for source in (world.disk, world.direct):
            with pytest.raises(ThroughProxy):
                source.open(row)
        data, meta, times = read(world.chain, row)
        assert (data, meta.user_metadata, times) == (LARGE, {'a': 'ä'}, row.times)
        assert meta.content_md5 == hashlib.md5(LARGE).hexdigest()
        assert not any('crypto' in key for key in meta.sysmeta)
        data, meta, _ = read(world.chain, world.row(c, 'small'))
        assert (data, meta.user_metadata) == (b'hello', {'b': 'ö'})
        for conf in (None, world.cluster.swift_dir / 'plain.conf'):
            if conf is None:
                world.cluster.internal_client_conf.rename(world.cluster.swift_dir / 'kept.conf')
            else:
                text = (world.cluster.swift_dir / 'kept.conf').read_text()
                conf.write_text(text.replace(' keymaster encryption ', ' '))
            chain = world.make_chain(internal_client_path=conf and str(conf))
            for name in ('o', 'small'):
                with pytest.raises(SourceEncrypted):
                    chain.open(world.row(c, name))
            chain.close()
