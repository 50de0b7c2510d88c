"""What a good configuration means, for ``1space check-config``: one line per mapping, secrets by their origin."""
from __future__ import annotations

from typing import Any

from s3_sync.config.mapping import Mapping
from s3_sync.config.migration import MetadataMigration, Migration
from s3_sync.config.model import Settings
from s3_sync.config.remote import Remote
from s3_sync.config.secrets import Secret


def describe(settings: Settings) -> dict[str, Any]:
    """JSON-ready summary; secrets appear as where they came from."""
    return {
        'file': settings.path,
        'containers': [_mapping(mapping) for mapping in settings.containers],
        'migrations': [_profile(profile) for profile in settings.migrations],
        'metadata_migrations': [_profile(profile) for profile in settings.metadata_migrations],
        'warnings': list(settings.warnings),
    }


def lines(settings: Settings) -> list[str]:
    """The same for a terminal."""
    counts = ', '.join((f'{len(settings.containers)} sync mappings', f'{len(settings.migrations)} migrations',
                        f'{len(settings.metadata_migrations)} metadata migrations'))
    found = [f'{settings.path}: {counts}']
    found += [f'  {_line(mapping)}' for mapping in settings.containers]
    found += [f'  migration {profile.name}: {_place(profile.remote)} -> {profile.account}/{profile.container}'
              for profile in (*settings.migrations, *settings.metadata_migrations)]
    return found + [f'warning: {text}' for text in settings.warnings]


def _line(mapping: Mapping) -> str:
    how = 'copies' if mapping.retain_local else 'archives'
    return f'{mapping.name}: {how} to {_place(mapping.remote)} (generation {mapping.generation})'


def _place(remote: Remote) -> str:
    return f'{remote.protocol} {remote.label} {remote.bucket or "(same names)"}'


def _mapping(mapping: Mapping) -> dict[str, Any]:
    return {'name': mapping.name, 'account': mapping.account, 'container': mapping.container,
            'generation': mapping.generation, 'evaluation': mapping.evaluation, 'archive': not mapping.retain_local,
            'delete_policy': mapping.delete_policy, 'remote': _remote(mapping.remote)}


def _profile(profile: Migration | MetadataMigration) -> dict[str, Any]:
    return {'name': profile.name, 'account': profile.account, 'container': profile.container,
            'delete_policy': profile.delete_policy, 'remote': _remote(profile.remote)}


def _remote(remote: Remote) -> dict[str, Any]:
    return {'protocol': remote.protocol, 'endpoint': remote.endpoint, 'bucket': remote.bucket,
            'identity': remote.identity, 'secrets': {name: value.origin for name in type(remote).model_fields
                                                     if isinstance(value := getattr(remote, name), Secret)}}
