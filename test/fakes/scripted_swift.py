"""An HTTP server that answers as a script says, to see how the Swift provider takes what no healthy cluster answers."""
from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True)
class Seen:
    """A request as it arrived. Header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b''


Script = Callable[[Seen], Reply]


class ScriptedSwift:
    """Logins (``/auth/v1.0``) and /info are answered by themselves; everything else by ``script``.

    Tokens are ``token-1``, ``token-2``...; only the newest is good, others get
    401 before the script is asked.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.logins = 0
        self.v2_logins: list[dict[str, object]] = []
        """What was sent to Identity v2."""
        self.valid_token = ''
        self.token_seconds: int | None = None
        self.login_reply: Reply | None = None
        self.info = b'{"swift": {}}'
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get('content-length') or 0))
                reply = outer._reply(Seen(self.command, self.path,
                                          {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(reply.status)
                for name, value in {'Content-Length': str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(reply.body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(('127.0.0.1', 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.02})

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._server.server_address[1]}'

    def requests(self, method: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method]

    def _reply(self, seen: Seen) -> Reply:
        if seen.path == '/info':
            return Reply(200, body=self.info)
        if seen.path == '/auth/v1.0':
            return self._log_in()
        if seen.path == '/v2.0/tokens':
            return self._log_in_by_v2(json.loads(seen.body))
        with self._lock:
            self.seen.append(seen)
        if seen.headers.get('x-auth-token') != self.valid_token:
            return Reply(401)
        return self.script(seen)

    def _log_in(self) -> Reply:
        with self._lock:
            self.logins += 1
            if self.login_reply is not None:
                return self.login_reply
            self.valid_token = f'token-{self.logins}'
        headers = {'X-Storage-Url': f'{self.url}/v1/AUTH_test', 'X-Auth-Token': self.valid_token}
        if self.token_seconds is not None:
            headers['X-Auth-Token-Expires'] = str(self.token_seconds)
        return Reply(200, headers)

    def _log_in_by_v2(self, asked: dict[str, dict[str, object]]) -> Reply:
        """Keystone's Identity API v2, which no Keystone of today serves any more (format: its API reference)."""
        with self._lock:
            self.logins += 1
            self.v2_logins.append(asked['auth'])
            self.valid_token = f'token-{self.logins}'
        tenant = {'id': 'abc', 'name': asked['auth']['tenantName']}
        endpoint = {'publicURL': f'{self.url}/v1/AUTH_abc', 'internalURL': 'http://127.0.0.1:9/', 'region': 'one'}
        return Reply(200, {'Content-Type': 'application/json'}, json.dumps({'access': {
            'token': {'id': self.valid_token, 'expires': '2099-01-01T00:00:00Z', 'tenant': tenant},
            'serviceCatalog': [{'type': 'object-store', 'name': 'swift', 'endpoints': [endpoint]}],
            'user': {'id': 'u', 'name': 'tester', 'username': 'tester', 'roles': []}}}).encode())

    def __enter__(self) -> ScriptedSwift:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
