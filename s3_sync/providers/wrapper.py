"""A provider around a provider: each method of the contract delegated once, with three places to step in.

Policies (retry, limit, meter) and the tests' faults override ``_around``,
``_sending`` and ``_receiving`` only, so a new method of the contract is added
here and nowhere else. Of a large object every body goes through ``_sending``.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from s3_sync.base_sync import NO_CONDITION, BaseSync, Capabilities, ProviderResponse, RemoteObject
from s3_sync.large_objects.etags import Relation
from s3_sync.large_objects.model import LargeSource, Layout, Piece, Segment
from s3_sync.streams import Body
from s3_sync.types import BucketPage, Condition, ListingPage, ObjectMeta, PutResult, ShuntRequest

T = TypeVar('T')


class Wrapper(BaseSync):
    """Passes everything on to ``inner``."""

    def __init__(self, inner: BaseSync) -> None:
        self.inner = inner

    def _around(self, operation: str, call: Callable[[], T], body: Body | None = None) -> T:
        """Every request goes through here. ``body`` is what ``call`` sends: rewind it to call again."""
        return call()

    def _sending(self, body: Body) -> Body:
        """The body as the inner provider gets it."""
        return body

    def _receiving(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """A remote body as the caller gets it. Whatever this returns closes ``chunks`` when it is closed."""
        return chunks

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @capabilities.setter
    def capabilities(self, capabilities: Capabilities) -> None:
        self.inner.capabilities = capabilities

    # -- account and bucket -------------------------------------------------------------

    def head_account(self) -> Mapping[str, str]:
        return self._around('head_account', self.inner.head_account)

    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        return self._around('list_buckets',
                            lambda: self.inner.list_buckets(marker=marker, limit=limit, prefix=prefix))

    def head_bucket(self, *, bucket: str | None = None) -> Mapping[str, str]:
        return self._around('head_bucket', lambda: self.inner.head_bucket(bucket=bucket))

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        return self._around('list_objects', lambda: self.inner.list_objects(
            marker=marker, limit=limit, prefix=prefix, delimiter=delimiter, bucket=bucket))

    def apply_container(self, headers: Mapping[str, str]) -> None:
        self._around('apply_container', lambda: self.inner.apply_container(headers))

    # -- object -------------------------------------------------------------------------

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        return self._around('head_object', lambda: self.inner.head_object(key, bucket=bucket))

    def get_object(self, key: str, *, bucket: str | None = None, byte_range: tuple[int, int | None] | None = None,
                   condition: Condition = NO_CONDITION) -> RemoteObject:
        found = self._around('get_object', lambda: self.inner.get_object(
            key, bucket=bucket, byte_range=byte_range, condition=condition))
        found.body = self._receiving(found.body)
        return found

    def put_object(self, key: str, body: Body, meta: ObjectMeta, *, bucket: str | None = None,
                   condition: Condition = NO_CONDITION) -> PutResult:
        sent = self._sending(body)
        return self._around('put_object', lambda: self.inner.put_object(
            key, sent, meta, bucket=bucket, condition=condition), sent)

    def post_object(self, key: str, meta: ObjectMeta, *, bucket: str | None = None,
                    condition: Condition = NO_CONDITION) -> PutResult:
        return self._around('post_object', lambda: self.inner.post_object(
            key, meta, bucket=bucket, condition=condition))

    def delete_object(self, key: str, *, bucket: str | None = None, condition: Condition = NO_CONDITION) -> bool:
        return self._around('delete_object', lambda: self.inner.delete_object(key, bucket=bucket, condition=condition))

    # -- what the sync engine calls -----------------------------------------------------

    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        sent = self._sending(body)
        return self._around('upload_object', lambda: self.inner.upload_object(sent, meta, condition=condition), sent)

    def check_upload(self, meta: ObjectMeta, size: int) -> None:
        self.inner.check_upload(meta, size)

    def update_metadata(self, meta: ObjectMeta, remote: ObjectMeta) -> PutResult:
        return self._around('update_metadata', lambda: self.inner.update_metadata(meta, remote))

    def delete_objects(self, keys: Sequence[str]) -> dict[str, Exception | None]:
        return self._around('delete_objects', lambda: self.inner.delete_objects(keys))

    def probe_conditional_put(self) -> tuple[bool, bool]:
        return self._around('probe', self.inner.probe_conditional_put)

    def set_conditional_put(self, create_only: bool, conditional_overwrite: bool) -> None:
        self.inner.set_conditional_put(create_only, conditional_overwrite)

    def comparable(self, meta: ObjectMeta) -> tuple[object, ...]:
        return self.inner.comparable(meta)

    # -- large objects ------------------------------------------------------------------

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, *,
                            condition: Condition = NO_CONDITION) -> PutResult:
        sent = _SentLarge(large, self._sending)
        return self._around('upload_large_object', lambda: self.inner.upload_large_object(
            sent, meta, condition=condition))

    def check_large_upload(self, large: LargeSource, meta: ObjectMeta) -> int:
        return self.inner.check_large_upload(large, meta)

    def sweep_uploads(self, older_than_seconds: float) -> int:
        return self._around('sweep_uploads', lambda: self.inner.sweep_uploads(older_than_seconds))

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        return self._around('ensure_manifest', lambda: self.inner.ensure_manifest(large, meta))

    def bring_link(self, meta: ObjectMeta, container: str, name: str) -> bool:
        return self._around('bring_link', lambda: self.inner.bring_link(meta, container, name))

    def layout_of(self, meta: ObjectMeta, *, as_remote: bool = False) -> Layout | None:
        return self._around('layout_of', lambda: self.inner.layout_of(meta, as_remote=as_remote))

    def relation(self, large: LargeSource, remote: ObjectMeta) -> Relation:
        return self.inner.relation(large, remote)

    def prove(self, meta: ObjectMeta, *, large: LargeSource | None = None,
              written: PutResult | None = None) -> ObjectMeta:
        return self._around('prove', lambda: self.inner.prove(meta, large=large, written=written))

    def check_whole(self, remote: ObjectMeta) -> None:
        self._around('check_whole', lambda: self.inner.check_whole(remote))

    # -- what the shunt calls -----------------------------------------------------------

    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        response = self._around('shunt_object', lambda: self.inner.shunt_object(request))
        response.body = self._receiving(response.body)
        return response

    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        return self._around('shunt_post', lambda: self.inner.shunt_post(request))

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        return self._around('shunt_delete', lambda: self.inner.shunt_delete(request))

    # -- life ---------------------------------------------------------------------------

    def location(self, *, bucket: str | None = None) -> str:
        return self.inner.location(bucket=bucket)

    def close(self) -> None:
        self.inner.close()


class _SentLarge:
    """A large object whose bodies all go through ``sending``."""

    def __init__(self, large: LargeSource, sending: Callable[[Body], Body]) -> None:
        self._large = large
        self._sending = sending
        self.layout = large.layout

    def open(self, piece: Piece) -> Body:
        return self._sending(self._large.open(piece))

    def open_run(self, piece: Piece, first: int, length: int) -> Body:
        return self._sending(self._large.open_run(piece, first, length))

    def meta(self, segment: Segment) -> ObjectMeta:
        return self._large.meta(segment)
