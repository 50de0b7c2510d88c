"""What is mended once, what is refused, and what a request looks like, against a scripted store."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.errors import (
    ChecksumMismatch,
    ConnectionFailed,
    Forbidden,
    PermanentError,
    PreconditionFailed,
    TemporaryError,
    Throttled,
    Unsupported,
)
from s3_sync.providers.s3.client import Call, Client
from s3_sync.providers.s3.credentials import ChainCredentials, FixedCredentials
from s3_sync.providers.s3.endpoint import Endpoint
from s3_sync.providers.s3.signing import Credentials
from s3_sync.providers.transport import Transport
from s3_sync.streams import BytesBody, StreamBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.timestamps import http_date
from s3_sync.types import ABSENT, Condition, ObjectMeta, ShuntRequest
from test.fakes.s3_mapping import s3_mapping
from test.fakes.scripted_server import Exchange, ScriptedServer, Step, raw, reply, s3_error

MD5 = '8d777f385d3dfec8815d20f7496026dc'
PUT_OK = reply(ETag=f'"{MD5}"')
HEAD_OK = reply(ETag=f'"{MD5}"', content_length='4')
Start = Callable[..., tuple[ScriptedServer, SyncS3, FakeClock]]


@pytest.fixture
def start() -> Iterator[Start]:
    opened: list[tuple[ScriptedServer, SyncS3]] = []

    def begin(*steps: Step, **options: Any) -> tuple[ScriptedServer, SyncS3, FakeClock]:
        server = ScriptedServer(steps).__enter__()
        clock = FakeClock()
        remote = {'conditional_put': 'always', **options.pop('remote', {})}
        provider = SyncS3(s3_mapping(server.url, custom_prefix='p', remote=remote, **options), clock=clock)
        opened.append((server, provider))
        return server, provider, clock
    yield begin
    for server, provider in opened:
        provider.close()
        server.__exit__(None, None, None)


def data(**changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': 'o', 'size': 4, 'etag': MD5, 'data_time': Timestamp(1_600_000_000), **changes})


def test_a_put_is_one_request_with_checksum_condition_and_provenance(start: Start) -> None:
    server, provider, _clock = start(PUT_OK)
    assert provider.upload_object(BytesBody(b'data'), data(), condition=ABSENT).etag == MD5
    headers = server.exchanges[0].headers
    assert server.exchanges[0].line == 'PUT /bucket/p/o HTTP/1.1'
    assert headers['content-md5'] == 'jXd/OF09/siBXSD3SWAm3A=='
    assert headers['if-none-match'] == '*'
    assert headers['x-amz-meta-1space-timestamp'] == '1600000000.00000'
    assert headers['x-amz-content-sha256'] == '3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7'
    assert not [name for name in headers if 'checksum' in name or name == 'x-amz-server-side-encryption']


def test_settings_of_the_mapping_go_with_uploads(start: Start) -> None:
    server, provider, _clock = start(PUT_OK, PUT_OK, encryption='AES256', storage_class='STANDARD_IA',
                                     tags={'team': 'a b', 'x': '1'})
    provider.upload_object(BytesBody(b'data'), data())
    headers = server.exchanges[0].headers
    assert headers['x-amz-server-side-encryption'] == 'AES256'
    assert headers['x-amz-storage-class'] == 'STANDARD_IA'
    assert headers['x-amz-tagging'] == 'team=a+b&x=1'


def test_with_kms_the_source_s_md5_travels_because_the_etag_is_none(start: Start) -> None:
    server, provider, _clock = start(reply(ETag='"0123"'), encryption='aws:kms', kms_key_id='key-1')
    assert not provider.capabilities.etag_is_md5
    assert provider.upload_object(BytesBody(b'data'), data()).etag == '0123'
    headers = server.exchanges[0].headers
    assert headers['x-amz-meta-1space-etag'] == MD5
    assert headers['x-amz-server-side-encryption-aws-kms-key-id'] == 'key-1'


def test_another_etag_than_was_sent_is_a_checksum_mismatch(start: Start) -> None:
    _server, provider, _clock = start(reply(ETag=f'"{"0" * 32}"'))
    with pytest.raises(ChecksumMismatch):
        provider.upload_object(BytesBody(b'data'), data())


def test_an_unknown_md5_is_found_while_sending(start: Start) -> None:
    _server, provider, _clock = start(reply(ETag=f'"{"0" * 32}"'))
    with pytest.raises(ChecksumMismatch):
        provider.upload_object(StreamBody(lambda: iter([b'x' * 100_000]), 100_000), data(etag='', size=100_000))


def test_a_clock_that_differs_is_corrected_once(start: Start) -> None:
    late = http_date(1_700_003_600)
    refused = reply('403 Forbidden', s3_error('RequestTimeTooSkewed'), Date=late)
    server, provider, _clock = start(refused, PUT_OK, PUT_OK, reply('403 Forbidden', s3_error('RequestTimeTooSkewed'),
                                                                   Date=late))
    provider.upload_object(BytesBody(b'data'), data())
    provider.upload_object(BytesBody(b'data'), data())
    dates = [e.headers['x-amz-date'] for e in server.exchanges]
    assert dates == ['20231114T221320Z', '20231114T231320Z', '20231114T231320Z']
    with pytest.raises(TemporaryError) as caught:
        provider.upload_object(BytesBody(b'data'), data())
    assert caught.value.reason == 'clock-skew'


def test_a_refused_head_with_a_far_date_corrects_the_clock_too(start: Start) -> None:
    server, provider, _clock = start(reply('403 Forbidden', Date=http_date(1_700_003_600)), HEAD_OK)
    assert provider.head_object('o').etag == MD5
    assert len(server.exchanges) == 2


def test_a_plain_refusal_is_not_sent_again(start: Start) -> None:
    server, provider, clock = start(reply('403 Forbidden', s3_error('AccessDenied', 'no'),
                                          Date=http_date(1_700_000_001)))
    with pytest.raises(Forbidden, match='AccessDenied'):
        provider.list_objects()
    assert len(server.exchanges) == 1


def test_errors_carry_no_secrets(start: Start) -> None:
    body = s3_error('SignatureDoesNotMatch', 'wrong, s3cr3t-k3y of AKIDX', '<StringToSign>AWS4 s3cr3t</StringToSign>')
    _server, provider, _clock = start(reply('403 Forbidden', body), secret_key='s3cr3t-k3y', access_key='AKIDX')
    with pytest.raises(Forbidden) as caught:
        provider.list_objects()
    text = str(caught.value)
    assert 'SignatureDoesNotMatch' in text
    assert 's3cr3t' not in text and 'AKIDX' not in text and 'AWS4' not in text


def test_throttling_tells_the_wait(start: Start) -> None:
    _server, provider, _clock = start(reply('503 Slow Down', s3_error('SlowDown'), Retry_After='9'))
    with pytest.raises(Throttled) as caught:
        provider.upload_object(BytesBody(b'data'), data())
    assert caught.value.retry_after == 9.0


def test_a_success_that_carries_an_error_is_an_error(start: Start) -> None:
    _server, provider, _clock = start(HEAD_OK, reply(body=s3_error('InternalError')))
    with pytest.raises(TemporaryError):
        provider.post_object('o', data())


def test_a_copy_keeps_class_and_encryption_and_holds_for_the_version_seen(start: Start) -> None:
    head = reply(ETag=f'"{MD5}"', content_length='4', x_amz_storage_class='STANDARD_IA',
                 x_amz_server_side_encryption='AES256')
    copied = reply(body=f'<CopyObjectResult><ETag>&quot;{MD5}&quot;</ETag></CopyObjectResult>'.encode())
    server, provider, _clock = start(head, copied)
    provider.update_metadata(data(content_type='text/x', user_metadata={'a': 'b'}), provider.head_object('o'))
    headers = server.exchanges[1].headers
    assert headers['x-amz-copy-source'] == '/bucket/p/o'
    assert headers['x-amz-copy-source-if-match'] == f'"{MD5}"'
    assert headers['x-amz-metadata-directive'] == 'REPLACE'
    assert headers['x-amz-storage-class'] == 'STANDARD_IA'
    assert headers['x-amz-server-side-encryption'] == 'AES256'
    assert (headers['content-type'], headers['x-amz-meta-a']) == ('text/x', 'b')
    assert 'x-amz-tagging' not in headers and 'x-amz-tagging-directive' not in headers


@pytest.mark.parametrize('told', [
    {'x_amz_storage_class': 'GLACIER'}, {'x_amz_storage_class': 'DEEP_ARCHIVE'},
    {'x_amz_storage_class': 'GLACIER', 'ETag': f'"{MD5}-2"'}])
def test_what_a_copy_cannot_do_is_unsupported(start: Start, told: dict[str, str]) -> None:
    headers = {'ETag': f'"{MD5}"', 'content_length': '4', **told}
    server, provider, _clock = start(reply(**headers))
    with pytest.raises(Unsupported):
        provider.update_metadata(data(), provider.head_object('o'))
    assert len(server.exchanges) == 1


def test_a_condition_the_store_ignores_is_looked_up_first(start: Start) -> None:
    server, provider, _clock = start(HEAD_OK, HEAD_OK, PUT_OK, remote={'conditional_put': 'never'})
    with pytest.raises(PreconditionFailed):
        provider.upload_object(BytesBody(b'data'), data(), condition=ABSENT)
    assert provider.upload_object(BytesBody(b'data'), data(), condition=Condition(if_match=MD5)).requests == 2
    assert [e.line.split()[0] for e in server.exchanges] == ['HEAD', 'HEAD', 'PUT']
    assert 'if-match' not in server.exchanges[2].headers


def test_overwriting_what_has_gone_is_a_failed_condition(start: Start) -> None:
    _server, provider, _clock = start(reply('404 Not Found', s3_error('NoSuchKey')))
    with pytest.raises(PreconditionFailed):
        provider.upload_object(BytesBody(b'data'), data(), condition=Condition(if_match=MD5))


def test_a_truncated_object_is_a_failed_connection(start: Start) -> None:
    _server, provider, _clock = start(raw(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', close=True))
    with pytest.raises(ConnectionFailed):
        provider.get_object('o').read()


def test_only_listed_headers_of_a_client_go_out(start: Start) -> None:
    server, provider, _clock = start(reply(ETag='"e"', body=b'data'))
    sent = {'Range': 'bytes=0-1', 'X-Auth-Token': 't', 'Cookie': 'c', 'X-Amz-Acl': 'public', 'If-None-Match': 'abc'}
    provider.shunt_object(ShuntRequest('GET', 'o', sent)).close()
    headers = server.exchanges[0].headers
    assert headers['range'] == 'bytes=0-1'
    assert 'if-none-match' not in headers, 'the store knows another ETag than the client'
    assert not headers.keys() & {'x-auth-token', 'cookie', 'x-amz-acl'}


def test_a_miss_on_behalf_of_a_client_keeps_the_connection(start: Start) -> None:
    missing = reply('404 Not Found', s3_error('NoSuchKey'))
    server, provider, _clock = start(missing, missing)
    for _ in range(2):
        assert provider.shunt_object(ShuntRequest('GET', 'o')).status == 404
    assert server.connections == 1


def test_redirects_off_amazon_are_not_followed(start: Start) -> None:
    server, provider, _clock = start(reply('307 Temporary Redirect', Location='http://127.0.0.1:1/steal'))
    with pytest.raises(PermanentError) as caught:
        provider.head_object('o')
    assert caught.value.reason == 'redirect'
    assert len(server.exchanges) == 1


def test_the_region_that_an_answer_names_is_adopted_once(start: Start) -> None:
    wrong = reply('400 Bad Request', s3_error('AuthorizationHeaderMalformed', 'x', '<Region>eu-west-1</Region>'))
    server, provider, _clock = start(wrong, PUT_OK, PUT_OK, wrong)
    provider.upload_object(BytesBody(b'data'), data())
    provider.upload_object(BytesBody(b'data'), data())
    scopes = [e.headers['authorization'].split('/')[2] for e in server.exchanges]
    assert scopes == ['us-east-1', 'eu-west-1', 'eu-west-1']
    with pytest.raises(Forbidden):
        provider.upload_object(BytesBody(b'data'), data())
    assert len(server.exchanges) == 4


def test_a_head_learns_the_region_from_its_header(start: Start) -> None:
    server, provider, _clock = start(reply('301 Moved', x_amz_bucket_region='ap-south-1'), HEAD_OK)
    assert provider.head_object('o').etag == MD5
    assert '/ap-south-1/' in server.exchanges[1].headers['authorization']


class Renewable(FixedCredentials):
    """Gives another token after ``renew``, once."""

    def __init__(self) -> None:
        super().__init__(Credentials('a', 'b', 'old'))
        self.renewals = 0

    def renew(self) -> bool:
        self.renewals += 1
        self._credentials = Credentials('a', 'b', 'new')
        return True


@pytest.mark.parametrize('method, answer', [
    ('PUT', reply('400 Bad Request', s3_error('ExpiredToken'))), ('HEAD', reply('400 Bad Request'))])
def test_an_expired_token_is_renewed_once(method: str, answer: Step) -> None:
    with ScriptedServer([answer, reply(), answer, answer]) as server:
        credentials = Renewable()
        clock = FakeClock()
        client = Client(Endpoint.parse(server.url), credentials, Transport(max_connections=1, clock=clock),
                        clock=clock, timeout=5)
        client.do(Call(method, 'b', 'k'))
        assert [e.headers['x-amz-security-token'] for e in server.exchanges] == ['old', 'new']
        with pytest.raises((Forbidden, PermanentError)):
            client.do(Call(method, 'b', 'k'))
        assert (len(server.exchanges), credentials.renewals) == (4, 2)
        client.close()


@pytest.mark.parametrize('endpoint, size, expected', [
    ('https://store', 4, 'UNSIGNED-PAYLOAD'), ('https://store', 10 ** 6, 'UNSIGNED-PAYLOAD'),
    ('http://store', 10 ** 6, 'UNSIGNED-PAYLOAD'), ('http://s3.amazonaws.com', 10 ** 6, 'sha256')])
def test_bodies_are_hashed_where_nothing_else_protects_them(endpoint: str, size: int, expected: str) -> None:
    clock = FakeClock()
    client = Client(Endpoint.parse(endpoint), FixedCredentials(Credentials('a', 'b')),
                    Transport(max_connections=1, clock=clock), clock=clock, timeout=5)
    told = client._payload(StreamBody(lambda: iter([b'x' * size]), size))
    assert told == expected if expected != 'sha256' else len(told) == 64


def test_without_keys_the_default_chain_is_asked(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'from-environment')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'x')
    monkeypatch.setenv('AWS_SESSION_TOKEN', 'token-1')
    server, provider, clock = start(PUT_OK, PUT_OK, access_key=None)
    provider.upload_object(BytesBody(b'data'), data())
    headers = server.exchanges[0].headers
    assert 'Credential=from-environment/' in headers['authorization']
    assert headers['x-amz-security-token'] == 'token-1'


def test_no_credentials_anywhere_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', '/nowhere')
    monkeypatch.setenv('AWS_CONFIG_FILE', '/nowhere')
    with pytest.raises(Forbidden) as caught:
        ChainCredentials(FakeClock()).get()
    assert caught.value.reason == 'no-credentials'


def test_a_provider_is_for_one_container() -> None:
    with pytest.raises(ValueError):
        SyncS3(s3_mapping('http://store', container='/*'))


@pytest.mark.parametrize('endpoint, prefix, location', [
    (None, None, 'AWS S3;bucket;ed866e/AUTH_test/c/'), (None, '', 'AWS S3;bucket'),
    ('http://store:1', 'p/q', 'http://store:1;bucket;p/q/'),
    ('https://storage.googleapis.com', '', 'Google Cloud Storage;bucket')])
def test_locations_are_the_predecessors(endpoint: str | None, prefix: str | None, location: str) -> None:
    provider = SyncS3(s3_mapping(endpoint, custom_prefix=prefix))
    assert provider.location() == location


def test_google_gets_what_its_interoperability_knows() -> None:
    provider = SyncS3(s3_mapping('https://storage.googleapis.com'))
    assert not provider.needs_probe
    assert not provider.capabilities.create_only and not provider.capabilities.bucket_expiry
    assert provider.capabilities.batch_delete == 1


def test_amazon_needs_no_probe_and_encrypts() -> None:
    provider = SyncS3(s3_mapping(None))
    assert not provider.needs_probe
    assert provider.probe_conditional_put() == (True, True)
    assert provider.capabilities.ordered_listing


def exchange_kinds(server: ScriptedServer) -> list[str]:
    return [e.line.split()[0] for e in server.exchanges]


def honest(exchange: Exchange, stored: dict[str, str]) -> None:
    """A store that honours both conditions."""
    exchange.read_body()
    method = exchange.line.split()[0]
    status = '200 OK'
    if method == 'DELETE':
        stored.clear()
        status = '204 No Content'
    elif method == 'PUT':
        if exchange.headers.get('if-none-match') and stored or (
                exchange.headers.get('if-match', stored.get('etag')) != stored.get('etag')):
            status = '412 Precondition Failed'
        else:
            stored['etag'] = {b'first': '"8b04d5e3775d298e78455efc5ca404d5"',
                              b'second': '"a9f0e61a137d86aa9db53465e0801612"'}[exchange.body]
    exchange.send(f'HTTP/1.1 {status}\r\nContent-Length: 0\r\nETag: {stored.get("etag", "")}\r\n\r\n'.encode())


def test_the_probe_tells_an_honest_store_and_leaves_nothing(start: Start) -> None:
    stored: dict[str, str] = {}
    server, provider, _clock = start(*[lambda e: honest(e, stored)] * 6, remote={'conditional_put': 'auto'})
    assert provider.needs_probe and not provider.capabilities.create_only
    assert provider.probe_conditional_put() == (True, True)
    assert provider.capabilities.create_only and provider.capabilities.conditional_overwrite
    assert not provider.needs_probe and not stored
    assert all('/p/.1space/probe-' in e.line for e in server.exchanges)


def test_the_probe_tells_a_store_that_ignores_conditions(start: Start) -> None:
    first, second = (reply(ETag=f'"{e}"') for e in (
        '8b04d5e3775d298e78455efc5ca404d5', 'a9f0e61a137d86aa9db53465e0801612'))
    server, provider, _clock = start(first, second, second, second, reply('204 No Content'),
                                     remote={'conditional_put': 'auto'})
    assert provider.probe_conditional_put() == (False, False)
    assert exchange_kinds(server)[-1] == 'DELETE'


def test_the_probe_tells_a_store_that_refuses_conditions(start: Start) -> None:
    unknown = reply('501 Not Implemented', s3_error('NotImplemented'))
    stored = reply(ETag='"8b04d5e3775d298e78455efc5ca404d5"')
    server, provider, _clock = start(unknown, stored, stored, unknown, reply('204 No Content'),
                                     remote={'conditional_put': 'auto'})
    assert provider.probe_conditional_put() == (False, False)
    assert exchange_kinds(server)[-1] == 'DELETE'


def test_a_probe_that_fails_halfway_cleans_up_and_decides_nothing(start: Start) -> None:
    server, provider, _clock = start(
        reply(ETag='"8b04d5e3775d298e78455efc5ca404d5"'), reply('500 Oops'), reply('204 No Content'),
        remote={'conditional_put': 'auto'})
    with pytest.raises(TemporaryError):
        provider.probe_conditional_put()
    assert exchange_kinds(server) == ['PUT', 'PUT', 'DELETE']
    assert provider.needs_probe
