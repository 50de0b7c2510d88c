"""Parameters mean what they mean to Swift's servers."""
from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.request_helpers import validate_container_params
from swift.common.swob import HTTPException, Request
from swift.common.utils import config_true_value

from s3_sync.shunting.listing.params import ListingParams

Values = st.one_of(st.text(st.characters(exclude_categories=['Cs']), max_size=5),
                   st.sampled_from(['', '0', '5', '10000', '10001', '-1', 'x', '٣', ' 7', '1.5', 'true', 'yes', 'no']))
Queries = st.lists(st.tuples(st.sampled_from(['limit', 'marker', 'end_marker', 'prefix', 'delimiter', 'path',
                                              'reverse', 'format', 'other']), Values), max_size=6)


@given(Queries)
def test_a_query_string_is_read_as_swift_reads_it(query: list[tuple[str, str]]) -> None:
    text = urlencode(query)
    request = Request.blank('/v1/a/c?' + text)
    try:
        expected: dict[str, Any] | None = validate_container_params(request)
    except (HTTPException, ValueError):
        expected = None
    found = ListingParams.from_query_string(text)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.limit, found.path) == (expected['limit'], expected.get('path'))
    for name in ('marker', 'end_marker', 'prefix', 'delimiter'):
        assert getattr(found, name) == expected.get(name, '')
    assert found.reverse is config_true_value(expected.get('reverse'))
    assert ListingParams.parse(found.query()) == found


@pytest.mark.parametrize('text', ['prefix=%ff', 'limit=10001', 'limit=%C2%B2'])
def test_what_swift_refuses_is_left_to_it(text: str) -> None:
    assert ListingParams.from_query_string(text) is None


def test_versions_count_by_being_there() -> None:
    found = ListingParams.from_query_string('versions&marker=' + quote('ü') + '&version_marker=null')
    assert found == ListingParams(10_000, marker='ü', versions=True, version_marker='null')
    assert found is not None and found.query()['versions'] == ''


def test_the_page_after_a_version_begins_behind_it() -> None:
    params = ListingParams(10, versions=True)
    assert params.after({'name': 'a', 'version_id': '17'}, 3) == ListingParams(
        3, marker='a', versions=True, version_marker='17')
    assert params.after({'subdir': 'a/'}, 3) == ListingParams(3, marker='a/', versions=True)
