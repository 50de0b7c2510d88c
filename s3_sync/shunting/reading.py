"""GET and HEAD of an object: the cluster first, a remote only when semantics 9 says so."""
from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from swift.common.request_helpers import resolve_etag_is_at_header
from swift.common.swob import Response, wsgi_unquote

from s3_sync.base_sync import ProviderResponse
from s3_sync.errors import ConnectionFailed, NotFound
from s3_sync.shunting.call import RESTORED_SYSMETA, SOURCE_HEADER, Call, Place, parse_path, wsgi_headers
from s3_sync.shunting.local import LocalAnswer, wsgi_path
from s3_sync.shunting.remote_body import RemoteBody
from s3_sync.shunting.remotes import Remote, RemoteUnavailable
from s3_sync.shunting.targets import Merged, Table
from s3_sync.shunting.versions import Versions
from s3_sync.types import ObjectMeta

PASSED_ON = ('multipart-manifest', 'part-number', 'format', 'symlink')
"""Parameters that mean the same at the remote."""


@dataclass
class Found:
    """A remote version that the merged namespace shows, opened for the request at hand."""

    remote: Remote
    place: Place
    meta: ObjectMeta
    opened: ProviderResponse
    first: int
    stop: int

    def close(self) -> None:
        self.opened.close()


class ObjectReader:
    def __init__(self, table: Table, versions: Versions, *, logger: logging.Logger) -> None:
        self._table = table
        self._versions = versions
        self._logger = logger

    def __call__(self, call: Call) -> Iterable[bytes]:
        answer = call.forward()
        if not is_missing(answer):
            return call.send(answer, source='restored' if RESTORED_SYSMETA in names(answer) else 'local')
        place = meant_place(call, answer)
        merged = self._table.lookup(place.account, place.container) if place is not None else None
        if place is None or merged is None or not call.authorization.allowed(
                wsgi_path(place.account, place.container, place.name)):
            return call.send(answer)
        try:
            found = self.find(call, place, merged, answer)
        except RemoteUnavailable as error:
            answer.drain()
            return call.unavailable(error)
        if found is None:
            return call.send(answer)
        answer.drain()
        return self._send(call, found, answer)

    def find(self, call: Call, place: Place, merged: Merged, answer: LocalAnswer) -> Found | None:
        """The version to show; None when the merged namespace has none. RemoteUnavailable when that cannot be told."""
        return self._versions.find(call, place, merged, answer, lambda remote: self._open(call, remote, place))

    def _open(self, call: Call, remote: Remote, place: Place) -> Found | None:
        query = {key: value for key, value in call.query.items() if key in PASSED_ON}
        wanted = call.header('range')
        ranges = wanted.count(',')
        method = 'HEAD' if call.method == 'HEAD' or ranges else 'GET'
        opened = remote.open(place.name, method=method, byte_range='' if ranges else wanted, query=query, via=call.via)
        if opened.status == 416:
            opened.close()
            opened = remote.open(place.name, method='HEAD', query=query, via=call.via)
        if opened.status == 404:
            opened.close()
            return None
        meta = opened.meta
        if meta is None or opened.status not in (200, 206):
            opened.close()
            raise RemoteUnavailable(remote.target.name, f'status {opened.status}')
        first, stop = _span(opened, meta.size)
        return Found(remote, place, meta, opened, first, stop)

    def _send(self, call: Call, found: Found, answer: LocalAnswer) -> Iterable[bytes]:
        request = call.request()
        headers = wsgi_headers(found.opened.headers)
        headers.pop('content-range', None)
        headers.update({name: value for name, value in answer.raw_headers
                        if name.lower().startswith('access-control-') or name.lower() == 'content-location'})
        headers[SOURCE_HEADER] = 'remote'
        response = Response(request=request, status=200, headers=headers, conditional_response=True)
        response.app_iter = RemoteBody(
            found.opened if call.method == 'GET' else None, found.first, found.stop, found.meta.size,
            lambda start, stop: self._reopen(call, found, start, stop))
        if call.method == 'HEAD':
            found.opened.close()
        response.headers['Content-Length'] = str(found.meta.size)
        response._conditional_etag = resolve_etag_is_at_header(request, response.headers)
        self._logger.info('remote %s %s status=200 mapping=%s bytes=%d', call.method, found.place.path,
                          found.remote.target.name, found.meta.size)
        return call.respond(response)

    def _reopen(self, call: Call, found: Found, start: int, stop: int) -> ProviderResponse:
        query = {key: value for key, value in call.query.items() if key in PASSED_ON}
        whole = (start, stop) == (0, found.meta.size)
        opened = found.remote.open(found.place.name, byte_range='' if whole else f'bytes={start}-{stop - 1}',
                                   query=query, via=call.via)
        if opened.meta is None or opened.meta.etag != found.meta.etag or opened.meta.size != found.meta.size:
            opened.close()
            raise NotFound(f'{found.place.path}: the remote holds another version now')
        if _span(opened, found.meta.size) != (start, stop):
            opened.close()
            raise ConnectionFailed(f'{found.place.path}: the remote answers with other bytes than were asked for')
        return opened


def names(answer: LocalAnswer) -> Iterable[str]:
    return [name.lower() for name, _ in answer.raw_headers]


def is_missing(answer: LocalAnswer) -> bool:
    """404, or 412 of If-Match where there is no object that could match."""
    return answer.status == 404 or (answer.status == 412 and 'etag' not in answer.headers
                                    and 'x-timestamp' not in answer.headers)


def meant_place(call: Call, answer: LocalAnswer) -> Place | None:
    """Whose absence the answer tells: of the object that was asked for, or of the one that a link leads to."""
    location = next((value for name, value in reversed(answer.raw_headers) if name.lower() == 'content-location'), '')
    if not location:
        return call.place
    return parse_path(wsgi_unquote(location))


def _span(opened: ProviderResponse, size: int) -> tuple[int, int]:
    """The bytes that an answer holds."""
    if opened.status != 206:
        return 0, size
    unit, _, rest = opened.headers.get('content-range', '').partition(' ')
    first, _, last = rest.partition('/')[0].partition('-')
    if unit != 'bytes' or not (first.isdigit() and last.isdigit()):
        raise ConnectionFailed('the remote does not say which bytes it sends')
    return int(first), int(last) + 1
