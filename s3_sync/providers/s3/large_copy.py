"""Other metadata for a multipart object without moving its data.

A plain copy onto itself would be one part, and have another ETag. So the object
is copied part by part, with the parts it has: the ETag, which is what proves
its content, stays. Whether it will is known before anything is put together.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from s3_sync.errors import NotFound, ProviderError, Unsupported
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.parts import PartLimits
from s3_sync.providers.retry import retried
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import Call, Client
from s3_sync.providers.s3.large_upload import Completion
from s3_sync.providers.s3.multipart import Multipart, StoredPart
from s3_sync.providers.s3.objects import Objects, Place, is_keyed
from s3_sync.providers.s3.parallel import in_parallel
from s3_sync.providers.s3.pending import PendingUploads, Upload
from s3_sync.types import Condition, ObjectMeta, PutResult
from s3_sync.wire.pending_uploads import PendingUpload
from s3_sync.wire.s3_headers import is_multipart

KEEPS_PARTS = ('SeaweedFS',)
"""Servers whose plain copy of an object onto itself keeps its multipart ETag (and whose copied parts have odd ones)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where one part of the object lies."""

    number: int
    first: int
    size: int


class LargeCopies:
    def __init__(self, client: Client, objects: Objects, pending: PendingUploads, *, opaque: bool, limits: PartLimits,
                 tags: str) -> None:
        """``tags``: those that uploads are given, as their header."""
        self._client = client
        self._objects = objects
        self._pending = pending
        self._opaque = opaque
        self._limits = limits
        self._own_tags = tags

    def copy(self, place: Place, headers: Mapping[str, str], current: ObjectMeta, wanted: PendingUpload) -> PutResult:
        """Replace all metadata of the version ``current`` (a HEAD); ``headers`` name all that is to be kept.

        Unsupported when the object's parts cannot be found out, or cannot be copied so that its ETag stays.
        """
        kept = self._objects.kept_settings(current)
        if self._client.server.startswith(KEEPS_PARTS) or self._client.endpoint.flavour == 'google':
            return self._objects.copy_onto_itself(place, headers, current, whole=True)
        multipart = Multipart(self._client)
        spans = self._spans(place, current)
        upload = self._pending.begin(multipart, wanted, {**headers, **kept, **self._tags(place, current)}, resume=False)
        try:
            copied = self._copied(multipart, upload, spans, current)
            expected = self._expected(copied, current)
            completion = Completion(self._client, self._objects, multipart, Condition(if_match=current.etag), headers)
            completion.check(place)
            completed = completion(upload, copied, expected)
        except ProviderError:
            self._pending.abandon(multipart, upload)
            raise
        self._pending.done(multipart, upload, certain=completed.certain)
        return PutResult(completed.etag, multipart.requests)

    def _expected(self, copied: list[StoredPart], current: ObjectMeta) -> str:
        if self._opaque or is_keyed(current.sysmeta) or not is_multipart(current.etag):
            return ''
        try:
            etag = multipart_etag([part.etag for part in copied])
        except ValueError:
            etag = ''
        if etag != current.etag:
            raise Unsupported(f'{current.name!r}: its parts, copied, would have another ETag')
        return etag

    def _spans(self, place: Place, current: ObjectMeta) -> list[Span]:
        """Where the parts lie. Unsupported when the store does not tell."""
        if not is_multipart(current.etag):
            return self._even(current)
        count = int(current.etag.rpartition('-')[2])
        sizes: dict[int, int] = {}

        def look(number: int, stopped: Callable[[], bool]) -> None:
            sizes[number] = self._part_size(place, number, count, current)
        in_parallel(look, range(1, count + 1))
        spans: list[Span] = []
        first = 0
        for number in range(1, count + 1):
            spans.append(Span(number, first, sizes[number]))
            first += sizes[number]
        if first != current.size:
            raise Unsupported(f'{current.name!r}: its parts come to {first} of {current.size} bytes')
        return spans

    def _part_size(self, place: Place, number: int, count: int, current: ObjectMeta) -> int:
        try:
            answer = retried(lambda: self._client.do(Call(
                'HEAD', place.bucket, place.key, query={'partNumber': str(number)})), clock=self._client.clock)
        except NotFound:
            raise
        except ProviderError as error:
            raise Unsupported(f'{current.name!r}: the store does not tell its parts: {error}') from error
        size = answer.get('content-length', '')
        if answer.get('x-amz-mp-parts-count') != str(count) or not size.isdigit() or not int(size):
            raise Unsupported(f'{current.name!r}: the store does not tell its parts')
        return int(size)

    def _even(self, current: ObjectMeta) -> list[Span]:
        """Of an object that has no parts, or whose ETag does not tell: cut evenly."""
        size = max(self._limits.part_bytes, -(-current.size // self._limits.max_parts))
        return [Span(number, first, min(size, current.size - first))
                for number, first in enumerate(range(0, current.size, size), 1)]

    def _copied(self, multipart: Multipart, upload: Upload, spans: list[Span], current: ObjectMeta) -> list[StoredPart]:
        parts: dict[int, StoredPart] = {}

        def copy(span: Span, stopped: Callable[[], bool]) -> None:
            def once() -> str:
                with self._client.parts:
                    return multipart.copy_part(upload.place, upload.upload_id, span.number, span.first, span.size,
                                               if_match=current.etag)
            etag = retried(once, clock=self._client.clock)
            parts[span.number] = StoredPart(span.number, etag, span.size)
        in_parallel(copy, spans)
        return [parts[span.number] for span in spans]

    def _tags(self, place: Place, current: ObjectMeta) -> dict[str, str]:
        """The object's tags as a header: a copy by parts does not take them along.

        How many there are is told only to who may read tags; who may not gives it those of its upload again.
        """
        count = current.sysmeta.get('x-amz-tagging-count', '')
        if not count and self._own_tags:
            return {'x-amz-tagging': self._own_tags}
        if count in ('', '0'):
            return {}
        _response, data = self._client.read(Call('GET', place.bucket, place.key, query={'tagging': ''}))
        tags = {tag.findtext('Key') or '': tag.findtext('Value') or '' for tag in xml.parse(data).iter('Tag')}
        return {'x-amz-tagging': urlencode(tags)} if tags else {}
