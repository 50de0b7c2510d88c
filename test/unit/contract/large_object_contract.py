"""What every provider promises of large objects (``BaseSync``), as one class of tests.

A subclass gives the fixture ``build`` like that of ``ProviderContract`` and sets
the flags in which its endpoint differs. Everything is asked through ``BaseSync``;
the local side is a ``MemoryLargeSource``, which knows what was read of it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from s3_sync.base_sync import NO_CONDITION, BaseSync, ProviderResponse
from s3_sync.engine.archive import large_meta
from s3_sync.errors import NotFound, PreconditionFailed, SegmentChanged, SourceUnavailable, Unproven
from s3_sync.large_objects.manifest import parse_manifest
from s3_sync.streams import BytesBody
from s3_sync.types import ABSENT, NO_HEADERS, Condition, ObjectMeta, PutResult, ShuntRequest
from test.fakes.large_source import MemoryLargeSource, Name, inline, md5, segment, sub_slo
from test.unit.contract.provider_contract import (
    DATA_TIME,
    HEADERS,
    LATER,
    METADATA,
    Build,
    described,
    names,
    times,
    upload,
)

SEGMENTS = 'pictures_segments'
Layouts = Callable[[int], MemoryLargeSource]


def content(seed: int, size: int) -> bytes:
    """Bytes that differ for each seed, and from one another."""
    pattern = bytes((seed * 37 + i * (seed % 7 + 1)) % 251 for i in range(min(size, 997)))
    return (pattern * (size // max(1, len(pattern)) + 1))[:size]


def objects(size: int, count: int = 3, container: str = SEGMENTS, seed: int = 0) -> dict[Name, bytes]:
    return {(container, f'film/17/{number:08}'): content(seed + number, size) for number in range(count)}


def slo(size: int, count: int = 3, seed: int = 0) -> MemoryLargeSource:
    held = objects(size, count, seed=seed)
    return MemoryLargeSource(held, [segment(held, *name) for name in held])


def dlo(size: int, count: int = 3, seed: int = 0) -> MemoryLargeSource:
    held = {**objects(size, count, seed=seed), (SEGMENTS, 'film/17/empty'): b'',
            (SEGMENTS, 'film/17/größe %41'): content(seed + 99, size // 2 + 1)}
    return MemoryLargeSource(held, [segment(held, *name) for name in sorted(held)], kind='dlo',
                             prefix=f'{SEGMENTS}/film/17/')


def plain(size: int) -> MemoryLargeSource:
    held = {('pictures', 'o'): content(5, 3 * size)}
    return MemoryLargeSource(held, [segment(held, 'pictures', 'o')], kind='plain')


def ranged(size: int) -> MemoryLargeSource:
    held = objects(size)
    first, second, third = held
    return MemoryLargeSource(held, [
        segment(held, *first, first=10), segment(held, *second, first=7, length=size // 2), segment(held, *third),
        segment(held, *first, first=0, length=1), segment(held, *second, first=size - 1, length=1)])


def nested(size: int) -> MemoryLargeSource:
    held = objects(size)
    first, second, third = (segment(held, *name) for name in held)
    inner = (first, inline(b'between'), second)
    return MemoryLargeSource(held, [
        sub_slo('pictures', 'inner', inner), third, sub_slo('pictures', 'inner', inner, first=size - 3, length=size),
        sub_slo('pictures', 'outer', [sub_slo('pictures', 'inner', inner), third], first=2 * size)])


def with_inline_data(size: int) -> MemoryLargeSource:
    held = objects(size, 2)
    first, second = (segment(held, *name) for name in held)
    return MemoryLargeSource(held, [inline(b'head \x00\xff'), first, inline(b'-'), second, inline(content(8, 300))])


def of_two_containers(size: int) -> MemoryLargeSource:
    """Equal names in two containers must not become one segment at the target."""
    held = {('one', 'part/1'): content(1, size), ('two', 'part/1'): content(2, size), ('one', 'té/2'): content(3, size)}
    return MemoryLargeSource(held, [segment(held, *name) for name in held])


def with_repeated_segments(size: int) -> MemoryLargeSource:
    held = objects(size, 2)
    first, second = (segment(held, *name) for name in held)
    return MemoryLargeSource(held, [first, second, first, first])


def with_empty_end(size: int) -> MemoryLargeSource:
    held = {**objects(size, 2), (SEGMENTS, 'film/17/end'): b''}
    return MemoryLargeSource(held, [segment(held, *name) for name in held])


LAYOUTS: dict[str, Layouts] = {
    'several': slo, 'single': lambda size: slo(size, 1), 'many': lambda size: slo(size // 10, 40), 'ranges': ranged,
    'nested': nested, 'inline': with_inline_data, 'two-containers': of_two_containers,
    'repeated': with_repeated_segments, 'empty-end': with_empty_end, 'dlo': dlo, 'plain': plain,
}


def meta_of(large: MemoryLargeSource, name: str = 'o', **changes: Any) -> ObjectMeta:
    """The metadata as the engine gives it along."""
    kind = large.layout.kind
    described = times(name=name, size=large.layout.size, etag=large.layout.etag,
                      large_object=None if kind == 'plain' else kind, **changes)
    return large_meta(described, large)


def send(provider: BaseSync, large: MemoryLargeSource, name: str = 'o', condition: Condition = NO_CONDITION,
         **changes: Any) -> PutResult:
    return provider.upload_large_object(large, meta_of(large, name, **changes), condition=condition)


def asked(provider: BaseSync, method: str, name: str, query: Mapping[str, str] = NO_HEADERS,
          **headers: str) -> tuple[ProviderResponse, bytes]:
    """A client's request, its answer and all of its body."""
    answer = provider.shunt_object(ShuntRequest(
        method, name, {k.replace('_', '-'): v for k, v in headers.items()}, query))
    try:
        return answer, b''.join(answer.body)
    finally:
        answer.close()


class LargeObjectContract:
    """A subclass has the fixture ``build`` of ``ProviderContract``."""

    segment_bytes = 1000
    """Most tests' segments have about this size."""
    legal_part_bytes = 6 * 1024 ** 2
    """A segment size with which a store like S3 needs to join nothing."""
    proves_later = True
    """A copy can be proven by a process that did not make it."""
    tells_content = True
    """A HEAD of a copy tells the source's content (``1space-etag``)."""
    only_names_of_ours = True
    """What stands beside a large object shows in no listing of objects."""

    @pytest.fixture
    def provider(self, build: Build) -> Iterator[BaseSync]:
        provider = build()
        yield provider
        provider.close()

    @pytest.fixture(params=sorted(LAYOUTS))
    def large(self, request: pytest.FixtureRequest) -> Iterator[MemoryLargeSource]:
        large = LAYOUTS[request.param](self.segment_bytes)
        yield large
        assert large.reading == 0, 'a segment was left open'

    @pytest.fixture
    def film(self) -> Iterator[MemoryLargeSource]:
        large = slo(self.segment_bytes)
        yield large
        assert large.reading == 0, 'a segment was left open'

    # -- for the shunt ----------------------------------------------------------------------

    def test_a_copy_tells_what_its_source_consists_of(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large)
        for meta in (provider.head_object('o'), provider.get_object('o', byte_range=(5, 9)).meta,
                     asked(provider, 'GET', 'o')[0].meta):
            assert meta is not None
            found = provider.layout_of(meta)
            if large.layout.kind == 'plain':
                assert found is None
                continue
            assert found is not None
            wanted = large.layout
            assert (found.kind, found.etag, found.size, found.prefix) == (
                wanted.kind, wanted.etag, wanted.size, wanted.prefix)
            assert [replace(s, children=None) for s in found.segments] == [
                replace(s, children=None) for s in wanted.segments]
            assert found.manifest == wanted.manifest
            assert found.pieces == ()

    def test_a_layout_is_never_that_of_another_version(self, provider: BaseSync, film: MemoryLargeSource) -> None:
        send(provider, film)
        old = provider.head_object('o')
        send(provider, slo(self.segment_bytes, 4, seed=50))
        assert provider.layout_of(old) is None
        upload(provider, 'o', b'plain')
        assert provider.layout_of(old) is None
        assert provider.layout_of(provider.head_object('o')) is None

    def test_a_client_sees_a_large_object_as_swift_shows_it(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large, user_metadata={'color': 'blue'})
        layout = large.layout
        for method in ('GET', 'HEAD'):
            answer, data = asked(provider, method, 'o')
            headers = answer.headers
            assert (answer.status, data) == (200, large.data if method == 'GET' else b'')
            assert headers['content-length'] == str(layout.size)
            assert headers['etag'] == (layout.etag if layout.kind == 'plain' else f'"{layout.etag}"')
            assert headers.get('x-static-large-object') == ('True' if layout.kind == 'slo' else None)
            if layout.kind == 'dlo':
                assert unquote(headers['x-object-manifest']) == layout.prefix
            assert headers['x-object-meta-color'] == 'blue'
            assert headers['x-timestamp'] == DATA_TIME.normal
            assert not [name for name in headers if '1space' in name or 'swift-s' in name or 'x-amz' in name]
            assert {name for name in headers if 'sysmeta' in name} <= {'x-object-sysmeta-s3api-etag'}
        assert asked(provider, 'GET', 'o', If_None_Match=f'"{layout.etag}"')[0].status == 304
        answer, data = asked(provider, 'GET', 'o', Range='bytes=5-14')
        assert (answer.status, data) == (206, large.data[5:15])
        assert answer.meta is not None and answer.meta.size == layout.size

    def test_a_client_gets_the_manifest_in_both_forms(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        if large.layout.kind == 'plain':
            return
        send(provider, large, content_type='video/X-Test')
        query = {'multipart-manifest': 'get'}
        answer, data = asked(provider, 'GET', 'o', query)
        assert answer.status == 200
        assert answer.headers['etag'] == md5(data)
        assert answer.headers['content-length'] == str(len(data))
        head, nothing = asked(provider, 'HEAD', 'o', query)
        assert (head.headers, nothing) == (answer.headers, b'')
        if large.layout.kind == 'dlo':
            assert data == b''
            assert unquote(answer.headers['x-object-manifest']) == large.layout.prefix
            return
        assert data == large.layout.manifest
        assert answer.headers['content-type'] == 'application/json; charset=utf-8'
        assert answer.headers['x-static-large-object'] == 'True'
        answer, data = asked(provider, 'GET', 'o', {**query, 'format': 'raw'})
        assert [replace(s, sub_slo=False) for s in parse_manifest(data)] == [
            replace(s, sub_slo=False, children=None) for s in large.layout.segments]
        assert answer.headers['etag'] == md5(data)
        assert answer.headers['content-type'] == 'video/X-Test', 'so that a COPY of the manifest keeps it'

    @pytest.mark.parametrize('key', ['part-number', 'partNumber'])
    def test_a_client_gets_the_parts_of_an_slo(self, provider: BaseSync, key: str) -> None:
        large = LAYOUTS['several'](self.segment_bytes)
        send(provider, large)
        at = 0
        for number, entry in enumerate(large.layout.segments, 1):
            for method in ('GET', 'HEAD'):
                answer, data = asked(provider, method, 'o', {key: str(number)})
                assert answer.status == 206
                assert data == (large.data[at:at + entry.length] if method == 'GET' else b'')
                assert answer.headers['content-range'] == f'bytes {at}-{at + entry.length - 1}/{large.layout.size}'
                assert answer.headers['content-length'] == str(entry.length)
                assert answer.headers['x-parts-count'] == '3'
                assert answer.meta is not None and answer.meta.size == large.layout.size
            at += entry.length
        assert asked(provider, 'GET', 'o', {key: '4'})[0].status == 416
        assert asked(provider, 'GET', 'o', {key: '0'})[0].status == 400
        assert asked(provider, 'GET', 'o', {key: 'x'})[0].status == 400
        assert asked(provider, 'GET', 'o', {key: '1'}, Range='bytes=0-1')[0].status == 400

    # -- copies -----------------------------------------------------------------------------

    def test_every_layout_arrives_with_its_bytes_times_and_metadata(
            self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large, content_type='video/X-Test', user_metadata=METADATA['latin'], headers=HEADERS)
        found = provider.get_object('o')
        assert found.read() == large.data
        head = provider.head_object('o')
        for told in (head, found.meta):
            assert (told.name, told.size, told.content_type) == ('o', large.layout.size, 'video/X-Test')
            assert dict(told.user_metadata) == METADATA['latin']
            assert dict(told.headers) == HEADERS
            assert told.data_time == DATA_TIME
        if self.tells_content:
            assert (head.content_md5 if large.layout.kind == 'plain' else head.source_etag) == large.layout.etag

    def test_a_copy_is_known_again_without_reading_anything(
            self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large)
        large.opened.clear()
        assert provider.relation(large, provider.head_object('o')) == 'same'
        assert provider.ensure_manifest(large, meta_of(large)) is False
        assert large.opened == []

    def test_other_content_is_never_called_the_same(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large)
        head = provider.head_object('o')
        longer, other = slo(self.segment_bytes, 4, seed=50), slo(self.segment_bytes, 3, seed=60)
        assert provider.relation(longer, head) != 'same'
        assert provider.relation(other, head) != 'same'

    def test_a_range_of_a_large_object_is_read(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large)
        first, last = self.segment_bytes // 2, large.layout.size - 3
        found = provider.get_object('o', byte_range=(first, last))
        assert found.status == 206
        assert found.read() == large.data[first:last + 1]

    def test_an_object_without_bytes_is_copied_too(self, provider: BaseSync) -> None:
        held = {(SEGMENTS, 'film/empty'): b''}
        for name, large in (('none', MemoryLargeSource({}, [], kind='dlo', prefix=f'{SEGMENTS}/none')),
                            ('empty', MemoryLargeSource(held, [segment(held, SEGMENTS, 'film/empty')]))):
            send(provider, large, name)
            assert provider.get_object(name).read() == b''
            head = provider.head_object(name)
            assert (head.size, head.data_time) == (0, DATA_TIME)
            assert provider.relation(large, head) == 'same'

    def test_segments_that_need_no_joining_arrive_as_they_are(self, provider: BaseSync) -> None:
        size = self.legal_part_bytes
        held: dict[Name, bytes] = {(SEGMENTS, f'film/{n}'): bytes([n]) * length
                                   for n, length in enumerate((size, size + 1, 1000, size, 77))}
        large = MemoryLargeSource(held, [segment(held, *name) for name in held])
        written = send(provider, large)
        found = provider.get_object('o')
        assert md5(found.read()) == md5(large.data)
        head = provider.head_object('o')
        assert head.size == large.layout.size
        assert provider.relation(large, head) == 'same'
        provider.prove(meta_of(large), large=large, written=written)
        assert large.reading == 0

    @pytest.mark.parametrize('name', ['o', 'a/ö ü/%41 x', '青/\U0001f600', 'x' * 600])
    def test_names_and_their_neighbours_are_kept_apart(self, provider: BaseSync, name: str,
                                                       film: MemoryLargeSource) -> None:
        other = slo(self.segment_bytes, 2, seed=9)
        send(provider, film, name)
        send(provider, other, name + '0')
        assert provider.get_object(name).read() == film.data
        assert provider.get_object(name + '0').read() == other.data
        if self.only_names_of_ours:
            assert names(provider) == [name, name + '0']

    # -- versions ---------------------------------------------------------------------------

    def test_a_plain_object_replaces_a_large_one(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large, user_metadata={'color': 'red'})
        upload(provider, 'o', b'small', data_time=LATER)
        assert provider.get_object('o').read() == b'small'
        head = provider.head_object('o')
        assert (head.size, head.data_time, dict(head.user_metadata)) == (5, LATER, {})
        assert head.source_etag != large.layout.etag
        assert provider.relation(large, head) != 'same'
        if self.only_names_of_ours:
            assert names(provider) == ['o']

    def test_a_large_object_replaces_a_plain_one(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        upload(provider, 'o', b'small', user_metadata={'color': 'red'})
        send(provider, large, data_time=LATER)
        assert provider.get_object('o').read() == large.data
        head = provider.head_object('o')
        assert (head.size, head.data_time, dict(head.user_metadata)) == (large.layout.size, LATER, {})

    def test_a_large_object_replaces_another(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, slo(self.segment_bytes, 5, seed=30))
        send(provider, large, data_time=LATER)
        assert provider.get_object('o').read() == large.data
        assert provider.relation(large, provider.head_object('o')) == 'same'
        send(provider, slo(self.segment_bytes, 5, seed=30), data_time=LATER)
        assert provider.get_object('o').read() == slo(self.segment_bytes, 5, seed=30).data

    def test_a_new_version_shares_segments_with_the_old(self, provider: BaseSync, film: MemoryLargeSource) -> None:
        send(provider, film)
        changed = dict(film.objects)
        changed[SEGMENTS, 'film/17/00000001'] = content(44, self.segment_bytes)
        newer = MemoryLargeSource(changed, [segment(changed, *name) for name in changed])
        written = send(provider, newer, data_time=LATER)
        assert provider.get_object('o').read() == newer.data
        provider.prove(meta_of(newer, data_time=LATER), large=newer, written=written)
        assert provider.relation(film, provider.head_object('o')) != 'same'

    def test_sending_the_same_again_changes_nothing(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large)
        send(provider, large)
        assert provider.get_object('o').read() == large.data
        assert provider.relation(large, provider.head_object('o')) == 'same'

    def test_an_existing_name_is_refused_where_it_must_be_new(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        if not provider.capabilities.create_only:
            pytest.fail('set test_an_existing_name_is_refused_where_it_must_be_new = None: no such condition here')
        upload(provider, 'o', b'theirs')
        with pytest.raises(PreconditionFailed):
            send(provider, film, condition=ABSENT)
        assert provider.get_object('o').read() == b'theirs'
        send(provider, film, 'new', condition=ABSENT)
        assert provider.get_object('new').read() == film.data

    def test_only_the_version_that_was_looked_at_is_replaced(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        if not provider.capabilities.conditional_overwrite:
            pytest.fail('set test_only_the_version_that_was_looked_at_is_replaced = None: no such condition here')
        send(provider, film)
        seen = provider.head_object('o').etag
        other = slo(self.segment_bytes, 2, seed=20)
        send(provider, other, condition=Condition(if_match=seen), data_time=LATER)
        assert provider.get_object('o').read() == other.data
        with pytest.raises(PreconditionFailed):
            send(provider, film, condition=Condition(if_match=seen))
        assert provider.get_object('o').read() == other.data

    # -- metadata ---------------------------------------------------------------------------

    def test_metadata_changes_without_the_data_being_read(
            self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large, user_metadata={'color': 'red'})
        large.opened.clear()
        meta = meta_of(large, user_metadata=METADATA['mixed-case'], content_type='text/x-new', meta_time=LATER)
        provider.update_metadata(meta, provider.head_object('o'))
        assert large.opened == []
        head = provider.head_object('o')
        assert dict(head.user_metadata) == METADATA['mixed-case']
        assert (head.content_type, head.data_time, head.meta_time) == ('text/x-new', DATA_TIME, LATER)
        assert head.size == large.layout.size
        assert provider.get_object('o').read() == large.data
        assert provider.relation(large, head) == 'same'
        assert provider.ensure_manifest(large, meta) is False
        assert provider.comparable(head) == provider.comparable(meta)

    # -- proof ------------------------------------------------------------------------------

    def test_an_untouched_copy_is_proven(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        written = send(provider, large, user_metadata={'color': 'red'})
        meta = meta_of(large, user_metadata={'color': 'red'})
        large.opened.clear()
        assert provider.prove(meta, large=large, written=written).size == large.layout.size
        if self.proves_later:
            provider.prove(meta, large=large)
        assert large.opened == []

    def test_what_was_written_over_is_not_proven(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        written = send(provider, large)
        foreign = content(77, large.layout.size)
        # Somebody else's bytes of the same size and with the same metadata, our own keys included.
        provider.put_object('o', BytesBody(foreign), described('o', foreign))
        for evidence in (written, None):
            with pytest.raises(Unproven):
                provider.prove(meta_of(large), large=large, written=evidence)

    def test_another_version_other_metadata_or_nothing_is_no_proof(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        written = send(provider, film, user_metadata={'color': 'red'})
        for meta in (meta_of(film, user_metadata={'color': 'blue'}),
                     meta_of(film, user_metadata={'color': 'red'}, data_time=LATER)):
            with pytest.raises(Unproven):
                provider.prove(meta, large=film, written=written)
        provider.delete_object('o')
        with pytest.raises((Unproven, NotFound)):
            provider.prove(meta_of(film, user_metadata={'color': 'red'}), large=film, written=written)

    def test_other_segments_are_not_proven_by_this_copy(self, provider: BaseSync, film: MemoryLargeSource) -> None:
        send(provider, film)
        other = slo(self.segment_bytes, 3, seed=60)
        assert other.layout.size == film.layout.size
        with pytest.raises(Unproven):
            provider.prove(meta_of(other), large=other)

    # -- sources that fail ------------------------------------------------------------------

    @pytest.mark.parametrize('position', [0, 1, 2])
    @pytest.mark.parametrize('after', [0, 700])
    def test_a_source_that_breaks_off_leaves_the_old_version_whole(
            self, provider: BaseSync, film: MemoryLargeSource, position: int, after: int) -> None:
        old = slo(self.segment_bytes, 2, seed=70)
        send(provider, old, user_metadata={'color': 'red'})
        before = provider.head_object('o')
        film.broken[SEGMENTS, f'film/17/{position:08}'] = after, SourceUnavailable('the disk went away')
        with pytest.raises(SourceUnavailable):
            send(provider, film, data_time=LATER)
        self._holds(provider, old, before)
        film.broken.clear()
        send(provider, film, data_time=LATER)
        assert provider.get_object('o').read() == film.data

    @pytest.mark.parametrize('change', ['content', 'size', 'gone'])
    def test_a_segment_that_changed_leaves_the_old_version_whole(
            self, provider: BaseSync, film: MemoryLargeSource, change: str) -> None:
        old = slo(self.segment_bytes, 2, seed=70)
        send(provider, old)
        before = provider.head_object('o')
        place = SEGMENTS, 'film/17/00000002'
        if change == 'gone':
            del film.objects[place]
        else:
            film.objects[place] = content(88, self.segment_bytes - (change == 'size'))
        with pytest.raises((SegmentChanged, SourceUnavailable)):
            send(provider, film, data_time=LATER)
        self._holds(provider, old, before)

    def test_a_new_name_whose_source_breaks_off_does_not_appear(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        film.broken[SEGMENTS, 'film/17/00000002'] = 10, SourceUnavailable('the disk went away')
        with pytest.raises(SourceUnavailable):
            send(provider, film)
        with pytest.raises(NotFound):
            provider.head_object('o')
        assert names(provider) == []

    def _holds(self, provider: BaseSync, large: MemoryLargeSource, before: ObjectMeta) -> None:
        assert provider.get_object('o').read() == large.data
        head = provider.head_object('o')
        assert (head.etag, head.size, head.data_time, dict(head.user_metadata)) == (
            before.etag, before.size, before.data_time, dict(before.user_metadata))

    # -- deletes ----------------------------------------------------------------------------

    def test_a_deleted_large_object_is_gone(self, provider: BaseSync, large: MemoryLargeSource) -> None:
        send(provider, large)
        provider.delete_object('o')
        with pytest.raises(NotFound):
            provider.head_object('o')
        with pytest.raises(NotFound):
            provider.get_object('o')
        assert names(provider) == []
        # Deleting again is no error, and the name is free.
        provider.delete_object('o')
        send(provider, large, condition=ABSENT if provider.capabilities.create_only else NO_CONDITION)
        assert provider.get_object('o').read() == large.data

    def test_deleting_one_leaves_another_of_the_same_segments(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        send(provider, film, 'one')
        written = send(provider, film, 'two')
        provider.delete_object('one')
        assert provider.get_object('two').read() == film.data
        provider.prove(meta_of(film, 'two'), large=film, written=written)

    def test_overwriting_one_leaves_another_of_the_same_segments(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        send(provider, film, 'one')
        send(provider, film, 'two')
        send(provider, slo(self.segment_bytes, 2, seed=20), 'one', data_time=LATER)
        upload(provider, 'two-more', b'x')
        assert provider.get_object('two').read() == film.data
        upload(provider, 'one', b'plain', data_time=LATER)
        assert provider.get_object('two').read() == film.data
