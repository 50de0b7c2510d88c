"""Logging in at a Swift: version 1, Keystone v2 and v3.

The protocols are keystoneauth's (version 1 comes as swiftclient's plugin for it).
"""
from __future__ import annotations

from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1.identity import v2, v3
from keystoneauth1.session import Session
from swiftclient.authv1 import PasswordPlugin

from s3_sync.config.remote import Remote
from s3_sync.errors import Forbidden, NotConnected, PermanentError, ProviderError
from s3_sync.providers.swift.access import Access
from s3_sync.providers.swift.errors import classify

LOGIN_SECONDS = 30.0


def log_in(remote: Remote) -> Access:
    """A new token. Raises ProviderError with ``sent`` False."""
    where = remote.endpoint or ''
    try:
        plugin = _plugin(remote)
        with closing(requests.Session()) as connection:
            session = Session(session=connection, timeout=LOGIN_SECONDS, verify=_verification(remote))
            granted = plugin.get_access(session)
            url = granted.service_catalog.url_for(service_type='object-store', interface='public', **_region(remote))
    except (keystone.ClientException, ValueError) as error:
        failure = _failure(where, error)
        failure.sent = False
        raise failure from error
    if not url or not urlsplit(url).netloc:
        raise PermanentError(f'{where}: the login names no storage URL', reason='login')
    expires = granted.expires.timestamp() if granted.expires is not None else None
    return Access(_in_account(url, remote.remote_account), granted.auth_token, expires)


def _failure(where: str, error: Exception) -> ProviderError:
    """The error for a login that failed. keystoneauth's messages hold no secrets."""
    if isinstance(error, keystone.HttpError):
        status = int(error.http_status or 0)
        retry_after = float(getattr(error, 'retry_after', 0) or 0) or None
        if status == 404:
            return PermanentError(f'{where}: no authentication service there (404)', status=404, reason='login')
        if status in (401, 403):
            return Forbidden(f'{where}: login refused ({status})', status=status)
        return classify(f'login at {where}', status, retry_after=retry_after)
    if isinstance(error, keystone.ConnectionError | keystone.DiscoveryFailure):
        return NotConnected(f'{where}: cannot log in: {error}')
    if isinstance(error, keystone.CatalogException | keystone.EndpointNotFound):
        return PermanentError(f'{where}: the catalogue names no object store: {error}', reason='login')
    return PermanentError(f'{where}: cannot log in: {error}', reason='login')


def _plugin(remote: Remote) -> Any:
    secret = remote.secret.reveal() if remote.secret else ''
    if remote.auth_type == 'swift':
        return PasswordPlugin(remote.endpoint, remote.identity, secret)
    if remote.auth_type == 'keystone_v2':
        return v2.Password(_versioned(remote, 'v2.0'), username=remote.identity, password=secret,
                           tenant_name=remote.tenant_name)
    url = _versioned(remote, 'v3')
    if remote.application_credential_id or remote.application_credential_name:
        own = remote.application_credential_secret
        return v3.ApplicationCredential(
            url, own.reveal() if own else secret,
            application_credential_id=remote.application_credential_id,
            application_credential_name=remote.application_credential_name,
            username=remote.identity, user_domain_name=remote.user_domain_name)
    return v3.Password(url, username=remote.identity, password=secret, user_domain_name=remote.user_domain_name,
                       project_name=remote.project_name, project_domain_name=remote.project_domain_name)


def _versioned(remote: Remote, version: str) -> str:
    """The authentication URL; configurations often name only Keystone's root."""
    url = (remote.endpoint or '').rstrip('/')
    last = url.rsplit('/', 1)[-1]
    return url if last[:1] == 'v' and last[1:2].isdigit() else f'{url}/{version}'


def _verification(remote: Remote) -> bool | str:
    return (remote.ca_file or True) if remote.verify_tls else False


def _region(remote: Remote) -> dict[str, str]:
    return {'region_name': remote.region} if remote.region and remote.auth_type != 'swift' else {}


def _in_account(url: str, account: str | None) -> str:
    """The storage URL, its account replaced when the mapping works in another one."""
    if not account:
        return url.rstrip('/')
    parts = urlsplit(url)
    return f'{parts.scheme}://{parts.netloc}/v1/{quote(account, safe="")}'
