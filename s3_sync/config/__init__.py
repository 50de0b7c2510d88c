"""The configuration file of all jobs: read once at the edge, checked whole, frozen (DESIGN 4.11)."""
from __future__ import annotations

from s3_sync.config.load import load
from s3_sync.config.model import Mapping, MetadataMigration, Migration, Remote, Settings
from s3_sync.config.secrets import Secret
from s3_sync.config.watch import Watcher

__all__ = ['Mapping', 'MetadataMigration', 'Migration', 'Remote', 'Secret', 'Settings', 'Watcher', 'load']
