"""What a good configuration needs beyond being good before the sync daemon starts with it."""
from __future__ import annotations

from s3_sync.config.model import Settings
from s3_sync.errors import Problem


def not_yet(settings: Settings) -> list[Problem]:
    """What the configuration allows and this release cannot do: refused rather than done by halves."""
    return [Problem(f'containers[{i}].retain_local', 'archiving (retain_local: false) is not part of this release')
            for i, mapping in enumerate(settings.containers) if not mapping.retain_local]


def sync_problems(settings: Settings) -> list[Problem]:
    """Why ``swift-s3-sync`` does not start with these settings."""
    if not settings.containers:
        return [Problem('containers', 'there is nothing to synchronise')]
    return not_yet(settings)
