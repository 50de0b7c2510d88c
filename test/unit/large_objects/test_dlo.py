"""DLO headers and listings mean what they mean to Swift."""
from __future__ import annotations

import hashlib

import pytest

from s3_sync.large_objects.dlo import dlo_digest, dlo_prefix, dlo_segments
from s3_sync.large_objects.manifest import ManifestError, slo_etag, without_empty
from s3_sync.large_objects.model import Segment
from s3_sync.types import ListingEntry


@pytest.mark.parametrize(('header', 'container', 'prefix'), [
    ('c/p', 'c', 'p'),
    ('videos/film/', 'videos', 'film/'),
    ('videos/film//x//', 'videos', 'film//x//'),
    ('v%20s/gr%C3%B6%C3%9Fe%2F', 'v s', 'größe/'),
    ('größe/%25%34%31', 'größe', '%41'),
    ('c%2Fp/q', 'c', 'p/q'),
    ('c/a+b', 'c', 'a+b'),
    ('c/', 'c', ''),
])
def test_the_header_is_decoded_and_nothing_is_stripped(header: str, container: str, prefix: str) -> None:
    assert dlo_prefix(header) == (container, prefix)


@pytest.mark.parametrize('header', ['', 'c', '/p', '/c/p', '%2Fc'])
def test_a_header_without_container_or_prefix_is_an_error(header: str) -> None:
    with pytest.raises(ManifestError):
        dlo_prefix(header)


def test_a_listing_becomes_segments_in_its_order_with_empty_ones() -> None:
    listed = [ListingEntry('film/1', 5, 'abc'), ListingEntry('film/dir/', subdir=True),
              ListingEntry('film/2', 0, 'nil'), ListingEntry('film/3', 7, '"def"; slo_etag=123')]
    assert dlo_segments('videos', iter(listed)) == (
        Segment('videos', 'film/1', 'abc', 5, 0, 5), Segment('videos', 'film/2', 'nil', 0, 0, 0),
        Segment('videos', 'film/3', 'def', 7, 0, 7))


def test_the_digest_is_that_of_the_concatenated_listing_hashes() -> None:
    segments = dlo_segments('videos', [ListingEntry('a', 5, 'abc'), ListingEntry('b', 0, 'nil'),
                                       ListingEntry('c', 7, 'def')])
    assert dlo_digest(segments) == hashlib.md5(b'abcnildef', usedforsecurity=False).hexdigest()
    assert dlo_digest([]) == hashlib.md5(usedforsecurity=False).hexdigest()


def test_a_dlo_made_into_an_slo_keeps_its_etag_when_no_segment_is_empty() -> None:
    segments = dlo_segments('videos', [ListingEntry('a', 5, 'abc'), ListingEntry('c', 7, 'def')])
    assert slo_etag(without_empty(segments)) == dlo_digest(segments)
