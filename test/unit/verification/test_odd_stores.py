"""What ``swift-s3-verify`` finds out about stores that are not what they should be. Nothing is ever left in them."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from test.fakes.odd_store import OddStore
from test.unit.verification.conftest import SECRET, Ended

Verify = Callable[..., Ended]


def test_a_good_store_passes_and_is_left_as_it_was(verify_store: Verify) -> None:
    with OddStore() as store:
        ended = verify_store(store)
    assert (ended.code, ended.err) == (0, '')
    assert set(ended.outcomes.values()) == {'ok', 'skipped'}
    assert [name for name, outcome in ended.outcomes.items() if outcome == 'skipped'] == ['addressing']
    assert not store.objects and not store.uploads
    findings = ended.target['findings']
    assert {name: findings[name] for name in (
        'conditional_create', 'conditional_overwrite', 'conditional_get', 'content_md5_checked', 'checksum_trailers',
        'list_v2', 'ordered_listing', 'delete_objects', 'names_kept', 'multipart_etag_from_parts', 'path_style')} == {
        'conditional_create': True, 'conditional_overwrite': True, 'conditional_get': True,
        'content_md5_checked': True, 'checksum_trailers': 'verified', 'list_v2': True, 'ordered_listing': True,
        'delete_objects': True, 'names_kept': True, 'multipart_etag_from_parts': True, 'path_style': True}


@pytest.mark.parametrize(('quirk', 'step', 'outcome', 'finding', 'value'), [
    ('framing', 'checksum-trailers', 'warning', 'checksum_trailers', 'stored'),
    ('no-trailers', 'checksum-trailers', 'ok', 'checksum_trailers', 'refused'),
    ('unchecked-trailers', 'checksum-trailers', 'ok', 'checksum_trailers', 'ignored'),
    ('no-md5', 'content-md5', 'warning', 'content_md5_checked', False),
    ('no-conditions', 'conditional-put', 'ok', 'conditional_create', False),
    ('no-conditional-get', 'conditional-get', 'warning', 'conditional_get', False),
    ('v1', 'list-v2', 'ok', 'list_v2', False),
    ('own-order', 'list-v2', 'warning', 'ordered_listing', False),
    ('no-delete-objects', 'delete-objects', 'ok', 'delete_objects', False),
    ('collapses', 'names', 'warning', 'names_kept', False),
    ('odd-multipart-etag', 'multipart', 'warning', 'multipart_etag_from_parts', False),
    ('no-lifecycle', 'lifecycle', 'warning', 'lifecycle', False),
])
def test_a_quirk_is_found_out_and_is_no_failure(verify_store: Verify, quirk: str, step: str, outcome: str,
                                                finding: str, value: object) -> None:
    with OddStore(quirk) as store:
        ended = verify_store(store)
    assert (ended.code, ended.err) == (0, '')
    assert ended.step(step)['outcome'] == outcome
    assert ended.target['findings'][finding] == value
    assert [name for name, found in ended.outcomes.items() if found == 'warning'] == (
        [step] if outcome == 'warning' else [])
    assert not store.objects and not store.uploads


@pytest.mark.parametrize(('quirk', 'title', 'why'), [
    ('changes-bytes', 'PUT object', 'ETag'),
    ('odd-etag', 'PUT object', 'stored with ETag'),
    ('no-copy', 'update metadata', '403 Forbidden'),
    ('forgets-metadata', 'HEAD object', 'has not been kept'),
    ('lying-delete-objects', 'delete several objects at once', 'still there'),
    ('complete-fails', 'multipart upload', 'InternalError'),
    ('mixes-parts', 'multipart upload', 'not put together as they were sent'),
])
def test_what_the_daemon_needs_and_does_not_get_is_one_line_and_exit_1(verify_store: Verify, quirk: str, title: str,
                                                                       why: str) -> None:
    with OddStore(quirk) as store:
        ended = verify_store(store)
    assert ended.code == 1
    line, = ended.said
    assert line.startswith(f'swift-s3-verify: {title} failed: ') and why in line
    assert ended.target['settings'] is None
    assert not store.objects and not store.uploads


def test_a_store_that_ignores_ranges_fails_only_large_objects(verify_store: Verify) -> None:
    with OddStore('no-range') as store:
        ended = verify_store(store)
    assert ended.step('range-get')['outcome'] == 'warning'
    assert ended.step('multipart')['outcome'] == 'failed'
    assert not store.objects


def test_chunk_framing_inside_objects_is_told_with_what_to_do(verify_store: Verify) -> None:
    with OddStore('framing') as store:
        ended = verify_store(store)
    assert 'inside the object' in ended.step('checksum-trailers')['detail']
    assert any('request_checksum_calculation=when_required' in advice['why'] for advice in ended.target['advice'])


def test_conditions_decide_the_suggested_setting(verify_store: Verify) -> None:
    with OddStore('no-conditions') as store:
        assert verify_store(store).target['settings']['conditional_put'] == 'never'
    with OddStore() as store:
        assert verify_store(store).target['settings']['conditional_put'] == 'always'


def test_lifecycle_is_a_failure_when_it_is_asked_for(verify_store: Verify) -> None:
    with OddStore('no-lifecycle') as store:
        ended = verify_store(store, '--lifecycle')
    assert ended.code == 1
    assert ended.said == [line for line in ended.said if 'read the lifecycle rules failed: 403 Forbidden' in line]
    assert 's3:GetLifecycleConfiguration' in ended.err


def test_what_may_not_be_deleted_is_named_one_by_one(verify_store: Verify) -> None:
    with OddStore('no-DELETE') as store:
        ended = verify_store(store)
    assert ended.code == 1
    assert any('DELETE object failed: 403 Forbidden' in line for line in ended.said)
    named = {line.removeprefix('swift-s3-verify: left behind: ').split(' (')[0] for line in ended.said
             if 'left behind' in line}
    there = {f'bucket/{key}' for key in store.objects}
    assert there and there <= named
    assert len(ended.target['left_behind']) == len(named)


def test_an_upload_that_cannot_be_aborted_is_named(verify_store: Verify) -> None:
    with OddStore('no-abort') as store:
        ended = verify_store(store)
    assert ended.code == 1
    assert any('left behind: an unfinished upload of bucket/' in line for line in ended.said)
    assert len(store.uploads) == 1 and not store.objects


def test_a_delete_that_deletes_nothing_is_noticed(verify_store: Verify) -> None:
    with OddStore('lying-delete') as store:
        ended = verify_store(store)
    assert ended.code == 1
    assert 'DELETE object failed: the object is still there' in ended.err


def test_a_listing_that_lags_is_a_warning(verify_store: Verify) -> None:
    with OddStore('late-listing') as store:
        ended = verify_store(store)
    assert ended.code == 0
    assert ended.step('list')['outcome'] == ended.step('list-v2')['outcome'] == 'warning'


@pytest.mark.parametrize(('offset', 'outcome', 'code'), [(0.0, 'ok', 0), (-30.0, 'warning', 0), (30.0, 'warning', 0),
                                                         (400.0, 'failed', 1), (-400.0, 'failed', 1)])
def test_clocks_are_compared(verify_store: Verify, offset: float, outcome: str, code: int) -> None:
    with OddStore(clock_offset=offset) as store:
        ended = verify_store(store, '--skip', 'multipart')
    assert (ended.step('clock')['outcome'], ended.code) == (outcome, code)
    assert ended.target['findings']['clock_skew_seconds'] == pytest.approx(offset, abs=1.5)
    assert ('ahead' in ended.step('clock')['detail']) == (offset > 0)


def test_a_step_that_is_not_asked_for_is_left_out(verify_store: Verify) -> None:
    with OddStore() as store:
        ended = verify_store(store, '--skip', 'multipart,names')
    assert [n for n, outcome in ended.outcomes.items() if outcome == 'skipped'] == ['multipart', 'names', 'addressing']
    assert not any('uploads' in target for _method, target, _headers in store.seen)
    assert ended.code == 0


def test_two_runs_use_names_of_their_own(verify_store: Verify) -> None:
    with OddStore() as store:
        verify_store(store)
        first = {target.split('?')[0] for method, target, _ in store.seen if method == 'PUT'}
        store.seen.clear()
        verify_store(store)
        second = {target.split('?')[0] for method, target, _ in store.seen if method == 'PUT'}
    assert first and not first & second


@pytest.mark.parametrize(('words', 'front'), [
    ((), '/bucket/4dbbd/verify-auth/testing-%C3%AF/fabcab/cloud_sync_test-'),
    (('--prefix', 'pre'), '/bucket/pre/cloud_sync_test-'), (('--prefix', ''), '/bucket/fabcab/cloud_sync_test-')])
def test_the_names_are_the_predecessor_s(verify_store: Verify, words: tuple[str, ...], front: str) -> None:
    with OddStore() as store:
        verify_store(store, *words)
    assert next(target for method, target, _ in store.seen if method == 'PUT').startswith(front)


# -- addresses ----------------------------------------------------------------------------

@pytest.fixture
def verify_named(run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> Verify:
    """As ``verify_store``, the store being known by a name; it plays the proxy that knows where that is."""
    def call(store: OddStore, *words: str) -> Ended:
        monkeypatch.setenv('http_proxy', store.url)
        return run('--protocol', 's3', '--endpoint', 'http://store.test', '--username', 'access', '--password', SECRET,
                   '--bucket', 'bucket', '--skip', 'multipart', '--json', *words)
    return call


@pytest.mark.parametrize(('quirks', 'works'), [((), True), (('no-virtual-hosts',), False)])
def test_the_other_addressing_is_tried(verify_named: Verify, quirks: tuple[str, ...], works: bool) -> None:
    with OddStore(*quirks) as store:
        ended = verify_named(store)
    assert ended.code == 0
    assert ended.step('addressing')['outcome'] == 'ok'
    assert ended.target['findings'].items() >= {'path_style': True, 'virtual_hosts': works}.items()
    assert 'path_style' not in ended.target['settings']


def test_a_store_that_wants_virtual_hosts_is_told_apart_from_one_that_refuses(verify_named: Verify) -> None:
    with OddStore('no-path-style') as store:
        refused = verify_named(store)
        accepted = verify_named(store, '--path-style', 'no')
        assert not store.objects
    assert refused.code == 1 and 'PUT object failed: 403' in refused.err
    assert ('path_style', False) in [(a['setting'], a['value']) for a in refused.target['advice']]
    assert accepted.code == 0 and accepted.target['settings']['path_style'] is False
