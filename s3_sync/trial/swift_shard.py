"""Cut a container database into shard ranges and switch sharding on, as ``swift-manage-shard-ranges`` does.

Usage: ``python -m s3_sync.trial.swift_shard SWIFT_DIR DATABASE ROWS_PER_SHARD``.
"""
from __future__ import annotations

import sys

from container_crawler.swift_dir import load_swift_dir


def main(swift_dir: str, database: str, rows: str) -> None:
    load_swift_dir(swift_dir)
    from swift.cli import manage_shard_ranges  # after the settings, which it copies
    sys.exit(manage_shard_ranges.main([database, 'find_and_replace', rows, '--enable', '--force']))


if __name__ == '__main__':
    main(*sys.argv[1:])
