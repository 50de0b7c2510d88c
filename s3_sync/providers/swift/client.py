"""One request to a Swift: addressed, sent with the token, its answer judged.

swiftclient's connections cannot be used for the data: its URL normalisation
removes ``.`` and ``..`` segments from object names, the standard library's
parser loses metadata whose name is not ASCII, and a PUT costs several times
the CPU. The library is used for what is not ours, logging in.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from s3_sync.clock import Clock
from s3_sync.config import Mapping as MappingConfig
from s3_sync.config.remote import Remote
from s3_sync.errors import NotFound, PermanentError, ProviderError, TemporaryError
from s3_sync.providers.http import Response, retry_after_seconds
from s3_sync.providers.swift.access import Access
from s3_sync.providers.swift.errors import classify
from s3_sync.providers.swift.limits import DEFAULTS, Limits
from s3_sync.providers.swift.login import Login
from s3_sync.providers.transport import WAIT_FOR_CONNECTION_SECONDS, Origin, Transport
from s3_sync.streams import Body
from s3_sync.types import Condition

ERROR_BODY_BYTES = 64 * 1024
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""Listings and /info; 10,000 entries of the longest names stay far below."""
ANSWER_SECONDS = 60.0
"""At least so long may a write take to be answered; reads have the mapping's ``remote_timeout``."""
LIMITS_AGAIN_SECONDS = 300.0
VIA = 'x-1space-via'
"""Clusters that a request has come through (semantics 8.3)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its callers know it. ``key`` '' is the container, ``container`` '' the account."""

    method: str
    container: str = ''
    key: str = ''
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None

    @property
    def what(self) -> str:
        return f'{self.method} {self.container}/{self.key}' if self.container else f'{self.method} account'

    def target(self, base: str) -> str:
        """Path and query as sent; every byte that is not unreserved is encoded exactly once."""
        path = base
        if self.container:
            path += '/' + quote(self.container, safe='')
            if self.key:
                path += '/' + quote(self.key)
        if self.query:
            path += '?' + '&'.join(f'{k}={quote(v, safe="")}' for k, v in self.query.items())
        return path


def new_client(mapping: MappingConfig, *, max_connections: int, clock: Clock, via: str = '',
               connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> SwiftClient:
    """Connections for this mapping's remote; its own ``max_connections`` comes first."""
    return SwiftClient(mapping.remote, max_connections=mapping.remote.max_connections or max_connections,
                       clock=clock, timeout=mapping.remote_timeout, via=via, connection_wait=connection_wait)


class SwiftClient:
    """Connections and token of one remote account, shared by all its containers. Green-thread safe."""

    def __init__(self, remote: Remote, *, max_connections: int, clock: Clock, timeout: float, via: str = '',
                 connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> None:
        """``via``: id of our cluster, told in every request, so that a shunt there never sends it back to us."""
        self.clock = clock
        self._via = {VIA: via} if via else {}
        self._login = Login(remote, clock)
        self._timeout = timeout
        self._limits: Limits | None = None
        self._limits_due = -math.inf
        self._transport = Transport(max_connections=max_connections, clock=clock, ca_file=remote.ca_file,
                                    verify=remote.verify_tls, connection_wait=connection_wait)

    def open(self, call: Call, *, accept: frozenset[int] = frozenset(), bounded: bool = True) -> Response:
        """The answer, body unread. Statuses of 300 and more raise, those in ``accept`` excepted.

        ``bounded`` False takes no place of the pool: for a small read while a connection is held.
        """
        access = self._login.access()
        response = self._send(call, access, bounded)
        if response.status == 401:
            # Once: tokens die early when the cluster loses its cache or a role changes.
            response.close()
            if call.body is not None:
                call.body.rewind()
            response = self._send(call, self._login.renewed(access), bounded)
        if response.status < 300 or response.status in accept:
            return response
        raise self._error(call, response)

    def read(self, call: Call, *, limit: int = MAX_DOCUMENT_BYTES) -> tuple[Response, bytes]:
        """The answer and its whole body."""
        response = self.open(call)
        return response, response.read(limit)

    def do(self, call: Call) -> Response:
        """For calls whose answer is status and headers; the connection is free again."""
        return self.read(call, limit=ERROR_BODY_BYTES)[0]

    def limits(self) -> Limits:
        """The cluster's own constraints, asked for once; Swift's defaults while it does not tell."""
        if self._limits is None and self.clock.monotonic() >= self._limits_due:
            self._limits_due = self.clock.monotonic() + LIMITS_AGAIN_SECONDS
            try:
                self._limits = Limits.from_info(self._info())
            except (PermanentError, NotFound):
                self._limits = DEFAULTS  # /info is switched off there
            except TemporaryError:
                return DEFAULTS
        return self._limits or DEFAULTS

    def _info(self) -> bytes:
        """The /info document, which needs no token."""
        origin, host, _ = _address(self._login.access().storage_url)
        response = self._transport.send(origin, 'GET', '/info', {'host': host}, None, timeout=self._timeout)
        if response.status != 200:
            raise self._error(Call('GET'), response)
        return response.read(ERROR_BODY_BYTES)

    def close(self) -> None:
        self._transport.close()

    def _send(self, call: Call, access: Access, bounded: bool) -> Response:
        origin, host, base = _address(access.storage_url)
        reads = call.method in ('GET', 'HEAD')
        return self._transport.send(
            origin, call.method, call.target(base),
            {'host': host, 'user-agent': 'swift-s3-sync', **self._via, **call.headers, 'x-auth-token': access.token},
            call.body,
            timeout=self._timeout if reads else max(self._timeout, ANSWER_SECONDS), bounded=bounded)

    def _error(self, call: Call, response: Response) -> ProviderError:
        retry_after = retry_after_seconds(response.headers, self.clock.now())
        text = ''
        if call.method != 'HEAD':
            try:
                text = response.read(ERROR_BODY_BYTES).decode('utf-8', 'replace')
            except ProviderError:
                text = ''  # the status says enough
        response.close()
        return classify(call.what, response.status, text=_without_markup(text), retry_after=retry_after)


def condition_headers(condition: Condition) -> dict[str, str]:
    headers = {'if-match': condition.if_match, 'if-none-match': condition.if_none_match}
    return {name: value for name, value in headers.items() if value is not None}


def _address(storage_url: str) -> tuple[Origin, str, str]:
    """Where to connect, the Host header, and the path of the account."""
    parts = urlsplit(storage_url)
    port = parts.port or (443 if parts.scheme == 'https' else 80)
    return Origin(parts.scheme, parts.hostname or '', port), parts.netloc.rpartition('@')[2], parts.path


def _without_markup(text: str) -> str:
    """Swift's error pages are a title and a sentence in HTML."""
    out, depth = [], 0
    for char in text:
        if char == '<':
            depth += 1
        elif char == '>' and depth:
            depth -= 1
            out.append(' ')
        elif not depth:
            out.append(char)
    return ''.join(out)
