"""ETags say 'same' where they prove it, 'different' where they prove that, and otherwise nothing."""
from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.large_objects.etags import Relation, multipart_etag, relation_to
from s3_sync.large_objects.model import Layout
from s3_sync.large_objects.parts import PartLimits, plan_parts
from test.fakes.large_source import MemoryLargeSource, Name, inline, md5, segment

OTHER = md5(b'something else')
MANY = f'{OTHER}-2'


def layout(*sizes: int, kind: Any = 'slo') -> Layout:
    held: dict[Name, bytes] = {('c', str(n)): bytes([n + 1]) * size for n, size in enumerate(sizes)}
    return MemoryLargeSource(held, [segment(held, *name) for name in held], kind=kind).layout


SLO, DLO, PLAIN = layout(100, 50), layout(100, 50, kind='dlo'), layout(150, kind='plain')


def as_parts(of: Layout) -> str:
    return multipart_etag([piece.md5 for piece in of.pieces])


# -- multipart ETags --------------------------------------------------------------------

def test_a_multipart_etag_is_over_the_binary_md5s_of_the_parts() -> None:
    assert multipart_etag(['abcdef', 'fedcba']) == 'ce7989f0e2f1f3e4fdd2a01dda0844ae-2'
    inner = hashlib.md5(bytes.fromhex(md5(b'data')), usedforsecurity=False).hexdigest()
    assert multipart_etag([md5(b'data')]) == f'{inner}-1'


@pytest.mark.parametrize('bad', ['', 'xyz', '"abcdef"'])
def test_an_md5_that_is_none_gives_no_etag(bad: str) -> None:
    if bad:
        with pytest.raises(ValueError):
            multipart_etag([bad])
    else:
        assert multipart_etag([]) == f'{md5(b"")}-0'


# -- same -------------------------------------------------------------------------------

@pytest.mark.parametrize(('of', 'remote_etag', 'carried'), [
    (SLO, SLO.etag, {}),
    (SLO, f'"{SLO.etag}"', {}),
    (DLO, DLO.etag, {}),
    (PLAIN, PLAIN.etag, {}),
    (SLO, MANY, {'source_etag': SLO.etag}),
    (DLO, OTHER, {'source_etag': DLO.etag}),
    (PLAIN, MANY, {'source_etag': PLAIN.etag}),
    (SLO, OTHER, {'swift_slo_etag': SLO.etag}),
    (SLO, OTHER, {'swift_slo_etag': f'"{md5(SLO.manifest)}"'}),
    (DLO, OTHER, {'source_dlo_etag': DLO.etag}),
    (SLO, as_parts(SLO), {}),
    (SLO, f'"{as_parts(SLO)}"', {}),
    (layout(70), md5(b'\x01' * 70), {}),
    (layout(70), multipart_etag([md5(b'\x01' * 70)]), {}),
    (PLAIN, multipart_etag([PLAIN.etag]), {}),
])
def test_what_an_etag_proves_equal_is_the_same(of: Layout, remote_etag: str, carried: dict[str, Any]) -> None:
    for size in (of.size, None):
        assert relation_to(of, remote_etag, remote_size=size, **carried) == 'same'


def test_a_store_that_cuts_otherwise_is_known_by_its_own_parts() -> None:
    held: dict[Name, bytes] = {('c', 'a'): b'a' * 100, ('c', 'b'): b'b' * 100}
    of = MemoryLargeSource(held, [segment(held, *name) for name in held]).layout
    parts = plan_parts(of.pieces, PartLimits(min_bytes=10, max_bytes=500, max_parts=10, part_bytes=20))
    assert relation_to(of, multipart_etag([part.md5 for part in parts]), parts=parts) == 'same'
    joined = plan_parts(of.pieces, PartLimits(min_bytes=150, max_bytes=500, max_parts=10, part_bytes=150))
    # The MD5 of a joined part is not known; the predecessor's layout of one part a segment still is.
    assert relation_to(of, as_parts(of), parts=joined) == 'same'
    assert relation_to(of, multipart_etag([md5(b'a' * 100 + b'b' * 100)]), parts=joined) == 'unknown'


def test_nothing_equals_nothing() -> None:
    assert relation_to(layout(kind='dlo'), OTHER, remote_size=0) == 'same'
    assert relation_to(layout(0), '', remote_size=0, source_etag=OTHER) == 'same'


# -- different --------------------------------------------------------------------------

@pytest.mark.parametrize('of', [SLO, DLO, PLAIN])
def test_another_size_is_different_whatever_the_etags_say(of: Layout) -> None:
    for size in (0, of.size - 1, of.size + 1):
        assert relation_to(of, of.etag, source_etag=of.etag, remote_size=size) == 'different'


def test_another_md5_of_the_whole_content_is_different_only_when_it_is_one() -> None:
    for of in (PLAIN, layout(70)):
        assert relation_to(of, OTHER, remote_size=of.size, etag_is_md5=True) == 'different'
        # SSE-KMS and others answer with 32 hex digits that are no MD5 of anything.
        assert relation_to(of, OTHER, remote_size=of.size) == 'unknown'
    assert relation_to(SLO, OTHER, remote_size=SLO.size, etag_is_md5=True) == 'unknown'


def test_a_copy_of_another_listing_of_a_dlo_is_different() -> None:
    """The object's time tells nothing of its segments; 'unknown' would leave the change unsent for ever."""
    each: list[dict[str, Any]] = [{'source_etag': OTHER}, {'source_dlo_etag': OTHER}]
    for carried in each:
        assert relation_to(DLO, MANY, remote_size=DLO.size, **carried) == 'different'


# -- unknown ----------------------------------------------------------------------------

@pytest.mark.parametrize('of', [SLO, PLAIN, layout(70)])
@pytest.mark.parametrize('remote_etag', ['', OTHER, MANY, f'{OTHER}-1', 'opaque', 'x-y-z'])
@pytest.mark.parametrize('carried', [{}, {'source_etag': OTHER}, {'swift_slo_etag': OTHER}])
def test_other_etags_of_the_same_size_prove_nothing(of: Layout, remote_etag: str, carried: dict[str, Any]) -> None:
    assert relation_to(of, remote_etag, remote_size=of.size, **carried) == 'unknown'


def test_segments_without_known_md5s_prove_nothing() -> None:
    held: dict[Name, bytes] = {('c', 'a'): b'a' * 100}
    ranged = MemoryLargeSource(held, [segment(held, 'c', 'a', 0, 50), segment(held, 'c', 'a', 50, 50)]).layout
    true_etag = multipart_etag([md5(b'a' * 50), md5(b'a' * 50)])
    assert relation_to(ranged, true_etag, remote_size=100) == 'unknown'
    half = replace(SLO, pieces=(SLO.pieces[0], replace(SLO.pieces[1], etag='')))
    assert relation_to(half, multipart_etag([SLO.pieces[0].md5, '']), remote_size=SLO.size) == 'unknown'
    nameless = replace(SLO, pieces=tuple(replace(piece, etag='') for piece in SLO.pieces))
    assert relation_to(nameless, as_parts(SLO), remote_size=SLO.size) == 'unknown'


def test_empty_values_match_nothing() -> None:
    assert relation_to(replace(SLO, etag='', manifest=b''), '', source_etag='', remote_size=SLO.size) == 'unknown'


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=5), st.data())
def test_no_way_of_storing_the_same_bytes_is_called_different(segments: list[bytes], data: st.DataObject) -> None:
    """However a store cut, recut or encrypted them, and whatever other source had the same bytes."""
    held: dict[Name, bytes] = {('c', f'{n:03}'): part for n, part in enumerate(segments)}
    kind = 'plain' if len(segments) == 1 and data.draw(st.booleans()) else 'slo'
    of = MemoryLargeSource(held, [segment(held, *name) for name in held], kind=kind).layout  # type: ignore[arg-type]
    content = b''.join(segments)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(content) - 1)), max_size=4)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True) if a < b]
    recut = MemoryLargeSource({}, [inline(piece) for piece in pieces]).layout
    remote_etag, is_md5 = data.draw(st.sampled_from([
        (md5(content), True), (md5(content), False), (multipart_etag([md5(p) for p in pieces]), False),
        (recut.etag, False), ('0' * 32, False), ('', False)]))
    found: Relation = relation_to(of, remote_etag, remote_size=len(content), etag_is_md5=is_md5,
                                  source_etag=data.draw(st.sampled_from(['', of.etag, recut.etag, md5(content)])),
                                  swift_slo_etag=data.draw(st.sampled_from(['', md5(of.manifest), recut.etag])))
    assert found != 'different'


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=5), st.binary(min_size=1, max_size=30))
def test_no_other_bytes_are_called_the_same(segments: list[bytes], other: bytes) -> None:
    content = b''.join(segments)
    if other == content:
        return
    held: dict[Name, bytes] = {('c', f'{n:03}'): part for n, part in enumerate(segments)}
    of = MemoryLargeSource(held, [segment(held, *name) for name in held]).layout
    for remote_etag in (md5(other), multipart_etag([md5(other)]), multipart_etag([md5(other[:1]), md5(other[1:])])):
        for size in (len(other), None):
            assert relation_to(of, remote_etag, remote_size=size) != 'same'
