"""Large objects of a real cluster: what we read piece by piece is what a client downloads, or it is refused."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from swiftclient import ClientException, Connection

from s3_sync.clock import FakeClock
from s3_sync.concurrency import sleep
from s3_sync.errors import (
    SegmentChanged,
    SourceEncrypted,
    SourceGone,
    SourceUnavailable,
    SourceUnusable,
)
from s3_sync.large_objects.bodies import WholeBody
from s3_sync.large_objects.manifest import parse_manifest
from s3_sync.local.chain import ChainSource
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DiskSource
from s3_sync.local.versions import SMALL_BYTES
from s3_sync.local.wanted import Wanted, object_wanted
from s3_sync.trial.swift_rings import Policy
from test.servers.local_world import World, cluster_world, read

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning')

LARGE = os.urandom(2 * SMALL_BYTES + 4321)
RAW = {'query_string': 'multipart-manifest=get'}
PAGE = 4
"""Names on a page of a listing here."""


@pytest.fixture(scope='module')
def shared_world() -> Iterator[World]:
    policies = (Policy('gold', default=True), Policy('silver'), Policy('pieces', kind='erasure_coding'))
    with cluster_world(nodes=3, replicas=3, policies=policies,
                       constraints={'container_listing_limit': PAGE}) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """Nobody rests from an earlier test in which a node was down."""
    shared_world.direct._resting.clear()
    shared_world.chain._direct._resting.clear()
    return shared_world


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


@pytest.fixture
def names(world: World, fresh_name: Callable[[str], str]) -> tuple[str, str]:
    """A container for manifests and one, of another policy, for their segments."""
    return world.container(fresh_name('large')), world.container(fresh_name('segments'), policy='silver')


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def put_slo(world: World, container: str, name: str, entries: list[dict[str, Any]], **headers: str) -> None:
    world.client.put_object(container, name, json.dumps(entries), query_string='multipart-manifest=put',
                            headers=headers)


def large_of(source: Any, world: World, container: str, name: str) -> Any:
    row = world.row(container, name)
    opened = source.open(row)
    try:
        return source.large(row, opened)
    finally:
        opened.body.close()


def whole(large: Any) -> bytes:
    body = WholeBody(large)
    try:
        return b''.join(body)
    finally:
        body.close()


def downloaded(world: World, container: str, name: str) -> bytes:
    data: bytes = world.client.get_object(container, name)[1]
    return data


class TestWhatClientsDownload:
    """Every kind of large object: our pieces together are the client's body, and any run is a slice of it."""

    def check(self, world: World, container: str, name: str) -> Any:
        expected = downloaded(world, container, name)
        large = large_of(world.chain, world, container, name)
        assert whole(large) == expected
        assert large.layout.size == len(expected)
        at = 0
        for piece in large.layout.pieces:
            first, length = piece.length // 3, max(piece.length // 2, 1)
            assert b''.join(large.open_run(piece, first, length)) == expected[at + first:at + first + length]
            at += piece.length
        return large

    def test_ordinary_segments(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        for i, body in enumerate((b'one', LARGE, b'three')):
            world.client.put_object(s, f'части/{i} %41', body)
        put_slo(world, c, 'slo', [{'path': f'/{s}/части/{i} %41'} for i in range(3)])
        large = self.check(world, c, 'slo')
        assert large.layout.kind == 'slo'
        assert large.layout.etag == world.client.head_object(c, 'slo')['etag'].strip('"')
        assert large.layout.manifest == world.client.get_object(c, 'slo', **RAW)[1]

    def test_ranges_inline_data_and_nested_manifests(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'a', LARGE)
        world.client.put_object(s, 'b', b'0123456789')
        put_slo(world, s, 'inner', [{'path': f'/{s}/b', 'range': '2-7'}, {'data': 'aW5saW5l'}, {'path': f'/{s}/a'}])
        put_slo(world, c, 'middle', [{'path': f'/{s}/inner', 'range': '3-2000000'}, {'path': f'/{s}/b'}])
        put_slo(world, c, 'outer', [{'path': f'/{c}/middle'}, {'path': f'/{s}/a', 'range': '-100'},
                                    {'path': f'/{c}/middle', 'range': '5-20'}])
        large = self.check(world, c, 'outer')
        assert [s.sub_slo for s in large.layout.segments] == [True, False, True]

    def test_a_dlo_with_an_encoded_prefix_over_several_pages(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        for i in range(2 * PAGE + 1):
            world.client.put_object(s, f'vidéo/{i:02}', f'part {i}.'.encode())
        world.client.put_object(s, 'vidéo2/00', b'another film')
        world.client.put_object(s, 'vidéo/05', b'')  # empty ones count for nothing
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{s}/{quote("vidéo/")}'})
        large = self.check(world, c, 'dlo')
        assert (large.layout.kind, large.layout.prefix) == ('dlo', f'{s}/vidéo/')
        hashes = [md5(downloaded(world, s, f'vidéo/{i:02}')) for i in range(2 * PAGE + 1)]
        assert large.layout.etag == md5(''.join(hashes).encode())
        assert [p.name for p in parse_manifest(large.layout.manifest)] == [f'vidéo/{i:02}' for i in range(2 * PAGE + 1)]

    def test_a_dlo_with_other_manifests_and_links_below_its_prefix(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'p/1', b'one')
        world.client.put_object(s, 'p/2', b'own body', headers={'X-Object-Manifest': f'{s}/q'})
        world.client.put_object(s, 'p/3', b'', headers={'X-Symlink-Target': f'{s}/p/1'})
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{s}/p/'})
        assert whole(self.check(world, c, 'dlo')) == b'oneown body'

    def test_an_slo_below_the_prefix_of_a_dlo_gives_its_content(self, world: World, names: tuple[str, str]) -> None:
        c, s = names  # Swift itself gives as many bytes of the manifest's JSON
        world.client.put_object(s, 'x', b'content')
        put_slo(world, s, 'p/1', [{'path': f'/{s}/x'}, {'path': f'/{s}/x', 'range': '0-2'}])
        world.client.put_object(s, 'p/2', b'!')
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{s}/p/'})
        assert whole(large_of(world.chain, world, c, 'dlo')) == b'contentcon!'

    def test_an_s3_multipart_upload(self, world: World, fresh_name: Callable[[str], str]) -> None:
        bucket = fresh_name('bucket')
        s3 = world.cluster.s3_client()
        s3.create_bucket(Bucket=bucket)
        upload = s3.create_multipart_upload(Bucket=bucket, Key='ключ', Metadata={'colour': 'green'})['UploadId']
        parts = []
        for number, body in enumerate((os.urandom(5 * 1024 * 1024), b'the end'), start=1):
            answer = s3.upload_part(Bucket=bucket, Key='ключ', UploadId=upload, PartNumber=number, Body=body)
            parts.append({'PartNumber': number, 'ETag': answer['ETag']})
        s3.complete_multipart_upload(Bucket=bucket, Key='ключ', UploadId=upload, MultipartUpload={'Parts': parts})
        s3.close()
        large = self.check(world, bucket, 'ключ')
        assert {piece.container for piece in large.layout.pieces} == {f'{bucket}+segments'}
        assert world.chain.open(world.row(bucket, 'ключ')).meta.user_metadata == {'colour': 'green'}

    def test_a_link_to_a_large_object(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'a', LARGE)
        put_slo(world, s, 'slo', [{'path': f'/{s}/a'}, {'path': f'/{s}/a', 'range': '7-9'}])
        world.client.put_object(s, 'hop', b'', headers={'X-Symlink-Target': f'{s}/slo'})
        world.client.put_object(c, 'link', b'', headers={'X-Symlink-Target': f'{s}/hop'})
        world.client.put_object(s, 'static', b'', headers={
            'X-Symlink-Target': f'{s}/a', 'X-Symlink-Target-Etag': md5(LARGE)})
        put_slo(world, c, 'slo-of-links', [{'path': f'/{s}/static'}, {'path': f'/{s}/hop', 'range': '1-5'}])
        assert self.check(world, c, 'link').layout.kind == 'slo'
        self.check(world, c, 'slo-of-links')

    @pytest.mark.parametrize('kind', ['slo', 'dlo'])
    def test_in_a_versioned_container(self, world: World, fresh_name: Callable[[str], str], kind: str) -> None:
        c = world.container(fresh_name('versioned'))
        world.client.post_container(c, {'X-Versions-Enabled': 'true'})
        for i, body in enumerate((b'first', LARGE)):
            world.client.put_object(c, f'p/{i}', b'an older version')
            world.client.put_object(c, f'p/{i}', body)
        if kind == 'slo':
            put_slo(world, c, 'o', [{'path': f'/{c}/p/0'}, {'path': f'/{c}/p/1', 'range': '5-3000'}])
        else:
            world.client.put_object(c, 'o', b'', headers={'X-Object-Manifest': f'{c}/p/'})
        assert self.check(world, c, 'o').layout.kind == kind

    @pytest.mark.parametrize('kind', ['slo', 'dlo'])
    def test_erasure_coded(self, world: World, fresh_name: Callable[[str], str], kind: str) -> None:
        c = world.container(fresh_name('pieces'), policy='pieces')
        world.client.put_object(c, 'p/0', LARGE)
        world.client.put_object(c, 'p/1', b'small')
        if kind == 'slo':
            put_slo(world, c, 'o', [{'path': f'/{c}/p/0', 'range': '1048570-2000000'}, {'path': f'/{c}/p/0'},
                                    {'path': f'/{c}/p/1'}])
        else:
            world.client.put_object(c, 'o', b'', headers={'X-Object-Manifest': f'{c}/p/'})
        self.check(world, c, 'o')

    def test_without_a_local_replica(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'a', LARGE)
        put_slo(world, c, 'slo', [{'path': f'/{s}/a'}, {'path': f'/{s}/a', 'range': '100-1500000'}])
        large = large_of(world.chain.without_disk(), world, c, 'slo')
        assert whole(large) == downloaded(world, c, 'slo')

    def test_segments_tell_what_their_own_rows_would(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        pieces = world.container(f'{c}-pieces', policy='pieces')
        for container in (s, pieces):
            world.client.put_object(container, 'a', b'segment', content_type='video/ü',
                                    headers={'X-Object-Meta-Color': 'blau, grün'})
            world.client.post_object(container, 'a', headers={'X-Object-Meta-Color': 'rot, grün'})
            put_slo(world, container, 'inner', [{'path': f'/{container}/a'}], **{'X-Object-Meta-Kind': 'inner'})
        put_slo(world, c, 'slo', [{'path': f'/{x}/{name}'} for x in (s, pieces) for name in ('a', 'inner')])
        for source in (world.chain, world.chain.without_disk()):
            large = large_of(source, world, c, 'slo')
            for segment in large.layout.segments:
                told = large.meta(segment)
                opened = world.chain.open(world.row(segment.container, segment.name))
                opened.body.close()
                for field in ('name', 'content_type', 'headers', 'user_metadata', 'data_time', 'meta_time', 'delete_at',
                              'large_object', 'source_etag'):
                    assert getattr(told, field) == getattr(opened.meta, field), (segment, field)

    def test_a_plain_object_in_pieces(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        for container in (s, world.container('plain-pieces', policy='pieces')):
            world.client.put_object(container, 'o', LARGE)
            large = self.check(world, container, 'o')
            assert (large.layout.kind, large.layout.etag, large.layout.manifest) == ('plain', md5(LARGE), b'')


class TestTheThreeWaysAgree:
    """A segment's bytes and headers are the same from disk, object server and proxy, whole or a run of it."""

    @pytest.mark.parametrize('body', [b'hello world', LARGE], ids=['small', 'large'])
    @pytest.mark.parametrize('cut', [False, True], ids=['whole', 'cut'])
    def test_on_segments(self, world: World, names: tuple[str, str], body: bytes, cut: bool) -> None:
        _, s = names
        world.client.put_object(s, 'имя', body, content_type='text/x', headers={'X-Object-Meta-Farbe': 'grün'})
        wanted = self.wanted(world, s, 'имя', body)
        first, length = (3, len(body) - 5) if cut else (0, None)
        found = []
        for source in (world.disk, world.direct, world.proxy):
            copy = source.copy(wanted, first, length)
            digest = hashlib.md5(usedforsecurity=False)
            data = b''.join(copy.chunks(digest))
            copy.close()
            assert digest.hexdigest() == md5(data)
            headers = {k: v for k, v in copy.headers.items() if not k.startswith('content-') or k == 'content-type'}
            found.append((data, copy.etag, {k: v.strip('"') for k, v in headers.items()}))
        assert found[0][:2] == (body[3:-2] if cut else body, md5(body))
        assert found[0][2]['x-object-meta-farbe'] == 'grün'
        assert found[0] == found[1] == found[2]

    def test_that_another_version_is_not_it(self, world: World, names: tuple[str, str]) -> None:
        _, s = names
        world.client.put_object(s, 'o', b'new content')
        for wanted in (self.wanted(world, s, 'o', b'old content'), self.wanted(world, s, 'gone', b'x')):
            with pytest.raises(SourceUnavailable):  # it may be elsewhere
                world.disk.copy(wanted, 0, None)
            for source in (world.direct, world.proxy):
                with pytest.raises(SegmentChanged, match=wanted.row.path):
                    source.copy(wanted, 0, None)
                with pytest.raises(SegmentChanged, match=wanted.row.path):
                    source.copy(wanted, 2, 3)

    @staticmethod
    def wanted(world: World, container: str, name: str, body: bytes) -> Wanted:
        return object_wanted(world.cluster.account, container, name, 1, etag=md5(body), size=len(body))


class TestSegmentsThatAreNotTheOnes:
    """A missing or changed segment is told by name; a replica that only lags behind is passed over."""

    def slo(self, world: World, names: tuple[str, str], body: bytes = LARGE) -> Any:
        c, s = names
        world.client.put_object(s, 'a', body)
        world.client.put_object(s, 'b', b'other')
        put_slo(world, c, 'slo', [{'path': f'/{s}/b'}, {'path': f'/{s}/a', 'range': '1-9'}, {'path': f'/{s}/a'}])
        return large_of(world.chain, world, c, 'slo')

    @pytest.mark.parametrize('body', [b'0123456789', LARGE], ids=['small', 'large'])
    def test_a_missing_segment(self, world: World, names: tuple[str, str], body: bytes) -> None:
        large = self.slo(world, names, body)
        world.client.delete_object(names[1], 'a')
        assert b''.join(large.open(large.layout.pieces[0])) == b'other'
        for piece in large.layout.pieces[1:]:
            for opening in (lambda p: large.open(p), lambda p: large.open_run(p, 0, 5)):
                with pytest.raises(SegmentChanged, match=f'{names[1]}/a: .*missing'):
                    opening(piece)

    @pytest.mark.parametrize('body', [b'9876543210', LARGE[::-1]], ids=['small', 'large'])
    def test_a_segment_overwritten_with_as_many_bytes(self, world: World, names: tuple[str, str], body: bytes) -> None:
        large = self.slo(world, names, body[::-1])
        world.client.put_object(names[1], 'a', body)
        for piece in large.layout.pieces[1:]:
            for opening in (lambda p: large.open(p), lambda p: large.open_run(p, 0, 5)):
                with pytest.raises(SegmentChanged, match=f'{names[1]}/a: .*has ETag {md5(body)}'):
                    opening(piece)

    def test_a_missing_container(self, world: World, names: tuple[str, str]) -> None:
        self.slo(world, names, b'0123456789')
        for name in 'ab':
            world.client.delete_object(names[1], name)
        world.client.delete_container(names[1])
        chain = world.make_chain()
        large = large_of(chain, world, names[0], 'slo')
        with pytest.raises(SegmentChanged, match=f'container .*/{names[1]}'):
            large.open(large.layout.pieces[0])
        chain.close()

    def test_an_expired_segment(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'a', LARGE, headers={'X-Delete-After': '3600'})
        world.client.put_object(s, 'b', b'small', headers={'X-Delete-After': '3600'})
        put_slo(world, c, 'slo', [{'path': f'/{s}/a'}, {'path': f'/{s}/b'}], **{'X-Delete-After': '3000'})
        row = world.row(c, 'slo')
        chain = chain_at(world, FakeClock(float(world.client.head_object(s, 'a')['x-delete-at']) + 1))
        large = world.chain.large(row, world.chain.open(row))
        late = chain.large(row, world.chain.open(row))
        for piece in large.layout.pieces:
            assert md5(b''.join(large.open(piece))) == piece.etag
            with pytest.raises(SegmentChanged, match='expired'):
                late.open(piece)
        with pytest.raises(SourceGone):
            chain.open(row)
        chain._direct.close()

    def test_a_replica_that_missed_the_segment_is_passed_over(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'a', LARGE[::-1])
        world.client.put_object(s, 'b', b'old')
        world.cluster.stop_node(0)
        world.client.put_object(s, 'a', LARGE)
        world.client.put_object(s, 'b', b'new')
        put_slo(world, c, 'slo', [{'path': f'/{s}/a'}, {'path': f'/{s}/b'}, {'path': f'/{s}/a', 'range': '3-99'}])
        world.cluster.start_node(0)
        large = large_of(world.chain, world, c, 'slo')
        assert whole(large) == LARGE + b'new' + LARGE[3:100]

    def test_silence_is_no_proof_that_a_segment_is_missing(self, world: World, names: tuple[str, str],
                                                           without_node: Callable[[int], None]) -> None:
        c, s = names
        large = self.slo(world, names)
        assert whole(large) == b'other' + LARGE[1:10] + LARGE
        world.client.delete_object(s, 'a')
        without_node(1)
        for piece in large.layout.pieces[1:]:
            with pytest.raises(SourceUnavailable):
                large.open(piece)

    def test_a_sub_manifest_that_is_another_one(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'a', b'0123456789')
        put_slo(world, s, 'inner', [{'path': f'/{s}/a'}])
        put_slo(world, c, 'slo', [{'path': f'/{s}/inner'}])
        for entries in ([{'path': f'/{s}/a', 'range': '1-9'}], [{'path': f'/{s}/a', 'range': '0-8'}]):
            put_slo(world, s, 'inner', entries)
            with pytest.raises(SegmentChanged, match=f'{s}/inner'):
                large_of(world.chain, world, c, 'slo')
        world.client.put_object(s, 'inner', b'0123456789')
        with pytest.raises(SegmentChanged, match='no manifest any more'):
            large_of(world.chain, world, c, 'slo')
        world.client.delete_object(s, 'inner')
        with pytest.raises(SegmentChanged, match='missing'):
            large_of(world.chain, world, c, 'slo')

    def test_a_dlo_whose_listing_changes_under_the_copy(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        for i in range(3):
            world.client.put_object(s, f'p/{i}', f'part {i}.'.encode())
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{s}/p/'})
        large = large_of(world.chain, world, c, 'dlo')
        assert whole(large) == b'part 0.part 1.part 2.'
        world.client.put_object(s, 'p/3', b'one more')
        with pytest.raises(SegmentChanged, match='p/: what it lists changed'):
            whole(large)

    def test_a_corrupt_replica_of_a_segment(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        large = self.slo(world, names)
        damage(world, s, 'a')
        chain = world.make_chain()
        large = large_of(chain, world, c, 'slo')
        ranged, complete = large.layout.pieces[1:]
        assert b''.join(large.open(ranged)) == LARGE[1:10]  # found corrupt before a byte of it was given
        assert b''.join(large.open(complete)) == LARGE
        chain.close()
        chain = world.make_chain()
        large = large_of(chain, world, c, 'slo')
        seen = b''
        with pytest.raises(SourceUnavailable, match='has MD5'):
            for chunk in large.open(complete):
                seen += chunk
        assert len(seen) < len(LARGE)
        assert b''.join(large.open(complete)) == LARGE  # from elsewhere
        chain.close()


def chain_at(world: World, clock: FakeClock) -> ChainSource:
    """Sources whose clock says another time."""
    direct = DirectSource(world.placement, clock=clock)
    disk = DiskSource(world.placement, devices=str(world.cluster.devices(0)), runner=world.threads, clock=clock)
    return ChainSource(world.placement, disk=disk, direct=direct, proxy=world.proxy)


def damage(world: World, container: str, name: str) -> None:
    """Change a byte of the replica on node 0."""
    place = world.placement.of(world.row(container, name))
    diskfile = world.disk._manager.get_diskfile('d1', place.partition, world.cluster.account, container, name,
                                                place.policy)
    with diskfile.open():
        path = diskfile._data_file
    with open(path, 'r+b') as file:
        file.seek(5)
        byte = file.read(1)
        file.seek(5)
        file.write(bytes([byte[0] ^ 1]))


class TestLinks:
    """Users' links as themselves, with their target told; Swift's own links never."""

    def test_a_link_is_the_same_from_every_source(self, world: World, names: tuple[str, str]) -> None:
        c, s = names
        world.client.put_object(s, 'täter', b'data')
        world.client.put_object(c, 'link', b'', content_type='text/x', headers={
            'X-Symlink-Target': f'{s}/{quote("täter")}', 'X-Symlink-Target-Etag': md5(b'data'),
            'X-Object-Meta-Farbe': 'grün'})
        world.client.post_container(c, {'X-Versions-Enabled': 'false'})
        row = world.row(c, 'link')
        found = [source.open(row, follow_links=False) for source in (world.disk, world.direct, world.proxy)]
        for opened in found:
            assert b''.join(opened.body) == b''
            assert opened.link == found[0].link
            assert (opened.meta, opened.times) == (found[0].meta, found[0].times)
        link = found[0].link
        assert (link.container, link.name, link.account, link.etag) == (s, 'täter', '', md5(b'data'))
        assert link.target == f'{s}/t%C3%A4ter'
        assert (found[0].meta.content_type, found[0].meta.user_metadata) == ('text/x', {'farbe': 'grün'})
        assert found[0].meta.size == 0
        assert read(world.chain, row)[0] == b'data'

    def test_a_link_that_leads_nowhere_is_still_a_link(self, world: World, names: tuple[str, str]) -> None:
        world.client.put_object(names[0], 'link', b'', headers={'X-Symlink-Target': 'no/where'})
        opened = world.chain.open(world.row(names[0], 'link'), follow_links=False)
        assert opened.link.target == 'no/where'

    def test_other_objects_are_no_links(self, world: World, names: tuple[str, str]) -> None:
        world.client.put_object(names[0], 'o', b'data')
        opened = world.chain.open(world.row(names[0], 'o'), follow_links=False)
        assert (opened.link, opened.origin, b''.join(opened.body)) == (None, 'disk', b'data')

    def test_a_versioned_container_shows_data(self, world: World, fresh_name: Callable[[str], str]) -> None:
        c = world.container(fresh_name('versioned'))
        world.client.post_container(c, {'X-Versions-Enabled': 'true'})
        for body in (b'first', b'second'):
            world.client.put_object(c, 'o', body, headers={'X-Object-Meta-A': body.decode()})
        for follow in (True, False):
            opened = world.chain.open(world.row(c, 'o'), follow_links=follow)
            assert (opened.link, b''.join(opened.body), opened.meta.user_metadata) == (None, b'second', {'a': 'second'})
            assert opened.meta.content_md5 == md5(b'second')
        world.client.post_object(c, 'o', {'X-Object-Meta-B': '2'})
        opened = world.chain.open(world.row(c, 'o'), follow_links=False)
        assert (opened.link, opened.meta.user_metadata) == (None, {'b': '2'})
        world.client.delete_object(c, 'o')
        with pytest.raises(SourceGone):
            world.chain.open(world.row(c, 'o'))

    def test_a_link_in_a_versioned_container_is_a_link(self, world: World, fresh_name: Callable[[str], str]) -> None:
        c = world.container(fresh_name('versioned'))
        world.client.post_container(c, {'X-Versions-Enabled': 'true'})
        world.client.put_object(c, 'o', b'data')
        world.client.put_object(c, 'link', b'', headers={'X-Symlink-Target': f'{c}/o'})
        row = world.row(c, 'link')
        opened = world.chain.open(row, follow_links=False)
        assert (opened.link.target, opened.meta.size, opened.times.covers(row.times)) == (f'{c}/o', 0, True)
        assert read(world.chain, row)[0] == b'data'

    def test_a_link_into_another_account_needs_its_leave(self, world: World, names: tuple[str, str]) -> None:
        c, _ = names
        other = Connection(world.cluster.auth_url, 'test2:tester2', 'testing2')
        for container in ('open', 'shut'):
            other.put_container(container)
            other.put_object(container, 'o', LARGE)
            other.put_object(container, 'hop', b'', headers={'X-Symlink-Target': f'{container}/o'})
            world.client.put_object(c, container, b'', headers={
                'X-Symlink-Target': f'{container}/hop', 'X-Symlink-Target-Account': 'AUTH_test2'})
        other.post_container('open', {'X-Container-Read': 'test'})
        other.close()
        with pytest.raises(SourceUnusable) as error:
            world.chain.open(world.row(c, 'shut'))
        assert error.value.reason == 'forbidden-symlink'
        row = world.row(c, 'open')
        assert read(world.chain, row)[0] == LARGE == downloaded(world, c, 'open')
        link = world.chain.open(row, follow_links=False).link
        assert (link.account, link.target) == ('AUTH_test2', 'open/hop')
        put_slo(world, c, 'slo', [{'path': f'/{c}/open'}, {'path': f'/{c}/open', 'range': '5-9'}])
        assert whole(large_of(world.chain, world, c, 'slo')) == downloaded(world, c, 'slo')

    def test_a_link_to_a_large_object_of_another_account(self, world: World, names: tuple[str, str]) -> None:
        other = Connection(world.cluster.auth_url, 'test2:tester2', 'testing2')
        other.put_container('public')
        other.post_container('public', {'X-Container-Read': '.r:*'})
        other.put_object('public', 'a', b'x')
        other.put_object('public', 'slo', json.dumps([{'path': '/public/a'}]), query_string='multipart-manifest=put')
        other.close()
        world.client.put_object(names[0], 'link', b'', headers={
            'X-Symlink-Target': 'public/slo', 'X-Symlink-Target-Account': 'AUTH_test2'})
        with pytest.raises(ClientException):  # Swift looks for the segments in the link's account
            downloaded(world, names[0], 'link')
        with pytest.raises(SourceUnusable) as error:
            world.chain.open(world.row(names[0], 'link'))
        assert error.value.reason == 'dangling-symlink'


def test_encrypted_manifests_and_segments_are_decrypted_or_refused() -> None:
    with cluster_world(nodes=1, replicas=1, encrypted=True) as world:
        c, s = world.container('large'), world.container('segments')
        for i, body in enumerate((LARGE, b'small')):
            world.client.put_object(s, f'p/{i}', body)
        put_slo(world, s, 'inner', [{'path': f'/{s}/p/1'}, {'path': f'/{s}/p/0', 'range': '17-1500000'}])
        put_slo(world, c, 'slo', [{'path': f'/{s}/p/0', 'range': '1-70'}, {'path': f'/{s}/inner'},
                                  {'path': f'/{s}/p/0'}])
        world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{s}/p/'})
        put_slo(world, c, 'inline', [{'data': 'aW5saW5l'}, {'path': f'/{s}/p/1'}])
        for name in ('slo', 'dlo', 'inline'):
            large = large_of(world.chain, world, c, name)
            assert whole(large) == downloaded(world, c, name)
            assert large.layout.etag == world.client.head_object(c, name)['etag'].strip('"')
        conf = world.cluster.swift_dir / 'plain.conf'
        conf.write_text(world.cluster.internal_client_conf.read_text().replace(' keymaster encryption ', ' '))
        chain = world.make_chain(internal_client_path=str(conf))
        for name in ('slo', 'dlo'):
            with pytest.raises(SourceEncrypted):
                whole(large_of(chain, world, c, name))
        chain.close()


class TestTheProxyInsideThisProcess:
    """Nothing is left running behind a body that nobody reads, and nobody is hurried."""

    @pytest.mark.parametrize('policy', ['gold', 'pieces'])
    def test_a_body_closed_unread_leaves_nothing_behind(self, world: World, policy: str) -> None:
        c = world.container(f'unread-{policy}', policy=policy)
        world.client.put_object(c, 'small', b'x')
        world.client.put_object(c, 'large', LARGE)
        for name in ('small', 'large'):
            answer = world.proxy.client.request('GET', (world.cluster.account, c, name))
            answer.close()
            sleep(0)
            assert self.waiting(world) == []

    def test_a_body_left_half_read_and_closed(self, world: World, names: tuple[str, str]) -> None:
        world.client.put_object(names[1], 'large', LARGE)
        answer = world.proxy.client.request('GET', (world.cluster.account, names[1], 'large'))
        next(iter(answer))
        answer.close()
        assert self.waiting(world) == []

    @pytest.mark.parametrize('policy', ['gold', 'pieces'])
    def test_a_reader_may_take_its_time(self, world: World, policy: str) -> None:
        c = world.container(f'slow-{policy}', policy=policy)
        world.client.put_object(c, 'o', LARGE)
        conf = world.cluster.swift_dir / 'hurried.conf'
        conf.write_text(world.cluster.internal_client_conf.read_text().replace(
            'use = egg:swift#proxy\n', 'use = egg:swift#proxy\nclient_timeout = 0.2\n'))
        chain = world.make_chain(internal_client_path=str(conf), local_reads='off')
        answer = chain._proxy.client.request('GET', (world.cluster.account, c, 'o'))
        chunks = iter(answer)
        data = next(chunks)
        sleep(0.6)
        assert data + b''.join(chunks) == LARGE
        answer.close()
        chain.close()

    @staticmethod
    def waiting(world: World) -> list[str]:
        """Timeouts that the proxy application would still throw at somebody, one day."""
        watchdog = world.proxy.client.ready().app._pipeline_final_app.watchdog
        return [timeout[3].__name__ for timeout in watchdog._timeouts.values()]
