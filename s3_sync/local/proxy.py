"""Reading through Swift's own proxy application, for what no single replica can give (DESIGN 7).

Erasure coding, encryption at rest, symbolic links. The slowest source, and the
only one that puts objects together. What it serves is held to the same rules:
the times must cover the row's, the body must have the MD5 that its ETag says,
and what is still encrypted after the pipeline is never handed out.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import SegmentChanged, SourceEncrypted, SourceGone, SourceStale, SourceUnavailable, SourceUnusable
from s3_sync.local.bodies import ReopeningBody
from s3_sync.local.containers import Containers
from s3_sync.local.links import DANGLING, link_of, stored_names
from s3_sync.local.proxy_client import ProxyAnswer, ProxyClient
from s3_sync.local.source import SourceObject
from s3_sync.local.versions import (
    SMALL_BYTES,
    SYMLINK_HEADER,
    buries,
    is_expired,
    is_version_link,
    lower_headers,
    meta_of,
    newest_of,
    times_from_headers,
)
from s3_sync.local.wanted import Wanted
from s3_sync.streams import Body, BytesBody, StreamBody
from s3_sync.timestamps import RowTimes, parse_timestamp
from s3_sync.types import ObjectMeta, ObjectRow
from s3_sync.wire.swift_headers import is_encrypted

RAW = {'multipart-manifest': 'get'}
"""The manifest of a large object as it is stored, should the pipeline put them together."""
VERSION_HOPS = 2
"""Links of versioned containers followed before what they lead to is looked at as it is."""


class ProxyCopy:
    """A run of bytes of an object as the proxy application gives it; see ``wanted.Copy``."""

    def __init__(self, answer: ProxyAnswer) -> None:
        self._answer = answer
        self.label: Hashable = 'proxy'
        self.headers = lower_headers(answer.headers.items())
        self.etag = self.headers.get('etag', '').strip('"')

    def chunks(self, digest: Any = None) -> Iterator[bytes]:
        for chunk in self._answer:
            if digest is not None:
                digest.update(chunk)
            yield chunk

    def close(self) -> None:
        self._answer.close()


class _Reached(NamedTuple):
    """Where the links of a versioned container have led."""

    path: tuple[str, str, str]
    times: RowTimes
    headers: dict[str, str]


class ProxySource:
    """What Swift's InternalClient gives. ``client`` may be shared."""

    def __init__(self, make_client: Callable[[], Any] | ProxyClient, *, clock: Clock | None = None,
                 logger: logging.Logger | None = None) -> None:
        self._clock = clock or SystemClock()
        self.client = (make_client if isinstance(make_client, ProxyClient)
                       else ProxyClient(make_client, clock=self._clock, logger=logger))
        self.containers = Containers(self.client, self._clock)

    def open(self, row: ObjectRow, *, follow_links: bool = True) -> SourceObject:
        """The version as a client of the cluster would get it, with the row's policy.

        Also raises SourceUnusable: a link that leads nowhere, or a pipeline
        without the symlink filter.
        """
        if not follow_links:
            reached = self._behind_versions(row)
            if SYMLINK_HEADER in reached.headers:
                return self._link(row, reached)
        answer = self._request('GET', row)
        try:
            if answer.status != 200:
                raise self._missing(row, answer)
            self._refuse(row, answer.headers)
            times = self._times(row, answer)
            if not times.covers(row.times):
                raise SourceStale(f'{row.path}: the proxy serves a version older than the row')
            return self._object(row, answer, times)
        except BaseException:
            answer.close()
            raise

    def copy(self, wanted: Wanted, first: int, length: int | None) -> ProxyCopy:
        """A run of bytes of an object known by its content.

        SegmentChanged: what the proxy finds is another object, or none. That is
        what it says while replicas are down too; the caller asks them.
        """
        problem = ''
        for newest in ((False, True) if wanted.etag else (True,)):
            answer = self._run(wanted, first, length, newest)
            try:
                problem = self._unlike(wanted, answer)
                if not problem:
                    return ProxyCopy(answer)
            except BaseException:
                answer.close()
                raise
            answer.close()
        raise SegmentChanged(f'{wanted.row.path}: {problem}')

    def meta(self, wanted: Wanted) -> ObjectMeta:
        """Metadata and times of an object known by its content. Raises as ``copy`` does."""
        answer = self._request('HEAD', wanted.row)
        answer.close()
        problem = self._unlike(wanted, answer)
        if problem:
            raise SegmentChanged(f'{wanted.row.path}: {problem}')
        if answer.status != 200:
            raise SourceUnavailable(f'{wanted.row.path}: the proxy answers {answer.status}')
        headers = lower_headers(answer.headers.items())
        return meta_of(wanted.row.name, headers, self._times(wanted.row, answer))

    def close(self) -> None:
        self.client.close()

    # -- by row --------------------------------------------------------------------------

    def _refuse(self, row: ObjectRow, headers: Mapping[str, str]) -> None:
        """What this pipeline can not turn into the object itself."""
        if is_encrypted(headers):
            raise SourceEncrypted(f'{row.path} is encrypted at rest and internal_client_path does not decrypt')
        if SYMLINK_HEADER in headers:
            raise SourceUnusable(f'{row.path} is a symbolic link; internal_client_path has no symlink filter',
                                 reason='symlink')

    def _object(self, row: ObjectRow, answer: ProxyAnswer, times: RowTimes) -> SourceObject:
        headers = lower_headers(answer.headers.items())
        if is_expired(headers, self._clock.now()):
            raise SourceGone(f'{row.path} expired')
        meta = meta_of(row.name, headers, times)
        self._refuse_foreign(row, answer.headers, bool(meta.large_object))
        if meta.size > SMALL_BYTES:
            body: Body = ReopeningBody(answer, lambda: self._again(row, meta.etag), meta.size, meta.etag)
        else:
            stream = StreamBody(lambda: answer, meta.size, meta.etag)
            body = BytesBody(b''.join(stream))
        return SourceObject(meta, times, body, 'proxy')

    def _refuse_foreign(self, row: ObjectRow, headers: Mapping[str, str], large: bool) -> None:
        """What a link may not bring from another account: we may read everything, whoever made the link may not."""
        _, _, account, container, _ = (*headers.get('content-location', '').split('/', 4), '', '', '', '', '')[:5]
        account, container = unquote(account), unquote(container)
        if account in ('', row.account):
            return
        if not self.containers.readable(account, container, row.account):
            raise SourceUnusable(f'{row.path} links to {account}/{container}, which {row.account} may not read',
                                 reason='forbidden-symlink')
        if large:
            # Swift looks for the segments in the link's account, so it cannot serve this either.
            raise SourceUnusable(f'{row.path} links to a large object of {account}', reason=DANGLING)

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
        link = self._itself(row, (row.account, row.container, row.name))
        if is_expired(link.headers, self._clock.now()):
            raise SourceGone(f'{row.path} expired')
        return newest_of(link.times, _own_times(answer.headers))

    # -- links as themselves -------------------------------------------------------------

    def _behind_versions(self, row: ObjectRow) -> _Reached:
        """The row's object, a link or not; for a link of a versioned container, the version it stands for."""
        reached = self._itself(row, (row.account, row.container, row.name))
        for _ in range(VERSION_HOPS):
            link = link_of(reached.headers, row.path) if is_version_link(reached.headers) else None
            if link is None:
                break
            behind = self._itself(row, (row.account, link.container, link.name), of_row=False)
            reached = _Reached(behind.path, newest_of(reached.times, behind.times), behind.headers)
        return reached

    def _itself(self, row: ObjectRow, path: tuple[str, str, str], *, of_row: bool = True) -> _Reached:
        """Headers of this name without following a link. Only the row's own name has the row's policy and times."""
        answer = self.client.request('HEAD', path, _headers(row.row.policy_index if of_row else None),
                                     {**RAW, 'symlink': 'get'})
        answer.close()
        if answer.status != 200:
            raise self._missing(row, answer) if of_row else SourceUnusable(
                f'{row.path}: its version {path[2]!r} is not there', reason=DANGLING)
        if is_encrypted(answer.headers):
            raise SourceEncrypted(f'{row.path} is encrypted at rest and internal_client_path does not decrypt')
        times = times_from_headers(answer.headers, row) if of_row else _own_times(answer.headers)
        if of_row and not times.covers(row.times):
            raise SourceStale(f'{row.path}: the proxy serves a link older than the row')
        return _Reached(path, times, stored_names(lower_headers(answer.headers.items())))

    def _link(self, row: ObjectRow, reached: _Reached) -> SourceObject:
        if is_expired(reached.headers, self._clock.now()):
            raise SourceGone(f'{row.path} expired')
        return SourceObject(meta_of(row.name, reached.headers, reached.times), reached.times, BytesBody(b''), 'proxy',
                            link=link_of(reached.headers, row.path))

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

    def _request(self, method: str, row: ObjectRow) -> ProxyAnswer:
        return self.client.request(method, (row.account, row.container, row.name), _headers(row.row.policy_index), RAW)

    # -- by content ----------------------------------------------------------------------

    def _run(self, wanted: Wanted, first: int, length: int | None, newest: bool) -> ProxyAnswer:
        row = wanted.row
        headers = {'X-Backend-Storage-Policy-Index': str(row.row.policy_index)}
        if newest:
            headers['X-Newest'] = 'true'
        if length is not None:
            headers['Range'] = f'bytes={first}-{first + length - 1}'
        return self.client.request('GET', (row.account, row.container, row.name), headers, RAW,
                                   normal=(2, 404, 409, 416))

    def _unlike(self, wanted: Wanted, answer: ProxyAnswer) -> str:
        """Why an answer is not what is wanted; '' when it is."""
        if answer.status in (404, 409):
            return 'missing' if answer.status == 404 else 'its link leads nowhere'
        self._refuse(wanted.row, answer.headers)
        self._refuse_foreign(wanted.row, answer.headers, wanted.sub_slo)
        return wanted.differs(lower_headers(answer.headers.items()))


def _headers(policy_index: int | None) -> dict[str, str]:
    headers = {'X-Newest': 'true', 'X-Backend-Open-Expired': 'true'}
    if policy_index is not None:
        headers['X-Backend-Storage-Policy-Index'] = str(policy_index)
    return headers


def _own_times(headers: Mapping[str, str]) -> RowTimes:
    data = parse_timestamp(headers.get('x-backend-data-timestamp'))
    metadata = parse_timestamp(headers.get('x-backend-timestamp'))
    if data is None or metadata is None:
        raise SourceUnavailable('the proxy application tells no times of the object')
    return RowTimes(data, data, metadata)
