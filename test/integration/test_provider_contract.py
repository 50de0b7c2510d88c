"""The provider contract on real endpoints."""
from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.base_sync import BaseSync
from s3_sync.clock import SystemClock
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.providers.swift.client import SwiftClient, new_client
from s3_sync.sync_s3 import SyncS3
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.unit.contract.provider_contract import Build, ProviderContract


def mapping(remote: dict[str, Any], **keys: Any) -> Mapping:
    return Mapping.model_validate({'account': 'AUTH_local', 'container': 'source', 'propagate_expiration': True, **keys,
                                   'remote': Remote.model_validate(remote)})


def fresh_bucket() -> str:
    return 'contract-' + uuid.uuid4().hex[:8]


class OnSwift(ProviderContract):
    """How a provider for a Swift is built; subclasses log in."""

    secret_key = 'secret'

    @pytest.fixture
    def login(self, swift: SwiftCluster) -> dict[str, Any]:
        return {'endpoint': swift.auth_url, 'identity': swift.user, 'secret': Secret(swift.key)}

    @pytest.fixture(scope='class')
    def clients(self) -> Iterator[dict[str, SwiftClient]]:
        """One login for a whole class, as one process of the daemon has."""
        with ExitStack() as stack:
            clients: dict[str, SwiftClient] = {}
            yield clients
            for client in clients.values():
                stack.callback(client.close)

    @pytest.fixture
    def build(self, login: dict[str, Any], clients: dict[str, SwiftClient]) -> Build:
        container = fresh_bucket() + '-ü%41'

        def make(bucket: str = '', secret: str = '', **changes: Any) -> SyncSwift:
            remote = {'protocol': 'swift', 'bucket': bucket or container, **login, **changes}
            if secret:
                remote[self.secret_key] = Secret(secret)
            elif not changes:
                if 'shared' not in clients:
                    clients['shared'] = new_client(mapping(remote), max_connections=10, clock=SystemClock())
                return SyncSwift(mapping(remote), client=clients['shared'])
            connections = remote.pop('max_connections', 10)
            return SyncSwift(mapping(remote), max_connections=connections)
        make().create_container()
        return make


class TestSwift(OnSwift):
    """Version 1 authentication."""


class TestSwiftKeystonePassword(OnSwift):
    @pytest.fixture
    def login(self, keystone: Keystone, keystone_member: ProjectUser) -> dict[str, Any]:
        return {'endpoint': keystone.url, 'auth_type': 'keystone_v3', 'identity': keystone_member.user,
                'secret': Secret(keystone_member.password), 'project_name': keystone_member.project,
                'project_domain_name': keystone.domain, 'user_domain_name': keystone.domain}


class TestSwiftKeystoneApplicationCredential(OnSwift):
    secret_key = 'application_credential_secret'

    @pytest.fixture(scope='class')
    def login(self, keystone: Keystone, keystone_member: ProjectUser) -> dict[str, Any]:
        credential = keystone.add_application_credential(keystone_member, 'contract')
        return {'endpoint': keystone.url.removesuffix('/v3'), 'auth_type': 'keystone_v3',
                'application_credential_id': credential.id,
                'application_credential_secret': Secret(credential.secret)}


@pytest.fixture(scope='module')
def keystone_member(keystone: Keystone, swift_keystone: SwiftCluster) -> ProjectUser:
    return keystone.add_user('contract-user', 'contract-project')


class OnS3(ProviderContract):
    """How a provider for an S3 endpoint is built.

    Fixture ``endpoint`` of the subclasses: keys of the remote, and what makes a bucket there.
    """

    delete_tells = False
    longest_name = 1024 - len('ffffff/AUTH_local/source/')

    @pytest.fixture
    def build(self, endpoint: tuple[dict[str, Any], Callable[[str], object]]) -> Build:
        login, make_bucket = endpoint
        own = fresh_bucket()
        make_bucket(own)

        def make(bucket: str = '', secret: str = '', max_connections: int = 10, **changes: Any) -> BaseSync:
            remote = {'protocol': 's3', 'bucket': bucket or own, **login, **changes}
            if secret:
                remote['secret'] = Secret(secret)
            provider = SyncS3(mapping(remote), max_connections=max_connections)
            if provider.needs_probe and not bucket and not secret and not changes:
                provider.probe_conditional_put()
            return provider
        return make


class TestSeaweedFS(OnS3):
    exact_names = False

    @pytest.fixture
    def endpoint(self, s3: S3Endpoint) -> tuple[dict[str, Any], Callable[[str], object]]:
        return {'endpoint': s3.url, 'identity': s3.access_key, 'secret': Secret(s3.secret_key)}, s3.make_bucket


class TestMoto(OnS3):
    test_wrong_credentials_are_forbidden = None  # it lets anybody in
    checks_bytes = False
    conditional_updates = False
    refused_names = frozenset({'new\nline'})

    @pytest.fixture
    def endpoint(self, moto: MotoEndpoint) -> tuple[dict[str, Any], Callable[[str], object]]:
        return {'endpoint': moto.url, 'identity': moto.access_key, 'secret': Secret(moto.secret_key)}, moto.make_bucket


class TestSwiftsS3Api(OnS3):
    @pytest.fixture
    def endpoint(self, swift: SwiftCluster,
                 swift_client: Connection) -> tuple[dict[str, Any], Callable[[str], object]]:
        return ({'endpoint': swift.s3_url, 'identity': swift.user, 'secret': Secret(swift.key)},
                swift_client.put_container)
