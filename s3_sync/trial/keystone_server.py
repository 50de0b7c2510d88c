"""The process of a trial Keystone: schema, keys, administrator, then HTTP.

One start of Keystone's code instead of five (four commands of
``keystone-manage`` and a web server). Usage: ``python -m
s3_sync.trial.keystone_server CONF ADDRESS PORT``; the administrator's password
is in the environment.
"""
from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

import waitress
from keystone.cmd.bootstrap import Bootstrapper
from keystone.common import fernet_utils
from keystone.common.sql import upgrades
from keystone.server.flask.core import initialize_application
from oslo_config import cfg

from s3_sync.trial.keystone import ADMIN, PASSWORD_VARIABLE, REGION

CREDENTIAL_KEYS = 3
THREADS = 4


def main(conf: str, address: str, port: str) -> None:
    sys.argv = sys.argv[:1]  # Keystone would read the arguments too

    def prepare() -> None:
        # In a process of its own: Keystone's backends can be loaded only once in each.
        child = multiprocessing.get_context('fork').Process(target=_prepare, args=(f'http://{address}:{port}/v3',))
        child.start()
        child.join()
        if child.exitcode != 0:
            sys.exit(f'preparing the database ended with {child.exitcode}')

    app = initialize_application('public', prepare, config_files=[conf])
    waitress.serve(app, host=address, port=int(port), threads=THREADS)


def _prepare(url: str) -> None:
    """Schema, keys, domain Default, project and user ``admin``, the usual roles; harmless when all is there."""
    upgrades.offline_sync_database_to_version()
    for repository, keys, group in (
            (cfg.CONF.fernet_tokens.key_repository, cfg.CONF.fernet_tokens.max_active_keys, 'fernet_tokens'),
            (cfg.CONF.fernet_receipts.key_repository, cfg.CONF.fernet_receipts.max_active_keys, 'fernet_receipts'),
            (cfg.CONF.credential.key_repository, CREDENTIAL_KEYS, 'credential')):
        store = fernet_utils.FernetUtils(repository, keys, group)
        store.create_key_directory()
        if store.validate_key_repository(requires_write=True):
            store.initialize_key_repository()
    bootstrapper: Any = Bootstrapper()
    bootstrapper.admin_username = bootstrapper.project_name = bootstrapper.admin_role_name = ADMIN
    bootstrapper.admin_password = os.environ[PASSWORD_VARIABLE]
    bootstrapper.service_name = 'keystone'
    bootstrapper.region_id = REGION
    bootstrapper.public_url = bootstrapper.internal_url = bootstrapper.admin_url = url
    bootstrapper.immutable_roles = True
    bootstrapper.bootstrap()


if __name__ == '__main__':
    main(*sys.argv[1:])
