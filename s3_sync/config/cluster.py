"""What this Swift cluster calls itself towards other clusters (``X-1space-Via``, semantics 8.3).

Two clusters that serve each other's misses would send a request to and fro
for ever. Each tells its id in what it sends, and answers locally what carries
its own. All nodes and processes of a cluster must come to the same id, so it is
made from what they have in common anyway.
"""
from __future__ import annotations

import hashlib
from configparser import Error as ParserError
from configparser import RawConfigParser
from pathlib import Path

from s3_sync.config.model import Settings

CONF_NAME = 'swift.conf'
SECTION = 'swift-hash'


def cluster_id(settings: Settings) -> str:
    """``cluster_id`` of the configuration, or 16 hex digits that say nothing of the hash settings behind them.

    '' when there is neither: a ``swift.conf`` in ``swift_dir`` that can be read, with hash settings.
    """
    if settings.cluster_id:
        return settings.cluster_id
    conf = RawConfigParser()
    try:
        conf.read_string((Path(settings.swift_dir) / CONF_NAME).read_text(encoding='latin-1'))
    except (OSError, ParserError):
        return ''
    prefix, suffix = (conf.get(SECTION, f'swift_hash_path_{end}', fallback='') for end in ('prefix', 'suffix'))
    if not prefix and not suffix:
        return ''
    return hashlib.sha256(f'{prefix}\0{suffix}'.encode('latin-1')).hexdigest()[:16]
