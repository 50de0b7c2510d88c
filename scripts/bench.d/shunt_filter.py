"""CPU of the shunt's filters alone: requests that go straight to a right-hand side that costs nothing."""
from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from s3_sync.shunt import CloudShunt, CloudShuntSegments
from s3_sync.shunting.metrics import ProxyMetrics
from s3_sync.shunting.options import Options
from s3_sync.shunting.state import ShuntState

CALLS = 2000
ROUNDS = 21
HEADERS = [
    ('Content-Type', 'application/octet-stream'), ('Etag', 'd41d8cd98f00b204e9800998ecf8427e'),
    ('Last-Modified', 'Mon, 23 Nov 2026 08:00:00 GMT'), ('X-Timestamp', '1795420800.00000'), ('Accept-Ranges', 'bytes'),
    ('X-Object-Meta-Mtime', '1795420800.123456789'), ('Content-Length', '4096'),
    ('X-Backend-Timestamp', '1795420800.00000'), ('X-Backend-Data-Timestamp', '1795420800.00000'),
    ('X-Backend-Durable-Timestamp', '1795420800.00000'), ('X-Backend-Storage-Policy-Index', '0')]
"""Of an object server's answer, as the filters see it."""

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _NoStatsd:
    """A proxy without a statsd host: Swift's logger does nothing then."""

    def update_stats(self, metric: str, amount: int) -> None:
        pass

    def timing(self, metric: str, milliseconds: float) -> None:
        pass


def microseconds(conf_file: Path, account: str, container: str, method: str) -> float:
    """What one request of an object that is local costs more with both filters than without (median of rounds)."""
    state = ShuntState(Options(str(conf_file)), metrics=ProxyMetrics(_NoStatsd()), logger=logging.getLogger('shunt'))
    try:
        filtered = CloudShunt(CloudShuntSegments(_object_is_here, state), state)
        env = _request(account, container, method)
        rounds = [(_spent(_object_is_here, env), _spent(filtered, env)) for _ in range(ROUNDS)]
    finally:
        state.close()
    return median(with_filters - without for without, with_filters in rounds) * 1e6


def _spent(app: App, env: dict[str, Any]) -> float:
    """CPU seconds of one request."""
    began = time.process_time()
    for _ in range(CALLS):
        for _chunk in app(dict(env), _start_response):
            pass
    return (time.process_time() - began) / CALLS


def _object_is_here(env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response('200 OK', list(HEADERS))
    return [b'x' * 4096]


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
    return lambda data: None


def _request(account: str, container: str, method: str) -> dict[str, Any]:
    """As it comes from the filters on the left."""
    return {
        'REQUEST_METHOD': method, 'SCRIPT_NAME': '', 'PATH_INFO': f'/v1/{account}/{container}/folder-1/object-0000001',
        'RAW_PATH_INFO': f'/v1/{account}/{container}/folder-1/object-0000001', 'QUERY_STRING': '',
        'CONTENT_TYPE': None, 'SERVER_NAME': '127.0.0.1', 'SERVER_PORT': '8080', 'SERVER_PROTOCOL': 'HTTP/1.1',
        'GATEWAY_INTERFACE': 'CGI/1.1', 'REMOTE_ADDR': '127.0.0.1', 'REMOTE_PORT': '50000',
        'REMOTE_USER': f'test,test:tester,{account}', 'HTTP_HOST': '127.0.0.1:8080', 'HTTP_X_AUTH_TOKEN': 'AUTH_tk0',
        'HTTP_ACCEPT_ENCODING': 'identity', 'HTTP_USER_AGENT': 'bench', 'HTTP_X_TRANS_ID': 'tx0',
        'headers_raw': (('Host', '127.0.0.1:8080'), ('X-Auth-Token', 'AUTH_tk0')), 'wsgi.version': (1, 0),
        'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(), 'wsgi.errors': io.StringIO(),
        'wsgi.multithread': True, 'wsgi.multiprocess': False, 'wsgi.run_once': False, 'eventlet.posthooks': [],
        'swift.trans_id': 'tx0', 'swift.authorize': lambda request: None, 'swift.clean_acl': None,
        'swift.cache': None, 'swift.infocache': {}, 'swift_owner': True, 'reseller_request': False,
        'swift.backend_path': f'/v1/{account}/{container}/folder-1/object-0000001',
    }
