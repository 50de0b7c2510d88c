"""GET and HEAD of Swift clients at S3: what is sent, and the answer as Swift would give it."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from s3_sync.base_sync import ProviderResponse
from s3_sync.errors import NotFound, TemporaryError
from s3_sync.large_objects.model import Layout
from s3_sync.providers.client_view import (
    answered_span,
    condition_status,
    discard,
    forwarded_range,
    local_headers,
    was_plain,
)
from s3_sync.providers.http import Response
from s3_sync.providers.large_answers import (
    asked_part,
    checked_part,
    manifest_answer,
    part_headers,
    part_of,
    wants_manifest,
)
from s3_sync.providers.s3.client import ERROR_BODY_BYTES
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.providers.s3.side_objects import SideObjects
from s3_sync.types import ObjectMeta, ShuntRequest
from s3_sync.wire.s3_headers import DLO_MARK, meta_from_s3

_ANSWERS = (404, 416)


class Reads:
    """Of one container. ``layout_of``: see ``BaseSync``."""

    def __init__(self, objects: Objects, sides: SideObjects, *, place: Callable[[str], Place],
                 side: Callable[[str], Place], layout_of: Callable[[ObjectMeta], Layout | None]) -> None:
        self._objects = objects
        self._sides = sides
        self._place = place
        self._side = side
        self._layout_of = layout_of

    def answer(self, request: ShuntRequest) -> ProviderResponse:
        try:
            place = self._place(request.key)
            if wants_manifest(request):
                return self._manifest(request, place)
            if asked_part(request) is not None:
                return self._part(request, place)
        except NotFound:
            return ProviderResponse(404, {'content-length': '0'})
        return self._open(request, place)

    def _head(self, request: ShuntRequest, place: Place) -> ObjectMeta:
        return self._sides.restored(self._side(request.key), self._objects.head(place, request.key))

    # -- whole objects and ranges -----------------------------------------------------------

    def _open(self, request: ShuntRequest, place: Place, query: Mapping[str, str] | None = None,
              hidden: frozenset[str] = frozenset()) -> ProviderResponse:
        asked = {k.lower(): v for k, v in request.headers.items()}
        response = self._objects.open(request.method, place, headers=forwarded_range(request.method, asked),
                                      query=query or {}, accept=_ANSWERS)
        try:
            return self._answer(request, asked, response, hidden)
        except BaseException:
            response.close()
            raise

    def _answer(self, request: ShuntRequest, asked: Mapping[str, str], response: Response,
                hidden: frozenset[str]) -> ProviderResponse:
        if response.status in _ANSWERS:
            response.read(ERROR_BODY_BYTES)
            kept: dict[str, str] = {k: response.headers[k] for k in ('content-range',) if k in response.headers}
            return ProviderResponse(response.status, {**kept, 'content-length': '0'})
        what = f'{request.method} {request.key!r}'
        if request.method == 'GET' and 'content-length' not in response.headers:
            raise TemporaryError(f'{what}: the store does not tell the length', reason='answer')
        span = answered_span(response.status, response.headers, what)
        meta = self._sides.restored(self._side(request.key), meta_from_s3(request.key, response.headers,
                                                                          size=span.size))
        headers = {k: v for k, v in _headers(meta).items() if k not in hidden}
        status = condition_status(asked, headers, meta.etag)
        if status != 200:
            discard(response)
            return ProviderResponse(status, {**headers, 'content-length': '0'})
        headers['content-length'] = str(span.length)
        if response.status == 206:
            headers['content-range'] = response.headers['content-range']
        if 'x-amz-mp-parts-count' in response.headers:
            headers['x-parts-count'] = response.headers['x-amz-mp-parts-count']
        if request.method == 'HEAD':
            response.close()
            return ProviderResponse(response.status, headers, meta=meta)
        return ProviderResponse(response.status, headers, response, meta)

    # -- manifests and parts ----------------------------------------------------------------

    def _manifest(self, request: ShuntRequest, place: Place) -> ProviderResponse:
        meta = self._head(request, place)
        if meta.large_object in ('slo', 'dlo'):
            return manifest_answer(request, meta, _headers(meta),
                                   self._layout_of(meta) if meta.large_object == 'slo' else None)
        # What has no manifest is an ordinary object to whoever asks for one.
        return self._open(request, place, hidden=frozenset({'x-static-large-object'}))

    def _part(self, request: ShuntRequest, place: Place) -> ProviderResponse:
        meta = self._head(request, place)
        if meta.large_object == 'multipart' and not was_plain(meta):
            number = checked_part(request)
            return number if isinstance(number, ProviderResponse) else self._own_part(request, place, meta, number)
        layout = self._layout_of(meta) if meta.large_object == 'slo' else None
        if layout is None:
            return self._open(request, place)  # part numbers mean nothing there, as at a Swift
        span = part_of(request, layout, _headers(meta))
        if isinstance(span, ProviderResponse):
            return span
        headers = part_headers(meta, span, layout)
        status = condition_status({k.lower(): v for k, v in request.headers.items()}, headers, meta.etag)
        if status != 200:
            return ProviderResponse(status, {**headers, 'content-length': '0'})
        if request.method == 'HEAD':
            return ProviderResponse(206, headers, meta=meta)
        response = self._objects.open('GET', place, headers={
            'range': f'bytes={span.first}-{span.first + span.length - 1}', 'if-match': f'"{meta.etag}"'})
        if response.status != 206 or span != answered_span(206, response.headers, f'GET {request.key!r}'):
            response.close()
            raise TemporaryError(f'GET {request.key!r}: the store gave other bytes than the part', reason='answer')
        return ProviderResponse(206, headers, response, meta)

    def _own_part(self, request: ShuntRequest, place: Place, meta: ObjectMeta, number: int) -> ProviderResponse:
        answer = self._open(request, place, {'partNumber': str(number)})
        if answer.meta is None or (answer.meta.etag, answer.meta.size) == (meta.etag, meta.size):
            return answer
        # Some stores take the part for the object in what they tell of it: those do not know parts.
        answer.close()
        return self._open(request, place)


def _headers(meta: ObjectMeta) -> dict[str, str]:
    headers = local_headers(meta)
    if meta.large_object == 'dlo' and meta.sysmeta.get(DLO_MARK):
        headers['x-object-manifest'] = meta.sysmeta[DLO_MARK]
    return headers
