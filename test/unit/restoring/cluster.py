"""A Swift account in memory that restores are written into: Swift's own SLO middleware over objects with times.

Times decide as in the object server: 202 for a PUT that is not newer than what
is there, tombstone or data; a POST and a DELETE by their times too. A body that
breaks off is not stored.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from swift.common.middleware.slo import filter_factory
from swift.common.swob import Request, Response
from swift.common.utils import FileLikeIter, Timestamp

from s3_sync.timestamps import ZERO

Path = tuple[str, str]
KEPT = ('x-object-', 'x-static-', 'content-type', 'content-encoding', 'x-delete-at', 'cache-control',
        'content-disposition', 'content-language')


@dataclass
class Stored:
    data: bytes
    data_time: Timestamp
    meta_time: Timestamp
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


Fault = Callable[[str, str, str], object]
"""Told of every request of the writer (method, container, object); an int is the answer, an exception is raised."""


class Cluster:
    """As ``LocalWriter``, with the users' own writes beside it."""

    def __init__(self) -> None:
        self.objects: dict[Path, Stored] = {}
        self.tombstones: dict[Path, Timestamp] = {}
        self.containers: set[str] = {'c'}
        self.puts: list[Path] = []
        """PUTs that were stored."""
        self.heads: list[Path] = []
        self.fault: Fault = lambda method, container, name: None
        self.lost_answers: set[Path] = set()
        """PUTs of these are stored, and answered with 503."""
        self._app = filter_factory({'rate_limit_under_size': '0'})(self._objects)
        logger = self._app.logger.logger
        for handler in list(logger.handlers):  # a socket to syslog
            logger.removeHandler(handler)
            handler.close()

    # -- what a restore uses -------------------------------------------------------------

    def put(self, container: str, name: str, headers: Mapping[str, str], body: Iterable[bytes],
            query: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        faulty = self._faulty('PUT', container, name)
        if faulty:
            return faulty, {}
        return self._request('PUT', container, name, headers, body, query)

    def head(self, container: str, name: str) -> tuple[int, Mapping[str, str]]:
        faulty = self._faulty('HEAD', container, name)
        if faulty:
            return faulty, {}
        self.heads.append((container, name))
        return self._request('HEAD', container, name, {}, [], {})

    def delete(self, container: str, name: str, headers: Mapping[str, str]) -> int:
        return self._faulty('DELETE', container, name) or self.remove((container, name),
                                                                      Timestamp(headers['x-timestamp']))

    def ensure_container(self, container: str) -> int:
        faulty = self._faulty('CONTAINER', container, '')
        if not faulty:
            self.containers.add(container)
        return faulty or 201

    # -- what others do ------------------------------------------------------------------

    def write(self, path: Path, data: bytes, at: Timestamp, **headers: str) -> int:
        known = self.objects.get(path)
        if (known is not None and max(known.data_time, known.meta_time) >= at) or self._deleted(path) >= at:
            return 202
        self.objects[path] = Stored(data, at, at, {k.replace('_', '-'): v for k, v in headers.items()})
        self.tombstones.pop(path, None)
        return 201

    def remove(self, path: Path, at: Timestamp) -> int:
        known = self.objects.get(path)
        if (known is not None and known.data_time >= at) or self._deleted(path) >= at:
            return 409
        self.objects.pop(path, None)
        self.tombstones[path] = at
        return 204 if known is not None else 404

    def read(self, path: Path) -> bytes:
        """As a client's GET, DLOs included."""
        stored = self.objects[path]
        if 'x-object-manifest' in stored.headers:
            container, _, prefix = unquote(stored.headers['x-object-manifest']).partition('/')
            return b''.join(self.objects[p].data for p in sorted(self.objects)
                            if p[0] == container and p[1].startswith(prefix))
        response = Request.blank(quote(f'/v1/AUTH_a/{path[0]}/{path[1]}')).get_response(self._app)
        assert response.status_int == 200, response.status
        body: bytes = response.body
        return body

    # -- the servers ---------------------------------------------------------------------

    def _faulty(self, method: str, container: str, name: str) -> int:
        answer = self.fault(method, container, name)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, int) else 0

    def _deleted(self, path: Path) -> Timestamp:
        return self.tombstones.get(path, ZERO)

    def _request(self, method: str, container: str, name: str, headers: Mapping[str, str], body: Iterable[bytes],
                 query: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        given = {k: v.encode().decode('latin-1') for k, v in headers.items()}
        path = quote(f'/v1/AUTH_a/{container}/{name}') + ''.join(f'?{k}={v}' for k, v in query.items())
        request = Request.blank(path, environ={'REQUEST_METHOD': method, 'wsgi.input': FileLikeIter(iter(body))},
                                headers=given)
        response = request.get_response(self._app)
        response.body  # noqa: B018  the middleware works while it is read
        return response.status_int, {k.lower(): v.encode('latin-1').decode() for k, v in response.headers.items()}

    def _objects(self, env: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(env)
        container, name = request.path_info.encode('latin-1').decode().removeprefix('/v1/AUTH_a/').split('/', 1)
        answer = self._store if request.method == 'PUT' else self._serve
        response: Iterable[bytes] = answer(request, (container, name))(env, start_response)
        return response

    def _store(self, request: Any, path: Path) -> Any:
        if path[0] not in self.containers:
            return Response(status=404, request=request)
        at, known = Timestamp(request.headers['x-timestamp']), self.objects.get(path)
        if (known is not None and known.data_time >= at) or self._deleted(path) >= at:
            return Response(status=202, request=request)
        try:
            data = request.body_file.read()
        except OSError:
            return Response(status=499, request=request)
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if len(data) != int(request.headers['content-length']):
            return Response(status=499, request=request)
        if request.headers.get('etag', etag).strip('"') != etag:
            return Response(status=422, request=request)
        if self._deleted(path) >= at:  # meanwhile
            return Response(status=201, request=request)
        headers = {k.lower(): v.encode('latin-1').decode() for k, v in request.headers.items()
                   if k.lower().startswith(KEPT)}
        if known is not None and known.meta_time > at:  # what was posted since lies in a file of its own
            headers = {k: v for k, v in headers.items() if not k.startswith('x-object-meta-')}
            headers |= {k: v for k, v in known.headers.items() if k.startswith('x-object-meta-')}
        self.objects[path] = Stored(data, at, max(at, known.meta_time) if known is not None else at, headers)
        self.tombstones.pop(path, None)
        self.puts.append(path)
        return Response(status=503 if path in self.lost_answers else 201, headers={'etag': etag}, request=request)

    def _serve(self, request: Any, path: Path) -> Any:
        stored = self.objects.get(path)
        if stored is None:
            deleted = self.tombstones.get(path)
            return Response(status=404, request=request,
                            headers={} if deleted is None else {'X-Backend-Timestamp': deleted.internal})
        headers = {k: v.encode().decode('latin-1') for k, v in stored.headers.items()}
        response = Response(body=stored.data, request=request, conditional_response=True, headers={
            **headers, 'ETag': stored.etag, 'X-Backend-Timestamp': max(stored.meta_time, stored.data_time).internal,
            'X-Backend-Data-Timestamp': stored.data_time.internal})
        response.last_modified = float(stored.data_time)
        return response
