"""Another Swift cluster as the remote: one container, or one of those that a ``/*`` mapping creates there."""
from __future__ import annotations

from collections.abc import Mapping as Headers
from dataclasses import replace
from urllib.parse import quote, unquote

from s3_sync.base_sync import NO_CONDITION, BaseSync, Capabilities, ProviderResponse, RemoteObject
from s3_sync.clock import Clock, SystemClock
from s3_sync.config import Mapping
from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    TemporaryError,
    Unproven,
    Unsupported,
)
from s3_sync.large_objects.etags import Relation
from s3_sync.large_objects.model import LargeSource, Layout
from s3_sync.metrics import Metrics
from s3_sync.providers.client_view import answered_span
from s3_sync.providers.http import Response
from s3_sync.providers.swift import expiry, listings, shunting
from s3_sync.providers.swift.client import Call, SwiftClient, condition_headers, new_client
from s3_sync.providers.swift.errors import no_container
from s3_sync.providers.swift.large import LargeObjects
from s3_sync.providers.swift.limits import DEFAULTS
from s3_sync.providers.swift.metadata import (
    HashedBody,
    StoredMeta,
    comparable_metadata,
    put_headers,
    sendable_headers,
    sendable_type,
    stored_meta,
)
from s3_sync.providers.swift.places import Places
from s3_sync.providers.swift.segments import SegmentStore
from s3_sync.providers.swift.shunt_reads import Reads
from s3_sync.providers.swift.sources import Sources
from s3_sync.streams import Body, BytesBody
from s3_sync.timestamps import clock_offset, without_marker
from s3_sync.types import NO_HEADERS, BucketPage, Condition, ListingPage, ObjectMeta, PutResult, ShuntRequest
from s3_sync.wire.swift_headers import OWNER_KEY

CAPABILITIES = Capabilities(
    create_only=True, conditional_overwrite=False, conditional_delete=False, native_expiry=True,
    container_metadata=True, links=True, native_listing=True, max_key_bytes=DEFAULTS.max_object_name_length,
    max_metadata_bytes=DEFAULTS.max_meta_overall_size, max_metadata_count=DEFAULTS.max_meta_count,
    max_put_bytes=DEFAULTS.max_file_size)


class SyncSwift(BaseSync):
    """See ``BaseSync``. ``client`` is shared between the containers of one account by the factory.

    ``owns_client``: it is this provider's alone, and closed with it.
    """

    def __init__(self, mapping: Mapping, *, max_connections: int = 10, clock: Clock | None = None,
                 metrics: Metrics | None = None, client: SwiftClient | None = None, owns_client: bool = False) -> None:
        if '/' in mapping.remote.bucket or not mapping.remote.bucket:
            raise ValueError(f'{mapping.remote.bucket!r} is no name of a container')
        self._mapping = mapping
        self._clock = clock or SystemClock()
        self._owns_client = client is None or owns_client
        self._client = client or new_client(mapping, max_connections=max_connections, clock=self._clock)
        self._capabilities = CAPABILITIES
        self._places = Places(mapping)
        sources = Sources(self._client, self._places)
        self._large = LargeObjects(mapping, self._places, SegmentStore(self._client, self._clock, self._create_for),
                                   self._headers, sources)
        self._reads = Reads(self._client, self._places, sources, self.layout_of)

    @property
    def capabilities(self) -> Capabilities:
        """The largest object is the cluster's own setting, asked for once."""
        try:
            largest = self._client.limits().max_file_size
        except ProviderError:
            return self._capabilities  # whoever sends something is told
        if largest != self._capabilities.max_put_bytes:
            self._capabilities = replace(self._capabilities, max_put_bytes=largest)
        return self._capabilities

    @capabilities.setter
    def capabilities(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities

    # -- account and container ----------------------------------------------------------

    def head_account(self) -> Headers[str, str]:
        return self._client.do(Call('HEAD')).headers

    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        call = Call('GET', query=listings.query(marker, limit, prefix))
        return listings.container_page(self._client.read(call)[1], call.what)

    def head_bucket(self, *, bucket: str | None = None) -> Headers[str, str]:
        return self._container(Call('HEAD', self._name(bucket))).headers

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        call = Call('GET', self._name(bucket), query=listings.query(marker, limit, prefix, delimiter))
        try:
            response, data = self._client.read(call)
            page = listings.object_page(data, call.what)
            return replace(page, clock_offset=clock_offset(response.headers.get('date', ''), self._clock.now()))
        except NotFound as error:
            raise no_container(call.container, error) from error

    def apply_container(self, headers: Headers[str, str]) -> None:
        if not self._mapping.sync_container_metadata:
            return
        acl = ('x-container-read', 'x-container-write') if self._mapping.sync_container_acl else ()
        wanted = {k: v for k, v in headers.items() if k.startswith('x-container-meta-') or k in acl}
        if not wanted:
            return
        call = Call('POST', self._mapping.remote.bucket, headers=wanted)
        try:
            self._container(call)
        except BucketNotFound:
            if not self._mapping.of_all_containers:
                raise
            self.create_container()
            self._container(call)

    # -- object -------------------------------------------------------------------------

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        own = self._is_own(bucket)
        try:
            meta = stored_meta(key, self._client.do(Call('HEAD', self._name(bucket), key)).headers)
        except NotFound:
            if own:
                self._large.forget(key)
            raise
        if own:
            self._large.remember(meta)
        return meta

    def get_object(self, key: str, *, bucket: str | None = None, byte_range: tuple[int, int | None] | None = None,
                   condition: Condition = NO_CONDITION) -> RemoteObject:
        headers = condition_headers(condition)
        if byte_range is not None:
            first, last = byte_range
            headers['range'] = f'bytes={first}-{"" if last is None else last}'
        call = Call('GET', self._name(bucket), key, headers=headers)
        response = self._client.open(call)
        try:
            span = answered_span(response.status, response.headers, call.what)
            meta = replace(stored_meta(key, response.headers), size=span.size)
        except BaseException:
            response.close()
            raise
        return RemoteObject(meta, response, response.status, response.headers.get('content-range', ''))

    def put_object(self, key: str, body: Body, meta: ObjectMeta, *, bucket: str | None = None,
                   condition: Condition = NO_CONDITION) -> PutResult:
        headers = self._headers(meta)
        if condition.if_match is not None:
            raise Unsupported('Swift knows no If-Match on PUT')
        if condition.if_none_match is not None:
            headers['if-none-match'] = condition.if_none_match
        known = meta.content_md5
        if known:
            headers['etag'] = known
        sent = body if known else HashedBody(body)
        call = Call('PUT', self._name(bucket), key, headers=headers, body=sent)
        try:
            response = self._client.do(call)
        except NotFound as error:
            raise no_container(call.container, error) from error
        if response.status != 201:
            raise TemporaryError(f'{call.what}: {response.status}, a newer version is there', status=response.status,
                                 reason='conflict')
        etag = response.headers.get('etag', '').strip('"')
        if etag != (known or (sent.hexdigest() if isinstance(sent, HashedBody) else '')):
            raise ChecksumMismatch(f'{call.what}: the remote stored other bytes ({etag})')
        return PutResult(etag)

    def post_object(self, key: str, meta: ObjectMeta, *, bucket: str | None = None,
                    condition: Condition = NO_CONDITION) -> PutResult:
        if condition != NO_CONDITION:
            raise Unsupported('Swift knows no conditions on POST')
        self._client.do(Call('POST', self._name(bucket), key, headers=self._headers(meta)))
        return PutResult(meta.etag)

    def delete_object(self, key: str, *, bucket: str | None = None, condition: Condition = NO_CONDITION) -> bool:
        if condition.if_none_match is not None:
            raise Unsupported('Swift knows no If-None-Match on DELETE')
        if condition.if_match is not None:
            self._require(key, bucket, condition.if_match)
        own = self._is_own(bucket)
        if own:
            self._large.before_delete(key)
        try:
            self._client.do(Call('DELETE', self._name(bucket), key))
            gone = True
        except NotFound:
            gone = False
        if own:
            self._large.after(key)
        return gone

    def _require(self, key: str, bucket: str | None, if_match: str) -> None:
        """PreconditionFailed unless that version is there: looked at just before, since Swift has no If-Match here."""
        try:
            there = self._client.do(Call('HEAD', self._name(bucket), key)).headers
        except NotFound:
            there = {}
        if not there or if_match not in ('*', there.get('etag', '').strip('"')):
            raise PreconditionFailed(f'{key!r}: is {there.get("etag") or "not there"}', status=412)

    # -- what the sync engine calls -----------------------------------------------------

    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        self._client.limits().check(meta.name, body.size)  # put_object checks the metadata before it sends
        copy = self._copy(meta)
        self._large.before_put(meta.name)
        body = self._large.checked(body, copy, condition)
        try:
            result = self.put_object(meta.name, body, copy, condition=condition)
        except BucketNotFound:
            if not self._mapping.of_all_containers:
                raise
            self.create_container()
            body.rewind()
            result = replace(self.put_object(meta.name, body, copy, condition=condition), requests=3)
        self._large.after(meta.name)
        return result

    def check_upload(self, meta: ObjectMeta, size: int) -> None:
        self._client.limits().check(meta.name, size)
        self._headers(self._copy(meta))

    def update_metadata(self, meta: ObjectMeta, remote: ObjectMeta) -> PutResult:
        copy = self._copy(meta)
        if OWNER_KEY in remote.sysmeta:  # a manifest needs it longer than its own row
            copy = replace(copy, delete_at=expiry.later(copy.delete_at, remote.delete_at))
        if remote.large_object:
            copy = replace(copy, source_etag=copy.source_etag or remote.source_etag)
        headers = self._headers(copy, self._large.own_keys(remote))
        if manifest := remote.sysmeta.get('x-object-manifest'):
            headers['x-object-manifest'] = manifest  # a POST without it would turn the DLO into an empty object
        call = Call('POST', self._mapping.remote.bucket, meta.name, headers=headers)
        if remote.large_object:
            self._large.change_end(replace(remote, name=meta.name), copy.delete_at, lambda: self._client.do(call))
        else:
            self._client.do(call)
        return PutResult(remote.etag)

    def comparable(self, meta: ObjectMeta) -> tuple[object, ...]:
        now = self._clock.now()
        stored = isinstance(meta, StoredMeta)
        end: object = expiry.comparable(
            meta.delete_at if stored else expiry.copy_delete_at(self._mapping, meta, now), now)
        if stored and OWNER_KEY in meta.sysmeta:
            end = expiry.NotBefore(meta.delete_at)
        # What came with a manifest only has no times. With them it is a copy, which outlives the manifest.
        just_segment = stored and OWNER_KEY in meta.sysmeta and meta.data_time is None
        return (sendable_type(meta), sendable_headers(meta.headers), comparable_metadata(meta.user_metadata), end,
                just_segment)

    # -- large objects ------------------------------------------------------------------

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, *,
                            condition: Condition = NO_CONDITION) -> PutResult:
        if condition.if_match is not None:
            raise Unsupported('Swift knows no If-Match on PUT')
        return PutResult(self._large.upload(large, self._copy(meta), condition))

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        """The manifest is the object. What an earlier version has left behind may still have to go."""
        self._large.after(meta.name)
        return False

    def layout_of(self, meta: ObjectMeta, *, as_remote: bool = False) -> Layout | None:
        return self._large.layout_of(meta, as_remote=as_remote)

    def relation(self, large: LargeSource, remote: ObjectMeta) -> Relation:
        return self._large.relation(large.layout, remote)

    def prove(self, meta: ObjectMeta, *, large: LargeSource | None = None,
              written: PutResult | None = None) -> ObjectMeta:
        if large is None:
            return super().prove(meta, large=large, written=written)
        remote = self.head_object(meta.name)
        if not remote.large_object:
            return super().prove(meta, large=large, written=written)
        if (remote.data_time is not None and meta.data_time is not None
                and without_marker(remote.data_time) != without_marker(meta.data_time)):
            raise Unproven(f'{meta.name!r}: the remote holds another version')
        self._large.prove(large.layout, remote)
        if self.comparable(remote) != self.comparable(meta):
            raise Unproven(f'{meta.name!r}: the metadata differs')
        return remote

    def check_whole(self, remote: ObjectMeta) -> None:
        if remote.large_object:
            self._large.check_whole(remote)

    def bring_link(self, meta: ObjectMeta, container: str, name: str) -> bool:
        place = self._places.copies_of(container)
        if place is None:
            raise Unsupported(f'{container!r} is not copied by this mapping')
        target = quote(f'{place}/{name}')
        bucket = self._mapping.remote.bucket
        try:
            there = self._client.do(Call('HEAD', bucket, meta.name, query={'symlink': 'get'})).headers
        except NotFound:
            there = {}
        if there and self._link_is_current(stored_meta(meta.name, there), meta, there, target):
            return False
        headers = {**self._headers(self._copy(meta)), 'x-symlink-target': target}
        call = Call('PUT', bucket, meta.name, headers=headers, body=BytesBody(b''))
        self._large.before_put(meta.name)
        try:
            self._client.do(call)
        except NotFound:
            self._create_for(bucket)
            self._client.do(call)
        self._large.after(meta.name)
        return True

    def _link_is_current(self, stored: ObjectMeta, meta: ObjectMeta, headers: Headers[str, str], target: str) -> bool:
        """Whether what is there is this link, or something newer than it."""
        theirs = [without_marker(t) for t in (stored.data_time, stored.meta_time) if t is not None]
        ours = [without_marker(t) for t in (meta.data_time, meta.meta_time) if t is not None]
        if theirs and ours and max(theirs) != max(ours):
            return bool(max(theirs) > max(ours))
        same = unquote(headers.get('x-symlink-target', '')) == unquote(target)
        return same and bool(theirs) and self.comparable(stored) == self.comparable(meta)

    # -- shunt --------------------------------------------------------------------------

    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        return self._reads.answer(request)

    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        container = self._mapping.remote.bucket
        if not request.key:
            return self._shunt(Call('POST', container, headers=shunting.container_post_headers(request.headers)))
        look = Call('HEAD', container, request.key, headers=shunting.via(request.headers))
        with self._client.open(look, accept=shunting.ANSWERS) as stored:
            if stored.status >= 300:
                return ProviderResponse(stored.status, {'content-length': '0'})
        headers = shunting.post_headers(request.headers, stored.headers, self._clock.now())
        return self._shunt(Call('POST', container, request.key, headers=headers))

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        if request.key:
            self._large.before_delete(request.key)
        response = self._shunt(Call('DELETE', self._mapping.remote.bucket, request.key,
                                    headers=shunting.via(request.headers)))
        if request.key:
            try:
                self._large.after(request.key)
            except BaseException:
                response.close()
                raise
        return response

    def _shunt(self, call: Call) -> ProviderResponse:
        response = self._client.open(call, accept=shunting.ANSWERS)
        return ProviderResponse(response.status, shunting.client_headers(response.headers), response)

    # -- life ---------------------------------------------------------------------------

    def location(self, *, bucket: str | None = None) -> str:
        remote = self._mapping.remote
        who = remote.identity or remote.application_credential_id or ''
        return f'{remote.endpoint};{who};{self._name(bucket)}'

    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    # -- inside -------------------------------------------------------------------------

    def _name(self, bucket: str | None) -> str:
        return self._mapping.remote.bucket if bucket is None else bucket

    def _container(self, call: Call) -> Response:
        try:
            return self._client.do(call)
        except NotFound as error:
            raise no_container(call.container, error) from error

    def _is_own(self, bucket: str | None) -> bool:
        return bucket is None or bucket == self._mapping.remote.bucket

    def _create_for(self, container: str) -> None:
        """For a segment or a manifest. The container of a single mapping is the operator's to make."""
        if container == self._mapping.remote.bucket and not self._mapping.of_all_containers:
            raise BucketNotFound(f'no container {container!r} at the remote', status=404)
        self.create_container(container, self._places.creation_headers(container))

    def create_container(self, name: str | None = None, more: Headers[str, str] = NO_HEADERS) -> None:
        """Make the container with the mapping's storage policy. One that exists is left as it is."""
        policy = self._mapping.storage_policy
        headers = {**more, **({'x-storage-policy': policy} if policy else {})}
        try:
            self._client.do(Call('PUT', self._name(name), headers=headers))
        except PermanentError as error:
            if policy and error.status == 400:
                raise PermanentError(f'the remote has no storage policy {policy!r}: {error}', status=400,
                                     reason='storage-policy') from error
            raise
        except ProviderError as error:
            if error.status != 409:  # 409: another node has just made it with another policy
                raise

    def _headers(self, meta: ObjectMeta, more: Headers[str, str] = NO_HEADERS) -> dict[str, str]:
        """``more``: own keys that ``meta`` has no field for."""
        return put_headers(meta, self._client.limits(), self._clock.now(), more)

    def _copy(self, meta: ObjectMeta) -> ObjectMeta:
        """What of a source's metadata goes to the remote by this mapping's settings."""
        now = self._clock.now()
        return replace(meta, delete_at=expiry.copy_delete_at(self._mapping, meta, now))
