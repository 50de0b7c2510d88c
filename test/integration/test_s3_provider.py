"""SyncS3 beyond the contract: side objects, lifecycle rules, settings, listings out of order, green threads."""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from botocore.exceptions import ClientError
from swift.common.utils import Timestamp

from s3_sync.errors import (
    BucketNotFound,
    LimitExceeded,
    NotFound,
    PermanentError,
    PreconditionFailed,
    TemporaryError,
    Unsupported,
)
from s3_sync.streams import BytesBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.trial.s3_endpoint import Endpoint, MotoEndpoint, S3Endpoint
from s3_sync.types import ABSENT, Condition, ObjectMeta, ShuntRequest
from s3_sync.wire.keys import KeyScheme
from test.fakes.s3_mapping import s3_mapping
from test.servers.fault_proxy import FaultProxy

TIME = Timestamp(1_600_000_000.5)
LARGE = {f'k{i}': chr(97 + i) * 200 for i in range(15)}
OTHER_LARGE = {f'k{i}': chr(65 + i) * 200 for i in range(15)}
Make = Callable[..., SyncS3]


@pytest.fixture
def make(fresh_name: Callable[[str], str]) -> Iterator[Make]:
    """A provider on an endpoint; ``bucket`` is made unless given."""
    with ExitStack() as stack:
        def build(endpoint: Endpoint, *, bucket: str = '', **options: Any) -> SyncS3:
            provider = SyncS3(s3_mapping(
                endpoint.url, access_key=endpoint.access_key, secret_key=endpoint.secret_key,
                bucket=bucket or endpoint.make_bucket(fresh_name('s3')), **options))
            stack.callback(provider.close)
            return provider
        yield build


@pytest.fixture
def client(moto: MotoEndpoint) -> Iterator[Any]:
    client = moto.client()
    yield client
    client.close()


def described(name: str, data: bytes, **changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': name, 'size': len(data), 'data_time': TIME,
                         'etag': hashlib.md5(data, usedforsecurity=False).hexdigest(), **changes})


def keys(client: Any, bucket: str) -> set[str]:
    return {o['Key'] for o in client.list_objects_v2(Bucket=bucket).get('Contents', ())}


# -- side objects --------------------------------------------------------------------------------


def test_a_side_object_comes_and_goes_with_its_need(moto: MotoEndpoint, make: Make, client: Any) -> None:
    provider = make(moto, bucket=moto.make_bucket('sides'))
    scheme = KeyScheme('AUTH_test', 'c')
    provider.upload_object(BytesBody(b'1'), described('o', b'1', user_metadata=LARGE))
    assert keys(client, 'sides') == {scheme.key('o'), scheme.side_key('o')}
    body = client.get_object(Bucket='sides', Key=scheme.side_key('o'))['Body'].read()
    assert json.loads(body)['user_metadata'] == LARGE
    told = client.head_object(Bucket='sides', Key=scheme.key('o'))['Metadata']
    assert told['1space-metadata'] == hashlib.md5(body, usedforsecurity=False).hexdigest()
    head = provider.head_object('o')
    assert dict(head.user_metadata) == LARGE
    provider.upload_object(BytesBody(b'2'), described('o', b'2', user_metadata={'a': 'b'}),
                           condition=Condition(if_match=head.etag))
    assert keys(client, 'sides') == {scheme.key('o')}
    provider.upload_object(BytesBody(b'3'), described('o', b'3', user_metadata=LARGE))
    assert provider.delete_objects(['o']) == {'o': None}
    assert keys(client, 'sides') == set()


def test_a_refused_write_never_touches_the_winner_s_side_object(
        s3: S3Endpoint, bucket: str, fault_proxy: Callable[[str], FaultProxy]) -> None:
    proxy = fault_proxy(s3.url)
    with closing(SyncS3(s3_mapping(proxy.url, access_key=s3.access_key, secret_key=s3.secret_key, bucket=bucket,
                                   remote={'conditional_put': 'always'}))) as provider:
        provider.upload_object(BytesBody(b'first'), described('o', b'first', user_metadata=LARGE), condition=ABSENT)
        for condition in (ABSENT, Condition(if_match='0' * 32)):
            with pytest.raises(PreconditionFailed):
                provider.upload_object(BytesBody(b'late'), described('o', b'late', user_metadata=OTHER_LARGE),
                                       condition=condition)
        assert dict(provider.head_object('o').user_metadata) == LARGE
    assert proxy.count('PUT', r'/\.metadata/') == 1


@pytest.mark.parametrize('damage', ['missing', 'another version', 'garbage'])
def test_a_damaged_side_object_is_told_and_healed_by_the_next_update(moto: MotoEndpoint, make: Make, client: Any,
                                                                     fresh_name: Callable[[str], str],
                                                                     damage: str) -> None:
    bucket = moto.make_bucket(fresh_name('damage'))
    provider = make(moto, bucket=bucket)
    meta = described('o', b'1', user_metadata=LARGE)
    provider.upload_object(BytesBody(b'1'), meta)
    side = KeyScheme('AUTH_test', 'c').side_key('o')
    if damage == 'missing':
        client.delete_object(Bucket=bucket, Key=side)
    else:
        client.put_object(Bucket=bucket, Key=side, Body=b'{}' if damage == 'another version' else b'\xff')
    head = provider.head_object('o')
    assert head.data_time == TIME  # a source that is older must not heal it
    assert provider.comparable(head) != provider.comparable(meta)
    with pytest.raises(TemporaryError) as caught:
        provider.get_object('o')
    assert caught.value.reason == 'side-object'
    with pytest.raises(TemporaryError):
        provider.shunt_object(ShuntRequest('GET', 'o'))
    provider.update_metadata(meta, head)
    assert provider.comparable(provider.head_object('o')) == provider.comparable(meta)


def test_reading_a_side_object_needs_no_second_place_in_the_pool(s3: S3Endpoint, bucket: str) -> None:
    provider = SyncS3(s3_mapping(s3.url, access_key=s3.access_key, secret_key=s3.secret_key, bucket=bucket),
                      max_connections=1)
    provider.upload_object(BytesBody(b'data'), described('o', b'data', user_metadata=LARGE))
    found = provider.get_object('o')
    assert (found.read(), dict(found.meta.user_metadata)) == (b'data', LARGE)
    assert len(provider._client._transport._idle) == 1
    provider.close()


# -- lifecycle ---------------------------------------------------------------------------------------


def rules(client: Any, bucket: str) -> list[dict[str, Any]]:
    try:
        return list(client.get_bucket_lifecycle_configuration(Bucket=bucket)['Rules'])
    except ClientError as error:
        assert error.response['Error']['Code'] == 'NoSuchLifecycleConfiguration'
        return []


def expiry(client: Any, bucket: str) -> dict[str, int]:
    return {r['Filter']['Prefix']: r['Expiration']['Days'] for r in rules(client, bucket)}


MINE = 'ed866e/AUTH_test/c/'
BELONGINGS = ['ed866e/.manifests/AUTH_test/c/', 'ed866e/.metadata/AUTH_test/c/']
FOREIGN = [
    {'ID': 'logs', 'Status': 'Enabled', 'Filter': {'Prefix': 'logs/'}, 'Expiration': {'Days': 3}},
    {'ID': 'cold', 'Status': 'Enabled', 'Filter': {'Prefix': ''},
     'Transitions': [{'Days': 30, 'StorageClass': 'GLACIER'}]},
    {'ID': 'off', 'Status': 'Disabled', 'Filter': {'Prefix': ''}, 'Expiration': {'Days': 1}},
    {'ID': 'deeper', 'Status': 'Enabled', 'Filter': {'Prefix': MINE + 'tmp/'}, 'Expiration': {'Days': 1}}]


@pytest.mark.parametrize('seconds, days', [(1, 1), (86400, 1), (86401, 2), (10 * 86400, 10)])
def test_expiry_becomes_a_rule_in_whole_days(moto: MotoEndpoint, make: Make, client: Any,
                                             fresh_name: Callable[[str], str], seconds: int, days: int) -> None:
    bucket = moto.make_bucket(fresh_name('life'))
    make(moto, bucket=bucket, remote_delete_after=seconds).apply_container({})
    assert expiry(client, bucket) == {MINE: days, **dict.fromkeys(BELONGINGS, days + 1)}
    assert {r['ID'] for r in rules(client, bucket)} == {MINE, *BELONGINGS}


def test_rules_of_others_stay_and_ours_follows_the_settings(moto: MotoEndpoint, make: Make, client: Any) -> None:
    bucket = moto.make_bucket('merged')
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={'Rules': FOREIGN})
    before = rules(client, bucket)
    for seconds, count in ((5 * 86400, 3), (9 * 86400, 3), (0, 0), (0, 0)):
        provider = make(moto, bucket=bucket, remote_delete_after=seconds)
        provider.apply_container({})
        provider.apply_container({})
        after = rules(client, bucket)
        assert after[:len(before)] == before
        assert len(after) == len(before) + count
        if seconds:
            assert next(r for r in after if r['ID'] == MINE)['Expiration']['Days'] == seconds // 86400


def test_removing_the_only_rule_removes_the_configuration(moto: MotoEndpoint, make: Make, client: Any) -> None:
    bucket = moto.make_bucket('last-rule')
    make(moto, bucket=bucket, remote_delete_after=86400).apply_container({})
    make(moto, bucket=bucket).apply_container({})
    assert rules(client, bucket) == []


@pytest.mark.parametrize('rule', [
    {'ID': 'all', 'Status': 'Enabled', 'Filter': {'Prefix': ''}, 'Expiration': {'Days': 9}},
    {'ID': 'account', 'Status': 'Enabled', 'Filter': {'Prefix': 'ed866e/'}, 'Expiration': {'Days': 9}},
    {'ID': 'other-id', 'Status': 'Enabled', 'Filter': {'Prefix': MINE}, 'Expiration': {'Days': 9}},
    {'ID': 'tagged', 'Status': 'Enabled', 'Filter': {'Tag': {'Key': 'a', 'Value': 'b'}}, 'Expiration': {'Days': 9}},
    {'ID': MINE, 'Status': 'Enabled', 'Filter': {'Prefix': 'elsewhere/'}, 'Expiration': {'Days': 9}}])
def test_a_rule_that_would_expire_ours_or_has_our_name_is_told(moto: MotoEndpoint, make: Make, client: Any,
                                                               fresh_name: Callable[[str], str],
                                                               rule: dict[str, Any]) -> None:
    bucket = moto.make_bucket(fresh_name('conflict'))
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={'Rules': [rule]})
    before = rules(client, bucket)
    with pytest.raises(PermanentError) as caught:
        make(moto, bucket=bucket, remote_delete_after=86400).apply_container({})
    assert caught.value.reason == 'lifecycle' and rule['ID'] in str(caught.value)
    assert rules(client, bucket) == before


def test_the_predecessor_s_rule_of_a_custom_prefix_is_taken_over(moto: MotoEndpoint, make: Make, client: Any) -> None:
    bucket = moto.make_bucket('predecessor')
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={'Rules': [
        {'ID': 'pre', 'Status': 'Enabled', 'Filter': {'Prefix': 'pre'}, 'Expiration': {'Days': 9}}]})
    make(moto, bucket=bucket, custom_prefix='pre', remote_delete_after=86400).apply_container({})
    assert expiry(client, bucket) == {'pre/': 1}


def test_a_rule_for_a_whole_bucket_is_never_made(moto: MotoEndpoint, make: Make, client: Any) -> None:
    bucket = moto.make_bucket('whole')
    with pytest.raises(PermanentError):
        make(moto, bucket=bucket, custom_prefix='', remote_delete_after=86400).apply_container({})
    make(moto, bucket=bucket, custom_prefix='').apply_container({})
    assert rules(client, bucket) == []


def test_expiry_in_a_missing_bucket_says_so(moto: MotoEndpoint, make: Make) -> None:
    with pytest.raises(BucketNotFound):
        make(moto, bucket='never-made', remote_delete_after=86400).apply_container({})


# -- settings ----------------------------------------------------------------------------------------


def test_class_tags_and_encryption_survive_a_metadata_update(moto: MotoEndpoint, make: Make, client: Any) -> None:
    bucket = moto.make_bucket('settings')
    provider = make(moto, bucket=bucket, storage_class='STANDARD_IA', tags={'team': 'a b'}, encryption='AES256')
    meta = described('o', b'data', user_metadata={'a': 'b'}, headers={'cache-control': 'no-cache'})
    provider.upload_object(BytesBody(b'data'), meta)
    changed = described('o', b'data', user_metadata={'c': 'd'}, headers={'content-language': 'de'})
    provider.update_metadata(changed, provider.head_object('o'))
    found = client.head_object(Bucket=bucket, Key=MINE + 'o')
    assert (found['StorageClass'], found['ServerSideEncryption']) == ('STANDARD_IA', 'AES256')
    assert client.get_object_tagging(Bucket=bucket, Key=MINE + 'o')['TagSet'] == [{'Key': 'team', 'Value': 'a b'}]
    head = provider.head_object('o')
    assert provider.comparable(head) == provider.comparable(changed)
    assert head.storage_class == 'STANDARD_IA'


def test_archived_objects_refuse_a_metadata_update(moto: MotoEndpoint, make: Make) -> None:
    provider = make(moto, storage_class='GLACIER')
    provider.upload_object(BytesBody(b'data'), described('o', b'data'))
    with pytest.raises(Unsupported):
        provider.update_metadata(described('o', b'data', user_metadata={'a': 'b'}), provider.head_object('o'))
    client_sees = provider.shunt_post(ShuntRequest('POST', 'o', {'X-Object-Meta-A': 'b'}))
    assert client_sees.status == 409


def test_old_signatures_work_where_asked_for(moto: MotoEndpoint, s3: S3Endpoint, make: Make) -> None:
    provider = make(s3, remote={'signature': 'v2'})
    provider.upload_object(BytesBody(b'data'), described('a b/\u00fc+', b'data', user_metadata={'a': '\u00fc'}))
    assert provider.get_object('a b/\u00fc+').read() == b'data'
    assert [e.name for e in provider.list_objects(delimiter='/').entries] == ['a b/']
    assert provider.delete_objects(['a b/\u00fc+']) == {'a b/\u00fc+': None}


@pytest.mark.parametrize('prefix', ['', 'pre/fix'])
def test_a_custom_prefix_is_the_whole_prefix(s3: S3Endpoint, make: Make, prefix: str) -> None:
    provider = make(s3, custom_prefix=prefix)
    provider.upload_object(BytesBody(b'data'), described('dir/o', b'data', user_metadata=LARGE))
    with ExitStack() as stack:
        client = s3.client()
        stack.callback(client.close)
        bucket = provider.location().split(';')[1]
        assert client.head_object(Bucket=bucket, Key=f'{prefix}/dir/o'.lstrip('/'))['ContentLength'] == 4
    assert [e.name for e in provider.list_objects().entries] == ['dir/o']
    assert provider.delete_object('dir/o') is True


# -- SeaweedFS's order ----------------------------------------------------------------------------------


def test_a_listing_in_another_order_is_complete_and_declared(s3: S3Endpoint, make: Make) -> None:
    provider = make(s3)
    names = ['p/e', 'p/e-1', *[f'p/e{i}/x' for i in range(5)], 'p/f']
    for name in names:
        provider.upload_object(BytesBody(b'x'), described(name, b'x'))
    found: list[str] = []
    marker: str | None = ''
    while marker is not None:
        page = provider.list_objects(marker=marker, limit=2)
        found += [e.name for e in page.entries]
        marker = page.next_marker
    assert sorted(found) == sorted(names)
    assert not provider.capabilities.ordered_listing


@pytest.mark.parametrize('name', ['a//b', '/a/b', 'a/b/', 'a\\b'])
def test_a_name_that_this_store_takes_for_another_touches_nothing(s3: S3Endpoint, make: Make, name: str) -> None:
    provider = make(s3)
    with pytest.raises(LimitExceeded) as caught:
        provider.upload_object(BytesBody(b'late'), described(name, b'late'))
    assert caught.value.reason == 'name-not-kept'
    provider.upload_object(BytesBody(b'data'), described('a/b', b'data'))
    with pytest.raises(NotFound):
        provider.head_object(name)
    assert provider.shunt_object(ShuntRequest('GET', name)).status == 404
    assert provider.delete_object(name) is False
    assert provider.delete_objects([name]) == {name: None}
    assert provider.get_object('a/b').read() == b'data'


def test_the_probe_finds_what_this_store_honours(s3: S3Endpoint, make: Make) -> None:
    provider = make(s3)
    assert provider.needs_probe
    assert provider.probe_conditional_put() == (True, True)
    assert provider.list_objects().entries == ()


# -- what others have stored -------------------------------------------------------------------------


@pytest.mark.parametrize('where', ['s3', 'moto'])
def test_a_stranger_s_multipart_object_is_read_whole_and_by_its_own_parts(
        where: str, request: pytest.FixtureRequest, make: Make, fresh_name: Callable[[str], str]) -> None:
    endpoint: Endpoint = request.getfixturevalue(where)
    bucket = endpoint.make_bucket(fresh_name('stranger'))
    provider, client = make(endpoint, bucket=bucket, custom_prefix=''), endpoint.client()
    parts = [b'a' * (5 * 1024 ** 2), b'b' * 1000]
    with closing(client):
        upload = client.create_multipart_upload(Bucket=bucket, Key='o', ContentType='text/x')['UploadId']
        done = [{'PartNumber': number, 'ETag': client.upload_part(
            Bucket=bucket, Key='o', UploadId=upload, PartNumber=number, Body=body)['ETag']}
            for number, body in enumerate(parts, 1)]
        etag = client.complete_multipart_upload(Bucket=bucket, Key='o', UploadId=upload,
                                                MultipartUpload={'Parts': done})['ETag'].strip('"')

    def ask(method: str, **query: str) -> tuple[int, dict[str, str], bytes]:
        answer = provider.shunt_object(ShuntRequest(method, 'o', query={k.replace('_', '-'): v
                                                                        for k, v in query.items()}))
        try:
            assert answer.status >= 300 or (answer.meta is not None and answer.meta.size == sum(map(len, parts)))
            return answer.status, dict(answer.headers), b''.join(answer.body)
        finally:
            answer.close()
    status, headers, body = ask('GET')
    assert (status, body) == (200, b''.join(parts))
    assert (headers['etag'], headers['x-object-sysmeta-s3api-etag']) == (f'"{etag}"', etag)
    assert headers['x-static-large-object'] == 'True'
    assert provider.layout_of(provider.head_object('o')) is None
    status, headers, body = ask('GET', multipart_manifest='get')
    assert (status, body) == (200, b''.join(parts))
    assert 'x-static-large-object' not in headers, 'who asks for a manifest must not take the data for one'
    for method in ('GET', 'HEAD'):
        status, headers, body = ask(method, part_number='2')
        if where == 'moto':
            assert (status, headers['content-length']) == (200, str(sum(map(len, parts)))), 'it knows no part numbers'
            continue
        assert status == 206
        assert body == (parts[1] if method == 'GET' else b'')
        assert headers['content-length'] == '1000'
        assert headers['content-range'] == f'bytes {len(parts[0])}-{len(parts[0]) + 999}/{len(parts[0]) + 1000}'
    assert ask('GET', part_number='x')[0] == 400


# -- green threads ------------------------------------------------------------------------------------


GREEN = '''
from s3_sync.concurrency import GreenPool, monkey_patch
monkey_patch()
import hashlib, sys
from s3_sync.streams import BytesBody, StreamBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.types import ObjectMeta
from test.fakes.s3_mapping import s3_mapping
url, access, secret, bucket = sys.argv[1:]
provider = SyncS3(s3_mapping(url, access_key=access, secret_key=secret, bucket=bucket), max_connections=3)

def work(number):
    data = b'%d' % number * (400_000 if number % 5 == 0 else 100)
    meta = ObjectMeta(f'o{number}', len(data), etag=hashlib.md5(data).hexdigest())
    body = BytesBody(data) if number % 2 else StreamBody(lambda: iter([data]), len(data))
    provider.upload_object(body, meta)
    return provider.get_object(meta.name).read() == data

assert all(GreenPool(20).imap(work, range(40)))
assert len(provider.list_objects().entries) == 40
provider.close()
print('green')
'''


def test_many_green_threads_share_few_connections(s3: S3Endpoint, bucket: str) -> None:
    done = subprocess.run([sys.executable, '-W', 'error::ResourceWarning', '-c', GREEN, s3.url, s3.access_key,
                           s3.secret_key, bucket], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == 'green', done.stderr
