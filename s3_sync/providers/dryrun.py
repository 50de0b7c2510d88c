"""A provider for dry runs: reads go through, writes are counted and answered as if they were done.

Nothing here sends anything that changes the remote, whatever is called. A
condition is answered as the remote would: where a write holds only for a name
that does not exist yet, it is found out whether it does.
"""
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from s3_sync.base_sync import NO_CONDITION, BaseSync, ProviderResponse
from s3_sync.errors import BucketNotFound, NotFound, PreconditionFailed
from s3_sync.large_objects.model import LargeSource
from s3_sync.providers.wrapper import Wrapper
from s3_sync.streams import Body
from s3_sync.types import Condition, ListingPage, ObjectMeta, PutResult, ShuntRequest

Why = Literal['new', 'changed']


class DryRunSync(Wrapper):
    """``requests`` counts by operation what the real run would send; what the dry run asks for itself is not in it."""

    def __init__(self, inner: BaseSync, *, creates_bucket: bool = False) -> None:
        """``creates_bucket``: an upload makes the remote container when it is missing, so that is no error."""
        super().__init__(inner)
        self.requests: Counter[str] = Counter()
        self._creates_bucket = creates_bucket
        self._found: dict[str, bool] = {}
        """Names that were asked about, until ``why`` is called for them."""
        self._everything: frozenset[str] | None = None
        """All names of the bucket, when one page holds them."""
        self._updated: set[str] = set()
        """Names whose metadata was changed as far as anybody here can tell."""
        self._listed = False
        self._listing = threading.Lock()

    def why(self, name: str) -> Why:
        """Whether the data of ``name``, just uploaded, is the first or replaces some.

        Forgets what was asked about it, so call it for every name that is done with.
        """
        return 'changed' if self._found.pop(name, False) else 'new'

    # -- reads ------------------------------------------------------------------------------

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        self.requests['HEAD'] += 1
        try:
            meta = self.inner.head_object(key, bucket=bucket)
        except NotFound:
            self._found[key] = False
            raise
        self._found[key] = True
        return meta

    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        self.requests['LIST'] += 1
        return super().list_objects(marker=marker, limit=limit, prefix=prefix, delimiter=delimiter, bucket=bucket)

    def probe_conditional_put(self) -> tuple[bool, bool]:
        """What is known without trying, because trying writes."""
        return self.capabilities.create_only, self.capabilities.conditional_overwrite

    # -- writes -----------------------------------------------------------------------------

    def put_object(self, key: str, body: Body, meta: ObjectMeta, *, bucket: str | None = None,
                   condition: Condition = NO_CONDITION) -> PutResult:
        self.requests['PUT'] += 1
        return PutResult(meta.content_md5)

    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        self.check_upload(meta, body.size)
        self.requests['PUT'] += 1
        if condition.if_none_match == '*' and self._exists(meta.name):
            raise PreconditionFailed(f'{meta.name} exists', status=412)
        return PutResult(meta.content_md5)

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, *,
                            condition: Condition = NO_CONDITION) -> PutResult:
        self.requests['PUT'] += self.check_large_upload(large, meta)
        if condition.if_none_match == '*' and self._exists(meta.name):
            raise PreconditionFailed(f'{meta.name} exists', status=412)
        return PutResult(meta.source_etag)

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        """Nothing to say: what a real run would find missing beside an object that is right is not looked for."""
        return False

    def bring_link(self, meta: ObjectMeta, container: str, name: str) -> bool:
        if not self.capabilities.links:
            return super().bring_link(meta, container, name)  # only to be refused
        self.requests['PUT'] += 1
        return True

    def sweep_uploads(self, older_than_seconds: float) -> int:
        return 0

    def prove(self, meta: ObjectMeta, *, large: LargeSource | None = None,
              written: PutResult | None = None) -> ObjectMeta:
        """What was just counted as sent cannot be found at the remote; it is taken as it would be."""
        if written is None and meta.name not in self._updated:
            return super().prove(meta, large=large)
        self._updated.discard(meta.name)
        self.requests['HEAD'] += 1
        return meta

    def post_object(self, key: str, meta: ObjectMeta, *, bucket: str | None = None,
                    condition: Condition = NO_CONDITION) -> PutResult:
        self.requests['POST'] += 1
        return PutResult(meta.etag)

    def update_metadata(self, meta: ObjectMeta, remote: ObjectMeta) -> PutResult:
        self.requests['POST'] += 1
        self._updated.add(meta.name)
        return PutResult(remote.etag)

    def delete_object(self, key: str, *, bucket: str | None = None, condition: Condition = NO_CONDITION) -> bool:
        self.requests['DELETE'] += 1
        return True

    def delete_objects(self, keys: Sequence[str]) -> dict[str, Exception | None]:
        at_once = max(1, self.capabilities.batch_delete)
        self.requests['DELETE'] += -(-len(keys) // at_once)
        return dict.fromkeys(keys)

    def apply_container(self, headers: Mapping[str, str]) -> None:
        self.requests['POST'] += 1

    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        self.requests['POST'] += 1
        return ProviderResponse(202, {})

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        self.requests['DELETE'] += 1
        return ProviderResponse(204, {})

    # -- what the dry run asks for itself ----------------------------------------------------

    def _exists(self, name: str) -> bool:
        """One page answers for a small or empty bucket; otherwise each name is asked about."""
        if name not in self._found:
            everything = self._everything_listed()
            if everything is not None:
                self._found[name] = name in everything
            else:
                try:
                    self.inner.head_object(name)
                    self._found[name] = True
                except NotFound:
                    self._found[name] = False
        return self._found[name]

    def _everything_listed(self) -> frozenset[str] | None:
        with self._listing:
            if not self._listed:
                try:
                    page = self.inner.list_objects()
                except BucketNotFound:
                    if not self._creates_bucket:
                        raise
                    page = ListingPage()
                    self.requests['PUT'] += 1
                if page.next_marker is None:
                    self._everything = frozenset(entry.name for entry in page.entries)
                self._listed = True
        return self._everything
