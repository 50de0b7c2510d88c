"""Deletions hide what is only at the remote and not newer; listings are those of a container without it."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from swift.common.middleware.versioned_writes.object_versioning import (
    DELETE_MARKER_CONTENT_TYPE,
    build_versions_object_name,
)
from swift.common.utils import Timestamp

from s3_sync.concurrency import sleep
from s3_sync.errors import TemporaryError
from s3_sync.shunting.listing.account import merged_account
from s3_sync.shunting.listing.container import merged_container
from s3_sync.shunting.listing.params import ListingParams
from s3_sync.shunting.listing.sides import RemoteSide
from s3_sync.shunting.listing.tombstones import DeletedVersions, ListedMarkers, both
from s3_sync.shunting.listing.verdicts import Verdicts
from s3_sync.shunting.remotes import RemoteUnavailable
from s3_sync.timestamps import MARKER
from s3_sync.types import ObjectMeta
from s3_sync.wire.tombstones import tombstone_name
from test.unit.shunting.listing.markers import Deletions
from test.unit.shunting.listing.plain_swift import PlainAccount, PlainContainer, Row
from test.unit.shunting.listing.remotes import FakeRemote, Manners, OtherSwift, Store, names_of
from test.unit.shunting.listing.test_like_plain_swift import StoreManners, listings, loses_names

NOW = 1_600_000_000.0
Names = st.one_of(st.text('ab/', min_size=1, max_size=5), st.text('ab/-', min_size=1, max_size=5),
                  st.sampled_from([f'{head}{"x" * 1030}' for head in ('a', 'a/', 'b/a', 'c/')]))
Rows = st.lists(st.tuples(Names, st.sampled_from(['local', 'one', 'one', 'two', 'one two', 'local one']),
                          st.sampled_from([0.0, 100.0, 10_000.0]),  # when it was written
                          st.sampled_from([None, None, 50.0, 100.0, 5_000.0, 20_000.0])),  # when it was deleted
                min_size=3, max_size=12, unique_by=lambda row: row[0])


@settings(max_examples=250, deadline=None)
@given(listings(Rows), StoreManners, st.booleans(), st.sampled_from([0.0, 200.0, 5_000.0]),
       st.sampled_from([-7200.0, 0.0, 7200.0]))
def test_a_deletion_hides_remote_versions_that_are_not_newer(
        listing: tuple[list[Any], ListingParams], manners: Manners, native: bool, upload_delay: float,
        clock_offset: float) -> None:
    rows, params = listing
    sides: dict[str, list[Row]] = {'local': [], 'one': [], 'two': []}
    visible = []
    for name, where, written, deleted in rows:
        for side in where.split():
            sides[side].append(Row(name, NOW + written))
        if 'local' in where or deleted is None or written > deleted:
            visible.append(Row(name))
    assume(not loses_names(params, visible) and not loses_names(params, [r for part in sides.values() for r in part]))
    one = OtherSwift(sides['one']) if native else Store(
        sides['one'], manners, upload_delay=upload_delay, clock_offset=clock_offset)
    deletions = Deletions({name: NOW + deleted for name, _, _, deleted in rows if deleted is not None})
    answer = merged_container(params, PlainContainer(sides['local']).page, [
        RemoteSide('one', FakeRemote(one)), RemoteSide('two', FakeRemote(Store(sides['two'])))], deletions.tombstones)
    assert names_of(json.loads(answer.body)) == names_of(PlainContainer(visible).page(params))


def listed(remote: FakeRemote, deletions: Deletions, **params: object) -> list[str]:
    answer = merged_container(ListingParams(10_000, **params), lambda _: [],  # type: ignore[arg-type]
                              [RemoteSide('one', remote)], deletions.tombstones)
    return names_of(json.loads(answer.body))


def test_old_versions_are_settled_without_asking() -> None:
    remote = FakeRemote(Store([Row('a', NOW), Row('b', NOW)], clock_offset=3600.0))
    assert listed(remote, Deletions({'a': NOW + 300, 'b': NOW + 400})) == []
    assert remote.heads == []


def test_only_a_head_settles_what_came_at_about_the_time_of_the_deletion() -> None:
    """Listings know when a copy came; its source may be older than the deletion, or a newer one."""
    remote = FakeRemote(Store([Row('copy', NOW), Row('gone', NOW), Row('late', NOW)]))
    remote.versions = {
        'copy': ObjectMeta('copy', 1, data_time=Timestamp(NOW - 900), last_modified=NOW),
        'late': ObjectMeta('late', 1, data_time=Timestamp(NOW - 900), meta_time=Timestamp(NOW - 100),
                           last_modified=NOW),
        'gone': None}
    assert listed(remote, Deletions(dict.fromkeys(('copy', 'gone', 'late'), NOW - 500))) == ['late']
    assert remote.heads == ['copy', 'gone', 'late']


def test_our_own_marker_in_a_deletions_time_does_not_count() -> None:
    remote = FakeRemote(Store([Row('a', NOW)]))
    deletions = Deletions({})
    deletions._markers['a'] = deletions_of('a', NOW, offset=MARKER << 32)
    assert listed(remote, deletions) == []
    assert remote.heads == ['a']


def deletions_of(name: str, time: float, *, offset: int) -> object:
    return type('Marked', (), {'name': name, 'time': Timestamp(time, offset=offset)})()


@pytest.mark.parametrize('reverse', [False, True])
def test_far_markers_are_skipped_not_read(reverse: bool) -> None:
    deletions = Deletions({f'm{number:05}': NOW for number in range(20_000)} | {'z': NOW + 900, 'a': NOW + 900})
    remote = FakeRemote(Store([Row('a', NOW), Row('m0', NOW), Row('z', NOW), Row('z0', NOW)]))
    expected = ['m0', 'z0']
    assert listed(remote, deletions, reverse=reverse) == (expected[::-1] if reverse else expected)
    assert deletions.read < 5_000


def test_markers_are_not_read_when_everything_is_in_the_cluster() -> None:
    rows = [Row('a'), Row('b')]
    deletions = Deletions({'a': NOW})
    merged_container(ListingParams(10), PlainContainer(rows).page, [RemoteSide('one', FakeRemote(Store(rows)))],
                     deletions.tombstones)
    assert deletions.read == 0


def test_a_subdir_is_looked_into_only_when_something_in_it_was_deleted() -> None:
    store = Store([Row('a/1', NOW), Row('b/1', NOW), Row('b/2', NOW), Row('c/1', NOW)])
    assert listed(FakeRemote(store), Deletions({'b/1': NOW + 900}), delimiter='/') == ['a/', 'b/', 'c/']
    assert [request['prefix'] for request in store.requests] == ['', 'b/']


def test_deleted_containers_are_hidden_until_there_are_new_ones() -> None:
    store = Store([Row('gone', NOW), Row('new', NOW), Row('other', NOW)])
    deletions = Deletions({'gone': NOW, 'new': NOW - 1, 'local': NOW})
    answer = merged_account(ListingParams(10), PlainAccount(['local']).page, [RemoteSide('one', FakeRemote(store))],
                            deletions.tombstones)
    assert names_of(json.loads(answer.body)) == ['local', 'new', 'other']


class SlowHeads(FakeRemote):
    """HEADs wait for each other: how many are under way at once shows."""

    most = 0
    now = 0

    def head(self, name: str, *, via: str = '') -> ObjectMeta | None:
        self.now += 1
        self.most = max(self.most, self.now)
        sleep(0)
        self.now -= 1
        return super().head(name)


@pytest.mark.parametrize('params', [{}, {'reverse': True}, {'prefix': 'd/'}, {'delimiter': '/'}])
def test_many_names_in_doubt_are_looked_at_together_and_once(params: dict[str, Any]) -> None:
    names = [f'd/{number:03}' for number in range(200)]
    remote = SlowHeads(Store([Row(name, NOW) for name in names]))
    tombstones = Deletions(dict.fromkeys(names, NOW + 1)).tombstones
    for _ in range(2):
        answer = merged_container(ListingParams(10, **params), lambda _: [], [RemoteSide('one', remote)], tombstones)
        assert answer.entries == 0
    assert sorted(remote.heads) == names
    assert remote.most == 16


def test_a_new_version_and_a_new_deletion_are_looked_at_again() -> None:
    store = Store([Row('a', NOW)])
    remote = FakeRemote(store)
    verdicts = Verdicts()
    for row, deleted, shown in ((Row('a', NOW), NOW + 1, []), (Row('a', NOW + 2), NOW + 1, ['a']),
                                (Row('a', NOW + 2), NOW + 3, []), (Row('a', NOW + 2), NOW + 3, [])):
        store.rows['a'] = row
        tombstones = replace(Deletions({'a': deleted}).tombstones, verdicts=verdicts)
        answer = merged_container(ListingParams(10), lambda _: [], [RemoteSide('one', remote)], tombstones)
        assert names_of(json.loads(answer.body)) == shown
    assert remote.heads == ['a', 'a', 'a']


def test_verdicts_are_forgotten_from_the_oldest() -> None:
    verdicts = Verdicts(2)
    for name in 'abc':
        verdicts.put(name == 'c', name)
    assert [verdicts.get(name) for name in 'abc'] == [None, False, True]


def test_a_head_that_fails_fails_the_listing_or_makes_it_partial() -> None:
    class NoHeads(FakeRemote):
        def head(self, name: str, *, via: str = '') -> ObjectMeta | None:
            raise TemporaryError('500', status=500)

    for rows in (['a'], ['a', 'b', 'c']):
        remote = NoHeads(Store([Row(name, NOW) for name in rows]))
        tombstones = Deletions(dict.fromkeys(rows, NOW + 1)).tombstones
        side = RemoteSide('one', remote, on_error='partial')
        answer = merged_container(ListingParams(10), PlainContainer([Row('b')]).page, [side], tombstones)
        assert names_of(json.loads(answer.body)) == ['b']
        assert answer.headers['X-1space-Partial'] == 'one'
        with pytest.raises(RemoteUnavailable):
            merged_container(ListingParams(10), PlainContainer([Row('b')]).page, [replace(side, on_error='fail')],
                             tombstones)


# -- hidden containers ------------------------------------------------------------------------


def hidden_page(rows: Iterable[Row], size: int = 2) -> Callable[[dict[str, str]], list[dict[str, Any]]]:
    """GETs of a hidden container with these rows, in short pages."""
    container = PlainContainer(rows)

    def page(query: dict[str, str]) -> list[dict[str, Any]]:
        params = ListingParams.parse(query)
        assert params is not None
        return container.page(replace(params, limit=min(params.limit, size)), hidden=True)
    return page


@pytest.mark.parametrize('reverse', [False, True])
def test_markers_are_read_page_by_page_from_their_hidden_container(reverse: bool) -> None:
    names = ['a', 'a/b', 'b', 'c', 'x' * 1024]
    page = hidden_page(Row(tombstone_name(name), NOW + at / 8) for at, name in enumerate(names))
    found = list(ListedMarkers(page).pages(prefix='', marker='', end_marker='', reverse=reverse))
    expected = [('a', NOW), ('a/b', NOW + 1 / 8), ('b', NOW + 2 / 8), ('c', NOW + 3 / 8)]
    assert [(marker.name, float(marker.time)) for marker in found] == (expected[::-1] if reverse else expected)
    found = list(ListedMarkers(page).pages(prefix='a', marker='b' if reverse else 'a',
                                           end_marker='a' if reverse else 'b', reverse=reverse))
    assert [marker.name for marker in found] == ['a/b']


# -- versioned containers --------------------------------------------------------------------


def versions_page(*versions: tuple[str, float, bool]) -> Callable[[dict[str, str]], list[dict[str, Any]]]:
    """GETs of the hidden container of these versions (name, time, whether it is a delete marker)."""
    return hidden_page(Row(build_versions_object_name(name, Timestamp(time).internal),
                           content_type=DELETE_MARKER_CONTENT_TYPE if deleted else 'text/plain')
                       for name, time, deleted in versions)


@pytest.mark.parametrize('reverse', [False, True])
def test_the_delete_markers_of_a_versioned_container_hide_as_well(reverse: bool) -> None:
    page = versions_page(('back', NOW + 900, True), ('back', NOW + 901, False), ('gone', NOW + 899, False),
                         ('gone', NOW + 900, True), ('newer', NOW - 900, True), ('prefix', NOW + 900, True),
                         ('prefix0', NOW - 900, False), ('prefix0', NOW + 900, True), ('z', NOW + 900, True))
    remote = FakeRemote(Store([Row(name, NOW) for name in ('back', 'gone', 'marked', 'newer', 'prefix', 'prefix0',
                                                           'prefix00', 'z')]))
    tombstones = replace(Deletions({}).tombstones,
                         pages=both(Deletions({'marked': NOW + 900, 'newer': NOW - 1}).pages,
                                    DeletedVersions(page).pages))
    for params in (ListingParams(10, reverse=reverse),
                   ListingParams(10, marker='z' if reverse else 'b', end_marker='b' if reverse else 'z')):
        params = replace(params, reverse=reverse)
        answer = merged_container(params, lambda _: [], [RemoteSide('one', remote)], tombstones)
        assert sorted(names_of(json.loads(answer.body))) == ['back', 'newer', 'prefix00']
    found = list(tombstones.pages(prefix='prefix', marker='prefix0' if reverse else 'prefix',
                                  end_marker='', reverse=reverse))
    assert [marker.name for marker in found] == ['prefix'] if reverse else ['prefix0']
