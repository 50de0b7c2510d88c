"""A provider whose store is this process' memory.

It is the second full implementation of the contract: what it and a real store
both do is the contract, what only one does is an accident. Shipped, because dry
runs, demonstrations and the property tests of the engine run on it.
"""
from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from s3_sync.base_sync import NO_CONDITION, BaseSync, Capabilities, ProviderResponse, RemoteObject
from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    Forbidden,
    LimitExceeded,
    NotFound,
    NotModified,
    PermanentError,
    PreconditionFailed,
    Unproven,
)
from s3_sync.large_objects.bodies import WholeBody
from s3_sync.large_objects.etags import Relation, relation_to
from s3_sync.large_objects.layouts import layout_of_manifest
from s3_sync.large_objects.model import LargeSource, Layout
from s3_sync.providers.client_view import condition_status, forwarded_range, local_headers
from s3_sync.providers.large_answers import asked_part, manifest_answer, part_of, wants_manifest
from s3_sync.providers.memory_answers import plain_response, single_range
from s3_sync.streams import CHUNK_BYTES, Body
from s3_sync.types import (
    BucketEntry,
    BucketPage,
    Condition,
    ListingEntry,
    ListingPage,
    ObjectMeta,
    PutResult,
    ShuntRequest,
)
from s3_sync.wire.swift_headers import USER_PREFIX

PAGE_NAMES = 10_000
CAPABILITIES = Capabilities(conditional_delete=True, native_expiry=True, container_metadata=True,
                            batch_delete=1000, max_metadata_bytes=4096, max_metadata_count=90)


@dataclass(slots=True)
class StoredObject:
    """One object: its bytes, and its metadata as a HEAD tells it."""

    data: bytes
    meta: ObjectMeta
    content: str = ''
    """``Layout.etag`` of the large object whose every piece was checked on its way here; '' for any other write."""
    prefix: str = ''
    """Of a DLO."""


@dataclass
class MemoryStore:
    """What lies behind one or several ``MemorySync``: buckets by name, shared like a real endpoint."""

    buckets: dict[str, dict[str, StoredObject]] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    """Headers that ``apply_container`` and container POSTs left, by bucket."""
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """What stands beside large objects, by bucket and name; no listing shows it."""
    secret: str = ''
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemorySync(BaseSync):
    """One bucket of a ``MemoryStore``; created with the instance unless ``create`` is false."""

    def __init__(self, store: MemoryStore | None = None, *, bucket: str = 'bucket', create: bool = True,
                 secret: str = '', capabilities: Capabilities = CAPABILITIES, page_names: int = PAGE_NAMES,
                 clock: Clock | None = None) -> None:
        self.store = store or MemoryStore()
        self.bucket = bucket
        self.capabilities = capabilities
        self._secret = secret
        self._page_names = page_names
        self._clock = clock or SystemClock()
        if create:
            self.store.buckets.setdefault(bucket, {})

    # -- account and bucket -------------------------------------------------------------

    def head_account(self) -> Mapping[str, str]:
        self._authorise()
        return {'x-account-container-count': str(len(self.store.buckets))}

    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        self._authorise()
        names = sorted((n for n in self.store.buckets if n.startswith(prefix)), key=str.encode)
        names = [n for n in names if n.encode() > marker.encode()]
        size = self._page_size(limit)
        entries = tuple(
            BucketEntry(n, len(self.store.buckets[n]), sum(len(o.data) for o in self.store.buckets[n].values()))
            for n in names[:size])
        return BucketPage(entries, names[size - 1] if len(names) > size else None)

    def head_bucket(self, *, bucket: str | None = None) -> Mapping[str, str]:
        objects = self._objects(bucket)
        return {'x-container-object-count': str(len(objects)), **self.store.settings.get(bucket or self.bucket, {})}

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        size = self._page_size(limit)
        with self.store.lock:
            objects = {n: o for n, o in self._objects(bucket).items() if not self._expired(o)}
        entries: list[ListingEntry] = []
        for name in sorted((n for n in objects if n.startswith(prefix)), key=str.encode):
            entry = _listing_entry(name, objects[name].meta, len(prefix), delimiter)
            if name.encode() <= marker.encode() or (entry.subdir and entry.name == marker):
                continue
            if entries and entries[-1].subdir and entries[-1].name == entry.name:
                continue
            if len(entries) == size:
                return ListingPage(tuple(entries), entries[-1].name)
            entries.append(entry)
        return ListingPage(tuple(entries))

    def apply_container(self, headers: Mapping[str, str]) -> None:
        self._objects(None)
        self._post_container(headers)

    # -- object -------------------------------------------------------------------------

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        with self.store.lock:
            return self._stored(key, bucket).meta

    def get_object(self, key: str, *, bucket: str | None = None, byte_range: tuple[int, int | None] | None = None,
                   condition: Condition = NO_CONDITION) -> RemoteObject:
        with self.store.lock:
            stored = self._stored(key, bucket)
        etag = stored.meta.etag
        if condition.if_match not in (None, '*', etag):
            raise PreconditionFailed(f'{key} is another version', status=412)
        if condition.if_none_match in ('*', etag):
            raise NotModified(f'{key} is that version', status=304)
        if byte_range is None:
            return RemoteObject(stored.meta, _chunks(stored.data))
        first, last = byte_range
        size = len(stored.data)
        if first >= size:
            raise PermanentError(f'{key} has no byte {first}', status=416, reason='range')
        end = size if last is None else min(last + 1, size)
        return RemoteObject(stored.meta, _chunks(stored.data[first:end]), 206, f'bytes {first}-{end - 1}/{size}')

    def put_object(self, key: str, body: Body, meta: ObjectMeta, *, bucket: str | None = None,
                   condition: Condition = NO_CONDITION) -> PutResult:
        self._objects(bucket)
        data = b''.join(body)
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if len(data) != body.size or meta.content_md5 not in ('', digest):
            raise ChecksumMismatch(f'{key}: the bytes received are not those announced', status=422)
        with self.store.lock:
            self._check(key, bucket, condition)
            self._store(bucket, StoredObject(data, self._kept(key, meta, digest, len(data))))
        return PutResult(digest)

    def post_object(self, key: str, meta: ObjectMeta, *, bucket: str | None = None,
                    condition: Condition = NO_CONDITION) -> PutResult:
        with self.store.lock:
            stored = self._stored(key, bucket)
            self._check(key, bucket, condition)
            # The data stays, and so does what tells its content.
            kept = replace(meta, source_etag=meta.source_etag or stored.meta.source_etag)
            stored.meta = replace(self._kept(key, kept, stored.meta.etag, stored.meta.size),
                                  large_object=stored.meta.large_object)
        return PutResult(stored.meta.etag)

    def delete_object(self, key: str, *, bucket: str | None = None, condition: Condition = NO_CONDITION) -> bool:
        with self.store.lock:
            objects = self._objects(bucket)
            if key in objects:
                self._check(key, bucket, condition)
            gone = objects.pop(key, None)
            self.store.manifests.pop((bucket or self.bucket, key), None)
            return gone is not None and not self._expired(gone)

    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        self.check_upload(meta, body.size)
        return self.put_object(meta.name, body, meta, condition=condition)

    def check_upload(self, meta: ObjectMeta, size: int) -> None:
        if size > self.capabilities.max_put_bytes:
            raise LimitExceeded(f'object is larger than {self.capabilities.max_put_bytes} bytes', reason='too-large')
        self._check_limits(meta)

    def update_metadata(self, meta: ObjectMeta, remote: ObjectMeta) -> PutResult:
        self._check_metadata(meta)
        return self.post_object(meta.name, meta, condition=Condition(if_match=remote.etag))

    # -- large objects ------------------------------------------------------------------

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, *,
                            condition: Condition = NO_CONDITION) -> PutResult:
        """As one object of its logical bytes, the stored manifest beside it."""
        self.check_large_upload(large, meta)
        with self.store.lock:
            self._check(meta.name, None, condition)  # before anything is read
        body = WholeBody(large)
        try:
            data = b''.join(body)
        finally:
            body.close()
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        layout = large.layout
        with self.store.lock:
            self._check(meta.name, None, condition)
            kept = replace(self._kept(meta.name, meta, digest, len(data)), source_etag=layout.etag,
                           large_object=None if layout.kind == 'plain' else layout.kind)
            self._store(None, StoredObject(data, kept, layout.etag, layout.prefix), layout.manifest)
        return PutResult(digest)

    def check_large_upload(self, large: LargeSource, meta: ObjectMeta) -> int:
        self._check_limits(meta)
        return super().check_large_upload(large, meta)

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        wanted, place = large.layout.manifest, (self.bucket, meta.name)
        with self.store.lock:
            self._stored(meta.name, None)
            if self.store.manifests.get(place, b'') == wanted:
                return False
            self.store.manifests[place] = wanted
        return True

    def layout_of(self, meta: ObjectMeta, *, as_remote: bool = False) -> Layout | None:
        if meta.large_object not in ('slo', 'dlo'):
            return None
        with self.store.lock:
            stored = self._objects(None).get(meta.name)
            manifest = self.store.manifests.get((self.bucket, meta.name), b'')
        return layout_of_manifest(meta.large_object, manifest, size=meta.size, content=meta.source_etag,
                                  prefix=stored.prefix if stored else '')

    def relation(self, large: LargeSource, remote: ObjectMeta) -> Relation:
        return relation_to(large.layout, remote.etag, source_etag=remote.source_etag, remote_size=remote.size,
                           etag_is_md5=True)

    def prove(self, meta: ObjectMeta, *, large: LargeSource | None = None,
              written: PutResult | None = None) -> ObjectMeta:
        if large is not None:
            with self.store.lock:
                stored = self._stored(meta.name, None)
                manifest = self.store.manifests.get((self.bucket, meta.name), b'')
            if manifest != large.layout.manifest:
                raise Unproven(f'{meta.name!r}: the manifest is missing', reason='manifest')
            if large.layout.etag == stored.content or stored.meta.etag == _md5_of(large):
                written = PutResult(stored.meta.etag)
        return super().prove(meta, large=large, written=written)

    # -- shunt --------------------------------------------------------------------------

    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        try:
            if not request.key:
                return plain_response(405)
            with self.store.lock:
                stored = self._stored(request.key, None)
        except (NotFound, Forbidden) as error:
            return plain_response(error.status or 404)
        return self._answer(request, stored)

    def _answer(self, request: ShuntRequest, stored: StoredObject) -> ProviderResponse:
        wanted = {k.lower(): v for k, v in request.headers.items()}
        headers = local_headers(stored.meta)
        if stored.meta.large_object == 'dlo':
            headers['x-object-manifest'] = quote(stored.prefix)
        if wants_manifest(request) and stored.meta.large_object:
            return manifest_answer(request, stored.meta, headers, self.layout_of(stored.meta))
        layout = self.layout_of(stored.meta) if stored.meta.large_object == 'slo' else None
        if asked_part(request) is not None and layout is not None:
            part = part_of(request, layout, headers)
            if isinstance(part, ProviderResponse):
                return part
            wanted['range'] = f'bytes={part.first}-{part.first + part.length - 1}'
            headers['x-parts-count'] = str(len(layout.segments))
        status = condition_status(wanted, headers, stored.meta.etag)
        if status != 200:
            return ProviderResponse(status, {**headers, 'content-length': '0'})
        data = stored.data
        asked = wanted if 'x-parts-count' in headers else forwarded_range(request.method, wanted)
        if span := single_range(asked.get('range', ''), len(data)):
            if span[0] >= span[1]:
                return ProviderResponse(416, {'content-length': '0', 'content-range': f'bytes */{len(data)}'})
            status = 206
            headers['content-range'] = f'bytes {span[0]}-{span[1] - 1}/{len(data)}'
            data = data[slice(*span)]
        headers['content-length'] = str(len(data))
        return ProviderResponse(status, headers, iter(()) if request.method == 'HEAD' else _chunks(data), stored.meta)

    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        try:
            if not request.key:
                self._objects(None)
                self._post_container({k.lower(): v for k, v in request.headers.items()})
                return plain_response(204)
            with self.store.lock:
                stored = self._stored(request.key, None)
                sent = {k.lower(): v for k, v in request.headers.items()}
                stored.meta = replace(
                    stored.meta, content_type=sent.get('content-type') or stored.meta.content_type,
                    user_metadata={k[len(USER_PREFIX):]: v for k, v in sent.items() if k.startswith(USER_PREFIX)})
        except (NotFound, Forbidden) as error:
            return plain_response(error.status or 404)
        return plain_response(202)

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        try:
            if request.key:
                if_match = {k.lower(): v for k, v in request.headers.items()}.get('if-match', '').strip('"')
                gone = self.delete_object(request.key, condition=Condition(if_match=if_match or None))
                return plain_response(204 if gone else 404)
            if self._objects(None):
                return plain_response(409)
            del self.store.buckets[self.bucket]
        except PreconditionFailed:
            return plain_response(412)
        except (NotFound, Forbidden) as error:
            return plain_response(error.status or 404)
        return plain_response(204)

    def location(self, *, bucket: str | None = None) -> str:
        return f'memory;{bucket or self.bucket}'

    # -- inside -------------------------------------------------------------------------

    def _authorise(self) -> None:
        if self._secret != self.store.secret:
            raise Forbidden('wrong secret', status=403)

    def _objects(self, bucket: str | None) -> dict[str, StoredObject]:
        self._authorise()
        try:
            return self.store.buckets[bucket or self.bucket]
        except KeyError:
            raise BucketNotFound(f'no bucket {bucket or self.bucket}', status=404) from None

    def _stored(self, key: str, bucket: str | None) -> StoredObject:
        stored = self._objects(bucket).get(key)
        if stored is None or self._expired(stored):
            raise NotFound(f'no object {key}', status=404)
        return stored

    def _expired(self, stored: StoredObject) -> bool:
        return stored.meta.delete_at is not None and stored.meta.delete_at <= self._clock.now()

    def _check(self, key: str, bucket: str | None, condition: Condition) -> None:
        """Conditions of writes: read and write are one step under the store's lock."""
        there = self._objects(bucket).get(key)
        if there is not None and self._expired(there):
            there = None
        etag = there.meta.etag if there else None
        if condition.if_none_match is not None and there and condition.if_none_match in ('*', etag):
            raise PreconditionFailed(f'{key} exists', status=412)
        if condition.if_match is not None and (not there or condition.if_match not in ('*', etag)):
            raise PreconditionFailed(f'{key} is not the version expected', status=412)

    def _store(self, bucket: str | None, stored: StoredObject, manifest: bytes = b'') -> None:
        """A new version, with what belongs to it and nothing that belonged to the one before."""
        place = bucket or self.bucket, stored.meta.name
        self._objects(bucket)[stored.meta.name] = stored
        self.store.manifests.pop(place, None)
        if manifest:
            self.store.manifests[place] = manifest

    def _check_limits(self, meta: ObjectMeta) -> None:
        limits = self.capabilities
        if len(meta.name.encode()) > limits.max_key_bytes:
            raise LimitExceeded(f'name is longer than {limits.max_key_bytes} bytes', reason='name-too-long')
        self._check_metadata(meta)

    def _check_metadata(self, meta: ObjectMeta) -> None:
        limits = self.capabilities
        size = sum(len(k.encode()) + len(v.encode()) for k, v in meta.user_metadata.items())
        many = limits.max_metadata_count is not None and len(meta.user_metadata) > limits.max_metadata_count
        if many or size > limits.max_metadata_bytes:
            raise LimitExceeded('more user metadata than the target keeps', reason='metadata-too-large')

    def _kept(self, key: str, meta: ObjectMeta, etag: str, size: int) -> ObjectMeta:
        return ObjectMeta(
            name=key, size=size, etag=etag, content_type=meta.content_type, headers=dict(meta.headers),
            user_metadata=dict(meta.user_metadata), data_time=meta.data_time, meta_time=meta.meta_time,
            delete_at=meta.delete_at, last_modified=self._clock.now(), source_etag=meta.source_etag)

    def _page_size(self, limit: int | None) -> int:
        return self._page_names if limit is None else max(1, min(limit, self._page_names))

    def _post_container(self, headers: Mapping[str, str]) -> None:
        kept = self.store.settings.setdefault(self.bucket, {})
        for name, value in headers.items():
            if value:
                kept[name] = value
            else:
                kept.pop(name, None)


def _md5_of(large: LargeSource) -> str:
    """Of the whole content, read for it: what is at the remote may be there as an ordinary object's copy."""
    digest = hashlib.md5(usedforsecurity=False)
    body = WholeBody(large)
    try:
        for chunk in body:
            digest.update(chunk)
    finally:
        body.close()
    return digest.hexdigest()


def _chunks(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), CHUNK_BYTES):
        yield data[at:at + CHUNK_BYTES]


def _listing_entry(name: str, meta: ObjectMeta, skip: int, delimiter: str) -> ListingEntry:
    end = name.find(delimiter, skip) if delimiter else -1
    if end >= 0:
        return ListingEntry(name[:end + len(delimiter)], subdir=True)
    return ListingEntry(name, meta.size, meta.etag, meta.last_modified or 0.0, meta.content_type)
