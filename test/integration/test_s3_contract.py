"""SyncS3 keeps the provider contract on SeaweedFS, moto and Swift's own S3 API."""
from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest

from s3_sync.base_sync import BaseSync
from s3_sync.errors import ProviderError
from s3_sync.sync_s3 import SyncS3
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.fakes.s3_mapping import s3_mapping
from test.unit.contract.provider_contract import AWKWARD, Build, ProviderContract

CONTAINER = 'c-{:08x}'
PREFIX_BYTES = len('ffffff/AUTH_test//') + len(CONTAINER.format(0))


HONOURED: dict[str, tuple[bool, bool]] = {}
"""What the probe found of each endpoint."""


def builder(url: str, access_key: str, secret_key: str, bucket: str) -> Iterator[Build]:
    """One bucket for all tests, each below its own container's prefix: SeaweedFS keeps volumes for every bucket."""
    made: list[SyncS3] = []
    container = CONTAINER.format(uuid.uuid4().int & 0xffffffff)

    def build(bucket: str = bucket, secret: str = secret_key, max_connections: int = 10,
              endpoint: str = url) -> BaseSync:
        provider = SyncS3(
            s3_mapping(endpoint, access_key=access_key, secret_key=secret, bucket=bucket, container=container),
            max_connections=max_connections)
        made.append(provider)
        with suppress(ProviderError):
            provider.head_bucket()  # what the endpoint can do shows in its answers
            if url not in HONOURED:
                HONOURED[url] = provider.probe_conditional_put()
            provider.set_conditional_put(*HONOURED[url])
        return provider
    yield build
    for provider in made:
        provider.close()


class TestSeaweedFS(ProviderContract):
    exact_names = False
    longest_name = 1024 - PREFIX_BYTES

    @pytest.fixture(scope='class')
    def bucket(self, s3: S3Endpoint) -> str:
        return s3.make_bucket('contract')

    @pytest.fixture
    def build(self, s3: S3Endpoint, bucket: str) -> Iterator[Build]:
        yield from builder(s3.url, s3.access_key, s3.secret_key, bucket)


class TestMoto(ProviderContract):
    checks_credentials = False
    longest_name = 1024 - PREFIX_BYTES

    @pytest.fixture(scope='class')
    def bucket(self, moto: MotoEndpoint) -> str:
        return moto.make_bucket('contract')

    @pytest.fixture
    def build(self, moto: MotoEndpoint, bucket: str) -> Iterator[Build]:
        yield from builder(moto.url, moto.access_key, moto.secret_key, bucket)


    # Where moto is not like S3:

    @pytest.mark.parametrize('name', [name for name in AWKWARD if '\n' not in name])
    def test_an_awkward_name_is_kept_or_refused(self, provider: BaseSync, name: str) -> None:
        super().test_an_awkward_name_is_kept_or_refused(provider, name)

    def test_awkward_names_do_not_meet(self, provider: BaseSync) -> None:
        pytest.xfail('its web server finds no route for a path with a line break')

    def test_an_update_holds_only_for_the_version_seen(self, provider: BaseSync) -> None:
        pytest.xfail('it ignores x-amz-copy-source-if-match')

    def test_wrong_bytes_store_nothing(self, provider: BaseSync) -> None:
        pytest.xfail('it ignores Content-MD5')


class TestSwiftsOwnS3(ProviderContract):
    longest_name = 1024 - PREFIX_BYTES

    @pytest.fixture(scope='class')
    def bucket(self, swift: SwiftCluster) -> str:
        client = swift.s3_client()
        client.create_bucket(Bucket='contract')
        client.close()
        return 'contract'

    @pytest.fixture
    def build(self, swift: SwiftCluster, bucket: str) -> Iterator[Build]:
        yield from builder(swift.s3_url, swift.user, swift.key, bucket)
