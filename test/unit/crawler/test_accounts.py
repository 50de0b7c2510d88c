"""Every container of an account."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import pytest

from container_crawler.crawler import Crawler
from container_crawler.internal_client import ListingError, account_listing
from test.unit.crawler.cluster import Cluster, LiveClock, Pair, Recorder, RecorderFactory, settle

A = 'AUTH_ä'
Make = Callable[..., Crawler]


class Listing:
    """An account listing that tests change."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.fail_after: int | None = None
        self.calls = 0

    def __call__(self, account: str) -> Iterator[str]:
        assert account == A
        self.calls += 1
        for number, name in enumerate(self.names):
            if number == self.fail_after:
                raise OSError('503')
            yield name


def test_every_container_has_its_own_handler_and_hidden_ones_are_left_out(cluster: Cluster, crawler_of: Make) -> None:
    names = ['ä', 'b+segments', 'c', '\U0001f600']
    for name in [*names, '\0versions\0c']:
        cluster.put(A, name, ['x'])
    factory = RecorderFactory()
    report = crawler_of(cluster, factory, [Pair(A, '/*')], listing=Listing('\0versions\0c', *names)).run_once()
    assert report.caught_up
    assert sorted(key[1] for key in factory.handlers) == sorted(names)
    assert all(handler.seen.own == ['x'] for handler in factory.handlers.values())


def test_hidden_containers_of_an_account_are_looked_at_where_they_are_asked_for(cluster: Cluster,
                                                                               crawler_of: Make) -> None:
    for name in ('c', '\0ours\0c', '\0ours\0gone', '\0versions\0c'):
        cluster.put(A, name, ['x'])
    factory = RecorderFactory()
    factory.hidden = {'\0ours\0c', '\0ours\0gone'}
    factory.known = ['\0ours\0gone', '\0versions\0c']  # deleted: no listing names them
    report = crawler_of(cluster, factory, [Pair(A, '/*')],
                        listing=Listing('\0ours\0c', '\0versions\0c', 'c')).run_once()
    assert report.caught_up
    assert {key[1]: handler.seen.own for key, handler in factory.handlers.items()} == {
        'c': ['x'], '\0ours\0c': ['x'], '\0ours\0gone': ['x']}


def test_companions_of_a_named_container_are_looked_at_once_they_exist(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    factory = RecorderFactory()
    factory.beside = {'c': ['\0ours\0c'], 'other': ['\0ours\0other']}
    crawler = crawler_of(cluster, factory, [Pair(A, 'c', 'one'), Pair(A, 'c', 'two')])
    settle(crawler, 2)
    assert {key[1:] for key in factory.handlers} == {('c', 'one'), ('c', 'two')}  # what is not there has no handler
    cluster.put(A, '\0ours\0c', ['\0x'])
    settle(crawler, 2)
    assert {key[1:]: handler.seen.own for key, handler in factory.handlers.items()} == {
        ('c', 'one'): ['x'], ('c', 'two'): ['x'], ('\0ours\0c', 'one'): ['\0x'], ('\0ours\0c', 'two'): ['\0x']}


def test_rows_of_hidden_containers_are_no_users_changes(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'c', ['x'])
    cluster.put(A, '\0ours\0c', ['\0x', '\0y'])
    factory, clock = RecorderFactory(), LiveClock()
    factory.beside = {'c': ['\0ours\0c']}

    def keep_hidden(handler: Recorder) -> None:
        handler.keeping = handler.key[1] != 'c'
    factory.prepare = keep_hidden
    crawler = crawler_of(cluster, factory, [Pair(A, 'c')], clock=clock)
    settle(crawler, 2)
    assert crawler.outstanding == 2
    assert (crawler.backlog, crawler.lag(Pair(A, 'c'))) == (0, 0.0)


def test_a_named_container_is_visited_once_for_each_mapping(cluster: Cluster, crawler_of: Make) -> None:
    for name in ('a', 'b'):
        cluster.put(A, name, ['x'])
    factory = RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, '/*', 'all'), Pair(A, 'a', 'one')], listing=Listing('a', 'b'))
    settle(crawler, 2)
    assert {(key[1], key[2]): h.seen.own for key, h in factory.handlers.items()} == {
        ('a', 'all'): ['x'], ('b', 'all'): ['x'], ('a', 'one'): ['x']}


def test_a_failing_listing_changes_nothing_and_is_logged_once(
        cluster: Cluster, crawler_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    for name in ('a', 'b'):
        cluster.put(A, name, ['x'])
    listing, factory, clock = Listing('a', 'b'), RecorderFactory(), LiveClock()
    crawler = crawler_of(cluster, factory, [Pair(A, '/*')], listing=listing, clock=clock)
    settle(crawler)
    listing.fail_after = 1
    for name in ('a', 'b'):
        cluster.put(A, name, ['y'])
    report = crawler.run_once()
    assert report.unlisted and not report.caught_up
    settle(crawler)
    assert factory['a'].seen.own == ['x', 'y'], 'what it told before it failed'
    assert factory['b'].seen.own == ['x']
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    factory.known = ['b']
    clock.ahead += 61
    settle(crawler)
    assert factory['b'].seen.own == ['x', 'y'], 'containers that had rows before are known'
    listing.fail_after = None
    settle(crawler)
    assert factory['a'].seen.own == ['x', 'y'], 'nothing was forgotten'


@pytest.mark.parametrize('listed', [[], ['b']])
def test_a_short_listing_forgets_nothing(cluster: Cluster, crawler_of: Make, listed: list[str]) -> None:
    for name in ('a', 'b'):
        cluster.put(A, name, ['x'])
    listing, factory = Listing('a', 'b'), RecorderFactory()
    crawler = crawler_of(cluster, factory, [Pair(A, '/*')], listing=listing)
    settle(crawler)
    stored = dict(factory.stored)
    listing.names = listed
    settle(crawler, 3)
    assert factory.stored == stored
    listing.names = ['a', 'b']
    settle(crawler)
    assert factory['a'].seen.own == ['x'] and factory['b'].seen.own == ['x']


def test_a_container_with_rows_left_goes_on_when_it_is_listed_no_more(cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'a', [str(n) for n in range(8)])
    listing, factory = Listing('a'), RecorderFactory()
    factory.prepare = lambda handler: setattr(handler, 'keeping', True)
    crawler = crawler_of(cluster, factory, [Pair(A, '/*')], listing=listing, items_chunk=4)
    settle(crawler)
    listing.names = []
    cluster.put(A, 'a', ['late'])
    factory['a'].keeping = False
    factory['a'].finish()
    settle(crawler, 2)
    assert factory['a'].seen.own == [*[str(n) for n in range(8)], 'late']


def test_tombstones_of_a_container_that_vanished_from_the_listing_are_found(
        cluster: Cluster, crawler_of: Make) -> None:
    cluster.put(A, 'a', ['x'])
    listing, factory, clock = Listing('a'), RecorderFactory(), LiveClock()
    crawler = crawler_of(cluster, factory, [Pair(A, '/*')], listing=listing, clock=clock)
    settle(crawler)
    cluster.put(A, 'a', ['x'], deleted=True)
    broker, = cluster.brokers(A, 'a')
    with broker:
        broker.delete_db(cluster.timestamp())
    listing.names, factory.known = [], ['a', 'never there']
    clock.ahead += 61
    settle(crawler)
    assert [(r.name, r.deleted) for r in factory['a'].seen.rows] == [('x', False), ('x', True)]


def test_names_are_streamed(cluster: Cluster, crawler_of: Make) -> None:
    """At most a few batches are in memory while the listing goes on."""
    alive: list[int] = []

    class Name(str):
        def __init__(self, *_: object) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    most = 0

    def listing(account: str) -> Iterator[str]:
        nonlocal most
        for number in range(5000):
            yield Name(f'container-{number}')
            most = max(most, len(alive))

    settle(crawler_of(cluster, RecorderFactory(), [Pair(A, '/*')], listing=listing))
    assert 0 < most < 1000


class Client:
    """The part of InternalClient that a listing needs."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names

    def iter_containers(self, account: str) -> Iterator[dict[str, str]]:
        assert account == A
        return ({'name': name} for name in self._names)


def test_listings_in_byte_order_are_believed() -> None:
    names = ['A', 'a', 'ä', '\uffff', '\U0001f600']
    assert list(account_listing(Client(names))(A)) == names


def test_a_listing_that_repeats_itself_ends_with_an_error() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield from ('a', 'b')

    with pytest.raises(ListingError, match='AUTH_ä'):
        list(account_listing(Client(endless()))(A))
