"""The provider contract on real endpoints."""
from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.swift_cluster import SwiftCluster
from test.unit.contract.provider_contract import Build, ProviderContract


def mapping(remote: dict[str, Any], **keys: Any) -> Mapping:
    return Mapping.model_validate({'account': 'AUTH_local', 'container': 'source', 'propagate_expiration': True, **keys,
                                   'remote': Remote.model_validate(remote)})


class SwiftContract(ProviderContract):
    """What a Swift needs to be built; subclasses say how to log in."""

    @pytest.fixture
    def login(self, swift: SwiftCluster) -> dict[str, Any]:
        return {'endpoint': swift.auth_url, 'identity': swift.user, 'secret': Secret(swift.key)}

    secret_key = 'secret'

    @pytest.fixture
    def build(self, swift: SwiftCluster, login: dict[str, Any]) -> Iterator[Build]:
        with ExitStack() as stack:
            client = swift.client()
            stack.callback(client.close)
            container = 'contract-ü-' + uuid.uuid4().hex[:8]
            client.put_container(container)

            def make(bucket: str = '', secret: str = '', max_connections: int = 10, **changes: Any) -> SyncSwift:
                remote = {'protocol': 'swift', 'bucket': bucket or container, **login, **changes}
                if secret:
                    remote[self.secret_key] = Secret(secret)
                return SyncSwift(mapping(remote), max_connections=max_connections)
            yield make


class TestSwift(SwiftContract):
    """Version 1 authentication."""
