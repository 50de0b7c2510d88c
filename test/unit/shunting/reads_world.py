"""What stands to the right of the filter and what lies behind its remotes, both in memory, both keeping a record."""
from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from swift.common.swob import HTTPForbidden, HTTPNotFound, Request, Response, str_to_wsgi
from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync, ProviderResponse
from s3_sync.clock import FakeClock
from s3_sync.concurrency import Event, sleep
from s3_sync.config import Mapping as MappingSettings
from s3_sync.config.load import parse
from s3_sync.metrics import Registry
from s3_sync.providers.memory import MemoryStore, MemorySync, StoredObject
from s3_sync.shunting.call import Call, parse_path
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.local import LocalSwift
from s3_sync.shunting.markers import Markers
from s3_sync.shunting.opening import Opener
from s3_sync.shunting.reading import ObjectReader, Restores
from s3_sync.shunting.remotes import Remotes
from s3_sync.shunting.targets import Table
from s3_sync.shunting.versions import Versions
from s3_sync.types import ObjectMeta, ShuntRequest
from s3_sync.wire import tombstones

LOGGER = logging.getLogger('test.shunt')
ACCOUNT = 'AUTH_a'
OLD = Timestamp(1_600_000_000)
REMOTE = {'aws_endpoint': 'http://s3.example:9000', 'aws_identity': 'id', 'aws_secret': 'secret'}


class HeldClock(FakeClock):
    """``sleep`` lets others run until somebody advances the clock."""

    def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        while self.monotonic() < until:
            sleep(0.001)


class HastyClock(FakeClock):
    """``sleep`` takes no time, but others run."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        sleep(0)


# -- the cluster ------------------------------------------------------------------------------

@dataclass
class Stored:
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Cluster:
    """A proxy application with one replica. Whom it serves is asked as Swift's asks."""

    def __init__(self) -> None:
        self.containers: dict[str, str] = {}
        """Name to read ACL."""
        self.objects: dict[tuple[str, str], Stored] = {}
        self.deleted: dict[tuple[str, str], Timestamp] = {}
        self.links: dict[tuple[str, str], tuple[str, str]] = {}
        self.answers: dict[tuple[str, str], Callable[[Request], Response]] = {}
        """Object to what it answers whatever happens."""
        self.requests: list[tuple[str, str, str]] = []
        """Method, container, object."""

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(env)
        _, account, container, name = (request.split_path(1, 4, True) + [None] * 4)[:4]
        self.requests.append((request.method, container or '', name or ''))
        response = self._answer(request, account, container, name)
        if request.headers.get('Origin'):
            response.headers['Access-Control-Allow-Origin'] = '*'
            response.headers['Access-Control-Expose-Headers'] = 'etag'
        sent: Iterable[bytes] = response(env, start_response)
        return sent

    def _answer(self, request: Request, account: str, container: str | None, name: str | None) -> Response:
        if container is None or name is None:
            return self._container(request, container)
        if not container:
            return HTTPNotFound(request=request)
        request.acl = self.containers.get(container)
        denied = request.environ['swift.authorize'](request)
        if denied:
            return denied
        return self._object(request, account, (container, name))

    def _container(self, request: Request, container: str | None) -> Response:
        if container is not None and container not in self.containers:
            return HTTPNotFound(request=request)
        return Response(request=request, status=204, headers={'X-Container-Read': self.containers.get(container or '')
                                                              or ''})

    def _object(self, request: Request, account: str, place: tuple[str, str]) -> Response:
        if place in self.answers:
            return self.answers[place](request)
        if place in self.links:
            target = self.links[place]
            path = f'/v1/{account}/{target[0]}/{target[1]}'
            follow = request.copy_get() if request.method == 'GET' else Request(dict(request.environ))
            follow.environ['PATH_INFO'] = path
            response = self._answer(follow, account, *target)
            response.headers['Content-Location'] = path
            return response
        stored = self.objects.get(place)
        if stored is None:
            headers = {'X-Backend-Timestamp': self.deleted[place].internal} if place in self.deleted else {}
            return HTTPNotFound(request=request, headers=headers, conditional_response=True)
        headers = {'Etag': hashlib.md5(stored.data, usedforsecurity=False).hexdigest(), 'X-Timestamp': OLD.normal,
                   'Last-Modified': 'Sun, 13 Sep 2020 12:26:40 GMT', **stored.headers}
        return Response(request=request, headers=headers, body=stored.data, conditional_response=True)

    def mark(self, container: str, name: str, time: Timestamp) -> None:
        """Have a tombstone marker there."""
        hidden = str(str_to_wsgi(tombstones.tombstone_container(container)))
        self.containers[hidden] = ''
        self.objects[hidden, str(str_to_wsgi(tombstones.tombstone_name(name)))] = Stored(
            b'', {'X-Timestamp': time.normal, 'X-Backend-Timestamp': time.internal,
                  'Content-Type': tombstones.content_type(tombstones.Policies({'a': 'tombstone'}))})


# -- remotes ----------------------------------------------------------------------------------

class Remote(MemorySync):
    """Keeps what it was asked, fails when told, and gives its bodies in pieces."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), clock=FakeClock(0.0))  # it never notices what has expired
        self.asked: list[ShuntRequest] = []
        self.errors: list[Exception | None] = []
        """What the next requests fail with; None: it does not."""
        self.piece = 4
        self.breaks: list[tuple[int, Exception]] = []
        """After how many bytes the next bodies break, and how."""
        self.gate: Event | None = None
        """What bodies wait for before their second piece."""
        self.answer_gate: Event | None = None
        self.closed = 0
        self.open_bodies = 0

    def hold(self, name: str, data: bytes, **meta: Any) -> ObjectMeta:
        """Have an object."""
        found = ObjectMeta(name, len(data), **({
            'etag': hashlib.md5(data, usedforsecurity=False).hexdigest(), 'content_type': 'text/plain',
            'last_modified': float(OLD)} | meta))
        self.store.buckets['bucket'][name] = StoredObject(data, found)
        return found

    def shunt_object(self, request: ShuntRequest) -> ProviderResponse:
        self.asked.append(request)
        if self.answer_gate is not None:
            self.answer_gate.wait()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        answer = super().shunt_object(request)
        if request.method == 'GET' and answer.status in (200, 206):
            answer.body = RemoteStream(self, b''.join(answer.body))
        return answer

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.asked]

    @property
    def ranges(self) -> list[str]:
        return [request.headers.get('range', '') for request in self.asked]


class RemoteStream:
    """A body on a connection of its own."""

    def __init__(self, remote: Remote, data: bytes) -> None:
        self._remote = remote
        self._data = data
        self._sent = 0
        self._break = remote.breaks.pop(0) if remote.breaks else None
        self._open = True
        remote.open_bodies += 1

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        assert self._open, 'read after it was closed'
        if self._sent and self._remote.gate is not None:
            self._remote.gate.wait()
        stop = self._sent + self._remote.piece
        if self._break is not None:
            after, error = self._break
            if self._sent >= after:
                raise error
            stop = min(stop, after)
        chunk = self._data[self._sent:stop]
        if not chunk:
            raise StopIteration
        self._sent += len(chunk)
        return chunk

    def close(self) -> None:
        if self._open:
            self._open = False
            self._remote.open_bodies -= 1


class Providers:
    """By bucket."""

    def __init__(self) -> None:
        self.remotes: dict[str, Remote] = {}

    def get(self, mapping: MappingSettings) -> BaseSync:
        return self.remotes.setdefault(mapping.remote.bucket, Remote())

    def close(self) -> None: ...


# -- both -------------------------------------------------------------------------------------

@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Iterable[bytes]

    def read(self) -> bytes:
        """The rest; closes."""
        try:
            return b''.join(self.body)
        finally:
            self.close()

    def close(self) -> None:
        close = getattr(self.body, 'close', None)
        if close is not None:
            close()


class World:
    """``mappings``: keys of entries of ``containers`` beside what makes them merged; buckets are ``b1``, ``b2``, ..."""

    def __init__(self, *mappings: Mapping[str, Any], clock: FakeClock | None = None,
                 restores: Restores | None = None) -> None:
        self.clock = clock or HastyClock(float(OLD) + 1_000_000)
        self.cluster = Cluster()
        self.cluster.containers['c'] = ''
        self.providers = Providers()
        self.metrics = Registry()
        entries = [{**REMOTE, 'account': ACCOUNT, 'container': 'c', 'aws_bucket': f'b{number}',
                    'merge_namespaces': True, 'name': f'm{number}', **keys}
                   for number, keys in enumerate(mappings or ({},), 1)]
        settings = parse(json.dumps({'status_dir': '/tmp/s', 'cluster_id': 'here', 'containers': entries}).encode(),
                         'sync.json')
        self.table = Table(settings.containers, settings.migrations)
        self.remotes = Remotes(settings, clock=self.clock, metrics=self.metrics, logger=LOGGER,
                               providers=self.providers)
        self.local = LocalSwift(self.cluster)
        self.reader = ObjectReader(
            self.table, Versions(self.remotes, Markers(self.local), clock=self.clock), Opener(clock=self.clock),
            Decisions(self.metrics, LOGGER), restores=restores)

    @property
    def remote(self) -> Remote:
        return self.remote_of(1)

    def remote_of(self, number: int) -> Remote:
        return self.providers.remotes.setdefault(f'b{number}', Remote())

    def get(self, name: str = 'o', *, method: str = 'GET', container: str = 'c', query: str = '', user: str = 'owner',
            path: str = '', **headers: str) -> Answer:
        """``headers``: names with underscores."""
        path = path or f'/v1/{ACCOUNT}/{container}/{name}'
        env = Request.blank('/').environ
        env.update({'REQUEST_METHOD': method, 'PATH_INFO': str(str_to_wsgi(path)), 'QUERY_STRING': query,
                    'swift.authorize': Authorizer(user), 'swift.infocache': {}})
        env.update({'HTTP_' + key.upper(): value for key, value in headers.items()})
        return self.send(env)

    def send(self, env: dict[str, Any]) -> Answer:
        told: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            told[:] = [int(status.split()[0]), {key.lower(): value for key, value in headers}]
        place = parse_path(env['PATH_INFO'])
        assert place is not None
        call = Call(env, start_response, place, self.table.lookup(place.account, place.container), self.local)
        body = self.reader(call)
        return Answer(told[0], told[1], body)


class Authorizer:
    """The owner may everything, others what the ACL names."""

    def __init__(self, user: str) -> None:
        self.user = user

    def __call__(self, request: Request) -> Response | None:
        if self.user == 'owner' or self.user in (getattr(request, 'acl', None) or '').split(','):
            return None
        return HTTPForbidden(request=request)


def copied(meta: ObjectMeta, **changes: Any) -> ObjectMeta:
    return replace(meta, **changes)
