"""A large object at an S3 store: two parts, listed, completed and read across their border; a second one aborted."""
from __future__ import annotations

import base64
import hashlib
from xml.sax.saxutils import escape

from s3_sync.errors import NotFound, ProviderError
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import Call
from s3_sync.providers.s3.objects import ARCHIVE_CLASSES, is_keyed
from s3_sync.streams import BytesBody
from s3_sync.verification.leftovers import Leftover
from s3_sync.verification.outcomes import Doubtful, NotTried, Step, Wrong
from s3_sync.verification.runner import Run
from s3_sync.verification.s3_store import Store, md5_hex

MULTIPART = Step('multipart', 'multipart upload', 's3:PutObject, s3:AbortMultipartUpload, '
                 's3:ListMultipartUploadParts, s3:ListBucketMultipartUploads')
PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes for a part that is not the last."""
TAIL = b'the last part may be short'
SEAM = 4
PART_SECONDS = 30.0
PATIENCE = 4.0
"""Five MiB take their time on a slow line; a request that stalls is noticed by its own time limit."""


class Multipart:
    def __init__(self, run: Run, store: Store, key: str) -> None:
        self._run = run
        self._store = store
        self._key = key
        self._doubts: list[str] = []

    def verify(self, *after: Step) -> None:
        self._run.step(MULTIPART, self._both, after=after, patience=PATIENCE)

    def _both(self) -> str:
        store, leftovers = self._store, self._run.leftovers
        if store.endpoint.flavour == 'google':
            raise NotTried('objects up to 5 GiB go to Google in one piece')
        upload, unfinished = self._create()
        with leftovers.made(store.place(self._key), store.remover(self._key)) as item:
            self._complete(upload)
        leftovers.gone(unfinished)
        if self._store.mapping.storage_class not in ARCHIVE_CLASSES:
            self._read()
        store.delete(self._key)
        leftovers.gone(item)
        upload, unfinished = self._create()
        self._abort(upload)
        leftovers.gone(unfinished)
        if self._doubts:
            raise Doubtful('; '.join(self._doubts))
        return f'{PART_BYTES + len(TAIL)} bytes in two parts'

    # -- one upload -------------------------------------------------------------------

    def _call(self, method: str, query: dict[str, str], body: bytes | None = None,
              headers: dict[str, str] | None = None) -> Call:
        return Call(method, self._store.bucket, self._key, query=query, headers=headers or {},
                    body=None if body is None else BytesBody(body), timeout=PART_SECONDS)

    def _create(self) -> tuple[str, Leftover]:
        headers = {'content-type': 'text/plain', **self._store.upload_headers}
        what = f'an unfinished upload of {self._store.place(self._key)}'
        with self._run.leftovers.made(what, self._drop_all) as item:
            _response, data = self._store.client.read(self._call('POST', {'uploads': ''}, headers=headers))
        upload = xml.parse(data).findtext('UploadId')
        if not upload:
            raise Wrong('the answer to CreateMultipartUpload names no upload')
        item.remove = lambda: self._drop(upload)
        return upload, item

    def _complete(self, upload: str) -> None:
        parts = (_pattern(), TAIL)
        etags = [self._send(upload, number, data) for number, data in enumerate(parts, 1)]
        self._compare_parts(upload, parts)
        listed = ''.join(f'<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>'
                         for number, etag in enumerate(etags, 1))
        document = f'<CompleteMultipartUpload xmlns="{xml.NAMESPACE}">{listed}</CompleteMultipartUpload>'
        _response, data = self._store.client.read(self._call(
            'POST', {'uploadId': upload}, document.encode(), {'content-type': 'application/xml'}))
        etag = (xml.parse(data).findtext('ETag') or '').strip('"')
        digests = b''.join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
        expected = f'{md5_hex(digests)}-{len(parts)}'
        self._run.find('multipart_etag_from_parts', etag == expected)
        if etag != expected and not self._store.kms:
            self._doubts.append(f'the ETag is not made of the parts\' MD5s ({etag}, expected {expected}), so it '
                                'proves nothing about the content')

    def _send(self, upload: str, number: int, data: bytes) -> str:
        digest = hashlib.md5(data, usedforsecurity=False)
        headers = {'content-md5': base64.b64encode(digest.digest()).decode()}
        answer = self._store.client.do(self._call(
            'PUT', {'partNumber': str(number), 'uploadId': upload}, data, headers))
        etag = answer.get('etag', '')
        if etag.strip('"') != digest.hexdigest() and not is_keyed(answer):
            raise Wrong(f'part {number} was stored with ETag {etag}, its MD5 is {digest.hexdigest()}')
        return etag

    def _compare_parts(self, upload: str, parts: tuple[bytes, ...]) -> None:
        _response, data = self._store.client.read(self._call('GET', {'uploadId': upload}))
        found = [(part.findtext('PartNumber'), part.findtext('Size')) for part in xml.parse(data).iter('Part')]
        if found != [(str(number), str(len(part))) for number, part in enumerate(parts, 1)]:
            raise Wrong(f'ListParts does not tell the parts that were sent: {found}')

    def _read(self) -> None:
        first, last = PART_BYTES - SEAM, PART_BYTES + SEAM - 1
        answer = self._store.client.open(self._call('GET', {}, headers={'range': f'bytes={first}-{last}'}))
        with answer:
            if answer.status != 206 or not answer.headers.get('content-range', '').endswith(
                    f'/{PART_BYTES + len(TAIL)}'):
                raise Wrong(f'a range across the parts was answered with {answer.status} '
                            f'{answer.headers.get("content-range", "")}')
            found = answer.read(2 * SEAM)
        if found != _pattern()[-SEAM:] + TAIL[:SEAM]:
            raise Wrong('the parts were not put together as they were sent')

    # -- an upload that is given up -----------------------------------------------------

    def _abort(self, upload: str) -> None:
        try:
            uploads = self._uploads()
        except ProviderError as error:
            self._doubts.append(f'unfinished uploads cannot be listed, so abandoned ones stay and cost ({error})')
            uploads = [upload]
        if upload not in uploads:
            self._doubts.append('ListMultipartUploads does not show an unfinished upload, so abandoned ones stay')
        self._drop(upload)
        try:
            self._compare_parts(upload, ())
        except NotFound:
            return
        raise Wrong('an upload is still there after it was aborted')

    def _uploads(self) -> list[str]:
        _response, data = self._store.client.read(Call(
            'GET', self._store.bucket, query={'uploads': '', 'prefix': self._key}, timeout=PART_SECONDS))
        return [upload.findtext('UploadId') or '' for upload in xml.parse(data).iter('Upload')
                if upload.findtext('Key') == self._key]

    def _drop_all(self) -> None:
        for upload in self._uploads():
            self._drop(upload)

    def _drop(self, upload: str) -> None:
        self._store.client.do(self._call('DELETE', {'uploadId': upload}))


def _pattern() -> bytes:
    """Five MiB that differ everywhere."""
    block = bytes(range(251))
    return (block * (PART_BYTES // len(block) + 1))[:PART_BYTES]
