"""Where segments lie at a Swift target, and whose they are."""
from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.config import Mapping, Remote
from s3_sync.errors import LimitExceeded
from s3_sync.providers.swift.limits import DEFAULTS
from s3_sync.providers.swift.places import Place, Places, check_container


def places(bucket: str = 'bucket', container: str = 'films', **keys: Any) -> Places:
    mapping = Mapping.model_validate({'account': 'a', 'container': container, **keys, 'remote': Remote.model_validate(
        {'protocol': 'swift', 'endpoint': 'http://127.0.0.1/auth/v1.0', 'identity': 'u', 'bucket': bucket})})
    return Places(mapping.for_container('films'))


def hashed(source: str) -> str:
    return 'bucket_segments_' + hashlib.sha256(source.encode()).hexdigest()[:10]


@pytest.mark.parametrize('source, expected', [
    ('films_segments', 'bucket_segments'), ('films+segments', 'bucket+segments'), ('films', hashed('films')),
    ('other_segments', hashed('other_segments')), ('filme', hashed('filme')), ('ü', hashed('ü')),
])
def test_each_source_container_has_one_of_its_own(source: str, expected: str) -> None:
    assert places().container(source) == expected
    assert places().segment(source, 'a//b') == Place(expected, 'a//b')
    assert places().is_segment_container(expected)


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, min_size=2, max_size=5))
def test_no_two_source_containers_share_one(sources: list[str]) -> None:
    for mapping in (places(), places('prefix-', '/*')):
        assert len({mapping.container(source) for source in sources}) == len(sources)


def test_an_account_mapping_keeps_the_names() -> None:
    mapping = places('crazy:', '/*')
    assert mapping.bucket == 'crazy:films'
    assert mapping.container('films_segments') == 'crazy:films_segments'
    assert mapping.container('films') == 'crazy:films'
    assert not mapping.is_segment_container('crazy:films_segments')


@pytest.mark.parametrize('container', [
    'bucket', 'bucket_segments2', 'bucket_segments_old', 'bucket_segment', 'other_segments', 'xbucket_segments',
    'bucket_segments_0123456789ab', 'bucket_segments\n', 'bucket_segments_versions_versions'])
def test_containers_that_may_be_somebody_else_s_are_never_touched(container: str) -> None:
    assert not places().is_segment_container(container)


def test_joined_objects_and_other_contents_lie_apart_and_are_recognised() -> None:
    joined = places().joined('a/b', '1600000000.12345', 7, DEFAULTS)
    assert joined == Place('bucket_segments_joined', 'a/b/1600000000.12345/000007')
    for place in (joined, places().version(joined, 'ab12', DEFAULTS),
                  places().version(places().segment('other', 'x'), 'ab12', DEFAULTS)):
        assert places().is_segment_container(place.container)
    assert places().version(Place('bucket_segments', 'x/1'), 'ab12', DEFAULTS) == Place(
        'bucket_segments_versions', 'ab12/x/1')


@given(st.text(min_size=1, max_size=1024))
def test_names_made_from_names_never_become_too_long(name: str) -> None:
    made = (places().joined(name, '1600000000.12345', 999_999, DEFAULTS),
            places().version(Place('bucket_segments', name), 'f' * 32, DEFAULTS))
    for place in made:
        assert len(place.name.encode('utf-8', 'surrogatepass')) <= DEFAULTS.max_object_name_length


def test_a_container_name_that_is_too_long_is_told() -> None:
    check_container('ü' * 128, DEFAULTS)
    with pytest.raises(LimitExceeded):
        check_container('ü' * 128 + 'x', DEFAULTS)
    with pytest.raises(LimitExceeded):
        check_container('abc', replace(DEFAULTS, max_container_name_length=2))


def test_owners_differ_by_name_and_bucket() -> None:
    owners = {places().owner('a'), places().owner('b'), places('bucket2').owner('a')}
    assert len(owners) == 3
    assert all(len(owner) == 16 and owner != '*' for owner in owners)


@pytest.mark.parametrize('source', ['films', 'other_segments', 'ü/%41', 'a' * 256])
@pytest.mark.parametrize('end', ['', '_versions'])
def test_a_container_whose_name_does_not_tell_says_whose_it_is_when_it_is_made(source: str, end: str) -> None:
    writer, reader = places(), places()
    container = writer.container(source) + end
    said = writer.creation_headers(container)
    assert all(value.isascii() and len(value) <= 256 for value in said.values())
    if source != 'films':
        assert reader.is_riddle(container)
        assert reader.source(container.removesuffix('_versions')) is None
    reader.tell(said['x-container-meta-1space-source'])
    assert not reader.is_riddle(container)
    assert reader.source(container.removesuffix('_versions')) == source


def test_a_name_too_long_for_a_header_is_not_said() -> None:
    mapping = places()
    assert mapping.creation_headers(mapping.container('ü' * 100)) == {}


@pytest.mark.parametrize('lie', ['', 'films', 'films_segments', '%ff', 'something else'])
def test_a_container_that_lies_is_believed_nothing(lie: str) -> None:
    mapping = places()
    mapping.tell(lie)
    assert mapping.source(hashed('other')) is None
    assert mapping.is_riddle(hashed('other'))


@pytest.mark.parametrize('container', [
    'bucket', 'bucket_segments', 'bucket+segments', 'bucket_segments_joined', 'other', 'x' + hashed('other'),
    hashed('other') + '0'])
def test_containers_whose_name_tells_are_not_asked(container: str) -> None:
    assert not places().is_riddle(container)
    assert places().creation_headers(container) == {}
    assert not places('prefix-', '/*').is_riddle(hashed('other'))
