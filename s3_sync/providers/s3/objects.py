"""Single objects: put, head, get, copy onto itself, delete. One request each."""
from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from s3_sync.base_sync import NO_CONDITION
from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    ProviderError,
    Unsupported,
)
from s3_sync.providers.http import Response
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import COPY_SECONDS, Call, Client
from s3_sync.providers.s3.limits import CHANGES_NAMES, MAX_COMPONENT_BYTES, has_long_component, may_be_changed
from s3_sync.providers.s3.signing import quote_path
from s3_sync.streams import Body, BytesBody
from s3_sync.types import NO_HEADERS, Condition, ObjectMeta, PutResult
from s3_sync.wire.s3_headers import is_multipart, meta_from_s3

ARCHIVE_CLASSES = frozenset({'GLACIER', 'DEEP_ARCHIVE', 'GLACIER_DEEP_ARCHIVE'})
"""Objects of these classes must be restored before they can be read or copied."""
DEFAULT_TYPE = 'application/octet-stream'
MAX_COPY_BYTES = 5 * 1024 ** 3
BUCKET_SEEN_SECONDS = 300.0
_HOP_BY_HOP = frozenset({'connection', 'keep-alive', 'proxy-authenticate', 'te', 'trailer', 'transfer-encoding',
                         'upgrade'})
KMS_HEADER = 'x-amz-server-side-encryption'
_KEPT_ENCRYPTION = (KMS_HEADER, 'x-amz-server-side-encryption-aws-kms-key-id')


@dataclass(frozen=True, slots=True)
class Place:
    """One key of one bucket."""

    bucket: str
    key: str


class Objects:
    """Requests about single keys. ``conditional``: what the endpoint honours on PUT (create, overwrite)."""

    def __init__(self, client: Client, *, encryption: Mapping[str, str], etag_is_md5: bool) -> None:
        self._client = client
        self._bucket_seen: dict[str, float] = {}
        self._encryption = encryption
        self._etag_is_md5 = etag_is_md5
        self.conditional = (False, False)
        self.keyed = False
        """Whether the last answer to a PUT told of encryption with keys of the store's own: ETags are then no MD5s."""
        self.wants_md5 = False
        """Whether parts without Content-MD5 were refused (a bucket with Object Lock retention)."""

    def put(self, place: Place, body: Body, headers: Mapping[str, str], *, md5: str = '',
            condition: Condition = NO_CONDITION) -> PutResult:
        """``md5``: hex of the body's, sent along and compared with the answer.

        A condition that the endpoint does not honour is checked by a HEAD first.
        """
        requests = 1
        sent = {'content-type': DEFAULT_TYPE, **self._encryption, **headers}
        if condition.if_none_match or condition.if_match:
            requests += self._conditions(place, condition, sent)
        if not md5 and isinstance(body, BytesBody):
            md5 = hashlib.md5(body.data, usedforsecurity=False).hexdigest()
        if md5:
            sent['content-md5'] = base64.b64encode(bytes.fromhex(md5)).decode()
            counted: Body = body
        else:
            counted = _Hashed(body)
        try:
            answer = self._client.do(Call('PUT', place.bucket, place.key, headers=sent, body=counted))
        except BucketNotFound:
            raise
        except NotFound as error:
            if condition.if_match:  # what was to be overwritten has gone
                raise PreconditionFailed(str(error), status=error.status) from error
            raise
        etag = answer.get('etag', '').strip('"')
        if isinstance(counted, _Hashed):
            md5 = counted.md5.hexdigest()
        self.keyed = is_keyed(answer)
        if self._etag_is_md5 and not self.keyed and md5 and etag and etag != md5:
            raise ChecksumMismatch(f'PUT {place.bucket}/{place.key}: stored with ETag {etag}, sent MD5 {md5}')
        return PutResult(etag or md5, requests)

    def _conditions(self, place: Place, condition: Condition, headers: dict[str, str]) -> int:
        """Put into ``headers`` what the endpoint honours, check the rest now. Number of requests made."""
        create_only, overwrite = self.conditional
        unchecked = Condition(
            if_match=None if overwrite else condition.if_match,
            if_none_match=None if create_only else condition.if_none_match)
        if condition.if_none_match and create_only:
            headers['if-none-match'] = _etag(condition.if_none_match)
        if condition.if_match and overwrite:
            headers['if-match'] = _etag(condition.if_match)
        if unchecked == Condition():
            return 0
        self.check(place, unchecked)
        return 1

    def keeps_name(self, key: str) -> bool:
        """Whether the store can have an object of just this key. One that cannot would touch another object."""
        return not may_be_changed(key) or not self._keeps_paths()

    def check_large_name(self, key: str) -> None:
        """LimitExceeded when the store takes this key for a single PUT, but not for parts."""
        if has_long_component(key) and self._keeps_paths():
            raise LimitExceeded(f'{key}: this store takes no large object whose name has more than '
                                f'{MAX_COMPONENT_BYTES} bytes between two slashes', reason='key-too-long')

    def _keeps_paths(self) -> bool:
        """Whether the store is a file system underneath; asked once, if it has not said a word yet."""
        if self._client.endpoint.flavour != 'other':
            return False
        if not self._client.answered:
            self._client.open(Call('GET'), accept=tuple(range(300, 600))).close()
        return self._client.server.startswith(CHANGES_NAMES)

    def check(self, place: Place, condition: Condition) -> None:
        """PreconditionFailed when ``condition`` does not hold now."""
        try:
            etag = self.head(place, '').etag
        except NotFound:
            etag = ''
        require(condition, etag, place.key)

    def head_bucket(self, bucket: str) -> dict[str, str]:
        """Headers without the store's own. BucketNotFound when it is not there."""
        try:
            headers = self._client.do(Call('HEAD', bucket))
        except NotFound as error:
            raise BucketNotFound(f'bucket {bucket} does not exist', status=404) from error
        self._bucket_seen[bucket] = self._client.clock.monotonic()
        return {k: v for k, v in headers.items() if k not in _HOP_BY_HOP}

    def head(self, place: Place, name: str) -> ObjectMeta:
        try:
            headers = self._client.do(Call('HEAD', place.bucket, place.key))
        except NotFound:
            self._require_bucket(place.bucket)
            raise
        return meta_from_s3(name, headers)

    def _require_bucket(self, bucket: str) -> None:
        """A 404 without a body may mean the bucket: look, once in a while."""
        if self._client.clock.monotonic() < self._bucket_seen.get(bucket, -inf) + BUCKET_SEEN_SECONDS:
            return
        try:
            self.head_bucket(bucket)
        except BucketNotFound:
            raise
        except ProviderError:
            return  # not ours to ask, or not now

    def open(self, method: str, place: Place, *, headers: Mapping[str, str], accept: tuple[int, ...] = (),
             query: Mapping[str, str] = NO_HEADERS, bounded: bool = True) -> Response:
        """GET or HEAD; the body is still to be read or closed."""
        return self._client.open(Call(method, place.bucket, place.key, query, headers, bounded=bounded),
                                 accept=accept)

    def kept_settings(self, current: ObjectMeta) -> dict[str, str]:
        """Headers that keep a version's encryption and storage class. Unsupported when it is archived."""
        if current.storage_class in ARCHIVE_CLASSES:
            raise Unsupported(f'{current.name!r}: metadata of storage class {current.storage_class} cannot be changed')
        kept = {k: current.sysmeta[k] for k in _KEPT_ENCRYPTION if current.sysmeta.get(k)} or dict(self._encryption)
        if current.storage_class:
            kept['x-amz-storage-class'] = current.storage_class
        return kept

    def copy_onto_itself(self, place: Place, headers: Mapping[str, str], current: ObjectMeta, *,
                         whole: bool = False) -> PutResult:
        """Replace all metadata of the version ``current`` (a HEAD), its storage class, encryption and tags kept.

        Unsupported when the store cannot: archived, or over 5 GiB, or a
        multipart object, whose ETag would change (``whole``: this store keeps it).
        """
        kept = self.kept_settings(current)
        if not whole and (current.size > MAX_COPY_BYTES or is_multipart(current.etag)):
            raise Unsupported(f'{place.key}: metadata of a multipart object cannot be changed in one copy')
        source = quote_path(f'/{place.bucket}/{place.key}')
        sent = {'content-type': DEFAULT_TYPE, **headers, **kept, 'x-amz-copy-source': source,
                'x-amz-metadata-directive': 'REPLACE'}
        if current.etag:
            sent['x-amz-copy-source-if-match'] = _etag(current.etag)
        _response, data = self._client.read(
            Call('PUT', place.bucket, place.key, headers=sent, timeout=COPY_SECONDS))
        etag = (xml.parse(data).findtext('ETag') or '').strip('"') if data else ''
        return PutResult(etag or current.etag)

    def delete(self, place: Place, *, if_match: str | None = None) -> None:
        """Gone afterwards; a key that was not there is no error."""
        headers = {'if-match': _etag(if_match)} if if_match else {}
        try:
            self._client.do(Call('DELETE', place.bucket, place.key, headers=headers))
        except BucketNotFound:
            raise
        except NotFound:
            pass


class _Hashed:
    """A body whose MD5 is not known before it has been sent."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.size = body.size
        self.md5 = hashlib.md5(usedforsecurity=False)

    def __iter__(self) -> Iterator[bytes]:
        self.md5 = hashlib.md5(usedforsecurity=False)
        for chunk in self._body:
            self.md5.update(chunk)
            yield chunk

    def rewind(self) -> None:
        self._body.rewind()

    def close(self) -> None:
        self._body.close()


def require(condition: Condition, etag: str, key: str) -> None:
    """PreconditionFailed unless ``condition`` holds for an object with this ETag ('': not there)."""
    wrong = ((condition.if_match is not None and (not etag or condition.if_match not in ('*', etag)))
             or (condition.if_none_match is not None and etag and condition.if_none_match in ('*', etag)))
    if wrong:
        raise PreconditionFailed(f'{key}: is {etag or "not there"}', status=412)


def condition_headers(condition: Condition) -> dict[str, str]:
    headers = {}
    if condition.if_match is not None:
        headers['if-match'] = _etag(condition.if_match)
    if condition.if_none_match is not None:
        headers['if-none-match'] = _etag(condition.if_none_match)
    return headers


def is_keyed(headers: Mapping[str, str]) -> bool:
    """Whether a version with these headers is encrypted with keys of the store's own, so that its ETag is no MD5."""
    return headers.get(KMS_HEADER, '').startswith('aws:kms')


def _etag(value: str) -> str:
    return value if value == '*' or value.startswith('"') else f'"{value}"'
