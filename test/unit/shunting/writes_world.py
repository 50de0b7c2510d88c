"""The world of the reads, in which clients also write: a cluster with Swift's times, remotes that take writes."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from swift.common.swob import (
    HTTPAccepted,
    HTTPBadRequest,
    HTTPConflict,
    HTTPCreated,
    HTTPNoContent,
    HTTPNotFound,
    HTTPPreconditionFailed,
    Request,
    Response,
    str_to_wsgi,
    wsgi_to_str,
)
from swift.common.utils import Timestamp

from s3_sync.base_sync import ProviderResponse
from s3_sync.shunting.call import Call, parse_path
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.deleting import ObjectDeleter
from s3_sync.shunting.local import LocalSwift
from s3_sync.shunting.markers import Marker, Markers
from s3_sync.shunting.opening import Opener
from s3_sync.shunting.reading import ObjectReader
from s3_sync.shunting.versions import Versions
from s3_sync.shunting.writing import ObjectWriter
from s3_sync.timestamps import ZERO
from s3_sync.types import ObjectMeta, ShuntRequest
from s3_sync.wire import tombstones
from test.unit.shunting.reads_world import ACCOUNT, LOGGER, Answer, Authorizer, Cluster, Remote, Stored, World

Place = tuple[str, str]


class WritableCluster(Cluster):
    """One replica that decides by times as the object server does."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self.write_acls: dict[str, str] = {}
        self.times: dict[Place, Timestamp] = {}
        self.fault: Callable[[str, str, str], object] = lambda method, container, name: None
        """Told of every request before it is done; an int is the answer, an exception is raised."""

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        place = str(env['PATH_INFO']).split('/', 4)[3:]
        container, name = (*place, '', '')[:2]
        told = self.fault(env['REQUEST_METHOD'], wsgi_to_str(container), wsgi_to_str(name))
        if isinstance(told, BaseException):
            raise told
        if isinstance(told, int):
            return Response(status=told)(env, start_response)
        return super().__call__(env, start_response)

    def _container(self, request: Request, container: str | None) -> Response:
        if request.method == 'PUT' and container is not None:
            self.containers.setdefault(container, '')
            return HTTPCreated(request=request)
        answer = super()._container(request, container)
        if answer.status_int == 204:
            answer.headers['X-Container-Write'] = self.write_acls.get(container or '', '')
        return answer

    def _answer(self, request: Request, account: str, container: str | None, name: str | None) -> Response:
        if not name or request.method in ('GET', 'HEAD'):
            return super()._answer(request, account, container, name)
        request.acl = self.write_acls.get(container or '')
        denied = request.environ['swift.authorize'](request)
        if denied:
            return denied
        if container not in self.containers:
            return HTTPNotFound(request=request)
        try:
            time = Timestamp(request.headers.get('X-Timestamp') or self._now())
        except ValueError:
            return HTTPBadRequest(request=request)
        return {'PUT': self._put, 'POST': self._post, 'DELETE': self._delete}[request.method](
            request, (container or '', name), time)

    def newest(self, place: Place) -> Timestamp:
        return max(self.times.get(place, ZERO), self.deleted.get(place, ZERO))

    def _put(self, request: Request, place: Place, time: Timestamp) -> Response:
        if place in self.objects and request.if_none_match is not None and '*' in request.if_none_match:
            return HTTPPreconditionFailed(request=request)
        if self.newest(place) >= time:
            return HTTPAccepted(request=request)
        data = request.environ['wsgi.input'].read()
        self.objects[place] = Stored(data, {'X-Timestamp': time.normal, 'X-Backend-Timestamp': time.internal,
                                            'Content-Type': request.headers.get('Content-Type') or 'text/plain'})
        self.times[place] = time
        self.deleted.pop(place, None)
        return HTTPCreated(request=request, etag=hashlib.md5(data, usedforsecurity=False).hexdigest())

    def _post(self, request: Request, place: Place, time: Timestamp) -> Response:
        return (HTTPAccepted if place in self.objects else HTTPNotFound)(request=request)

    def _delete(self, request: Request, place: Place, time: Timestamp) -> Response:
        there = place in self.objects
        if self.newest(place) >= time:
            return (HTTPConflict if there else HTTPNotFound)(request=request)
        self.objects.pop(place, None)
        self.times.pop(place, None)
        self.deleted[place] = time
        return (HTTPNoContent if there else HTTPNotFound)(
            request=request, headers={'X-Backend-Timestamp': time.internal})

    def reclaim(self) -> None:
        """A week passes: no tombstone is left."""
        self.deleted.clear()


class WritableRemote(Remote):
    """Fails writes when told, and can be changed by somebody else just before one."""

    def __init__(self) -> None:
        super().__init__()
        self.write_errors: list[Exception | None] = []
        """What the next writes fail with; None: it does not."""
        self.before_write: Callable[[], object] = lambda: None
        self.written: list[ShuntRequest] = []

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        self._begin(request)
        return super().shunt_delete(request)

    def shunt_post(self, request: ShuntRequest) -> ProviderResponse:
        self._begin(request)
        return super().shunt_post(request)

    def _begin(self, request: ShuntRequest) -> None:
        self.written.append(request)
        self.before_write()
        error = self.write_errors.pop(0) if self.write_errors else None
        if error is not None:
            raise error


class WriteWorld(World):
    """``mappings`` as for the reads."""

    def __init__(self, *mappings: Mapping[str, Any]) -> None:
        super().__init__(*mappings)
        for number in range(1, max(len(mappings), 1) + 1):
            self.providers.remotes[f'b{number}'] = WritableRemote()
        self.cluster: WritableCluster = WritableCluster(self.clock.now)
        self.cluster.containers['c'] = ''
        self.local = LocalSwift(self.cluster)
        self.markers = Markers(self.local)
        versions = Versions(self.remotes, self.markers, clock=self.clock)
        decisions = Decisions(self.metrics, LOGGER)
        self.reader = ObjectReader(self.table, versions, Opener(clock=self.clock), decisions)
        writer = ObjectWriter(self.remotes, versions, decisions)
        deleter = ObjectDeleter(self.remotes, versions, self.markers, decisions, clock=self.clock)
        self.handlers: dict[str, Callable[[Call], Any]] = {
            'GET': self.reader, 'HEAD': self.reader, 'PUT': writer.put, 'POST': writer.post, 'DELETE': deleter}

    def ask(self, method: str, name: str = 'o', *, user: str = 'owner', data: bytes = b'', query: str = '',
            **headers: str) -> Answer:
        """A client's request a second after the last one. ``headers``: names with underscores."""
        self.clock.advance(1)
        env = Request.blank('/', body=data if method == 'PUT' else None).environ
        env.update({'REQUEST_METHOD': method, 'PATH_INFO': str(str_to_wsgi(f'/v1/{ACCOUNT}/c/{name}')),
                    'QUERY_STRING': query, 'swift.authorize': Authorizer(user), 'swift.infocache': {}})
        env.update({'HTTP_' + key.upper(): value for key, value in headers.items()})
        place = parse_path(env['PATH_INFO'])
        assert place is not None
        told: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            told[:] = [int(status.split()[0]), {key.lower(): value for key, value in headers}]
        call = Call(env, start_response, place, self.table.lookup(place.account, place.container), self.local)
        body = self.handlers[method](call)
        return Answer(told[0], told[1], body)

    def status(self, method: str, name: str = 'o', **options: Any) -> int:
        answer = self.ask(method, name, **options)
        answer.close()
        return answer.status

    def shown(self, name: str = 'o') -> bytes | int:
        """What a reader gets, or the status where that is nothing."""
        answer = self.ask('GET', name)
        body = answer.read()
        return body if answer.status == 200 else answer.status

    def marker(self, name: str = 'o') -> Marker | None:
        return self.markers.find({**Request.blank('/').environ, 'swift.infocache': {}}, ACCOUNT, 'c', name)

    def generation(self, number: int = 1) -> str:
        merged = self.table.lookup(ACCOUNT, 'c')
        assert merged is not None
        return merged.targets[number - 1].mapping.generation

    def put_here(self, data: bytes, name: str = 'o', *, at: float | None = None) -> Timestamp:
        """A user's write past the shunt."""
        self.clock.advance(1)
        time = Timestamp(self.clock.now() if at is None else at)
        self.cluster.objects['c', name] = Stored(data)
        self.cluster.times['c', name] = time
        return time

    def there(self, number: int = 1, name: str = 'o') -> bytes | None:
        """What a remote holds."""
        stored = self.remote_of(number).store.buckets['bucket'].get(name)
        return None if stored is None else stored.data

    def remote_of(self, number: int) -> WritableRemote:
        remote = super().remote_of(number)
        assert isinstance(remote, WritableRemote)
        return remote

    def hold(self, data: bytes, number: int = 1, name: str = 'o', **meta: Any) -> ObjectMeta:
        return self.remote_of(number).hold(name, data, **meta)

    def hidden(self) -> str:
        return tombstones.tombstone_container('c')
