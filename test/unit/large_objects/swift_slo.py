"""Swift's own SLO middleware over objects in memory: what it stores, serves and refuses is the truth."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from typing import Any

from swift.common.middleware.slo import filter_factory
from swift.common.swob import Request, Response


class SwiftSlo:
    """Account AUTH_a of a Swift that has nothing but objects and SLOs."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[bytes, dict[str, str]]] = {}
        """By path (``container/object``): body and headers as the object server would have them."""
        self.reads: list[str] = []
        self._app = filter_factory({'rate_limit_under_size': '0'})(self._objects)
        logger = self._app.logger.logger
        for handler in list(logger.handlers):  # a socket to syslog
            logger.removeHandler(handler)
            handler.close()

    def put(self, path: str, data: bytes) -> None:
        self.request('PUT', path, data)

    def put_manifest(self, path: str, body: bytes) -> Response:
        return self.request('PUT', path, body, '?multipart-manifest=put')

    def manifest(self, path: str) -> list[dict[str, Any]]:
        """The manifest as it is stored."""
        return list(json.loads(self.stored[path][0]))

    def get(self, path: str) -> Response:
        response = self.request('GET', path)
        assert response.status_int == 200, (response.status, response.body)
        return response

    def request(self, method: str, path: str, body: bytes = b'', query: str = '') -> Response:
        request = Request.blank(f'/v1/AUTH_a/{path}{query}', environ={'REQUEST_METHOD': method}, body=body)
        response = request.get_response(self._app)
        response.body  # noqa: B018  the middleware works while it is read
        return response

    def _objects(self, env: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(env)
        path = request.path_info.encode('latin-1').decode().removeprefix('/v1/AUTH_a/')
        if request.method == 'PUT':
            body = request.body_file.read()
            kept = {name: value for name, value in request.headers.items()
                    if name.lower().startswith(('x-object-', 'x-static-', 'content-type'))}
            self.stored[path] = body, kept
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            return Response(status=201, headers={'Etag': etag}, request=request)(env, start_response)  # type: ignore[no-any-return]
        self.reads.append(path)
        if path not in self.stored:
            return Response(status=404, request=request)(env, start_response)  # type: ignore[no-any-return]
        body, kept = self.stored[path]
        headers = {'Content-Type': 'application/octet-stream', **kept, 'X-Backend-Timestamp': '1600000000.00000',
                   'Etag': hashlib.md5(body, usedforsecurity=False).hexdigest()}
        response = Response(body=body, headers=headers, request=request, conditional_response=True)
        response.last_modified = time.time()
        return response(env, start_response)  # type: ignore[no-any-return]
