"""``1space check-config``: the daemon's own checks, and what the file means."""
from __future__ import annotations

import argparse
import json

from container_crawler.swift_dir import load_swift_dir
from s3_sync.commands.edge import EXIT_OK
from s3_sync.config import Settings, describe, load
from s3_sync.config.release import sync_problems
from s3_sync.errors import ConfigError


def run(arguments: argparse.Namespace) -> int:
    settings = load(arguments.config)
    if settings.containers or not (settings.migrations or settings.metadata_migrations):
        problems = sync_problems(settings)
        if problems:
            raise ConfigError(arguments.config, problems)
        if not arguments.file_only:
            load_swift_dir(settings.swift_dir)
    if arguments.json:
        print(json.dumps(describe.describe(settings), indent=2))
    else:
        _show(settings)
    return EXIT_OK


def _show(settings: Settings) -> None:
    for line in describe.lines(settings):
        print(line)
    print('good')
