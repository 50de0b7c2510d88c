"""Large objects at S3: how they are stored, known again, proven, and updated.

An SLO or DLO becomes one object of its bytes, uploaded in parts (at Google: in
one stream), with the stored manifest in an object beside it. An ordinary object
that is too large for one PUT is uploaded in the same way and has no manifest.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from s3_sync.errors import LimitExceeded, NotFound, Unproven
from s3_sync.large_objects.bodies import PartReader, WholeBody
from s3_sync.large_objects.dlo import dlo_prefix
from s3_sync.large_objects.etags import Relation, multipart_etag, relation_to
from s3_sync.large_objects.layouts import layout_of_manifest
from s3_sync.large_objects.manifest import ManifestError
from s3_sync.large_objects.model import LargeSource, Layout
from s3_sync.large_objects.parts import Part, PartLimits, Uncuttable, plan_parts, sequences
from s3_sync.providers.retry import retried
from s3_sync.providers.s3.client import Client
from s3_sync.providers.s3.large_copy import LargeCopies
from s3_sync.providers.s3.large_upload import Completed, Completion, LargeUploads
from s3_sync.providers.s3.listing import Listing
from s3_sync.providers.s3.manifests import Manifests, recorded_etag
from s3_sync.providers.s3.multipart import Multipart, StoredPart
from s3_sync.providers.s3.objects import DEFAULT_TYPE, MAX_COPY_BYTES, Objects, Place
from s3_sync.providers.s3.pending import PendingUploads, Upload
from s3_sync.providers.s3.settings import StoreSettings
from s3_sync.providers.s3.side_objects import SideObjects
from s3_sync.streams import Body, BytesBody
from s3_sync.types import Condition, ObjectMeta, PutResult
from s3_sync.wire.keys import KeyScheme
from s3_sync.wire.pending_uploads import PendingUpload, version_digest
from s3_sync.wire.s3_headers import DLO_MARK, SLO_MARK, MetadataPlan, is_multipart
from s3_sync.wire.swift_headers import DLO_ETAG_KEY, SLO_ETAG_KEY

CONTROL_REQUESTS = 8
"""Beside the parts: two looks for unfinished uploads, a note written twice and removed, begin, complete, manifest."""


class LargeObjects:
    """Of one container. ``place`` and ``side`` give the keys of an object's name."""

    def __init__(self, client: Client, objects: Objects, sides: SideObjects, listing: Listing, scheme: KeyScheme,
                 store: StoreSettings, *, bucket: str, place: Callable[[str], Place],
                 side: Callable[[str], Place], limits: PartLimits) -> None:
        self._client = client
        self._objects = objects
        self._sides = sides
        self._store = store
        self._scheme = scheme
        self._bucket = bucket
        self._place = place
        self._side = side
        self._limits = limits
        self._google = client.endpoint.flavour == 'google'
        self.manifests = Manifests(objects, client.clock)
        self._pending = PendingUploads(objects, listing, scheme, bucket, place=place, tidy=self._tidy,
                                       clock=client.clock)
        self._uploads = LargeUploads(client, objects, self._pending, opaque=store.kms)
        self._copies = LargeCopies(client, objects, self._pending, opaque=store.kms, limits=limits,
                                   tags=store.uploads.get('x-amz-tagging', ''))

    # -- what is written ----------------------------------------------------------------

    def marks(self, layout: Layout) -> dict[str, str]:
        """Metadata that tells whoever restores it what the object was, in the predecessor's words."""
        if layout.kind == 'slo':
            return {SLO_MARK: 'True', **({SLO_ETAG_KEY: _md5(layout.manifest)} if self._google else {})}
        if layout.kind == 'dlo':
            return {DLO_MARK: quote(layout.prefix), **({DLO_ETAG_KEY: layout.etag} if self._google else {})}
        return {}

    def parts(self, layout: Layout) -> tuple[Part, ...]:
        """How the object is cut. LimitExceeded when that cannot be done."""
        try:
            return plan_parts(layout.pieces, self._limits)
        except Uncuttable as error:
            raise LimitExceeded(str(error), reason='too-large') from error

    def requests(self, layout: Layout) -> int:
        """About how many requests an upload takes. LimitExceeded."""
        return 2 if self._in_one_put(layout) else len(self.parts(layout)) + CONTROL_REQUESTS

    def upload(self, large: LargeSource, meta: ObjectMeta, plan: MetadataPlan, condition: Condition) -> PutResult:
        """``plan``: what of ``meta`` goes where, the marks among it."""
        layout = large.layout
        headers = {'content-type': DEFAULT_TYPE, **self._store.encryption, **plan.headers, **self._store.uploads}
        if self._in_one_put(layout):
            result = self._put(large, meta, plan, headers, condition)
        else:
            result = self._put_parts(large, meta, plan, headers, condition)
        return PutResult(result.etag, result.requests + 1)

    def ensure_manifest(self, large: LargeSource, meta: ObjectMeta) -> bool:
        layout, manifest = large.layout, self._manifest(meta.name)
        if not layout.manifest or self.manifests.find(manifest, layout) is not None:
            return False
        self.manifests.write(manifest, layout)
        return True

    def update(self, meta: ObjectMeta, plan: MetadataPlan, current: ObjectMeta) -> PutResult:
        """Bring the version ``current`` (a HEAD) to other metadata. Unsupported when that moves its data or ETag."""
        place = self._place(meta.name)
        headers = {'content-type': DEFAULT_TYPE, **plan.headers}
        wanted = self._wanted(meta, headers, f'copy of {current.etag}', ())
        with self._sides.around_put(self._side(meta.name), plan.side):
            result = self._copies.copy(place, headers, current, wanted)
        if result.etag != current.etag and current.large_object in ('slo', 'dlo'):
            self.manifests.moved(self._manifest(meta.name), current.etag, result.etag)
        return result

    @staticmethod
    def in_parts(current: ObjectMeta) -> bool:
        """Whether another version of its metadata needs ``update``, and not just a copy onto itself."""
        return is_multipart(current.etag) or current.size > MAX_COPY_BYTES

    # -- a plain object instead ---------------------------------------------------------

    def replace(self, name: str, put: Callable[[], PutResult]) -> PutResult:
        """Write an ordinary object over a large one; what belonged to that goes afterwards, also after a crash."""
        note = self._pending.replacing(name)
        result = put()
        self.manifests.remove(self._manifest(name))
        self._pending.replaced(note)
        return result

    def is_replaced(self, name: str, condition: Condition) -> bool:
        """Whether the version that the next write replaces is a large object, as far as known without asking."""
        return is_multipart(condition.if_match or '') or self.manifests.remembered(self._manifest(name))

    def remember(self, meta: ObjectMeta) -> None:
        self.manifests.remember(self._manifest(meta.name), meta)

    def sweep(self, older_than_seconds: float) -> int:
        return self._pending.sweep(Multipart(self._client), older_than_seconds)

    # -- what is there ------------------------------------------------------------------

    def layout_of(self, meta: ObjectMeta) -> Layout | None:
        """Out of the manifest beside the copy, when that is of just this version."""
        if meta.large_object not in ('slo', 'dlo'):
            return None
        manifest = self.manifests.read(self._manifest(meta.name))
        told = meta.sysmeta.get(SLO_ETAG_KEY, '')
        if not manifest or (told and told != _md5(manifest)):
            return None
        content = meta.source_etag or meta.sysmeta.get(DLO_ETAG_KEY, '')
        prefix = ''
        if meta.large_object == 'dlo':
            try:
                prefix = '/'.join(dlo_prefix(meta.sysmeta[DLO_MARK]))
            except ManifestError:
                return None
        return layout_of_manifest(meta.large_object, manifest, size=meta.size, content=content, prefix=prefix)

    def relation(self, large: LargeSource, remote: ObjectMeta) -> Relation:
        try:
            parts: Sequence[Part] | None = self.parts(large.layout)
        except LimitExceeded:
            parts = None
        return relation_to(
            large.layout, remote.etag, source_etag=remote.source_etag, remote_size=remote.size, parts=parts,
            swift_slo_etag=remote.sysmeta.get(SLO_ETAG_KEY, ''), source_dlo_etag=remote.sysmeta.get(DLO_ETAG_KEY, ''),
            etag_is_md5=remote.etag_is_md5)

    def prove(self, large: LargeSource, remote: ObjectMeta, written: PutResult | None) -> None:
        """Unproven unless what ``remote`` (a HEAD just now) tells is evidence of the whole content and its manifest.

        Local data is read only where neither ``written`` nor the manifest object
        recorded the ETag, and the manifest does not tell the MD5 of each part.
        """
        layout, recorded = large.layout, ''
        if layout.manifest:
            found = self.manifests.find(self._manifest(remote.name), layout)
            if found is None:
                raise Unproven(f'{remote.name!r}: its manifest is not at the remote', reason='manifest')
            recorded = recorded_etag(found, layout)
        known = {recorded, written.etag if written is not None else ''} - {''}
        if remote.etag not in known and not self._computed(large, remote):
            raise Unproven(f'{remote.name!r}: the ETag {remote.etag!r} proves nothing')

    def _computed(self, large: LargeSource, remote: ObjectMeta) -> bool:
        """Whether the local data makes the remote's ETag."""
        layout = large.layout
        if self.relation(large, remote) == 'different':
            return False
        if not is_multipart(remote.etag):
            return remote.etag_is_md5 and remote.etag == _whole_md5(large)
        parts = self.parts(layout)
        if remote.etag.rpartition('-')[2] != str(len(parts)):
            return False
        md5s: list[str] = []
        for sequence in sequences(parts):
            reader = PartReader(large, sequence)
            md5s += [part.md5 or reader.skip(part) for part in sequence]
        return multipart_etag(md5s) == remote.etag

    # -- ways to upload -----------------------------------------------------------------

    def _in_one_put(self, layout: Layout) -> bool:
        return not layout.size or (self._google and layout.size <= MAX_COPY_BYTES)

    def _put(self, large: LargeSource, meta: ObjectMeta, plan: MetadataPlan, headers: Mapping[str, str],
             condition: Condition) -> PutResult:
        body: Body = WholeBody(large) if large.layout.size else BytesBody(b'')
        place = self._place(meta.name)
        if plan.side is not None and condition != Condition():
            self._objects.check(place, condition)
        try:
            with self._sides.around_put(self._side(meta.name), plan.side):
                result = retried(lambda: self._objects.put(place, body, headers, condition=condition),
                                 clock=self._client.clock, body=body)
        finally:
            body.close()
        self._put_manifest(meta.name, large.layout, result.etag)
        return result

    def _put_parts(self, large: LargeSource, meta: ObjectMeta, plan: MetadataPlan, headers: Mapping[str, str],
                   condition: Condition) -> PutResult:
        parts = self.parts(large.layout)
        multipart = Multipart(self._client)
        completion = Completion(self._client, self._objects, multipart, condition, headers)

        def complete(upload: Upload, stored: Sequence[StoredPart], expected: str) -> Completed:
            completion.check(upload.place)  # before the side object is touched
            with self._sides.around_put(self._side(meta.name), plan.side):
                completed = completion(upload, stored, expected)
            self._put_manifest(meta.name, large.layout, completed.etag)
            return completed
        wanted = self._wanted(meta, headers, large.layout.etag, parts)
        etag = self._uploads.send(multipart, large, parts, wanted, headers, complete)
        return PutResult(etag, multipart.requests)

    def _put_manifest(self, name: str, layout: Layout, etag: str) -> None:
        """Of the version that has just come, with this ETag."""
        if layout.manifest:
            self.manifests.write(self._manifest(name), layout, etag)
        else:
            self.manifests.remove(self._manifest(name))

    def _wanted(self, meta: ObjectMeta, headers: Mapping[str, str], content: str,
                parts: Sequence[Part]) -> PendingUpload:
        times = [time for time in (meta.data_time, meta.meta_time) if time is not None]
        return PendingUpload(
            meta.name, version_digest(headers, content, [(part.size, part.md5) for part in parts]),
            newest=max(times).internal if times else '')

    def _manifest(self, name: str) -> Place:
        return Place(self._bucket, self._scheme.manifest_key(name))

    def _tidy(self, name: str, before: float) -> None:
        try:
            current: ObjectMeta | None = self._objects.head(self._place(name), name)
        except NotFound:
            current = None
        self.manifests.remove_stale(self._manifest(name), current, before)


def _whole_md5(large: LargeSource) -> str:
    """Hex MD5 of all the bytes, read only when it is not known."""
    layout = large.layout
    if layout.kind == 'plain' and layout.etag:
        return layout.etag
    if len(layout.pieces) == 1 and layout.pieces[0].md5:
        return layout.pieces[0].md5
    digest = hashlib.md5(usedforsecurity=False)
    body = WholeBody(large)
    try:
        for chunk in body:
            digest.update(chunk)
    finally:
        body.close()
    return digest.hexdigest()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
