"""An account as a sweep reads it: what counts as read, and what does not."""
from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.errors import AccountUnreadable, SourceEncrypted, SourceUnavailable
from s3_sync.local.account import Found, Listed, LocalAccount
from s3_sync.local.listing_app import replica_rule
from test.fakes.memory_markers import Answer

TIME = 1_600_000_000.12345
MD5 = 'd41d8cd98f00b204e9800998ecf8427e'
MANIFEST = b'[{"name": "/s/1"}]'


class Proxy:
    """Answers what ``answer`` gives for a method, path, headers and parameters."""

    def __init__(self, answer: Callable[..., Answer | Exception]) -> None:
        self._answer = answer
        self.requests: list[tuple[str, str, bool]] = []

    def request(self, method: str, path: tuple[str, ...], headers: Mapping[str, str] | None = None,
                params: Mapping[str, str] | None = None, *, normal: Collection[int] = ()) -> Answer:
        newest = 'X-Newest' in (headers or {})
        assert len(path) == 3 or headers == replica_rule('union')
        self.requests.append((method, '/'.join(path), newest))
        answer = self._answer(method, path, newest, params or {})
        if isinstance(answer, Exception):
            raise answer
        return answer


def account(answer: Callable[..., Answer | Exception]) -> tuple[LocalAccount, Proxy, FakeClock]:
    proxy, clock = Proxy(answer), FakeClock()
    return LocalAccount('AUTH_ä', proxy, clock=clock), proxy, clock  # type: ignore[arg-type]


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {'name': name, 'bytes': 0, 'hash': MD5, 'last_modified': Timestamp(TIME).isoformat,
            'content_type': 'text/plain', **changes}


def listing(*entries: dict[str, Any], missing: bool = False) -> Callable[..., Answer]:
    """One container ``c`` with these rows, in pages of two; the account lists it unless it is ``missing``."""
    def answer(method: str, path: tuple[str, ...], newest: bool, params: Mapping[str, str]) -> Answer:
        containers: list[dict[str, Any]] = [] if missing else [{'name': 'c', 'count': 1, 'bytes': 0}]
        rows = [*entries] if len(path) == 2 else containers
        page = [e for e in rows if e['name'].encode() > params.get('marker', '').encode()
                and e['name'].startswith(params.get('prefix', ''))]
        return Answer(body=json.dumps(page[:2]).encode())
    return answer


# -- listings -------------------------------------------------------------------------------


def test_containers_are_listed_to_the_end_hidden_ones_too() -> None:
    names = ['\0versions\0c', 'a', 'b', 'c+segments', '\U0001f600']

    def answer(method: str, path: tuple[str, ...], newest: bool, params: Mapping[str, str]) -> Answer:
        page = [{'name': name} for name in names if name.encode() > params['marker'].encode()]
        return Answer(body=json.dumps(page[:1]).encode())
    assert list(account(answer)[0].containers()) == names


def test_manifests_and_links_are_recognised_in_rows() -> None:
    own, other = quote('AUTH_ä'), 'AUTH_other'
    rows = [entry('00', bytes=5), entry('01', slo_etag='"x"'), entry('02', hash=f'{MD5}; slo_etag=x'),
            entry('03', symlink_path=f'/v1/{own}/c/%00o%20o/x'),
            entry('04', hash=f'{MD5}; symlink_target=c/%C3%B6; symlink_target_etag=e'),
            entry('05', hash=f'{MD5}; symlink_target=c/o; symlink_target_account={other}'),
            entry('06', symlink_path=f'/v1/{other}/c/o')]
    found = [listed for page in account(listing(*rows))[0].listing('c') for listed in page]
    assert found == [
        Listed('00', 5, MD5, TIME), Listed('01', 0, MD5, TIME, slo=True), Listed('02', 0, MD5, TIME, slo=True),
        Listed('03', 0, MD5, TIME, link=('c', '\0o o/x')), Listed('04', 0, MD5, TIME, link=('c', 'ö')),
        Listed('05', 0, MD5, TIME, link=('', '')), Listed('06', 0, MD5, TIME, link=('', ''))]


@pytest.mark.parametrize('etag', ['<unknown>', 'Zm9v; swift_meta=%7B%22cipher%22'])
def test_a_listing_that_is_still_encrypted_hides_manifests_and_counts_as_unread(etag: str) -> None:
    with pytest.raises(AccountUnreadable, match='encrypted'):
        list(account(listing(entry('o', hash=etag, bytes=9)))[0].listing('c'))


@pytest.mark.parametrize('names', ['ab', 'ba'])
def test_a_listing_that_goes_back_is_refused(names: str) -> None:
    repeated = Answer(body=json.dumps([entry(name) for name in names]).encode())
    with pytest.raises(AccountUnreadable, match='goes back'):
        list(account(lambda *_: repeated)[0].listing('c'))


def test_a_name_may_have_several_rows_and_a_container_is_read_once() -> None:
    slo = entry('m', bytes=9, slo_etag='x')
    found = [listed for page in account(listing(entry('m'), slo))[0].listing('c') for listed in page]
    assert found == [Listed('m', 0, MD5, TIME), Listed('m', 9, MD5, TIME, slo=True)]
    pages = [[{'name': 'c', 'count': 1}, {'name': 'c', 'count': 2}], []]
    assert list(account(lambda *_: Answer(body=json.dumps(pages.pop(0)).encode()))[0].containers()) == ['c']


@pytest.mark.parametrize(('missing', 'reads'), [(True, True), (False, False)])
def test_a_container_that_is_not_found_is_read_only_if_the_account_no_longer_lists_it(
        missing: bool, reads: bool) -> None:
    account_listing = listing(missing=missing)
    reader, _, _ = account(lambda method, path, newest, params: Answer(404) if len(path) == 2
                           else account_listing(method, path, newest, params))
    if reads:
        assert list(reader.listing('c')) == []
    else:
        with pytest.raises(AccountUnreadable, match='AUTH_ä/c is listed, and not found'):
            list(reader.listing('c'))


def test_an_account_that_is_not_found_cannot_be_read() -> None:
    with pytest.raises(AccountUnreadable):
        list(account(lambda *_: Answer(404))[0].containers())


@pytest.mark.parametrize('body', [b'<html>', b'[{"name": "a"'])
def test_a_listing_that_is_none_cannot_be_read(body: bytes) -> None:
    with pytest.raises(AccountUnreadable):
        list(account(lambda *_: Answer(body=body))[0].containers())


def test_a_request_is_tried_three_times_and_then_the_account_is_unreadable() -> None:
    failures = [SourceUnavailable('503'), SourceUnavailable('503')]
    reader, _, clock = account(lambda *_: failures.pop() if failures else Answer(204))
    begun = clock.now()
    assert list(reader.containers()) == []
    assert clock.now() - begun == 5
    reader, proxy, _ = account(lambda *_: SourceUnavailable('the proxy answers 503'))
    with pytest.raises(AccountUnreadable, match='503'):
        list(reader.containers())
    assert len(proxy.requests) == 3


# -- objects --------------------------------------------------------------------------------

SLO = Listed('m', 9, 'md5-of-manifest', TIME, slo=True)
EMPTY = Listed('m', 0, MD5, TIME)


def slo(etag: str = 'md5-of-manifest', data: float = TIME, **headers: str) -> Answer:
    return Answer(200, {'etag': f'"{etag}"', 'x-static-large-object': 'True',
                        'x-backend-data-timestamp': Timestamp(data).internal,
                        'x-backend-timestamp': Timestamp(TIME).internal,
                        **{k.replace('_', '-'): v for k, v in headers.items()}}, MANIFEST)


def empty(time: float = TIME, **headers: str) -> Answer:
    return Answer(200, {'x-backend-timestamp': Timestamp(time).internal,
                        **{k.replace('_', '-'): v for k, v in headers.items()}})


def only_newest(newer: Answer, older: Answer) -> Callable[..., Answer]:
    return lambda method, path, newest, params: newer if newest else older


def test_a_manifest_with_the_rows_etag_is_the_rows_version() -> None:
    reader, proxy, _ = account(lambda *_: slo(data=TIME - 5))
    assert reader.look('c', SLO) == Found(MANIFEST)
    assert proxy.requests == [('GET', 'AUTH_ä/c/m', False)]


def test_a_manifest_newer_than_its_row_counts_as_it_is() -> None:
    assert account(lambda *_: slo('other', TIME + 1))[0].look('c', SLO) == Found(MANIFEST)


def test_a_replica_that_missed_the_manifest_and_got_a_later_post_is_not_believed() -> None:
    stale = slo('older', TIME - 5)  # its newest time is the row's all the same
    reader, proxy, _ = account(only_newest(slo(), stale))
    assert reader.look('c', SLO) == Found(MANIFEST)
    assert [newest for *_, newest in proxy.requests] == [False, True]
    reader, _, _ = account(lambda method, path, newest, params: stale if len(path) == 3 else listing(entry(
        'm', bytes=9, slo_etag='x', hash='md5-of-manifest'))(method, path, newest, params))
    with pytest.raises(AccountUnreadable, match='AUTH_ä/c/m is listed, and no replica'):
        reader.look('c', SLO)


def test_an_empty_object_shows_its_dlo_header_only_when_it_is_as_new_as_its_row() -> None:
    dlo = empty(x_object_manifest='s/p')
    assert account(lambda *_: dlo)[0].look('c', EMPTY) == Found(dlo='s/p')
    assert account(only_newest(dlo, empty(TIME - 1)))[0].look('c', EMPTY) == Found(dlo='s/p')


def test_an_empty_object_that_has_become_something_else_is_read_as_that() -> None:
    reader, proxy, _ = account(lambda *_: slo(x_object_manifest='s/p'))
    assert reader.look('c', EMPTY) == Found(MANIFEST, 's/p')
    assert [method for method, *_ in proxy.requests] == ['HEAD', 'GET']
    link = empty(TIME + 1, x_symlink_target='s/%31')
    assert account(lambda *_: link)[0].look('c', EMPTY) == Found(link=('s', '1'))
    link = empty(TIME + 1, x_object_sysmeta_symlink_target='s/1', x_object_sysmeta_symlink_target_account='AUTH_b')
    assert account(lambda *_: link)[0].look('c', EMPTY) == Found(), 'it leads out of the account'


@pytest.mark.parametrize('listed', [SLO, EMPTY])
def test_an_object_deleted_since_refers_to_nothing(listed: Listed) -> None:
    buried = Answer(404, {'x-backend-timestamp': Timestamp(TIME + 1).internal})
    assert account(lambda *_: buried)[0].look('c', listed) is None
    reader, _, _ = account(lambda method, path, newest, params: Answer(404) if len(path) == 3 else listing()(
        method, path, newest, params))
    assert reader.look('c', listed) is None, 'its row is gone by now'


def test_an_object_that_no_replica_shows_and_whose_row_stays_cannot_be_read() -> None:
    reader, _, _ = account(lambda method, path, newest, params: Answer(404) if len(path) == 3 else listing(
        entry('m'), entry('m2'))(method, path, newest, params))
    with pytest.raises(AccountUnreadable, match='is listed'):
        reader.look('c', EMPTY)


def test_the_newest_of_the_rows_of_an_object_that_changes_is_looked_for() -> None:
    old, new = slo('old', TIME - 5), slo('new', TIME + 1)
    rows = [entry('m', hash='older', slo_etag='x', last_modified=Timestamp(TIME - 5).isoformat),
            entry('m', hash='new', slo_etag='x', last_modified=Timestamp(TIME + 1).isoformat)]
    answers = [old, old, old, new]
    reader, _, _ = account(lambda method, path, newest, params: answers.pop(0) if len(path) == 3
                           else listing(*rows)(method, path, newest, params))
    assert reader.look('c', SLO) == Found(MANIFEST) and not answers


def test_what_is_encrypted_cannot_be_read() -> None:
    with pytest.raises(AccountUnreadable, match='decrypt'):
        account(lambda *_: slo(x_object_sysmeta_crypto_body_meta='{}'))[0].look('c', SLO)
    with pytest.raises(AccountUnreadable):
        account(lambda *_: SourceEncrypted('cannot be decrypted here'))[0].look('c', SLO)
