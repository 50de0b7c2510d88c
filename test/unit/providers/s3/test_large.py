"""Large objects against a scripted store: what is asked, what is refused, answers that cannot be right."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.errors import BucketNotFound, Forbidden, LimitExceeded, PermanentError, TemporaryError, Unsupported
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.model import Layout, Piece
from s3_sync.providers.s3 import settings
from s3_sync.providers.s3.multipart import Multipart, StoredPart
from s3_sync.providers.s3.objects import Place
from s3_sync.sync_s3 import SyncS3
from s3_sync.types import ObjectMeta
from test.fakes.large_source import MemoryLargeSource, Name, md5, segment
from test.fakes.s3_mapping import s3_mapping
from test.fakes.scripted_server import ScriptedServer, Step, reply, s3_error

GIBIBYTE = 1024 ** 3
PLACE = Place('bucket', 'p/o')
MD5S = ('0' * 32, '1' * 32)
ETAG = multipart_etag(MD5S)
MULTIPART = reply(ETag=f'"{ETAG}"', content_length='10', x_amz_meta_1space_timestamp='1600000000.00000')
NO_NOTES = reply(body=b'<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>')
NO_UPLOADS = reply(body=b'<ListMultipartUploadsResult/>')
BEGUN = reply(body=b'<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>')
COMPLETED = reply(body=f'<CompleteMultipartUploadResult><ETag>&quot;{ETAG}&quot;</ETag>'
                       '</CompleteMultipartUploadResult>'.encode())
NOTED = reply(ETag='"n"')
GONE = reply('404 Not Found')
Start = Callable[..., tuple[ScriptedServer, SyncS3]]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        def begin(*steps: Step, **options: Any) -> tuple[ScriptedServer, SyncS3]:
            server = stack.enter_context(ScriptedServer(steps))
            provider = SyncS3(s3_mapping(server.url, custom_prefix='p', remote={'conditional_put': 'never'}, **options),
                              clock=FakeClock())
            stack.callback(provider.close)
            return server, provider
        yield begin


def lines(server: ScriptedServer) -> list[str]:
    return [exchange.line.split(' HTTP')[0] for exchange in server.exchanges]


def copied(etag: str) -> Step:
    return reply(body=f'<CopyPartResult><ETag>"{etag}"</ETag></CopyPartResult>'.encode())


def part(size: int, count: int = 2) -> Step:
    return reply('206 Partial Content', ETag=f'"{ETAG}"', content_length=str(size), x_amz_mp_parts_count=str(count))


def noted(name: bytes = b'note') -> Step:
    """A store whose ETags are right for the two notes cannot be scripted: it tells none."""
    return reply()


def changed(**changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': 'o', 'size': 10, 'data_time': Timestamp(1_600_000_000), 'user_metadata': {'a': 'b'},
                         **changes})


def large_of(size: int, **changes: Any) -> MemoryLargeSource:
    """A large object that is never read, of any size."""
    source = MemoryLargeSource({}, [])
    pieces = tuple(Piece('s', str(number), '0' * 32, min(5 * GIBIBYTE, size - at), 0, min(5 * GIBIBYTE, size - at))
                   for number, at in enumerate(range(0, size, 5 * GIBIBYTE)))
    source.layout = Layout(**{'kind': 'slo', 'segments': (), 'pieces': pieces, 'etag': 'e', 'size': size,
                              'manifest': b'[]', **changes})
    return source


# -- limits --------------------------------------------------------------------------------------


def test_what_ten_thousand_parts_cannot_hold_is_refused_before_anything_is_asked(start: Start) -> None:
    server, provider = start()
    large = large_of(10_000 * 5 * GIBIBYTE + 1)
    for refused in (provider.check_large_upload, provider.upload_large_object):
        with pytest.raises(LimitExceeded) as caught:
            refused(large, changed(size=large.layout.size))  # type: ignore[operator]
        assert caught.value.reason == 'too-large'
    with pytest.raises(LimitExceeded) as caught:
        provider.upload_large_object(large_of(10), changed(name='x' * 1023))
    assert caught.value.reason == 'key-too-long'
    assert server.exchanges == []


def test_the_number_of_requests_is_told_before_they_are_sent(start: Start) -> None:
    server, provider = start()
    assert provider.check_large_upload(large_of(12 * GIBIBYTE), changed()) == 3 + 8
    assert provider.check_large_upload(large_of(0), changed()) == 2
    assert provider.check_large_upload(large_of(10_000 * 5 * GIBIBYTE), changed()) == 10_008
    assert server.exchanges == []


def test_google_takes_parts_from_5_gib_on() -> None:
    mapping = s3_mapping('https://storage.googleapis.com')
    client = settings.make_client(mapping, settings.make_endpoint(mapping), max_connections=1, clock=FakeClock())
    provider = SyncS3(mapping, client=client)
    assert provider.check_large_upload(large_of(5 * GIBIBYTE), changed()) == 2
    assert provider.check_large_upload(large_of(5 * GIBIBYTE + 1), changed()) == 2 + 8
    client.close()


def test_the_smallest_large_object_is_one_part_and_an_empty_one_is_a_put(start: Start) -> None:
    held: dict[Name, bytes] = {('s', 'a'): b'data', ('s', 'e'): b''}
    manifest = reply()
    server, provider = start(
        NO_NOTES, NO_UPLOADS, noted(), BEGUN, noted(), reply(ETag=f'"{md5(b"data")}"'),
        reply(body=f'<CompleteMultipartUploadResult><ETag>{multipart_etag([md5(b"data")])}</ETag>'
                   '</CompleteMultipartUploadResult>'.encode()), manifest, reply('204 No Content'),
        reply(ETag=f'"{md5(b"")}"'), manifest)
    provider.upload_large_object(MemoryLargeSource(held, [segment(held, 's', 'a')]), changed(size=4))
    empty = MemoryLargeSource(held, [segment(held, 's', 'e')])
    assert provider.upload_large_object(empty, changed(size=0)).etag == md5(b'')
    assert [line.split('?')[0].split('/')[0] for line in lines(server)] == [
        'GET ', 'GET ', 'PUT ', 'POST ', 'PUT ', 'PUT ', 'POST ', 'PUT ', 'DELETE ', 'PUT ', 'PUT ']
    assert server.exchanges[6].body.endswith(
        f'<Part><PartNumber>1</PartNumber><ETag>"{md5(b"data")}"</ETag></Part></CompleteMultipartUpload>'.encode())
    assert lines(server)[9] == 'PUT /bucket/p/o'


def test_a_part_carries_its_md5_and_the_upload_the_metadata(start: Start) -> None:
    held: dict[Name, bytes] = {('s', 'a'): b'data'}
    server, provider = start(NO_NOTES, NO_UPLOADS, noted(), BEGUN, noted(), reply('403 Forbidden'),
                             storage_class='STANDARD_IA', tags={'t': '1'}, encryption='AES256')
    with pytest.raises(Forbidden):
        provider.upload_large_object(MemoryLargeSource(held, [segment(held, 's', 'a')]),
                                     changed(size=4, content_type='text/x', headers={'cache-control': 'no-store'}))
    begun = server.exchanges[3].headers
    assert {name: begun[name] for name in (
        'content-type', 'cache-control', 'x-amz-meta-a', 'x-amz-meta-1space-timestamp', 'x-amz-storage-class',
        'x-amz-tagging', 'x-amz-server-side-encryption', 'x-amz-meta-x-static-large-object')} == {
        'content-type': 'text/x', 'cache-control': 'no-store', 'x-amz-meta-a': 'b',
        'x-amz-meta-1space-timestamp': '1600000000.00000', 'x-amz-storage-class': 'STANDARD_IA',
        'x-amz-tagging': 't=1', 'x-amz-server-side-encryption': 'AES256', 'x-amz-meta-x-static-large-object': 'True'}
    sent = server.exchanges[5].headers
    assert sent['content-md5'] == 'jXd/OF09/siBXSD3SWAm3A=='
    assert 'x-amz-meta-a' not in sent and 'x-amz-storage-class' not in sent


def test_a_bucket_that_encrypts_with_keys_of_its_own_has_etags_that_prove_nothing_and_are_recorded(
        start: Start) -> None:
    held: dict[Name, bytes] = {('s', 'a'): b'data'}
    odd = f'<CompleteMultipartUploadResult><ETag>"{"9" * 32}-1"</ETag></CompleteMultipartUploadResult>'
    server, provider = start(
        NO_NOTES, NO_UPLOADS, noted(), BEGUN, noted(),
        reply(ETag=f'"{"8" * 32}"', x_amz_server_side_encryption='aws:kms'), reply(body=odd.encode()), noted(),
        reply('204 No Content'))
    written = provider.upload_large_object(MemoryLargeSource(held, [segment(held, 's', 'a')]), changed(size=4))
    assert written.etag == '9' * 32 + '-1'
    assert server.exchanges[7].headers['x-amz-meta-1space-copy-etag'] == written.etag


def test_a_store_that_does_not_list_uploads_can_be_used_all_the_same(start: Start) -> None:
    held: dict[Name, bytes] = {('s', 'a'): b'data'}
    server, provider = start(NO_NOTES, reply('403 Forbidden'), noted(), BEGUN, noted(), reply('403 Forbidden'))
    with pytest.raises(Forbidden):
        provider.upload_large_object(MemoryLargeSource(held, [segment(held, 's', 'a')]), changed(size=4))
    assert 'partNumber=1' in lines(server)[-1]
    assert b'"others": null' in server.exchanges[2].body


# -- metadata that cannot be changed in place ------------------------------------------------------------


@pytest.mark.parametrize('told', [
    [reply('206 Partial Content', content_length='5')],  # it ignores partNumber
    [part(5, count=3)],
    [reply('501 Not Implemented')],
    [part(5), part(6)],
    [part(0)]])
def test_a_store_that_does_not_tell_the_parts_gets_the_data_again(start: Start, told: list[Step]) -> None:
    server, provider = start(MULTIPART, *told)
    with pytest.raises(Unsupported):
        provider.update_metadata(changed(), provider.head_object('o'))
    assert all(line.startswith('HEAD') for line in lines(server))


def test_copied_parts_that_would_make_another_etag_are_given_up(start: Start) -> None:
    server, provider = start(MULTIPART, part(6), part(4), NO_NOTES, NO_UPLOADS, noted(), BEGUN, noted(),
                             copied(MD5S[0]), copied('f' * 32 + '-2'), reply('204 No Content'), reply('204 No Content'))
    with pytest.raises(Unsupported):
        provider.update_metadata(changed(), provider.head_object('o'))
    assert lines(server)[-2] == 'DELETE /bucket/p/o?uploadId=u-1'
    assert '/.pending/' in lines(server)[-1] and lines(server)[-1].startswith('DELETE')


def test_parts_are_copied_from_the_version_that_was_looked_at(start: Start) -> None:
    server, provider = start(MULTIPART, part(6), part(4), NO_NOTES, NO_UPLOADS, noted(), BEGUN, noted(),
                             copied(MD5S[0]), copied(MD5S[1]), MULTIPART, COMPLETED, reply('204 No Content'))
    assert provider.update_metadata(changed(), provider.head_object('o')).etag == ETAG
    copies = [exchange.headers for exchange in server.exchanges if 'partNumber' in exchange.line
              and exchange.line.startswith('PUT')]
    assert [headers['x-amz-copy-source-range'] for headers in copies] == ['bytes=0-5', 'bytes=6-9']
    assert {headers['x-amz-copy-source-if-match'] for headers in copies} == {f'"{ETAG}"'}
    assert {headers['x-amz-copy-source'] for headers in copies} == {'/bucket/p/o'}


def test_an_object_over_5_gib_without_parts_is_copied_in_even_ones(start: Start) -> None:
    size = 6 * GIBIBYTE
    told = reply(ETag=f'"{"a" * 32}"', content_length=str(size))
    server, provider = start(told, NO_NOTES, NO_UPLOADS, noted(), BEGUN, noted(), *[copied('b' * 32)] * 96, told,
                             COMPLETED, reply('204 No Content'))
    provider.update_metadata(changed(size=size), provider.head_object('o'))
    ranges = [exchange.headers['x-amz-copy-source-range'] for exchange in server.exchanges
              if 'x-amz-copy-source-range' in exchange.headers]
    assert (ranges[0], ranges[-1], len(ranges)) == ('bytes=0-67108863', f'bytes={size - 67108864}-{size - 1}', 96)


# -- answers that cannot be right ------------------------------------------------------------------------


@pytest.fixture
def ask() -> Iterator[Callable[..., Multipart]]:
    with ExitStack() as stack:
        def begin(*steps: Step) -> Multipart:
            server = stack.enter_context(ScriptedServer(steps))
            mapping = s3_mapping(server.url)
            client = settings.make_client(mapping, settings.make_endpoint(mapping), max_connections=1,
                                          clock=FakeClock())
            stack.callback(client.close)
            multipart = Multipart(client)
            multipart.server = server  # type: ignore[attr-defined]
            return multipart
        yield begin


@pytest.mark.parametrize('body', [b'', b'<a/>', b'not XML', b'<CompleteMultipartUploadResult/>'])
def test_an_answer_that_says_nothing_is_no_success(ask: Callable[..., Multipart], body: bytes) -> None:
    multipart = ask(*[reply(body=body)] * 3)
    with pytest.raises(TemporaryError):
        multipart.create(PLACE, {})
    with pytest.raises(TemporaryError):
        multipart.complete(PLACE, 'u', [StoredPart(1, 'e')], {})
    with pytest.raises(TemporaryError):
        multipart.copy_part(PLACE, 'u', 1, 0, 5, if_match='e')


def test_an_error_in_a_success_is_that_error_also_behind_blanks(ask: Callable[..., Multipart]) -> None:
    multipart = ask(reply(body=b' \n ' + s3_error('SlowDown')), reply(body=s3_error('InvalidPart')),
                    reply(body=s3_error('NoSuchBucket')))
    with pytest.raises(TemporaryError):
        multipart.complete(PLACE, 'u', [StoredPart(1, 'e')], {})
    with pytest.raises((PermanentError, TemporaryError)):
        multipart.complete(PLACE, 'u', [StoredPart(1, 'e')], {})
    with pytest.raises(BucketNotFound):
        multipart.complete(PLACE, 'u', [StoredPart(1, 'e')], {})


def listed(*numbers: int, following: str = '') -> Step:
    parts = ''.join(f'<Part><PartNumber>{n}</PartNumber><ETag>"e{n}"</ETag><Size>{n}0</Size>'
                    '<LastModified>2020-01-01T00:00:00.000Z</LastModified></Part>' for n in numbers)
    more = f'<NextPartNumberMarker>{following}</NextPartNumberMarker>' if following else ''
    return reply(body=f'<ListPartsResult>{parts}{more}<IsTruncated>{"true" if following else "false"}</IsTruncated>'
                      '</ListPartsResult>'.encode())


def test_parts_are_listed_to_the_end(ask: Callable[..., Multipart]) -> None:
    multipart = ask(listed(1, 2, following='2'), listed(4))
    assert [(p.number, p.etag, p.size, p.stored) for p in multipart.parts(PLACE, 'u')] == [
        (1, 'e1', 10, 1577836800.0), (2, 'e2', 20, 1577836800.0), (4, 'e4', 40, 1577836800.0)]


def test_a_list_of_parts_that_does_not_go_on_is_refused(ask: Callable[..., Multipart]) -> None:
    multipart = ask(listed(1, 2, following='2'), listed(1, 2, following='2'))
    with pytest.raises(PermanentError) as caught:
        multipart.parts(PLACE, 'u')
    assert caught.value.reason == 'lying-listing'


def test_only_uploads_of_exactly_this_key_are_given_and_all_pages_asked(ask: Callable[..., Multipart]) -> None:
    def page(keys: list[tuple[str, str]], more: str = '') -> Step:
        uploads = ''.join(f'<Upload><Key>{key}</Key><UploadId>{upload}</UploadId></Upload>' for key, upload in keys)
        return reply(body=f'<ListMultipartUploadsResult>{uploads}{more}</ListMultipartUploadsResult>'.encode())
    following = ('<IsTruncated>true</IsTruncated><NextKeyMarker>p/o</NextKeyMarker>'
                 '<NextUploadIdMarker>b</NextUploadIdMarker>')
    multipart = ask(page([('p/o', 'a'), ('p/o2', 'x'), ('p/o', 'b')], following), page([('p/o', 'c')], following))
    assert [upload.upload_id for upload in multipart.uploads(PLACE)] == ['a', 'b', 'c']
    assert [unquote(line) for line in lines(multipart.server)] == [  # type: ignore[attr-defined]
        'GET /bucket?encoding-type=url&prefix=p/o&uploads=',
        'GET /bucket?encoding-type=url&key-marker=p/o&prefix=p/o&upload-id-marker=b&uploads=']


def test_ending_an_upload_that_is_gone_is_no_error(ask: Callable[..., Multipart]) -> None:
    multipart = ask(reply('404 Not Found', s3_error('NoSuchUpload')), reply('404 Not Found', s3_error('NoSuchBucket')))
    multipart.abort(PLACE, 'u')
    with pytest.raises(BucketNotFound):
        multipart.abort(PLACE, 'u')


def test_a_large_object_s_marks_are_kept_when_its_metadata_changes(start: Start) -> None:
    marked = reply(ETag=f'"{"a" * 32}"', content_length='10', x_amz_meta_x_object_manifest='s/p%C3%A9/')
    server, provider = start(marked, reply(body=b'<CopyObjectResult><ETag>"a"</ETag></CopyObjectResult>'), GONE)
    head = provider.head_object('o')
    assert (head.large_object, dict(head.user_metadata)) == ('dlo', {})
    provider.update_metadata(changed(), head)
    assert server.exchanges[1].headers['x-amz-meta-x-object-manifest'] == 's/p%C3%A9/'
    assert replace(head, user_metadata={'a': 'b'}).user_metadata == {'a': 'b'}
