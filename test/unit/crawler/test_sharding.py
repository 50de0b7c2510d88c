"""Shards are found through shard ranges; databases made by Swift's own sharding code."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from swift.common.utils import ShardRange, Timestamp
from swift.container.backend import SHARDED, SHARDING, ContainerBroker

from container_crawler.crawler import Crawler
from container_crawler.shards import ContainerPath, ShardsUnknown
from test.unit.crawler.cluster import Cluster, LiveClock, Pair, RecorderFactory, settle

A = 'AUTH_ä'
SHARDS_A = '.shards_AUTH_ä'
Make = Callable[..., Crawler]
NAMES = ['a', 'b', 'm', 'ü', '\U0001f600']


def begin_sharding(cluster: Cluster, container: str, bounds: Sequence[tuple[str, str]] = (('', 'k'), ('k', '')),
                   node: int = 1) -> tuple[ContainerBroker, list[ShardRange]]:
    """The state the sharder leaves: own epoch, shard ranges found, a fresh database beside the retiring one."""
    broker, = cluster.brokers(A, container, [node])
    own = broker.get_own_shard_range()
    own.update_state(ShardRange.SHARDING)
    own.epoch = Timestamp(cluster.timestamp())
    ranges = [ShardRange(ShardRange.make_path(SHARDS_A, container, container, Timestamp(cluster.timestamp()), n),
                         Timestamp(cluster.timestamp()), lower, upper, state=ShardRange.ACTIVE)
              for n, (lower, upper) in enumerate(bounds)]
    broker.merge_shard_ranges([own, *ranges])
    assert broker.set_sharding_state()
    return broker, ranges


def cleave(cluster: Cluster, container: str, shard: ShardRange, names: Sequence[str], *, deleted: bool = False) -> None:
    """Rows arrive in a shard."""
    broker, = cluster.brokers(shard.account, shard.container)
    with broker:
        broker.set_sharding_sysmeta('Quoted-Root', f'{A}/{container}')
    cluster.put(shard.account, shard.container, [n for n in names if n in shard], deleted=deleted)


def test_rows_in_the_retiring_database_are_worked_on_while_sharding(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', NAMES)
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], items_chunk=2)
    settle(crawler)
    handler = factory['c']
    handler.keeping = False
    assert handler.seen.own == NAMES[:2], 'sharding begins in the middle'
    broker, _ = begin_sharding(cluster, 'c')
    assert broker.get_db_state() == SHARDING
    cluster.put(A, 'c', ['new'])
    settle(crawler)
    handler.finish()
    settle(crawler)
    assert sorted(handler.seen.own) == sorted([*NAMES, 'new']), 'and nothing twice'
    assert {(db.retiring, db.is_root) for db in handler.seen.databases} == {(False, True), (True, True)}


def test_rows_of_shards_belong_to_the_root(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', [])
    broker, ranges = begin_sharding(cluster, 'c')
    assert broker.set_sharded_state() and broker.get_db_state() == SHARDED
    for shard in ranges:
        cleave(cluster, 'c', shard, NAMES)
    factory = RecorderFactory()
    assert crawler_of(cluster, factory, [Pair(A, 'c')]).run_once().caught_up
    seen = factory['c'].seen
    assert sorted(seen.own) == sorted(NAMES)
    assert [key[1] for key in factory.handlers] == ['c']
    assert {(db.account, db.container, db.is_root) for db in seen.databases} == {(A, 'c', False)}
    assert {(db.internal_account, db.internal_container) for db in seen.databases} == {
        (shard.account, shard.container) for shard in ranges}
    assert len(seen.infos) == 1 and seen.infos[0]['container'] == 'c', 'the root only'


def test_shards_of_a_container_whose_name_begins_alike_are_not_touched(cluster: Cluster, crawler_of: Make) -> None:
    for container in ('foo', 'foobar', 'foo-bar'):
        cluster.put(A, container, [])
        broker, ranges = begin_sharding(cluster, container)
        broker.set_sharded_state()
        for shard in ranges:
            cleave(cluster, container, shard, ['a', 'z'], deleted=container != 'foo')
    factory = RecorderFactory()
    assert crawler_of(cluster, factory, [Pair(A, 'foo')]).run_once().caught_up
    assert sorted((r.name, r.deleted) for r in factory['foo'].seen.rows) == [('a', False), ('z', False)]


def test_a_change_in_a_shard_is_seen_though_the_root_is_idle(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', [])
    broker, ranges = begin_sharding(cluster, 'c')
    broker.set_sharded_state()
    for shard in ranges:
        cleave(cluster, 'c', shard, ['a', 'z'])
    cluster.age_files()
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler, 2)
    assert crawler.active == 0
    cleave(cluster, 'c', ranges[1], ['zz'])
    settle(crawler)
    assert sorted(factory['c'].seen.own) == ['a', 'z', 'zz']


def test_a_shrunk_shard_is_worked_on_until_it_is_reclaimed(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', [])
    broker, ranges = begin_sharding(cluster, 'c')
    broker.set_sharded_state()
    cleave(cluster, 'c', ranges[0], ['a'], deleted=True)
    ranges[0].deleted = True
    ranges[0].timestamp = Timestamp(cluster.timestamp())
    ranges[0].update_state(ShardRange.SHRUNK)
    with broker:
        broker.merge_shard_ranges(ranges[:1])
    factory = RecorderFactory()
    crawler_of(cluster, factory, [Pair(A, 'c')]).run_once()
    assert [(r.name, r.deleted) for r in factory['c'].seen.rows] == [('a', True)]


def test_shards_of_a_root_on_other_nodes_are_asked_for(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=1)
    container = next(name for name in map(str, range(100)) if not cluster.places(A, name, 1))
    cluster.put(A, container, [])
    broker, ranges = begin_sharding(cluster, container, [('', 'g'), ('g', 'p'), ('p', '')], node=2)
    broker.set_sharded_state()
    for shard in ranges:
        cleave(cluster, container, shard, NAMES)
    asked: list[tuple[str, str]] = []

    def ask(account: str, name: str) -> tuple[ContainerPath, ...]:
        asked.append((account, name))
        return tuple(ContainerPath(r.account, r.container) for r in ranges)

    handed = []
    for node in (1, 2):
        factory = RecorderFactory()
        assert crawler_of(cluster, factory, [Pair(A, container)], node=node, ask_shards=ask).run_once().caught_up
        if factory.handlers:
            handed += factory[container].seen.own
    assert sorted(handed) == sorted(NAMES)
    assert asked == [(A, container)], 'only where the root is not'


def test_other_nodes_are_asked_at_a_steady_rate(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=1)
    away = [name for name in map(str, range(4000)) if not cluster.places(A, name, 1)][:1500]
    asked: list[str] = []

    def ask(account: str, name: str) -> tuple[ContainerPath, ...]:
        asked.append(name)
        return ()

    clock = LiveClock()
    crawler = crawler_of(cluster, RecorderFactory(), [Pair(A, '/*')], listing=lambda account: away, clock=clock,
                         ask_shards=ask)
    settle(crawler)
    assert 0 < len(asked) < 100
    for _ in range(30):
        clock.ahead += 5
        settle(crawler)
    assert set(asked) == set(away), 'everybody within the round'
    assert len(asked) <= 20 * 152


def test_nobody_to_ask_is_told_once_and_tried_again(
        tmp_path: Path, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=1)
    container = next(name for name in map(str, range(100)) if not cluster.places(A, name, 1))
    asked: list[Any] = []

    def ask(account: str, name: str) -> tuple[ContainerPath, ...]:
        asked.append(name)
        raise ShardsUnknown('127.0.0.2: refused')

    clock = LiveClock()
    crawler = crawler_of(cluster, RecorderFactory(), [Pair(A, container)], ask_shards=ask, clock=clock)
    for _ in range(3):
        settle(crawler)
        clock.ahead += 70
    assert len(asked) == 3
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        f'{A}/{container}: shards are not known now: 127.0.0.2: refused']


def test_hidden_companions_that_are_elsewhere_cost_a_request_now_and_then(tmp_path: Path, crawler_of: Make) -> None:
    cluster = Cluster(tmp_path / 'c', nodes=2, replicas=1)
    container = next(name for name in map(str, range(100)) if cluster.places(A, name, 1)
                     and not cluster.places(A, f'\0ours\0{name}', 1))
    asked: list[str] = []
    factory, clock = RecorderFactory(), LiveClock()
    factory.beside = {container: [f'\0ours\0{container}']}

    def ask(account: str, name: str) -> tuple[ContainerPath, ...]:
        asked.append(name)
        return ()
    crawler = crawler_of(cluster, factory, [Pair(A, container)], ask_shards=ask, clock=clock)
    for _ in range(12):
        settle(crawler)
        clock.ahead += 100
    assert asked == [f'\0ours\0{container}'] * 2


def test_sharding_while_the_crawler_reads_loses_nothing(cluster: Cluster, crawler_of: Make) -> None:
    """Every step of the sharder between two polls."""
    cluster.put(A, 'c', NAMES)
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], items_chunk=1)
    settle(crawler)
    broker, ranges = begin_sharding(cluster, 'c')
    cluster.put(A, 'c', ['during'])
    settle(crawler)
    for shard in ranges:
        cleave(cluster, 'c', shard, [*NAMES, 'during'])
    settle(crawler)
    assert broker.set_sharded_state()
    cleave(cluster, 'c', ranges[0], ['after'])
    settle(crawler, 3)
    assert set(factory['c'].seen.own) == {*NAMES, 'during', 'after'}
    assert crawler.outstanding == 0
    folder, = {os.path.dirname(db.path) for db in factory['c'].seen.databases if db.is_root}
    assert len([n for n in os.listdir(folder) if n.endswith('.db')]) == 1
