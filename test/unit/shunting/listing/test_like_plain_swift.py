"""Any names, split over the cluster and its remotes in any way, are listed as a plain Swift lists them."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from s3_sync.shunting.listing.account import merged_account
from s3_sync.shunting.listing.container import merged_container
from s3_sync.shunting.listing.params import Entry, ListingParams, key_of
from s3_sync.shunting.listing.sides import RemoteSide
from test.unit.shunting.listing.plain_swift import PlainAccount, PlainContainer, Row
from test.unit.shunting.listing.remotes import FakeRemote, Manners, OtherSwift, Store

LETTERS = 'ab/-0\uffee\U0001f600'
Names = st.one_of(st.text('ab/', min_size=1, max_size=5), st.text('ab/', min_size=1, max_size=5),
                  st.text(LETTERS, min_size=1, max_size=6))
Delimiters = st.sampled_from(['/', '/', '/', '', '', '-', 'a', 'ab', '//', 'aba', '\U0001f600'])
Paths = st.sampled_from([None] * 6 + ['', '/', 'a', 'a/', 'a/b', 'ab//'])
Sides = st.sampled_from(['local', 'one', 'two', 'local one', 'one two', 'local two'])
Container = st.lists(st.tuples(Names, Sides), min_size=3, max_size=16, unique_by=lambda pair: pair[0])


@st.composite
def listings(draw: st.DrawFn, container: st.SearchStrategy[list[Any]] = Container) -> tuple[list[Any], ListingParams]:
    """Names, and parameters that have to do with them: texts that are cut off them, or that nothing begins with."""
    names = draw(container)
    cuts = [''] + [name[:end] for name in (row[0][:8] for row in names) for end in range(1, len(name) + 1)]

    def text(one_of: int) -> str:
        if draw(st.integers(1, one_of)) > 1:
            return ''
        return draw(st.sampled_from(cuts)) + draw(st.sampled_from(['', '', 'a', '/', '\uffee']))

    return names, ListingParams(draw(st.integers(1, 8)), text(2), text(3), text(4), draw(Delimiters), draw(Paths),
                                draw(st.booleans()))


StoreManners = st.builds(Manners, page=st.integers(1, 5), rolls_up=st.booleans(), ordered=st.booleans(),
                         empty_pages=st.booleans()).filter(lambda m: m.ordered or not m.empty_pages)
MANY = settings(max_examples=250, deadline=None)


class ShortPages:
    """The cluster's own listing, shorter than asked for."""

    def __init__(self, container: PlainContainer | PlainAccount, size: int) -> None:
        self._container = container
        self.size = size
        self.requests: list[ListingParams] = []

    def __call__(self, params: ListingParams) -> list[Entry]:
        self.requests.append(params)
        return self._container.page(params)[:self.size]

    def missing(self, entries: Sequence[Entry]) -> bool:
        """Whether any of these is not in the cluster."""
        whole = {key_of(entry) for entry in self._container.page(replace(self.requests[0], limit=10_000))}
        return any(key_of(entry) not in whole for entry in entries)


def split(names: Sequence[tuple[str, str]]) -> dict[str, list[Row]]:
    """Rows of each side. All differ, so that a wrong winner shows."""
    sides: dict[str, list[Row]] = {'local': [], 'one': [], 'two': [], 'all': []}
    for at, (name, where) in enumerate(names):
        for rank, side in enumerate(where.split()):
            row = Row(name, time=1_600_000_000.25 + 10 * at + rank, size=100 * at + rank, etag=f'{at}-{rank}')
            sides[side].append(row)
            if not rank:
                sides['all'].append(row)
    return sides


def plain(params: ListingParams, rows: Sequence[Row]) -> list[Entry]:
    return PlainContainer(rows).page(params)


def assert_like(found: Sequence[Entry], expected: Sequence[Entry], local: ShortPages) -> None:
    """Equal; or shorter, where the cluster's own page was and only its own entries are left."""
    assert list(found) == list(expected[:len(found)])
    left = expected[len(found):]
    assert not left or (found and local.requests[-1].limit > local.size and not local.missing(left))


def without_locations(body: bytes) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k != 'content_location'} for entry in json.loads(body)]


def loses_names(params: ListingParams, rows: Sequence[Row]) -> bool:
    """Whether this is one of the ``path`` listings in which a plain Swift loses names (see ``scope``)."""
    if params.path is None:
        return False
    scope = params.scope
    deep = {scope.subdir(row.name) for row in rows if row.name.startswith(scope.prefix)
            and scope.subdir(row.name) not in ('', row.name)}
    lost = deep if params.reverse else {subdir[:-1] + '0' for subdir in deep}
    return any(row.name in lost for row in rows)


@MANY
@given(listings(), StoreManners, StoreManners, st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_stores_of_any_manners_merge_into_what_a_plain_container_lists(
        listing: tuple[list[Any], ListingParams], one: Manners, two: Manners, local_page: int, whole_page: int,
        archives: bool) -> None:
    names, params = listing
    rows = split(names)
    assume(not loses_names(params, rows['all']))
    local = ShortPages(PlainContainer(rows['local']), local_page)
    sides = [RemoteSide('one', FakeRemote(Store(rows['one'], one))),
             RemoteSide('two', FakeRemote(Store(rows['two'], two)), archives=archives)]
    answer = merged_container(params, local, sides, whole_page=whole_page)
    assert_like(without_locations(answer.body), plain(params, rows['all']), local)


@MANY
@given(listings(), st.integers(1, 9), st.integers(1, 9), st.integers(3, 10_000), st.integers(1, 9), st.booleans())
def test_another_swift_merges_into_what_a_plain_container_lists(
        listing: tuple[list[Any], ListingParams], local_page: int, remote_page: int,
        highest_limit: int, whole_page: int, archives: bool) -> None:
    names, params = listing
    rows = split(names)
    assume(not loses_names(params, rows['all']))
    local = ShortPages(PlainContainer(rows['local']), local_page)
    sides = [RemoteSide('one', FakeRemote(OtherSwift(rows['one'], remote_page, highest_limit=highest_limit))),
             RemoteSide('two', FakeRemote(OtherSwift(rows['two'])), archives=archives)]
    answer = merged_container(params, local, sides, whole_page=whole_page)
    assert_like(without_locations(answer.body), plain(params, rows['all']), local)


@MANY
@given(listings(), st.booleans(), st.text(LETTERS, max_size=3), StoreManners)
def test_only_names_with_a_mappings_own_prefix_belong(
        listing: tuple[list[Any], ListingParams], native: bool, own: str, manners: Manners) -> None:
    names, params = listing
    rows = split(names)
    belonging = [row for row in rows['one'] if row.name.startswith(own)]
    local = {row.name for row in rows['local']}
    expected = [*rows['local'], *(row for row in belonging if row.name not in local)]
    assume(not loses_names(params, expected))
    provider = OtherSwift(rows['one'], manners.page) if native else Store(rows['one'], manners)
    answer = merged_container(params, PlainContainer(rows['local']).page,
                              [RemoteSide('one', FakeRemote(provider), prefix=own)])
    assert without_locations(answer.body) == plain(params, expected)


@settings(max_examples=150, deadline=None)
@given(listings(), StoreManners, st.booleans())
def test_paging_through_gives_every_entry_once(
        listing: tuple[list[Any], ListingParams], manners: Manners, native: bool) -> None:
    names, params = listing
    rows = split(names)
    assume(not loses_names(params, rows['all']))
    provider = OtherSwift(rows['one'], manners.page) if native else Store(rows['one'], manners)
    sides = [RemoteSide('one', FakeRemote(provider)), RemoteSide('two', FakeRemote(Store(rows['two'])))]
    local = PlainContainer(rows['local'])
    found: list[Entry] = []
    page = params
    while entries := without_locations(merged_container(page, local.page, sides).body):
        found += entries
        page = page.after(entries[-1], page.limit)
    assert found == plain(replace(params, limit=10_000), rows['all'])


Accounts = st.lists(st.tuples(st.text('ab--0\uffee', min_size=1, max_size=5),
                              st.sampled_from(['local', 'one', 'two', 'local one', 'one two'])),
                    min_size=3, max_size=12, unique_by=lambda pair: pair[0])


@MANY
@given(listings(Accounts), st.integers(1, 5), st.integers(1, 9), st.sampled_from(['', 'front-']))
def test_buckets_merge_into_what_a_plain_account_lists(
        listing: tuple[list[Any], ListingParams], page: int, local_page: int, front: str) -> None:
    names, params = listing
    where = {side: [name for name, sides in names if side in sides.split()] for side in ('local', 'one', 'two')}
    local = ShortPages(PlainAccount(where['local']), local_page)
    others = [Row(name) for name in ('Front-x', 'x/y', 'front-\0a', 'z' * 300)] if not front else [Row('other')]
    sides = [RemoteSide('one', FakeRemote(Store([*others, *(Row(front + n) for n in where['one'])],
                                                Manners(page))), prefix=front),
             RemoteSide('two', FakeRemote(Store([Row(n) for n in where['two']])))]
    answer = merged_account(params, local, sides)
    extra = ['Front-x'] if not front else []
    expected = PlainAccount([*(name for name, _ in names), *extra]).page(replace(params, path=None))
    assert_like(without_locations(answer.body), expected, local)
