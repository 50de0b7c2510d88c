"""A cluster whose containers come and go, remotes in memory, and the handlers of containers between them."""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

from swift.common.swob import HTTPForbidden, HTTPNotFound, Request, Response, str_to_wsgi, wsgi_to_str
from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.config import Mapping as MappingSettings
from s3_sync.config.load import parse
from s3_sync.metrics import Registry
from s3_sync.providers.memory import MemoryStore, MemorySync, StoredObject
from s3_sync.shunting.call import Call, parse_path
from s3_sync.shunting.containers import ContainerVerbs
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.listings import Lister
from s3_sync.shunting.local import LocalSwift
from s3_sync.shunting.markers import Marker, Markers
from s3_sync.shunting.provision import Provision
from s3_sync.shunting.remotes import Remotes
from s3_sync.shunting.targets import Merged, Table
from s3_sync.types import BucketEntry, BucketPage, ListingPage, ObjectMeta, ShuntRequest
from s3_sync.wire.tombstones import Policies
from test.unit.shunting.reads_world import Authorizer, HastyClock

LOGGER = logging.getLogger('test.shunt')
ACCOUNT = 'AUTH_a'
NOW = 1_700_000_000.0
SEEN = ('x-container-', 'x-storage-policy')


class Cluster:
    """A proxy application with one replica. ``allowed`` says whom the client's callback lets through."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, str]] = {}
        """Headers by Unicode name."""
        self.objects: dict[tuple[str, str], dict[str, str]] = {}
        """Headers by Unicode container and name; those of markers."""
        self.asked: list[tuple[str, str]] = []
        """Method and Unicode ``container/name``."""
        self.fault: Callable[[str, str], int | None] = lambda method, path: None
        """A status instead of an answer."""
        self.account = True
        self.asks = True
        """Whether it asks the client's callback at all."""
        self.pause: Callable[[], object] = lambda: None

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(env)
        container, name = ([wsgi_to_str(part) for part in env['PATH_INFO'].split('/', 4)[3:]] + ['', ''])[:2]
        self.asked.append((request.method, '/'.join(filter(None, (container, name)))))
        self.pause()
        response = self._answer(request, container, name)
        answer: Iterable[bytes] = response(env, start_response)
        return answer

    def count(self, method: str, path: str) -> int:
        return self.asked.count((method, path))

    def _answer(self, request: Request, container: str, name: str) -> Response:
        status = self.fault(request.method, '/'.join(filter(None, (container, name))))
        if status is not None:
            return Response(request=request, status=status)
        if container and request.method in ('GET', 'HEAD'):
            request.acl = self.containers.get(container, {}).get('x-container-read')
        if self.asks and request.environ['swift.authorize'](request):
            return HTTPForbidden(request=request)
        if not container:
            return self._listing(request, [{'name': each} for each in self.containers if '\0' not in each])
        return self._object(request, container, name) if name else self._container(request, container)

    def _container(self, request: Request, container: str) -> Response:
        there = container in self.containers
        if request.method == 'PUT':
            if not self.account:
                return HTTPNotFound(request=request)
            self.containers.setdefault(container, {}).update(_told(request))
            return Response(request=request, status=202 if there else 201)
        if not there:
            return HTTPNotFound(request=request)
        if request.method == 'POST':
            self.containers[container].update(_told(request))
            return Response(request=request, status=204)
        if request.method == 'DELETE':
            del self.containers[container]
            return Response(request=request, status=204)
        found = [{'name': name, 'last_modified': Timestamp(headers['x-timestamp']).isoformat, 'bytes': 0, 'hash': '',
                  'content_type': headers.get('content-type', '')}
                 for (of, name), headers in self.objects.items() if of == container]
        return self._listing(request, found, self.containers[container])

    def _listing(self, request: Request, entries: list[dict[str, Any]],
                 headers: Mapping[str, str] | None = None) -> Response:
        query = {key: values[-1] for key, values in parse_qs(request.query_string).items()}
        if request.method == 'HEAD':
            return Response(request=request, status=204, headers=headers)
        shown = sorted((e for e in entries if e['name'].startswith(query.get('prefix', ''))
                        and e['name'] > query.get('marker', '')), key=lambda entry: str(entry['name']))
        return Response(request=request, headers={**(headers or {}), 'Content-Type': 'application/json; charset=utf-8'},
                        body=json.dumps(shown[:int(query.get('limit', 10000))]))

    def _object(self, request: Request, container: str, name: str) -> Response:
        place = (container, name)
        if container not in self.containers or (request.method == 'HEAD' and place not in self.objects):
            return HTTPNotFound(request=request)
        if request.method == 'HEAD':
            return Response(request=request, headers=self.objects[place])
        time = Timestamp(request.headers['X-Timestamp'])
        if place in self.objects and Timestamp(self.objects[place]['x-timestamp']) >= time:
            return Response(request=request, status=409 if request.method == 'DELETE' else 202)
        if request.method == 'DELETE':
            return Response(request=request, status=204 if self.objects.pop(place, None) else 404)
        self.objects[place] = {'x-timestamp': time.normal, 'x-backend-timestamp': time.internal,
                               'content-type': request.headers['Content-Type']}
        return Response(request=request, status=201)


def _told(request: Request) -> dict[str, str]:
    return {key.lower(): wsgi_to_str(value) for key, value in request.headers.items() if key.lower().startswith(SEEN)}


class Remote(MemorySync):
    """Keeps what it was asked, and fails when told."""

    def __init__(self, store: MemoryStore, bucket: str, parent: Providers) -> None:
        super().__init__(store, bucket=bucket, create=False)
        self._parent = parent

    def _begin(self, what: str) -> None:
        self._parent.asked.append(what)
        self._parent.pause()
        if self._parent.error is not None:
            raise self._parent.error

    def head_bucket(self, *, bucket: str | None = None) -> Mapping[str, str]:
        self._begin(f'HEAD {bucket or self.bucket}')
        return super().head_bucket(bucket=bucket)

    def list_buckets(self, *, marker: str = '', limit: int | None = None, prefix: str = '') -> BucketPage:
        self._begin('LIST')
        page = super().list_buckets(marker=marker, limit=limit, prefix=prefix)
        return BucketPage(tuple(BucketEntry(e.name, last_modified=self._parent.made.get(e.name, 0.0))
                                for e in page.entries if e.name not in self._parent.strangers), page.next_marker)

    def list_objects(self, **options: Any) -> ListingPage:
        self._begin(f'GET {self.bucket}')
        return super().list_objects(**options)

    def shunt_delete(self, request: ShuntRequest) -> ProviderResponse:
        self._begin(f'DELETE {self.bucket}')
        return ProviderResponse(self._parent.delete_status, {})


class Providers:
    """Of one endpoint."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.made: dict[str, float] = {}
        """When buckets were made."""
        self.strangers: set[str] = set()
        """Buckets that exist, but are not ours."""
        self.delete_status = 204
        self.pause: Callable[[], object] = lambda: None

    def bucket(self, name: str, *objects: str, **headers: str) -> None:
        """``headers``: names with underscores."""
        self.store.buckets[name] = {key: StoredObject(b'data', ObjectMeta(key, 4, last_modified=NOW - 1000))
                                    for key in objects}
        self.store.settings[name] = {key.replace('_', '-'): value for key, value in headers.items()}


class Endpoints:
    """What ``Remotes`` takes providers from, by the host of the endpoint."""

    def __init__(self) -> None:
        self.of: dict[str, Providers] = {}

    def at(self, host: str) -> Providers:
        return self.of.setdefault(host, Providers())

    def get(self, mapping: MappingSettings) -> BaseSync:
        providers = self.at(str(mapping.remote.endpoint).removeprefix('http://'))
        return Remote(providers.store, mapping.remote.bucket, providers)

    def close(self) -> None: ...


def migration(bucket: str = 'bucket', container: str = '', host: str = 'one', **keys: Any) -> dict[str, Any]:
    entry = {'aws_endpoint': f'http://{host}', 'aws_identity': 'id', 'aws_secret': 'secret', 'account': ACCOUNT,
             'aws_bucket': bucket, **keys}
    return {**entry, 'container': container} if container else entry


def sync(bucket: str, container: str, **keys: Any) -> dict[str, Any]:
    return {**migration(bucket, container), 'merge_namespaces': True, 'custom_prefix': '', **keys}


class Cache:
    """As memcached; shared by those who are given it."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.counted: dict[str, int] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        return self.items.get(key)

    def set(self, key: str, value: Any, **options: Any) -> None:
        self.items[key] = value

    def delete(self, key: str, **options: Any) -> None:
        self.items.pop(key, None)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        self.counted[key] = self.counted.get(key, 0) + delta
        return self.counted[key]


class Answer:
    def __init__(self, told: list[Any], body: Iterable[bytes]) -> None:
        self.status = int(told[0].split()[0])
        self.headers = {key.lower(): value for key, value in told[1]}
        self.body = b''.join(body)

    def names(self) -> list[str]:
        return [entry['name'] for entry in json.loads(self.body)]


class World:
    """``entries`` with ``merge_namespaces`` are sync mappings, others migrations."""

    def __init__(self, *entries: Mapping[str, Any]) -> None:
        self.clock = HastyClock(NOW)
        self.cluster = Cluster()
        self.endpoints = Endpoints()
        self.remote = self.endpoints.at('one')
        self.metrics = Registry()
        self.cache: Any = None
        config = {'status_dir': '/nonexistent', 'cluster_id': 'here',
                  'containers': [entry for entry in entries if 'merge_namespaces' in entry],
                  'migrations': [entry for entry in entries if 'merge_namespaces' not in entry]}
        self.settings = parse(json.dumps(config).encode(), 'sync.json')
        self.table = Table(self.settings.containers, self.settings.migrations)
        self.remotes = Remotes(self.settings, clock=self.clock, metrics=self.metrics, logger=LOGGER,
                               providers=self.endpoints)
        self.local = LocalSwift(self.cluster)
        self.markers = Markers(self.local)
        decisions = Decisions(self.metrics, LOGGER)
        self.lister = Lister(self.table, self.remotes, self.markers, decisions)
        verbs = ContainerVerbs(self.remotes, self.markers, self.lister, decisions, clock=self.clock)
        self._handlers = {'HEAD': verbs.head, 'PUT': verbs.put, 'POST': verbs.post, 'DELETE': verbs.delete,
                          'GET': self.lister.container}

    def env(self, method: str, container: str = '', user: str = 'owner', query: str = '',
            **headers: str) -> dict[str, Any]:
        env: dict[str, Any] = Request.blank('/').environ
        path = f'/v1/{ACCOUNT}/{container}' if container else f'/v1/{ACCOUNT}'
        env.update({'REQUEST_METHOD': method, 'PATH_INFO': str(str_to_wsgi(path)), 'QUERY_STRING': query,
                    'swift.authorize': Authorizer(user), 'swift.infocache': {}, 'swift.cache': self.cache})
        env.update({'HTTP_' + key.upper(): str(str_to_wsgi(value)) for key, value in headers.items()})
        return env

    def call(self, env: dict[str, Any], told: list[Any]) -> Call:
        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            told[:] = [status, headers]
        place = parse_path(env['PATH_INFO'])
        assert place is not None
        return Call(env, start_response, place, self.table.lookup(place.account, place.container), self.local)

    def ask(self, method: str, container: str = '', **options: Any) -> Answer:
        return self.send(self.env(method, container, **options))

    def send(self, env: dict[str, Any]) -> Answer:
        self.clock.advance(1)
        told: list[Any] = []
        call = self.call(env, told)
        handler = self._handlers[call.method] if call.place.container else self.lister.account
        return Answer(told, handler(call))

    def merged(self, container: str) -> Merged:
        found = self.table.lookup(ACCOUNT, container)
        assert found is not None
        return found

    def delete_here(self, container: str, at: float = NOW) -> None:
        """Have a marker of the container."""
        self.markers.put(self.env('GET'), ACCOUNT, '', container, Policies({}), Timestamp(at))
        self.cluster.asked.clear()

    def deletion(self, container: str) -> Marker | None:
        return self.markers.find(self.env('GET'), ACCOUNT, '', container)

    def provision(self, in_use: Callable[[], bool] = lambda: True) -> Provision:
        return Provision(self.local, lambda setup: in_use(), clock=self.clock, logger=LOGGER)

    @property
    def setup(self) -> Any:
        return SimpleNamespace(settings=self.settings, table=self.table, remotes=self.remotes)
