"""The stored manifest beside a large object's copy: the predecessor's name and body, by which it is restored.

It is written after the object, because the one that is there belongs to the
version that is there; until then it tells by its metadata that it is not the
new version's. It also keeps the ETag that our verified upload was answered:
proof for stores whose ETag cannot be computed from what is known here.
"""
from __future__ import annotations

import hashlib
from collections import OrderedDict

from s3_sync.clock import Clock
from s3_sync.errors import NotFound
from s3_sync.large_objects.model import Layout
from s3_sync.providers.retry import retried
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.streams import BytesBody
from s3_sync.types import ObjectMeta
from s3_sync.wire.s3_headers import META_PREFIX
from s3_sync.wire.swift_headers import SOURCE_ETAG_KEY

COPY_ETAG_KEY = '1space-copy-etag'
"""On a manifest: the ETag of the object beside it, as our verified upload was answered."""
REMEMBERED = 10_000
MAX_MANIFEST_BYTES = 256 * 1024 * 1024
"""A DLO may have any number of segments; more than this no process wants to hold."""


class Manifests:
    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._seen: OrderedDict[Place, None] = OrderedDict()

    # -- which objects have one ---------------------------------------------------------

    def remember(self, place: Place, meta: ObjectMeta) -> None:
        """Keep in mind from a HEAD that the version there is a large object: its next version removes the manifest."""
        if meta.large_object:
            self._remember(place)
        else:
            self._seen.pop(place, None)

    def remembered(self, place: Place) -> bool:
        return place in self._seen

    # -- the manifest object ------------------------------------------------------------

    def write(self, place: Place, layout: Layout, copy_etag: str = '') -> None:
        """``copy_etag``: of the copy beside it, where it is proven; '' otherwise."""
        headers = self._headers(layout.etag, copy_etag)
        retried(lambda: self._objects.put(place, BytesBody(layout.manifest), headers), clock=self._clock)
        self._remember(place)

    def find(self, place: Place, layout: Layout) -> ObjectMeta | None:
        """Metadata of the manifest there when its body is ``layout``'s, else None."""
        try:
            found = self._objects.head(place, '')
        except NotFound:
            return None
        if found.size != len(layout.manifest):
            return None
        if found.etag_is_md5:
            same = found.etag == hashlib.md5(layout.manifest, usedforsecurity=False).hexdigest()
        else:
            same = self._read(place, len(layout.manifest)) == layout.manifest
        return found if same else None

    def read(self, place: Place) -> bytes:
        """The body of the manifest there; b'' when there is none."""
        return self._read(place, MAX_MANIFEST_BYTES)

    def remove(self, place: Place) -> None:
        retried(lambda: self._objects.delete(place), clock=self._clock)
        self._seen.pop(place, None)

    def remove_stale(self, place: Place, current: ObjectMeta | None, before: float) -> None:
        """Remove a manifest that does not belong to ``current``, the version there (None: there is no object).

        Only one written ``before`` (Unix seconds of the store's clock): a later one may belong to a version that has
        come since ``current`` was looked at.
        """
        try:
            found = self._objects.head(place, '')
        except NotFound:
            return
        if found.last_modified is not None and found.last_modified > before:
            return
        if current is not None and current.large_object:
            if not found.source_etag or not current.source_etag or found.source_etag == current.source_etag:
                return
        self.remove(place)

    def moved(self, place: Place, before: str, after: str) -> None:
        """The object beside it has another ETag now, its content is as it was: tell so, if that was told before."""
        try:
            found = self._objects.head(place, '')
        except NotFound:
            return
        if before and found.user_metadata.get(COPY_ETAG_KEY) == before:
            headers = self._headers(found.source_etag, after)
            retried(lambda: self._objects.copy_onto_itself(place, headers, found), clock=self._clock)

    def _remember(self, place: Place) -> None:
        self._seen[place] = None
        self._seen.move_to_end(place)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    @staticmethod
    def _headers(layout_etag: str, copy_etag: str) -> dict[str, str]:
        headers = {'content-type': 'application/json', META_PREFIX + SOURCE_ETAG_KEY: layout_etag}
        if copy_etag:
            headers[META_PREFIX + COPY_ETAG_KEY] = copy_etag
        return headers

    def _read(self, place: Place, size: int) -> bytes:
        try:
            with self._objects.open('GET', place, headers={}) as response:
                return response.read(size)
        except NotFound:
            return b''


def recorded_etag(found: ObjectMeta, layout: Layout) -> str:
    """What a manifest tells of the copy of exactly this version; '' when nothing."""
    return found.user_metadata.get(COPY_ETAG_KEY, '') if found.source_etag == layout.etag else ''
