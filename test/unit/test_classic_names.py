"""Names that operators' files and other code of theirs import."""
from __future__ import annotations

import importlib
import inspect

import pytest

from s3_sync.base_sync import BaseSync
from s3_sync.sync_s3 import SyncS3
from s3_sync.sync_swift import SyncSwift

FOURTEEN = (
    'delete_object', 'get_object', 'head_account', 'head_bucket', 'head_object', 'list_buckets', 'list_objects',
    'post_object', 'put_object', 'shunt_delete', 'shunt_object', 'shunt_post', 'update_metadata', 'upload_object')
MODULES = ['s3_sync.base_sync', 's3_sync.sync_s3', 's3_sync.sync_swift', 's3_sync.sync_container',
           's3_sync.provider_factory', 's3_sync.stats', 's3_sync.verify', 'container_crawler.crawler',
           'container_crawler.base_sync', 'container_crawler.exceptions']
"""Of DESIGN 2, as far as their jobs exist."""


@pytest.mark.parametrize('name', MODULES)
def test_a_classic_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.parametrize('provider', [SyncS3, SyncSwift])
def test_a_provider_implements_all_fourteen_methods_itself(provider: type[BaseSync]) -> None:
    assert issubclass(provider, BaseSync)
    assert not inspect.isabstract(provider)
    assert [name for name in FOURTEEN if name not in vars(provider)] == []


def test_the_fourteen_are_what_a_new_provider_must_write() -> None:
    assert BaseSync.__abstractmethods__ == {*FOURTEEN, 'location'}
