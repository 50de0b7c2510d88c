"""Deletions hide what is only at the remote and not newer; listings are those of a container without it."""
from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.shunting.listing.account import merged_account
from s3_sync.shunting.listing.container import merged_container
from s3_sync.shunting.listing.params import ListingParams
from s3_sync.shunting.listing.sides import RemoteSide
from s3_sync.timestamps import MARKER
from s3_sync.types import ObjectMeta
from test.unit.shunting.listing.markers import Deletions
from test.unit.shunting.listing.plain_swift import PlainAccount, PlainContainer, Row
from test.unit.shunting.listing.remotes import FakeRemote, Manners, OtherSwift, Store, names_of
from test.unit.shunting.listing.test_like_plain_swift import Params, StoreManners, loses_names

NOW = 1_600_000_000.0
Names = st.one_of(st.text('ab/-', min_size=1, max_size=5),
                  st.sampled_from([f'{head}{"x" * 1030}' for head in ('a', 'a/', 'b/a', 'c/')]))
Rows = st.lists(st.tuples(Names, st.sampled_from(['local', 'one', 'two', 'one two', 'local one']),
                          st.sampled_from([0.0, 100.0, 10_000.0]),  # when it was written
                          st.sampled_from([None, None, 50.0, 100.0, 5_000.0, 20_000.0])),  # when it was deleted
                max_size=12, unique_by=lambda row: row[0])


@settings(max_examples=500, deadline=None)
@given(Rows, Params, StoreManners, st.booleans(), st.sampled_from([0.0, 200.0, 5_000.0]),
       st.sampled_from([-7200.0, 0.0, 7200.0]))
def test_a_deletion_hides_remote_versions_that_are_not_newer(
        rows: Sequence[tuple[str, str, float, float | None]], params: ListingParams, manners: Manners, native: bool,
        upload_delay: float, clock_offset: float) -> None:
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
