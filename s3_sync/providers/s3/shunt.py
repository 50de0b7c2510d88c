"""Requests of Swift clients that the shunt hands on, and S3's answers as Swift would give them."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.clock import Clock
from s3_sync.errors import BucketNotFound, NotFound, PreconditionFailed, Unsupported
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.providers.s3.shunt_reads import Reads
from s3_sync.providers.s3.side_objects import SideObjects
from s3_sync.types import CONTENT_HEADERS, Condition, ObjectMeta, ShuntRequest
from s3_sync.wire.swift_headers import OWN_KEYS, USER_PREFIX


class ShuntDoor:
    """``provider`` is whom these parts belong to; writes go through its ordinary methods."""

    def __init__(self, provider: BaseSync, objects: Objects, sides: SideObjects, clock: Clock, *,
                 place: Callable[[str], Place], side: Callable[[str], Place]) -> None:
        self._provider = provider
        self._clock = clock
        self._reads = Reads(objects, sides, place=place, side=side, layout_of=provider.layout_of)

    def read(self, request: ShuntRequest) -> ProviderResponse:
        """GET or HEAD. ValueError for any other method."""
        if request.method not in ('GET', 'HEAD'):
            raise ValueError(f'shunt_object is for GET and HEAD, not {request.method}')
        if not request.key:
            return _no_containers()
        return self._reads.answer(request)

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


def _no_containers() -> ProviderResponse:
    """A bucket may serve many containers: it is nobody's to read, change or delete through one of them."""
    return ProviderResponse(405, {'content-length': '0'})
