"""GET and HEAD of an object: the cluster first, a remote only when semantics 9 says so."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol
from urllib.parse import unquote

from swift.common.request_helpers import get_valid_part_num, resolve_etag_is_at_header
from swift.common.swob import HTTPConflict, HTTPException, Request, Response, str_to_wsgi, wsgi_quote, wsgi_unquote
from swift.common.utils import Timestamp

from s3_sync.local.versions import RESTORED_HEADER
from s3_sync.shunting.call import SOURCE_HEADER, Call, Place, parse_path, wsgi_headers
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.local import LocalAnswer
from s3_sync.shunting.opening import REFUSALS, Body, Found, Opener
from s3_sync.shunting.remotes import Remote, RemoteUnavailable
from s3_sync.shunting.targets import Table
from s3_sync.shunting.versions import Versions
from s3_sync.timestamps import is_ours, parse_timestamp

UNAVAILABLE = 'onespace.unavailable'
"""In the request's info cache, which subrequests share: a segment's remote could not be asked."""
INFO_CACHE = 'swift.infocache'
MOST_LINKS = 8
"""That are followed; Swift itself follows two if not told otherwise."""
NO_SUCH_PART = b'The requested part number is not satisfiable'
_USER_METADATA = 'x-object-meta-'
_EXPOSED = 'access-control-expose-headers'
_OF_THE_REQUEST = ('access-control-', 'content-location', 'vary')
"""Headers of the cluster's 404 that tell of the request, not of what is missing."""


class Restores(Protocol):
    """Brings back what a client reads in whole."""

    def along(self, call: Call, found: Found, tombstone: Timestamp | None) -> Body | Iterator[bytes]:
        """The client's iterator instead of ``found.body``, which it closes. ``tombstone``: of the local 404."""


class ObjectReader:
    """``restores`` None: nothing is restored."""

    def __init__(self, table: Table, versions: Versions, opener: Opener, decisions: Decisions, *,
                 restores: Restores | None = None) -> None:
        self._table = table
        self._versions = versions
        self._opener = opener
        self._decisions = decisions
        self._restores = restores

    def __call__(self, call: Call) -> Iterable[bytes]:
        answer = call.forward()
        if answer.status != 404 and not _is_missing(answer):
            error = _unavailable_segment(call, answer)
            if error is not None:
                answer.drain()
                return call.unavailable(error)
            return call.send(answer, source=source_of(answer) if call.merged is not None else '')
        meant = _meant(call, answer)
        if meant is None or not call.authorization.allowed(meant[1]):
            return call.send(answer)
        place = meant[0]
        merged = self._table.lookup(place.account, place.container)
        if merged is None:
            return call.send(answer)
        asked: list[str] = []
        try:
            found = self._versions.find(call, place, merged, answer,
                                        lambda remote: self._look(call, remote, place, asked))
            if found is None:
                if asked:
                    self._decisions.note(call, 'absent', asked[-1])
                return call.send(answer)
            answer.drain()
            promised = _promised_etag(call, place) if place != call.place else ''
            if promised and found.meta.large_object is None and found.headers.get('etag', '').strip('"') != promised:
                found.close()
                self._decisions.note(call, 'conflict', found.remote.target.name, 'the link means another version')
                return call.respond(_broken_link(call, found, promised, meant[1]))
            return self._send(call, found, answer)
        except RemoteUnavailable as error:
            answer.drain()
            self._decisions.note(call, 'unavailable', error.target, error.reason)
            call.env.get(INFO_CACHE, {})[UNAVAILABLE] = error
            return call.unavailable(error)

    def _look(self, call: Call, remote: Remote, place: Place, asked: list[str]) -> Found | None:
        asked.append(remote.target.name)
        return self._opener.look(call, remote, place)

    def _send(self, call: Call, found: Found, answer: LocalAnswer) -> Iterable[bytes]:
        try:
            if found.status in REFUSALS:
                response = _refusal(call, found, answer)
            else:
                response, found = self._response(call, found, answer)
            # What it is in the end is decided here: conditions, ranges.
            sent = call.respond(response)
        except BaseException:
            found.close()
            raise
        self._decisions.note(call, 'served', found.remote.target.name, f'status {response.status_int}')
        return sent

    def _response(self, call: Call, found: Found, answer: LocalAnswer) -> tuple[Response, Found]:
        """As the object server would build it, and what it reads from."""
        request = _as_understood(call, found)
        response = Response(request=request, status=found.status, headers=_headers(found, answer),
                            conditional_response=True)
        response._conditional_etag = resolve_etag_is_at_header(request, response.headers)
        ranges = request.range.ranges_for_length(found.size) if request.range and found.status == 200 else None
        body: Iterable[bytes] = found.body or []
        condition = response._get_conditional_response_status()
        if condition == 412:  # as the proxy writes it
            response.headers.pop('Accept-Ranges', None)
            response.headers['Content-Type'] = 'text/html; charset=UTF-8'
        if not found.wanted.head and condition is None and ranges != []:
            if found.body is None:
                found = self._opener.fetch(call, found, ranges[0] if ranges and found.size else None)
                body = found.body or []
            if self._restores is not None and found.wanted.plain:
                body = self._restores.along(call, found, parse_timestamp(answer.headers.get('x-backend-timestamp')))
        response.app_iter = body
        # Only now: an iterator says nothing of its length.
        response.content_length = None if found.span is None else found.span[1] - found.span[0]
        return response, found


def _as_understood(call: Call, found: Found) -> Request:
    """The request as it is for this kind of object: dlo knows no several ranges."""
    request = Request(dict(call.original))
    several = request.range is not None and len(request.range.ranges) > 1
    if several and found.meta.large_object == 'dlo' and not found.wanted.query:
        del request.headers['Range']
    return request


def source_of(answer: LocalAnswer) -> str:
    """X-1space-Source of an object that is here."""
    if answer.status // 100 != 2:
        return 'local'
    for name, _ in answer.raw_headers:
        if name.lower() == RESTORED_HEADER:
            # A copy takes its original's sysmeta along; only our own time makes it count.
            data = parse_timestamp(answer.headers.get('x-backend-data-timestamp'))
            return 'restored' if data is not None and is_ours(data) else 'local'
    return 'local'


def _is_missing(answer: LocalAnswer) -> bool:
    """Whether a 412 is that of If-Match where there is no object that could match."""
    return answer.status == 412 and 'etag' not in answer.headers and 'x-timestamp' not in answer.headers


def _unavailable_segment(call: Call, answer: LocalAnswer) -> RemoteUnavailable | None:
    """Why slo or dlo could not read the beginning of a large object, if a remote is the reason: they say 409 then."""
    if answer.status not in (409, 503):
        return None
    error: RemoteUnavailable | None = call.env.get(INFO_CACHE, {}).get(UNAVAILABLE)
    return error


def _meant(call: Call, answer: LocalAnswer) -> tuple[Place, str] | None:
    """Whose absence the answer tells, and the path that was asked permission for: what a link leads to, or the object.

    None: nothing that a remote could have.
    """
    location = next((value for name, value in reversed(answer.raw_headers) if name.lower() == 'content-location'), '')
    if not location:
        return call.place, str(call.original['PATH_INFO'])
    path = str(wsgi_unquote(location))
    place = parse_path(path)
    return None if place is None or not place.name else (place, path)


def _promised_etag(call: Call, place: Place) -> str:
    """What the link that leads to ``place`` says its ETag is; '' where it says nothing."""
    at: Place | None = call.place
    for _ in range(MOST_LINKS):
        if at is None:
            break
        link = call.local.request(call.env, 'HEAD', at.account, at.container, at.name, query={'symlink': 'get'})
        link.drain()
        target = link.headers.get('x-symlink-target', '')
        account = link.headers.get('x-symlink-target-account', '') or at.account
        at = parse_path(str_to_wsgi(f'/v1/{unquote(account)}/{unquote(target)}')) if target else None
        if at == place:
            return link.headers.get('x-symlink-target-etag', '')
    return ''


def _broken_link(call: Call, found: Found, promised: str, path: str) -> Response:
    """As Swift's symlink middleware says it."""
    text = f'Object Etag {found.headers.get("etag", "")!r} does not match X-Symlink-Target-Etag header {promised!r}'
    return HTTPConflict(request=call.request(), body=b'' if call.method == 'HEAD' else text.encode(), headers={
        'Content-Type': 'text/plain', 'Content-Location': wsgi_quote(path)})


def _headers(found: Found, answer: LocalAnswer) -> dict[str, str]:
    """WSGI strings."""
    headers = wsgi_headers(found.headers)
    if found.status == 200:
        headers.pop('content-range', None)
    headers.pop('content-length', None)
    for name, value in answer.raw_headers:
        lower = name.lower()
        if lower == _EXPOSED:
            value = ', '.join([value, *(key for key in headers if key.startswith(_USER_METADATA))])
        if lower.startswith(_OF_THE_REQUEST):
            headers[lower] = value
    headers[SOURCE_HEADER] = 'remote'
    return headers


def _refusal(call: Call, found: Found, answer: LocalAnswer) -> Response:
    """What slo says, or would if it knew that the manifest is gone."""
    request = call.request()
    if found.status == 416:
        response = Response(request=request, status=416, headers=_headers(found, answer), body=NO_SUCH_PART)
    else:
        response = Response(request=request, status=found.status, body=found.refusal,
                            headers={'Content-Type': 'text/plain', SOURCE_HEADER: 'remote'})
        if found.wanted.part:
            try:
                get_valid_part_num(request)
            except HTTPException as refused:
                response = refused
    if call.method == 'HEAD':
        response.content_length = 0
    return response
