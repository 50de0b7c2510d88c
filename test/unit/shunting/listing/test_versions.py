"""Listings of versions: the cluster's names may repeat, those of the remote are each the only version of theirs."""
from __future__ import annotations

import json
from typing import Any

import pytest

from s3_sync.shunting.listing.answer import answer
from s3_sync.shunting.listing.container import merged_container
from s3_sync.shunting.listing.entries import iso_time
from s3_sync.shunting.listing.params import Entry, ListingParams
from s3_sync.shunting.listing.sides import RemoteSide
from test.unit.shunting.listing.plain_swift import Row
from test.unit.shunting.listing.remotes import FakeRemote, Store


def version(name: str, number: int, *, latest: bool = False) -> Entry:
    return {'name': name, 'version_id': str(number), 'is_latest': latest, 'bytes': 1, 'hash': '',
            'last_modified': '', 'content_type': 'application/x-deleted;swift_versions_deleted=1'}


LOCAL = [version('b', 3, latest=True), version('b', 2), version('b', 1), version('d', 1, latest=True),
         version('d', 0)]


class Versions:
    def __init__(self, entries: list[Entry], size: int) -> None:
        self._entries = entries
        self._size = size

    def __call__(self, params: ListingParams) -> list[Entry]:
        first = 0
        for at, entry in enumerate(self._entries):
            if (entry['name'], entry['version_id']) == (params.marker, params.version_marker):
                first = at + 1
        return [dict(entry) for entry in self._entries[first:first + min(self._size, params.limit)]]


def merged(limit: int, size: int, reverse: bool) -> list[tuple[Any, ...]]:
    entries = sorted(LOCAL, key=lambda entry: entry['name'], reverse=reverse)
    remote = FakeRemote(Store([Row(name) for name in 'abcd']))
    params = ListingParams(limit, reverse=reverse, versions=True)
    body = merged_container(params, Versions(entries, size), [RemoteSide('one', remote)]).body
    return [(entry['name'], entry['version_id'], entry['is_latest'], entry.get('content_location'))
            for entry in json.loads(body)]


@pytest.mark.parametrize('size', [1, 2, 3, 10])
@pytest.mark.parametrize('reverse', [False, True])
def test_remote_names_are_merged_between_versions(size: int, reverse: bool) -> None:
    """A delete marker in the cluster is a version of that name like any other, and hides the remote's."""
    store = ['store;bucket']
    expected: list[tuple[Any, ...]] = [
        ('a', 'null', True, store),
        ('b', '3', True, [*store, 'swift']), ('b', '2', False, None), ('b', '1', False, None),
        ('c', 'null', True, store),
        ('d', '1', True, [*store, 'swift']), ('d', '0', False, None)]
    if reverse:
        expected = sorted(expected, key=lambda entry: entry[0], reverse=True)
    found = merged(7, size, reverse)
    # A short page is not continued where nothing of the remote follows.
    assert found == expected[:len(found)]
    assert {entry[0] for entry in found} == set('abcd')
    if size == 10:
        assert found == expected
        for limit in range(1, 7):
            assert merged(limit, size, reverse) == expected[:limit]


def test_a_body_too_large_to_be_made_into_text_loses_its_locations() -> None:
    entries = [{'name': 'x' * 1000, 'content_location': ['y' * 1000, 'swift']} for _ in range(15_000)]
    large = answer(entries)
    assert large.headers['Content-Length'] == str(len(large.body))
    assert len(large.body) < 20_480_000 < 15_000 * 2_000
    assert json.loads(large.body)[0] == {'name': 'x' * 1000}
    small = answer([{'name': 'x', 'content_location': ['y']}])
    assert json.loads(small.body) == [{'name': 'x', 'content_location': ['y']}]


@pytest.mark.parametrize(('seconds', 'text'), [
    (0.0, '1970-01-01T00:00:00.000000'), (1_600_000_000.123456, '2020-09-13T12:26:40.123456'),
    (1_600_000_000.9999999, '2020-09-13T12:26:41.000000'), (1e18, '1970-01-01T00:00:00.000000')])
def test_times_are_written_as_swift_writes_them(seconds: float, text: str) -> None:
    assert iso_time(seconds) == text
