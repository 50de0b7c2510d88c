"""The crawler on real databases of one node."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from swift.container.backend import ContainerBroker

from container_crawler.crawler import Crawler
from container_crawler.exceptions import RetryError, SkipContainer
from container_crawler.handlers import Progress
from test.unit.crawler.cluster import (
    Cluster,
    LiveClock,
    Pair,
    Recorder,
    RecorderFactory,
    folder_of,
    replace_database,
    settle,
)

A = 'AUTH_té☃'
Make = Callable[..., Crawler]


def test_rows_of_a_container_are_handed_out_once(cluster: Cluster, crawler_of: Make) -> None:
    names = ['a', 'b/ü', '\U0001f600', 'new\nline', '%41', ' ']
    cluster.put(A, 'cönt', names)
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'cönt')])
    report = crawler.run_once()
    assert report.caught_up
    settle(crawler, 3)
    assert factory['cönt'].seen.own == names
    assert factory['cönt'].seen.others == []
    info = factory['cönt'].seen.databases[0]
    assert (info.account, info.container, info.is_root, info.share) == (A, 'cönt', True, '0/1')


def test_a_row_that_is_only_in_the_pending_file_is_seen(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['first'])
    cluster.age_files()
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    assert crawler.active == 0, 'idle'
    database = folder_of(cluster, A, 'c')
    before = [os.stat(os.path.join(database, n)).st_mtime_ns for n in os.listdir(database) if n.endswith('.db')]
    cluster.put(A, 'c', ['pending'], commit=False)
    after = [os.stat(os.path.join(database, n)).st_mtime_ns for n in os.listdir(database) if n.endswith('.db')]
    assert before == after, 'the database itself was not touched'
    settle(crawler)
    assert factory['c'].seen.own == ['first', 'pending']


def test_deleted_rows_and_policies_are_told(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    cluster.put(A, 'c', ['x'], deleted=True)
    factory = RecorderFactory()
    crawler_of(cluster, factory, [Pair(A, 'c')]).run_once()
    rows = factory['c'].seen.rows
    assert [(r.name, r.deleted, r.policy_index) for r in rows] == [('x', True, 0)]


def test_tombstones_of_a_deleted_container_are_handed_out(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    broker, = cluster.brokers(A, 'c')
    with broker:
        broker.update_metadata({'X-Container-Meta-Colour': ('red', cluster.timestamp())})
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    cluster.put(A, 'c', ['x'], deleted=True)
    with broker:
        broker.delete_db(cluster.timestamp())
    settle(crawler)
    handler = factory['c']
    assert [(r.name, r.deleted) for r in handler.seen.rows] == [('x', False), ('x', True)]
    assert handler.seen.databases[-1].deleted
    assert len(handler.seen.infos) == 1, 'a deletion is no change of its metadata'
    # Recreated: the id stays, and so does the progress.
    cluster.put(A, 'c', ['y'])
    settle(crawler)
    assert handler.seen.own == ['x', 'x', 'y']


def test_a_missing_container_is_quiet_and_found_when_it_appears(
        cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'later')])
    with caplog.at_level(logging.INFO):
        assert crawler.run_once().caught_up
    assert caplog.records == []
    cluster.put(A, 'later', ['x'])
    settle(crawler)
    assert factory['later'].seen.own == ['x']


def test_a_replaced_database_is_read_from_its_first_row(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x', 'y'])
    cluster.put(A, 'elsewhere', ['y', 'z'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    source, target = (cluster.brokers(A, name)[0].db_file for name in ('elsewhere', 'c'))
    replace_database(source, target)
    settle(crawler)
    assert factory['c'].seen.own == ['x', 'y', 'y', 'z']


def test_an_older_copy_of_the_same_database_is_read_again(
        cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    cluster.put(A, 'c', ['x'])
    database = cluster.brokers(A, 'c')[0].db_file
    with open(database, 'rb') as file:
        old = file.read()
    cluster.put(A, 'c', ['y', 'z'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    with open(database + '.tmp', 'wb') as file:
        file.write(old)
    os.rename(database + '.tmp', database)
    settle(crawler)
    assert 'older copy' in caplog.text
    cluster.put(A, 'c', ['new'])
    settle(crawler)
    assert factory['c'].seen.own == ['x', 'y', 'z', 'x', 'new']


def test_an_older_copy_put_in_place_while_rows_are_outstanding_is_read_again(
        cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    database = cluster.brokers(A, 'c')[0].db_file
    with open(database, 'rb') as file:
        old = file.read()
    cluster.put(A, 'c', ['y', 'z'])
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    with open(database + '.tmp', 'wb') as file:
        file.write(old)
    os.rename(database + '.tmp', database)
    settle(crawler)
    handler = factory['c']
    assert handler.seen.own == ['x', 'y', 'z', 'x']
    handler.finish()
    settle(crawler)
    assert crawler.outstanding == 0
    assert [progress.own_row for progress in factory.stored.values()] == [1]


def test_an_idle_container_is_not_opened(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    cluster.age_files()
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    with open(cluster.brokers(A, 'c')[0].db_file, 'r+b') as file:
        stat = os.stat(file.name)
        file.write(b'not a database')
    os.utime(file.name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    settle(crawler, 3)
    assert crawler.active == 0, 'stats are as they were, so nobody read it'


def test_files_that_changed_a_moment_ago_are_looked_at_again(
        cluster: Cluster, crawler_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the grain of file times a change does not show in them."""
    monkeypatch.setattr('container_crawler.stamps.GRAIN_SECONDS', 1e12)
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    folder = folder_of(cluster, A, 'c')
    before = {entry.path: entry.stat() for entry in os.scandir(folder)}
    cluster.put(A, 'c', ['y'])
    for path, stat in before.items():
        assert (os.stat(path).st_ino, os.stat(path).st_size) == (stat.st_ino, stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    settle(crawler)
    assert factory['c'].seen.own == ['x', 'y']


def test_the_stored_pointer_never_passes_an_unfinished_row(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', list('abcde'))
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])

    def pointer() -> int:
        settle(crawler)
        progress, = factory.stored.values()
        assert progress.verified_row <= progress.own_row
        return progress.own_row

    assert pointer() == 0
    handler = factory['c']
    handler.finish('c')
    assert pointer() == 0
    handler.finish('a')
    assert pointer() == 1
    handler.finish('b')
    assert pointer() == 3
    handler.finish()
    assert pointer() == 5


def test_after_a_crash_unfinished_rows_come_again(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', list('abcd'))
    stored: dict[Any, Progress] = {}
    factory = RecorderFactory(stored)
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler)
    factory['c'].finish('a', 'd')
    settle(crawler)
    again = RecorderFactory(stored)
    assert crawler_of(cluster, again, [Pair(A, 'c')]).run_once().caught_up
    assert again['c'].seen.own == ['b', 'c', 'd']


def test_a_backlog_delays_another_container_by_one_chunk_at_most(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'big', [f'{n:03}' for n in range(95)])
    cluster.put(A, 'small', ['x'])
    factory = RecorderFactory()
    crawler_of(cluster, factory, [Pair(A, 'big'), Pair(A, 'small')], items_chunk=10, enumerator_workers=1).run_once()
    turns = [container for _, container, _ in factory.order]
    assert turns.index('small') <= 1
    assert max(len(names) for _, _, names in factory.order) <= 10
    assert len(factory['big'].seen.own) == 95


def test_a_database_gets_no_new_chunk_until_its_rows_drain(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', [f'{n:02}' for n in range(40)])
    cluster.put(A, 'other', ['x'])
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', handler.key[1] == 'c')
    crawler = crawler_of(cluster, factory, [Pair(A, 'c'), Pair(A, 'other')], items_chunk=10)
    settle(crawler, 3)
    handler = factory['c']
    assert len(handler.kept) == 10
    assert factory['other'].seen.own == ['x']
    handler.finish(*[f'{n:02}' for n in range(5)])
    settle(crawler)
    assert len(handler.kept) == 10, 'filled up to one chunk again'
    while handler.kept:
        handler.finish()
        settle(crawler)
    assert handler.seen.own == [f'{n:02}' for n in range(40)]


def test_a_handler_that_is_not_ready_leaves_rows_where_they_are(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'is_ready', False)
    clock = LiveClock()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], clock=clock)
    report = crawler.run_once()
    assert not report.caught_up and report.held == (f'{A}/c',)
    assert factory['c'].seen.own == []
    clock.ahead += 50
    assert crawler.lag(Pair(A, 'c')) >= 50
    factory['c'].is_ready = True
    settle(crawler)
    assert factory['c'].seen.own == ['x']
    assert crawler.lag(Pair(A, 'c')) == 0


def test_errors_of_one_container_are_logged_once_and_stop_no_other(
        cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    for name in ('bad', 'good'):
        cluster.put(A, name, ['x', 'y'])
    factory = RecorderFactory()
    factory.prepare = lambda h: setattr(h, 'failing', ValueError('ouch') if h.key[1] == 'bad' else None)
    crawler = crawler_of(cluster, factory, [Pair(A, 'bad'), Pair(A, 'good')])
    report = crawler.run_once()
    assert (report.caught_up, report.failed) == (False, (f'{A}/bad',))
    settle(crawler, 2)
    assert factory['good'].seen.own == ['x', 'y']
    assert factory['bad'].seen.own == ['x', 'y'] * 3, 'the same rows at each poll'
    assert [p.own_row for (key, _), p in factory.stored.items() if key[1] == 'bad'] == [0]
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(errors) == 1 and f'{A}/bad' in errors[0].getMessage()
    factory['bad'].failing = None
    settle(crawler)
    assert crawler.outstanding == 0
    assert [p.own_row for (key, _), p in factory.stored.items() if key[1] == 'bad'] == [2]


def test_retry_error_replays_quietly(cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'failing', RetryError('not now'))
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler, 2)
    assert factory['c'].seen.own == ['x', 'x']
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize('damage', ['header', 'pages'])
def test_a_corrupt_database_is_reported_and_left_alone(
        cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    cluster.put(A, 'bad', [str(n) for n in range(50)])
    cluster.put(A, 'good', ['x'])
    database = cluster.brokers(A, 'bad')[0].db_file
    with open(database, 'r+b') as file:
        file.seek(0 if damage == 'header' else 4096)
        file.write(os.urandom(100) if damage == 'header' else b'\xff' * 60000)
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'bad'), Pair(A, 'good')])
    report = crawler.run_once()
    settle(crawler)
    assert report.failed == (f'{A}/bad',)
    assert factory['good'].seen.own == ['x']
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert f'{A}/bad' in caplog.text
    assert os.path.exists(database), "quarantine is for Swift's auditor"


def test_a_locked_database_is_read_later(cluster: Cluster, crawler_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('container_crawler.reader.LOCK_SECONDS', 0.05)
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    cluster.put(A, 'c', ['y'], commit=False)
    broker = ContainerBroker(cluster.brokers(A, 'c')[0].db_file)
    with broker.get() as connection:
        connection.execute('BEGIN EXCLUSIVE')
        settle(crawler)
        assert factory['c'].seen.own == []
    with broker:
        settle(crawler)
    assert factory['c'].seen.own == ['x', 'y']


def test_container_metadata_comes_before_rows_and_again_when_changed(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    broker, = cluster.brokers(A, 'c')
    with broker:
        broker.update_metadata({'X-Container-Meta-Farbe': ('grün', cluster.timestamp())})
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    settle(crawler, 2)
    handler = factory['c']
    assert [info['given'] for info in handler.seen.infos] == [{'X-Container-Meta-Farbe': 'grün'}]
    assert handler.seen.infos[0]['container'] == 'c'
    cluster.put(A, 'c', ['y'])
    settle(crawler)
    assert len(handler.seen.infos) == 1, 'a row is no change of the container'
    with broker:
        broker.update_metadata({'X-Container-Meta-Farbe': ('', cluster.timestamp())})
    settle(crawler)
    assert [info['given'] for info in handler.seen.infos] == [{'X-Container-Meta-Farbe': 'grün'}, {}]


def test_several_mappings_of_a_container_have_their_own_handlers(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c', 'one'), Pair(A, 'c', 'two'), Pair(A, 'c', 'one')])
    crawler.run_once()
    assert sorted(key[2] for key in factory.handlers) == ['one', 'two']
    assert all(handler.seen.own == ['x'] for handler in factory.handlers.values())


def test_mappings_change_while_running(cluster: Cluster, crawler_of: Make) -> None:
    for name in ('a', 'b'):
        cluster.put(A, name, ['x'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'a')])
    settle(crawler)
    crawler.set_mappings([Pair(A, 'a'), Pair(A, 'b')])
    settle(crawler)
    assert factory['a'].seen.own == ['x'] and factory['b'].seen.own == ['x']
    crawler.set_mappings([Pair(A, 'b')])
    cluster.put(A, 'a', ['y'])
    settle(crawler)
    assert factory['a'].seen.own == ['x']


def test_a_removed_mapping_with_rows_outstanding_leaves_nothing_behind(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'a', ['x'])
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'a')])
    settle(crawler)
    crawler.set_mappings([])
    factory['a'].finish()
    settle(crawler)
    assert (crawler.outstanding, crawler.active) == (0, 0)


def test_skipped_containers_are_no_errors(
        cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    class Skipping(RecorderFactory):
        def create(self, mapping: Pair, container: str) -> Recorder:
            raise SkipContainer('not this one')

    cluster.put(A, 'c', ['x'])
    crawler = crawler_of(cluster, Skipping(), [Pair(A, 'c')])
    with caplog.at_level(logging.INFO):
        assert crawler.run_once().caught_up
        settle(crawler, 2)
    assert [r.levelno for r in caplog.records] == [logging.INFO]


def test_a_stopped_crawler_begins_nothing(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    crawler.stop()
    crawler.run_forever()
    assert not crawler.run_once().caught_up
    assert factory.order == []


def test_until_ends_a_run_early(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')])
    report = crawler.run_once(until=lambda: 'c' in [k[1] for k in factory.handlers] and len(factory['c'].kept) == 1)
    assert not report.caught_up
