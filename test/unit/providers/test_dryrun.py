"""A dry run changes nothing and decides like the real one."""
from __future__ import annotations

from dataclasses import replace

import pytest

from s3_sync.base_sync import BaseSync
from s3_sync.errors import BucketNotFound, LimitExceeded, NotFound, PreconditionFailed, Unsupported
from s3_sync.metric_defs import REQUESTS
from s3_sync.metrics import Registry
from s3_sync.providers.dryrun import DryRunSync
from s3_sync.providers.memory import MemoryStore, MemorySync
from s3_sync.providers.metered import MeteredSync
from s3_sync.streams import BytesBody
from s3_sync.types import ABSENT, Condition, ShuntRequest
from test.fakes.large_source import MemoryLargeSource, segment
from test.unit.contract.provider_contract import described, upload

READS = {'head_account', 'list_buckets', 'head_bucket', 'list_objects', 'head_object', 'get_object', 'shunt_object',
         'comparable', 'check_upload', 'check_whole', 'check_large_upload', 'relation', 'location', 'close',
         'set_conditional_put', 'layout_of'}

SEGMENTS = {('s', 'a'): b'aaa', ('s', 'b'): b'bb'}
LARGE = MemoryLargeSource(SEGMENTS, [segment(SEGMENTS, 's', 'a'), segment(SEGMENTS, 's', 'b')])


class Guarded(MemorySync):
    """Fails the test when anything that writes is called."""

    def __getattribute__(self, name: str) -> object:
        if hasattr(BaseSync, name) and not name.startswith('_') and name not in READS | {'capabilities'}:
            raise AssertionError(f'{name} reached the remote')
        return super().__getattribute__(name)


def _filled(*names: str) -> MemoryStore:
    store = MemoryStore()
    provider = MemorySync(store)
    for name in names:
        upload(provider, name)
    return store


def test_no_method_of_the_contract_that_writes_reaches_the_remote() -> None:
    dry = DryRunSync(Guarded(_filled('there')))
    remote = dry.head_object('there')
    meta = described('o', b'data')
    dry.put_object('o', BytesBody(b'data'), meta)
    dry.upload_object(BytesBody(b'data'), meta, condition=ABSENT)
    dry.post_object('there', meta)
    dry.update_metadata(meta, remote)
    dry.delete_object('there')
    assert dry.delete_objects(['there', 'b', 'c']) == {'there': None, 'b': None, 'c': None}
    dry.apply_container({'x-container-meta-a': 'b'})
    large_meta = described('l', LARGE.data)
    assert dry.prove(large_meta, large=LARGE, written=dry.upload_large_object(LARGE, large_meta)) == large_meta
    assert dry.ensure_manifest(LARGE, large_meta) is False
    assert dry.sweep_uploads(0) == 0
    dry.capabilities = replace(dry.capabilities, links=True)
    assert dry.bring_link(meta, 'c', 'target') is True
    dry.shunt_post(ShuntRequest('POST', 'there'))
    dry.shunt_delete(ShuntRequest('DELETE', 'there'))
    assert dry.probe_conditional_put() == (dry.capabilities.create_only, dry.capabilities.conditional_overwrite)
    public = {name for name in vars(BaseSync) if not name.startswith('_')} - {'capabilities'}
    told = {'put_object', 'upload_object', 'post_object', 'update_metadata', 'delete_object', 'delete_objects',
            'apply_container', 'shunt_post', 'shunt_delete', 'probe_conditional_put', 'upload_large_object',
            'ensure_manifest', 'sweep_uploads', 'prove', 'bring_link'}
    assert public == READS | told, 'a new method of the contract: does it write?'


def test_a_create_only_upload_of_a_name_that_exists_is_refused_as_the_remote_would() -> None:
    dry = DryRunSync(MemorySync(_filled('there')))
    with pytest.raises(PreconditionFailed):
        dry.upload_object(BytesBody(b'x'), described('there', b'x'), condition=ABSENT)
    assert dry.why('there') == 'changed'
    dry.upload_object(BytesBody(b'x'), described('new', b'x'), condition=ABSENT)
    assert dry.why('new') == 'new'


def test_a_bucket_of_one_page_is_listed_once_instead_of_asking_for_each_name() -> None:
    metrics = Registry()
    dry = DryRunSync(MeteredSync(MemorySync(_filled('a')), remote='r', metrics=metrics))
    for number in range(50):
        dry.upload_object(BytesBody(b'x'), described(f'o{number}', b'x'), condition=ABSENT)
    assert metrics.value(REQUESTS, 'r', 'list_objects', '2xx') == 1
    assert metrics.value(REQUESTS, 'r', 'head_object', 'error') == 0
    assert dry.requests == {'PUT': 50}, 'what the dry run asks for itself is no request of the real run'


def test_names_beyond_the_first_page_are_asked_about() -> None:
    store = _filled('a', 'b', 'c', 'z')
    dry = DryRunSync(MemorySync(store, page_names=2))
    with pytest.raises(PreconditionFailed):
        dry.upload_object(BytesBody(b'x'), described('z', b'x'), condition=ABSENT)
    dry.upload_object(BytesBody(b'x'), described('y', b'x'), condition=ABSENT)


def test_what_the_target_cannot_hold_is_refused_without_being_counted() -> None:
    inner = MemorySync()
    inner.capabilities = replace(inner.capabilities, max_put_bytes=3)
    dry = DryRunSync(inner)
    with pytest.raises(LimitExceeded) as refused:
        dry.upload_object(BytesBody(b'data'), described('o', b'data'))
    assert refused.value.reason == 'too-large'
    assert not dry.requests


def test_a_missing_bucket_is_an_error_unless_uploads_make_it() -> None:
    meta = described('o', b'x')
    with pytest.raises(BucketNotFound):
        DryRunSync(MemorySync(create=False)).upload_object(BytesBody(b'x'), meta, condition=ABSENT)
    making = DryRunSync(MemorySync(create=False), creates_bucket=True)
    making.upload_object(BytesBody(b'x'), meta, condition=ABSENT)
    assert making.requests == {'PUT': 2}


def test_requests_are_counted_as_the_real_run_would_send_them() -> None:
    inner = MemorySync(_filled('there'))
    inner.capabilities = replace(inner.capabilities, batch_delete=2)
    dry = DryRunSync(inner)
    remote = dry.head_object('there')
    with pytest.raises(NotFound):
        dry.head_object('gone')
    dry.upload_object(BytesBody(b'x'), described('there', b'x'), condition=Condition(if_match=remote.etag))
    dry.delete_objects(['a', 'b', 'c'])
    dry.list_objects()
    assert dry.requests == {'HEAD': 2, 'PUT': 1, 'DELETE': 2, 'LIST': 1}
    assert dry.why('there') == 'changed' and dry.why('gone') == 'new'


def test_a_large_object_counts_all_its_requests_and_may_be_refused() -> None:
    dry = DryRunSync(MemorySync(_filled('there')))
    dry.upload_large_object(LARGE, described('new', LARGE.data), condition=ABSENT)
    assert dry.requests == {'PUT': 3}
    with pytest.raises(PreconditionFailed):
        dry.upload_large_object(LARGE, described('there', LARGE.data), condition=ABSENT)
    assert LARGE.opened == []


def test_a_link_that_the_target_cannot_hold_is_refused_as_there() -> None:
    dry = DryRunSync(MemorySync())
    with pytest.raises(Unsupported):
        dry.bring_link(described('link', b''), 'c', 'target')
    assert not dry.requests


def test_proof_of_what_was_there_before_is_asked_for() -> None:
    dry = DryRunSync(MemorySync(_filled('there')))
    meta = dry.head_object('there')
    assert dry.prove(meta) == meta
    with pytest.raises(NotFound):
        dry.prove(described('gone', b'data'))
