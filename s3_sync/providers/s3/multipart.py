"""The requests of a multipart upload, one by one. What they are good for is ``large_upload`` and ``large_copy``."""
from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from s3_sync.errors import BucketNotFound, ChecksumMismatch, NotFound, PermanentError, TemporaryError
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import COPY_SECONDS, Call, Client
from s3_sync.providers.s3.listing import decoder
from s3_sync.providers.s3.objects import Place, is_keyed
from s3_sync.providers.s3.signing import quote_path
from s3_sync.streams import Body, BytesBody
from s3_sync.timestamps import iso_seconds


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that the store has."""

    number: int
    etag: str
    """Without quotes. Its MD5, unless the store encrypts with keys of its own (KMS)."""
    size: int = 0
    stored: float = 0.0
    """When it came, Unix seconds of the store's clock."""


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload that the store lists, whoever began it."""

    upload_id: str
    begun: float
    """Unix seconds of the store's clock."""


class Multipart:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.requests = 0
        """How many were made through this object."""

    def create(self, place: Place, headers: Mapping[str, str]) -> str:
        """Begin an upload; its metadata and settings are final. The upload's id."""
        root = self._ask(Call('POST', place.bucket, place.key, query={'uploads': ''}, headers=headers, fresh=True))
        upload_id = root.findtext('UploadId') or ''
        if not upload_id:
            raise TemporaryError(f'{place.key}: the store began an upload without an id', reason='malformed-answer')
        return upload_id

    def put_part(self, place: Place, upload_id: str, number: int, body: Body, md5: str) -> tuple[str, bool]:
        """Send one part, with its MD5 (hex) where that is known. Its ETag, and whether that is an MD5 at all.

        TemporaryError (``upload-gone``) when somebody ended the upload.
        """
        headers = {'content-md5': base64.b64encode(bytes.fromhex(md5)).decode()} if md5 else {}
        call = Call('PUT', place.bucket, place.key, query={'partNumber': str(number), 'uploadId': upload_id},
                    headers=headers, body=body)
        self.requests += 1
        try:
            answer = self._client.do(call)
        except NotFound as error:
            raise _ended(error) from error
        return answer.get('etag', '').strip('"'), not is_keyed(answer)

    def copy_part(self, place: Place, upload_id: str, number: int, first: int, size: int, *, if_match: str) -> str:
        """A run of bytes of the object itself as a part of its next version; the part's ETag."""
        headers = {'x-amz-copy-source': quote_path(f'/{place.bucket}/{place.key}'),
                   'x-amz-copy-source-range': f'bytes={first}-{first + size - 1}',
                   'x-amz-copy-source-if-match': f'"{if_match}"'}
        try:
            root = self._ask(Call(
                'PUT', place.bucket, place.key, query={'partNumber': str(number), 'uploadId': upload_id},
                headers=headers, timeout=COPY_SECONDS))
        except NotFound as error:
            raise _ended(error) from error
        etag = (root.findtext('ETag') or '').strip('"')
        if not etag:
            raise TemporaryError(f'{place.key}: part {number} was copied without an ETag', reason='malformed-answer')
        return etag

    def complete(self, place: Place, upload_id: str, parts: Sequence[StoredPart],
                 headers: Mapping[str, str]) -> str:
        """Make the parts one object; its ETag. A 200 that carries an error is that error."""
        body = BytesBody(xml.complete_document((part.number, part.etag) for part in parts))
        root = self._ask(Call(
            'POST', place.bucket, place.key, query={'uploadId': upload_id}, body=body, timeout=COPY_SECONDS,
            headers={**headers, 'content-type': 'application/xml'}))
        etag = (root.findtext('ETag') or '').strip('"')
        if root.tag != 'CompleteMultipartUploadResult' or not etag:
            raise TemporaryError(f'{place.key}: the answer to completing it says nothing', reason='malformed-answer')
        return etag

    def abort(self, place: Place, upload_id: str) -> None:
        """End an upload; one that is not there any more is no error."""
        self.requests += 1
        try:
            self._client.do(Call('DELETE', place.bucket, place.key, query={'uploadId': upload_id}))
        except BucketNotFound:
            raise
        except NotFound:
            pass

    def parts(self, place: Place, upload_id: str) -> list[StoredPart]:
        """What the store has of an upload. NotFound when the upload is not there (any more)."""
        found: list[StoredPart] = []
        marker = ''
        while True:
            query = {'uploadId': upload_id, **({'part-number-marker': marker} if marker else {})}
            root = self._ask(Call('GET', place.bucket, place.key, query=query))
            page = [StoredPart(_number(part.findtext('PartNumber')), (part.findtext('ETag') or '').strip('"'),
                               _number(part.findtext('Size')), iso_seconds(part.findtext('LastModified') or '') or 0.0)
                    for part in root.iter('Part')]
            found += page
            if root.findtext('IsTruncated') != 'true':
                return found
            following = root.findtext('NextPartNumberMarker') or str(page[-1].number if page else 0)
            if _number(following) <= _number(marker or '0'):
                raise PermanentError(f'{place.key}: the list of parts does not go on', reason='lying-listing')
            marker = following

    def uploads(self, place: Place) -> Iterator[UnfinishedUpload]:
        """All unfinished uploads of exactly this key, ours and others'."""
        encoded = {} if self._client.endpoint.flavour == 'google' else {'encoding-type': 'url'}
        query = {'uploads': '', 'prefix': place.key, **encoded}
        seen: set[tuple[str, str]] = set()
        while True:
            root = self._ask(Call('GET', place.bucket, query=query))
            decode = decoder(root)
            for upload in root.iter('Upload'):
                if decode(upload.findtext('Key') or '') == place.key and upload.findtext('UploadId'):
                    yield UnfinishedUpload(upload.findtext('UploadId') or '',
                                           iso_seconds(upload.findtext('Initiated') or '') or 0.0)
            following = (decode(root.findtext('NextKeyMarker') or ''), root.findtext('NextUploadIdMarker') or '')
            if root.findtext('IsTruncated') != 'true' or not following[0] or following in seen:
                return
            seen.add(following)
            query = {'uploads': '', 'prefix': place.key, **encoded, 'key-marker': following[0],
                     **({'upload-id-marker': following[1]} if following[1] else {})}

    def _ask(self, call: Call) -> Element:
        self.requests += 1
        return xml.parse(self._client.read(call)[1], any_key=True)


def check_part(place: Place, number: int, etag: str, md5: str) -> None:
    """ChecksumMismatch when a store that tells MD5s stored other bytes than were sent."""
    if etag != md5:
        raise ChecksumMismatch(f'{place.key}: part {number} was stored with ETag {etag}, sent MD5 {md5}')


def _ended(error: NotFound) -> Exception:
    """Another process has completed or ended the upload: a new look at the object tells which."""
    return error if isinstance(error, BucketNotFound) else TemporaryError(str(error), status=error.status,
                                                                          reason='upload-gone')


def _number(text: str | None) -> int:
    if not (text and text.isascii() and text.isdigit()):
        raise TemporaryError(f'a list of parts tells {text!r} for a number', reason='malformed-answer')
    return int(text)
