"""A real Keystone on loopback, and a few words to fill it with users and projects.

The order of things: Keystone first, then ``SwiftCluster(keystone=keystone.access)``,
then ``keystone.add_object_store(cluster.url)`` so that clients find the cluster
in the catalogue. Accounts of Keystone's projects start with ``KEY_``; tempauth
keeps its ``AUTH_`` accounts in the same cluster.
"""
from __future__ import annotations

import json
import secrets
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from s3_sync.clock import Clock
from s3_sync.errors import Error
from s3_sync.trial.ports import Ports
from s3_sync.trial.processes import Processes, Server, answers
from s3_sync.trial.scratch import ScratchFolder
from s3_sync.trial.swift_conf import KeystoneAccess, render

ADDRESS = '127.0.0.1'
ACCOUNT_PREFIX = 'KEY_'
ADMIN = 'admin'
PASSWORD_VARIABLE = 'TRIAL_KEYSTONE_PASSWORD'
REGION = 'RegionOne'


class KeystoneError(Error):
    """Keystone refused an administrative request; the message has its answer."""


@dataclass(frozen=True, slots=True)
class ProjectUser:
    """A user with a role on one project; all in domain Default."""

    user: str
    password: str = field(repr=False)
    user_id: str
    project: str
    project_id: str

    @property
    def account(self) -> str:
        """The Swift account of the project."""
        return f'{ACCOUNT_PREFIX}{self.project_id}'


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    id: str
    name: str
    secret: str = field(repr=False)


class Keystone:
    """Runs from ``__enter__`` to ``__exit__``; SQLite and keys in the folder."""

    name = 'keystone'
    domain = 'Default'

    def __init__(self, folder: Path | None = None, *, token_seconds: int = 3600, clock: Clock | None = None) -> None:
        self._stack = ExitStack()
        self._folder = folder or self._stack.enter_context(ScratchFolder()).path
        self._ports = Ports()
        self._stack.callback(self._ports.close)
        self._port = self._ports.reserve(ADDRESS)
        self._processes = Processes(self._folder / 'logs', clock=clock)
        self._stack.callback(self._processes.close)
        self._password = secrets.token_urlsafe(12)
        self._token_seconds = token_seconds

    @property
    def url(self) -> str:
        """Root of the v3 API, what clients call the auth URL."""
        return f'http://{ADDRESS}:{self._port}/v3'

    @property
    def access(self) -> KeystoneAccess:
        """What a SwiftCluster needs to check tokens here."""
        return KeystoneAccess(url=self.url, user=ADMIN, password=self._password, project=ADMIN, domain=self.domain)

    def start(self) -> Keystone:
        try:
            self._processes.add(self._server())
            self._processes.start(self.name)
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Stop the server; its data stay for the next ``start``."""
        self._processes.stop(self.name)

    def close(self) -> None:
        self._stack.close()

    def log_tail(self) -> str:
        return self._processes.log_tail(self.name)

    def __enter__(self) -> Keystone:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # -- administration ---------------------------------------------------------------------

    def add_object_store(self, url: str) -> None:
        """Put a cluster (the root URL of its proxy) into the service catalogue."""
        service = self.request('POST', '/services', {'service': {'type': 'object-store', 'name': 'swift'}})['service']
        for interface in ('public', 'internal', 'admin'):
            self.request('POST', '/endpoints', {'endpoint': {
                'service_id': service['id'], 'interface': interface, 'region': REGION,
                'url': f'{url}/v1/{ACCOUNT_PREFIX}$(project_id)s'}})

    def add_user(self, user: str, project: str, *, role: str = 'member') -> ProjectUser:
        """A new user with this role on a project, which is made when it does not exist."""
        found = self.request('GET', f'/projects?name={project}')['projects']
        place = found[0] if found else self.request(
            'POST', '/projects', {'project': {'name': project, 'domain_id': 'default'}})['project']
        password = secrets.token_urlsafe(12)
        made = self.request('POST', '/users', {'user': {
            'name': user, 'password': password, 'domain_id': 'default', 'default_project_id': place['id']}})['user']
        role_id = self.request('GET', f'/roles?name={role}')['roles'][0]['id']
        self.request('PUT', f'/projects/{place["id"]}/users/{made["id"]}/roles/{role_id}')
        return ProjectUser(user, password, made['id'], project, place['id'])

    def add_application_credential(self, owner: ProjectUser, name: str) -> ApplicationCredential:
        """Made by the user itself, as Keystone demands."""
        token = self.token(owner.user, owner.password, owner.project)
        made = self.request('POST', f'/users/{owner.user_id}/application_credentials',
                            {'application_credential': {'name': name}}, token=token)['application_credential']
        return ApplicationCredential(made['id'], name, made['secret'])

    def token(self, user: str, password: str, project: str) -> str:
        """A fresh token for the project."""
        return self._log_in({
            'identity': {'methods': ['password'], 'password': {
                'user': {'name': user, 'password': password, 'domain': {'name': self.domain}}}},
            'scope': {'project': {'name': project, 'domain': {'name': self.domain}}}})

    def token_of(self, credential: ApplicationCredential) -> str:
        """A fresh token of an application credential."""
        return self._log_in({'identity': {'methods': ['application_credential'], 'application_credential': {
            'id': credential.id, 'secret': credential.secret}}})

    def object_store_url(self, token: str) -> str:
        """Where the catalogue of this token's project says that its account is."""
        catalogue = self.request('GET', '/auth/catalog', token=token)['catalog']
        return next(str(endpoint['url']) for service in catalogue if service['type'] == 'object-store'
                    for endpoint in service['endpoints'] if endpoint['interface'] == 'public')

    def request(self, method: str, path: str, body: dict[str, Any] | None = None, *,
                token: str | None = None) -> dict[str, Any]:
        """A request to the v3 API, by default as administrator; the decoded answer ({} when empty)."""
        token = token or self.token(ADMIN, self._password, ADMIN)
        return self._send(method, path, body, {'X-Auth-Token': token})[1]

    # -- inside -----------------------------------------------------------------------------

    def _log_in(self, auth: dict[str, Any]) -> str:
        return self._send('POST', '/auth/tokens', {'auth': auth}, {})[0]['x-subject-token']

    def _send(self, method: str, path: str, body: dict[str, Any] | None,
              headers: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
        connection = HTTPConnection(ADDRESS, self._port, timeout=30)
        try:
            connection.request(method, f'/v3{path}', json.dumps(body) if body is not None else None,
                               {'Content-Type': 'application/json'} | headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise KeystoneError(f'{method} {path}: {response.status} {text.decode(errors="replace")}')
        return ({name.lower(): value for name, value in response.getheaders()}, json.loads(text) if text else {})

    def _server(self) -> Server:
        conf = self._folder / 'keystone.conf'
        conf.touch(mode=0o600)
        conf.write_text(render({
            'DEFAULT': {'use_stderr': 'true'},
            'database': {'connection': f'sqlite:///{self._folder / "keystone.db"}'},
            'fernet_tokens': {'key_repository': self._folder / 'fernet-keys'},
            'fernet_receipts': {'key_repository': self._folder / 'receipt-keys'},
            'credential': {'key_repository': self._folder / 'credential-keys'},
            'identity': {'password_hash_rounds': 4},  # these passwords protect nothing
            'token': {'expiration': self._token_seconds},
        }))
        return Server(self.name, [sys.executable, '-m', 's3_sync.trial.keystone_server', str(conf), ADDRESS,
                                  str(self._port)],
                      ready=lambda: answers(ADDRESS, self._port, '/v3'), start_seconds=90,
                      env={PASSWORD_VARIABLE: self._password})
