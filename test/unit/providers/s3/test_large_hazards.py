"""Large objects at stores and beside neighbours as they really are: buckets with retention or keys of their own,
two nodes at one object, names that XML cannot carry."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from swift.common.utils import Timestamp

from s3_sync.clock import FakeClock
from s3_sync.errors import PermanentError, ProviderError, TemporaryError
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.providers.s3 import settings
from s3_sync.providers.s3.multipart import Multipart
from s3_sync.providers.s3.objects import Place
from s3_sync.streams import BytesBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.types import ABSENT, ObjectMeta
from s3_sync.wire.keys import KeyScheme
from s3_sync.wire.pending_uploads import PendingUpload
from test.fakes.large_source import MemoryLargeSource, Name, md5, segment
from test.fakes.s3_mapping import s3_mapping
from test.fakes.scripted_server import Exchange, ScriptedServer, Step, hang_up, reply, s3_error

TIME = '1600000000.00000'
NO_NOTES = reply(body=b'<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>')
NO_UPLOADS = reply(body=b'<ListMultipartUploadsResult/>')
BEGUN = reply(body=b'<InitiateMultipartUploadResult><UploadId>u-1</UploadId></InitiateMultipartUploadResult>')
BEGIN = (NO_NOTES, NO_UPLOADS, reply(), BEGUN, reply())
GONE = reply('204 No Content')
ABSENT_OBJECT = (reply('404 Not Found'), reply())
"""And its bucket is there."""
DATA = b'data'
HELD: dict[Name, bytes] = {('s', 'a'): DATA[:2], ('s', 'b'): DATA[2:], ('s', 'whole'): DATA}
ETAG = multipart_etag([md5(DATA)])
Start = Callable[..., tuple[ScriptedServer, SyncS3]]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        def begin(*steps: Step, conditions: str = 'never', **options: Any) -> tuple[ScriptedServer, SyncS3]:
            server = stack.enter_context(ScriptedServer(steps))
            mapping = s3_mapping(server.url, custom_prefix='p', remote={'conditional_put': conditions}, **options)
            provider = SyncS3(mapping, clock=FakeClock())
            stack.callback(provider.close)
            return server, provider
        yield begin


def one_segment() -> MemoryLargeSource:
    return MemoryLargeSource(HELD, [segment(HELD, 's', 'whole')])


def joined() -> MemoryLargeSource:
    """One part of two segments: nobody knows its MD5 before it was read."""
    return MemoryLargeSource(HELD, [segment(HELD, 's', 'a'), segment(HELD, 's', 'b')])


def meta(**changes: Any) -> ObjectMeta:
    return ObjectMeta(**{'name': 'o', 'size': 4, 'data_time': Timestamp(1_600_000_000), **changes})


def completed(etag: str = ETAG) -> Step:
    return reply(body=f'<CompleteMultipartUploadResult><ETag>"{etag}"</ETag></CompleteMultipartUploadResult>'.encode())


def lines(server: ScriptedServer) -> list[str]:
    return [exchange.line.split(' HTTP')[0] for exchange in server.exchanges]


def as_begun(server: ScriptedServer, etag: str = ETAG) -> Step:
    """A HEAD that finds what an upload like ours has become."""
    def step(exchange: Exchange) -> None:
        begun = next(e for e in server.exchanges if '?uploads=' in e.line and e.line.startswith('POST'))
        own: dict[str, Any] = {name.replace('-', '_'): value for name, value in begun.headers.items()
                               if name.startswith('x-amz-meta-')}
        reply(ETag=f'"{etag}"', content_length='4', **own)(exchange)
    return step


# -- two nodes at one object ---------------------------------------------------------------------------


def test_an_upload_that_another_node_s_made_needless_is_left_to_the_sweep(start: Start) -> None:
    """Both began before either saw the other's note; the other one was completed first."""
    steps: list[Step] = [*BEGIN, reply(ETag=f'"{md5(DATA)}"'), *ABSENT_OBJECT,
                         reply('412 Precondition Failed', s3_error('PreconditionFailed')),
                         lambda exchange: as_begun(server)(exchange), reply(), reply(body=b'<ListPartsResult/>')]
    server, provider = start(*steps, conditions='always')
    assert provider.upload_large_object(one_segment(), meta(), condition=ABSENT).etag == ETAG
    assert not any(line.startswith('DELETE') for line in lines(server))  # its note is what the sweep needs
    note = PendingUpload.from_bytes([e.body for e in server.exchanges if '/.pending/' in e.line][-1])
    assert note is not None and note.upload_id == 'u-1'


def test_an_upload_whose_completion_was_not_answered_leaves_no_note(start: Start) -> None:
    steps: list[Step] = [*BEGIN, reply(ETag=f'"{md5(DATA)}"'), hang_up, hang_up,
                         lambda exchange: as_begun(server)(exchange), reply(),
                         reply('404 Not Found', s3_error('NoSuchUpload')), GONE]
    server, provider = start(*steps)
    assert provider.upload_large_object(one_segment(), meta()).etag == ETAG
    assert lines(server)[-1].startswith('DELETE /bucket/p/.pending/')


def note_of(server: ScriptedServer, provider: SyncS3) -> tuple[Step, Step]:
    """A listing that shows the note written last, and the note."""
    last = [e for e in server.exchanges if '/.pending/' in e.line and e.line.startswith('PUT')][-1]
    key = last.line.split(' ')[1].removeprefix('/bucket/')
    listing = (f'<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><Contents><Key>{key}</Key>'
               '<Size>1</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>')
    return reply(body=listing.encode()), reply(body=last.body)


def test_parts_that_another_process_sent_again_are_asked_for_once_more(start: Start) -> None:
    """With keys of the store's own each sending of a part has another ETag: the one we hold may be replaced."""
    server, provider = start(*BEGIN, reply(ETag=f'"{"8" * 32}"'),
                             reply('400 Bad Request', s3_error('InvalidPart')), encryption='aws:kms')
    with pytest.raises(TemporaryError):
        provider.upload_large_object(one_segment(), meta())
    assert not any(line.startswith('DELETE') for line in lines(server))
    parts = (b'<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>"' + b'9' * 32 + b'"</ETag><Size>4</Size></Part>'
             b'</ListPartsResult>')
    odd = '7' * 32 + '-1'
    server, provider = start(*note_of(server, provider), reply(body=parts), reply(), completed(odd), reply(), GONE,
                             encryption='aws:kms')
    assert provider.upload_large_object(one_segment(), meta()).etag == odd
    assert b'9' * 32 in server.exchanges[4].body


def test_parts_that_are_refused_as_the_store_lists_them_end_the_upload(start: Start) -> None:
    server, provider = start(*BEGIN, reply(ETag=f'"{md5(DATA)}"'), reply('400 Bad Request', s3_error('InvalidPart')))
    with pytest.raises(TemporaryError):
        provider.upload_large_object(one_segment(), meta())
    parts = (f'<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>"{md5(DATA)}"</ETag><Size>4</Size></Part>'
             '</ListPartsResult>')
    server, provider = start(*note_of(server, provider), reply(body=parts.encode()), reply(),
                             reply('400 Bad Request', s3_error('InvalidPart')), GONE, GONE)
    with pytest.raises(PermanentError):
        provider.upload_large_object(one_segment(), meta())
    assert lines(server)[-2] == 'DELETE /bucket/p/o?uploadId=u-1'


# -- buckets ---------------------------------------------------------------------------------------------


def test_a_bucket_with_retention_gets_the_md5_of_every_part(start: Start) -> None:
    """Object Lock: Content-MD5 is required, also where nobody knows it before reading."""
    required = reply('400 Bad Request', s3_error('InvalidRequest', 'Content-MD5 OR x-amz-checksum- HTTP header is '
                                                 'required for Put Part requests with Object Lock parameters'))
    stored = reply(ETag=f'"{md5(DATA)}"')
    server, provider = start(*BEGIN, required, stored, completed(), reply(), GONE,
                             *BEGIN, stored, completed(), reply(), GONE)
    for _ in range(2):
        assert provider.upload_large_object(joined(), meta()).etag == ETAG
    sent = [exchange for exchange in server.exchanges if 'partNumber' in exchange.line]
    assert ['content-md5' in exchange.headers for exchange in sent] == [False, True, True]
    assert [exchange.body for exchange in sent[1:]] == [DATA, DATA]


def test_a_part_that_is_refused_with_its_md5_is_refused(start: Start) -> None:
    server, provider = start(*BEGIN, reply('400 Bad Request', s3_error('InvalidRequest')), GONE, GONE)
    with pytest.raises(PermanentError):
        provider.upload_large_object(one_segment(), meta())


KEYED: dict[str, Any] = {'x_amz_server_side_encryption': 'aws:kms'}


def test_a_bucket_that_encrypts_by_itself_takes_ordinary_objects(start: Start) -> None:
    """``encryption: false``, and a bucket whose default is a key: its ETags are no MD5s."""
    server, provider = start(reply(ETag=f'"{"9" * 32}"', **KEYED), reply(ETag=f'"{"8" * 32}"', **KEYED))
    for expected in ('9' * 32, '8' * 32):
        written = provider.upload_object(BytesBody(DATA), meta(etag=md5(DATA)))
        assert written.etag == expected
    assert server.exchanges[1].headers['x-amz-meta-1space-etag'] == md5(DATA)


def test_a_bucket_that_encrypts_by_itself_gets_no_part_twice(start: Start) -> None:
    odd = reply(ETag=f'"{"9" * 32}"', **KEYED)
    begin = (NO_NOTES, NO_UPLOADS, odd, BEGUN, odd)
    server, provider = start(*begin, odd, reply('403 Forbidden'))
    with pytest.raises(ProviderError):
        provider.upload_large_object(one_segment(), meta())
    parts = (b'<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>"' + b'9' * 32 + b'"</ETag><Size>4</Size></Part>'
             b'</ListPartsResult>')
    whole = '7' * 32 + '-1'
    server, provider = start(*note_of(server, provider), reply(body=parts), odd, completed(whole), odd, GONE)
    assert provider.upload_large_object(one_segment(), meta()).etag == whole
    assert not any('partNumber' in line for line in lines(server))


def test_metadata_of_an_object_encrypted_by_its_bucket_moves_no_data(start: Start) -> None:
    """Copied parts are encrypted anew, so the ETag cannot stay."""
    head = reply('206 Partial Content', ETag=f'"{ETAG}"', content_length='4', x_amz_mp_parts_count='1', **KEYED)
    moved = '7' * 32 + '-1'
    server, provider = start(head, head, *BEGIN, reply(body=b'<CopyPartResult><ETag>"x"</ETag></CopyPartResult>'),
                             head, completed(moved), GONE)
    assert provider.update_metadata(meta(user_metadata={'a': 'b'}), provider.head_object('o')).etag == moved
    assert server.exchanges[5].headers['x-amz-server-side-encryption'] == 'aws:kms'


def test_tags_that_these_credentials_may_not_read_are_not_lost_with_a_copy_by_parts(start: Start) -> None:
    head = reply('206 Partial Content', ETag=f'"{ETAG}"', content_length='4', x_amz_mp_parts_count='1')
    copied = reply(body=f'<CopyPartResult><ETag>"{md5(DATA)}"</ETag></CopyPartResult>'.encode())
    server, provider = start(head, head, *BEGIN, copied, head, completed(), GONE, tags={'team': 'film'})
    provider.update_metadata(meta(user_metadata={'a': 'b'}), provider.head_object('o'))
    assert server.exchanges[5].headers['x-amz-tagging'] == 'team=film'


def test_a_store_that_knows_no_conditions_on_completing_was_asked_just_before(start: Start) -> None:
    server, provider = start(*BEGIN, reply(ETag=f'"{md5(DATA)}"'), *ABSENT_OBJECT,
                             reply('501 Not Implemented', s3_error('NotImplemented')), completed(), reply(), GONE,
                             conditions='always')
    assert provider.upload_large_object(one_segment(), meta(), condition=ABSENT).etag == ETAG
    completions = [e.headers for e in server.exchanges if e.line.startswith('POST') and 'uploadId' in e.line]
    assert [headers.get('if-none-match') for headers in completions] == ['*', None]


@pytest.mark.parametrize('answer', [reply('400 Bad Request', s3_error('InvalidArgument')),
                                    reply('501 Not Implemented'), reply('403 Forbidden')])
def test_uploads_that_cannot_be_listed_hold_up_none(start: Start, answer: Step) -> None:
    server, provider = start(NO_NOTES, answer, reply(), BEGUN, reply(), reply(ETag=f'"{md5(DATA)}"'), completed(),
                             reply(), GONE)
    assert provider.upload_large_object(one_segment(), meta()).etag == ETAG


# -- names -----------------------------------------------------------------------------------------------


def test_names_that_xml_cannot_carry_are_uploaded_in_parts(start: Start) -> None:
    key = b'<Key>p/a&#x1;\x02b&#65535;</Key>'
    server, provider = start(
        NO_NOTES, reply(body=b'<ListMultipartUploadsResult><EncodingType>url</EncodingType><Upload><Key>p/a%01%02b%EF'
                        b'%BF%BF</Key><UploadId>other</UploadId></Upload></ListMultipartUploadsResult>'), reply(),
        reply(body=b'<InitiateMultipartUploadResult>' + key
              + b'<UploadId>u-1</UploadId></InitiateMultipartUploadResult>'), reply(), reply(ETag=f'"{md5(DATA)}"'),
        reply(body=b'<CompleteMultipartUploadResult>' + key + f'<ETag>"{ETAG}"</ETag></CompleteMultipartUploadResult>'
              .encode()), reply(), GONE)
    assert provider.upload_large_object(one_segment(), meta(name='a\x01\x02b\uffff')).etag == ETAG
    assert b'"others": ["other"]' in server.exchanges[2].body


INSIDE = KeyScheme('AUTH_test', 'c', 'p')


@pytest.mark.parametrize('key', [INSIDE.manifest_key('o'), INSIDE.side_key('o'), INSIDE.upload_key('o', 'ab')])
def test_an_object_named_like_what_is_ours_touches_nothing_of_it(start: Start, key: str) -> None:
    server, provider = start()
    name = key.removeprefix('p/')
    with pytest.raises(PermanentError):
        provider.upload_object(BytesBody(DATA), meta(name=name, etag=md5(DATA)))
    assert provider.delete_object(name) is False
    assert provider.delete_objects([name]) == {name: None}
    with pytest.raises(ProviderError):
        provider.head_object(name)
    assert server.exchanges == []


def test_a_note_about_another_object_than_its_key_tells_is_none_of_ours(start: Start) -> None:
    forged = PendingUpload('victim', 'v', 'somebody-s', others=()).to_bytes()
    listing = (f'<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><Contents>'
               f'<Key>{INSIDE.upload_key("mine", "ab")}</Key><Size>1</Size>'
               '<LastModified>1970-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>')
    server, provider = start(reply(body=listing.encode()), reply(body=forged))
    assert provider.sweep_uploads(60.0) == 0
    assert len(server.exchanges) == 2


# -- what stands beside ----------------------------------------------------------------------------------


def test_a_sweep_leaves_the_manifest_of_a_version_that_came_meanwhile(start: Start) -> None:
    """The object was looked for just before it came, its manifest just after."""
    note = PendingUpload('o', '').to_bytes()
    listing = (f'<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount><Contents>'
               f'<Key>{INSIDE.upload_key("o", "ab")}</Key><Size>1</Size>'
               '<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>')
    manifest = reply(ETag='"m"', content_length='2', Last_Modified='Thu, 02 Jan 2020 00:00:00 GMT')

    def answer(exchange: Exchange) -> None:
        if exchange.line.startswith('HEAD') and '.manifests' in exchange.line:
            manifest(exchange)
        elif exchange.line.startswith('HEAD /bucket/p/o'):
            reply('404 Not Found')(exchange)
        elif 'list-type' in exchange.line:
            reply(body=listing.encode())(exchange)
        else:
            reply(body=note if exchange.line.startswith('GET') else b'')(exchange)
    server, provider = start(*[answer] * 10)
    assert provider.sweep_uploads(60.0) == 0
    assert not any(line.startswith('DELETE') and '.manifests' in line for line in lines(server))


def test_large_metadata_of_what_is_there_outlives_a_refused_write(start: Start) -> None:
    old = b'{"name": "o", "user_metadata": {"a": "old"}}'
    server, provider = start(reply(body=old), reply(), reply('403 Forbidden', s3_error('AccessDenied')), reply())
    with pytest.raises(ProviderError):
        provider.upload_object(BytesBody(DATA), meta(etag=md5(DATA), user_metadata={'a': 'x' * 3000}))
    assert '/.metadata/' in lines(server)[-1] and server.exchanges[-1].body == old


def test_requests_about_one_key_tell_their_answers_apart() -> None:
    with ScriptedServer([reply(body=b'<ListMultipartUploadsResult><Upload><Key>p/%6F</Key><UploadId>x</UploadId>'
                                    b'</Upload></ListMultipartUploadsResult>')]) as server:
        mapping = s3_mapping(server.url)
        client = settings.make_client(mapping, settings.make_endpoint(mapping), max_connections=1, clock=FakeClock())
        assert list(Multipart(client).uploads(Place('bucket', 'p/o'))) == []  # nobody said that it is encoded
        client.close()
