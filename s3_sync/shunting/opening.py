"""Remote objects opened for clients: each for itself, or one for all who want the same small object (semantics 13)."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from swift.common.swob import Range

from s3_sync.base_sync import ProviderResponse
from s3_sync.clock import Clock
from s3_sync.errors import ConnectionFailed, NotFound
from s3_sync.shunting.call import Call, Place
from s3_sync.shunting.guards import Lease
from s3_sync.shunting.remote_body import RemoteBody, UnmeasuredBody
from s3_sync.shunting.remotes import Remote, RemoteUnavailable
from s3_sync.shunting.sharing import Reader
from s3_sync.types import ObjectMeta
from s3_sync.wire.tombstones import version_time

Body = RemoteBody | UnmeasuredBody | Reader
Span = tuple[int, int]
"""First byte, and end (not with)."""

REFUSALS = (400, 409, 416)
"""Of a part that is none, or of a manifest that is gone: the client's business."""
CHANGED_RETRY_SECONDS = 1.0
_CONTENT_RANGE = re.compile(r'bytes (\d+)-(\d+)/(\d+)', re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks of an object, apart from conditions."""

    head: bool
    query: Mapping[str, str]
    """Parameters that mean the same at the remote: of a manifest, or of a part."""
    ranges: Range | None
    """None: there are none, or such as Swift ignores."""
    looks_first: bool
    """Asks only what is new, and so will mostly get nothing."""

    @classmethod
    def by(cls, call: Call) -> Wanted:
        sent = call.query
        query: dict[str, str] = {}
        if sent.get('multipart-manifest') == 'get':
            query = {key: sent[key] for key in ('multipart-manifest', 'format') if key in sent}
        elif 'part-number' in sent:
            query = {'part-number': sent['part-number']}
        return cls(call.method == 'HEAD', query, call.request().range,
                   bool(call.header('if-none-match') or call.header('if-modified-since')))

    @property
    def part(self) -> bool:
        return 'part-number' in self.query

    @property
    def byte_range(self) -> str:
        return str(self.ranges) if self.ranges is not None and (self.part or len(self.ranges.ranges) == 1) else ''

    @property
    def plain(self) -> bool:
        """Whether it is the whole object that is wanted."""
        return not self.query and self.ranges is None


@dataclass
class Found:
    """A remote version that was looked at, and opened if it was likely to be wanted."""

    remote: Remote
    place: Place
    wanted: Wanted
    meta: ObjectMeta
    headers: Mapping[str, str]
    """Of the answer, as a client would see them."""
    status: int
    """200, or 206 of a part, or one of REFUSALS."""
    size: int | None
    """Bytes of all that ranges count in: the object, or its manifest. None: the remote does not tell."""
    span: Span | None
    """What a GET or HEAD without Range gives of it. None as ``size``."""
    body: Body | None = None
    refusal: bytes = b''
    """What one of REFUSALS says."""

    def close(self) -> None:
        if self.body is not None:
            self.body.close()


class Opener:
    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    def look(self, call: Call, remote: Remote, place: Place) -> Found | None:
        """What the remote has, opened where that is likely to be what is wanted. None: nothing. RemoteUnavailable."""
        wanted = Wanted.by(call)
        if wanted.head or wanted.looks_first or (wanted.ranges is not None and not wanted.byte_range):
            return self._head(call, remote, place, wanted)
        return self._get(call, remote, place, wanted, wanted.byte_range)

    def fetch(self, call: Call, found: Found, span: Span | None) -> Found:
        """``found``, opened: these bytes of it, or all. RemoteUnavailable, also when another version is there now."""
        byte_range = '' if span is None else f'bytes={span[0]}-{span[1] - 1}'
        opened = self._get(call, found.remote, found.place, found.wanted, byte_range)
        if opened is None or not same_version(opened.meta, found.meta) or opened.body is None:
            if opened is not None:
                opened.close()
            raise RemoteUnavailable(found.remote.target.name, 'the object is being changed',
                                    retry_after=CHANGED_RETRY_SECONDS)
        return opened

    def source(self, remote: Remote, place: Place, meta: ObjectMeta, via: str) -> Callable[[int], Iterator[bytes]]:
        """Opens this very version from a first byte to its end; for whoever reads without a client."""
        reopen = self._reopener(via, remote, place, Wanted(False, {}, None, False), meta)

        def opener(first: int) -> Iterator[bytes]:
            opened, span = reopen(first, meta.size)
            return RemoteBody(opened, span, reopen, clock=self._clock).app_iter_range(first, meta.size)
        return opener

    # -- requests -----------------------------------------------------------------------------

    def _head(self, call: Call, remote: Remote, place: Place, wanted: Wanted) -> Found | None:
        opened = remote.open(place.name, method='HEAD', query=wanted.query, via=call.via,
                             byte_range=wanted.byte_range if wanted.part else '')
        opened.close()
        return self._found(call, remote, place, wanted, opened)

    def _get(self, call: Call, remote: Remote, place: Place, wanted: Wanted, byte_range: str) -> Found | None:
        if not byte_range and not wanted.query and not remote.known_large(place.name):
            joined = remote.shares.join(
                remote.key(place.name), lambda: remote.open(place.name, via=call.via),
                lambda answer: self._whole(call, remote, place, answer), remote.target.mapping.coalesce_size)
            if isinstance(joined, Reader):
                download = joined.download
                return Found(remote, place, wanted, download.meta, download.headers, 200, download.meta.size,
                             (0, download.meta.size), joined)
            if joined is not None:
                return self._alone(call, remote, place, wanted, joined, None)
        lease = remote.take_place() if remote.known_large(place.name) else None
        try:
            opened = remote.open(place.name, byte_range=byte_range, query=wanted.query, via=call.via)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        return self._alone(call, remote, place, wanted, opened, lease)

    def _alone(self, call: Call, remote: Remote, place: Place, wanted: Wanted, opened: ProviderResponse,
               lease: Lease | None) -> Found | None:
        """Large objects only as many at once as the remote may have."""
        kept: Lease | None = None
        try:
            if opened.status == 416 and not wanted.part:
                opened.close()
                return self._head(call, remote, place, wanted)
            found = self._found(call, remote, place, wanted, opened)
            if found is None or found.status in REFUSALS:
                opened.close()
                return found
            if remote.is_large(found.size):
                remote.note_large(place.name)
                kept, lease = lease or remote.take_place(), None
            elif lease is not None:
                remote.note_small(place.name)
            found.body = self._body(call, found, opened, kept)
            return found
        except BaseException:
            opened.close()
            if kept is not None:
                kept.release()
            raise
        finally:
            if lease is not None:
                lease.release()

    def _found(self, call: Call, remote: Remote, place: Place, wanted: Wanted,
               opened: ProviderResponse) -> Found | None:
        """What an answer tells; a refusal does not tell of what."""
        if opened.status == 404:
            return None
        meta = opened.meta
        if wanted.query and opened.status in REFUSALS:
            text = b''.join(opened.body)
            whole = remote.open(place.name, method='HEAD', via=call.via)
            whole.close()
            if whole.meta is None:
                return None
            told = {key: opened.headers[key] for key in ('content-range', 'x-parts-count') if key in opened.headers}
            return Found(remote, place, wanted, whole.meta, {**whole.headers, **told}, opened.status, None, None,
                         refusal=text)
        if meta is None or opened.status not in (200, 206):
            raise RemoteUnavailable(remote.target.name, f'status {opened.status}')
        span, size = _extent(remote, opened)
        part = wanted.part and opened.status == 206
        return Found(remote, place, wanted, meta, opened.headers, 206 if part else 200, size,
                     span if part or size is None else (0, size))

    # -- bodies -------------------------------------------------------------------------------

    def _body(self, call: Call, found: Found, opened: ProviderResponse, lease: Lease | None) -> Body:
        done = lease.release if lease is not None else _nothing
        span, _ = _extent(found.remote, opened)
        if span is None:
            return UnmeasuredBody(opened, done)
        return RemoteBody(opened, span, self._reopener(call.via, found.remote, found.place, found.wanted, found.meta),
                          clock=self._clock, done=done)

    def _whole(self, call: Call, remote: Remote, place: Place, opened: ProviderResponse) -> RemoteBody:
        """For sharing: outlives the request that began it."""
        assert opened.meta is not None
        wanted = Wanted(False, {}, None, False)
        return RemoteBody(opened, (0, opened.meta.size), self._reopener(call.via, remote, place, wanted, opened.meta),
                          clock=self._clock)

    def _reopener(self, via: str, remote: Remote, place: Place, wanted: Wanted,
                  meta: ObjectMeta) -> Callable[[int, int], tuple[ProviderResponse, Span]]:
        query = {} if wanted.part else wanted.query

        def reopen(start: int, stop: int) -> tuple[ProviderResponse, Span]:
            byte_range = '' if start == 0 and stop >= meta.size else f'bytes={start}-{stop - 1}'
            opened = remote.open(place.name, byte_range=byte_range, query=query, via=via)
            try:
                if opened.meta is None or not same_version(opened.meta, meta):
                    raise NotFound(f'{place.path}: the remote holds another version now')
                span, _ = _extent(remote, opened)
                if span is None or span[0] > start or span[1] < stop:
                    raise ConnectionFailed(f'{place.path}: the remote answers with other bytes than were asked for')
            except BaseException:
                opened.close()
                raise
            return opened, span
        return reopen


def same_version(one: ObjectMeta, other: ObjectMeta) -> bool:
    return (one.etag, one.size, version_time(one)) == (other.etag, other.size, version_time(other))


def _extent(remote: Remote, opened: ProviderResponse) -> tuple[Span | None, int | None]:
    """Which bytes an answer holds, and of how many."""
    if opened.status == 206:
        told = _CONTENT_RANGE.fullmatch(opened.headers.get('content-range', ''))
        if told is None:
            raise RemoteUnavailable(remote.target.name, 'a part that does not say which')
        return (int(told[1]), int(told[2]) + 1), int(told[3])
    length = opened.headers.get('content-length')
    return (None, None) if length is None else ((0, int(length)), int(length))


def _nothing() -> None:
    pass
