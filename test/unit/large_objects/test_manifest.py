"""Manifests as Swift writes and reads them; Swift's own middleware is asked wherever it has an answer."""
from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_sync.large_objects.manifest import (
    MAX_DEPTH,
    ManifestError,
    flatten,
    logical_size,
    parse_manifest,
    put_manifest,
    slo_etag,
    stored_manifest,
    without_empty,
)
from s3_sync.large_objects.model import Segment
from test.fakes.large_source import MemoryLargeSource, Name, inline, md5, segment, sub_slo
from test.unit.large_objects.swift_slo import SwiftSlo

ENTRY = {'name': '/c/o', 'bytes': 10, 'hash': 'abc'}


def parse(*entries: Any) -> tuple[Segment, ...]:
    return parse_manifest(json.dumps(entries).encode())


# -- both forms -------------------------------------------------------------------------

def test_the_stored_form_is_read_whatever_the_order_of_its_keys() -> None:
    entry = {'last_modified': '2020-01-01T00:00:00.000000', 'hash': 'abc', 'range': '2-5', 'content_type': 'text/x',
             'bytes': 10, 'name': '/c/päth/ö b'}
    assert parse(entry) == parse(dict(reversed(entry.items()))) == (
        Segment('c', 'päth/ö b', 'abc', 10, 2, 4),)


def test_the_put_form_is_read_too() -> None:
    assert parse({'path': 'c/o', 'etag': 'abc', 'size_bytes': '10'}, {'path': '/c/o', 'etag': None, 'size_bytes': 7},
                 {'data': 'eHl6'}) == (
        Segment('c', 'o', 'abc', 10, 0, 10), Segment('c', 'o', '', 7, 0, 7),
        Segment(etag=md5(b'xyz'), size=3, length=3, data=b'xyz'))


@pytest.mark.parametrize(('text', 'first', 'length'), [
    ('0-0', 0, 1), ('2-5', 2, 4), ('2-', 2, 8), ('-3', 7, 3), ('-30', 0, 10), ('0-9', 0, 10), ('5-99', 5, 5)])
def test_ranges_are_cut_to_the_object(text: str, first: int, length: int) -> None:
    found, = parse({**ENTRY, 'range': text})
    assert (found.first, found.length, found.size) == (first, length, 10)
    assert found.ranged == (length != 10)


@pytest.mark.parametrize('text', ['', None])
def test_an_empty_range_is_none(text: str | None) -> None:
    assert not parse({**ENTRY, 'range': text})[0].ranged


def test_a_sub_manifest_counts_with_its_logical_size() -> None:
    """Old Swifts stored the manifest's own size, and the logical one only in the content type."""
    old = {**ENTRY, 'sub_slo': True, 'content_type': 'text/x;swift_bytes=4096'}
    assert parse(old) == (Segment('c', 'o', 'abc', 4096, 0, 4096, sub_slo=True),)
    assert parse({**ENTRY, 'sub_slo': 'true'})[0].size == 10
    plain = {**ENTRY, 'content_type': 'text/x;swift_bytes=4096'}
    assert parse(plain) == (Segment('c', 'o', 'abc', 10, 0, 10),)


@pytest.mark.parametrize('entry', [
    'text', 5, None, [], {}, {'name': '/c/o', 'bytes': 10}, {'name': '/c/o', 'hash': 'abc'},
    {**ENTRY, 'hash': None}, {**ENTRY, 'hash': 5}, {**ENTRY, 'bytes': None}, {**ENTRY, 'bytes': -1},
    {**ENTRY, 'bytes': True}, {**ENTRY, 'bytes': 1.5}, {**ENTRY, 'bytes': '1x'}, {**ENTRY, 'name': None},
    {**ENTRY, 'name': 7}, {**ENTRY, 'name': '/c'}, {**ENTRY, 'name': '/c/'}, {**ENTRY, 'name': ''},
    {**ENTRY, 'name': '//'}, {**ENTRY, 'range': '5'}, {**ENTRY, 'range': '-'}, {**ENTRY, 'range': 'a-b'},
    {**ENTRY, 'range': '10-'}, {**ENTRY, 'range': '10-12'}, {**ENTRY, 'range': '5-4'}, {**ENTRY, 'range': '1-2,4-5'},
    {**ENTRY, 'range': '-0'}, {**ENTRY, 'range': '-1-2'}, {**ENTRY, 'range': [1, 2]},
    {'path': '/c/o', 'etag': 'abc'}, {'path': '/c/o', 'etag': 5, 'size_bytes': 5},
    {'data': 'no base64!'}, {'data': None}, {'data': 5}, {'data': 'é'}])
def test_what_is_no_manifest_entry_is_refused_by_its_number(entry: Any) -> None:
    with pytest.raises(ManifestError, match='entry 1'):
        parse(ENTRY, entry)


@pytest.mark.parametrize('data', [b'', b'{}', b'"x"', b'[', b'\xff\xfe[]', b'5', b'[' * 100_000])
def test_what_is_no_manifest_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['1-2', '/c/o', 'eHl6']),
                    lambda inner: st.lists(inner) | st.dictionaries(
                        st.sampled_from(['name', 'bytes', 'hash', 'range', 'data', 'path', 'etag', 'size_bytes',
                                         'sub_slo', 'content_type']), inner)))
def test_any_json_is_segments_or_an_error(document: Any) -> None:
    try:
        found = parse_manifest(json.dumps(document).encode())
    except ManifestError:
        return
    assert all(s.first >= 0 and 0 <= s.length <= s.size for s in found)


@pytest.mark.parametrize('build', [stored_manifest, put_manifest])
def test_what_is_written_is_read_again(build: Any) -> None:
    held: dict[Name, bytes] = {('c', 'a/ö "x" %41'): b'a' * 10, ('d', 'b'): b'b' * 20, ('d', 'empty'): b''}
    segments = (segment(held, 'c', 'a/ö "x" %41'), inline(b'\x00\xff'), segment(held, 'd', 'b', 3, 5),
                segment(held, 'd', 'empty'), replace(segment(held, 'd', 'b'), etag=''))
    assert parse_manifest(build(segments)) == segments


def test_empty_segments_are_left_out_of_what_swift_would_refuse() -> None:
    held: dict[Name, bytes] = {('c', 'a'): b'a', ('c', 'none'): b''}
    a, none = segment(held, 'c', 'a'), segment(held, 'c', 'none')
    assert without_empty([none, a, none, a, none]) == (a, a)


# -- ETag and size ----------------------------------------------------------------------

def test_the_etag_of_plain_segments_is_that_of_their_concatenated_etags() -> None:
    expected = hashlib.md5(b'abcdef', usedforsecurity=False).hexdigest()
    assert slo_etag([Segment('c', 'a', 'abc', 5, 0, 5), Segment('c', 'b', 'def', 5, 0, 5)]) == expected


def test_ranges_and_inline_data_enter_the_etag() -> None:
    text = f'abc:2-4;{md5(b"xyz")}def'
    expected = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    segments = [Segment('c', 'a', 'abc', 5, 2, 3), inline(b'xyz'), Segment('c', 'b', 'def', 5, 0, 5)]
    assert slo_etag(segments) == expected
    assert logical_size(segments) == 11


def test_without_a_segments_etag_there_is_no_etag() -> None:
    with pytest.raises(ManifestError, match='/c/a'):
        slo_etag([Segment('c', 'a', '', 5, 0, 5)])


# -- pieces -----------------------------------------------------------------------------

def test_a_cut_through_inline_data_is_whole_again() -> None:
    piece, = flatten([sub_slo('c', 'sub', [inline(b'0123456789')], 2, 5)])
    assert (piece.data, piece.length, piece.whole, piece.md5) == (b'23456', 5, True, md5(b'23456'))


def test_a_ranged_piece_has_no_known_md5() -> None:
    ranged, whole = flatten([Segment('c', 'a', 'abc', 5, 2, 3), Segment('c', 'a', 'abc', 5, 0, 5)])
    assert (ranged.md5, whole.md5) == ('', 'abc')


def test_a_sub_manifest_that_was_not_read_is_an_error() -> None:
    with pytest.raises(ManifestError, match='/c/sub'):
        flatten([Segment('c', 'sub', 'abc', 5, 0, 5, sub_slo=True)])


def test_a_sub_manifest_of_another_size_is_an_error() -> None:
    """It was written over since its parent was: what the parent's ranges mean is not known any more."""
    with pytest.raises(ManifestError, match='7 bytes'):
        flatten([Segment('c', 'sub', 'abc', 5, 0, 5, children=(Segment('c', 'a', 'abc', 7, 0, 7),), sub_slo=True)])


def test_manifests_that_multiply_are_given_up() -> None:
    inner: tuple[Segment, ...] = (Segment('c', 'a', md5(b'a'), 1, 0, 1),) * 1000
    for _ in range(4):
        inner = (sub_slo('c', 'sub', inner),) * 1000
    with pytest.raises(ManifestError, match='pieces'):
        flatten(inner)


# -- Swift's own answers ----------------------------------------------------------------

def put(swift: SwiftSlo, held: dict[Name, bytes]) -> None:
    for (container, name), data in held.items():
        swift.put(f'{container}/{quote(name)}', data)


def test_swift_takes_what_we_send_and_we_read_what_it_stores() -> None:
    held: dict[Name, bytes] = {('c', 'a ü/%41'): b'a' * 10, ('c', 'b'): b'b' * 20, ('c', 'end'): b''}
    segments = (inline(b'\x00head'), segment(held, 'c', 'a ü/%41'), segment(held, 'c', 'b', 3, 5),
                segment(held, 'c', 'b', 0, 20), segment(held, 'c', 'end'))
    swift = SwiftSlo()
    put(swift, held)
    answer = swift.put_manifest('c/m', put_manifest(segments))
    assert (answer.status_int, answer.etag) == (201, slo_etag(segments))
    assert parse_manifest(swift.stored['c/m'][0]) == segments
    raw = swift.request('GET', 'c/m', query='?multipart-manifest=get&format=raw')
    assert parse_manifest(raw.body) == segments
    ours = json.loads(stored_manifest(segments))
    theirs = [{key: value for key, value in entry.items() if key not in ('content_type', 'last_modified')}
              for entry in swift.manifest('c/m')]
    assert ours == theirs


def test_swift_serves_a_manifest_stored_in_our_form() -> None:
    held: dict[Name, bytes] = {('c', 'a'): b'0123456789', ('c', 'b'): b'abcdefghij'}
    inner = (segment(held, 'c', 'a'), inline(b'-'), segment(held, 'c', 'b', 2, 3))
    outer = (sub_slo('c', 'inner', inner, 8, 5), segment(held, 'c', 'a'))
    swift = SwiftSlo()
    put(swift, held)
    for name, segments in (('inner', inner), ('outer', outer)):
        swift.put(f'c/{name}', stored_manifest(segments))
        swift.stored[f'c/{name}'][1]['X-Static-Large-Object'] = 'True'
    answer = swift.get('c/outer')
    assert answer.body == MemoryLargeSource(held, outer).data == b'89-cd0123456789'
    assert (answer.etag, answer.content_length) == (slo_etag(outer), logical_size(outer))


@pytest.mark.parametrize(('depth', 'fits'), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_manifests_nest_as_deep_as_swift_reads(depth: int, fits: bool) -> None:
    held: dict[Name, bytes] = {('c', 'a'): b'data'}
    swift = SwiftSlo()
    put(swift, held)
    segments: tuple[Segment, ...] = (segment(held, 'c', 'a'),)
    for level in range(1, depth + 1):
        assert swift.put_manifest(f'c/{level}', put_manifest(segments)).status_int == 201
        top, segments = segments, (sub_slo('c', str(level), segments),)
    if fits:
        assert swift.get(f'c/{depth}').body == b'data'
        assert len(flatten(top)) == 1
    else:
        assert swift.request('GET', f'c/{depth}').status_int == 409
        with pytest.raises(ManifestError, match='deep'):
            flatten(top)


class Tree:
    """Random SLOs, each built from the objects and SLOs made before it."""

    def __init__(self, draw: Any) -> None:
        self.held: dict[Name, bytes] = {
            ('c', f'o{number}'): bytes(range(number, number + size))
            for number, size in enumerate(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))}
        self.manifests: dict[str, tuple[Segment, ...]] = {}
        for number in range(draw(st.integers(1, 5))):
            entries = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50), st.integers(1, 50)),
                                    min_size=1, max_size=5))
            made = tuple(self._segment(*entry) for entry in entries)
            if all(s.data is not None for s in made):
                made += (segment(self.held, 'c', 'o0'),)  # Swift wants one object at least
            self.manifests[f'm{number}'] = made

    def _segment(self, choice: int, first: int, length: int) -> Segment:
        names = [*self.held, *self.manifests, None]
        chosen = names[choice % len(names)]
        if chosen is None:
            return inline(bytes(range(200, 200 + length)))
        if isinstance(chosen, str):
            size = logical_size(self.manifests[chosen])
            return sub_slo('c', chosen, self.manifests[chosen], *_range(first, length, size))
        return segment(self.held, *chosen, *_range(first, length, len(self.held[chosen])))


def _range(first: int, length: int, size: int) -> tuple[int, int]:
    first %= size
    return first, min(length, size - first)


@settings(deadline=None)
@given(st.data())
def test_random_trees_give_the_bytes_sizes_and_etags_that_swift_gives(data: st.DataObject) -> None:
    tree = Tree(data.draw)
    swift = SwiftSlo()
    put(swift, tree.held)
    for name, segments in tree.manifests.items():
        assert swift.put_manifest(f'c/{name}', put_manifest(segments)).status_int == 201
        answer = swift.get(f'c/{name}')
        large = MemoryLargeSource(tree.held, segments)
        assert answer.body == large.data
        assert (answer.etag, answer.content_length) == (large.layout.etag, large.layout.size)
        bare = tuple(replace(s, children=None) for s in segments)
        assert parse_manifest(swift.stored[f'c/{name}'][0]) == bare
