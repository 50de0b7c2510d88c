"""One request of a client, as the parts of the shunt hand it around, and the answers they make."""
from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from swift.common.swob import Request, Response, str_to_wsgi, wsgi_to_str

from s3_sync.shunting.authorization import Authorization, Env
from s3_sync.shunting.local import LocalAnswer, LocalSwift
from s3_sync.shunting.remotes import RemoteUnavailable
from s3_sync.shunting.targets import Merged
from s3_sync.types import NO_HEADERS

StartResponse = Callable[..., Any]
SOURCE_HEADER = 'X-1space-Source'
"""Tells where an object came from: ``local``, ``remote``, or ``restored`` (local, brought back before)."""
API_VERSIONS = ('v1', 'v1.0')
MOST_CLUSTERS = 16
"""That a request is said to have come through."""
_ID = re.compile(r'[!-~]([ -~]{0,254}[!-~])?')
_CONTROL = re.compile(r'[\x00-\x08\x0a-\x1f\x7f]+')
"""What no header's value may hold. S3's encoded words can."""
_NO_NAME = re.compile(r'[\x00-\x20\x7f:]')
"""Nor its name."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names, in Unicode; ``container`` and ``name`` may be empty."""

    account: str
    container: str = ''
    name: str = ''

    @property
    def path(self) -> str:
        return '/'.join(filter(None, (self.account, self.container, self.name)))


def parse_path(path_info: str) -> Place | None:
    """The place that a PATH_INFO (WSGI string) names; None for all that is no Swift path or that Swift will refuse."""
    parts = path_info.split('/', 4)
    if len(parts) < 3 or parts[0] or parts[1] not in API_VERSIONS or not parts[2]:
        return None
    try:
        account, container, name = [wsgi_text(part) for part in (parts[2:] + ['', ''])[:3]]
    except UnicodeDecodeError:
        return None
    if '\0' in path_info or (name and not container):
        return None
    return Place(account, container, name)


def wsgi_text(value: str) -> str:
    """Unicode of a WSGI string. UnicodeDecodeError when its bytes are no UTF-8."""
    return value if value.isascii() else value.encode('latin-1').decode('utf-8')


class Call:
    """``env`` is handed to the right and changed there; ``original`` is how it came."""

    def __init__(self, env: Env, start_response: StartResponse, place: Place, merged: Merged | None,
                 local: LocalSwift) -> None:
        self.env = env
        self.original = dict(env)
        self.start_response = start_response
        self.place = place
        self.merged = merged
        self.local = local
        self.authorization = Authorization(env)

    @property
    def method(self) -> str:
        return str(self.original['REQUEST_METHOD'])

    @property
    def query(self) -> dict[str, str]:
        """Parameters, Unicode (bytes that are no UTF-8 replaced); the last of several counts, as in Swift."""
        return dict(parse_qsl(self.original.get('QUERY_STRING', ''), keep_blank_values=True, errors='replace'))

    @property
    def via(self) -> str:
        """``X-1space-Via`` as far as it can be told on: ids, without whatever else a client made up."""
        ids = (part.strip() for part in str(self.original.get('HTTP_X_1SPACE_VIA', '')).split(','))
        return ', '.join([part for part in ids if _ID.fullmatch(part)][-MOST_CLUSTERS:])

    def header(self, name: str) -> str:
        """A request header, Unicode, '' without it. ``name`` in any case, not Content-Type or -Length."""
        return wsgi_to_str(self.original.get('HTTP_' + name.upper().replace('-', '_'), '')) or ''

    def forward(self) -> LocalAnswer:
        """What the cluster answers."""
        return self.local.call(self.env)

    def list_local(self, limit: int) -> LocalAnswer:
        """What the cluster answers to this GET of a listing, with another ``limit``."""
        asked = self.env.get('QUERY_STRING', '')
        others = [part for part in asked.split('&') if part and unquote_plus(part.partition('=')[0]) != 'limit']
        self.env['QUERY_STRING'] = '&'.join([*others, f'limit={limit}'])
        try:
            return self.forward()
        finally:
            self.env['QUERY_STRING'] = asked  # logs tell what the client asked

    def again(self, extra: Mapping[str, str] = NO_HEADERS) -> LocalAnswer:
        """What the cluster answers once something has been done about its first answer. Not with a body.

        ``extra`` is added to the environment.
        """
        self.start_again(extra)
        return self.forward()

    def start_again(self, extra: Mapping[str, str] = NO_HEADERS) -> None:
        """``env`` as it came, and ``extra``."""
        self.env = {**self.original, **extra}
        self.authorization.watch(self.env)

    def send(self, answer: LocalAnswer, *, source: str = '') -> Iterable[bytes]:
        """The cluster's answer as it is, its iterator untouched."""
        if source:
            answer.raw_headers.append((SOURCE_HEADER, source))
        self.start_response(answer.status_line, answer.raw_headers)
        return answer.body

    def respond(self, response: Response) -> Iterable[bytes]:
        """A response of our own to the original request."""
        sent: Iterable[bytes] = response(self.original, self.start_response)
        return sent

    def request(self) -> Request:
        """The original request, for swob."""
        return Request(self.original)

    def unavailable(self, error: RemoteUnavailable) -> Iterable[bytes]:
        return self.respond(unavailable(self.request(), error))


def unavailable(request: Request, error: RemoteUnavailable) -> Response:
    """503 with Retry-After; says which mapping and why, nothing of the remote's own words."""
    body = f'The remote of {error.target} cannot be asked now: {error.reason}.\n'
    return Response(request=request, status=503, body=b'' if request.method == 'HEAD' else body.encode(),
                    headers={'Content-Type': 'text/plain; charset=UTF-8',
                             'Retry-After': str(max(1, math.ceil(error.retry_after)))})


def wsgi_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Unicode headers as WSGI wants them; a line break in a remote's metadata never begins a header of its own."""
    return {str_to_wsgi(name): str_to_wsgi(_CONTROL.sub(' ', value)) for name, value in headers.items()
            if not _NO_NAME.search(name)}


def bypass_signature(key: str, method: str, path_info: str) -> str:
    """Value of X-Cloud-Sync-Shunt-Bypass that switches the shunt off for one request (hex).

    HMAC-SHA256 with ``bypass_key`` over method and path (as sent, unquoted, UTF-8), a line break between them.
    """
    text = f'{method}\n{wsgi_to_str(path_info)}'
    return hmac.new(key.encode(), text.encode('utf-8', 'surrogateescape'), hashlib.sha256).hexdigest()


def is_bypassed(env: Env, key: str) -> bool:
    """Whether a request carries a valid signature; without a key nobody's does."""
    sent = env.get('HTTP_X_CLOUD_SYNC_SHUNT_BYPASS', '')
    if not sent or not key:
        return False
    return hmac.compare_digest(str(sent).encode('latin-1', 'replace'),
                               bypass_signature(key, env['REQUEST_METHOD'], env['PATH_INFO']).encode())
