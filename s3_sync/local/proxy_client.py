"""Requests to Swift's proxy application inside this process, and answers that free what they hold.

Swift's InternalClient hands out a body that is closed only by reading it:
``catch_errors`` wraps it in an iterable whose ``close`` exists once iteration
has begun. An answer that is closed unread would keep its backend connection,
and a timeout that one day goes off in a green thread doing something else.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from swift.common.internal_client import UnexpectedResponse
from swift.common.swob import Request
from swift.common.utils import close_if_possible
from swift.proxy.controllers.base import get_container_info

from s3_sync.clock import Clock, SystemClock
from s3_sync.concurrency import Timeout, spawn
from s3_sync.errors import SourceEncrypted, SourceUnavailable
from s3_sync.local.listing_app import PROBLEM_HEADER, RULE_HEADER, serve_replica_listings
from s3_sync.local.replica_listing import ReplicaListing
from s3_sync.wire.swift_headers import is_encrypted, text_of_header

BUILD_REST_SECONDS = 60.0
"""A pipeline that cannot be loaded is not tried again for this long."""
NORMAL = (2, 404, 409)
"""Statuses (or their first digits) that are answers; others raise."""


class ProxyAnswer:
    """A response of the proxy application: text headers, a body whose errors are ours."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status_int
        self.headers: dict[str, str] = {text_of_header(k).lower(): text_of_header(str(v))
                                        for k, v in response.headers.items()}
        self._body = response.app_iter
        self._chunks: Iterator[bytes] = iter(self._body)
        self._begun = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._begun = True
            yield from self._chunks
        except (Exception, Timeout) as error:
            raise SourceUnavailable(f'the proxy application broke off: {error or type(error).__name__}') from error

    def read(self) -> bytes:
        """The whole rest, in memory."""
        try:
            return b''.join(self)
        finally:
            self.close()

    def close(self) -> None:
        try:
            if not self._begun:  # the first chunk is here already; from then on closing closes everything behind it
                self._begun = True
                next(self._chunks, b'')
            close_if_possible(self._chunks)
            close_if_possible(self._body)
        except (Exception, Timeout):
            # A body of no interest any more may break off as it likes.
            return


class ProxyClient:
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
        self._replica_listing: ReplicaListing | None = None
        self._broken = ''
        self._broken_until = 0.0

    def request(self, method: str, path: tuple[str, ...], headers: Mapping[str, str] | None = None,
                params: Mapping[str, str] | None = None, *, normal: Collection[int] = NORMAL) -> ProxyAnswer:
        """One request for account, container and object (or less).

        With ``replica_rule`` among the headers a listing comes from all
        replicas. SourceUnavailable when there is no answer or one that is not
        ``normal``; SourceEncrypted when the pipeline fails to decrypt.
        """
        client = self.ready()
        label = '/'.join(path)
        rule = (headers or {}).get(RULE_HEADER)
        if rule:
            self._ask_replicas(client)
        # Swift's requests hold UTF-8 bytes as Latin-1 text.
        query = {key: value.encode().decode('latin-1') for key, value in (params or {}).items()}
        try:
            answer = ProxyAnswer(client.make_request(method, quote('/'.join(('/v1', *path))), dict(headers or {}),
                                                     tuple(normal), params=query))
        except UnexpectedResponse as error:
            problem = error.resp.headers.get(PROBLEM_HEADER)
            if problem:
                raise SourceUnavailable(unquote(problem)) from error
            if error.resp.status_int == 500 and is_encrypted(_lower(error.resp.headers)):
                raise SourceEncrypted(f'{label} cannot be decrypted here') from error
            raise SourceUnavailable(f'{label}: the proxy answers {error.resp.status}') from error
        except (Exception, Timeout) as error:
            raise SourceUnavailable(f'{label}: proxy application: {error!r}') from error
        if rule and answer.headers.get(RULE_HEADER.lower()) != rule:
            answer.close()
            raise SourceUnavailable(f'{label}: a filter of the internal client answers for the container servers')
        return answer

    def _ask_replicas(self, client: Any) -> None:
        if self._replica_listing is None:
            proxy_app = client.app._pipeline_final_app
            self._replica_listing = ReplicaListing(proxy_app.account_ring, proxy_app.container_ring, clock=self._clock,
                                           logger=self._logger)
            serve_replica_listings(proxy_app, self._replica_listing)

    def container_info(self, account: str, container: str) -> Mapping[str, Any]:
        """Swift's own facts of a container: ``status``, ``storage_policy``, ``read_acl`` and more; kept a minute.

        SourceUnavailable when they cannot be told. A plain HEAD shows no ACLs to anybody but an owner.
        """
        app = self.ready().app
        env = Request.blank(quote(f'/v1/{account}/{container}')).environ
        try:
            # In a green thread of its own, as InternalClient does: what Swift keeps in thread locals stays there.
            info: Mapping[str, Any] = spawn(get_container_info, env, app, swift_source='1space').wait()
        except (Exception, Timeout) as error:
            raise SourceUnavailable(f'{account}/{container}: proxy application: {error!r}') from error
        if info['status'] != 404 and info['status'] // 100 != 2:
            raise SourceUnavailable(f'{account}/{container}: the proxy answers {info["status"]}')
        return info

    def ready(self) -> Any:
        """The InternalClient. SourceUnavailable while it cannot be built."""
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

    def close(self) -> None:
        self._client = None
        if self._replica_listing is not None:
            self._replica_listing.close()
            self._replica_listing = None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): str(value) for key, value in headers.items()}
