"""One signed request to a store: addressed, sent, and its answer judged.

What only this place can mend is mended once and the request sent again: a
clock that differs from the store's, an expired token, a bucket that lives in
another region. Everything else is classified and raised.
"""
from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from s3_sync.clock import Clock
from s3_sync.errors import ConnectionFailed, ProviderError, SourceUnavailable
from s3_sync.providers.http import BUFFERED_BODY_BYTES, Response, retry_after_seconds
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.credentials import CredentialSource
from s3_sync.providers.s3.endpoint import Endpoint
from s3_sync.providers.s3.errors import EXPIRED, SKEWED, classify, scrubbed
from s3_sync.providers.s3.signing import (
    EMPTY_SHA256,
    UNSIGNED,
    Signer,
    SignerV2,
    SignerV4,
    quote_path,
    quote_query,
)
from s3_sync.providers.transport import Transport
from s3_sync.streams import Body, BytesBody
from s3_sync.timestamps import http_date_seconds

ERROR_BODY_BYTES = 1024 * 1024
ANSWER_SECONDS = 60.0
"""At least so long may a store think about a write or a listing; reads have the mapping's ``remote_timeout``."""
COPY_SECONDS = 600.0
SKEW_SECONDS = 240.0
"""A 403 whose Date differs more than that from our clock is taken for a refused signature time."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the callers know it. ``key`` '' is the bucket, ``bucket`` '' the account."""

    method: str
    bucket: str = ''
    key: str = ''
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    timeout: float | None = None
    bounded: bool = True
    fresh: bool = False
    """Over a new connection: what may have arrived is then never sent again unasked."""
    payload: str = ''
    """``x-amz-content-sha256`` of a body that is framed (``STREAMING-...``); '' for an ordinary one."""

    @property
    def what(self) -> str:
        """For messages: one line whatever the name."""
        name = f'{self.bucket}/{self.key}' if self.bucket else 'account'
        return f'{self.method} {name if name.isprintable() else ascii(name)[1:-1]}'


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is no success, read to its end."""

    status: int
    headers: Mapping[str, str]
    code: str = ''
    message: str = ''
    region: str = ''
    """Where the bucket lives, when the answer says so."""
    host: str = ''


class Client:
    def __init__(self, endpoint: Endpoint, credentials: CredentialSource, transport: Transport, *, clock: Clock,
                 timeout: float, v2: bool = False, user_agent: str = 'swift-s3-sync') -> None:
        self.endpoint = endpoint
        self.server = ''
        """What the store calls itself (Server header of its last answer)."""
        self.answered = False
        self.lifecycle_seen: dict[str, tuple[float, Sequence[object]]] = {}
        """Bucket to when its lifecycle rules were read, and which there were (see ``lifecycle``)."""
        self.clock = clock
        self.parts = threading.Semaphore(max(1, transport.max_connections * 3 // 4))
        """Held while a part of a large object travels: some connections are always left for everything else."""
        self._credentials = credentials
        self._transport = transport
        self._timeout = timeout
        self._v2 = v2
        self._signers: dict[str, Signer] = {}
        self._regions: dict[str, str] = {}
        self._skew = 0.0
        self._agent = user_agent

    def close(self) -> None:
        self._transport.close()

    # -- what callers use -------------------------------------------------------------

    def open(self, call: Call, *, accept: tuple[int, ...] = ()) -> Response:
        """The answer, body unread. Statuses of 300 and more raise, those in ``accept`` excepted."""
        call = _in_memory(call)
        host = ''
        mended: set[str] = set()
        while True:
            response = self._send(call, host)
            if response.status < 300 or response.status in accept:
                return response
            failure = self._failure(response)
            how = self._mend(call, failure, mended)
            if not how:
                raise self._error(call, failure)
            mended.add(how)
            host = failure.host or host
            if call.body is not None:
                call.body.rewind()

    def read(self, call: Call, *, limit: int = xml.MAX_DOCUMENT_BYTES) -> tuple[Response, bytes]:
        """The answer and its whole body. A 200 that carries an ``<Error>`` raises what it says."""
        response = self.open(call)
        data = response.read(limit)
        code, message, _root = xml.error_of(data)
        if code:
            raise self._error(call, Failure(500, response.headers, code, message))
        return response, data

    def do(self, call: Call) -> Mapping[str, str]:
        """For calls whose answer is its headers."""
        return self.read(call)[0].headers

    # -- one try ----------------------------------------------------------------------

    def _send(self, call: Call, host: str = '') -> Response:
        region = self._regions.get(call.bucket, '')
        address = self.endpoint.address(call.bucket, region)
        origin, host_header = address.origin, address.host_header
        if host:
            origin, host_header = origin._replace(host=host), host
        rest = f'/{quote_path(call.key)}' if call.key or not address.path else ''
        path = address.path + rest
        query = quote_query(call.query) if call.query else ''
        headers = {'host': host_header, 'user-agent': self._agent, **call.headers}
        self._signer(region).sign(
            self._credentials.get(), call.method, path, query, headers, now=self.clock.now() + self._skew,
            payload=call.payload or self._payload(call.body), bucket_path=address.bucket_path + rest)
        response = self._transport.send(
            origin, call.method, f'{path}?{query}' if query else path, headers, call.body,
            timeout=call.timeout or self._patience(call.method), bounded=call.bounded, fresh=call.fresh)
        self.server, self.answered = response.headers.get('server', ''), True
        return response

    def _patience(self, method: str) -> float:
        return self._timeout if method in ('GET', 'HEAD') else max(self._timeout, ANSWER_SECONDS)

    def _signer(self, region: str) -> Signer:
        signer = self._signers.get(region)
        if signer is None:
            signer = self._signers[region] = SignerV2() if self._v2 else SignerV4(region or self.endpoint.region)
        return signer

    def _payload(self, body: Body | None) -> str:
        """The body's SHA-256 where it must or can cheaply be told, else UNSIGNED-PAYLOAD.

        TLS guards the bytes, so nothing is hashed over https. Over plain http
        small bodies are hashed; large ones too on AWS, which refuses unsigned
        ones there (they are read twice), elsewhere Content-MD5 guards them.
        """
        if body is None:
            return EMPTY_SHA256
        if self._v2 or self.endpoint.scheme == 'https':
            return UNSIGNED
        if isinstance(body, BytesBody):
            return hashlib.sha256(body.data).hexdigest()
        if self.endpoint.flavour != 'aws':
            return UNSIGNED
        digest = hashlib.sha256()
        for chunk in body:
            digest.update(chunk)
        body.rewind()
        return digest.hexdigest()

    # -- answers that are no success ----------------------------------------------------

    def _failure(self, response: Response) -> Failure:
        headers = response.headers
        try:
            data = response.read(ERROR_BODY_BYTES)
        except ConnectionFailed:
            data = b''
        code, message, root = xml.error_of(data)
        region = headers.get('x-amz-bucket-region', '') or (root.findtext('Region') or '' if root is not None else '')
        host = ''
        if response.status == 307 and self.endpoint.flavour == 'aws':
            named = urlsplit(headers.get('location', '')).hostname or ''
            host = named if named.endswith(('.amazonaws.com', '.amazonaws.com.cn')) else ''
        return Failure(response.status, headers, code, message, region, host)

    def _mend(self, call: Call, failure: Failure, done: set[str]) -> str:
        """Put right what another try needs, each thing once; says what, '' when nothing can be."""
        status, code = failure.status, failure.code
        if failure.host and 'redirect' not in done:
            return 'redirect'
        if status == 403 and 'clock' not in done and self._correct_clock(failure):
            return 'clock'
        expired = code in EXPIRED or (status == 400 and not code and call.method == 'HEAD')
        if expired and 'token' not in done and self._credentials.renew():
            return 'token'
        if status in (301, 400, 403) and call.bucket and 'region' not in done and self._adopt_region(call, failure):
            return 'region'
        return ''

    def _correct_clock(self, failure: Failure) -> bool:
        theirs = http_date_seconds(failure.headers.get('date', ''))
        if theirs is None or (failure.code and failure.code not in SKEWED and failure.code != 'AccessDenied'):
            return False
        skew = theirs - self.clock.now()
        if abs(skew - self._skew) < (1.0 if failure.code in SKEWED else SKEW_SECONDS):
            return False
        self._skew = skew
        return True

    def _adopt_region(self, call: Call, failure: Failure) -> bool:
        region = failure.region
        blind = call.method == 'HEAD' and failure.status in (301, 400) and call.key
        if not region and blind and self.endpoint.flavour == 'aws':
            # A HEAD's refusal has no body; a HEAD of the bucket tells the region even when it is refused.
            with self._send(Call('HEAD', call.bucket)) as response:
                region = response.headers.get('x-amz-bucket-region', '')
        known = self._regions.get(call.bucket) or self.endpoint.region
        wrong = failure.status == 301 or failure.code in (
            '', 'AuthorizationHeaderMalformed', 'PermanentRedirect', 'IllegalLocationConstraintException')
        if not region or region == known or not wrong:
            return False
        self._regions[call.bucket] = region
        return True

    def _error(self, call: Call, failure: Failure) -> ProviderError:
        hidden = self._hidden()
        said = scrubbed(f'{failure.code}: {failure.message}' if failure.code else '', hidden)
        text = f'{call.what}: {failure.status}' + (f' {said}' if said else '')
        return classify(text, failure.status, failure.code,
                        retry_after=retry_after_seconds(failure.headers, self.clock.now()))

    def key_error(self, key: str, code: str, message: str) -> ProviderError:
        """The error of one key in an answer about many."""
        status = {'AccessDenied': 403, 'InternalError': 500}.get(code, 400)
        return classify(f'DELETE {key}: ' + scrubbed(f'{code}: {message}', self._hidden()), status, code)

    def _hidden(self) -> tuple[str, ...]:
        try:
            credentials = self._credentials.get()
        except ProviderError:
            return ()
        return credentials.secret_key, credentials.session_token or '', credentials.access_key


def _in_memory(call: Call) -> Call:
    """Small bodies are read once, before a connection is taken: nothing can then go wrong halfway."""
    body = call.body
    if body is None or isinstance(body, BytesBody) or body.size > BUFFERED_BODY_BYTES:
        return call
    data = b''.join(body)
    if len(data) != body.size:
        raise SourceUnavailable(f'body has {len(data)} bytes, {body.size} were announced')
    return replace(call, body=BytesBody(data))
