"""Logging in at a Swift: version 1, Keystone v2 and v3, and keeping the token fresh.

The protocols are keystoneauth's (version 1 comes as swiftclient's plugin for
it). Ours is that one login serves all green threads: who finds the token stale
waits for whoever is already renewing it, and shares the outcome.
"""
from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1.identity import v2, v3
from keystoneauth1.session import Session
from swiftclient.authv1 import PasswordPlugin

from s3_sync.clock import Clock
from s3_sync.config.remote import Remote
from s3_sync.errors import PermanentError, ProviderError, TemporaryError
from s3_sync.providers.swift.errors import classify_login

RENEW_EARLY_SECONDS = 60.0
"""A token is renewed that long before it expires, so that a request never starts with a dying one."""
LOGIN_SECONDS = 30.0


class Access(NamedTuple):
    """A login that worked. ``token`` is a secret: it goes into requests, never into a message."""

    storage_url: str
    token: str
    expires: float | None
    """Unix seconds, None when the service does not say."""

    def __repr__(self) -> str:
        return f'Access({self.storage_url})'


class Login:
    """The current token and storage URL of one remote's credentials."""

    def __init__(self, remote: Remote, clock: Clock) -> None:
        self._remote = remote
        self._clock = clock
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._failure: ProviderError | None = None
        self._failures = 0

    def access(self) -> Access:
        """A token that is not about to expire; logs in when there is none."""
        access = self._access
        if access is not None and not self._ends_soon(access):
            return access
        try:
            return self.renewed(access)
        except TemporaryError:
            if access is not None and (access.expires or 0) > self._clock.now():
                return access  # still good for a while, and the login service may come back in that time
            raise

    def renewed(self, stale: Access | None) -> Access:
        """A login newer than ``stale``: of another green thread when it was faster, else our own."""
        failures = self._failures
        with self._lock:
            if self._access is not None and self._access is not stale:
                return self._access
            if self._failure is not None and self._failures != failures:
                raise self._failure  # the login we waited for has just failed; ours would too
            try:
                self._access = self._log_in()
            except ProviderError as error:
                self._failure = error
                self._failures += 1
                raise
            return self._access

    def _ends_soon(self, access: Access) -> bool:
        return access.expires is not None and access.expires - RENEW_EARLY_SECONDS <= self._clock.now()

    def _log_in(self) -> Access:
        where = self._remote.endpoint or ''
        try:
            plugin = _plugin(self._remote)
            with closing(requests.Session()) as connection:
                session = Session(session=connection, timeout=LOGIN_SECONDS, verify=_verification(self._remote))
                granted = plugin.get_access(session)
                url = granted.service_catalog.url_for(service_type='object-store', interface='public',
                                                      **_region(self._remote))
        except (keystone.ClientException, ValueError) as error:
            failure = classify_login(where, error, self._clock.now())
            failure.sent = False
            raise failure from error
        if not url or not urlsplit(url).netloc:
            raise PermanentError(f'{where}: the login names no storage URL', reason='login')
        expires = granted.expires.timestamp() if granted.expires is not None else None
        return Access(_in_account(url, self._remote.remote_account), granted.auth_token, expires)


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
