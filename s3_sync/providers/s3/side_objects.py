"""User metadata beyond the store's limit: an object beside the object.

It is written before the object that refers to it by MD5 and removed after the
object that no longer does, so that a crash leaves at worst an unused one. When
the object's write is refused (somebody else was faster), what was there before
is put back. A reference that does not hold is told, never papered over.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from s3_sync.errors import NotFound, ProviderError, TemporaryError
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.streams import BytesBody
from s3_sync.types import ObjectMeta
from s3_sync.wire.s3_headers import side_matches, with_side
from s3_sync.wire.swift_headers import SIDE_OBJECT_KEY

MAX_SIDE_BYTES = 1024 * 1024
REMEMBERED = 10_000
DAMAGED_KEY = '1space-damaged'
"""In ``sysmeta`` of a HEAD: the side object is not the one referred to; the metadata has to be sent again."""


class SideObjects:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._seen: OrderedDict[Place, None] = OrderedDict()

    def remember(self, side: Place, meta: ObjectMeta) -> None:
        """Keep in mind that the current version has one: its next version has to remove or replace it."""
        if SIDE_OBJECT_KEY in meta.sysmeta:
            self._remember(side)
        else:
            self._seen.pop(side, None)

    def restored(self, side: Place, meta: ObjectMeta) -> ObjectMeta:
        """``meta`` with its side object's metadata. TemporaryError when that is not the one referred to."""
        if SIDE_OBJECT_KEY not in meta.sysmeta:
            return meta
        body = self._read(side)
        if body is None or not side_matches(meta, body):
            raise TemporaryError(f'metadata of {meta.name!r}: {side.key} is missing or of another version',
                                 reason='side-object')
        try:
            return with_side(meta, body)
        except ValueError as error:
            raise TemporaryError(f'metadata of {meta.name!r}: {side.key} is unreadable', reason='side-object'
                                 ) from error

    def restored_or_damaged(self, side: Place, meta: ObjectMeta) -> ObjectMeta:
        """As ``restored``; a damaged one is marked, compares unequal, and so is sent again by its source.

        Its times, where they are not in the side object themselves, still hold: an older source never heals it.
        """
        try:
            return self.restored(side, meta)
        except TemporaryError as error:
            if error.reason != 'side-object':
                raise
            return replace(meta, sysmeta={**meta.sysmeta, DAMAGED_KEY: str(error)})

    @contextmanager
    def around_put(self, side: Place, body: bytes | None) -> Iterator[None]:
        """The object's write goes inside: the side object is there before, what is not needed goes after."""
        previous = self._write(side, body) if body is not None else None
        try:
            yield
        except ProviderError as error:
            # After any other failure the write may have arrived all the same.
            if not isinstance(error, TemporaryError) and body is not None and previous != body:
                self._put_back(side, previous)
            raise
        if body is not None:
            self._remember(side)
        elif side in self._seen:
            self._objects.delete(side)
            del self._seen[side]

    def _remember(self, side: Place) -> None:
        self._seen[side] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _write(self, side: Place, body: bytes) -> bytes | None:
        previous = self._read(side)
        if previous != body:
            self._objects.put(side, BytesBody(body), {'content-type': 'application/json'})
        return previous

    def _put_back(self, side: Place, previous: bytes | None) -> None:
        if previous is None:
            self._objects.delete(side)
        else:
            self._objects.put(side, BytesBody(previous), {'content-type': 'application/json'})

    def _read(self, side: Place) -> bytes | None:
        try:
            with self._objects.open('GET', side, headers={}, bounded=False) as response:
                return response.read(MAX_SIDE_BYTES)
        except NotFound:
            return None
