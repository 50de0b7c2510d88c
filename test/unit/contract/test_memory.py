"""The in-memory provider keeps every promise of the contract."""
from __future__ import annotations

from typing import Any

import pytest

from s3_sync.providers.memory import MemoryStore, MemorySync
from test.unit.contract.provider_contract import Build, ProviderContract, upload


class TestMemory(ProviderContract):
    streams = False

    @pytest.fixture
    def build(self) -> Build:
        store = MemoryStore(secret='right')

        def make(bucket: str = '', secret: str = '', **_: Any) -> MemorySync:
            return MemorySync(store, bucket=bucket or 'bucket', create=not bucket, secret=secret or 'right')
        return make


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
