"""What most commands begin with: the configuration, the node's ledger, the mappings that are meant."""
from __future__ import annotations

import os
from collections.abc import Sequence

from s3_sync.commands.edge import UsageError
from s3_sync.commands.names import printable
from s3_sync.config import Mapping, Settings, load
from s3_sync.config.release import sync_problems
from s3_sync.errors import ConfigError, LedgerError
from s3_sync.ledger import Ledger, ledger_path

NEVER_RAN = 'swift-s3-sync has never run with this status_dir'


def load_settings(path: str) -> Settings:
    """What ``swift-s3-sync`` would run with; ConfigError with the same messages."""
    settings = load(path)
    problems = sync_problems(settings)
    if problems:
        raise ConfigError(path, problems)
    return settings


def open_ledger(settings: Settings) -> Ledger | None:
    """The ledger, None when the daemon never ran here. LedgerError when it cannot be used by this user, or now."""
    path = ledger_path(settings.status_dir)
    try:
        os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f'{path}: {error.strerror}') from error
    if not os.access(path, os.R_OK | os.W_OK):
        raise LedgerError(f'{path}: permission denied; run this as root or as the user of swift-s3-sync')
    return Ledger.open(settings.status_dir, owner=False)


def choose(settings: Settings, names: Sequence[str]) -> list[Mapping]:
    """Mappings by name or generation id; all when none is named. UsageError for a name that is none."""
    if not names:
        return list(settings.containers)
    chosen: dict[str, Mapping] = {}
    for name in names:
        found = find(settings, name)
        if found is None:
            known = ', '.join(printable(mapping.name) for mapping in settings.containers[:20])
            raise UsageError(f'there is no mapping {name!r}; there are: {known}')
        chosen[found.generation] = found
    return list(chosen.values())


def find(settings: Settings, name: str) -> Mapping | None:
    return settings.mapping(name) or next((m for m in settings.containers if m.generation == name), None)


def destination(mapping: Mapping) -> str:
    """Where a mapping's data goes, in one line."""
    remote = mapping.remote
    prefix = '' if mapping.custom_prefix is None else f'/{mapping.custom_prefix}'
    return printable(f'{remote.protocol} {remote.label} {remote.bucket or "(same names)"}{prefix}')
