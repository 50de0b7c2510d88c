"""The in-memory provider keeps every promise of the contract."""
from __future__ import annotations

from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import NotFound, Unproven
from s3_sync.providers.memory import MemoryStore, MemorySync
from s3_sync.types import ABSENT
from test.unit.contract.large_object_contract import LargeObjectContract, meta_of, send, slo
from test.unit.contract.provider_contract import Build, ProviderContract, names, upload


@pytest.fixture
def build() -> Build:
    store = MemoryStore(secret='right')

    def make(bucket: str = '', secret: str = '', **_: Any) -> MemorySync:
        return MemorySync(store, bucket=bucket or 'bucket', create=not bucket, secret=secret or 'right')
    return make


class TestMemory(ProviderContract):
    # There is no network, and everything is in memory.
    test_nobody_listening_is_temporary = None
    test_a_large_body_streams_both_ways_in_bounded_memory = None


class TestMemoryLargeObjects(LargeObjectContract):
    pass


def test_two_providers_of_one_store_see_the_same_objects() -> None:
    store = MemoryStore()
    upload(MemorySync(store), 'o', b'data')
    assert MemorySync(store).get_object('o').read() == b'data'


def test_pages_are_as_short_as_told() -> None:
    provider = MemorySync(page_names=2)
    for name in 'abcde':
        upload(provider, name)
    page = provider.list_objects()
    assert [e.name for e in page.entries] == ['a', 'b']
    assert page.next_marker == 'b'


def test_container_settings_are_kept_and_removed() -> None:
    provider = MemorySync()
    provider.apply_container({'x-container-meta-a': 'b', 'x-container-read': '.r:*'})
    provider.apply_container({'x-container-read': ''})
    assert provider.head_bucket()['x-container-meta-a'] == 'b'
    assert 'x-container-read' not in provider.head_bucket()


def test_an_object_is_gone_when_its_time_is_up() -> None:
    clock = FakeClock(1000.0)
    provider = MemorySync(clock=clock)
    upload(provider, 'o', delete_at=1010)
    upload(provider, 'kept')
    clock.advance(10)
    with pytest.raises(NotFound):
        provider.head_object('o')
    assert names(provider) == ['kept']
    assert provider.delete_object('o') is False
    upload(provider, 'kept-too', condition=ABSENT, delete_at=2000)


def test_a_manifest_that_went_missing_is_noticed_and_written_again() -> None:
    provider, large = MemorySync(), slo(100)
    written = send(provider, large)
    provider.store.manifests.clear()
    with pytest.raises(Unproven):
        provider.prove(meta_of(large), large=large, written=written)
    assert provider.ensure_manifest(large, meta_of(large)) is True
    assert provider.ensure_manifest(large, meta_of(large)) is False
    assert provider.store.manifests == {('bucket', 'o'): large.layout.manifest}
    provider.prove(meta_of(large), large=large, written=written)


def test_nothing_stays_beside_an_object_that_is_replaced_or_deleted() -> None:
    provider, large = MemorySync(), slo(100)
    send(provider, large, 'replaced')
    send(provider, large, 'deleted')
    upload(provider, 'replaced', b'plain')
    provider.delete_object('deleted')
    assert provider.store.manifests == {}
    with pytest.raises(NotFound):
        provider.ensure_manifest(large, meta_of(large, 'deleted'))
