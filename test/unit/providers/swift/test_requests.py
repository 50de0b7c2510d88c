"""How the Swift provider takes answers: statuses, broken listings, dying tokens."""
from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import pytest
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionFailed,
    Forbidden,
    LimitExceeded,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    TemporaryError,
    Throttled,
    Unsupported,
)
from s3_sync.large_objects.model import Piece
from s3_sync.streams import Body, BytesBody
from s3_sync.sync_swift import SyncSwift
from s3_sync.types import ABSENT, Condition, ObjectMeta, ShuntRequest
from test.fakes.large_source import MemoryLargeSource, segment
from test.fakes.scripted_swift import Reply, Script, ScriptedSwift, Seen
from test.unit.contract.provider_contract import described, names, upload

Make = Callable[..., tuple[SyncSwift, ScriptedSwift]]


def stored(seen: Seen) -> Reply:
    """A store that takes everything."""
    if seen.method == 'PUT':
        return Reply(201, {'ETag': hashlib.md5(seen.body, usedforsecurity=False).hexdigest()})
    return Reply(204)


def mapping(server: ScriptedSwift, remote: dict[str, Any] | None = None, **keys: Any) -> Mapping:
    return Mapping.model_validate({'account': 'AUTH_local', 'container': 'c', **keys, 'remote': Remote.model_validate({
        'protocol': 'swift', 'endpoint': server.url + '/auth/v1.0', 'identity': 'test:tester', 'bucket': 'target',
        'secret': Secret('hush-hush'), **(remote or {})})})


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as stack:
        def build(script: Script = stored, *, clock: FakeClock | None = None, remote: dict[str, Any] | None = None,
                  container: str = 'c', **keys: Any) -> tuple[SyncSwift, ScriptedSwift]:
            server = stack.enter_context(ScriptedSwift(script))
            settings = mapping(server, remote, container=container, **keys).for_container('c')
            provider = SyncSwift(settings, clock=clock)
            stack.callback(provider.close)
            return provider, server
        yield build


# -- statuses ---------------------------------------------------------------------------------

@pytest.mark.parametrize('status, kind, reason', [
    (400, PermanentError, 'rejected'), (403, Forbidden, 'forbidden'), (405, Unsupported, 'unsupported'),
    (408, TemporaryError, 'timeout'), (409, TemporaryError, 'conflict'), (412, PreconditionFailed, None),
    (413, LimitExceeded, 'too-large'), (422, ChecksumMismatch, 'checksum'), (429, Throttled, 'throttled'),
    (498, Throttled, 'throttled'), (500, TemporaryError, 'server-error'), (503, Throttled, 'throttled'),
    (507, TemporaryError, 'storage-full'), (404, BucketNotFound, 'bucket-not-found'),
    (202, TemporaryError, 'conflict')])
def test_every_status_of_a_put_has_its_meaning(make: Make, status: int, kind: type[ProviderError],
                                               reason: str | None) -> None:
    provider, _ = make(lambda seen: Reply(status, body=b'<html><h1>Oh</h1><p>no &amp; no</p></html>'))
    with pytest.raises(kind) as caught:
        upload(provider, 'o')
    assert caught.value.status == status
    assert reason is None or caught.value.reason == reason
    assert isinstance(caught.value, PermanentError) == (kind in (PermanentError, LimitExceeded, Unsupported))


@pytest.mark.parametrize('call', [
    lambda p: p.post_object('o', described('o', b'')), lambda p: p.update_metadata(described('o', b''), remote()),
    lambda p: p.delete_object('o'), lambda p: p.list_objects(), lambda p: p.head_object('o'),
    lambda p: p.apply_container({'x-container-meta-a': 'b'}), lambda p: p.get_object('o'),
    lambda p: p.head_account(), lambda p: p.list_buckets(), lambda p: p.shunt_object(ShuntRequest('GET', 'o'))])
def test_no_operation_takes_a_failure_for_a_success(make: Make, call: Callable[[SyncSwift], object]) -> None:
    provider, _ = make(lambda seen: Reply(500), sync_container_metadata=True)
    with pytest.raises(TemporaryError):
        call(provider)


def remote() -> ObjectMeta:
    return ObjectMeta('o', 0, etag='x')


def test_retry_after_is_told_as_seconds(make: Make) -> None:
    provider, _ = make(lambda seen: Reply(503, {'Retry-After': '17'}))
    with pytest.raises(Throttled) as caught:
        upload(provider, 'o')
    assert caught.value.retry_after == 17
    clock = FakeClock(1_700_000_000.0)
    provider, _ = make(lambda seen: Reply(503, {'Retry-After': 'Tue, 14 Nov 2023 22:14:20 GMT'}), clock=clock)
    with pytest.raises(Throttled) as caught:
        provider.head_bucket()
    assert caught.value.retry_after == 60


def test_a_quota_is_told_as_one(make: Make) -> None:
    provider, _ = make(lambda seen: Reply(413, body=b'Upload exceeds quota.'))
    with pytest.raises(LimitExceeded) as caught:
        upload(provider, 'o')
    assert caught.value.reason == 'quota'


def test_an_answer_with_another_etag_is_a_checksum_mismatch(make: Make) -> None:
    provider, server = make(lambda seen: Reply(201, {'ETag': '0' * 32}))
    with pytest.raises(ChecksumMismatch):
        upload(provider, 'o')
    with pytest.raises(ChecksumMismatch):  # also when the source's MD5 is unknown and ours decides
        provider.upload_object(BytesBody(b'data'), ObjectMeta('o', 4))
    assert server.requests('PUT')[0].headers['etag'] == hashlib.md5(b'data', usedforsecurity=False).hexdigest()
    assert 'etag' not in server.requests('PUT')[1].headers


def test_conditions_that_swift_does_not_know_are_refused_not_ignored(make: Make) -> None:
    provider, server = make()
    seen = Condition(if_match='0' * 32)
    for write in (lambda: upload(provider, 'o', condition=seen), lambda: provider.delete_object('o', condition=ABSENT),
                  lambda: provider.post_object('o', remote(), condition=seen)):
        with pytest.raises(Unsupported):
            write()
    assert server.seen == []
    upload(provider, 'o', condition=ABSENT)
    assert server.seen[0].headers['if-none-match'] == '*'


# -- listings ---------------------------------------------------------------------------------

def test_a_listing_ends_only_with_an_empty_page(make: Make) -> None:
    pages = [b'[{"name": "a", "bytes": 1, "hash": "x"}]', b'[{"name": "b"}, {"name": "c"}]', b'[]']
    provider, server = make(lambda seen: Reply(200, body=pages.pop(0)))
    assert names(provider) == ['a', 'b', 'c']
    assert ['marker' in seen.path for seen in server.seen] == [False, True, True]


@pytest.mark.parametrize('document', [b'[{"name": "a"', b'<html>ok</html>', b'{}', b'["a"]', b'[{}]'])
def test_a_cut_or_foreign_listing_is_a_failure_never_an_empty_one(make: Make, document: bytes) -> None:
    provider, _ = make(lambda seen: Reply(200, body=document))
    with pytest.raises(TemporaryError) as caught:
        provider.list_objects()
    assert caught.value.reason == 'listing'


def test_a_listing_whose_connection_breaks_is_a_failure(make: Make) -> None:
    provider, _ = make(lambda seen: Reply(200, {'Content-Length': '1000', 'Connection': 'close'}, b'[{"name": "a"}'))
    with pytest.raises(ConnectionFailed):
        provider.list_objects()


# -- tokens -----------------------------------------------------------------------------------

def test_one_login_serves_many_requests(make: Make) -> None:
    provider, server = make()
    for number in range(5):
        upload(provider, f'o{number}')
    assert server.logins == 1


def test_a_token_that_dies_early_is_renewed_once_and_the_request_repeated(make: Make) -> None:
    provider, server = make()
    upload(provider, 'o', b'one')
    server.valid_token = 'lost'
    upload(provider, 'o', b'two' * 50_000)
    assert server.logins == 2
    assert server.seen[-1].body == b'two' * 50_000


def test_many_threads_that_find_the_token_dead_log_in_once(make: Make) -> None:
    provider, server = make()
    upload(provider, 'o')
    server.valid_token = 'lost'
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: upload(provider, f'o{number}'), range(8)))
    assert server.logins == 2


def test_a_token_that_never_works_is_forbidden_not_a_loop(make: Make) -> None:
    provider, server = make(lambda seen: Reply(401))
    with pytest.raises(Forbidden):
        upload(provider, 'o')
    assert server.logins == 2


def test_a_token_is_renewed_before_it_expires(make: Make) -> None:
    clock = FakeClock(time.time())
    provider, server = make(clock=clock)
    server.token_seconds = 3600
    upload(provider, 'o')
    clock.advance(3500)
    upload(provider, 'o')
    assert server.logins == 1
    clock.advance(60)
    upload(provider, 'o')
    assert server.logins == 2


def test_a_token_that_still_lives_is_used_while_the_login_service_is_down(make: Make) -> None:
    clock = FakeClock(time.time())
    provider, server = make(clock=clock)
    server.token_seconds = 3600
    upload(provider, 'o')
    server.login_reply = Reply(503)
    clock.advance(3560)
    upload(provider, 'o')
    clock.advance(60)
    with pytest.raises(TemporaryError):
        upload(provider, 'o')


@pytest.mark.parametrize('status, kind', [(401, Forbidden), (403, Forbidden), (404, PermanentError),
                                          (500, TemporaryError), (503, TemporaryError)])
def test_a_login_that_fails_says_why_and_shows_no_secret(make: Make, status: int, kind: type[ProviderError]) -> None:
    provider, server = make()
    server.login_reply = Reply(status, body=b'hush-hush')
    with pytest.raises(kind) as caught:
        upload(provider, 'o')
    assert not isinstance(caught.value, NotFound)  # nothing is known of the object
    assert 'hush' not in str(caught.value) + repr(caught.value)


def test_a_login_without_a_storage_url_is_refused(make: Make) -> None:
    provider, server = make()
    server.login_reply = Reply(200, {'X-Auth-Token': 'x'}, b'Welcome!')
    with pytest.raises(PermanentError) as caught:
        provider.head_bucket()
    assert caught.value.reason == 'login'


def test_the_remote_account_replaces_the_path_and_stays_after_renewal(make: Make) -> None:
    provider, server = make(remote={'remote_account': 'AUTH_other ü'})
    upload(provider, 'o')
    server.valid_token = 'lost'
    upload(provider, 'o')
    assert {seen.path for seen in server.seen} == {'/v1/AUTH_other%20%C3%BC/target/o'}


def test_no_token_is_ever_shown(make: Make) -> None:
    provider, _ = make()
    upload(provider, 'o')
    access = provider._client._login.access()
    assert 'token' not in repr(access)


# -- settings ---------------------------------------------------------------------------------

def test_limits_are_those_the_cluster_tells(make: Make) -> None:
    provider, server = make()
    server.info = b'{"swift": {"max_meta_count": 3, "max_object_name_length": 10, "max_file_size": 5}}'
    upload(provider, 'o', user_metadata={'a': '1', 'b': '2'})
    for changes in ({'user_metadata': dict.fromkeys('abcd', 'x')}, {'name': 'x' * 11}, {'data': b'123456'}):
        with pytest.raises(LimitExceeded):
            upload(provider, **{'name': 'o', **changes})  # type: ignore[arg-type]
    assert len(server.requests('PUT')) == 1


def test_containers_of_an_account_mapping_are_created_with_their_policy(make: Make) -> None:
    made: list[Seen] = []

    def script(seen: Seen) -> Reply:
        if seen.path == '/v1/AUTH_test/pre-c':
            made.append(seen)
            return Reply(201)
        return stored(seen) if made else Reply(404)
    provider, server = make(script, container='/*', remote={'bucket': 'pre-'}, storage_policy='silver')
    upload(provider, 'o', b'x' * 200_000)
    upload(provider, 'p')
    assert [seen.headers['x-storage-policy'] for seen in made] == ['silver']
    assert server.requests('PUT')[-1].path == '/v1/AUTH_test/pre-c/p'


def test_container_acls_travel_only_with_container_metadata(make: Make) -> None:
    headers = {'x-container-meta-a': 'b', 'x-container-meta-gone': '', 'x-container-read': '.r:*', 'other': 'x'}
    metadata = {'x-container-meta-a', 'x-container-meta-gone'}
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({}, set()), ({'sync_container_metadata': True}, metadata),
        ({'sync_container_metadata': True, 'sync_container_acl': True}, metadata | {'x-container-read'})]
    for keys, sent in cases:
        provider, server = make(**keys)
        provider.apply_container(headers)
        assert {k for seen in server.seen for k in seen.headers if k.startswith('x-container-')} == sent
        assert 'other' not in ''.join(k for seen in server.seen for k in seen.headers)


def test_a_client_s_headers_reach_the_remote_only_when_listed(make: Make) -> None:
    provider, server = make(lambda seen: Reply(204, {'X-Object-Meta-1space-Timestamp': '1.00000'}))
    sent = {'X-Auth-Token': 'theirs', 'Cookie': 'c', 'X-Forwarded-For': 'f', 'X-Timestamp': '1', 'Range': 'bytes=0-1',
            'X-Object-Meta-A': 'b', 'X-Object-Meta-1space-Timestamp': '9', 'X-Backend-Etag': 'x'}
    provider.shunt_object(ShuntRequest('GET', 'o', sent, {'multipart-manifest': 'get', 'temp_url_sig': 'x'})).close()
    provider.shunt_post(ShuntRequest('POST', 'o', sent)).close()
    got, posted = server.requests('GET')[0], server.requests('POST')[0]
    assert got.path.endswith('/o?multipart-manifest=get')
    assert got.headers['range'] == 'bytes=0-1'
    for seen in (got, posted):
        assert seen.headers['x-auth-token'] == server.valid_token
        assert not seen.headers.keys() & {'cookie', 'x-forwarded-for', 'x-timestamp', 'x-backend-etag'}
    assert posted.headers['x-object-meta-1space-timestamp'] == '1.00000'
    assert posted.headers['x-object-meta-a'] == 'b'


def test_a_metadata_update_keeps_a_dlo_a_dlo(make: Make) -> None:
    provider, server = make()
    seen = ObjectMeta('o', 0, etag='x', sysmeta={'x-object-manifest': 'c/p%2F'})
    provider.update_metadata(described('o', b''), seen)
    assert server.seen[-1].headers['x-object-manifest'] == 'c/p%2F'


def test_the_location_names_endpoint_identity_and_container(make: Make) -> None:
    provider, server = make()
    assert provider.location() == f'{server.url}/auth/v1.0;test:tester;target'


@pytest.mark.parametrize('bucket', ['a/b', ''])
def test_a_container_needs_a_possible_name(make: Make, bucket: str) -> None:
    with pytest.raises(ValueError):
        make(remote={'bucket': bucket})


# -- large objects ------------------------------------------------------------------------

def test_a_delete_never_takes_another_s_open_question_for_its_answer(make: Make) -> None:
    """Whether the mapping has segments at all is asked once; until that is answered nobody may assume it has none."""
    order: list[str] = []
    second: list[threading.Thread] = []

    def script(seen: Seen) -> Reply:
        if seen.method == 'GET':
            order.append('asked')
            if not second:
                second.append(threading.Thread(target=provider.delete_object, args=('b',)))
                second[0].start()
                until = time.monotonic() + 20
                while len(order) < 2 and time.monotonic() < until:
                    time.sleep(0.01)
            return Reply(200, body=b'[{"name": "target_segments", "count": 0, "bytes": 0}]')
        order.append(seen.method)
        return Reply(204)
    provider, server = make(script)
    provider.delete_object('a')
    second[0].join(20)
    assert order[:2] == ['asked', 'asked']
    assert len(server.requests('HEAD')) == 2


def test_a_mapping_without_segments_is_told_so_once_a_minute(make: Make) -> None:
    clock = FakeClock(1_700_000_000.0)
    found = [b'[]']

    def script(seen: Seen) -> Reply:
        return Reply(200, body=found[0]) if seen.method == 'GET' else Reply(204)
    provider, server = make(script, clock=clock)
    provider.delete_objects(['a', 'b', 'c'])
    assert [seen.method for seen in server.seen] == ['GET', 'GET', 'DELETE', 'DELETE', 'DELETE']
    found[0] = b'[{"name": "target_segments_old"}, {"name": "target_segments_joined"}]'
    clock.advance(61)
    server.seen.clear()
    provider.delete_objects(['d', 'e'])
    assert [seen.method for seen in server.seen] == ['GET', 'HEAD', 'DELETE', 'HEAD', 'DELETE']


def test_who_may_not_list_the_account_asks_for_each_name(make: Make) -> None:
    provider, server = make(lambda seen: Reply(403 if seen.method == 'GET' else 204))
    provider.delete_object('a')
    assert [seen.method for seen in server.seen] == ['GET', 'HEAD', 'DELETE']


def test_a_remote_without_slos_is_told_before_anything_is_sent(make: Make) -> None:
    provider, server = make()
    objects = {('c_segments', 'a'): b'abc'}
    large = MemoryLargeSource(objects, [segment(objects, 'c_segments', 'a')])
    with pytest.raises(Unsupported, match='static large'):
        provider.upload_large_object(large, described('o', b'abc'))
    assert server.seen == []


def test_an_answer_after_the_heartbeats_counts_not_the_status(make: Make) -> None:
    answer: dict[str, Any] = {}

    def script(seen: Seen) -> Reply:
        if seen.method == 'HEAD':
            return Reply(204 if seen.path.endswith('/target') else 404)
        if 'multipart-manifest' in seen.path:
            return Reply(202, body=b'   \r\n\r\n' + json.dumps(answer).encode())
        return stored(seen)
    provider, server = make(script)
    server.info = b'{"swift": {}, "slo": {}}'
    objects = {('c_segments', 'a'): b'abc'}
    large = MemoryLargeSource(objects, [segment(objects, 'c_segments', 'a')])
    expected: list[tuple[str, type[ProviderError], str]] = [
        ('400 Bad Request', TemporaryError, 'segments'), ('401 Unauthorized', TemporaryError, 'segments'),
        ('412 Precondition Failed', PreconditionFailed, 'precondition-failed'),
        ('413 Request Entity Too Large', LimitExceeded, 'too-large'), ('422 Unprocessable Entity', ChecksumMismatch,
         'checksum'), ('202 Accepted', TemporaryError, 'conflict'), ('503 Service Unavailable', Throttled, 'throttled'),
        ('403 Forbidden', Forbidden, 'forbidden')]
    for status, kind, reason in expected:
        answer.clear()
        answer.update({'Response Status': status, 'Errors': [['c/a', '404 Not Found']], 'Response Body': ''})
        with pytest.raises(kind) as caught:
            provider.upload_large_object(large, described('o', b'abc'), condition=ABSENT)
        assert caught.value.reason == reason
    answer.clear()
    with pytest.raises(TemporaryError):  # cut short: nothing is known
        provider.upload_large_object(large, described('o', b'abc'), condition=ABSENT)


NEWER = {'X-Object-Meta-1space-Timestamp': '2000.00000', 'ETag': 'newer'}
"""Of a version that another node has brought while an older one was on its way."""


def test_a_large_body_does_not_replace_a_newer_version_that_came_while_it_was_sent(make: Make) -> None:
    def script(seen: Seen) -> Reply:
        return Reply(200, NEWER) if seen.method == 'HEAD' else stored(seen)
    provider, server = make(script)
    data = b'x' * 2 * 1024 * 1024
    with pytest.raises(PreconditionFailed, match='newer'):
        provider.upload_object(BytesBody(data), replace(described('o', data), data_time=Timestamp(1000)))
    wait_until(lambda: bool(server.requests('PUT')))
    assert [len(put.body) < len(data) for put in server.requests('PUT')] == [True]


@pytest.mark.parametrize('kind', ['slo', 'dlo'])
def test_a_manifest_does_not_replace_a_newer_version_that_came_while_its_segments_were_sent(
        make: Make, kind: Literal['slo', 'dlo']) -> None:
    def script(seen: Seen) -> Reply:
        if seen.method == 'HEAD' and seen.path.endswith('/target/o'):
            return Reply(200, NEWER if server.requests('PUT') else {'ETag': 'old'})
        return Reply(404) if seen.method in ('HEAD', 'GET') and '_segments' in seen.path else stored(seen)
    provider, server = make(script)
    server.info = b'{"swift": {}, "slo": {}}'
    objects = {('c_segments', 'p/a'): b'abc'}
    large = MemoryLargeSource(objects, [segment(objects, 'c_segments', 'p/a')], kind=kind, prefix='c_segments/p/')
    with pytest.raises(PreconditionFailed, match='newer'):
        provider.upload_large_object(large, replace(described('o', b'abc'), data_time=Timestamp(1000)))
    assert [put.path.partition('?')[0] for put in server.requests('PUT')] == ['/v1/AUTH_test/target_segments/p/a']


def test_a_segment_that_the_target_takes_by_no_name_is_closed(make: Make) -> None:
    provider, server = make(lambda seen: Reply(404 if '_segments' in seen.path else 204))
    server.info = b'{"swift": {"max_object_name_length": 3}, "slo": {}}'
    objects = {('c_segments', 'long'): b'abc'}
    large = OpenBodies(objects, [segment(objects, 'c_segments', 'long')])
    with pytest.raises(LimitExceeded):
        provider.upload_large_object(large, described('o', b'abc'), condition=ABSENT)
    assert large.begun == large.ended == 1


class OpenBodies(MemoryLargeSource):
    """Counts bodies that are open."""

    begun = ended = 0

    def open(self, piece: Piece) -> Body:
        self.begun += 1
        outer, body = self, super().open(piece)

        class Counted(BytesBody):
            def close(self) -> None:
                outer.ended += 1
        return Counted(b''.join(body))


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
