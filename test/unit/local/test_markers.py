"""Markers through the proxy application: written and dropped only over what is older, read page by page."""
from __future__ import annotations

import json

import pytest
from swift.common.utils import Timestamp

from s3_sync.errors import SourceUnavailable, SourceUnusable
from s3_sync.wire.tombstones import ACCOUNT_TOMBSTONES, Policies, Policy, tombstone_container, tombstone_name
from test.fakes.memory_markers import Answer, MemoryMarkers

A = 'AUTH_ä'
HIDE: dict[str, Policy] = {'g': 'tombstone'}
LONG = 'ü' * 512


@pytest.fixture
def cluster() -> MemoryMarkers:
    made = MemoryMarkers()
    for number, name in enumerate(('a', 'b', 'b/1', 'ö', LONG)):
        made.put(A, 'c', name, HIDE, 1000.0 + number)
    return made


def test_markers_come_with_name_time_and_policies_whatever_the_pages(cluster: MemoryMarkers) -> None:
    found = {m.name: (m.time, m.policies) for m in cluster.store.markers(A, tombstone_container('c'))}
    assert found == {name: (Timestamp(1000.0 + number), Policies(HIDE))
                     for number, name in enumerate(('a', 'b', 'b/1', 'ö', LONG))}


@pytest.mark.parametrize('prefix, names', [('b', {'b', 'b/1'}), ('ü', {LONG}), ('x', set())])
def test_a_prefix_narrows_them_hashed_names_too(cluster: MemoryMarkers, prefix: str, names: set[str]) -> None:
    assert {m.name for m in cluster.store.markers(A, tombstone_container('c'), prefix)} == names


def test_what_is_no_marker_or_has_gone_by_the_time_it_is_looked_at_is_left_out(cluster: MemoryMarkers) -> None:
    hidden = tombstone_container('c')
    cluster.objects[A, hidden, '\0stray'] = {'content-type': 'text/plain', 'x-timestamp': '1.00000'}
    cluster.before = lambda method, path: Answer(404) if method == 'HEAD' else None
    assert {m.name for m in cluster.store.markers(A, hidden)} == {'a', 'b', 'b/1', 'ö'}


def test_one_marker_is_found_by_name(cluster: MemoryMarkers) -> None:
    hidden = tombstone_container('c')
    for name in ('b', LONG):
        found = cluster.store.find(A, hidden, name)
        assert found is not None and (found.name, found.object_name) == (name, tombstone_name(name))
    assert cluster.store.find(A, hidden, 'x') is None and cluster.store.find(A, 'nowhere', 'a') is None


def test_hidden_containers_are_ours_alone_and_tell_whose_they_are(cluster: MemoryMarkers) -> None:
    cluster.put(A, 'c' * 256, 'a', HIDE, 1.0)
    cluster.put(A, '', 'container', HIDE, 1.0)
    cluster.containers[A, 'c'] = cluster.containers[A, '\0versions\0c'] = {}
    cluster.put('AUTH_other', 'd', 'a', HIDE, 1.0)
    hidden = list(cluster.store.containers(A))
    assert {cluster.store.container_of(A, name) for name in hidden} == {'c', 'c' * 256, ''}
    assert len(hidden) == 3 and ACCOUNT_TOMBSTONES in hidden
    cluster.containers[A, tombstone_container('c' * 256)] = {}
    with pytest.raises(SourceUnusable, match='does not tell'):
        cluster.store.container_of(A, tombstone_container('c' * 256))


def test_accounts_and_containers_without_any_have_none(cluster: MemoryMarkers) -> None:
    assert list(cluster.store.markers(A, tombstone_container('d'))) == []
    cluster.before = lambda method, path: Answer(404)
    assert list(cluster.store.containers('AUTH_nobody')) == []


@pytest.mark.parametrize('body', [b'<html>', json.dumps([{'name': '\0a'}, {'name': '\0a'}]).encode()])
def test_a_listing_that_makes_no_sense_is_an_error(cluster: MemoryMarkers, body: bytes) -> None:
    cluster.before = lambda method, path: Answer(200, {}, body)
    with pytest.raises(SourceUnavailable, match='the listing of'):
        list(cluster.store.containers(A))


def test_only_what_is_older_gives_way(cluster: MemoryMarkers) -> None:
    hidden, store = tombstone_container('c'), cluster.store
    for at, ended in ((999.0, 'superseded'), (1000.0, 'superseded'), (1000.00001, 'written')):
        assert store.put(A, hidden, 'a', Policies(HIDE), Timestamp(at)) == ended
    for at, ended in ((1000.0, 'superseded'), (2000.0, 'written'), (3000.0, 'written')):
        assert store.drop(A, hidden, tombstone_name('a'), Timestamp(at)) == ended
    assert (hidden, tombstone_name('a')) not in cluster.markers()


def test_a_marker_without_its_container_is_not_taken_for_written(cluster: MemoryMarkers) -> None:
    with pytest.raises(SourceUnavailable, match='container of this marker'):
        cluster.store.put(A, tombstone_container('gone'), 'a', Policies(HIDE), Timestamp(1))
