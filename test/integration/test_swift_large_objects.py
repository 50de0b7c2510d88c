"""Large objects at a Swift target: the contract, and what becomes of the segments, on a real cluster."""
from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.clock import SystemClock
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.providers.swift.client import SwiftClient, new_client
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.swift_cluster import SwiftCluster
from test.unit.contract.large_object_contract import LargeObjectContract
from test.unit.contract.provider_contract import Build

Make = Callable[..., SyncSwift]


@pytest.fixture(scope='module')
def client(swift: SwiftCluster) -> Iterator[SwiftClient]:
    """One login for all tests, as one process of the daemon has."""
    client = new_client(mapping(swift, 'any'), max_connections=10, clock=SystemClock())
    yield client
    client.close()


def mapping(swift: SwiftCluster, bucket: str, container: str = 'c', **keys: Any) -> Mapping:
    return Mapping.model_validate({
        'account': 'AUTH_local', 'container': container, **keys, 'remote': Remote.model_validate({
            'protocol': 'swift', 'endpoint': swift.auth_url, 'identity': swift.user, 'secret': Secret(swift.key),
            'bucket': bucket})})


class TestLargeObjectContract(LargeObjectContract):
    test_only_the_version_that_was_looked_at_is_replaced = None  # Swift knows no If-Match on PUT

    @pytest.fixture
    def build(self, swift: SwiftCluster, client: SwiftClient, swift_client: Connection) -> Build:
        bucket = f'contract-{uuid.uuid4().hex[:8]}-ü%41'
        swift_client.put_container(bucket)

        def make(**_: Any) -> SyncSwift:
            return SyncSwift(mapping(swift, bucket), client=client)
        return make
