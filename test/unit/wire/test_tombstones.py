"""Names, contents and times of markers: any name there is, what Swift takes, and back again."""
from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from swift.common.constraints import MAX_CONTAINER_NAME_LENGTH, MAX_OBJECT_NAME_LENGTH, check_metadata, check_utf8
from swift.common.constraints import check_object_creation as refused
from swift.common.request_helpers import validate_internal_obj
from swift.common.swob import Request
from swift.common.utils import Timestamp, extract_swift_bytes

from s3_sync.timestamps import MARKER
from s3_sync.types import ObjectMeta
from s3_sync.wire.tombstones import (
    ACCOUNT_TOMBSTONES,
    CONTAINER_HEADER,
    HIDDEN_PREFIX,
    NAME_HEADER,
    Policies,
    Policy,
    container_from_headers,
    container_headers,
    content_type,
    delete_headers,
    hides,
    is_hashed,
    is_tombstone_container,
    listed_time,
    name_from_headers,
    parse_content_type,
    put_headers,
    real_container,
    real_name,
    tombstone_container,
    tombstone_name,
    version_time,
)

NAMES = st.text(st.characters(codec='utf-8', exclude_characters='\0'), min_size=1).filter(
    lambda text: len(text.encode()) <= MAX_OBJECT_NAME_LENGTH)
CONTAINERS = st.text(st.characters(codec='utf-8', exclude_characters='\0/'), min_size=1).filter(
    lambda text: len(text.encode()) <= MAX_CONTAINER_NAME_LENGTH)
KINDS: list[Policy] = ['propagate', 'tombstone']
POLICIES = st.builds(Policies, st.dictionaries(st.text('0123456789abcdef', min_size=16, max_size=16),
                                               st.sampled_from(KINDS)))
AT = Timestamp('1700000000.12345')


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


# -- names ------------------------------------------------------------------------------------

@given(CONTAINERS, NAMES)
@example('c' * 237, 'n' * 1023)
@example('c' * 238, 'n' * 1024)
@example('ü' * 128, '☃' * 341)
def test_swift_takes_the_names_of_every_marker(container: str, name: str) -> None:
    hidden, marker = tombstone_container(container), tombstone_name(name)
    validate_internal_obj('AUTH_a', hidden, marker)
    assert len(hidden.encode()) <= MAX_CONTAINER_NAME_LENGTH and '/' not in hidden
    assert len(marker.encode()) <= MAX_OBJECT_NAME_LENGTH
    assert check_utf8(hidden, internal=True) and check_utf8(marker, internal=True)
    assert is_tombstone_container(hidden) and hidden.startswith(HIDDEN_PREFIX)


@given(CONTAINERS, NAMES)
@example('c' * 238, 'n' * 1024)
def test_names_come_back_from_the_name_or_from_the_headers(container: str, name: str) -> None:
    hidden, marker = tombstone_container(container), tombstone_name(name)
    assert real_container(hidden) in (container, None) and real_name(marker) in (name, None)
    assert container_from_headers(hidden, lower(container_headers(container))) == container
    assert name_from_headers(marker, lower(put_headers(Policies({}), AT, name))) == name
    assert is_hashed(name) == (real_name(marker) is None) == (len(name.encode()) > 1023)


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_markers_of_different_names_differ_and_list_in_the_order_of_their_names(names: list[str]) -> None:
    one, other = sorted(names, key=str.encode)
    markers = [tombstone_name(one), tombstone_name(other)]
    assert markers[0] != markers[1]
    if not (is_hashed(one) or is_hashed(other)):
        assert markers == sorted(markers, key=str.encode)


def test_what_has_no_name_of_ours_is_told_apart() -> None:
    assert real_container('c') is None and real_container('\0versions\0c') is None
    assert not is_tombstone_container('c') and not is_tombstone_container('\0versions\0c')
    assert not is_tombstone_container('\x001space-tombstones-longer')
    assert real_name('plain') is None and real_name('\0') is None and real_name('\0\0abc') is None
    assert is_tombstone_container(ACCOUNT_TOMBSTONES) and real_container(ACCOUNT_TOMBSTONES) is None
    assert tombstone_container('') == ACCOUNT_TOMBSTONES
    assert CONTAINER_HEADER not in container_headers('c') and CONTAINER_HEADER in container_headers('c' * 256)
    assert name_from_headers('\0\0abc', {}) is None
    assert container_from_headers('\x001space-tombstones-long\0a', {}) is None


# -- contents ---------------------------------------------------------------------------------

@given(POLICIES, NAMES)
def test_swift_takes_a_marker_and_lists_what_it_says(policies: Policies, name: str) -> None:
    headers = put_headers(policies, AT, name)
    request = Request.blank('/v1/AUTH_a/c/o', environ={'REQUEST_METHOD': 'PUT'}, headers=headers)
    assert refused(request, tombstone_name(name)) is None and check_metadata(request, 'object') is None
    assert headers['X-Timestamp'] == AT.internal and headers['Content-Length'] == '0'
    assert headers['X-Backend-Allow-Reserved-Names'] == 'true'
    assert (NAME_HEADER in headers) == is_hashed(name)
    # As a container server lists it: its parameters taken apart and put together.
    listed, _ = extract_swift_bytes(headers['Content-Type'])
    assert parse_content_type(listed) == policies == parse_content_type(content_type(policies))


@pytest.mark.parametrize('text', ['', 'text/plain', 'application/x-1space-tombstone',
                                  'application/x-1space-tombstones;generations="a:propagate"',
                                  'x;application/x-1space-tombstone;generations="a:propagate"'])
def test_other_content_types_are_no_markers(text: str) -> None:
    assert parse_content_type(text) is None


def test_policies_that_are_not_known_yet_count_as_none() -> None:
    text = 'Application/X-1space-Tombstone; generations="a:propagate,b:vanish,c:tombstone"; charset=UTF-8'
    assert parse_content_type(text) == Policies({'a': 'propagate', 'c': 'tombstone'})


def test_what_is_left_of_policies() -> None:
    policies = Policies({'a': 'propagate', 'b': 'tombstone'})
    assert policies.without(['a']) == Policies({'b': 'tombstone'}) and not policies.without('ab')
    assert (policies.get('a'), policies.get('c')) == ('propagate', None)
    assert len({policies, Policies({'b': 'tombstone', 'a': 'propagate'})}) == 1


def test_a_drop_carries_the_time_that_it_counts_from() -> None:
    assert delete_headers(AT) == {'X-Timestamp': AT.internal, 'X-Backend-Allow-Reserved-Names': 'true'}


# -- times ------------------------------------------------------------------------------------

@given(st.integers(0, 4102444800 * 100000))
def test_a_listing_tells_the_exact_time(ticks: int) -> None:
    time = Timestamp(ticks / 100000)
    assert listed_time(time.isoformat) == time


def meta(**facts: object) -> ObjectMeta:
    return ObjectMeta(name='o', size=1, **facts)  # type: ignore[arg-type]


def test_a_copy_counts_by_the_newest_of_its_source_s_times_whatever_day_the_store_got_it() -> None:
    late = meta(data_time=Timestamp(5), last_modified=1e9)
    assert version_time(late) == Timestamp(5) and hides(Timestamp(5), late) and not hides(Timestamp(4.99999), late)
    assert version_time(meta(data_time=Timestamp(5), meta_time=Timestamp(7))) == Timestamp(7)
    assert version_time(meta(data_time=Timestamp(8), meta_time=Timestamp(7))) == Timestamp(8)


def test_our_own_marks_on_times_do_not_count() -> None:
    ours = MARKER << 32 | 12345
    assert hides(Timestamp(5), meta(data_time=Timestamp(5, offset=ours)))
    assert hides(Timestamp(5, offset=ours), meta(data_time=Timestamp(5)))
    assert not hides(Timestamp(5, offset=ours), meta(data_time=Timestamp(5, offset=1)))


def test_what_is_no_copy_counts_by_its_own_date_of_a_swift_the_exact_one() -> None:
    assert version_time(meta(last_modified=7.0)) == Timestamp(7)
    rounded_up = meta(last_modified=8.0, sysmeta={'x-timestamp': '7.50000'})
    assert version_time(rounded_up) == Timestamp(7.5)
    assert version_time(meta(last_modified=8.0, sysmeta={'x-timestamp': 'soon'})) == Timestamp(8)


def test_what_tells_no_time_at_all_is_older_than_every_deletion() -> None:
    assert hides(Timestamp(0), meta())
