"""The contract of a provider: one bucket (or container) at a remote store.

Every provider implements the fourteen methods of ``BaseSync`` below, declares
what it can do in ``Capabilities``, and passes
``test/unit/contract/provider_contract.py``. Callers never ask which protocol
it is; they ask for a capability.

Names and keys. Methods take *object names* as Swift knows them (str, any
Unicode). A provider turns a name into its own key (S3: the key scheme with
hash, account and container, or ``custom_prefix``). ``bucket`` defaults to the
mapping's own bucket; another one is given only by account-wide jobs.

Errors. Only ``s3_sync.errors.ProviderError`` and its children leave a
provider, chained from the SDK's; no method returns a success flag. Providers
do not retry, except for what only they can do: renewing an expired token
once, correcting their clock skew once, and replacing a kept-alive connection
that the remote closed before it answered anything. The wrappers in
``s3_sync.providers`` retry, limit and meter.

Concurrency. An instance is shared by all green threads of a process and kept
for its life; connections are pooled inside and reused.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from s3_sync.errors import Unproven, Unsupported
from s3_sync.large_objects.etags import Relation
from s3_sync.large_objects.model import LargeSource, Layout
from s3_sync.streams import Body
from s3_sync.timestamps import without_marker
from s3_sync.types import (
    BucketPage,
    Condition,
    ListingPage,
    ObjectMeta,
    PutResult,
    ShuntRequest,
)

NO_CONDITION = Condition()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this endpoint can do. Decisions ask this, never the protocol."""

    create_only: bool = True
    """``If-None-Match: *`` on PUT is honoured."""
    conditional_overwrite: bool = True
    """``If-Match`` on PUT is honoured."""
    late_conditions: bool = False
    """``upload_large_object`` takes conditions that the store does not honour, and looks itself as late as it can."""
    conditional_delete: bool = False
    """``If-Match`` on DELETE is honoured."""
    ordered_listing: bool = True
    """Listings come in ascending order of UTF-8 bytes and resume from any marker (semantics 6.1)."""
    etag_is_md5: bool = True
    """A single PUT's ETag is the body's MD5."""
    update_moves_data: bool = False
    """A metadata update rewrites the object inside the store (S3 copy), it is no cheap POST."""
    native_expiry: bool = False
    """Objects carry their own expiry time that the store enforces (X-Delete-At)."""
    bucket_expiry: bool = False
    """Expiry is a rule of the bucket (S3 lifecycle)."""
    container_metadata: bool = False
    """Container metadata and ACLs can be set remotely."""
    links: bool = False
    """``bring_link`` makes symbolic links."""
    repeats_parts: bool = False
    """``upload_large_object`` repeats what fails of it itself, so that nobody need begin it again."""
    native_listing: bool = False
    """``shunt_object`` with an empty key answers container listings with every parameter of Swift, as JSON."""
    batch_delete: int = 1
    """Names that one ``delete_objects`` request takes."""
    max_key_bytes: int = 1024
    max_metadata_bytes: int = 2048
    max_metadata_count: int | None = None
    max_put_bytes: int = 5 * 1024 ** 3


@dataclass
class RemoteObject:
    """An open remote read: metadata now, bytes as they come.

    ``status`` is 200 or 206, ``content_range`` as answered. Iterating to the
    end or ``close`` returns the connection. A body that ends early raises
    ConnectionFailed.
    """

    meta: ObjectMeta
    body: Iterator[bytes]
    status: int = 200
    content_range: str = ''

    def __iter__(self) -> Iterator[bytes]:
        return self.body

    def close(self) -> None:
        close = getattr(self.body, 'close', None)
        if close is not None:
            close()

    def read(self) -> bytes:
        """The whole rest, in memory; for small objects and tests."""
        try:
            return b''.join(self.body)
        finally:
            self.close()


@dataclass
class ProviderResponse:
    """A remote answer in HTTP terms, for code that hands it on to a client (shunt, connector).

    Never raised away: 404 and 304 are ordinary answers here. ``body`` is closed by the holder.
    """

    status: int
    headers: Mapping[str, str]
    """Lower-case names as a Swift client would see them; no hop-by-hop headers, no remote internals."""
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))
    meta: ObjectMeta | None = None
    """Of an object's GET or HEAD answered 200 or 206: what ``head_object`` would tell of this version, whole size.

    Where a Swift answers with an SLO's manifest, type and size may be the manifest's.
    """

    def close(self) -> None:
        close = getattr(self.body, 'close', None)
        if close is not None:
            close()


class BaseSync(ABC):
    """One remote bucket or container. See the module docstring for the promises all methods share."""

    capabilities: Capabilities = Capabilities()

    # -- account --------------------------------------------------------------------

    @abstractmethod
    def head_account(self) -> Mapping[str, str]:
        """Account facts as headers (lower-case); also the cheapest proof that the credentials work."""

    @abstractmethod
    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        """Buckets after ``marker`` in byte order, at most ``limit``."""

    # -- bucket ---------------------------------------------------------------------

    @abstractmethod
    def head_bucket(self, *, bucket: str | None = None) -> Mapping[str, str]:
        """Headers of the bucket (lower-case). BucketNotFound when it does not exist."""

    @abstractmethod
    def list_objects(self, *, marker: str = '', limit: int | None = None, prefix: str = '', delimiter: str = '',
                     bucket: str | None = None) -> ListingPage:
        """One page of names after ``marker``.

        ``next_marker`` of the page is the only end-of-listing sign. An endpoint
        whose listing is unordered returns pages in its own order and resumes
        only from its own ``next_marker`` (opaque to the caller).
        """

    # -- object ---------------------------------------------------------------------

    @abstractmethod
    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        """Metadata; large metadata kept in a side object is put back. NotFound, BucketNotFound."""

    @abstractmethod
    def get_object(self, key: str, *, bucket: str | None = None, byte_range: tuple[int, int | None] | None = None,
                   condition: Condition = NO_CONDITION) -> RemoteObject:
        """Open for reading; always streams. ``byte_range`` is first byte and last byte (None: to the end)."""

    @abstractmethod
    def put_object(self, key: str, body: Body, meta: ObjectMeta, *, bucket: str | None = None,
                   condition: Condition = NO_CONDITION) -> PutResult:
        """Write data and metadata as given, one request; checksum sent along and compared.

        The metadata stored is ``meta.content_type``, ``headers``,
        ``user_metadata``, ``delete_at`` and the provenance times; nothing else.
        """

    @abstractmethod
    def post_object(self, key: str, meta: ObjectMeta, *, bucket: str | None = None,
                    condition: Condition = NO_CONDITION) -> PutResult:
        """Replace all metadata of an existing object, data untouched. NotFound."""

    @abstractmethod
    def delete_object(self, key: str, *, bucket: str | None = None, condition: Condition = NO_CONDITION) -> bool:
        """Remove the object and what belongs only to it (side objects, manifest). False: it was not there.

        Where ``conditional_delete`` is not told, ``condition`` is checked by a HEAD just
        before: what comes between the two is removed all the same.
        """

    # -- what the sync engine calls ------------------------------------------------------

    @abstractmethod
    def upload_object(self, body: Body, meta: ObjectMeta, *, condition: Condition = NO_CONDITION) -> PutResult:
        """Send one whole local object the way this store wants it.

        Checks the target's limits first (LimitExceeded, nothing sent), applies
        the mapping's settings (encryption, storage class, tags, expiry), puts
        metadata beyond the store's limit into a side object *before* the object
        itself, and lets our own provenance keys give way to the user's.
        """

    def check_upload(self, meta: ObjectMeta, size: int) -> None:
        """Raise what ``upload_object`` would, before it sends anything (LimitExceeded). Default: nothing to say.

        For dry runs; at most the target's limits are asked for.
        """

    @abstractmethod
    def update_metadata(self, meta: ObjectMeta, remote: ObjectMeta) -> PutResult:
        """Bring the remote's metadata to ``meta`` without sending data.

        ``remote`` is the HEAD the decision was made on; where the store can, the
        update holds only for that version (PreconditionFailed otherwise).
        Unsupported when this object cannot be updated in place (archive storage
        classes, over 5 GiB): the caller sends the data again.
        """

    def delete_objects(self, keys: Sequence[str]) -> dict[str, Exception | None]:
        """Remove many; one outcome for each name, None for gone (also when it never was there)."""
        outcomes: dict[str, Exception | None] = {}
        for key in keys:
            try:
                self.delete_object(key)
                outcomes[key] = None
            except Exception as error:  # each name has its own outcome
                outcomes[key] = error
        return outcomes

    def apply_container(self, headers: Mapping[str, str]) -> None:
        """Bring the remote container to these settings. Default: nothing to bring.

        ``headers``: lower-case ``x-container-meta-*``, ``x-container-read`` and
        ``-write`` of the local container ('' removes); the provider takes what its
        settings tell it to, and installs its own (S3: the lifecycle rule).
        """

    def probe_conditional_put(self) -> tuple[bool, bool]:
        """Whether PUT honours If-None-Match and If-Match here; found by experiment where that is needed.

        ``capabilities`` tell the same afterwards.
        """
        return self.capabilities.create_only, self.capabilities.conditional_overwrite

    def set_conditional_put(self, create_only: bool, conditional_overwrite: bool) -> None:
        """What a probe of this endpoint found in another process. Default: nothing to learn."""

    # -- large objects --------------------------------------------------------------

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, *,
                            condition: Condition = NO_CONDITION) -> PutResult:
        """Send one local large object the way this store wants it, its manifest last (DESIGN 4.4).

        ``meta`` has the logical size and, as ``source_etag``, ``large.layout.etag``.
        Parts or segments that the remote already holds are not sent again. When
        this raises, what was visible before is still whole; when it returns, the
        new version is, and nothing that only the old one used is left.
        """
        raise Unsupported('this provider takes no large objects')

    def check_large_upload(self, large: LargeSource, meta: ObjectMeta) -> int:
        """About how many requests ``upload_large_object`` sends; LimitExceeded as that before its first.

        For dry runs.
        """
        return len(large.layout.pieces) + 1

    def sweep_uploads(self, older_than_seconds: float) -> int:
        """End uploads of ours that nobody went on with for so long, never anybody else's; how many there were.

        What cannot be ended now is left for the next sweep. Default: this store has nothing of the kind.
        """
        return 0

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        """The data at the remote is right: have what belongs beside it (the manifest object) there too.

        True when something had to be written.
        """
        return False

    def bring_link(self, meta: ObjectMeta, container: str, name: str) -> bool:
        """Have a symbolic link ``meta.name`` that leads to the copy of the local ``container/name``.

        True when it had to be written. Unsupported where there are no links, or
        the target's copy is not this mapping's.
        """
        raise Unsupported('this store has no symbolic links')

    def layout_of(self, meta: ObjectMeta, *, as_remote: bool = False) -> Layout | None:
        """What the large object ``meta`` (a HEAD or GET of it just made) consists of, in *local* names.

        ``pieces`` are left empty. None when the store keeps no such thing, or it cannot be
        told for just this version. ``as_remote``: names at the remote are the local ones (migrations).
        """
        return None

    def relation(self, large: LargeSource, remote: ObjectMeta) -> Relation:
        """Whether the remote version holds this large object's bytes, as far as the store's ETags tell."""
        return 'unknown'

    def prove(self, meta: ObjectMeta, *, large: LargeSource | None = None,
              written: PutResult | None = None) -> ObjectMeta:
        """Evidence that the remote holds this version, whole, now (DESIGN 4.3): asked afresh, ETag, size, metadata.

        ``written`` is what our own verified write of exactly this version returned,
        for stores whose ETag is not the MD5. Returns the remote's metadata; raises
        Unproven, saying what is missing.
        """
        remote = self.head_object(meta.name)
        if (remote.data_time is not None and meta.data_time is not None
                and without_marker(remote.data_time) != without_marker(meta.data_time)):
            raise Unproven(f'{meta.name!r}: the remote holds another version')
        if remote.size != meta.size:
            raise Unproven(f'{meta.name!r}: {remote.size} bytes at the remote, {meta.size} here')
        proven = (remote.etag_is_md5 and not remote.large_object and bool(meta.content_md5)
                  and remote.etag == meta.content_md5)
        if not proven and not (written is not None and written.etag and written.etag == remote.etag):
            raise Unproven(f'{meta.name!r}: the ETag {remote.etag!r} proves nothing')
        if self.comparable(remote) != self.comparable(meta):
            raise Unproven(f'{meta.name!r}: the metadata differs')
        return remote

    def check_whole(self, remote: ObjectMeta) -> None:
        """Unproven unless everything that a copy refers to is there, now. ``remote`` is a HEAD of it just made.

        For when nothing is left here to compare with. Default: copies are in one piece.
        """

    def comparable(self, meta: ObjectMeta) -> tuple[object, ...]:
        """What of ``meta`` this store would keep: equal values mean nothing is left to update."""
        return (meta.content_type, dict(meta.headers), dict(meta.user_metadata), meta.delete_at)

    # -- what the shunt calls --------------------------------------------------------

    @abstractmethod
    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        """GET or HEAD on behalf of a client.

        Headers are those that the object would have had locally. Conditions are judged by
        them (and by the store's own ETag). One Range is served; several, or that
        of a HEAD, are passed over. Queries: ``multipart-manifest=get`` (and ``format=raw``),
        ``part-number``; of a container all that listings have. An empty key is the
        container: its listing where ``native_listing`` says so, else 405.
        """

    @abstractmethod
    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        """POST of object (or container, empty key) metadata on behalf of a client."""

    @abstractmethod
    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        """DELETE of an object (or container, empty key) on behalf of a client."""

    # -- life -----------------------------------------------------------------------

    @abstractmethod
    def location(self, *, bucket: str | None = None) -> str:
        """``content_location`` of merged listings: ``<endpoint>;<bucket>;<prefix>`` and the like."""

    def close(self) -> None:
        """Close pooled connections."""
