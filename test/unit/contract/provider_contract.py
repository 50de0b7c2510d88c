"""What every provider promises (``s3_sync/base_sync.py``), as one class of tests.

A subclass gives the fixture ``build`` (below) and sets the flags in which its
endpoint differs; everything else is the same for memory, Swift and S3.
"""
from __future__ import annotations

import hashlib
import json
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from swift.common.utils import Timestamp

from s3_sync.base_sync import NO_CONDITION, BaseSync
from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    Forbidden,
    LimitExceeded,
    NotFound,
    NotModified,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    SourceUnavailable,
    Unsupported,
)
from s3_sync.streams import BytesBody, StreamBody
from s3_sync.timestamps import http_date
from s3_sync.types import ABSENT, Condition, ListingEntry, ObjectMeta, ShuntRequest

Build = Callable[..., BaseSync]

MEBIBYTE = 1024 ** 2
DATA_TIME = Timestamp(1_600_000_000.12345)
LATER = Timestamp(1_600_000_500.5)
FAR_FUTURE = 4_000_000_000

METADATA = {
    'plain': {'color': 'blue'},
    'mixed-case': {'color': 'Navy BLUE', 'path': 'C:\\Temp\\X'},
    'latin': {'town': 'Zürich', 'last-byte-is-a-blank-in-latin-1': 'voilà', 'and-the-first': '\xa0x\x85'},
    'astral': {'mood': '\U0001f600 ok', 'math': '\U0001d54a'},
    'replacement-character': {'odd': 'a\ufffdb'},
    'unicode-name': {'größe': 'groß', 'été': 'É', '色': '青'},
    'quotes': {'quoted': '"both" \'kinds\'', 'back': 'a\\"b', 'comma': 'a, b; c=d'},
    'percent': {'percent': '%41 %zz 100%', 'plus': 'a+b'},
    'mime-like': {'mime': '=?UTF-8?B?w6k=?='},
    'inner-spaces': {'spaced': 'a  b\tc'},
    'long': {'long': 'x' * 256},
    'dashes': {'a-b-c': '1', '1': '2'},
    'none': {},
}
LOSSY = {
    'leading-space': {'lead': ' x'},
    'trailing-space': {'trail': 'x '},
    'empty': {'empty': '', 'full': 'x'},
    'only-spaces': {'blank': '   '},
}
"""Metadata that HTTP headers do not carry whole: stores differ, but uploading must still come to rest."""

HEADERS = {'content-encoding': 'gzip', 'content-disposition': 'attachment; filename="Böse.txt"',
           'content-language': 'de-CH', 'cache-control': 'max-age=60, Private'}

AWKWARD = ['%41', 'a%2Fb', 'a//b', '//', '/lead', '//lead', 'end/', 'end//', 'new\nline', 'tab\there', '\ufffd',
           '\U0001f600', 'e\u0301 \u00e9', 'trail.', 'dots...', '.', '..', './x', 'a/../b', 'a/./b', 'q?a=b&c', 'h#x',
           'a b+c', ' lead', 'trail ', 'x;y=z', 'a\\b', '"q\'', 'ünïcode', '~-._', '*!()$@:,', '<&>']


def times(**changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': 'o', 'size': 0, 'data_time': DATA_TIME, **changes})


def described(name: str, data: bytes, **changes: Any) -> ObjectMeta:
    """A source's metadata of ``data``."""
    return times(name=name, size=len(data), etag=hashlib.md5(data, usedforsecurity=False).hexdigest(), **changes)


def upload(provider: BaseSync, name: str, data: bytes = b'data', condition: Condition = NO_CONDITION,
           **changes: Any) -> str:
    return provider.upload_object(BytesBody(data), described(name, data, **changes), condition=condition).etag


def names(provider: BaseSync, **arguments: Any) -> list[str]:
    return [entry.name for entry in entries(provider, **arguments)]


def entries(provider: BaseSync, **arguments: Any) -> list[ListingEntry]:
    """All pages."""
    found: list[ListingEntry] = []
    while True:
        page = provider.list_objects(**arguments)
        found += page.entries
        if page.next_marker is None:
            return found
        arguments['marker'] = page.next_marker


class ProviderContract:
    """A subclass has a fixture ``build``: a callable giving a new provider on a bucket made for this test.

    Its keywords: ``bucket`` (the name of one that does not exist), ``secret`` (a wrong one), ``max_connections``.
    """

    exact_names = True
    """Every name of Swift is kept as it is (SeaweedFS changes or refuses some, semantics 6.4)."""
    delete_tells = True
    """``delete_object`` knows whether something was there."""
    exact_metadata = True
    """Any Unicode in user metadata comes back (some stores refuse some of it)."""
    longest_name = 1024
    """UTF-8 bytes of the longest object name that fits, the provider's own prefixes taken off."""
    checks_bytes = True
    """The endpoint refuses bytes that do not have the checksum sent along."""
    conditional_updates = True
    """Where PUT honours If-Match, metadata updates do too."""
    refused_names: frozenset[str] = frozenset()
    """Names that this endpoint cannot hold although its kind can."""

    @pytest.fixture
    def provider(self, build: Build) -> Iterator[BaseSync]:
        provider = build()
        yield provider
        provider.close()

    # -- data -------------------------------------------------------------------------------

    @pytest.mark.parametrize('size', [0, 1, 4096, 300_001])
    def test_what_was_put_is_read_back(self, provider: BaseSync, size: int) -> None:
        data = bytes(i % 251 for i in range(size))
        meta = described('o', data, content_type='text/Plain; charset=UTF-8')
        etag = provider.put_object('o', BytesBody(data), meta).etag
        found = provider.get_object('o')
        assert found.status == 200
        assert found.read() == data
        head = provider.head_object('o')
        for told in (head, found.meta):
            assert (told.name, told.size, told.content_type) == ('o', size, 'text/Plain; charset=UTF-8')
            assert told.etag == etag
        if provider.capabilities.etag_is_md5:
            assert etag == meta.etag == head.content_md5
        else:
            assert head.content_md5 in ('', meta.etag)

    def test_overwriting_replaces_data_and_all_metadata(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'one', user_metadata={'a': '1', 'b': '2'}, headers=HEADERS)
        upload(provider, 'o', b'second', user_metadata={'b': '3'})
        found = provider.get_object('o')
        assert found.read() == b'second'
        assert dict(found.meta.user_metadata) == {'b': '3'}
        assert dict(found.meta.headers) == {}

    @pytest.mark.parametrize('asked, start, end', [
        ((0, 0), 0, 1), ((2, 5), 2, 6), ((7, None), 7, 10), ((4, 100), 4, 10), ((0, None), 0, 10)])
    def test_a_range_gives_those_bytes(self, provider: BaseSync, asked: tuple[int, int | None], start: int,
                                       end: int) -> None:
        upload(provider, 'o', b'0123456789')
        found = provider.get_object('o', byte_range=asked)
        assert found.status == 206
        assert found.content_range == f'bytes {start}-{end - 1}/10'
        assert found.read() == b'0123456789'[start:end]

    def test_a_range_beyond_the_end_is_a_permanent_error(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'0123456789')
        with pytest.raises(PermanentError):
            provider.get_object('o', byte_range=(10, None)).read()

    def test_reading_what_is_not_there_is_not_found(self, provider: BaseSync) -> None:
        with pytest.raises(NotFound):
            provider.head_object('absent')
        with pytest.raises(NotFound):
            provider.get_object('absent')
        with pytest.raises(NotFound):
            provider.get_object('absent', byte_range=(0, 1))

    def test_a_conditional_read_holds_only_for_that_version(self, provider: BaseSync) -> None:
        etag = upload(provider, 'o', b'data')
        assert provider.get_object('o', condition=Condition(if_match=etag)).read() == b'data'
        with pytest.raises(PreconditionFailed):
            provider.get_object('o', condition=Condition(if_match='0' * 32))
        with pytest.raises(NotModified):
            provider.get_object('o', condition=Condition(if_none_match=etag))
        assert provider.get_object('o', condition=Condition(if_none_match='0' * 32)).read() == b'data'

    # -- metadata -----------------------------------------------------------------------------

    @pytest.mark.parametrize('kind', METADATA)
    def test_user_metadata_comes_back_as_it_was(self, provider: BaseSync, kind: str) -> None:
        meta = described('o', b'data', user_metadata=METADATA[kind])
        if not self.exact_metadata:
            try:
                provider.upload_object(BytesBody(b'data'), meta)
            except PermanentError:
                return  # refused, and said so
        else:
            provider.upload_object(BytesBody(b'data'), meta)
        assert dict(provider.head_object('o').user_metadata) == METADATA[kind]
        found = provider.get_object('o')
        found.close()
        assert dict(found.meta.user_metadata) == METADATA[kind]

    @pytest.mark.parametrize('value', ['a\nb', 'a\r\nX-Object-Meta-Injected: b', 'a\n b', 'a\x00b'])
    def test_control_characters_are_kept_or_refused_but_never_become_headers(self, provider: BaseSync,
                                                                            value: str) -> None:
        try:
            upload(provider, 'o', user_metadata={'odd': value})
        except PermanentError:
            with pytest.raises(NotFound):
                provider.head_object('o')
        else:
            assert dict(provider.head_object('o').user_metadata) == {'odd': value}

    def test_content_headers_come_back(self, provider: BaseSync) -> None:
        headers = {**HEADERS, 'content-disposition': 'attachment; filename="x.txt"'}
        upload(provider, 'o', headers=headers, content_type='Text/HTML;charset="utf-8"')
        head = provider.head_object('o')
        assert dict(head.headers) == headers
        assert head.content_type == 'Text/HTML;charset="utf-8"'

    def test_the_source_times_come_back_exactly(self, provider: BaseSync) -> None:
        data_time = Timestamp(1_500_000_000.98765, offset=0x31535043_00000007)
        meta_time = Timestamp(1_500_000_001.00001, offset=3)
        upload(provider, 'o', data_time=data_time, meta_time=meta_time)
        head = provider.head_object('o')
        assert head.data_time is not None and head.meta_time is not None
        assert head.data_time.internal == data_time.internal
        assert head.meta_time.internal == meta_time.internal

    def test_one_time_for_data_and_metadata_counts_for_both(self, provider: BaseSync) -> None:
        upload(provider, 'o', data_time=DATA_TIME, meta_time=DATA_TIME)
        head = provider.head_object('o')
        assert head.data_time == DATA_TIME
        assert head.meta_time in (None, DATA_TIME)

    def test_our_own_keys_are_never_user_metadata(self, provider: BaseSync) -> None:
        upload(provider, 'o', user_metadata={'a': 'b'}, meta_time=LATER)
        assert dict(provider.head_object('o').user_metadata) == {'a': 'b'}

    def test_an_expiry_time_comes_back(self, provider: BaseSync) -> None:
        provider.put_object('o', BytesBody(b'data'), described('o', b'data', delete_at=FAR_FUTURE))
        assert provider.head_object('o').delete_at == FAR_FUTURE

    def test_large_metadata_is_kept_whole(self, provider: BaseSync) -> None:
        few = {f'k{i}': chr(97 + i) * 250 for i in range(16)}
        upload(provider, 'few', user_metadata=few)
        assert dict(provider.head_object('few').user_metadata) == few
        many = {f'key-{i:02}': f'v{i}' for i in range(90)}
        upload(provider, 'many', user_metadata=many)
        assert dict(provider.head_object('many').user_metadata) == many

    def test_large_metadata_leaves_nothing_behind_when_deleted(self, provider: BaseSync) -> None:
        upload(provider, 'o', user_metadata={f'k{i}': chr(97 + i) * 250 for i in range(16)})
        provider.delete_object('o')
        assert names(provider) == []

    # -- coming to rest -----------------------------------------------------------------------

    @pytest.mark.parametrize('kind', [*METADATA, *LOSSY])
    def test_after_an_upload_nothing_is_left_to_update(self, provider: BaseSync, kind: str) -> None:
        meta = described('o', b'data', user_metadata={**METADATA, **LOSSY}[kind])
        try:
            provider.upload_object(BytesBody(b'data'), meta)
        except PermanentError:
            assert not self.exact_metadata
            return
        assert provider.comparable(provider.head_object('o')) == provider.comparable(meta)

    @pytest.mark.parametrize('changes', [
        {'headers': HEADERS}, {'delete_at': FAR_FUTURE}, {'content_type': 'Application/X-Odd; a="b c"'},
        {'content_type': 'text/plain;charset=utf-8', 'headers': {'cache-control': ' No-Cache '}},
        {'headers': {'content-encoding': ''}}, {'content_type': ''}, {'content_type': ' text/x '},
    ])
    def test_after_an_upload_no_header_is_left_to_update(self, provider: BaseSync, changes: dict[str, Any]) -> None:
        meta = described('o', b'data', **changes)
        provider.upload_object(BytesBody(b'data'), meta)
        assert provider.comparable(provider.head_object('o')) == provider.comparable(meta)

    @pytest.mark.parametrize('kind', METADATA)
    def test_after_an_update_nothing_is_left_to_update(self, provider: BaseSync, kind: str) -> None:
        upload(provider, 'o', user_metadata={'old': 'x'}, headers=HEADERS)
        meta = described('o', b'data', user_metadata=METADATA[kind], meta_time=LATER, content_type='text/Other')
        try:
            provider.update_metadata(meta, provider.head_object('o'))
        except PermanentError:
            assert not self.exact_metadata
            return
        head = provider.head_object('o')
        assert provider.comparable(head) == provider.comparable(meta)
        assert head.meta_time == LATER
        assert head.data_time == DATA_TIME

    @pytest.mark.parametrize('changes', [
        {'user_metadata': {'a': 'B'}}, {'user_metadata': {'a': 'b', 'c': 'd'}}, {'user_metadata': {}},
        {'content_type': 'text/html'}, {'headers': {'cache-control': 'no-cache'}},
    ])
    def test_a_change_is_left_to_update(self, provider: BaseSync, changes: dict[str, Any]) -> None:
        base: dict[str, Any] = {'user_metadata': {'a': 'b'}, 'content_type': 'text/plain'}
        upload(provider, 'o', **base)
        changed = described('o', b'data', **{**base, **changes})
        assert provider.comparable(provider.head_object('o')) != provider.comparable(changed)

    # -- metadata changes -----------------------------------------------------------------------

    def test_post_replaces_all_metadata_and_no_data(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'data', user_metadata={'a': '1', 'b': '2'}, headers=HEADERS, content_type='a/b')
        provider.post_object('o', described('o', b'data', user_metadata={'b': '3'}, meta_time=LATER,
                                            content_type='c/D', headers={'content-language': 'en'}))
        found = provider.get_object('o')
        assert found.read() == b'data'
        assert dict(found.meta.user_metadata) == {'b': '3'}
        assert dict(found.meta.headers) == {'content-language': 'en'}
        assert found.meta.content_type == 'c/D'
        assert (found.meta.data_time, found.meta.meta_time) == (DATA_TIME, LATER)

    def test_posting_to_what_is_not_there_is_not_found(self, provider: BaseSync) -> None:
        with pytest.raises(NotFound):
            provider.post_object('absent', times())

    def test_an_update_takes_back_an_expiry(self, provider: BaseSync) -> None:
        provider.put_object('o', BytesBody(b'data'), described('o', b'data', delete_at=FAR_FUTURE))
        provider.update_metadata(described('o', b'data', meta_time=LATER), provider.head_object('o'))
        assert provider.head_object('o').delete_at is None

    def test_an_update_holds_only_for_the_version_seen(self, provider: BaseSync) -> None:
        """Where the target can promise it; elsewhere the caller looks just before."""
        upload(provider, 'o', b'old')
        seen = provider.head_object('o')
        provider.update_metadata(described('o', b'old', user_metadata={'x': 'y'}, meta_time=LATER), seen)
        assert dict(provider.head_object('o').user_metadata) == {'x': 'y'}
        upload(provider, 'o', b'new', user_metadata={'a': 'b'})
        if not (provider.capabilities.conditional_overwrite and self.conditional_updates):
            return
        with pytest.raises(PreconditionFailed):
            provider.update_metadata(described('o', b'old', user_metadata={'c': 'd'}, meta_time=LATER), seen)
        assert dict(provider.head_object('o').user_metadata) == {'a': 'b'}

    def test_large_metadata_can_be_updated(self, provider: BaseSync) -> None:
        upload(provider, 'o', user_metadata={'a': 'b'})
        large = {f'k{i}': chr(97 + i) * 250 for i in range(16)}
        provider.update_metadata(described('o', b'data', user_metadata=large, meta_time=LATER),
                                 provider.head_object('o'))
        assert dict(provider.head_object('o').user_metadata) == large
        provider.update_metadata(described('o', b'data', user_metadata={'c': 'd'}, meta_time=LATER),
                                 provider.head_object('o'))
        assert dict(provider.head_object('o').user_metadata) == {'c': 'd'}

    # -- conditions of writes -------------------------------------------------------------------

    def test_create_only_creates_once(self, provider: BaseSync) -> None:
        assert provider.capabilities.create_only
        upload(provider, 'o', b'first', condition=ABSENT)
        with pytest.raises(PreconditionFailed):
            upload(provider, 'o', b'other', condition=ABSENT)
        assert provider.get_object('o').read() == b'first'

    def test_create_only_creates_once_among_many(self, provider: BaseSync) -> None:
        def create(number: int) -> int | None:
            try:
                upload(provider, 'o', b'%d' % number, condition=ABSENT)
            except PreconditionFailed:
                return None
            return number
        with ThreadPoolExecutor(4) as pool:
            done = [number for number in pool.map(create, range(4)) if number is not None]
        assert done
        if len(done) == 1:  # Swift's object servers decide one by one, and the newest of a tie wins
            assert provider.get_object('o').read() == b'%d' % done[0]

    def test_overwriting_only_the_version_seen(self, provider: BaseSync) -> None:
        """A condition is kept or refused, never ignored."""
        first = upload(provider, 'o', b'first')
        if not provider.capabilities.conditional_overwrite:
            upload(provider, 'o', b'second')
            with pytest.raises((PreconditionFailed, Unsupported)):
                upload(provider, 'o', b'third', condition=Condition(if_match=first))
            assert provider.get_object('o').read() == b'second'
            return
        upload(provider, 'o', b'second', condition=Condition(if_match=first))
        with pytest.raises(PreconditionFailed):
            upload(provider, 'o', b'third', condition=Condition(if_match=first))
        assert provider.get_object('o').read() == b'second'
        with pytest.raises((PreconditionFailed, NotFound)):
            upload(provider, 'absent', b'x', condition=Condition(if_match=first))

    def test_deleting_only_the_version_seen(self, provider: BaseSync) -> None:
        """A condition is kept, where the store does not know it by a look just before."""
        first = upload(provider, 'o', b'first')
        second = upload(provider, 'o', b'second')
        with pytest.raises(PreconditionFailed):
            provider.delete_object('o', condition=Condition(if_match=first))
        assert provider.get_object('o').read() == b'second'
        assert provider.delete_object('o', condition=Condition(if_match=second)) is True
        assert names(provider) == []

    # -- deleting -------------------------------------------------------------------------------

    def test_deleting_is_idempotent(self, provider: BaseSync) -> None:
        upload(provider, 'o')
        assert provider.delete_object('o') is True
        with pytest.raises(NotFound):
            provider.head_object('o')
        again = provider.delete_object('o')
        if self.delete_tells:
            assert again is False

    def test_deleting_many_gives_each_name_its_outcome(self, provider: BaseSync) -> None:
        there = [f'o{i}' for i in range(5)] + ['a b', 'ü&<']
        for name in there:
            upload(provider, name)
        upload(provider, 'kept')
        outcomes = provider.delete_objects([*there, 'never'])
        assert outcomes == dict.fromkeys([*there, 'never'])
        assert names(provider) == ['kept']

    # -- listing --------------------------------------------------------------------------------

    def test_a_listing_tells_size_etag_and_time(self, provider: BaseSync) -> None:
        etag = upload(provider, 'o', b'12345')
        entry, = entries(provider)
        assert (entry.name, entry.size, entry.etag, entry.subdir) == ('o', 5, etag, False)
        assert entry.last_modified > 1_700_000_000

    def test_an_empty_listing_is_complete(self, provider: BaseSync) -> None:
        assert names(provider) == []
        assert names(provider, prefix='x', delimiter='/') == []

    def test_listings_are_in_byte_order(self, provider: BaseSync) -> None:
        wanted = ['B', 'a', 'p/e', 'p/e/1', 'p/e-1', 'z', 'é', '\uffee', '\U0001f600'] if self.exact_names else [
            'B', 'a', 'p/f', 'p/g', 'z', 'é']
        for name in wanted:
            upload(provider, name)
        found = names(provider)
        assert sorted(found) == sorted(wanted)
        if provider.capabilities.ordered_listing:
            assert found == sorted(wanted, key=str.encode)

    @pytest.mark.parametrize('limit', [1, 2, 3, 100])
    def test_pages_give_every_name_once(self, provider: BaseSync, limit: int) -> None:
        wanted = [f'n{i}' for i in range(7)]
        for name in wanted:
            upload(provider, name)
        assert len(provider.list_objects(limit=limit).entries) <= limit
        assert sorted(names(provider, limit=limit)) == wanted

    def test_a_listing_resumes_after_any_marker(self, provider: BaseSync) -> None:
        """A target that lists in an order of its own says that it cannot, instead of leaving names out."""
        for name in ('a', 'c', 'é', '\U0001f600'):
            upload(provider, name)
        if not provider.capabilities.ordered_listing:
            with pytest.raises(Unsupported):
                names(provider, marker='b')
            return
        assert names(provider, marker='a') == ['c', 'é', '\U0001f600']
        assert names(provider, marker='b') == ['c', 'é', '\U0001f600']
        assert names(provider, marker='é') == ['\U0001f600']
        assert names(provider, marker='\U0001f600') == []

    def test_prefix_and_delimiter(self, provider: BaseSync) -> None:
        for name in ('a', 'd/1', 'd/2', 'd/sub/3', 'e/4', 'f'):
            upload(provider, name)
        assert sorted(names(provider, prefix='d/')) == ['d/1', 'd/2', 'd/sub/3']
        top = entries(provider, delimiter='/')
        assert sorted((e.name, e.subdir) for e in top) == [('a', False), ('d/', True), ('e/', True), ('f', False)]
        below = entries(provider, prefix='d/', delimiter='/')
        assert sorted((e.name, e.subdir) for e in below) == [('d/1', False), ('d/2', False), ('d/sub/', True)]

    @pytest.mark.parametrize('limit', [1, 2])
    def test_delimited_pages_give_every_name_once(self, provider: BaseSync, limit: int) -> None:
        for name in ('a', 'd/1', 'd/2', 'e/4', 'f'):
            upload(provider, name)
        assert sorted(names(provider, delimiter='/', limit=limit)) == ['a', 'd/', 'e/', 'f']

    def test_buckets_are_listed(self, provider: BaseSync) -> None:
        mine = provider.location().split(';')
        marker: str | None = ''
        found: list[str] = []
        while marker is not None:
            page = provider.list_buckets(marker=marker)
            found += [entry.name for entry in page.entries]
            marker = page.next_marker
        assert found == sorted(set(found), key=str.encode)
        assert any(name in mine for name in found)

    # -- awkward names ----------------------------------------------------------------------------

    @pytest.mark.parametrize('name', AWKWARD)
    def test_an_awkward_name_is_kept_or_refused(self, provider: BaseSync, name: str) -> None:
        if name in self.refused_names:
            with pytest.raises(ProviderError):
                upload(provider, name)
            return
        try:
            upload(provider, name, name.encode(), user_metadata={'a': 'b'})
        except PermanentError:
            assert not self.exact_names
            return
        if not self.exact_names:
            return
        assert provider.head_object(name).name == name
        assert provider.get_object(name).read() == name.encode()
        assert names(provider) == [name]
        assert names(provider, prefix=name) == [name]
        provider.update_metadata(described(name, name.encode(), user_metadata={'c': 'd'}, meta_time=LATER),
                                 provider.head_object(name))
        assert dict(provider.head_object(name).user_metadata) == {'c': 'd'}
        assert provider.delete_object(name) is True
        assert names(provider) == []

    def test_awkward_names_do_not_meet(self, provider: BaseSync) -> None:
        kept = []
        for name in AWKWARD:
            if name in self.refused_names:
                continue
            try:
                upload(provider, name, name.encode())
                kept.append(name)
            except PermanentError:
                assert not self.exact_names, name
        assert kept
        for name in kept:
            assert provider.get_object(name).read() == name.encode()
        if self.exact_names:
            assert names(provider, limit=5) == sorted(kept, key=str.encode)
            assert provider.delete_objects(kept) == dict.fromkeys(kept)
            assert names(provider) == []

    def test_the_longest_name_fits(self, provider: BaseSync) -> None:
        name = 'ü/' * 300 + 'x' * (self.longest_name - 900) if self.exact_names else '/'.join(
            ['x' * 99] * 10)[:self.longest_name]
        upload(provider, name)
        assert provider.head_object(name).size == 4
        assert names(provider) == [name]

    # -- what goes wrong --------------------------------------------------------------------------

    def test_too_long_a_name_is_refused_before_sending(self, provider: BaseSync) -> None:
        body = Watched(b'data')
        with pytest.raises(LimitExceeded):
            provider.upload_object(body, described('x' * 1025, b'data'))
        with pytest.raises(LimitExceeded):
            provider.check_upload(described('x' * 1025, b'data'), 4)
        assert not body.read
        assert names(provider) == []

    def test_too_large_an_object_is_refused_before_sending(self, provider: BaseSync) -> None:
        body = Watched(b'data')
        body.size = provider.capabilities.max_put_bytes + 1
        with pytest.raises(LimitExceeded):
            provider.upload_object(body, times(name='o', size=body.size, etag='0' * 32))
        with pytest.raises(LimitExceeded):
            provider.check_upload(times(name='o', size=body.size, etag='0' * 32), body.size)
        assert not body.read

    def test_impossible_metadata_is_refused_before_sending(self, provider: BaseSync) -> None:
        count = provider.capabilities.max_metadata_count
        if count is None:
            many = {f'key{i}': 'v' for i in range(200)}
            provider.upload_object(BytesBody(b'data'), described('o', b'data', user_metadata=many))
            assert dict(provider.head_object('o').user_metadata) == many
            return
        body = Watched(b'data')
        meta = described('o', b'data', user_metadata={f'key{i}': 'v' for i in range(count + 1)})
        with pytest.raises(LimitExceeded):
            provider.check_upload(meta, 4)
        with pytest.raises(LimitExceeded) as caught:
            provider.upload_object(body, meta)
        assert caught.value.reason == 'metadata-too-large'
        assert not body.read
        assert names(provider) == []

    def test_checking_an_upload_sends_and_refuses_nothing_that_fits(self, provider: BaseSync) -> None:
        provider.check_upload(described('o', b'data', user_metadata={'a': 'b'}), 4)
        assert names(provider) == []

    def test_a_missing_bucket_is_told_from_a_missing_object(self, build: Build) -> None:
        provider = build(bucket='absent-' + uuid.uuid4().hex[:8])
        try:
            with pytest.raises(BucketNotFound):
                provider.head_bucket()
            with pytest.raises(BucketNotFound):
                provider.list_objects()
            with pytest.raises(BucketNotFound):
                upload(provider, 'o')
            with pytest.raises(BucketNotFound):
                upload(provider, 'o', condition=ABSENT)
            with pytest.raises(NotFound):
                provider.head_object('o')
            with suppress(NotFound):
                assert provider.delete_object('o') is False or not self.delete_tells
        finally:
            provider.close()

    def test_wrong_bytes_store_nothing(self, provider: BaseSync) -> None:
        with pytest.raises(ChecksumMismatch):
            provider.upload_object(BytesBody(b'other'), described('o', b'wrong'))
        if not self.checks_bytes:
            return  # noticed by the answer's ETag, too late to keep it out
        with pytest.raises(NotFound):
            provider.head_object('o')
        upload(provider, 'o', b'fine')
        with pytest.raises(ChecksumMismatch):
            provider.upload_object(BytesBody(b'other'), described('o', b'wrong'))
        assert provider.get_object('o').read() == b'fine'

    def test_a_corrupt_source_stores_nothing(self, provider: BaseSync) -> None:
        data = b'x' * 70_000
        body = StreamBody(lambda: iter([data[:65_536], b'y' * (70_000 - 65_536)]), 70_000, described('o', data).etag)
        with pytest.raises(SourceUnavailable):
            provider.upload_object(body, described('o', data))
        with pytest.raises(NotFound):
            provider.head_object('o')
        assert upload(provider, 'o')  # and the provider is still of use

    @pytest.mark.parametrize('error', [SourceUnavailable('gone half-way'), ConnectionResetError('local disk'),
                                       TimeoutError()])
    def test_a_body_that_fails_half_way_stores_nothing_and_its_error_stays_its_own(
            self, provider: BaseSync, error: Exception) -> None:
        def broken() -> Iterator[bytes]:
            yield b'x' * 65_536
            raise error
        body = StreamBody(broken, 300_000)
        with pytest.raises(type(error)) as caught:
            provider.upload_object(body, times(name='o', size=300_000, etag='0' * 32))
        assert caught.value is error
        with pytest.raises(NotFound):
            provider.head_object('o')
        assert upload(provider, 'o')

    def test_the_same_body_can_be_sent_again_after_a_failure(self, provider: BaseSync) -> None:
        data = b'abc' * 50_000
        tries = []

        def flaky() -> Iterator[bytes]:
            tries.append(1)
            yield data[:65_536]
            if len(tries) == 1:
                raise SourceUnavailable('first time')
            yield data[65_536:]
        body = StreamBody(flaky, len(data))
        meta = described('o', data)
        with pytest.raises(SourceUnavailable):
            provider.upload_object(body, meta)
        body.rewind()
        provider.upload_object(body, meta)
        body.close()
        assert provider.get_object('o').read() == data

    def test_wrong_credentials_are_forbidden(self, build: Build) -> None:
        provider = build(secret='wrong-' + uuid.uuid4().hex)
        try:
            for attempt in (lambda: provider.list_objects(), lambda: provider.head_object('o'),
                            lambda: upload(provider, 'o'), lambda: provider.head_bucket()):
                with pytest.raises(Forbidden):
                    attempt()
        finally:
            provider.close()

    def test_nobody_listening_is_temporary(self, build: Build) -> None:
        provider = build(endpoint='http://127.0.0.1:9/auth/v1.0')
        try:
            with pytest.raises(ProviderError) as caught:
                provider.head_object('o')
            assert caught.value.reason == 'connection'
        finally:
            provider.close()

    # -- streams and connections ---------------------------------------------------------------------

    def test_a_large_body_streams_both_ways_in_bounded_memory(self, provider: BaseSync) -> None:
        block = bytes(range(256)) * 256
        whole = hashlib.md5(usedforsecurity=False)
        for _ in range(320):
            whole.update(block)
        body = StreamBody(lambda: (block for _ in range(320)), 20 * MEBIBYTE)
        meta = times(name='big', size=20 * MEBIBYTE, etag=whole.hexdigest())
        upload(provider, 'warm')
        tracemalloc.start()
        try:
            provider.upload_object(body, meta)
            digest = hashlib.md5(usedforsecurity=False)
            for chunk in provider.get_object('big'):
                digest.update(chunk)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert digest.hexdigest() == whole.hexdigest()
        assert peak < 6 * MEBIBYTE

    def test_closing_without_reading_frees_the_connection(self, build: Build) -> None:
        provider = build(max_connections=1)
        upload(provider, 'o', b'x' * 600_000)

        def open_and_close() -> None:
            for _ in range(3):
                found = provider.get_object('o')
                found.close()
                found = provider.get_object('o')
                next(iter(found))
                found.close()
                found.close()
            for _ in range(3):
                assert len(provider.get_object('o').read()) == 600_000
            provider.shunt_object(ShuntRequest('GET', 'o')).close()
            assert provider.head_object('o').size == 600_000
        assert finishes(open_and_close)
        provider.close()

    def test_failures_free_their_connections(self, build: Build) -> None:
        provider = build(max_connections=1)

        def fail_often() -> None:
            for _ in range(3):
                with pytest.raises(NotFound):
                    provider.get_object('absent')
                with pytest.raises(ChecksumMismatch):
                    provider.upload_object(BytesBody(b'other'), described('o', b'wrong'))
                with pytest.raises(SourceUnavailable):
                    provider.upload_object(StreamBody(lambda: iter([b'x']), 9), times(name='o', size=9, etag='0' * 32))
                provider.shunt_object(ShuntRequest('GET', 'absent')).close()
        assert finishes(fail_often)
        provider.close()

    def test_one_provider_serves_many_threads(self, provider: BaseSync) -> None:
        def work(number: int) -> bool:
            data = b'%d' % number * 1000
            name = f'o{number}'
            upload(provider, name, data, user_metadata={'number': str(number)})
            found = provider.get_object(name)
            return found.read() == data and dict(found.meta.user_metadata) == {'number': str(number)}
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(40)))
        assert len(names(provider)) == 40

    # -- account and bucket ---------------------------------------------------------------------------

    def test_head_account_and_bucket_answer_headers(self, provider: BaseSync) -> None:
        for headers in (provider.head_account(), provider.head_bucket()):
            assert all(name == name.lower() and isinstance(value, str) for name, value in headers.items())

    def test_location_is_text_with_the_bucket_and_without_secrets(self, provider: BaseSync) -> None:
        assert ';' in provider.location()
        assert 'elsewhere' in provider.location(bucket='elsewhere')

    # -- on behalf of a client --------------------------------------------------------------------------

    def ask(self, provider: BaseSync, method: str, key: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        answer = provider.shunt_object(ShuntRequest(method, key, {k.replace('_', '-'): v for k, v in headers.items()}))
        try:
            return answer.status, dict(answer.headers), b''.join(answer.body)
        finally:
            answer.close()

    def test_a_client_sees_the_object_without_our_keys(self, provider: BaseSync) -> None:
        etag = upload(provider, 'o', b'0123456789', user_metadata={'color': 'Blue ü'}, meta_time=LATER,
                      headers={'cache-control': 'no-cache'}, content_type='text/X')
        for method, body in (('GET', b'0123456789'), ('HEAD', b'')):
            status, headers, data = self.ask(provider, method, 'o')
            assert (status, data) == (200, body)
            assert headers['content-length'] == '10'
            assert headers['etag'].strip('"') == etag
            assert headers['content-type'] == 'text/X'
            assert headers['x-object-meta-color'] == 'Blue ü'
            assert headers['cache-control'] == 'no-cache'
            assert 'last-modified' in headers
            assert all(name == name.lower() for name in headers)
            assert not [name for name in headers if '1space' in name]
            assert not headers.keys() & {'connection', 'transfer-encoding', 'x-amz-id-2', 'x-amz-request-id',
                                         'x-trans-id', 'x-openstack-request-id', 'date', 'server'}

    def test_a_client_s_range_and_conditions_keep_their_meaning(self, provider: BaseSync) -> None:
        etag = upload(provider, 'o', b'0123456789')
        status, headers, data = self.ask(provider, 'GET', 'o', Range='bytes=2-4')
        assert (status, data, headers['content-range'], headers['content-length']) == (206, b'234', 'bytes 2-4/10', '3')
        assert self.ask(provider, 'GET', 'o', Range='bytes=-3')[2] == b'789'
        assert self.ask(provider, 'GET', 'o', Range='bytes=20-')[0] == 416
        assert self.ask(provider, 'GET', 'o', If_None_Match=f'"{etag}"')[::2] == (304, b'')
        assert self.ask(provider, 'HEAD', 'o', If_None_Match=etag)[0] == 304
        assert self.ask(provider, 'GET', 'o', If_None_Match='"other"')[0] == 200
        assert self.ask(provider, 'GET', 'o', If_Match=f'"{etag}"')[::2] == (200, b'0123456789')
        assert self.ask(provider, 'GET', 'o', If_Match='"other"')[0] == 412
        assert self.ask(provider, 'GET', 'o', If_Modified_Since='Fri, 01 Jan 2100 00:00:00 GMT')[0] in (200, 304)
        assert self.ask(provider, 'GET', 'o', If_Modified_Since='Thu, 01 Jan 2015 00:00:00 GMT')[0] == 200
        assert self.ask(provider, 'GET', 'o', If_Unmodified_Since='Thu, 01 Jan 2015 00:00:00 GMT')[0] == 412

    def test_a_client_s_copy_has_the_times_and_the_end_of_its_source(self, provider: BaseSync) -> None:
        upload(provider, 'data', b'0123456789', delete_at=FAR_FUTURE)
        upload(provider, 'posted', b'0123456789', meta_time=LATER)
        for name, newest in (('data', DATA_TIME), ('posted', LATER)):
            for method, asked in (('GET', {}), ('HEAD', {}), ('GET', {'Range': 'bytes=1-2'})):
                headers = self.ask(provider, method, name, **asked)[1]
                assert headers['x-timestamp'] == newest.normal
                assert headers['last-modified'] == http_date(newest.ceil())
                assert headers.get('x-delete-at') == (str(FAR_FUTURE) if name == 'data' else None)
                assert 'x-static-large-object' not in headers
                assert not headers['etag'].startswith('"'), 'Swift quotes the ETags of large objects only'

    def test_a_client_s_conditions_are_judged_by_the_source_s_time(self, provider: BaseSync) -> None:
        """The store's own Last-Modified is when the copy came."""
        upload(provider, 'o', b'0123456789')
        day_after = http_date(float(DATA_TIME) + 86_400)
        assert self.ask(provider, 'GET', 'o', If_Modified_Since=day_after)[::2] == (304, b'')
        assert self.ask(provider, 'HEAD', 'o', If_Modified_Since=day_after)[0] == 304
        assert self.ask(provider, 'GET', 'o', If_Unmodified_Since=day_after)[::2] == (200, b'0123456789')
        assert self.ask(provider, 'GET', 'o', If_Match='"other"', Range='bytes=0-1')[::2] == (412, b'')

    def test_an_answer_tells_what_a_head_would(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'0123456789', user_metadata=METADATA['latin'], meta_time=LATER, headers=HEADERS,
               delete_at=FAR_FUTURE)
        head = provider.head_object('o')
        for method, asked, status in (('GET', {}, 200), ('HEAD', {}, 200), ('GET', {'range': 'bytes=3-4'}, 206)):
            answer = provider.shunt_object(ShuntRequest(method, 'o', asked))
            answer.close()
            assert answer.status == status
            for field in ('name', 'size', 'etag', 'content_type', 'headers', 'user_metadata', 'data_time', 'meta_time',
                          'delete_at', 'last_modified', 'source_etag', 'large_object', 'etag_is_md5'):
                assert getattr(answer.meta, field) == getattr(head, field), field
        assert provider.shunt_object(ShuntRequest('GET', 'absent')).meta is None

    def test_several_ranges_are_the_whole_object(self, provider: BaseSync) -> None:
        """Stores differ in what they make of them; whoever wants several cuts them out itself."""
        upload(provider, 'o', b'0123456789')
        assert self.ask(provider, 'GET', 'o', Range='bytes=0-1,4-5')[::2] == (200, b'0123456789')
        assert self.ask(provider, 'HEAD', 'o', Range='bytes=0-1')[0] == 200

    def test_manifests_and_parts_of_an_ordinary_object_are_the_object(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'0123456789')
        for query in ({'multipart-manifest': 'get'}, {'part-number': '1'}):
            answer = provider.shunt_object(ShuntRequest('GET', 'o', query=query))
            assert (answer.status, b''.join(answer.body)) == (200, b'0123456789')
            answer.close()

    def test_a_container_is_listed_as_swift_does_or_not_at_all(self, provider: BaseSync) -> None:
        for name in ('a', 'd/1', 'd/2', 'e', 'é'):
            upload(provider, name)

        def listed(**query: str) -> list[str]:
            answer = provider.shunt_object(ShuntRequest('GET', '', query=query))
            assert answer.status == 200
            entries = json.loads(b''.join(answer.body))
            answer.close()
            return [entry.get('name') or entry['subdir'] for entry in entries]
        if not provider.capabilities.native_listing:
            assert provider.shunt_object(ShuntRequest('GET', '')).status == 405
            return
        assert listed() == ['a', 'd/1', 'd/2', 'e', 'é']
        assert listed(format='xml') == ['a', 'd/1', 'd/2', 'e', 'é']
        assert listed(reverse='true', limit='2') == ['é', 'e']
        assert listed(marker='a', end_marker='e', delimiter='/') == ['d/']
        assert listed(prefix='d/', limit='1') == ['d/1']
        assert listed(path='d') == ['d/1', 'd/2']
        assert listed(marker='é') == []
        answer = provider.shunt_object(ShuntRequest('HEAD', ''))
        assert (answer.status, b''.join(answer.body)) in ((200, b''), (204, b''))
        assert 'x-container-object-count' in answer.headers
        assert provider.shunt_object(ShuntRequest('GET', '', query={'limit': '1000000'})).status == 412

    def test_a_missing_container_answers_404_or_not_at_all(self, build: Build) -> None:
        provider = build(bucket='missing-' + uuid.uuid4().hex[:8])
        for method in ('GET', 'HEAD'):
            answer = provider.shunt_object(ShuntRequest(method, ''))
            assert answer.status == (404 if provider.capabilities.native_listing else 405)
            answer.close()
            assert provider.shunt_object(ShuntRequest(method, 'o')).status == 404
        provider.close()

    def test_nothing_a_client_sends_beyond_the_list_reaches_the_remote(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'data')
        assert self.ask(provider, 'GET', 'o', X_Auth_Token='client-token', Authorization='Basic eDp5',
                        Cookie='a=b')[0] == 200

    def test_what_is_not_there_answers_404_to_a_client(self, provider: BaseSync) -> None:
        assert self.ask(provider, 'GET', 'absent')[0] == 404
        assert self.ask(provider, 'HEAD', 'absent')[0] == 404
        assert provider.shunt_delete(ShuntRequest('DELETE', 'absent')).status in (204, 404)
        assert provider.shunt_post(ShuntRequest('POST', 'absent', {'X-Object-Meta-A': 'b'})).status == 404

    def test_a_client_s_post_and_delete_act(self, provider: BaseSync) -> None:
        upload(provider, 'o', b'data', user_metadata={'a': '1'}, content_type='text/X')
        answer = provider.shunt_post(ShuntRequest('POST', 'o', {'X-Object-Meta-B': 'Two ü', 'X-Auth-Token': 'x'}))
        assert answer.status in (200, 202, 204)
        answer.close()
        head = provider.head_object('o')
        assert dict(head.user_metadata) == {'b': 'Two ü'}
        assert head.content_type == 'text/X'
        assert head.data_time == DATA_TIME
        assert provider.get_object('o').read() == b'data'
        answer = provider.shunt_delete(ShuntRequest('DELETE', 'o'))
        assert answer.status == 204
        answer.close()
        assert names(provider) == []


class Watched(BytesBody):
    """Tells whether anything of it was read."""

    read = False

    def __iter__(self) -> Iterator[bytes]:
        self.read = True
        return super().__iter__()


def finishes(action: Callable[[], None], seconds: float = 30) -> bool:
    """Run in a thread, so that a leaked connection is a failure and not a hanging test run."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    return not thread.is_alive()
