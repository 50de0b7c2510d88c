"""The cluster itself, as far as it lies to the right of the filter: pre-authorised requests of our own.

Containers and objects are named in Unicode here; paths that Swift's WSGI
interface wants are made in this module and nowhere else, from unquoted parts,
so that no name goes through a URL parser.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from swift.common.swob import header_to_environ_key, str_to_wsgi, wsgi_to_str
from swift.common.utils import close_if_possible, drain_and_close
from swift.common.wsgi import WSGIContext, make_pre_authed_env
from swift.proxy.controllers.base import clear_info_cache, get_container_info

from s3_sync.shunting.authorization import Env
from s3_sync.types import NO_HEADERS

App = Callable[..., Iterable[bytes]]
SOURCE = '1S'
"""``swift.source`` of our own requests, in Swift's logs."""
AGENT = '1space'
RESERVED_NAMES = {'x-backend-allow-reserved-names': 'true'}


class LocalAnswer:
    """An answer of the right-hand side, its body unread. Close it, or read it to its end."""

    def __init__(self, status: str, headers: list[tuple[str, str]], body: Iterable[bytes]) -> None:
        self.status_line = status
        self.status = int(status.split(' ', 1)[0])
        self.raw_headers = headers
        """WSGI strings as they came."""
        self.body = body
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Lower-case names, Unicode values."""
        if self._headers is None:
            self._headers = {name.lower(): wsgi_to_str(value) for name, value in self.raw_headers}
        return self._headers

    def read(self) -> bytes:
        try:
            return b''.join(self.body)
        finally:
            self.close()

    def drain(self) -> None:
        """For answers whose body nobody wants: small, and read so that connections are kept."""
        drain_and_close(self.body)

    def close(self) -> None:
        close_if_possible(self.body)


class BodyReader:
    """``wsgi.input`` of a request whose body is an iterable of bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b''

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            data = self._held + b''.join(self._chunks)
            self._held = b''
            return data
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b''
            self._held = chunk
        data, self._held = self._held[:size], self._held[size:]
        return data

    def readline(self, size: int = -1) -> bytes:
        raise OSError('bodies of our own requests have no lines')


class LocalSwift:
    """``app``: what stands right of the filter."""

    def __init__(self, app: App) -> None:
        self._app = app

    def call(self, env: Env) -> LocalAnswer:
        """Hand a whole environment to the right."""
        context = WSGIContext(self._app)
        body = context._app_call(env)
        return LocalAnswer(context._response_status, context._response_headers, body)

    def request(self, env: Env, method: str, account: str, container: str = '', name: str = '', *,
                headers: Mapping[str, str] = NO_HEADERS, query: Mapping[str, str] = NO_HEADERS,
                body: bytes | Iterable[bytes] = b'', size: int | None = None,
                reserved: bool = False, beyond_quota: bool = False) -> LocalAnswer:
        """A request in our own name, authorised beforehand.

        ``env`` is the client's (caches and transaction id are shared).
        ``headers``: Unicode values, lower-case names. ``size``: of an iterable body; None sends it chunked.
        ``reserved``: whether names of Swift's own (NUL) are meant. ``beyond_quota``: an account
        that is full must not refuse it.
        """
        new = make_pre_authed_env(env, method=method, path=wsgi_path(account, container, name), agent=AGENT,
                                  query_string=query_string(query), swift_source=SOURCE)
        new['swift_owner'] = True  # containers' ACLs and keys are told and taken
        sent = {**headers, **RESERVED_NAMES} if reserved else headers
        for key, value in sent.items():
            new[header_to_environ_key(str_to_wsgi(key))] = str_to_wsgi(value)
        if beyond_quota:
            new['reseller_request'] = True
        _set_body(new, method, body, size)
        return self.call(new)

    def container_info(self, env: Env, account: str, container: str) -> dict[str, Any]:
        """Swift's cached facts about a container; ``status`` 404 when there is none."""
        probe = {**env, 'PATH_INFO': wsgi_path(account, container)}
        return dict(get_container_info(probe, self._app, swift_source=SOURCE))

    def forget_container(self, env: Env, account: str, container: str) -> None:
        """Have the next ``container_info`` ask anew, in every proxy that shares the cache."""
        clear_info_cache(env, account, container)


def wsgi_path(account: str, container: str = '', name: str = '') -> str:
    """PATH_INFO of an account, container or object."""
    path = f'/v1/{account}'
    if container:
        path += f'/{container}'
        if name:
            path += f'/{name}'
    return str(str_to_wsgi(path))


def query_string(query: Mapping[str, str]) -> str:
    return '&'.join(f'{quote(key, safe="")}={quote(value, safe="")}' for key, value in query.items())


def _set_body(env: Env, method: str, body: bytes | Iterable[bytes], size: int | None) -> None:
    chunks: Iterator[bytes] | list[bytes]
    if isinstance(body, bytes):
        chunks, size = [body] if body else [], len(body)
    else:
        chunks = iter(body)
    env['wsgi.input'] = BodyReader(chunks)
    if method in ('PUT', 'POST'):
        if size is None:
            env['HTTP_TRANSFER_ENCODING'] = 'chunked'
        else:
            env['CONTENT_LENGTH'] = str(size)
