"""Segments and manifests at a Swift target: one request for each method, and what is to be known about them."""
from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from s3_sync.clock import Clock
from s3_sync.errors import (
    ChecksumMismatch,
    NotFound,
    PreconditionFailed,
    TemporaryError,
)
from s3_sync.large_objects.dlo import dlo_prefix
from s3_sync.large_objects.manifest import ManifestError, parse_manifest, put_manifest, slo_etag
from s3_sync.large_objects.model import Segment
from s3_sync.providers.http import Response
from s3_sync.providers.swift import expiry, listings
from s3_sync.providers.swift.client import MAX_DOCUMENT_BYTES, Call, SwiftClient, condition_headers
from s3_sync.providers.swift.errors import classify
from s3_sync.providers.swift.limits import Limits
from s3_sync.providers.swift.metadata import HashedBody
from s3_sync.providers.swift.places import Place, check_container
from s3_sync.streams import Body, BytesBody
from s3_sync.types import CONTENT_HEADERS, Condition
from s3_sync.wire.swift_headers import COMBINED_ETAG_KEY, DATA_TIME_KEY, DLO_ETAG_KEY, OWNER_KEY, USER_PREFIX

LOOK_AGAIN_BYTES = 1024 * 1024
"""While a body of this size is on its way, somebody else may finish sending the same, or something newer."""
MANY_OWNERS = '*'

T = TypeVar('T')


@dataclass(frozen=True, slots=True)
class Stored:
    """A HEAD's answer (lower-case names) as far as segments are concerned."""

    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return self.headers.get('etag', '').strip('"')

    @property
    def size(self) -> int:
        return int(self.headers.get('content-length') or 0)

    @property
    def owner(self) -> str:
        """Whose manifest needs it, ``*`` for several, '' for a segment that is not of our making."""
        return self.headers.get(USER_PREFIX + OWNER_KEY, '')

    @property
    def combined(self) -> str:
        return self.headers.get(USER_PREFIX + COMBINED_ETAG_KEY, '')

    @property
    def digest(self) -> str:
        """What the source of a DLO's copy listed."""
        return self.headers.get(USER_PREFIX + DLO_ETAG_KEY, '')

    @property
    def is_copy(self) -> bool:
        """Whether it is the copy of an object in its own right (another mapping's), and none of ours to delete."""
        return USER_PREFIX + DATA_TIME_KEY in self.headers

    @property
    def is_slo(self) -> bool:
        return self.headers.get('x-static-large-object', '').lower() in ('true', '1', 'yes', 'on')

    @property
    def dlo(self) -> Place | None:
        """Container and prefix of a DLO's segments."""
        try:
            header = self.headers.get('x-object-manifest')
            return Place(*dlo_prefix(header)) if header else None
        except ManifestError:
            return None

    @property
    def delete_at(self) -> int | None:
        text = self.headers.get('x-delete-at', '')
        return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a listing. ``slo_etag`` is '' for what is no SLO."""

    name: str
    size: int
    etag: str
    slo_etag: str = ''


@dataclass(frozen=True, slots=True)
class Label:
    """What a new segment carries beside its bytes."""

    owner: str = ''
    delete_at: int | None = None
    combined: str = ''

    def headers(self, now: float) -> dict[str, str]:
        wanted = {'content-type': 'application/octet-stream', USER_PREFIX + OWNER_KEY: self.owner,
                  USER_PREFIX + COMBINED_ETAG_KEY: self.combined}
        end = expiry.allowed(self.delete_at, now)
        if end is not None:
            wanted['x-delete-at'] = str(end)
        return {name: value for name, value in wanted.items() if value}


@dataclass
class SegmentStore:
    """Requests. Containers for segments are made when they turn out to be missing."""

    client: SwiftClient
    clock: Clock
    create_container: Callable[[str], None]
    _checked: set[str] = field(default_factory=set)

    def limits(self) -> Limits:
        return self.client.limits()

    def head(self, place: Place, *, bounded: bool = True) -> Stored | None:
        """``bounded`` False: while a connection is held (see ``SwiftClient.open``)."""
        try:
            with self.client.open(Call('HEAD', *place), bounded=bounded) as response:
                return Stored(response.headers)
        except NotFound:
            return None

    def put(self, place: Place, body: Body, etag: str, headers: Mapping[str, str], *, absent: bool) -> str:
        """The ETag of what was stored, which is the MD5 of ``body``. ``etag``: the same, where it is known before.

        ``absent``: PreconditionFailed when something is there, or came while the body was on its way.
        """
        sent: Body = body if etag else HashedBody(body)
        conditions = {'etag': etag} if etag else {}
        if absent:
            conditions['if-none-match'] = '*'
        call = Call('PUT', *place, headers={**headers, **conditions},
                    body=LateLook(sent, lambda: self._arrived(place)) if absent else sent)
        response = self._in_container(call)
        if response.status != 201:
            raise TemporaryError(f'{call.what}: {response.status}, a newer version is there', status=response.status,
                                 reason='conflict')
        stored = response.headers.get('etag', '').strip('"')
        if stored != (sent.hexdigest() if isinstance(sent, HashedBody) else etag):
            raise ChecksumMismatch(f'{call.what}: the remote stored other bytes ({stored})')
        return stored

    def change(self, place: Place, stored: Stored, *, owner: str, delete_at: int | None) -> None:
        """Give a segment another owner or end; everything else stays as ``stored`` tells it."""
        kept = {name: value for name, value in stored.headers.items()
                if name.startswith(USER_PREFIX) or name in CONTENT_HEADERS or name == 'x-object-manifest'}
        kept[USER_PREFIX + OWNER_KEY] = owner
        end = expiry.allowed(delete_at, self.clock.now())
        kept['x-delete-at'] = '' if end is None else str(end)
        self.client.do(Call('POST', *place, headers={name: value for name, value in kept.items() if value}))

    def delete(self, place: Place) -> None:
        with contextlib.suppress(NotFound):
            self.client.do(Call('DELETE', *place))

    def listing(self, container: str, prefix: str = '', marker: str = '') -> Iterator[Listed]:
        """All names below ``prefix``, page by page. A container that does not exist is an empty one."""
        while True:
            page = self.page(container, prefix, marker)
            yield from page
            if not page:
                return
            marker = page[-1].name

    def page(self, container: str, prefix: str, marker: str) -> list[Listed]:
        call = Call('GET', container, query=listings.query(marker, None, prefix))
        try:
            items = listings.items(self.client.read(call)[1], call.what)
        except NotFound:
            return []
        return [Listed(item['name'], int(item.get('bytes', 0)), _plain(item.get('hash')), _plain(item.get('slo_etag')))
                for item in items if 'name' in item]

    def manifest(self, place: Place) -> tuple[Segment, ...] | None:
        """The stored manifest of an SLO; None when no SLO is there. TemporaryError when it cannot be read."""
        call = Call('GET', *place, query={'multipart-manifest': 'get'})
        try:
            response = self.client.open(call)
        except NotFound:
            return None
        with response:
            if not Stored(response.headers).is_slo:
                return None  # an ordinary object: its bytes are not what was asked for
            data = response.read(MAX_DOCUMENT_BYTES)
        try:
            return parse_manifest(data)
        except ManifestError as error:
            raise TemporaryError(f'{call.what}: {error}', reason='manifest') from error

    def put_slo(self, place: Place, segments: Sequence[Segment], headers: Mapping[str, str],
                condition: Condition) -> str:
        """Store a manifest; the SLO's ETag. TemporaryError when the remote misses a segment.

        The ETag sent along is refused by a remote that does not know SLOs.
        """
        etag = slo_etag(segments)
        body = BytesBody(put_manifest(segments))
        # A manifest of many segments takes longer to check than connections stay silent: hence the heartbeat.
        call = Call('PUT', *place, query={'multipart-manifest': 'put', 'heartbeat': 'on'}, body=body,
                    headers={**headers, **condition_headers(condition), 'etag': etag, 'accept': 'application/json'})
        self._in_own(lambda: _judge(call.what, *self.client.read(call)), call)
        return etag

    def put_dlo(self, place: Place, body: Body, headers: Mapping[str, str], condition: Condition) -> None:
        """Store a DLO's manifest object; ``headers`` name its prefix."""
        call = Call('PUT', *place, headers={**headers, **condition_headers(condition)}, body=body)
        response = self._in_container(call)
        if response.status != 201:
            raise TemporaryError(f'{call.what}: {response.status}, a newer version is there', status=response.status,
                                 reason='conflict')

    # -- inside -------------------------------------------------------------------------------

    def _arrived(self, place: Place) -> None:
        if self.head(place, bounded=False) is not None:
            raise PreconditionFailed(f'PUT {place}: somebody else was faster', status=412)

    def _in_container(self, call: Call) -> Response:
        return self._in_own(lambda: self.client.do(call), call)

    def _in_own(self, send: Callable[[], T], call: Call) -> T:
        """The request, and once more after its container was made."""
        if call.container not in self._checked:
            check_container(call.container, self.limits())
            self._checked.add(call.container)
        try:
            return send()
        except NotFound:
            self.create_container(call.container)
        if call.body is not None:
            call.body.rewind()
        return send()


class LateLook:
    """A body before whose last chunk it is looked once more whether it is still wanted. Small ones are not held up."""

    def __init__(self, body: Body, look: Callable[[], None]) -> None:
        self._body = body
        self._look = look
        self.size = body.size

    def __iter__(self) -> Iterator[bytes]:
        left = self.size if self.size >= LOOK_AGAIN_BYTES else 0
        for chunk in self._body:
            if 0 < left <= len(chunk):
                self._look()
            left -= len(chunk)
            yield chunk

    def rewind(self) -> None:
        self._body.rewind()

    def close(self) -> None:
        self._body.close()


def _judge(what: str, response: Response, text: bytes) -> None:
    """Raise what went wrong with a manifest's PUT; it is told in the body, after the heartbeats."""
    status, said = _outcome(response, text)
    if status in (400, 401):  # segments that are not (yet) as the manifest says, or a login that ended meanwhile
        raise TemporaryError(f'{what}: {said}', status=status, reason='segments')
    if status != 201 and status < 300:
        raise TemporaryError(f'{what}: {status}, a newer version is there', status=status, reason='conflict')
    if status != 201:
        raise classify(what, status, text=said)


def _outcome(response: Response, text: bytes) -> tuple[int, str]:
    try:
        told = json.loads(text)
        status = int(told['Response Status'].split(' ')[0])
        problems = '; '.join(f'{name}: {why}' for name, why in told.get('Errors', []))
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.status, ''
    return status, problems or str(told.get('Response Body', ''))


def _plain(etag: Any) -> str:
    """ETags of listings may have parameters and quotes."""
    return str(etag or '').partition(';')[0].strip().strip('"')
