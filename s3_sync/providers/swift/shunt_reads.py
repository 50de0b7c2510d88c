"""GET and HEAD of clients at another Swift: what is sent, and the answer as if the object were here."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from s3_sync.base_sync import ProviderResponse
from s3_sync.errors import ProviderError
from s3_sync.large_objects.model import Layout
from s3_sync.providers.client_view import answered_span, condition_status, discard, forwarded_range, local_headers
from s3_sync.providers.http import Response
from s3_sync.providers.large_answers import manifest_answer, wants_manifest
from s3_sync.providers.swift import shunting
from s3_sync.providers.swift.client import ERROR_BODY_BYTES, Call, SwiftClient
from s3_sync.providers.swift.large_dlo import manifest_header
from s3_sync.providers.swift.metadata import StoredMeta, stored_meta
from s3_sync.providers.swift.places import Place, Places
from s3_sync.providers.swift.segments import Stored
from s3_sync.providers.swift.sources import Sources
from s3_sync.types import ObjectMeta, ShuntRequest
from s3_sync.wire.swift_headers import DLO_ETAG_KEY, SLO_ETAG_KEY

_ANSWERS = frozenset({400, 404, 409, 416})
_KEPT = ('x-parts-count', 'x-manifest-etag')
"""Further headers of a large object that mean the same here."""


class Reads:
    """Of one remote container. ``layout_of``: see ``BaseSync``."""

    def __init__(self, client: SwiftClient, places: Places, sources: Sources,
                 layout_of: Callable[[ObjectMeta], Layout | None]) -> None:
        self._client = client
        self._places = places
        self._sources = sources
        self._layout_of = layout_of

    def answer(self, request: ShuntRequest) -> ProviderResponse:
        if request.method not in ('GET', 'HEAD'):
            raise ValueError(f'shunt_object is for GET and HEAD, not {request.method}')
        return self._object(request) if request.key else self._container(request)

    def _container(self, request: ShuntRequest) -> ProviderResponse:
        """The listing, byte for byte, always as JSON."""
        call = Call(request.method, self._places.bucket,
                    query={**shunting.read_query(request.query, shunting.LISTING_QUERY), 'format': 'json'},
                    headers=shunting.via(request.headers))
        response = self._client.open(call, accept=shunting.ANSWERS)
        return ProviderResponse(response.status, shunting.client_headers(response.headers), response)

    def _object(self, request: ShuntRequest) -> ProviderResponse:
        asked = shunting.lower(request.headers)
        if wants_manifest(request):
            found = self._copied_manifest(request, asked)
            if found is not None:
                return found
        call = Call(request.method, self._places.bucket, request.key,
                    query=shunting.read_query(request.query, shunting.OBJECT_QUERY),
                    headers={**shunting.via(asked), **forwarded_range(request.method, asked)})
        response = self._client.open(call, accept=_ANSWERS)
        try:
            return self._answer(request, asked, response, call.what)
        except BaseException:
            response.close()
            raise

    def _copied_manifest(self, request: ShuntRequest, asked: Mapping[str, str]) -> ProviderResponse | None:
        """The manifest of an SLO's copy, in the names that its segments have here. None: the remote's own will do."""
        call = Call('HEAD', self._places.bucket, request.key, headers=shunting.via(asked))
        with self._client.open(call, accept=_ANSWERS) as response:
            if response.status >= 300:
                return None
            meta = stored_meta(request.key, response.headers)
            if meta.data_time is None or meta.large_object != 'slo':
                return None
            return manifest_answer(request, meta, self._headers(meta, response.headers), self._layout_of(meta))

    def _answer(self, request: ShuntRequest, asked: Mapping[str, str], response: Response,
                what: str) -> ProviderResponse:
        told = response.headers
        if response.status in _ANSWERS:
            response.read(ERROR_BODY_BYTES)
            kept: dict[str, str] = {k: told[k] for k in ('content-range', 'x-parts-count') if k in told}
            return ProviderResponse(response.status, {**kept, 'content-length': '0'})
        meta = replace(stored_meta(request.key, told), size=answered_span(response.status, told, what).size)
        headers = self._headers(meta, told)
        if wants_manifest(request):
            headers['etag'] = told.get('etag', '').strip('"')  # of what was asked for, not of the object's data
        status = condition_status(asked, headers, meta.etag)
        if status != 200:
            discard(response)
            return ProviderResponse(status, {**headers, 'content-length': '0'})
        headers.update({k: told[k] for k in ('content-length', 'content-range') if k in told})
        if request.method == 'HEAD':
            response.close()
            return ProviderResponse(response.status, headers, meta=meta)
        return ProviderResponse(response.status, headers, response, meta)

    def _headers(self, meta: StoredMeta, told: Mapping[str, str]) -> dict[str, str]:
        shown = replace(meta, large_object=None) if _was_plain(meta) else meta
        headers = local_headers(shown)
        if meta.data_time is None and 'last-modified' in headers:  # its times are the remote's, to the last digit
            headers.update({k: told[k] for k in ('x-timestamp', 'last-modified') if k in told})
        if shown.large_object:
            headers.update({k: told[k] for k in _KEPT if k in told})
        if meta.large_object == 'dlo':
            base = Stored(told).dlo
            source = base if base is None or meta.data_time is None else self._dlo_source(base, meta.name)
            if source is not None:
                headers['x-object-manifest'] = manifest_header(source)
        return headers

    def _dlo_source(self, base: Place, key: str) -> Place | None:
        with contextlib.suppress(ProviderError):  # one header less is no reason to fail
            self._sources.learn(base.container)
        return self._places.source_of_prefix(base, key)


def _was_plain(meta: StoredMeta) -> bool:
    """Whether an SLO is the copy of an ordinary object that was too large for this remote."""
    return (meta.large_object == 'slo' and meta.source_etag not in ('', meta.etag)
            and meta.sysmeta.keys().isdisjoint((SLO_ETAG_KEY, DLO_ETAG_KEY)))
