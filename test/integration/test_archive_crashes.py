"""kill -9 between any two requests of an archive: nothing is lost, and the next run brings all of it to its end.

One daemon works on many objects at once, each of which comes to a stop at
another of its requests; then it is killed. So one crash is as many as there
are requests, both before the request arrived and after it did.
"""
from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, Protocol

import pytest
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from s3_sync.clock import FakeClock
from s3_sync.config import load
from s3_sync.ledger import Ledger
from s3_sync.provider_factory import create_provider
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import FaultProxy, LoseAnswer, Rule, Stall
from test.servers.large_objects import MIB, cheap_bytes, names, put_slo, stored_manifest
from test.servers.scene import Scene, runs, waiting, worker_pids
from test.servers.sync_daemon import SyncDaemon, eventually, swift_mapping

FOREVER = GRACE = 3600.0
ARCHIVE: dict[str, Any] = {'retain_local': False, 'segments_grace': GRACE}
BUSY: dict[str, Any] = {'workers': 100, 'processes': 1}
"""All objects are under way at once, stalled ones too."""


class Remote(Protocol):
    """Where one archive goes, and the proxy in front of it."""

    proxy: FaultProxy
    daemon: SyncDaemon

    def grace(self, seconds: float) -> None:
        """How long the daemon leaves segments alone, from its next start on."""

    def get(self, name: str) -> bytes:
        """KeyError when it is not there."""

    def names(self) -> set[str]: ...

    def check_all(self, manifests: dict[str, bytes]) -> None:
        """Nothing lies beside these objects but what belongs to them."""


class S3Remote:
    def __init__(self, scene: Scene) -> None:
        self.scene, self.proxy = scene, scene.proxy
        self.daemon = scene.daemon(**ARCHIVE, settings=BUSY)

    def grace(self, seconds: float) -> None:
        self.daemon.configure([self.scene.mapping(**{**ARCHIVE, 'segments_grace': seconds})])

    def get(self, name: str) -> bytes:
        if name not in self.names():
            raise KeyError(name)
        return self.scene.remote_get(name)

    def names(self) -> set[str]:
        return self.scene.remote_names()

    def check_all(self, manifests: dict[str, bytes]) -> None:
        scheme, client, bucket = self.scene.scheme, self.scene.client, self.scene.bucket
        # Begun, but the answer with its id never came: these are for the daily sweep.
        provider = create_provider(load(self.daemon.config_file).containers[0])
        try:
            provider.sweep_uploads(0)
        finally:
            provider.close()
        assert not client.list_multipart_uploads(Bucket=bucket).get('Uploads')
        wanted = {scheme.manifest_key(name): manifest for name, manifest in manifests.items()}
        assert self.scene.remote_keys() == wanted.keys() | {scheme.key(name) for name in self.names()}
        for key, manifest in wanted.items():
            assert client.get_object(Bucket=bucket, Key=key)['Body'].read() == manifest


class SwiftRemote:
    def __init__(self, swift: SwiftCluster, far: Connection, container: str, target: str, proxy: FaultProxy,
                 daemon: Callable[..., SyncDaemon]) -> None:
        self.far, self.target, self.proxy = far, target, proxy
        far.put_container(target)
        self._mapping = {**swift_mapping(swift, container, target, **ARCHIVE),
                         'aws_endpoint': f'{proxy.url}/auth/v1.0'}
        self.daemon = daemon([self._mapping], **BUSY)

    def grace(self, seconds: float) -> None:
        self.daemon.configure([{**self._mapping, 'segments_grace': seconds}])

    def get(self, name: str) -> bytes:
        try:
            return bytes(self.far.get_object(self.target, name)[1])
        except ClientException as error:
            if error.http_status != 404:
                raise
            raise KeyError(name) from error

    def names(self) -> set[str]:
        return names(self.far, self.target)

    def check_all(self, manifests: dict[str, bytes]) -> None:
        containers = {entry['name'] for entry in self.far.get_account(prefix=self.target)[1]}
        assert containers == {self.target, f'{self.target}_segments'}
        assert names(self.far, f'{self.target}_segments') == {
            f'{name}/{number:03}' for name in manifests for number in range(2)}


class Archive:
    """The local container, the remote, and whatever is put into one to come to the other."""

    def __init__(self, local: Connection, container: str, remote: Remote, put: Callable[[str], bytes]) -> None:
        self.local, self.container, self.remote, self._put = local, container, remote, put
        self.segments = f'{container}_segments'
        self.content: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}

    def put(self, *new: str) -> None:
        for name in new:
            self.content[name] = self._put(name)
            if 'x-static-large-object' in self.local.head_object(self.container, name):
                self.manifests[name] = stored_manifest(self.local, self.container, name)

    def requests_of(self, name: str) -> str:
        """Regular expression for all requests about an object, its segments, and what lies beside it."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        return rf'(?:/|%2F){re.escape(name)}(?:[/?&]|$)|{digest}'

    def stall(self, name: str, number: int) -> Rule:
        """This request of the object does not go out, and none after it."""
        return self.remote.proxy.fail(Stall(FOREVER), path=self.requests_of(name), nth=number, times=None)

    def stall_after(self, name: str, number: int) -> Rule:
        """This request arrives, and nobody learns of it."""
        self.remote.proxy.fail(LoseAnswer(), path=self.requests_of(name), nth=number)
        return self.stall(name, number)  # a request counts for the first rule that fires

    def requests_for(self, name: str) -> int:
        """Run the daemon once; how many requests it took for this object."""
        self.remote.proxy.clear()
        self.remote.daemon.once()
        count = sum(bool(re.search(self.requests_of(name), r.path)) for r in self.remote.proxy.requests)
        self.remote.proxy.clear()
        return count

    def grace_is_over(self) -> None:
        """For all segments that wait; they are those of somebody whose clock was an hour ahead."""
        clock = FakeClock(time.time() - GRACE)
        with Ledger.open(str(self.remote.daemon.status_dir), owner=False, clock=clock) as ledger:
            ledger.mend_removal_times()
        self.remote.grace(0)

    def kill(self) -> None:
        daemon = self.remote.daemon
        workers = worker_pids(daemon)
        assert workers
        daemon.kill9()
        eventually(lambda: not any(map(runs, workers)), 'the workers gone with their main process')
        self.remote.proxy.clear()

    def left(self) -> set[str]:
        return names(self.local, self.container)

    def nothing_lost(self) -> None:
        left, there = self.left(), self.remote.names()
        for name, data in self.content.items():
            assert name in left | there, f'{name} is nowhere'
            if name in left:
                assert self.local.get_object(self.container, name)[1] == data, f'{name} is broken here'
            else:
                assert self.remote.get(name) == data, f'{name} is gone and its copy not whole'

    def to_the_end(self) -> None:
        """The next runs, and what they must have come to."""
        daemon = self.remote.daemon
        daemon.once(expect=None)
        with daemon.ledger() as ledger:
            ledger.retry()
        if self.manifests:
            self.grace_is_over()
        said = daemon.once()
        assert self.left() == set(), said
        assert {name: self.remote.get(name) for name in self.remote.names()} == self.content
        assert waiting(daemon) == {}
        with daemon.ledger() as ledger:
            assert ledger.removal_totals() == {}
        if self.manifests:
            assert names(self.local, self.segments) == set()
        self.remote.check_all(self.manifests)


@pytest.fixture
def daemon(swift: SwiftCluster) -> Iterator[Callable[..., SyncDaemon]]:
    made: list[SyncDaemon] = []

    def make(*arguments: object, **settings: object) -> SyncDaemon:
        made.append(SyncDaemon(swift, *arguments, **settings))  # type: ignore[arg-type]
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def s3_remote(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> Iterator[S3Remote]:
    with Scene(swift, s3, container, bucket) as scene:
        yield S3Remote(scene)


@pytest.fixture
def swift_remote(swift: SwiftCluster, container: str, fault_proxy: Callable[[str], FaultProxy],
                 daemon: Callable[..., SyncDaemon], fresh_name: Callable[[str], str]) -> Iterator[SwiftRemote]:
    with closing(swift.client(user='test2:tester2', key='testing2')) as far:
        yield SwiftRemote(swift, far, container, fresh_name('target'), fault_proxy(swift.url), daemon)


def crash_at(archive: Archive, rules: Mapping[str, Rule]) -> None:
    """One daemon that is killed when each of these objects has come to its stop."""
    daemon = archive.remote.daemon
    daemon.start()
    eventually(lambda: not {name for name, rule in rules.items() if not rule.hits} - waiting(daemon).keys(),
               'every object stalled at its request')
    archive.kill()
    archive.nothing_lost()


def each_of(archive: Archive, count: int, kind: str) -> dict[str, Callable[[], Rule]]:
    """Names of objects that are to be stopped before and behind each of so many requests, and what stops them."""
    return {f'{kind}-{when}-{number:02}': partial(stop, f'{kind}-{when}-{number:02}', number)
            for number in range(1, count + 1)
            for when, stop in (('before', archive.stall), ('after', archive.stall_after))}


def test_of_a_plain_object(swift_client: Connection, container: str, s3_remote: S3Remote) -> None:
    def put(name: str) -> bytes:
        data = name.encode() * 1000
        swift_client.put_object(container, name, data)
        return data
    archive = Archive(swift_client, container, s3_remote, put)
    s3_remote.daemon.once()  # asks the remote what it honours
    archive.put('clean')
    count = archive.requests_for('clean')
    assert archive.left() == set() and count >= 2
    stops = each_of(archive, count, 'o')
    archive.put(*stops)
    crash_at(archive, {name: stop() for name, stop in stops.items()})
    assert {name for name in stops if 'before' in name} <= archive.left(), 'something left before it was proven'
    archive.to_the_end()
    # As soon as it is gone here, and before anybody could note that.
    archive.put('gone')
    s3_remote.daemon.start()
    eventually(lambda: not archive.left(), 'the object gone')
    archive.kill()
    archive.nothing_lost()
    archive.to_the_end()


@pytest.mark.parametrize('kind', ['s3_remote', 'swift_remote'])
def test_of_a_large_object(request: pytest.FixtureRequest, swift_client: Connection, container: str,
                           kind: str) -> None:
    parts = [cheap_bytes(5 * MIB), b'end'] if kind == 's3_remote' else [b'1' * 1000, b'2' * 1000]

    def put(name: str) -> bytes:
        return put_slo(swift_client, container, name, [name.encode() + parts[0], parts[1]])
    archive = Archive(swift_client, container, request.getfixturevalue(kind), put)
    archive.put('first')
    archive.remote.daemon.once()  # makes the container of the segments, and asks the remote what it honours
    archive.put('clean')
    count = archive.requests_for('clean')
    assert archive.left() == set() and count > 10
    archive.grace_is_over()
    count_of_segments = archive.requests_for('clean')
    assert names(swift_client, archive.segments) == set() and count_of_segments

    archive.remote.grace(GRACE)
    stops = each_of(archive, count, 'o')
    archive.put(*stops)
    crash_at(archive, {name: stop() for name, stop in stops.items()})
    assert {name for name in stops if 'before' in name} <= archive.left(), 'something left before it was proven'
    archive.to_the_end()

    # The manifests are gone, the segments are not: the remote is asked before they go.
    archive.remote.grace(GRACE)
    stops = each_of(archive, count_of_segments, 's')
    archive.put(*stops)
    archive.remote.daemon.once()
    assert archive.left() == set()
    archive.grace_is_over()
    crash_at(archive, {name: stop() for name, stop in stops.items()})
    assert names(swift_client, archive.segments) >= {
        f'{name}/{number:03}' for name in stops if 'before' in name for number in range(2)}
    archive.to_the_end()
