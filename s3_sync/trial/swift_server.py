"""One Swift server or daemon with the swift_dir of its configuration loaded whole.

Swift's own scripts take storage policies and constraints from /etc/swift
whatever ``swift_dir`` says. Usage: ``python -m s3_sync.trial.swift_server KIND
CONF [once]``.
"""
from __future__ import annotations

import importlib
import sys
from configparser import RawConfigParser

from container_crawler.swift_dir import load_swift_dir

MODULES = {
    'proxy-server': 'swift.proxy.server',
    'account-server': 'swift.account.server',
    'container-server': 'swift.container.server',
    'object-server': 'swift.obj.server',
    'account-replicator': 'swift.account.replicator',
    'account-auditor': 'swift.account.auditor',
    'account-reaper': 'swift.account.reaper',
    'container-replicator': 'swift.container.replicator',
    'container-reconciler': 'swift.container.reconciler',
    'container-sharder': 'swift.container.sharder',
    'container-updater': 'swift.container.updater',
    'object-replicator': 'swift.obj.replicator',
    'object-reconstructor': 'swift.obj.reconstructor',
    'object-auditor': 'swift.obj.auditor',
    'object-updater': 'swift.obj.updater',
    'object-expirer': 'swift.obj.expirer',
}


def main(kind: str, conf: str, *options: str) -> None:
    parser = RawConfigParser()
    with open(conf) as file:
        parser.read_file(file)
    load_swift_dir(parser.get('DEFAULT', 'swift_dir'))
    sys.argv = [f'swift-{kind}', conf, *options]
    sys.exit(importlib.import_module(MODULES[kind]).main())


if __name__ == '__main__':
    main(*sys.argv[1:])
