"""What a good configuration needs beyond being good before the sync daemon starts with it."""
from __future__ import annotations

from s3_sync.config.model import Settings
from s3_sync.errors import Problem


def sync_problems(settings: Settings) -> list[Problem]:
    """Why ``swift-s3-sync`` does not start with these settings."""
    if not settings.containers:
        return [Problem('containers', 'there is nothing to synchronise')]
    return []
