"""Who is asked, when and how often; what becomes of remotes that fail or lie."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.concurrency import sleep
from s3_sync.lockstep import OutOfOrder
from s3_sync.shunting.listing.account import merged_account
from s3_sync.shunting.listing.container import merged_container
from s3_sync.shunting.listing.params import Entry, ListingParams
from s3_sync.shunting.listing.sides import RemoteSide
from s3_sync.shunting.remotes import RemoteUnavailable
from s3_sync.types import ListingEntry, ListingPage, ShuntRequest
from test.unit.shunting.listing.markers import Deletions
from test.unit.shunting.listing.plain_swift import PlainAccount, PlainContainer, Row
from test.unit.shunting.listing.remotes import FakeRemote, Manners, OtherSwift, Store, names_of

ALL = ListingParams(10_000)


def rows(*names: str) -> list[Row]:
    return [Row(name) for name in names]


class Local:
    """The cluster, in pages of ``size``; writes down what was asked of it."""

    def __init__(self, *names: str, size: int = 10_000) -> None:
        self._container = PlainContainer(rows(*names))
        self._size = size
        self.requests: list[ListingParams] = []

    def __call__(self, params: ListingParams) -> list[Entry]:
        self.requests.append(params)
        return self._container.page(params)[:self._size]


def entries(params: ListingParams, local: Any, *sides: RemoteSide) -> list[Entry]:
    found: list[Entry] = json.loads(merged_container(params, local, sides).body)
    return found


# -- content_location ------------------------------------------------------------------------


def test_content_location_tells_every_remote_and_the_cluster_last() -> None:
    one, two = Store(rows('a', 'c', 'd', 'e/1')), OtherSwift(rows('b', 'c', 'd', 'e/2', 'f/1'))
    found = entries(replace(ALL, delimiter='/'), Local('a', 'c', 'f/2', 'g'), RemoteSide('one', FakeRemote(one)),
                    RemoteSide('two', FakeRemote(two)))
    assert {name: entry.get('content_location') for name, entry in zip(names_of(found), found, strict=True)} == {
        'a': ['store;bucket', 'swift'], 'b': ['swift;remote'], 'c': ['store;bucket', 'swift;remote', 'swift'],
        'd': ['store;bucket', 'swift;remote'], 'e/': ['store;bucket', 'swift;remote'], 'f/': ['swift;remote', 'swift'],
        'g': None}


def test_buckets_tell_their_own_place() -> None:
    answer = merged_account(ALL, PlainAccount(['b']).page,
                            [RemoteSide('one', FakeRemote(Store(rows('x-a', 'x-b'))), prefix='x-')])
    assert [entry['content_location'] for entry in json.loads(answer.body)] == [['store;x-a'], ['store;x-b', 'swift']]


def test_remote_entries_have_the_keys_of_swift_and_nothing_of_the_remotes_own() -> None:
    internal = {'content_location': ['x'], 'symlink_path': '/v1/AUTH_remote/c/o', 'symlink_bytes': 3}

    class Shunted(OtherSwift):
        def __init__(self) -> None:
            super().__init__(())
            self._container = type('Listing', (), {'page': staticmethod(  # type: ignore[assignment]
                lambda params: [] if params.marker else [{**PlainContainer(rows('b')).page(ALL)[0], **internal,
                                                          'slo_etag': '"s"'}])})()

    found = entries(ALL, Local('z'), RemoteSide('two', FakeRemote(Shunted())),
                    RemoteSide('one', FakeRemote(Store([Row('c', 1_600_000_000.5, 7, 'e-3')]))))
    assert [list(entry) for entry in found] == [
        ['bytes', 'hash', 'name', 'content_type', 'last_modified', 'slo_etag', 'content_location'],
        ['bytes', 'hash', 'name', 'content_type', 'last_modified', 'content_location'],
        ['bytes', 'hash', 'name', 'content_type', 'last_modified']]
    assert found[1] == {'bytes': 7, 'hash': 'e-3', 'name': 'c', 'content_type': 'application/octet-stream',
                        'last_modified': '2020-09-13T12:26:40.500000', 'content_location': ['store;bucket']}


# -- requests --------------------------------------------------------------------------------


def test_an_empty_remote_costs_no_further_request() -> None:
    local, store, other = Local('a', 'b', 'c', size=2), Store(()), OtherSwift(())
    assert names_of(entries(ALL, local, RemoteSide('one', FakeRemote(store)), RemoteSide('two', FakeRemote(other)))) \
        == ['a', 'b']
    assert (len(local.requests), len(store.requests), len(other.requests)) == (1, 1, 1)


def test_another_local_page_is_asked_for_only_before_a_remote_name_beyond_it() -> None:
    local = Local('a', 'c', size=1)
    assert names_of(entries(ListingParams(1), local, RemoteSide('one', FakeRemote(Store(rows('b')))))) == ['a']
    assert len(local.requests) == 1
    assert names_of(entries(ALL, local, RemoteSide('one', FakeRemote(Store(rows('b')))))) == ['a', 'b', 'c']
    assert [request.marker for request in local.requests[1:]] == ['', 'a']


def test_a_store_that_rolls_up_is_asked_once_for_many_names() -> None:
    store = Store(rows(*(f'{letter}/{number}' for letter in 'abc' for number in range(1500))))
    assert len(entries(replace(ALL, delimiter='/'), Local(), RemoteSide('one', FakeRemote(store)))) == 3
    assert len(store.requests) == 1


@pytest.mark.parametrize('params', [{'delimiter': '/'}, {'path': ''}])
def test_subdirs_of_a_store_that_does_not_roll_up_are_leapt_over(params: dict[str, Any]) -> None:
    store = Store(rows(*(f'{letter}/{number:04}' for letter in 'abc' for number in range(5000)), 'd'),
                  Manners(rolls_up=False))
    found = entries(replace(ALL, **params), Local(), RemoteSide('one', FakeRemote(store)))
    assert names_of(found)[-1] == 'd'
    assert len(store.requests) == 4


@pytest.mark.parametrize('rolls_up', [True, False])
@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize(('lower', 'upper', 'expected'), [
    ('', 'd/3', ['a', 'd/']), ('', 'd/2', ['a']), ('', 'd/', ['a']), ('a', 'd/1', []), ('d/3', '', ['d/', 'e']),
    ('d/4', '', ['e']), ('d/', '', ['e']), ('d', '', ['d/', 'e']), ('d/2', 'd/3', ['d/']), ('d/3', 'd/4', []),
    ('d/2', 'd/2x', ['d/'])])
def test_a_subdir_at_a_bound_is_listed_only_for_a_name_within_the_bounds(
        rolls_up: bool, reverse: bool, lower: str, upper: str, expected: list[str]) -> None:
    store = Store(rows('a', 'd/2', 'd/2a', 'd/4', 'e'), Manners(rolls_up=rolls_up, page=2))
    marker, end_marker = (upper, lower) if reverse else (lower, upper)
    params = replace(ALL, delimiter='/', marker=marker, end_marker=end_marker, reverse=reverse)
    found = names_of(entries(params, Local(), RemoteSide('one', FakeRemote(store))))
    assert found == (expected[::-1] if reverse else expected)
    assert found == names_of(PlainContainer(store.rows.values()).page(params))


def test_a_delimiter_that_lies_across_the_end_of_the_mappings_prefix_is_found() -> None:
    store = Store(rows('xa-', 'xa--b', 'xa-b', 'xab--c', 'y--'))
    for prefix in ('', 'x', 'xa', 'xa-'):
        params = replace(ALL, delimiter='--', prefix=prefix)
        expected = PlainContainer(rows('xa-', 'xa--b', 'xa-b')).page(params)
        found = entries(params, Local(), RemoteSide('one', FakeRemote(store), prefix='xa-'))
        assert names_of(found) == names_of(expected)


def test_nobody_is_asked_for_a_page_without_entries() -> None:
    store = Store(rows('a'))
    for params in (ListingParams(0), ListingParams(5, marker='b', end_marker='a')):
        assert entries(params, Local('a'), RemoteSide('one', FakeRemote(store))) == []
    assert store.requests == []


class Waiting(FakeRemote):
    """Answers only when the cluster has been asked."""

    def __init__(self, provider: BaseSync, log: list[str]) -> None:
        super().__init__(provider)
        self.log = log

    def ask(self, call: Any) -> Any:
        self.log.append('remote asked')
        while 'local asked' not in self.log:
            sleep(0)
        return call(self.provider)


@pytest.mark.parametrize(('archives', 'order'), [
    (False, ['remote asked', 'local asked', 'local answers']),
    (True, ['local asked', 'local answers', 'remote asked'])])
def test_both_sides_are_asked_at_once_unless_objects_move_between_them(archives: bool, order: list[str]) -> None:
    log: list[str] = []

    def local(params: ListingParams) -> list[Entry]:
        sleep(0)
        log.append('local asked')
        sleep(0)
        log.append('local answers')
        return []

    side = RemoteSide('one', Waiting(Store(rows('a')), log), archives=archives)
    assert names_of(entries(ALL, local, side)) == ['a']
    assert [line for line in dict.fromkeys(log) if line in order] == order


def test_what_is_archived_between_two_local_pages_is_not_lost() -> None:
    store = Store(rows('c'))
    plain = PlainContainer(rows('a', 'b', 'bb'))

    def local(params: ListingParams) -> list[Entry]:
        if params.marker:  # b has gone since the first page, bb has not
            store.rows['b'] = Row('b')
            return PlainContainer(rows('a', 'bb')).page(params)
        return plain.page(params)[:1]

    found = entries(ALL, local, RemoteSide('one', FakeRemote(store), archives=True))
    assert names_of(found) == ['a', 'b', 'bb', 'c']


def test_what_is_asked_for_again_is_hidden_again() -> None:
    def local(params: ListingParams) -> list[Entry]:
        return PlainContainer(rows('a', 'd')).page(params)[:1]

    store = Store([Row('b', 1_600_000_000.0), *rows('c', 'e')])
    answer = merged_container(ALL, local, [RemoteSide('one', FakeRemote(store), archives=True)],
                              Deletions({'b': 1_600_009_999.0}).tombstones)
    assert names_of(json.loads(answer.body)) == ['a', 'c', 'd', 'e']


# -- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize('make', [
    lambda fail_at: Store(rows('b', 'd', 'f', 'h'), Manners(page=2), fail_at=fail_at),
    lambda fail_at: OtherSwift(rows('b', 'd', 'f', 'h'), 2, fail_at=fail_at)])
@pytest.mark.parametrize(('fail_at', 'shown'), [(0, 'aceg'), (1, 'abcdeg')])
def test_a_remote_that_fails_is_told_of_or_fails_the_listing(make: Any, fail_at: int, shown: str) -> None:
    local = Local('a', 'c', 'e', 'g')
    answer = merged_container(ALL, local, [RemoteSide('one', FakeRemote(make(fail_at)), on_error='partial')])
    assert ''.join(names_of(json.loads(answer.body))) == shown
    assert answer.headers['X-1space-Partial'] == 'one'
    with pytest.raises(RemoteUnavailable) as caught:
        merged_container(ALL, local, [RemoteSide('one', FakeRemote(make(fail_at)))])
    assert (caught.value.target, caught.value.retry_after) == ('one', 7.0)


def test_a_failure_beyond_the_page_is_nobodys() -> None:
    store = Store(rows('b', 'd', 'f', 'h'), Manners(page=2), fail_at=1)
    answer = merged_container(ListingParams(3), Local('a', 'c'), [RemoteSide('one', FakeRemote(store))])
    assert names_of(json.loads(answer.body)) == ['a', 'b', 'c']
    assert 'X-1space-Partial' not in answer.headers


def test_several_failing_remotes_are_all_named_and_the_others_shown() -> None:
    sides = [RemoteSide('one', FakeRemote(Store(rows('a'), fail_at=0)), on_error='partial'),
             RemoteSide('two', FakeRemote(Store(rows('a', 'b')))),
             RemoteSide('three', FakeRemote(OtherSwift(rows('c'), fail_at=0)), on_error='partial')]
    answer = merged_container(ALL, Local('d'), sides)
    assert names_of(json.loads(answer.body)) == ['a', 'b', 'd']
    assert answer.headers['X-1space-Partial'] == 'one, three'


@pytest.mark.parametrize('provider', [Store((), exists=False), OtherSwift((), exists=False)])
def test_a_container_that_is_not_at_the_remote_is_an_empty_one(provider: BaseSync) -> None:
    answer = merged_container(ALL, Local('a'), [RemoteSide('one', FakeRemote(provider))])
    assert (names_of(json.loads(answer.body)), answer.missing) == (['a'], ('one',))


@pytest.mark.parametrize(('limit', 'fails'), [(10, False), (9, True)])
def test_reversed_listings_scan_so_many_names_and_no_more(limit: int, fails: bool) -> None:
    store = Store(rows(*'abcdefghij'), Manners(page=3))
    side = RemoteSide('one', FakeRemote(store), reverse_scan_limit=limit, on_error='partial')
    answer = merged_container(ListingParams(2, reverse=True), Local('e'), [side])
    assert names_of(json.loads(answer.body)) == (['e'] if fails else ['j', 'i'])
    assert ('X-1space-Partial' in answer.headers) is fails
    if fails:
        with pytest.raises(RemoteUnavailable) as caught:
            merged_container(ListingParams(2, reverse=True), Local('e'), [replace(side, on_error='fail')])
        assert caught.value.reason == 'reverse-scan'


def test_reversed_listings_go_on_below_what_was_kept() -> None:
    names = [f'{number:04}' for number in range(2500)]
    store = Store([Row(name, 1_600_000_000.0) for name in names])
    deletions = Deletions(dict.fromkeys(names[5:], 1_600_009_999.0))
    answer = merged_container(ListingParams(3, reverse=True), Local(), [RemoteSide('one', FakeRemote(store))],
                              deletions.tombstones)
    assert names_of(json.loads(answer.body)) == ['0004', '0003', '0002']


class Lying(Store):
    """Gives these pages whatever it is asked; markers are their numbers."""

    def __init__(self, *pages: tuple[list[str], str | None]) -> None:
        super().__init__(())
        self.pages = list(pages)

    def list_objects(self, **asked: Any) -> ListingPage:  # type: ignore[override]
        names, marker = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        return ListingPage(tuple(ListingEntry(name, subdir=name.endswith('>')) for name in names), marker)


@pytest.mark.parametrize(('pages', 'reason'), [
    ([(['b', 'a'], None)], 'unordered'),
    ([(['a', 'a'], None)], 'unordered'),
    ([(['b'], 'b'), (['a', 'c'], None)], 'unordered'),
    ([(['a'], 'a'), (['a'], 'a')], 'unordered'),
    ([([], 'x')], 'lying-listing'),
    ([([], 'x'), ([], 'y'), ([], 'x')], 'lying-listing'),
    ([(['a>'], None)], 'lying-listing')])
def test_a_lying_remote_is_an_error_and_never_a_lost_name(pages: Any, reason: str) -> None:
    with pytest.raises(RemoteUnavailable) as caught:
        merged_container(replace(ALL, delimiter='/'), Local('a', 'z'), [RemoteSide('one', FakeRemote(Lying(*pages)))])
    assert caught.value.reason == reason


@pytest.mark.parametrize('page', [['b', 'a'], ['a', 'a']])
def test_a_cluster_that_lists_out_of_order_is_an_error(page: list[str]) -> None:
    with pytest.raises(OutOfOrder):
        merged_container(ALL, lambda _: [{'name': name} for name in page], [RemoteSide('one', FakeRemote(Store(())))])


def test_another_swift_that_lists_out_of_order_is_an_error() -> None:
    class Mixed(OtherSwift):
        def __init__(self) -> None:
            super().__init__(())
            self._container = type('Listing', (), {'page': staticmethod(  # type: ignore[assignment]
                lambda params: PlainContainer(rows('a', 'b')).page(replace(ALL, reverse=True)))})()

    with pytest.raises(RemoteUnavailable) as caught:
        merged_container(ALL, Local('z'), [RemoteSide('one', FakeRemote(Mixed()))])
    assert caught.value.reason == 'unordered'


@pytest.mark.parametrize('document', [b'{}', b'[1]', b'[{"name": 3}]', b'[{"bytes": 3}]', b'[{"name": "a"', b'<x/>',
                                      b'[{"name": "half a pair: \\ud83d"}]', b'[{"name": "\xff"}]'])
def test_what_is_no_listing_is_a_failure_and_never_an_empty_one(document: bytes) -> None:
    class Odd(OtherSwift):
        def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
            return ProviderResponse(200, {}, iter([document]))

    with pytest.raises(RemoteUnavailable) as caught:
        merged_container(ALL, Local('z'), [RemoteSide('one', FakeRemote(Odd(())))])
    assert caught.value.reason == 'listing'


def test_errors_of_the_clusters_own_listing_pass_and_end_the_asking() -> None:
    log: list[str] = []

    def local(params: ListingParams) -> list[Entry]:
        sleep(0)
        raise LookupError('403')

    with pytest.raises(LookupError):
        merged_container(ALL, local, [RemoteSide('one', Waiting(Store(rows('a')), log))])
    assert log == ['remote asked']
    sleep(0)  # the green thread that waits in there would go on for ever
    assert log == ['remote asked']
