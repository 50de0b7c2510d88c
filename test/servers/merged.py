"""A cluster with a plain proxy and one with the shunt; containers merged with remotes behind fault proxies.

The remote is SeaweedFS, or the same cluster's plain proxy under another account.
"""
from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import pytest
import requests
from botocore.exceptions import ClientError
from swift.common.utils import Timestamp
from swiftclient import ClientException, Connection

from s3_sync.config import load
from s3_sync.shunting.targets import Table
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.tombstones import tombstone_container, tombstone_name
from test.servers.fault_proxy import FaultProxy, Request
from test.servers.insider import Insider, inside
from test.servers.sync_daemon import SyncDaemon, s3_mapping, swift_mapping
from test.servers.tombstones import Tombstones

Kind = Literal['s3', 'swift']
SHUNT = 1
"""Number of the proxy that has it; others that have it follow."""
ACCOUNT = 'AUTH_test'


class S3Side:
    """A bucket, asked directly."""

    def __init__(self, endpoint: S3Endpoint, bucket: str) -> None:
        self.bucket = endpoint.make_bucket(bucket)
        self._client: Any = endpoint.client()

    def put(self, name: str, data: bytes, content_type: str = 'text/plain', **metadata: str) -> None:
        self._client.put_object(Bucket=self.bucket, Key=name, Body=data, Metadata=metadata, ContentType=content_type)

    def put_in_parts(self, name: str, *parts: bytes) -> None:
        where = {'Bucket': self.bucket, 'Key': name}
        upload = self._client.create_multipart_upload(**where)['UploadId']
        done = [{'PartNumber': number, 'ETag': self._client.upload_part(
            **where, UploadId=upload, PartNumber=number, Body=part)['ETag']} for number, part in enumerate(parts, 1)]
        self._client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={'Parts': done})

    def head(self, name: str) -> dict[str, str] | None:
        """User metadata (lower-case, without prefix) and ``content-type``; None when there is none."""
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=name)
        except ClientError:
            return None
        return {**found['Metadata'], 'content-type': found['ContentType']}

    def read(self, name: str) -> bytes:
        return bytes(self._client.get_object(Bucket=self.bucket, Key=name)['Body'].read())

    def close(self) -> None:
        self._client.close()


class SwiftSide:
    """A container of another account, asked through the plain proxy."""

    def __init__(self, cluster: SwiftCluster, container: str) -> None:
        self.bucket = container
        self._client: Connection = cluster.client(user='test2:tester2', key='testing2')
        self._client.put_container(container)

    def put(self, name: str, data: bytes, content_type: str = 'text/plain', **metadata: str) -> None:
        self._client.put_object(self.bucket, name, data, content_type=content_type,
                                headers={f'X-Object-Meta-{key}': value for key, value in metadata.items()})

    def head(self, name: str) -> dict[str, str] | None:
        try:
            found = self._client.head_object(self.bucket, name)
        except ClientException:
            return None
        return {key.removeprefix('x-object-meta-'): value for key, value in found.items()}

    def read(self, name: str) -> bytes:
        return bytes(self._client.get_object(self.bucket, name)[1])

    @property
    def client(self) -> Connection:
        return self._client

    def close(self) -> None:
        self._client.close()


class MergedContainer:
    """One container of the test account and its remote. Requests go through the shunt's proxy as the owner."""

    def __init__(self, world: MergedWorld, container: str, remote: S3Side | SwiftSide, faults: FaultProxy) -> None:
        self.world, self.name, self.remote, self.faults = world, container, remote, faults

    # -- through the shunt -------------------------------------------------------------------

    def ask(self, method: str, name: str, *, user: str | None = 'owner', data: bytes | None = None, query: str = '',
            headers: Mapping[str, str] | None = None, proxy: int = SHUNT) -> requests.Response:
        """``user``: owner, tester3, stranger, or None for nobody."""
        token = {'X-Auth-Token': self.world.token(user)} if user else {}
        return self.world.session.request(method, self.url(name, proxy) + query, data=data,
                                          headers={**token, **(headers or {})}, timeout=60)

    def url(self, name: str = '', proxy: int = SHUNT) -> str:
        path = '/'.join(filter(None, (ACCOUNT, quote(self.name), quote(name))))
        return f'{self.world.cluster.proxy_url(proxy)}/v1/{path}'

    @property
    def remote_url(self) -> str:
        """Behind the fault proxy."""
        return self.world.s3.url if isinstance(self.remote, S3Side) else self.world.cluster.proxy_url(0)

    def status(self, method: str, name: str, **options: Any) -> int:
        return self.ask(method, name, **options).status_code

    def body(self, name: str) -> bytes | int:
        """What the merged namespace shows, or the status where it is none."""
        answer = self.ask('GET', name)
        return answer.content if answer.status_code == 200 else answer.status_code

    def open_raw(self, name: str) -> socket.socket:
        """A GET by a client that reads as little as it likes."""
        url = urlsplit(self.url(name))
        client = socket.create_connection((url.hostname, url.port), timeout=30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        token = self.world.token('owner')
        client.sendall(f'GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nX-Auth-Token: {token}\r\n\r\n'.encode())
        return client

    # -- past it -----------------------------------------------------------------------------

    def put_here(self, name: str, data: bytes, **headers: str) -> None:
        self.world.plain.put_object(self.name, name, data, headers=headers)

    def is_here(self, name: str) -> bool:
        try:
            self.world.plain.head_object(self.name, name)
        except ClientException as error:
            assert error.http_status == 404
            return False
        return True

    def deleted_here(self, name: str) -> Timestamp | None:
        """Time of the cluster's own tombstone."""
        answer = self.world.marks.proxy.request('HEAD', (ACCOUNT, self.name, name), {})
        answer.read()
        told = answer.headers.get('x-backend-timestamp')
        return Timestamp(told) if told and answer.status == 404 else None

    @property
    def markers(self) -> dict[str, Timestamp]:
        return {name: marker.time for name, marker in self.world.marks.of(self.name).items()}

    def policy(self, name: str) -> set[str]:
        """Policies that the marker of a name states."""
        return set(self.world.marks.of(self.name)[name].policies.of.values())

    def drop_marker(self, name: str, at: float) -> None:
        self.world.marks.store.drop(ACCOUNT, tombstone_container(self.name), tombstone_name(name), Timestamp(at))

    def entry(self, **keys: object) -> dict[str, object]:
        """Its mapping in the configuration, these keys changed."""
        config = json.loads(self.world.cluster.shunt_config.read_text())
        return {**next(entry for entry in config['containers'] if entry['container'] == self.name), **keys}

    @property
    def generation(self) -> str:
        settings = load(str(self.world.cluster.shunt_config))
        merged = Table(settings.containers, settings.migrations).lookup(ACCOUNT, self.name)
        assert merged is not None
        return merged.targets[0].mapping.generation

    # -- what went over the wire ---------------------------------------------------------------

    def asked(self, name: str = '') -> list[Request]:
        """Requests about an object (any) of this container that reached the remote, logins aside."""
        path = f'/{self.remote.bucket}/{quote(name)}'
        return [request for request in self.faults.requests if path in request.path]


class MergedWorld:
    """Made by ``merged_world``; containers are added before ``start`` as the configuration is read."""

    def __init__(self, cluster: SwiftCluster, s3: S3Endpoint, stack: ExitStack, shunts: Sequence[int]) -> None:
        self.cluster, self.s3, self._stack, self._shunts = cluster, s3, stack, shunts
        self.session = stack.enter_context(requests.Session())
        self.session.trust_env = False
        self._tokens: dict[str, str] = {}
        self._config: dict[str, Any] = {'containers': [], 'migrations': []}
        self.containers: list[MergedContainer] = []
        self.plain: Connection = cluster.client()
        stack.callback(self.plain.close)
        self.insider: Insider = stack.enter_context(inside(cluster))
        self.marks = Tombstones(ACCOUNT, self.insider.proxy)

    def __getitem__(self, container: str) -> MergedContainer:
        return next(each for each in self.containers if each.name == container)

    def add(self, container: str, kind: Kind, *, migration: bool = False, faults: FaultProxy | None = None,
            create: bool = True, bucket: str = '', **keys: object) -> MergedContainer:
        """Merge a container with a new bucket. ``faults``: of another container, whose breaker it then shares."""
        bucket = bucket or f'{container}-{token_hex(4)}'.replace('+', '-')  # the endpoint serves many worlds
        remote: S3Side | SwiftSide = S3Side(self.s3, bucket) if kind == 's3' else SwiftSide(self.cluster, bucket)
        self._stack.callback(remote.close)
        faults = faults or self.fault_proxy(kind)
        if create:
            self.plain.put_container(container)
        if kind == 's3':
            entry = {**s3_mapping(self.s3, container, bucket), 'aws_endpoint': faults.url}
        else:
            entry = {**swift_mapping(self.cluster, container, bucket), 'aws_endpoint': f'{faults.url}/auth/v1.0'}
        if migration:
            self._config['migrations'].append({**entry, **keys})
        else:
            extra = {'custom_prefix': ''} if kind == 's3' else {}
            self._config['containers'].append({**entry, **extra, 'merge_namespaces': True, **keys})
        made = MergedContainer(self, container, remote, faults)
        self.containers.append(made)
        return made

    def fault_proxy(self, kind: Kind) -> FaultProxy:
        return self._stack.enter_context(FaultProxy(self.s3.url if kind == 's3' else self.cluster.proxy_url(0)))

    def configure(self, **keys: object) -> None:
        """Have the shunts read what was added, and these top-level keys."""
        self.cluster.write_shunt_config({**self._config, **keys})
        for proxy in self._shunts:
            self.cluster.restart_proxy(proxy)

    def token(self, user: str) -> str:
        if user not in self._tokens:
            name, key = {'owner': ('test:tester', 'testing'), 'tester3': ('test:tester3', 'testing3'),
                         'stranger': ('test2:tester2', 'testing2')}[user]
            self._tokens[user] = self.session.get(
                f'{self.cluster.proxy_url(SHUNT)}/auth/v1.0', timeout=60,
                headers={'X-Auth-User': name, 'X-Auth-Key': key}).headers['X-Auth-Token']
        return self._tokens[user]

    def log(self) -> list[str]:
        """Lines of the proxies that have the shunt."""
        return [line for proxy in self._shunts
                for line in (self.cluster.logs / f'proxy-server-{proxy}.log').read_text().splitlines()]

    def calm(self) -> None:
        """No faults, and nothing remembered of what went before."""
        for container in self.containers:
            container.faults.clear()


@contextmanager
def merged_world(s3: S3Endpoint, *, shunts: int = 1, **options: Any) -> Iterator[MergedWorld]:
    with ExitStack() as stack:
        having = range(SHUNT, SHUNT + shunts)
        cluster = stack.enter_context(SwiftCluster(proxies=1 + shunts, shunt=Path('shunt.json'), shunt_proxies=having,
                                                   **options))
        yield MergedWorld(cluster, s3, stack, having)


def each(*containers: str) -> pytest.MarkDecorator:
    """Run a test for each of these containers of its ``world``; fixture ``at`` is the container."""
    return pytest.mark.parametrize('at', containers, indirect=True)


def archive(*containers: MergedContainer, passes: int = 1, **keys: object) -> None:
    """Passes of a daemon over these containers, ``keys`` of their mappings changed."""
    with SyncDaemon(containers[0].world.cluster, [container.entry(**keys) for container in containers]) as daemon:
        for _ in range(passes):
            daemon.once()


def listed(answer: requests.Response) -> Any:
    return json.loads(answer.content)


def an_hour_ago() -> str:
    """``1space-timestamp`` of a copy."""
    return Timestamp(time.time() - 3600).internal
