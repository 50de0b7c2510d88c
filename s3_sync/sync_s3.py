"""One bucket of Amazon S3, Google Cloud Storage (interoperability) or a store that speaks S3.

The parts are in ``s3_sync.providers.s3``; this class is what the rest of the
project sees of them.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from s3_sync.base_sync import NO_CONDITION, BaseSync, Capabilities, ProviderResponse, RemoteObject
from s3_sync.clock import Clock, SystemClock
from s3_sync.config.mapping import Mapping as MappingConfig
from s3_sync.errors import BucketNotFound, LimitExceeded, NotFound, Unproven, Unsupported
from s3_sync.large_objects.etags import Relation
from s3_sync.large_objects.model import LargeSource, Layout
from s3_sync.large_objects.parts import LIMITS, PartLimits
from s3_sync.metrics import Metrics
from s3_sync.providers.client_view import answered_span
from s3_sync.providers.s3 import settings
from s3_sync.providers.s3.batch import Deleter
from s3_sync.providers.s3.client import Client
from s3_sync.providers.s3.large import LargeObjects
from s3_sync.providers.s3.lifecycle import Lifecycle
from s3_sync.providers.s3.limits import check_limits
from s3_sync.providers.s3.listing import Listing
from s3_sync.providers.s3.objects import DEFAULT_TYPE, Objects, Place, condition_headers, require
from s3_sync.providers.s3.probe import probe_conditional_put
from s3_sync.providers.s3.shunt import ShuntDoor
from s3_sync.providers.s3.side_objects import DAMAGED_KEY, SideObjects
from s3_sync.streams import Body
from s3_sync.timestamps import without_marker
from s3_sync.types import NO_HEADERS, BucketPage, Condition, ListingPage, ObjectMeta, PutResult, ShuntRequest
from s3_sync.wire.keys import KeyScheme
from s3_sync.wire.s3_headers import MetadataPlan, marks_of, meta_from_s3, plan_metadata
from s3_sync.wire.swift_headers import SIDE_OBJECT_KEY


class SyncS3(BaseSync):
    """See BaseSync for the promises. ``mapping`` names one container, never ``/*``."""

    def __init__(self, mapping: MappingConfig, *, max_connections: int = 10, clock: Clock | None = None,
                 metrics: Metrics | None = None, client: Client | None = None,
                 owns_client: bool = False, part_limits: PartLimits = LIMITS) -> None:
        """``client`` is shared between providers of one remote by the factory, which then closes it.

        ``owns_client``: it is this provider's alone, and closed with it.
        ``part_limits``: how large objects are cut; those of Amazon, which all stores that speak S3 have.
        """
        if '/' in mapping.container:
            raise ValueError(f'a provider is for one container, not {mapping.container!r}')
        clock = clock or SystemClock()
        self._mapping = mapping
        self._bucket = mapping.remote.bucket
        self._endpoint = settings.make_endpoint(mapping)
        self._scheme = KeyScheme(mapping.account, mapping.container, mapping.custom_prefix)
        self._store = settings.store_settings(mapping, self._endpoint)
        self._owns_client = client is None or owns_client
        self._client = client or settings.make_client(mapping, self._endpoint, max_connections=max_connections,
                                                      clock=clock)
        self._objects = Objects(self._client, encryption=self._store.encryption, etag_is_md5=not self._store.kms)
        self._sides = SideObjects(self._objects)
        self._listing = Listing(self._client, self._scheme)
        self._deleter = Deleter(self._client, self._objects)
        self._large = LargeObjects(self._client, self._objects, self._sides, self._listing, self._scheme, self._store,
                                   bucket=self._bucket, place=self._place, side=self._side, limits=part_limits)
        self._door = ShuntDoor(self, self._objects, self._sides, clock, place=self._place, side=self._side)
        known = settings.conditional_put(mapping, self._endpoint)
        self.needs_probe = known is None
        """Whether nobody knows yet if conditional PUTs are honoured: ``probe_conditional_put`` finds out."""
        self._capabilities = settings.capabilities(mapping, self._endpoint)
        if known:
            self.set_conditional_put(*known)

    @property
    def capabilities(self) -> Capabilities:
        """The order of listings shows in the store's first answer; until then it counts as none (semantics 6.1)."""
        if self._capabilities.ordered_listing != self._listing.ordered:
            self._capabilities = replace(self._capabilities, ordered_listing=self._listing.ordered)
        return self._capabilities

    @capabilities.setter
    def capabilities(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._objects.conditional = (capabilities.create_only, capabilities.conditional_overwrite)

    def set_conditional_put(self, create_only: bool, conditional_overwrite: bool) -> None:
        self.needs_probe = False
        self.capabilities = replace(self._capabilities, create_only=create_only,
                                    conditional_overwrite=conditional_overwrite)

    # -- account and bucket -------------------------------------------------------------

    def head_account(self) -> Mapping[str, str]:
        buckets = self._listing.buckets(marker='', limit=None, prefix='').entries
        return {'x-account-container-count': str(len(buckets))}

    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        return self._listing.buckets(marker=marker, limit=limit, prefix=prefix)

    def head_bucket(self, *, bucket: str | None = None) -> Mapping[str, str]:
        return self._objects.head_bucket(bucket or self._bucket)

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        return self._listing.page(bucket or self._bucket, marker=marker, limit=limit, prefix=prefix,
                                  delimiter=delimiter)

    # -- objects ------------------------------------------------------------------------

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        meta = self._objects.head(self._place(key, bucket), key)
        side = self._side(key, bucket)
        self._sides.remember(side, meta)
        meta = self._sides.restored_or_damaged(side, meta)
        if bucket in (None, self._bucket):
            self._large.remember(meta)
        return meta

    def get_object(self, key: str, *, bucket: str | None = None, byte_range: tuple[int, int | None] | None = None,
                   condition: Condition = NO_CONDITION) -> RemoteObject:
        headers = condition_headers(condition)
        if byte_range is not None:
            first, last = byte_range
            headers['range'] = f'bytes={first}-{"" if last is None else last}'
        response = self._objects.open('GET', self._place(key, bucket), headers=headers)
        try:
            span = answered_span(response.status, response.headers, f'GET {key!r}')
            meta = self._sides.restored(self._side(key, bucket), meta_from_s3(key, response.headers, size=span.size))
        except BaseException:
            response.close()
            raise
        return RemoteObject(meta, response, response.status, response.headers.get('content-range', ''))

    def put_object(self, key: str, body: Body, meta: ObjectMeta, *, bucket: str | None = None,
                   condition: Condition = NO_CONDITION) -> PutResult:
        return self._put(key, bucket, body, meta, condition, {})

    def post_object(self, key: str, meta: ObjectMeta, *, bucket: str | None = None,
                    condition: Condition = NO_CONDITION) -> PutResult:
        current = self._objects.head(self._place(key, bucket), key)
        require(condition, current.etag, key)
        self._sides.remember(self._side(key, bucket), current)
        return self._copy(key, bucket, meta, current)

    def delete_object(self, key: str, *, bucket: str | None = None, condition: Condition = NO_CONDITION) -> bool:
        if not self._keeps(key):
            return False
        place = self._place(key, bucket)
        try:
            current: ObjectMeta | None = self._objects.head(place, key)
        except BucketNotFound:
            raise
        except NotFound:
            current = None
        require(condition, current.etag if current else '', key)
        belongings = [self._scheme.manifest_key(key), self._scheme.side_key(key)]
        if current is not None:
            guarded = condition.if_match is not None and self.capabilities.conditional_delete
            self._objects.delete(place, if_match=current.etag if guarded else None)
            # Of a key found missing both are removed unseen: a crash may have come between.
            belongings = [key for key, needed in zip(
                belongings, (current.large_object, SIDE_OBJECT_KEY in current.sysmeta), strict=True) if needed]
        for error in self._deleter.delete(place.bucket, belongings).values():
            raise error
        return current is not None

    # -- what the sync engine calls -------------------------------------------------------

    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        return self._put(meta.name, None, body, meta, condition, self._store.uploads)

    def check_upload(self, meta: ObjectMeta, size: int) -> None:
        key = self._scheme.key(meta.name)
        check_limits(key, size, self.capabilities)
        if self._scheme.is_internal(key):
            raise LimitExceeded(f'{meta.name!r}: under this custom_prefix the key is one of those that 1space keeps '
                                'manifests and notes under', reason='name-reserved')
        if not self._objects.keeps_name(key):
            raise LimitExceeded(f'{meta.name!r}: this store would take the name for another one',
                                reason='name-not-kept')

    def update_metadata(self, meta: ObjectMeta, remote: ObjectMeta) -> PutResult:
        self._sides.remember(self._side(meta.name), remote)
        return self._copy(meta.name, None, meta, remote)

    def delete_objects(self, keys: Sequence[str]) -> dict[str, Exception | None]:
        scheme = self._scheme
        groups = {name: (scheme.key(name), scheme.manifest_key(name), scheme.side_key(name)) for name in keys
                  if self._keeps(name)}
        failed = self._deleter.delete(self._bucket, [key for group in groups.values() for key in group])
        return {name: next((failed[key] for key in groups.get(name, ()) if key in failed), None) for name in keys}

    def apply_container(self, headers: Mapping[str, str]) -> None:
        if self.capabilities.bucket_expiry:
            Lifecycle(self._client, self._bucket, self._scheme).apply(
                self._mapping.remote_delete_after, self._mapping.remote_delete_after_addition)

    def comparable(self, meta: ObjectMeta) -> tuple[object, ...]:
        kept = self._plan(meta).kept
        return (kept.content_type or DEFAULT_TYPE, dict(kept.headers), dict(kept.user_metadata), kept.delete_at,
                meta.sysmeta.get(DAMAGED_KEY))

    def probe_conditional_put(self) -> tuple[bool, bool]:
        if not self.needs_probe:
            return self._objects.conditional
        found = probe_conditional_put(self._objects, self._bucket, self._scheme)
        self.set_conditional_put(*found)
        return found

    # -- large objects --------------------------------------------------------------------

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, *,
                            condition: Condition = NO_CONDITION) -> PutResult:
        self._check_large(meta)
        # What tells its content travels along: a multipart ETag does not.
        meta = replace(meta, source_etag=meta.source_etag or large.layout.etag)
        plan = self._plan(meta, self._large.marks(large.layout))
        return self._large.upload(large, meta, plan, condition)

    def check_large_upload(self, large: LargeSource, meta: ObjectMeta) -> int:
        self._check_large(meta)
        return self._large.requests(large.layout)

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        return self._large.ensure_manifest(large, meta)

    def layout_of(self, meta: ObjectMeta, *, as_remote: bool = False) -> Layout | None:
        """Manifests beside copies name what was the source; nothing else at S3 has any."""
        return self._large.layout_of(meta)

    def relation(self, large: LargeSource, remote: ObjectMeta) -> Relation:
        return self._large.relation(large, remote)

    def prove(self, meta: ObjectMeta, *, large: LargeSource | None = None,
              written: PutResult | None = None) -> ObjectMeta:
        if large is None:
            return super().prove(meta, written=written)
        try:
            remote = self.head_object(meta.name)
        except BucketNotFound:
            raise
        except NotFound as error:
            raise Unproven(f'{meta.name!r}: not at the remote') from error
        if (remote.data_time is not None and meta.data_time is not None
                and without_marker(remote.data_time) != without_marker(meta.data_time)):
            raise Unproven(f'{meta.name!r}: the remote holds another version')
        if remote.size != large.layout.size:
            raise Unproven(f'{meta.name!r}: {remote.size} bytes at the remote, {large.layout.size} here')
        if self.comparable(remote) != self.comparable(meta):
            raise Unproven(f'{meta.name!r}: the metadata differs')
        self._large.prove(large, remote, written)
        return remote

    def sweep_uploads(self, older_than_seconds: float) -> int:
        return self._large.sweep(older_than_seconds)

    # -- what the shunt calls -----------------------------------------------------------

    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        return self._door.read(request)

    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        return self._door.post(request)

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        return self._door.delete(request)

    # -- life -------------------------------------------------------------------------

    def location(self, *, bucket: str | None = None) -> str:
        return ';'.join(filter(None, (self._endpoint.location, bucket or self._bucket, self._scheme.prefix)))

    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    # -- shared -----------------------------------------------------------------------

    def _check_large(self, meta: ObjectMeta) -> None:
        self.check_upload(meta, 0)
        self._objects.check_large_name(self._scheme.key(meta.name))

    def _place(self, name: str, bucket: str | None = None) -> Place:
        if not self._keeps(name):
            raise NotFound(f'{name!r}: this store cannot have an object of that name')
        return Place(bucket or self._bucket, self._scheme.key(name))

    def _keeps(self, name: str) -> bool:
        """Whether an object of this name can be there, and is not one of ours beside the objects."""
        key = self._scheme.key(name)
        return not self._scheme.is_internal(key) and self._objects.keeps_name(key)

    def _side(self, name: str, bucket: str | None = None) -> Place:
        return Place(bucket or self._bucket, self._scheme.side_key(name))

    def _plan(self, meta: ObjectMeta, marks: Mapping[str, str] = NO_HEADERS) -> MetadataPlan:
        if (self._store.kms or self._objects.keyed) and not meta.source_etag:
            meta = replace(meta, source_etag=meta.content_md5)
        return plan_metadata(meta, self._store.metadata_limits, marks)

    def _put(self, name: str, bucket: str | None, body: Body, meta: ObjectMeta, condition: Condition,
             settings: Mapping[str, str]) -> PutResult:
        self.check_upload(replace(meta, name=name) if name != meta.name else meta, body.size)
        plan = self._plan(meta)

        def put() -> PutResult:
            if plan.side is not None and condition != NO_CONDITION:
                # What will be refused must not touch the side object of what is there, not even for a moment.
                self._objects.check(self._place(name, bucket), condition)
            with self._sides.around_put(self._side(name, bucket), plan.side):
                return self._objects.put(self._place(name, bucket), body, {**plan.headers, **settings},
                                         md5=meta.content_md5, condition=condition)
        if bucket in (None, self._bucket) and self._large.is_replaced(name, condition):
            return self._large.replace(name, put)
        return put()

    def _copy(self, key: str, bucket: str | None, meta: ObjectMeta, current: ObjectMeta) -> PutResult:
        plan = self._plan(replace(meta, source_etag=meta.source_etag or current.source_etag), marks_of(current))
        if self._large.in_parts(current):
            if bucket not in (None, self._bucket):
                raise Unsupported(f'{key!r}: metadata of a multipart object is changed in its own bucket only')
            return self._large.update(replace(meta, name=key), plan, current)
        with self._sides.around_put(self._side(key, bucket), plan.side):
            return self._objects.copy_onto_itself(self._place(key, bucket), plan.headers, current)
