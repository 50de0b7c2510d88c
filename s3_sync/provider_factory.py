"""From a mapping to a provider with all its policies around it.

Inside out: the provider, the meter (so that every try is counted), the rate
limit (so that every try pays), the retries. Connections and tokens belong to
the remote, not to the mapping: a ``/*`` mapping of 10,000 containers has one
pool in each process.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping as Lookup

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock, SystemClock
from s3_sync.config import Mapping, Remote
from s3_sync.metrics import Metrics, NoMetrics
from s3_sync.providers.limit import LimitSync, SharedLimiter
from s3_sync.providers.metered import MeteredSync
from s3_sync.providers.retry import DEFAULT_POLICY, RetryPolicy, RetrySync
from s3_sync.providers.s3.client import Client as S3Client
from s3_sync.providers.s3.settings import make_client as make_s3_client
from s3_sync.providers.s3.settings import make_endpoint
from s3_sync.providers.swift.client import SwiftClient
from s3_sync.providers.swift.client import new_client as make_swift_client
from s3_sync.providers.transport import WAIT_FOR_CONNECTION_SECONDS
from s3_sync.sync_s3 import SyncS3
from s3_sync.sync_swift import SyncSwift

MAX_CONNECTIONS = 10
KEPT_PROVIDERS = 1000
"""Providers are small once their connections are shared; the cap is for accounts with very many containers."""


def create_provider(mapping: Mapping, *, max_connections: int = MAX_CONNECTIONS, clock: Clock | None = None,
                    metrics: Metrics | None = None, limiter: SharedLimiter | None = None,
                    client: S3Client | SwiftClient | None = None, via: str = '', retry: RetryPolicy | None = None,
                    connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> BaseSync:
    """A provider for a mapping with a concrete container, all policies around it.

    ``client``: connections to share (``create_client``); without it the provider has its own,
    to which ``via`` and ``connection_wait`` apply as there. Closing it closes those.
    """
    clock = clock or SystemClock()
    metrics = metrics or NoMetrics()
    own = None if client is not None else create_client(mapping, max_connections=max_connections, clock=clock, via=via,
                                                        connection_wait=connection_wait)
    provider = _bare(mapping, clock, metrics, own or client, owns_client=own is not None)
    provider = MeteredSync(provider, remote=mapping.remote.label, metrics=metrics, clock=clock)
    if limiter is not None and limiter.limits_anything:
        provider = LimitSync(provider, limiter, clock=clock)
    return RetrySync(provider, clock=clock, policy=retry or DEFAULT_POLICY)


def create_client(mapping: Mapping, *, max_connections: int = MAX_CONNECTIONS, clock: Clock | None = None,
                  via: str = '', connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> S3Client | SwiftClient:
    """Connections and credentials of the mapping's remote, for any of its buckets.

    ``via``: id of our cluster, told to a Swift in every request. ``connection_wait``: seconds
    to wait for a free connection, after which a request fails as Throttled ('busy').
    """
    clock = clock or SystemClock()
    if mapping.remote.protocol == 'swift':
        return make_swift_client(mapping, max_connections=max_connections, clock=clock, via=via,
                                 connection_wait=connection_wait)
    most = mapping.remote.max_connections or max_connections
    return make_s3_client(mapping, make_endpoint(mapping), max_connections=most, clock=clock,
                          connection_wait=connection_wait)


def limit_key(remote: Remote) -> str:
    """What shares one rate limit: an endpoint under one identity."""
    return f'{remote.protocol};{remote.label};{remote.identity or remote.application_credential_id or ""}'


def probe_fact(remote: Remote) -> str:
    """Key of the ledger's fact that says what a probe of this endpoint and bucket found."""
    return f'conditional-put:{limit_key(remote)}:{remote.bucket}'


class ProviderCache:
    """The providers of one process, made when first asked for and kept.

    ``limiters``: by ``limit_key``. ``conditional_put``: what another process
    has found out about endpoints, as this class's attribute of that name gives it.
    ``via``, ``retry`` and ``connection_wait``: as for ``create_client`` and ``create_provider``.
    """

    def __init__(self, *, clock: Clock, metrics: Metrics, limiters: Lookup[str, SharedLimiter] | None = None,
                 conditional_put: Lookup[str, tuple[bool, bool]] | None = None,
                 max_connections: int = MAX_CONNECTIONS, via: str = '', retry: RetryPolicy | None = None,
                 connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> None:
        self._via = via
        self._retry = retry
        self._connection_wait = connection_wait
        self._clock = clock
        self._metrics = metrics
        self._limiters = dict(limiters or {})
        self._max_connections = max_connections
        self._clients: dict[tuple[Remote, float], S3Client | SwiftClient] = {}
        self._providers: OrderedDict[tuple[str, str], BaseSync] = OrderedDict()
        self.conditional_put = dict(conditional_put or {})
        """Endpoint and bucket to what PUT honours there (If-None-Match, If-Match)."""

    def get(self, mapping: Mapping) -> BaseSync:
        """The provider of a mapping with a concrete container."""
        key = (mapping.generation, mapping.evaluation)
        provider = self._providers.get(key)
        if provider is None:
            provider = create_provider(
                mapping, max_connections=self._max_connections, clock=self._clock, metrics=self._metrics,
                limiter=self._limiters.get(limit_key(mapping.remote)), client=self._client(mapping),
                retry=self._retry)
            known = self.conditional_put.get(_probe_key(mapping.remote))
            if known is not None:
                provider.set_conditional_put(*known)
            self._providers[key] = provider
            if len(self._providers) > KEPT_PROVIDERS:
                self._providers.popitem(last=False)  # whoever holds it may go on: it owns no connections
        self._providers.move_to_end(key)
        return provider

    def set_conditional_put(self, mapping: Mapping, create_only: bool, conditional_overwrite: bool) -> None:
        """Keep what a probe found; providers handed out from now on know it."""
        self.conditional_put[_probe_key(mapping.remote)] = (create_only, conditional_overwrite)
        self._providers.clear()

    def learn(self, conditional_put: Lookup[str, tuple[bool, bool]]) -> None:
        """What another process has found out since; providers handed out from now on know it."""
        self.conditional_put = dict(conditional_put)
        self._providers.clear()

    def close(self) -> None:
        """Close the connections: idle ones now, those in use when they come back."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._providers.clear()

    def _client(self, mapping: Mapping) -> S3Client | SwiftClient:
        key = (mapping.remote.model_copy(update={'bucket': ''}), mapping.remote_timeout)
        client = self._clients.get(key)
        if client is None:
            client = create_client(mapping, max_connections=self._max_connections, clock=self._clock, via=self._via,
                                   connection_wait=self._connection_wait)
            self._clients[key] = client
        return client


def _bare(mapping: Mapping, clock: Clock, metrics: Metrics, client: S3Client | SwiftClient | None, *,
          owns_client: bool) -> BaseSync:
    if isinstance(client, SwiftClient):
        return SyncSwift(mapping, clock=clock, metrics=metrics, client=client, owns_client=owns_client)
    return SyncS3(mapping, clock=clock, metrics=metrics, client=client, owns_client=owns_client)


def _probe_key(remote: Remote) -> str:
    return f'{limit_key(remote)};{remote.bucket}'
