"""Logging in at old clusters. No Keystone of today serves v2, so the far end is a script of its documented answers."""
from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from s3_sync.config.secrets import Secret
from s3_sync.sync_swift import SyncSwift
from test.fakes.scripted_swift import ScriptedSwift
from test.unit.contract.provider_contract import upload
from test.unit.providers.swift.test_requests import mapping, stored


@pytest.mark.parametrize('path', ['', '/', '/v2.0', '/v2.0/'])
def test_a_v2_login_gives_token_and_storage_url_of_the_tenant(path: str) -> None:
    with ScriptedSwift(stored) as server:
        provider = SyncSwift(mapping(server, {
            'auth_type': 'keystone_v2', 'endpoint': server.url + path, 'identity': 'tester',
            'secret': Secret('hush-hush'), 'tenant_name': 'project'}))
        upload(provider, 'o')
        provider.close()
        assert server.v2_logins == [{'tenantName': 'project', 'passwordCredentials': {
            'username': 'tester', 'password': 'hush-hush'}}]
        [put] = server.requests('PUT')
        assert urlsplit(put.path).path == '/v1/AUTH_abc/target/o'
        assert put.headers['x-auth-token'] == 'token-1'


def test_a_token_that_dies_is_renewed_once() -> None:
    with ScriptedSwift(stored) as server:
        provider = SyncSwift(mapping(server, {
            'auth_type': 'keystone_v2', 'endpoint': server.url, 'identity': 'tester', 'secret': Secret('hush-hush'),
            'tenant_name': 'project', 'remote_account': 'AUTH_other'}))
        upload(provider, 'one')
        server.valid_token = 'somebody logged everybody out'
        upload(provider, 'two')
        provider.close()
        assert server.logins == 2
        assert server.requests('PUT')[-1].path == '/v1/AUTH_other/target/two'
