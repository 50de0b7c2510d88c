"""A listing proves presence of the right version, nothing else, and is asked for only where it pays."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.clock import FakeClock
from s3_sync.engine.verify import just_before, proven_by_pages, proves
from s3_sync.engine.whole_listing import KEPT_SECONDS, ListingCache
from s3_sync.errors import ConnectionFailed
from s3_sync.providers.memory import MemorySync
from s3_sync.streams import BytesBody
from s3_sync.types import ListingEntry, ListingPage, ObjectMeta, ObjectRow
from test.fakes.faulty import Fault, FaultySync, on
from test.fakes.source import FakeSource

SKEW = 2.0


def entry_of(row: ObjectRow, age: float = 10.0, **changes: object) -> ListingEntry:
    made = ListingEntry(row.name, row.row.size, row.row.etag, float(row.times.newest) + age)
    return replace(made, **changes)  # type: ignore[arg-type]


class Remote(MemorySync):
    """Says how far its clock is ahead, and lists in pages of ``page_names``."""

    ahead = 0.0

    def list_objects(self, **options) -> ListingPage:  # type: ignore[no-untyped-def]
        page = super().list_objects(**options)
        entries = tuple(replace(e, last_modified=e.last_modified + self.ahead) for e in page.entries)
        return ListingPage(entries, page.next_marker, self.ahead)


def synced(names: Sequence[str], *, others: Sequence[str] = (), page_names: int = 1000,
           modified: float = 5000.0) -> tuple[list[ObjectRow], Remote]:
    source, remote = FakeSource(), Remote(clock=FakeClock(modified), page_names=page_names)
    rows = [source.put(name, name.encode(), 1000) for name in names]
    for name in [*names, *others]:
        remote.put_object(name, BytesBody(name.encode()), ObjectMeta(name=name, size=len(name.encode())))
    return rows, remote


def test_the_right_version_is_proven_and_no_other() -> None:
    row = FakeSource().put('o', b'data', 1000)
    assert proves(entry_of(row), row, SKEW)
    assert not proves(entry_of(row, etag='other'), row, SKEW)
    assert not proves(entry_of(row, size=5), row, SKEW)
    assert not proves(entry_of(row, subdir=True), row, SKEW)


def test_an_upload_before_the_rows_newest_time_proves_nothing() -> None:
    """The same bytes may have been there before a POST changed their metadata."""
    row = FakeSource().put('o', b'data', 1000)
    assert not proves(entry_of(row, age=1.9), row, SKEW)
    assert proves(entry_of(row, age=2.0), row, SKEW)


def test_encrypted_rows_and_tombstones_are_never_proven() -> None:
    row = FakeSource().put('o', b'data', 1000)
    encrypted = replace(row, row=row.row._replace(etag=''))
    assert not proves(entry_of(row, etag=''), encrypted, SKEW)
    tombstone = replace(row, row=row.row._replace(deleted=True))
    assert not proves(entry_of(row), tombstone, SKEW)


def test_a_dense_chunk_costs_one_listing() -> None:
    rows, remote = synced([f'o{i:03}' for i in range(500)])
    counting = FaultySync(remote)
    assert proven_by_pages(counting, rows, SKEW) == {r.name for r in rows}
    assert counting.calls == ['list_objects']


def test_sparse_rows_are_left_to_single_looks() -> None:
    names = [f'{i:04}' for i in range(0, 4000, 1000)]
    rows, remote = synced(names, others=[f'{i:04}' for i in range(4000)], page_names=100)
    counting = FaultySync(remote)
    proven_by_pages(counting, rows, SKEW)
    assert counting.calls == ['list_objects']


def test_what_is_missing_or_different_at_the_remote_is_not_proven() -> None:
    rows, remote = synced([f'o{i}' for i in range(9)])
    remote.delete_object('o3')
    remote.put_object('o5', BytesBody(b'xx'), ObjectMeta(name='o5', size=2))
    assert proven_by_pages(remote, rows, SKEW) == {r.name for r in rows} - {'o3', 'o5'}


def test_a_listing_that_fails_proves_nothing_more() -> None:
    rows, remote = synced([f'o{i:03}' for i in range(300)], page_names=100)
    failing = FaultySync(remote, on('list_objects', None, Fault(ConnectionFailed('reset'))))
    assert proven_by_pages(failing, rows, SKEW) == {f'o{i:03}' for i in range(100)}


def test_a_remote_clock_that_is_ahead_makes_nothing_younger() -> None:
    rows, remote = synced([f'o{i}' for i in range(5)], modified=900.0)
    remote.ahead = 500.0
    assert proven_by_pages(remote, rows, SKEW) == set()


awkward = st.text(st.characters(exclude_categories=['Cs']), min_size=1, max_size=4)


@given(name=awkward, other=awkward)
def test_the_marker_sorts_before_the_name(name: str, other: str) -> None:
    marker = just_before(name)
    assert marker.encode() < name.encode()
    marker.encode()  # no half of a surrogate pair


@given(names=st.sets(awkward, min_size=1, max_size=12), page=st.integers(1, 4))
def test_any_names_and_page_sizes_prove_only_what_is_there(names: set[str], page: int) -> None:
    rows, remote = synced(sorted(names), page_names=page)
    gone = sorted(names)[0]
    remote.delete_object(gone)
    assert proven_by_pages(remote, rows, SKEW) <= names - {gone}


# -- endpoints that list out of order --------------------------------------------------------


def test_a_whole_listing_serves_many_chunks(tmp_path: Path) -> None:
    rows, remote = synced([f'o{i:04}' for i in range(3000)], page_names=1000)
    counting, clock = FaultySync(remote), FakeClock()
    cache = ListingCache(str(tmp_path), clock=clock)
    for at in range(0, 3000, 1000):
        chunk = rows[at:at + 1000]
        assert cache.proven('c', counting, chunk, 3000, SKEW) == {r.name for r in chunk}
    assert counting.calls == ['list_objects'] * 3
    assert list(tmp_path.iterdir()) == []  # nothing to clean up, whatever happens
    clock.advance(KEPT_SECONDS + 1)
    cache.proven('c', counting, rows[:1000], 3000, SKEW)
    assert len(counting.calls) == 6
    cache.close()


def test_few_rows_of_a_large_container_are_not_worth_a_whole_listing(tmp_path: Path) -> None:
    rows, remote = synced([f'o{i}' for i in range(5)])
    counting = FaultySync(remote)
    cache = ListingCache(str(tmp_path), clock=FakeClock())
    assert cache.proven('c', counting, rows, 50_000, SKEW) == set()
    assert counting.calls == []


def test_a_whole_listing_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    rows, remote = synced([f'o{i:04}' for i in range(3000)], page_names=1000)
    cache = ListingCache(str(tmp_path), clock=FakeClock())
    failing = FaultySync(remote, on('list_objects', None, Fault(ConnectionFailed('reset'))))
    with pytest.raises(ConnectionFailed):
        cache.proven('c', failing, rows, 3000, SKEW)
    assert cache.proven('c', failing, rows, 3000, SKEW) == {r.name for r in rows}
    cache.close()
