"""Large objects: told by what their manifests name, and whole only with what stands beside them."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from s3_sync.audit.sampling import Depth
from s3_sync.large_objects.manifest import stored_manifest
from s3_sync.local.source import Link
from test.fakes.large_source import segment
from test.unit.audit.world import World

SEGMENTS = {('s', 'a'): b'first ', ('s', 'b'): b'second'}


def put_slo(world: World, name: str = 'slo', objects: Mapping[tuple[str, str], bytes] = SEGMENTS) -> None:
    world.source.segments.update(objects)
    world.put(name, stored_manifest([segment(objects, *path) for path in objects]), large_object='slo')


@pytest.fixture
def synced(world: World) -> World:
    put_slo(world)
    world.sync()
    return world


def test_a_large_object_is_told_by_its_manifest_without_reading_a_segment(synced: World) -> None:
    synced.audit()
    assert synced.told == {'slo': ('same', 'etag')}
    assert 'get_object' not in synced.provider.calls


def test_a_missing_manifest_object_is_a_difference_and_mended_without_moving_data(synced: World) -> None:
    synced.memory.store.manifests.clear()
    stored = synced.memory.head_object('slo')
    synced.audit(repair=True)
    assert synced.told == {'slo': ('incomplete', 'manifest')}
    assert synced.work_off() == []
    synced.audit()
    assert synced.told == {'slo': ('same', 'etag')}
    assert synced.memory.head_object('slo') == stored


def test_another_large_objects_bytes_are_found(synced: World) -> None:
    synced.overwrite('slo', b'first SECOND')
    synced.audit(repair=True)
    assert synced.told['slo'][0] in ('differs', 'unknown')
    assert synced.work_off() == []
    assert synced.memory.get_object('slo').read() == b'first second'


def test_a_large_object_is_compared_with_the_bytes_of_its_segments(synced: World) -> None:
    result = synced.audit(depth=Depth(fraction=1.0))
    assert synced.told == {'slo': ('same', 'read')} and result.read_bytes == 12
    stored = synced.memory.head_object('slo')
    synced.overwrite('slo', b'first SECOND', keep_metadata=True)
    synced.memory.post_object('slo', replace(stored, etag=''))
    synced.audit()
    assert synced.told == {'slo': ('incomplete', 'manifest')}, 'what it says of itself is not proof'
    synced.audit(depth=Depth(fraction=1.0))
    assert synced.told == {'slo': ('differs', 'content')}


def test_a_large_object_whose_segment_changed_cannot_be_read_back(synced: World) -> None:
    synced.source.segments[('s', 'b')] = b'SECOND'
    result = synced.audit(depth=Depth(fraction=1.0))
    assert synced.told == {'slo': ('unread', 'segment-changed')} and not result.complete


def test_links_are_followed_left_out_or_only_seen(world: World) -> None:
    world.put('link')
    world.source.links['link'] = Link('c', 'target')
    world.put('dangling-there')
    world.source.links['dangling-there'] = Link('c', 'target')
    world.sync('link')
    told = {}
    for symlinks in ('follow', 'skip', 'link'):
        world.mapping = world.mapping.model_copy(update={'symlinks': symlinks})
        world.audit(metadata=True)
        told[symlinks] = world.told
    assert told == {
        'follow': {'link': ('same', 'etag'), 'dangling-there': ('missing', 'not-there')},
        'skip': {'link': ('excluded', 'symlink'), 'dangling-there': ('excluded', 'symlink')},
        'link': {'link': ('same', 'link'), 'dangling-there': ('missing', 'link')}}
