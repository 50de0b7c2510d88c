"""Several nodes, several replicas on one node: who works on what, and when on what others left."""
from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from swift.common.utils import Timestamp

from container_crawler.crawler import Crawler
from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.progress import usable_progress
from container_crawler.shares import node_share
from test.unit.crawler.cluster import Cluster, LiveClock, Pair, RecorderFactory, settle

A = 'AUTH_ä'
NAMES = [f'ö/{n}' for n in range(60)]
Make = Callable[..., Crawler]


@pytest.mark.parametrize('nodes', [1, 2, 3, 4, 5, 6])
def test_nodes_split_names_and_each_is_somebodys_once(tmp_path: Path, crawler_of: Make, nodes: int) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=nodes, replicas=nodes)
    cluster.put(A, 'c', NAMES)
    own: Counter[str] = Counter()
    for node in range(1, nodes + 1):
        factory = RecorderFactory()
        settle(crawler_of(cluster, factory, [Pair(A, 'c')], node=node, verification_slack_seconds=3600.0))
        seen = factory['c'].seen
        assert seen.others == [], 'others have their time'
        assert not nodes > 1 or 0 < len(seen.own) < len(NAMES)
        own.update(seen.own)
    assert own == Counter(NAMES)


def test_rows_of_others_are_verified_after_the_slack(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=2)
    cluster.put(A, 'c', NAMES[:30])
    factory, clock = RecorderFactory(), LiveClock()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], clock=clock, verification_slack_seconds=600.0)
    settle(crawler)
    clock.ahead += 300
    cluster.put(A, 'c', NAMES[30:])
    settle(crawler)
    seen = factory['c'].seen
    assert seen.others == []
    clock.ahead += 320
    settle(crawler)
    assert sorted(seen.own + seen.others) == sorted(seen.own + [n for n in NAMES[:30] if n not in seen.own])
    clock.ahead += 320
    settle(crawler)
    assert sorted(seen.own + seen.others) == sorted(NAMES), 'each name once, own ones are not verified again'
    progress, = factory.stored.values()
    assert (progress.own_row, progress.verified_row) == (60, 60)


@pytest.mark.parametrize('restarted', [False, True])
def test_a_row_with_a_time_in_the_future_blocks_nothing(tmp_path: Path, crawler_of: Make, restarted: bool) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=2)
    cluster.put(A, 'c', NAMES[:10])
    cluster.put(A, 'c', ['future'], created_at=Timestamp(4_000_000_000).internal)
    cluster.put(A, 'c', NAMES[10:])
    factory, clock = RecorderFactory(), LiveClock()
    if restarted:
        before = RecorderFactory(factory.stored)
        settle(crawler_of(cluster, before, [Pair(A, 'c')], clock=clock, verification_slack_seconds=600.0))
        assert before['c'].seen.others == []
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], clock=clock, verification_slack_seconds=600.0)
    settle(crawler)
    clock.ahead += 620
    settle(crawler)
    others = {n for n in [*NAMES, 'future'] if n not in factory['c'].seen.own}
    if restarted:
        others -= set(before['c'].seen.own)
    assert set(factory['c'].seen.others) == others


def test_own_rows_come_before_those_of_others(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=2)
    for container in ('c', 'd'):
        cluster.put(A, container, NAMES)
    factory = RecorderFactory()
    report = crawler_of(cluster, factory, [Pair(A, 'c'), Pair(A, 'd')], items_chunk=7,
                        verification_slack_seconds=3600.0).run_once()
    assert report.caught_up, 'once: the slack is ignored when own rows are done'
    kinds = [kind for kind, _, _ in factory.order]
    assert kinds == sorted(kinds, key=['own', 'others'].index), 'over all containers'
    for container in ('c', 'd'):
        assert sorted(factory[container].seen.own + factory[container].seen.others) == sorted(NAMES)


def test_once_verifies_only_when_own_rows_are_finished(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=2)
    cluster.put(A, 'c', NAMES)
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    asked = []

    def until() -> bool:
        asked.append(factory['c'].seen.others[:] if factory.handlers else [])
        if len(asked) == 3:
            factory['c'].finish()
            factory['c'].keeping = False
        return False

    assert crawler.run_once(until).caught_up
    assert asked[:3] == [[], [], []]
    assert factory['c'].seen.others


def test_a_share_taken_over_is_worked_on_from_the_verified_row(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=2)
    cluster.put(A, 'c', NAMES)
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], verification_slack_seconds=3600.0)
    settle(crawler)
    mine = set(factory['c'].seen.own)
    cluster.build_ring(nodes=1, replicas=1)
    place, = cluster.places(A, 'c')
    # The ring moved the only replica to this device, where it already was or is copied by hand.
    for device in os.listdir(cluster.devices(1)):
        if device != place.device:
            shutil.rmtree(os.path.join(cluster.devices(1), device))
    settle(crawler, 2)
    assert set(factory['c'].seen.own) == set(NAMES), 'what the other node had not done yet is done'
    assert mine < set(NAMES)


@pytest.mark.parametrize(('share', 'expected'), [
    ('0/3', (90, 50)), ('', (90, 50)), ('0,2/3', (90, 50)), ('1/3', (50, 50)), ('0/2', (50, 50)), ('0/4', (50, 50))])
def test_own_progress_counts_only_for_names_that_were_own_then(share: str, expected: tuple[int, int]) -> None:
    info = DatabaseInfo('id', A, 'c', A, 'c', '', 'sda', (0,), 3, True, False, False, 100, 100)
    assert usable_progress(Progress(90, 50, share), info)[:2] == expected


def test_progress_beyond_the_database_starts_over() -> None:
    info = DatabaseInfo('id', A, 'c', A, 'c', '', 'sda', (0,), 3, True, False, False, 100, 100)
    assert usable_progress(Progress(101, 50, '0/3'), info)[:2] == (0, 0)


def test_all_replicas_of_one_host_share_the_work(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=1, replicas=3, devices_per_node=3)
    cluster.put(A, 'c', NAMES)
    factory = RecorderFactory()
    settle(crawler_of(cluster, factory, [Pair(A, 'c')], verification_slack_seconds=3600.0))
    seen = factory['c'].seen
    assert Counter(seen.own) == Counter(NAMES)
    assert {db.share for db in seen.databases} == {'0/3', '1/3', '2/3'}
    assert len(seen.infos) == 1, 'the container itself is told of once'


def test_the_share_of_a_lost_disk_is_taken_over_by_another_of_the_host(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=1, replicas=3, devices_per_node=3)
    cluster.put(A, 'c', NAMES)
    lost = cluster.places(A, 'c')[1]
    shutil.rmtree(lost.folder)
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], verification_slack_seconds=3600.0)
    settle(crawler, 3)
    assert set(factory['c'].seen.own) == set(NAMES)
    assert {'0,1/3', '2/3'} <= {progress.share for progress in factory.stored.values()}
    cluster.brokers(A, 'c')
    cluster.put(A, 'c', ['later'])
    settle(crawler, 3)
    assert {progress.share for progress in factory.stored.values()} == {'0/3', '1/3', '2/3'}


def test_a_node_without_a_replica_has_nothing_to_do(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=3, replicas=1)
    cluster.put(A, 'c', NAMES)
    for node in (1, 2, 3):
        factory = RecorderFactory()
        assert crawler_of(cluster, factory, [Pair(A, 'c')], node=node).run_once().caught_up
        assert bool(factory.handlers) == bool(cluster.places(A, 'c', node))


def test_databases_off_their_ring_places_are_left_alone(tmp_path: Path, crawler_of: Make) -> None:
    """A handoff copy: replication returns its rows to a primary."""
    cluster = Cluster(tmp_path / 'c', nodes=1, replicas=1, devices_per_node=2)
    cluster.put(A, 'c', NAMES)
    place, = cluster.places(A, 'c')
    other, = {'sda1', 'sdb1'} - {place.device}
    shutil.move(place.folder, place.folder.replace(place.device, other))
    factory = RecorderFactory()
    assert crawler_of(cluster, factory, [Pair(A, 'c')]).run_once().caught_up
    assert not factory.handlers


def test_bind_address_zero_means_every_local_address(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / 'c')
    from container_crawler.databases import ContainerRing
    assert ContainerRing(cluster.swift_dir, cluster.devices(), '0.0.0.0').places(A, 'c')
    assert not ContainerRing(cluster.swift_dir, cluster.devices(), '127.0.0.99').places(A, 'c')


def test_shares_of_the_ring_and_of_names_agree(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=3, replicas=3)
    for node in (1, 2, 3):
        place, = cluster.places(A, 'c', node)
        info = DatabaseInfo('', A, 'c', A, 'c', '', '', (place.replica,), place.replicas, True, False, False, 0, 0)
        assert [info.owns(name) for name in NAMES] == [node_share(name, 3) == place.replica for name in NAMES]
