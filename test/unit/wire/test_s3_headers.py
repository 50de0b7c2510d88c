from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.types import CONTENT_HEADERS, ObjectMeta
from s3_sync.wire.s3_headers import (
    AMAZON_LIMITS,
    CAREFUL_LIMITS,
    META_PREFIX,
    MetadataLimits,
    MetadataPlan,
    decode_name,
    encode_name,
    marks_of,
    meta_from_s3,
    plan_metadata,
    side_matches,
    with_side,
)
from s3_sync.wire.swift_headers import DATA_TIME_KEY, DELETE_AT_KEY, OWN_KEYS, SIDE_OBJECT_KEY

TIME = Timestamp(1_600_000_000.5)
NAMES = st.text(st.characters(exclude_categories=['Cs', 'Lu', 'Lt']), min_size=1, max_size=40).map(str.lower).filter(
    lambda name: name not in OWN_KEYS and name not in ('x-static-large-object', 'x-object-manifest'))
VALUES = st.text(st.characters(exclude_categories=['Cs']), min_size=1, max_size=120)


def meta(**changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': 'o', 'size': 3, 'etag': '0' * 32, 'data_time': TIME, **changes})


def read_back(plan: MetadataPlan) -> ObjectMeta:
    found = meta_from_s3('o', {**plan.headers, 'etag': f'"{"0" * 32}"', 'content-length': '3'})
    if plan.side is not None:
        assert side_matches(found, plan.side)
        found = with_side(found, plan.side)
    return found


def sent(plan: MetadataPlan) -> dict[str, str]:
    return {k[len(META_PREFIX):]: v for k, v in plan.headers.items() if k.startswith(META_PREFIX)}


@given(st.dictionaries(NAMES, VALUES, max_size=30), st.dictionaries(st.sampled_from(CONTENT_HEADERS), VALUES),
       st.sampled_from([AMAZON_LIMITS, CAREFUL_LIMITS]), st.none() | st.integers(1, 2**33))
def test_any_metadata_survives_within_the_limits(user: dict[str, str], headers: dict[str, str],
                                                 limits: MetadataLimits, delete_at: int | None) -> None:
    given_meta = meta(user_metadata=user, headers=headers, delete_at=delete_at, content_type='text/plain')
    plan = plan_metadata(given_meta, limits)
    assert limits.allow(sent(plan))
    assert all(v.isascii() and k.isascii() and k == k.lower() for k, v in plan.headers.items())
    found = read_back(plan)
    assert dict(found.user_metadata) == user
    assert dict(found.headers) == {k: v.strip(' ') for k, v in headers.items() if v.strip(' ')}
    assert found.delete_at == plan.kept.delete_at
    assert found.data_time == plan.kept.data_time


@given(NAMES)
def test_names_are_tokens_and_come_back(name: str) -> None:
    encoded = encode_name(name)
    assert decode_name(encoded) == name
    assert not set(encoded) & set(' \t\r\n:;,"()/<>@[]{}?=\\') and encoded.isascii()


def test_plain_names_stay_as_they_are() -> None:
    assert encode_name('color_of-x.1') == 'color_of-x.1'
    assert encode_name('1space-name-c3bc') != '1space-name-c3bc'


def filled(size: int) -> dict[str, str]:
    """User metadata of exactly so many bytes."""
    count, rest = divmod(size, 104)
    user = {f'k{i:03}': 'v' * 100 for i in range(count)}
    user['k000'] += 'v' * rest
    return user


def own_bytes() -> int:
    plan = plan_metadata(meta(), AMAZON_LIMITS)
    return sum(len(k) + len(v) for k, v in sent(plan).items())


def test_what_fits_exactly_stays_together() -> None:
    user = filled(2048 - own_bytes())
    assert set(sent(plan_metadata(meta(user_metadata=user), AMAZON_LIMITS))) == {*user, DATA_TIME_KEY}
    user['k000'] += 'x'
    assert set(sent(plan_metadata(meta(user_metadata=user), AMAZON_LIMITS))) == set(user)


def test_our_keys_move_before_a_users_do() -> None:
    limits = MetadataLimits()
    reference = len(SIDE_OBJECT_KEY) + 32
    user = filled(2048 - reference)
    plan = plan_metadata(meta(user_metadata=user, delete_at=77), limits)
    assert set(sent(plan)) == {*user, SIDE_OBJECT_KEY}
    assert plan.side is not None and 'user_metadata' not in json.loads(plan.side)
    found = read_back(plan)
    assert (found.data_time, found.delete_at, dict(found.user_metadata)) == (TIME, 77, user)


def test_our_keys_go_away_where_not_even_a_reference_fits() -> None:
    user = filled(2048)
    plan = plan_metadata(meta(user_metadata=user, delete_at=77), AMAZON_LIMITS)
    assert sent(plan) == user
    assert plan.side is None
    assert (plan.kept.data_time, plan.kept.delete_at) == (None, None)


def test_too_much_of_a_user_moves_as_a_whole() -> None:
    user = filled(2049)
    plan = plan_metadata(meta(user_metadata=user), AMAZON_LIMITS)
    assert set(sent(plan)) == {DATA_TIME_KEY, SIDE_OBJECT_KEY}
    assert dict(read_back(plan).user_metadata) == user


def test_sizes_count_as_they_are_sent() -> None:
    user = {f'k{i}': '\u00fc' * 40 for i in range(20)}  # 1,600 bytes of UTF-8, more in encoded words
    plan = plan_metadata(meta(user_metadata=user), AMAZON_LIMITS)
    assert plan.side is not None


def test_ninety_names_are_the_most_for_unknown_stores() -> None:
    user = {f'k{i}': 'v' for i in range(90)}
    assert set(sent(plan_metadata(meta(user_metadata=user), CAREFUL_LIMITS))) == set(user)
    assert DATA_TIME_KEY in sent(plan_metadata(meta(user_metadata=user), AMAZON_LIMITS))


def test_long_content_headers_go_to_the_side_object() -> None:
    headers = {'content-disposition': 'attachment; filename="' + 'x' * 5000 + '"'}
    plan = plan_metadata(meta(headers=headers), AMAZON_LIMITS)
    assert 'content-disposition' not in plan.headers
    assert dict(read_back(plan).headers) == headers


def test_an_expiry_travels_as_metadata() -> None:
    plan = plan_metadata(meta(delete_at=4_000_000_000), AMAZON_LIMITS)
    assert sent(plan)[DELETE_AT_KEY] == '4000000000'
    assert read_back(plan).delete_at == 4_000_000_000


@pytest.mark.parametrize('headers, is_md5, large', [
    ({'etag': f'"{"a" * 32}"'}, True, None),
    ({'etag': f'"{"a" * 32}-3"'}, False, 'multipart'),
    ({'etag': f'"{"a" * 32}"', 'x-amz-server-side-encryption': 'aws:kms'}, False, None),
    ({'etag': f'"{"a" * 32}"', 'x-amz-server-side-encryption': 'AES256'}, True, None),
    ({'etag': f'"{"a" * 32}-3"', 'x-amz-meta-x-static-large-object': 'True'}, False, 'slo'),
    ({'etag': f'"{"a" * 32}"', 'x-amz-meta-x-object-manifest': 'c/p%20q'}, True, 'dlo')])
def test_what_an_etag_proves(headers: dict[str, str], is_md5: bool, large: str | None) -> None:
    found = meta_from_s3('o', headers)
    assert (found.etag_is_md5, found.large_object) == (is_md5, large)
    assert dict(found.user_metadata) == {}


@pytest.mark.parametrize('side', [b'[]', b'{', b'{"user_metadata": {"a": 1}}', b'{"user_metadata": ["a"]}'])
def test_a_side_object_that_is_none_is_refused(side: bytes) -> None:
    with pytest.raises(ValueError):
        with_side(meta(), side)


def test_marks_of_a_large_object_come_back_as_what_it_is_and_not_as_metadata() -> None:
    meta = ObjectMeta('o', 5, user_metadata={'color': 'red'}, source_etag='e')
    for marks, kind in (({'x-static-large-object': 'True', 'swift-slo-etag': 'm'}, 'slo'),
                        ({'x-object-manifest': 's/p%C3%A9/'}, 'dlo')):
        head = meta_from_s3('o', dict(plan_metadata(meta, AMAZON_LIMITS, marks).headers))
        assert (head.large_object, dict(head.user_metadata), head.source_etag) == (kind, {'color': 'red'}, 'e')
        assert marks_of(head) == marks
    assert marks_of(meta_from_s3('o', {'x-amz-meta-color': 'red'})) == {}


def test_marks_that_do_not_fit_move_to_the_side_object_and_come_back() -> None:
    meta = ObjectMeta('o', 5, user_metadata={'k': 'x' * 1900}, source_etag='e')
    marks = {'x-object-manifest': 's/' + 'p' * 300}
    plan = plan_metadata(meta, AMAZON_LIMITS, marks)
    assert plan.side is not None and 'x-amz-meta-x-object-manifest' not in plan.headers
    head = with_side(meta_from_s3('o', dict(plan.headers)), plan.side)
    assert (head.large_object, head.source_etag, marks_of(head)) == ('dlo', 'e', marks)
    assert dict(head.user_metadata) == {'k': 'x' * 1900}
