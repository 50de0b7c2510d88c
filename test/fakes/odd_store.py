"""An S3 store in memory that is wrong in the ways that real ones are, each when told. It checks no signatures."""
from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from s3_sync.clock import SystemClock

KEPT = ('content-type', 'content-encoding')


@dataclass
class Stored:
    data: bytes
    headers: dict[str, str]
    etag: str


@dataclass
class Answer:
    status: int = 200
    body: bytes = b''
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        self.answer = Answer(status, f'<Error><Code>{code}</Code><Message>no</Message></Error>'.encode())


class OddStore:
    """One bucket, ``bucket``. ``quirks``: what is wrong with it, see where they are asked for."""

    def __init__(self, *quirks: str, clock_offset: float = 0.0) -> None:
        self.quirks = frozenset(quirks)
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes], dict[str, str]]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._offset = clock_offset
        self._lock = threading.Lock()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get('content-length') or 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                with store._lock:
                    answer = store.take(self.command, self.path, headers, body)
                self.send_response_only(answer.status)
                length = answer.headers.pop('content-length', str(len(answer.body)))
                date = formatdate(SystemClock().now() + store._offset, usegmt=True)
                for name, value in {'Date': date, 'Server': 'Odd', 'Content-Length': length, **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(answer.body)
                self.wfile.flush()

            def handle_expect_100(self) -> bool:
                going_on = super().handle_expect_100()
                self.wfile.flush()
                return going_on

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._server.server_address[1]}'

    def __enter__(self) -> OddStore:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    # -- requests -----------------------------------------------------------------------

    def take(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(target)
        path = unquote(parts.path).removeprefix('/')
        virtual = headers.get('host', '').startswith('bucket.')
        bucket, _, key = ('bucket', '', path) if virtual else path.partition('/')
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.seen.append((method, target, headers))
        try:
            if f'no-{"virtual-hosts" if virtual else "path-style"}' in self.quirks:
                raise Refused(403, 'SecondLevelDomainForbidden')
            if bucket and bucket != 'bucket':
                raise Refused(404, 'NoSuchBucket')
            if f'no-{method}' in self.quirks:
                raise Refused(403, 'AccessDenied')
            if not key:
                return self._of_bucket(method, query, body)
            if 'collapses' in self.quirks:
                while '//' in key:
                    key = key.replace('//', '/')
            if 'uploads' in query or 'uploadId' in query:
                return self._of_upload(method, key, query, headers, body)
            return getattr(self, f'_{method.lower()}')(key, headers, body)
        except Refused as refused:
            return refused.answer

    def _of_bucket(self, method: str, query: dict[str, str], body: bytes) -> Answer:
        if method == 'HEAD':
            return Answer(headers={'x-amz-bucket-region': 'us-east-1'})
        if 'lifecycle' in query:
            raise Refused(403, 'AccessDenied') if 'no-lifecycle' in self.quirks else Refused(
                404, 'NoSuchLifecycleConfiguration')
        if 'uploads' in query:
            return Answer(body=document('ListMultipartUploadsResult', ''.join(
                f'<Upload><Key>{escape(key)}</Key><UploadId>{upload}</UploadId></Upload>'
                for upload, (key, _, _) in self.uploads.items())))
        if method == 'POST':
            return self._delete_several(body)
        return self._list(query)

    def _delete_several(self, body: bytes) -> Answer:
        if 'no-delete-objects' in self.quirks:
            raise Refused(501, 'NotImplemented')
        if 'lying-delete-objects' not in self.quirks:
            for element in ElementTree.fromstring(body).iter():  # noqa: S314
                if element.tag.endswith('Key'):
                    self.objects.pop(element.text or '', None)
        return Answer(body=document('DeleteResult', ''))

    def _list(self, query: dict[str, str]) -> Answer:
        keys = sorted((key for key in self.objects if key.startswith(query.get('prefix', ''))),
                      key=lambda key: key.replace('/', '\x01') if 'own-order' in self.quirks else key)
        if 'late-listing' in self.quirks:
            keys = []
        shown = ''.join(
            f'<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key].data)}</Size>'
            f'<ETag>"{self.objects[key].etag}"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>'
            for key in keys)
        v1 = 'list-type' not in query or 'v1' in self.quirks
        kind = '<Marker/>' if v1 else f'<KeyCount>{len(keys)}</KeyCount>'
        return Answer(body=document('ListBucketResult', f'{kind}<IsTruncated>false</IsTruncated>{shown}'))

    # -- objects ------------------------------------------------------------------------

    def _put(self, key: str, headers: dict[str, str], body: bytes) -> Answer:
        if 'x-amz-copy-source' in headers:
            return self._copy(key, headers)
        here = self.objects.get(key)
        if 'no-conditions' not in self.quirks:
            if headers.get('if-none-match') == '*' and here:
                raise Refused(412, 'PreconditionFailed')
            if headers.get('if-match') and (not here or headers['if-match'] != f'"{here.etag}"'):
                raise Refused(412, 'PreconditionFailed')
        wanted = headers.get('content-md5')
        if wanted and 'no-md5' not in self.quirks and base64.b64decode(wanted) != digest(body):
            raise Refused(400, 'BadDigest')
        if headers.get('x-amz-content-sha256', '').startswith('STREAMING'):
            body, headers = self._unframed(headers, body)
        if 'changes-bytes' in self.quirks:
            body = body + b'\n'
        etag = hashlib.sha256(body).hexdigest()[:32] if 'odd-etag' in self.quirks else digest(body).hex()
        if key not in self.objects or 'keeps-first' not in self.quirks:
            self.objects[key] = Stored(body, self._kept(headers), etag)
        return Answer(headers={'ETag': f'"{etag}"'})

    def _unframed(self, headers: dict[str, str], body: bytes) -> tuple[bytes, dict[str, str]]:
        if 'no-trailers' in self.quirks:
            raise Refused(400, 'InvalidRequest')
        if 'framing' in self.quirks:
            return body, headers
        length, _, rest = body.partition(b'\r\n')
        data = rest[:int(length, 16)]
        if 'unchecked-trailers' not in self.quirks and b'crc32' in body:
            import zlib
            told = base64.b64decode(body.partition(b'crc32:')[2].strip())
            if int.from_bytes(told, 'big') != zlib.crc32(data):
                raise Refused(400, 'BadDigest')
        return data, {k: v for k, v in headers.items() if k != 'content-encoding'}

    def _kept(self, headers: dict[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in headers.items() if k in KEPT or k.startswith('x-amz-meta-')}
        return {k: v for k, v in kept.items() if k in KEPT} if 'forgets-metadata' in self.quirks else kept

    def _copy(self, key: str, headers: dict[str, str]) -> Answer:
        if 'no-copy' in self.quirks:
            raise Refused(403, 'AccessDenied')
        here = self._there(key)
        here.headers = self._kept(headers)
        return Answer(body=document('CopyObjectResult', f'<ETag>"{here.etag}"</ETag>'))

    def _there(self, key: str) -> Stored:
        if key not in self.objects:
            raise Refused(404, 'NoSuchKey')
        return self.objects[key]

    def _head(self, key: str, headers: dict[str, str], body: bytes) -> Answer:
        here = self._there(key)
        return Answer(headers={**here.headers, 'ETag': f'"{here.etag}"', 'content-length': str(len(here.data))})

    def _get(self, key: str, headers: dict[str, str], body: bytes) -> Answer:
        here = self._there(key)
        told = {**here.headers, 'ETag': f'"{here.etag}"'}
        if 'no-conditional-get' not in self.quirks:
            if headers.get('if-none-match') == f'"{here.etag}"':
                return Answer(304, headers=told)
            if headers.get('if-match') and headers['if-match'] != f'"{here.etag}"':
                raise Refused(412, 'PreconditionFailed')
        if headers.get('range') and 'no-range' not in self.quirks:
            first, last = map(int, headers['range'].removeprefix('bytes=').split('-'))
            told['Content-Range'] = f'bytes {first}-{last}/{len(here.data)}'
            return Answer(206, here.data[first:last + 1], told)
        return Answer(200, here.data, told)

    def _delete(self, key: str, headers: dict[str, str], body: bytes) -> Answer:
        if 'lying-delete' not in self.quirks:
            self.objects.pop(key, None)
        return Answer(204)

    # -- multipart ----------------------------------------------------------------------

    def _of_upload(self, method: str, key: str, query: dict[str, str], headers: dict[str, str],
                   body: bytes) -> Answer:
        if 'uploads' in query:
            upload = f'upload-{len(self.seen)}'
            self.uploads[upload] = (key, {}, self._kept(headers))
            return Answer(body=document('InitiateMultipartUploadResult', f'<UploadId>{upload}</UploadId>'))
        upload = query['uploadId']
        if upload not in self.uploads:
            raise Refused(404, 'NoSuchUpload')
        parts = self.uploads[upload][1]
        if method == 'PUT':
            parts[int(query['partNumber'])] = body
            return Answer(headers={'ETag': f'"{digest(body).hex()}"'})
        if method == 'GET':
            return Answer(body=document('ListPartsResult', ''.join(
                f'<Part><PartNumber>{n}</PartNumber><Size>{len(data)}</Size></Part>' for n, data in parts.items())))
        if method == 'DELETE':
            if 'no-abort' in self.quirks:
                raise Refused(403, 'AccessDenied')
            del self.uploads[upload]
            return Answer(204)
        return self._complete(key, upload)

    def _complete(self, key: str, upload: str) -> Answer:
        if 'complete-fails' in self.quirks:  # as AWS does: 200 first, the error later
            return Answer(200, b'<Error><Code>InternalError</Code><Message>We are sorry</Message></Error>')
        _, parts, headers = self.uploads.pop(upload)
        order: Iterable[int] = sorted(parts, reverse='mixes-parts' in self.quirks)
        etag = f'{digest(b"".join(digest(parts[n]) for n in sorted(parts))).hex()}-{len(parts)}'
        if 'odd-multipart-etag' in self.quirks:
            etag = f'{"0" * 32}-{len(parts)}'
        self.objects[key] = Stored(b''.join(parts[n] for n in order), headers, etag)
        return Answer(body=document('CompleteMultipartUploadResult', f'<ETag>"{etag}"</ETag>'))


def digest(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def document(root: str, inside: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inside}</{root}>'.encode()
