"""Reading through Swift's own proxy application, for what no single replica can give (DESIGN 7).

Erasure coding, encryption at rest, symbolic links. The slowest source, and the
only one that puts objects together. What it serves is held to the same rules:
the times must cover the row's, the body must have the MD5 that its ETag says,
and what is still encrypted after the pipeline is never handed out.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from swift.common.internal_client import UnexpectedResponse
from swift.common.utils import close_if_possible

from s3_sync.clock import Clock, SystemClock
from s3_sync.concurrency import Timeout
from s3_sync.errors import SourceEncrypted, SourceGone, SourceStale, SourceUnavailable, SourceUnusable
from s3_sync.local.bodies import ReopeningBody
from s3_sync.local.source import SourceObject
from s3_sync.local.versions import (
    SMALL_BYTES,
    SYMLINK_HEADER,
    buries,
    is_expired,
    lower_headers,
    meta_of,
    newest_of,
    times_from_headers,
)
from s3_sync.streams import Body, BytesBody, StreamBody
from s3_sync.timestamps import RowTimes, parse_timestamp
from s3_sync.types import ObjectRow
from s3_sync.wire.swift_headers import is_encrypted, text_of_header

BUILD_REST_SECONDS = 60.0
"""A pipeline that cannot be loaded is not tried again for this long."""

DANGLING = 'dangling-symlink'


class ProxyAnswer:
    """A response of the proxy application: text headers, a body whose errors are ours."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status_int
        self.headers: dict[str, str] = {text_of_header(k).lower(): text_of_header(str(v))
                                        for k, v in response.headers.items()}

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.app_iter
        except (Exception, Timeout) as error:
            raise SourceUnavailable(f'the proxy application broke off: {error or type(error).__name__}') from error

    def close(self) -> None:
        close_if_possible(self._response.app_iter)


class ProxySource:
    """Swift's InternalClient, built when first needed.

    ``make_client`` returns a ``swift.common.internal_client.InternalClient``;
    its pipeline decides what can be decrypted and followed.
    """

    def __init__(self, make_client: Callable[[], Any], *, clock: Clock | None = None,
                 logger: logging.Logger | None = None) -> None:
        self._make_client = make_client
        self._clock = clock or SystemClock()
        self._logger = logger or logging.getLogger(__name__)
        self._client: Any = None
        self._broken = ''
        self._broken_until = 0.0

    def open(self, row: ObjectRow) -> SourceObject:
        """The version as a client of the cluster would get it, with the row's policy.

        Also raises SourceUnusable: a link that leads nowhere, or a pipeline
        without the symlink filter.
        """
        answer = self._request('GET', row)
        try:
            if answer.status != 200:
                raise self._missing(row, answer)
            if is_encrypted(answer.headers):
                raise SourceEncrypted(f'{row.path} is encrypted at rest and internal_client_path does not decrypt')
            if SYMLINK_HEADER in answer.headers:
                raise SourceUnusable(f'{row.path} is a symbolic link; internal_client_path has no symlink filter',
                                     reason='symlink')
            times = self._times(row, answer)
            if not times.covers(row.times):
                raise SourceStale(f'{row.path}: the proxy serves a version older than the row')
            return self._object(row, answer, times)
        except BaseException:
            answer.close()
            raise

    def close(self) -> None:
        self._client = None

    def _object(self, row: ObjectRow, answer: ProxyAnswer, times: RowTimes) -> SourceObject:
        headers = lower_headers(answer.headers.items())
        if is_expired(headers, self._clock.now()):
            raise SourceGone(f'{row.path} expired')
        meta = meta_of(row.name, headers, times)
        if meta.size > SMALL_BYTES:
            body: Body = ReopeningBody(answer, lambda: self._again(row, meta.etag), meta.size, meta.etag)
        else:
            stream = StreamBody(lambda: answer, meta.size, meta.etag)
            body = BytesBody(b''.join(stream))
        return SourceObject(meta, times, body, 'proxy')

    def _again(self, row: ObjectRow, etag: str) -> ProxyAnswer:
        answer = self._request('GET', row)
        if answer.status != 200 or answer.headers.get('etag', '').strip('"') != etag:
            answer.close()
            raise SourceUnavailable(f'{row.path} was replaced while it was read')
        return answer

    def _times(self, row: ObjectRow, answer: ProxyAnswer) -> RowTimes:
        """Times of the object; of a link that was followed, the later of the link's and its target's."""
        if 'content-location' not in answer.headers:
            return times_from_headers(answer.headers, row)
        return newest_of(self._link_times(row), _own_times(answer.headers))

    def _link_times(self, row: ObjectRow) -> RowTimes:
        link = self._request('HEAD', row, {'symlink': 'get'})
        link.close()
        if link.status != 200:
            raise self._missing(row, link)
        times = times_from_headers(link.headers, row)
        if not times.covers(row.times):
            raise SourceStale(f'{row.path}: the proxy serves a link older than the row')
        return times

    def _missing(self, row: ObjectRow, answer: ProxyAnswer) -> Exception:
        """What an answer other than 200 means."""
        answer.close()
        target = answer.headers.get('content-location', '')
        if answer.status == 409 or (answer.status == 404 and target):
            return SourceUnusable(f'{row.path}: the link leads nowhere ({target or "too many links"})', reason=DANGLING)
        tombstone = parse_timestamp(answer.headers.get('x-backend-timestamp'))
        if answer.status == 404 and buries(tombstone, row.times):
            return SourceGone(f'{row.path} was deleted at {tombstone!r}')
        if answer.status == 404:
            return SourceStale(f'{row.path}: the proxy finds no replica')
        return SourceUnavailable(f'{row.path}: the proxy answers {answer.status}')

    def _request(self, method: str, row: ObjectRow, params: Mapping[str, str] | None = None) -> ProxyAnswer:
        client = self._ready_client()
        path = quote('/'.join(('/v1', row.account, row.container, row.name)))
        headers = {'X-Backend-Storage-Policy-Index': str(row.row.policy_index), 'X-Newest': 'true',
                   'X-Backend-Open-Expired': 'true'}
        # The raw manifest of a large object, should the pipeline put them together.
        wanted = {'multipart-manifest': 'get', **(params or {})}
        try:
            return ProxyAnswer(client.make_request(method, path, headers, (2, 404, 409), params=wanted))
        except UnexpectedResponse as error:
            if error.resp.status_int == 500 and is_encrypted(_lower(error.resp.headers)):
                raise SourceEncrypted(f'{row.path} cannot be decrypted here') from error
            raise SourceUnavailable(f'{row.path}: the proxy answers {error.resp.status}') from error
        except (Exception, Timeout) as error:
            raise SourceUnavailable(f'{row.path}: proxy application: {error!r}') from error

    def _ready_client(self) -> Any:
        if self._client is not None:
            return self._client
        if self._broken and self._clock.monotonic() < self._broken_until:
            raise SourceUnavailable(self._broken)
        try:
            self._client = self._make_client()
        except (Exception, SystemExit) as error:  # Swift's loaders exit on a bad configuration
            self._broken = f'the internal client cannot be loaded: {error}'
            self._broken_until = self._clock.monotonic() + BUILD_REST_SECONDS
            self._logger.error('%s; erasure-coded, encrypted and linked objects wait', self._broken)
            raise SourceUnavailable(self._broken) from error
        return self._client


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): str(value) for key, value in headers.items()}


def _own_times(headers: Mapping[str, str]) -> RowTimes:
    data = parse_timestamp(headers.get('x-backend-data-timestamp'))
    metadata = parse_timestamp(headers.get('x-backend-timestamp'))
    if data is None or metadata is None:
        raise SourceUnavailable('the proxy application tells no times of the object')
    return RowTimes(data, data, metadata)
