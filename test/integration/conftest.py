"""Real servers for the integration tests, one of each for a whole session, started when first asked for."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.trial.swift_rings import Policy
from test.servers.fault_proxy import FaultProxy
from test.servers.merged import Kind, MergedContainer, MergedWorld

POLICIES = (Policy('gold', default=True), Policy('silver'), Policy('pieces', kind='erasure_coding'))


@pytest.fixture(scope='session')
def swift() -> Iterator[SwiftCluster]:
    """One node with three devices; policies gold (default), silver and pieces (erasure coded)."""
    with SwiftCluster(devices_per_node=3, policies=POLICIES) as cluster:
        yield cluster


@pytest.fixture(scope='session')
def s3() -> Iterator[S3Endpoint]:
    """SeaweedFS."""
    with S3Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope='session')
def moto() -> Iterator[MotoEndpoint]:
    """What SeaweedFS does not do as AWS does."""
    with MotoEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def make_swift_cluster() -> Iterator[Callable[..., SwiftCluster]]:
    """A cluster of the test's own (arguments of SwiftCluster), stopped when the test ends."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(SwiftCluster(**options))


@pytest.fixture
def swift_client(swift: SwiftCluster) -> Iterator[Connection]:
    client = swift.client()
    yield client
    client.close()


@pytest.fixture
def s3_client(s3: S3Endpoint) -> Iterator[Any]:
    client = s3.client()
    yield client
    client.close()


@pytest.fixture
def bucket(s3: S3Endpoint, fresh_name: Callable[[str], str]) -> str:
    """A new, empty bucket of SeaweedFS."""
    return s3.make_bucket(fresh_name('bucket'))


@pytest.fixture
def container(swift_client: Connection, fresh_name: Callable[[str], str]) -> str:
    """A new, empty container of the test account."""
    name = fresh_name('container')
    swift_client.put_container(name)
    return name


@pytest.fixture(scope='session')
def keystone() -> Iterator[Keystone]:
    with Keystone() as server:
        yield server


@pytest.fixture(scope='session')
def swift_keystone(keystone: Keystone) -> Iterator[SwiftCluster]:
    """A cluster that takes Keystone's tokens (accounts KEY_<project id>) beside tempauth's."""
    with SwiftCluster(keystone=keystone.access) as cluster:
        keystone.add_object_store(cluster.url)
        yield cluster


@pytest.fixture
def keystone_user(keystone: Keystone, swift_keystone: SwiftCluster, fresh_name: Callable[[str], str]) -> ProjectUser:
    """A new member of a new project."""
    return keystone.add_user(fresh_name('user'), fresh_name('project'))


@pytest.fixture
def far(keystone: Keystone, swift_keystone: SwiftCluster, keystone_user: ProjectUser) -> Iterator[Connection]:
    """A client of the user's project at the remote."""
    token = keystone.token(keystone_user.user, keystone_user.password, keystone_user.project)
    client = Connection(preauthurl=f'{swift_keystone.url}/v1/{keystone_user.account}', preauthtoken=token, retries=0)
    yield client
    client.close()


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[str], FaultProxy]]:
    """A proxy in front of a URL; closed when the test ends."""
    with ExitStack() as stack:
        yield lambda target: stack.enter_context(FaultProxy(target))


@pytest.fixture
def at(world: MergedWorld, request: pytest.FixtureRequest) -> MergedContainer:
    """The container of the module's ``world`` that the test is run for (``merged.each``), no faults in its way."""
    world.calm()
    return world[request.param]


@pytest.fixture(params=['s3', 'swift'])
def kind(world: MergedWorld, request: pytest.FixtureRequest) -> Kind:
    """What the remote is; no faults in the way of any container."""
    world.calm()
    found: Kind = request.param
    return found
