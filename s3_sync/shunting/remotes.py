"""The remotes of one proxy process: providers that are kept, asked on behalf of clients who wait.

A remote that fails again and again is left alone for a while (the breaker):
clients hear 503 at once instead of waiting for a timeout each. A name that was
not there a moment ago is not asked for again at once (the negative cache).
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.clock import Clock
from s3_sync.concurrency import Timeout
from s3_sync.config import Mapping as MappingSettings
from s3_sync.config import Settings
from s3_sync.config.cluster import cluster_id
from s3_sync.errors import (
    ConnectionFailed,
    Error,
    Forbidden,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    TemporaryError,
)
from s3_sync.metrics import Metrics
from s3_sync.provider_factory import ProviderCache, limit_key
from s3_sync.providers.retry import RetryPolicy
from s3_sync.shunting.guards import LARGE_SECONDS, MISSING_SECONDS, Breaker, Lease, Name, Names, Places
from s3_sync.shunting.sharing import Shares
from s3_sync.shunting.targets import Target
from s3_sync.shunting.turns import Turns
from s3_sync.types import NO_HEADERS, BucketPage, ObjectMeta, ShuntRequest

T = TypeVar('T')

MAX_CONNECTIONS = 64
"""To each remote, per proxy process; operators lower or raise it with the remote's ``max_connections``."""
CONNECTION_WAIT_SECONDS = 5.0
RETRIES = RetryPolicy(attempts=2, base_seconds=0.1, longest_wait_seconds=0.5)
"""A client waits: what fails twice is told."""
SLOW_ANSWERS = 4
"""Times ``remote_timeout``, for an answer with its body."""
BUCKETS_SECONDS = 60.0
FORBIDDEN_RETRY_SECONDS = 30.0
DEFAULT_RETRY_SECONDS = 5.0
CROWDED_RETRY_SECONDS = 5.0


class RemoteUnavailable(Error):
    """The remote cannot be asked now: 503 for the client, never 404. ``retry_after``: seconds."""

    def __init__(self, target: str, reason: str, *, retry_after: float = DEFAULT_RETRY_SECONDS) -> None:
        super().__init__(f'{target}: the remote cannot be asked ({reason})')
        self.target = target
        self.reason = reason
        self.retry_after = retry_after


class Remote:
    """One target's remote, asked on behalf of clients. Every call raises RemoteUnavailable when it cannot be asked."""

    def __init__(self, target: Target, provider: BaseSync, breaker: Breaker, places: Places,
                 parent: Remotes) -> None:
        self.target = target
        self.provider = provider
        self._breaker = breaker
        self._places = places
        self._parent = parent

    def ask(self, call: Callable[[BaseSync], T]) -> T:
        """What ``call`` returns. NotFound and answers to conditions are raised as they are.

        It may take several times ``remote_timeout``, as a page of a listing may, and no longer,
        however the remote trickles.
        """
        return self._ask(lambda provider: self.in_time(lambda: call(provider), times=SLOW_ANSWERS))

    def _ask(self, call: Callable[[BaseSync], T]) -> T:
        name = self.target.name
        wait = self._breaker.wait_seconds()
        if wait:
            raise RemoteUnavailable(name, 'breaker', retry_after=wait)
        try:
            result = call(self.provider)
        except NotFound:
            self._breaker.worked()
            raise
        except Forbidden as error:
            self._breaker.neither()
            raise RemoteUnavailable(name, error.reason, retry_after=FORBIDDEN_RETRY_SECONDS) from error
        except TemporaryError as error:
            if error.status == 429 or error.reason == 'busy':
                self._breaker.neither()
            else:
                self._breaker.failed()
            raise RemoteUnavailable(name, error.reason, retry_after=error.retry_after or DEFAULT_RETRY_SECONDS) \
                from error
        except PermanentError as error:
            self._breaker.worked()
            raise RemoteUnavailable(name, error.reason) from error
        except ProviderError:
            self._breaker.worked()
            raise
        except BaseException:
            self._breaker.neither()
            raise
        self._breaker.worked()
        return result

    def head(self, name: str, *, via: str = '') -> ObjectMeta | None:
        """The version there; None when there is none."""
        response = self.open(name, method='HEAD', via=via)
        response.close()
        return response.meta if response.status == 200 else None

    def open(self, name: str, *, method: str = 'GET', byte_range: str = '', query: Mapping[str, str] = NO_HEADERS,
             via: str = '') -> ProviderResponse:
        """GET or HEAD; 200, 206, 404 or 416, with a query also 400 and 409. ``byte_range`` as in a Range header.

        The answer has begun within ``remote_timeout``.
        """
        headers = {'x-1space-via': self._parent.via(via)}
        if byte_range:
            headers['range'] = byte_range
        request = ShuntRequest(method, name, headers, query)
        try:
            if not self._parent.owns(self, self.target):
                return ProviderResponse(404, {'content-length': '0'})
            return self.ask(lambda provider: self.in_time(lambda: provider.shunt_object(request)))
        except NotFound:
            return ProviderResponse(404, {'content-length': '0'})

    def in_time(self, call: Callable[[], T], *, times: int = 1) -> T:
        """What ``call`` returns within ``remote_timeout``, or so many ``times`` that.

        The provider's own patience begins anew with each step (connection, login, answer).
        """
        patience = Timeout(times * self.target.mapping.remote_timeout)
        try:
            return call()
        except Timeout as error:
            if error is not patience:
                raise
            raise ConnectionFailed('no answer in time', reason='timeout') from error
        finally:
            patience.cancel()

    def post(self, name: str, headers: Mapping[str, str], *, via: str = '') -> ProviderResponse:
        """Replace an object's metadata as Swift's POST does; 202, 404, or 409 with a text."""
        request = ShuntRequest('POST', name, {**headers, 'x-1space-via': self._parent.via(via)})
        try:
            if not self._parent.owns(self, self.target):
                return ProviderResponse(404, {'content-length': '0'})
            # Stores copy an object onto itself for this, and a large one takes as long as it takes.
            return self._ask(lambda provider: provider.shunt_post(request))
        except NotFound:
            return ProviderResponse(404, {'content-length': '0'})

    def delete(self, name: str, etag: str, *, via: str = '') -> int:
        """Delete the version with this ETag, as far as the store can tell them apart: 204, 404 or 412."""
        request = ShuntRequest('DELETE', name, {'if-match': f'"{etag}"', 'x-1space-via': self._parent.via(via)})
        try:
            if not self._parent.owns(self, self.target):
                return 404
            response = self.ask(lambda provider: self.in_time(lambda: provider.shunt_delete(request)))
        except NotFound:
            return 404
        except PreconditionFailed:
            return 412
        response.close()
        return response.status

    def exists(self, *, via: str = '') -> Mapping[str, str] | None:
        """Headers of the remote bucket or container, None when there is none (or it is not the credentials' own)."""
        request = ShuntRequest('HEAD', '', {'x-1space-via': self._parent.via(via)})

        def head(provider: BaseSync) -> Mapping[str, str] | None:
            if not provider.capabilities.native_listing:
                return provider.head_bucket()
            response = provider.shunt_object(request)  # which may have a merged namespace of its own
            response.close()
            return response.headers if response.status // 100 == 2 else None
        try:
            if not self._parent.owns(self, self.target):
                return None
            return self.ask(lambda provider: self.in_time(lambda: head(provider)))
        except NotFound:
            return None

    # -- many readers of one object (semantics 13) ---------------------------------------------

    @property
    def shares(self) -> Shares:
        return self._parent.shares

    def key(self, name: str) -> Name:
        return self.target.mapping.generation, name

    def take_place(self) -> Lease:
        """To read what is too large to be shared; RemoteUnavailable while ``remote_concurrency`` others do."""
        lease = self._places.take(self.target.mapping.remote_concurrency)
        if lease is None:
            raise RemoteUnavailable(self.target.name, 'too many readers', retry_after=CROWDED_RETRY_SECONDS)
        return lease

    def is_large(self, size: int | None) -> bool:
        """Whether an object of ``size`` bytes (None: not told) is too large to be shared."""
        return size is None or size > self.target.mapping.coalesce_size

    def known_large(self, name: str) -> bool:
        """Whether it was, a moment ago: then nothing is asked before there is a place."""
        return self._parent.large.holds(self.key(name))

    def note_large(self, name: str) -> None:
        self._parent.large.note(self.key(name))

    def note_small(self, name: str) -> None:
        self._parent.large.forget(self.key(name))

    # -- what was not there a moment ago ------------------------------------------------------

    def known_missing(self, name: str) -> bool:
        return self._parent.missing.holds(self.key(name))

    def note_missing(self, name: str) -> None:
        self._parent.missing.note(self.key(name))

    def forget_missing(self, name: str) -> None:
        """It has changed: whatever was found out a moment ago, and whatever others are just reading."""
        self._parent.forget(self.target, name)


class Providers(Protocol):
    """Where a mapping's provider comes from; kept there."""

    def get(self, mapping: MappingSettings) -> BaseSync: ...

    def close(self) -> None: ...


class Remotes:
    """Everything that is kept for one configuration; ``close`` when another takes its place."""

    def __init__(self, settings: Settings, *, clock: Clock, metrics: Metrics, logger: logging.Logger,
                 providers: Providers | None = None) -> None:
        self.cluster_id = cluster_id(settings)
        self._clock = clock
        self.logger = logger
        self.metrics = metrics
        self._providers = providers or ProviderCache(
            clock=clock, metrics=metrics, max_connections=MAX_CONNECTIONS, via=self.cluster_id, retry=RETRIES,
            connection_wait=CONNECTION_WAIT_SECONDS)
        self._breakers: dict[str, Breaker] = {}
        self._places: dict[str, Places] = {}
        self._buckets: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._bucket_failures: dict[str, int] = {}
        self.missing = Names(clock, MISSING_SECONDS)
        self.large = Names(clock, LARGE_SECONDS)
        self.shares = Shares(clock=clock)
        self.turns = Turns()
        """For what must be done once, however many ask for it."""

    def of(self, target: Target) -> Remote:
        mapping = target.mapping
        key = limit_key(mapping.remote)
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = Breaker(self._clock)
            self._places[key] = Places()
        return Remote(target, self._providers.get(mapping), breaker, self._places[key], self)

    def via(self, incoming: str) -> str:
        """``X-1space-Via`` of a request that we send on: the clusters that it came through, and ours."""
        return ', '.join(filter(None, (incoming, self.cluster_id)))

    def came_from_here(self, incoming: str) -> bool:
        """Whether a request with this ``X-1space-Via`` has been sent by this cluster before: a loop."""
        return bool(self.cluster_id) and self.cluster_id in (part.strip() for part in incoming.split(','))

    def owns(self, remote: Remote, target: Target) -> bool:
        """Whether the bucket is the credentials' own, where that is not plain from the configuration (semantics 10)."""
        bucket = target.mapping.remote.bucket
        return not target.any_bucket or bucket in self.buckets(remote, wanted=bucket)

    def buckets(self, remote: Remote, *, wanted: str = '') -> Mapping[str, float]:
        """All buckets that the credentials own, and when they were made (Unix seconds, 0: unknown).

        As they were at most BUCKETS_SECONDS ago; MISSING_SECONDS when ``wanted`` is not among them.
        """
        key = limit_key(remote.target.mapping.remote)
        failures = self._bucket_failures.get(key, 0)
        with self.turns.of(('buckets', key)):
            if self._bucket_failures.get(key, 0) != failures:
                raise RemoteUnavailable(remote.target.name, 'its buckets could not be listed a moment ago')
            now = self._clock.monotonic()
            asked, names = self._buckets.get(key, (-BUCKETS_SECONDS, {}))
            age = now - asked
            if age >= BUCKETS_SECONDS or (wanted and wanted not in names and age >= MISSING_SECONDS):
                try:
                    names = remote.ask(lambda provider: _buckets(provider, remote.in_time))
                except BaseException:
                    # Whoever waited for the answer has waited long enough.
                    self._bucket_failures[key] = failures + 1
                    raise
                self._buckets[key] = now, names
            return names

    def forget(self, target: Target, name: str) -> None:
        """What is known of a remote object is no longer so. Makes no provider."""
        key = target.mapping.generation, name
        self.missing.forget(key)
        self.large.forget(key)
        self.shares.forget(key)

    def close(self) -> None:
        """Idle connections go now, those in use when they come back."""
        self._providers.close()


def _buckets(provider: BaseSync, in_time: Callable[[Callable[[], BucketPage]], BucketPage]) -> dict[str, float]:
    names: dict[str, float] = {}
    marker = ''
    while True:
        page = in_time(partial(provider.list_buckets, marker=marker))
        names.update((entry.name, entry.last_modified) for entry in page.entries)
        if not page.next_marker:
            return names
        if page.next_marker == marker:
            raise ConnectionFailed('the list of buckets goes round in circles', reason='answer')
        marker = page.next_marker
