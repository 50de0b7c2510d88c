"""The contract of large objects on real S3 endpoints."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.base_sync import BaseSync
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.errors import LimitExceeded
from s3_sync.sync_s3 import SyncS3
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.fakes.large_source import MemoryLargeSource
from test.unit.contract.large_object_contract import LargeObjectContract, send
from test.unit.contract.provider_contract import Build


class OnS3(LargeObjectContract):
    @pytest.fixture
    def build(self, endpoint: tuple[dict[str, Any], Callable[[str], object]],
              fresh_name: Callable[[str], str]) -> Build:
        login, make_bucket = endpoint
        bucket = fresh_name('large')
        make_bucket(bucket)

        def make(**_: Any) -> BaseSync:
            provider = SyncS3(Mapping.model_validate({
                'account': 'AUTH_local', 'container': 'source',
                'remote': Remote.model_validate({'protocol': 's3', 'bucket': bucket, **login})}))
            provider.probe_conditional_put()
            return provider
        return make


class TestSeaweedFS(OnS3):
    test_names_and_their_neighbours_are_kept_apart = None  # see below

    @pytest.mark.parametrize('name', ['o', 'a/ö ü/%41 x', '青/\U0001f600', 'x' * 254])
    def test_names_of_a_file_system_are_kept_apart(self, provider: BaseSync, name: str,
                                                   film: MemoryLargeSource) -> None:
        LargeObjectContract.test_names_and_their_neighbours_are_kept_apart(self, provider, name, film)

    def test_a_name_that_its_file_system_cannot_have_is_refused_before_anything_is_sent(
            self, provider: BaseSync, film: MemoryLargeSource) -> None:
        with pytest.raises(LimitExceeded) as caught:
            send(provider, film, 'x' * 256)
        assert caught.value.reason == 'key-too-long'
        assert film.opened == []

    @pytest.fixture
    def endpoint(self, s3: S3Endpoint) -> tuple[dict[str, Any], Callable[[str], object]]:
        return {'endpoint': s3.url, 'identity': s3.access_key, 'secret': Secret(s3.secret_key)}, s3.make_bucket


class TestMoto(OnS3):
    @pytest.fixture
    def endpoint(self, moto: MotoEndpoint) -> tuple[dict[str, Any], Callable[[str], object]]:
        return {'endpoint': moto.url, 'identity': moto.access_key, 'secret': Secret(moto.secret_key)}, moto.make_bucket


class TestSwiftsS3Api(OnS3):
    test_only_the_version_that_was_looked_at_is_replaced = None  # it has no If-Match on writes

    @pytest.fixture
    def endpoint(self, swift: SwiftCluster,
                 swift_client: Connection) -> tuple[dict[str, Any], Callable[[str], object]]:
        return ({'endpoint': swift.s3_url, 'identity': swift.user, 'secret': Secret(swift.key)},
                swift_client.put_container)
