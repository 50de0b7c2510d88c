"""Expiry and metadata limits of Swift targets: pure rules."""
from __future__ import annotations

from typing import Any

import pytest
from swift.common.utils import Timestamp

from s3_sync.config import Mapping, Remote
from s3_sync.errors import LimitExceeded
from s3_sync.providers.swift.expiry import LEAST_LIFE_SECONDS, allowed, comparable, copy_delete_at
from s3_sync.providers.swift.limits import Limits, sendable
from s3_sync.types import ObjectMeta

NOW = 1_700_000_000.0
BORN = Timestamp(NOW - 1000)


def mapping(**keys: Any) -> Mapping:
    return Mapping.model_validate({'account': 'a', 'container': 'c', **keys, 'remote': Remote.model_validate(
        {'protocol': 'swift', 'endpoint': 'http://127.0.0.1/auth/v1.0', 'identity': 'u', 'bucket': 'b'})})


@pytest.mark.parametrize('keys, own, expected', [
    ({}, None, None),
    ({}, 5000, None),
    ({'remote_delete_after': 3600}, None, int(NOW) - 1000 + 3600),
    ({'remote_delete_after': 3600}, 5000, int(NOW) - 1000 + 3600),
    ({'propagate_expiration': True}, 5000, 5000),
    ({'propagate_expiration': True}, None, None),
    ({'propagate_expiration': True, 'propagate_expiration_offset': 7}, 5000, 5007),
    ({'propagate_expiration_offset': 7}, 5000, None),
    ({'propagate_expiration': True, 'remote_delete_after': 3600}, 5000, int(NOW) - 1000 + 3600),
    ({'propagate_expiration': True, 'remote_delete_after': 3600, 'propagate_expiration_offset': 7}, 5000, 5007),
    ({'propagate_expiration': True, 'remote_delete_after': 3600, 'propagate_expiration_offset': 7}, None,
     int(NOW) - 1000 + 3600),
])
def test_when_a_copy_expires(keys: dict[str, Any], own: int | None, expected: int | None) -> None:
    meta = ObjectMeta('o', 0, data_time=BORN, delete_at=own)
    assert copy_delete_at(mapping(**keys), meta, NOW) == expected


def test_a_later_visit_never_pushes_the_end_forward() -> None:
    settings, meta = mapping(remote_delete_after=3600), ObjectMeta('o', 0, data_time=BORN)
    assert copy_delete_at(settings, meta, NOW) == copy_delete_at(settings, meta, NOW + 500)


def test_an_end_that_has_passed_is_moved_to_where_swift_takes_it_and_counts_as_equal_to_it() -> None:
    due = int(NOW) - 5
    moved = allowed(due, NOW)
    assert moved == int(NOW) + LEAST_LIFE_SECONDS
    assert comparable(due, NOW) == comparable(moved, NOW) == comparable(moved, NOW + 30)
    assert comparable(int(NOW) + 100, NOW) != comparable(due, NOW)
    assert allowed(None, NOW) is None


def meta_with(count: int, size: int = 1) -> ObjectMeta:
    return ObjectMeta('o', 0, user_metadata={f'k{i:02}': 'v' * size for i in range(count)}, data_time=Timestamp(1),
                      meta_time=Timestamp(2), source_etag='e' * 32)


@pytest.mark.parametrize('count, kept', [
    (10, {'1space-timestamp', '1space-meta-timestamp', '1space-etag'}), (88, {'1space-timestamp', '1space-etag'}),
    (89, {'1space-timestamp'}), (90, set())])
def test_our_own_keys_give_way_one_by_one(count: int, kept: set[str]) -> None:
    assert set(Limits().own_keys(meta_with(count))) == kept


def test_our_own_keys_give_way_to_size_too() -> None:
    assert set(Limits().own_keys(meta_with(16, 253))) == set()
    assert '1space-timestamp' in Limits().own_keys(meta_with(16, 250))


@pytest.mark.parametrize('metadata', [
    {f'k{i}': 'v' for i in range(91)}, {f'k{i}': 'v' * 256 for i in range(16)}, {'k': 'v' * 257}, {'k' * 129: 'v'},
    {'k': 'ü' * 129}])
def test_user_metadata_that_does_not_fit_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(LimitExceeded) as caught:
        Limits().own_keys(ObjectMeta('o', 0, user_metadata=metadata))
    assert caught.value.reason == 'metadata-too-large'


@pytest.mark.parametrize('metadata', [
    {'a:b': 'x'}, {' a': 'x'}, {'a ': 'x'}, {'a\tb': 'x'}, {'a\nb': 'x'}, {' ': 'x'}, {'': 'x'},
    {'a': 'x\ny'}, {'a': 'x\r'}, {'a': '\x00'}])
def test_metadata_that_would_break_a_header_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(LimitExceeded) as caught:
        sendable(metadata)
    assert caught.value.reason == 'metadata-not-allowed'


def test_names_with_blanks_inside_are_sent_as_swift_took_them() -> None:
    assert sendable({'a b ☃': ' x y '}) == {'a b ☃': 'x y'}


@pytest.mark.parametrize('document', [
    b'', b'[]', b'{"swift": {"max_meta_count": "90"}, "slo": {}}', b'{"swift": 5}', b'nonsense'])
def test_an_odd_info_document_means_the_defaults(document: bytes) -> None:
    assert Limits.from_info(document) == Limits()
