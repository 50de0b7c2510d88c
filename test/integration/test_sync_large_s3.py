"""Large objects from Swift to S3 by the daemon: what arrives, what lies beside it, what is sent again and what not."""
from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Answer, LoseAnswer, Stall
from test.servers.large_objects import (
    MIB,
    cheap_bytes,
    put_dlo,
    put_manifest,
    put_segments,
    put_slo,
    stored_manifest,
)
from test.servers.scene import Scene, waiting
from test.servers.sync_daemon import eventually


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> Iterator[Scene]:
    with Scene(swift, s3, container, bucket) as stage:
        yield stage


FIVE = cheap_bytes(5 * MIB, 1), cheap_bytes(5 * MIB, 2), cheap_bytes(1024, 3)


def manifest_of(scene: Scene, name: str) -> bytes:
    return bytes(scene.client.get_object(Bucket=scene.bucket, Key=scene.scheme.manifest_key(name))['Body'].read())


def test_an_slo_becomes_a_multipart_object_with_its_manifest_beside_it(scene: Scene, swift_client: Connection) -> None:
    data = put_slo(swift_client, scene.container, 'slo-ö', FIVE, prefix='segmänt', headers={
        'Content-Type': 'video/mp4', 'X-Object-Meta-Färg': 'Blå'})
    daemon = scene.daemon()
    daemon.once()
    head = scene.remote_head('slo-ö')
    assert scene.remote_get('slo-ö') == data
    assert head['ETag'].endswith('-3"') and head['ContentType'] == 'video/mp4'
    assert manifest_of(scene, 'slo-ö') == stored_manifest(swift_client, scene.container, 'slo-ö')

    scene.proxy.clear()
    with_fresh_ledger = scene.daemon()
    with_fresh_ledger.once()
    assert not [r for r in scene.proxy.requests if r.method in ('PUT', 'POST', 'DELETE') and r.status < 300
                and '/.1space/' not in r.path and '/.uploads/' not in r.path]

    swift_client.post_object(scene.container, 'slo-ö', {'Content-Type': 'video/mp4', 'X-Object-Meta-Size': 'Large'})
    sent_before = scene.bytes_sent
    daemon.once()
    assert scene.remote_head('slo-ö')['Metadata']['size'] == 'Large'
    assert scene.remote_get('slo-ö') == data
    assert scene.bytes_sent - sent_before < 100_000, 'a change of metadata moved data'

    swift_client.delete_object(scene.container, 'slo-ö')
    daemon.once()
    assert scene.remote_keys() == set()


def test_ranges_inline_data_and_sub_manifests_arrive_as_the_bytes_that_a_client_reads(
        scene: Scene, swift_client: Connection) -> None:
    segments = f'{scene.container}_segments'
    entries = put_segments(swift_client, segments, ['a', 'b'], [cheap_bytes(6 * MIB, 4), cheap_bytes(300_000, 5)])
    put_manifest(swift_client, scene.container, 'inner', entries)
    inner = swift_client.head_object(scene.container, 'inner')
    put_manifest(swift_client, scene.container, 'outer', [
        {'path': f'/{scene.container}/inner', 'etag': inner['etag'].strip('"'), 'size_bytes': 6 * MIB + 300_000},
        {**entries[0], 'range': '1000-1999'}, {**entries[1], 'range': '-500'}, {'data': 'aGVsbG8='}])
    scene.daemon().once()
    wanted = swift_client.get_object(scene.container, 'outer')[1]
    assert len(wanted) == 6 * MIB + 300_000 + 1000 + 500 + 5
    assert scene.remote_get('outer') == wanted
    assert scene.remote_get('inner') == swift_client.get_object(scene.container, 'inner')[1]


def test_a_dlo_arrives_as_real_data_and_only_its_own_prefix(scene: Scene, swift_client: Connection) -> None:
    segments = f'{scene.container}_segments'
    put_segments(swift_client, segments, ['vid eo2/000', 'vid eo2/001'], [b'x' * 10, b'y' * 10])
    data = put_dlo(swift_client, scene.container, 'dlo', [cheap_bytes(3 * MIB, n) for n in range(4)],
                   prefix='vid eo/', headers={'X-Object-Meta-A': 'b'})
    scene.daemon().once()
    assert scene.remote_get('dlo') == data
    assert scene.remote_head('dlo')['Metadata']['a'] == 'b'


def test_a_segment_that_is_missing_or_changed_is_a_listed_failure_and_nothing_arrives(
        scene: Scene, swift_client: Connection) -> None:
    put_slo(swift_client, scene.container, 'missing', [b'a' * 1000, b'b' * 1000])
    put_slo(swift_client, scene.container, 'changed', [b'c' * 1000, b'd' * 1000])
    swift_client.put_object(scene.container, 'other', b'goes on')
    swift_client.delete_object(f'{scene.container}_segments', 'missing/001')
    swift_client.put_object(f'{scene.container}_segments', 'changed/000', b'C' * 1000)
    daemon = scene.daemon()
    said = daemon.once(expect=3)
    assert 'missing' in said and 'changed' in said
    assert scene.remote_names() == {'other'}
    assert waiting(daemon) == {'missing': ('failed', 'segment-changed'), 'changed': ('failed', 'segment-changed')}
    swift_client.put_object(f'{scene.container}_segments', 'missing/001', b'b' * 1000)
    swift_client.put_object(f'{scene.container}_segments', 'changed/000', b'c' * 1000)
    with daemon.ledger() as ledger:
        ledger.retry()
    daemon.once()
    assert scene.remote_get('missing') == b'a' * 1000 + b'b' * 1000
    assert scene.remote_names() == {'other', 'missing', 'changed'}


def test_an_overwritten_large_object_leaves_nothing_behind(scene: Scene, swift_client: Connection) -> None:
    put_slo(swift_client, scene.container, 'o', FIVE)
    daemon = scene.daemon()
    daemon.once()
    assert scene.scheme.manifest_key('o') in scene.remote_keys()
    swift_client.put_object(scene.container, 'o', b'plain now')
    daemon.once()
    assert scene.remote_get('o') == b'plain now'
    assert scene.remote_keys() == {scene.scheme.key('o')}


def test_a_manifest_that_could_not_be_written_is_written_by_the_next_run(scene: Scene,
                                                                         swift_client: Connection) -> None:
    data = put_slo(swift_client, scene.container, 'o', FIVE)
    rule = scene.proxy.fail(Answer(500), method='PUT', path=r'/\.manifests/', times=None)
    daemon = scene.daemon()
    daemon.once(expect=3)
    assert rule.hits
    scene.proxy.clear()
    with daemon.ledger() as ledger:
        ledger.retry()
    daemon.once()
    assert scene.remote_get('o') == data
    assert json.loads(manifest_of(scene, 'o'))[0]['bytes'] == 5 * MIB
    assert scene.part_puts == [], 'data was sent again for the sake of the manifest'


def test_a_lost_answer_to_complete_is_found_done(scene: Scene, swift_client: Connection) -> None:
    data = put_slo(swift_client, scene.container, 'o', FIVE)
    scene.proxy.fail(LoseAnswer(), method='POST', path=r'uploadId=')
    daemon = scene.daemon()
    daemon.once(expect=None)
    with daemon.ledger() as ledger:
        ledger.retry()
    daemon.once()
    assert scene.remote_get('o') == data
    assert waiting(daemon) == {}


@pytest.mark.parametrize('part', [2, 4])
def test_after_a_kill_only_missing_parts_are_sent(scene: Scene, swift_client: Connection, part: int) -> None:
    data = put_slo(swift_client, scene.container, 'o', [cheap_bytes(5 * MIB, n) for n in range(4)])
    caught = scene.proxy.fail(Stall(3600), method='PUT', path=rf'partNumber={part}\b', times=None)
    daemon = scene.daemon()
    daemon.start()
    eventually(lambda: caught.hits and len(scene.stored_parts) == 3, 'all parts but one')
    daemon.kill9()
    scene.proxy.clear()
    daemon.once()
    assert scene.remote_get('o') == data
    assert scene.stored_parts == {part}
    assert manifest_of(scene, 'o') == stored_manifest(swift_client, scene.container, 'o')
    uploads = scene.client.list_multipart_uploads(Bucket=scene.bucket)
    assert not uploads.get('Uploads')
