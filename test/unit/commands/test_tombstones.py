"""``1space tombstones`` on a cluster in memory: whose markers are meant, and what is left of them."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from s3_sync.clock import FakeClock
from s3_sync.commands.tombstones import Catalogue, Choice, purge
from s3_sync.config import Settings, load
from s3_sync.errors import SourceUnavailable
from s3_sync.shunting.targets import Table
from s3_sync.wire.tombstones import Policies, Policy, tombstone_container
from test.fakes.memory_markers import Answer, MemoryMarkers

from .conftest import Node, entry

A = 'AUTH_a'
REMOTE = {'aws_identity': 'key', 'aws_secret': 'hunter2-hunter2', 'aws_endpoint': 'http://127.0.0.1:9'}
MOVED = {'name': 'moved', 'account': A, 'aws_bucket': 'old', 'container': 'one', 'protocol': 's3', **REMOTE}


@pytest.fixture
def settings(write_config: Callable[..., Path]) -> Settings:
    return load(write_config(entry('one'), entry('all', container='/*', aws_bucket='other'), migrations=[MOVED]))


@pytest.fixture
def cluster() -> MemoryMarkers:
    return MemoryMarkers()


def generation(settings: Settings, name: str, container: str) -> str:
    mapping = settings.mapping(name)
    assert mapping is not None
    return mapping.for_container(container).generation


def forget(catalogue: Catalogue, *choices: Choice, now: float = 5000.0) -> int:
    return purge(catalogue, choices, catalogue.tombstones(choices), FakeClock(now), at_once=2, dry_run=False,
                 as_json=True)


def test_every_generation_of_a_container_has_its_name(settings: Settings, cluster: MemoryMarkers) -> None:
    one, whole = generation(settings, 'one', 'one'), generation(settings, 'all', 'one')
    cluster.put(A, 'one', 'a', {one: 'propagate', whole: 'tombstone', 'feed': 'tombstone'}, 1.0)
    catalogue = Catalogue(settings, cluster.store)
    found, = catalogue.tombstones([Choice('', A)])
    names = catalogue.names(found)
    assert {names.get(generation) for generation in found.marker.policies.of} == {'one', 'all', None}
    assert sorted(set(names.values())) == ['all', 'moved', 'one'] and len(names) == 4  # all: under two ids


def test_a_mapping_s_name_means_its_part_of_markers(settings: Settings, cluster: MemoryMarkers,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    one, whole = generation(settings, 'one', 'one'), generation(settings, 'all', 'one')
    cluster.put(A, 'one', 'both', {one: 'tombstone', whole: 'tombstone'}, 1000.0)
    cluster.put(A, 'one', 'mine', {one: 'tombstone'}, 1000.0)
    cluster.put(A, 'one', 'theirs', {whole: 'tombstone'}, 1000.0)
    assert forget(Catalogue(settings, cluster.store), Choice('one', A, 'one', mapping='one')) == 0
    assert json.loads(capsys.readouterr().out)['purged'] == 2
    hidden = tombstone_container('one')
    assert {m.name: m.policies for m in cluster.store.markers(A, hidden)} == {
        'both': Policies({whole: 'tombstone'}), 'theirs': Policies({whole: 'tombstone'})}


def test_a_path_means_whole_markers_and_the_container_s_own(settings: Settings, cluster: MemoryMarkers,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    kept: dict[str, Policy] = {'feed': 'tombstone'}
    for container, name in (('one', 'a'), ('one', 'b'), ('', 'one'), ('', 'two'), ('two', 'one')):
        cluster.put(A, container, name, kept, 1000.0)
    assert forget(Catalogue(settings, cluster.store), Choice('AUTH_a/one', A, 'one')) == 0
    assert cluster.markers() == {(tombstone_container(''), '\0two'), (tombstone_container('two'), '\0one')}
    assert forget(Catalogue(settings, cluster.store), Choice('AUTH_a/two/x', A, 'two', 'x')) == 3
    assert 'no tombstone is found for AUTH_a/two/x' in capsys.readouterr().err


def test_what_was_deleted_again_meanwhile_stays_and_is_told(settings: Settings, cluster: MemoryMarkers,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    cluster.put(A, 'one', 'a', {'feed': 'tombstone'}, 1000.0)
    cluster.put(A, 'one', 'b', {'feed': 'tombstone'}, 1000.0)

    def delete_again(method: str, path: tuple[str, ...]) -> Answer | None:
        if method == 'DELETE' and path[2] == '\0a':
            cluster.before = lambda method, path: None
            cluster.put(A, 'one', 'a', {'feed': 'tombstone'}, 1000.00001)
        return None
    cluster.before = delete_again
    assert forget(Catalogue(settings, cluster.store), Choice('', A)) == 0
    assert json.loads(capsys.readouterr().out) == {'action': 'purge', 'purged': 1, 'kept': 1, 'dry_run': False}
    assert cluster.markers() == {(tombstone_container('one'), '\0a')}


@pytest.mark.parametrize('failing', ['GET', 'DELETE'])
def test_a_cluster_that_fails_half_way_is_an_error_and_no_wait(settings: Settings, cluster: MemoryMarkers,
                                                               failing: str) -> None:
    for number in range(5):
        cluster.put(A, 'one', f'o{number}', {'feed': 'tombstone'}, 1000.0)
    seen = iter(range(100))

    def fail(method: str, path: tuple[str, ...]) -> None:
        if method == failing and next(seen) == 2:
            raise SourceUnavailable('503')
    cluster.before = fail
    with pytest.raises(SourceUnavailable):
        forget(Catalogue(settings, cluster.store), Choice('', A))


@pytest.mark.parametrize('argument', ['AUTH_a', 'nobody', 'AUTH_a/%ff/x', '/c'])
def test_what_is_neither_mapping_nor_path_is_refused(node: Node, argument: str) -> None:
    node.run('tombstones', 'list', argument, code=2)


def test_migrations_alone_are_a_configuration(write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str],
                                              cluster: MemoryMarkers) -> None:
    path = write_config(migrations=[MOVED])
    Node(path, capsys).run('tombstones', 'purge', 'other', code=2)
    catalogue = Catalogue(load(path), cluster.store)
    merged = Table(migrations=load(path).migrations).lookup(A, 'one')
    assert merged is not None
    target, = merged.targets
    cluster.put(A, 'one', 'a', {target.mapping.generation: 'tombstone', 'feed': 'tombstone'}, 1000.0)
    cluster.put(A, 'two', 'a', {target.mapping.generation: 'tombstone'}, 1000.0)
    assert forget(catalogue, Choice('moved', A, 'one', mapping='moved')) == 0
    left, = cluster.store.markers(A, tombstone_container('one'))
    assert left.policies == Policies({'feed': 'tombstone'})
