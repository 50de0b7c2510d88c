"""Requests of Swift clients that the shunt hands on, and S3's answers as Swift would give them."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.clock import Clock
from s3_sync.errors import BucketNotFound, NotFound, PreconditionFailed, Unsupported
from s3_sync.providers.http import Response
from s3_sync.providers.s3.client import ERROR_BODY_BYTES
from s3_sync.providers.s3.objects import Objects, Place, whole_size
from s3_sync.providers.s3.side_objects import SideObjects
from s3_sync.timestamps import http_date
from s3_sync.types import CONTENT_HEADERS, Condition, ObjectMeta, ShuntRequest
from s3_sync.wire.s3_headers import meta_from_s3
from s3_sync.wire.swift_headers import OWN_KEYS, USER_PREFIX

FORWARDED = ('range', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since')
"""Headers of a client that reach the store; no other does (DESIGN 4.9)."""
_ANSWERS = (304, 404, 412, 416)
_KEPT = ('etag', 'content-range')


class ShuntDoor:
    """``provider`` is whom these parts belong to; writes go through its ordinary methods."""

    def __init__(self, provider: BaseSync, objects: Objects, sides: SideObjects, clock: Clock, *,
                 place: Callable[[str], Place], side: Callable[[str], Place]) -> None:
        self._provider = provider
        self._objects = objects
        self._sides = sides
        self._clock = clock
        self._place = place
        self._side = side

    def read(self, request: ShuntRequest) -> ProviderResponse:
        """GET or HEAD. ValueError for any other method."""
        if request.method not in ('GET', 'HEAD'):
            raise ValueError(f'shunt_object is for GET and HEAD, not {request.method}')
        if not request.key:
            return _no_containers()
        asked = {k.lower(): v for k, v in request.headers.items()}
        try:
            place = self._place(request.key)
        except NotFound:
            return ProviderResponse(404, {'content-length': '0'})
        response = self._objects.open(
            request.method, place,
            headers={k: _quoted(asked[k]) if k in ('if-match', 'if-none-match') else asked[k]
                     for k in FORWARDED if asked.get(k)}, accept=_ANSWERS)
        try:
            return self._answer(request, response)
        except BaseException:
            response.close()
            raise

    def _answer(self, request: ShuntRequest, response: Response) -> ProviderResponse:
        if response.status in _ANSWERS:
            response.read(ERROR_BODY_BYTES)
            kept: dict[str, str] = {k: response.headers[k] for k in _KEPT if k in response.headers}
            if 'etag' in kept:
                kept['etag'] = kept['etag'].strip('"')
            return ProviderResponse(response.status, {**kept, 'content-length': '0'})
        meta = meta_from_s3(request.key, response.headers, size=whole_size(response.headers))
        meta = self._sides.restored(self._side(request.key), meta)
        headers = {**swift_headers(meta), 'content-length': response.headers.get('content-length', '0')}
        if 'content-range' in response.headers:
            headers['content-range'] = response.headers['content-range']
        if request.method == 'HEAD':
            response.close()
            return ProviderResponse(response.status, headers)
        return ProviderResponse(response.status, headers, response)

    def post(self, request: ShuntRequest) -> ProviderResponse:
        """Replace metadata as Swift's POST does: what is not given goes, the content type excepted."""
        if not request.key:
            return _no_containers()
        try:
            current = self._provider.head_object(request.key)
            self._provider.post_object(
                request.key, posted(request.headers, current, self._clock.now()),
                condition=Condition(if_match=current.etag))
        except NotFound:
            return ProviderResponse(404, {'content-length': '0'})
        except Unsupported as error:
            return ProviderResponse(409, {'content-type': 'text/plain'}, iter([str(error).encode()]))
        return ProviderResponse(202, {'content-length': '0'})

    def delete(self, request: ShuntRequest) -> ProviderResponse:
        if not request.key:
            return _no_containers()
        if_match = {k.lower(): v for k, v in request.headers.items()}.get('if-match', '').strip('"')
        try:
            found = self._provider.delete_object(request.key, condition=Condition(if_match=if_match or None))
        except BucketNotFound:
            found = False
        except PreconditionFailed:
            return ProviderResponse(412, {'content-length': '0'})
        return ProviderResponse(204 if found else 404, {'content-length': '0'})


def swift_headers(meta: ObjectMeta) -> dict[str, str]:
    """What a Swift client sees of a remote object: its original times, nothing of the store's."""
    headers = {'etag': meta.etag, 'accept-ranges': 'bytes', **meta.headers}
    if meta.content_type:
        headers['content-type'] = meta.content_type
    seconds = meta.last_modified
    if meta.data_time is not None:
        newest = max(meta.data_time, meta.meta_time or meta.data_time)
        headers['x-timestamp'] = newest.normal
        seconds = newest.ceil()
    if seconds is not None:
        headers['last-modified'] = http_date(seconds)
    if meta.delete_at is not None:
        headers['x-delete-at'] = str(meta.delete_at)
    if meta.large_object in ('slo', 'multipart'):
        headers['x-static-large-object'] = 'True'
    headers.update({USER_PREFIX + k: v for k, v in meta.user_metadata.items()})
    return headers


def posted(headers: Mapping[str, str], current: ObjectMeta, now: float) -> ObjectMeta:
    """The metadata that a POST with these client headers leaves."""
    asked = {k.lower(): v for k, v in headers.items()}
    delete_at = asked.get('x-delete-at', '')
    if not delete_at and asked.get('x-delete-after', '').isdigit():
        delete_at = str(int(now) + int(asked['x-delete-after']))
    user = {k[len(USER_PREFIX):]: v for k, v in asked.items() if k.startswith(USER_PREFIX) and v}
    return replace(
        current, content_type=asked.get('content-type') or current.content_type,
        headers={k: asked[k] for k in CONTENT_HEADERS if asked.get(k)},
        user_metadata={k: v for k, v in user.items() if k not in OWN_KEYS}, meta_time=Timestamp(now),
        delete_at=int(delete_at) if delete_at.isdigit() else None)


def _quoted(etags: str) -> str:
    """Swift's clients may leave the quotes out, S3 wants them."""
    parts = [part.strip() for part in etags.split(',')]
    return ', '.join(p if p == '*' or p.startswith(('"', 'W/')) else f'"{p}"' for p in parts if p)


def _no_containers() -> ProviderResponse:
    """A bucket may serve many containers: it is nobody's to read, change or delete through one of them."""
    return ProviderResponse(405, {'content-length': '0'})
