"""``1space pause`` and ``resume``: the daemon looks at these flags twice a second; they survive its restarts."""
from __future__ import annotations

import argparse
import json
import sys

from s3_sync.commands.context import NEVER_RAN, choose, load_settings, open_ledger
from s3_sync.commands.edge import EXIT_FAILED, EXIT_OK
from s3_sync.commands.names import printable
from s3_sync.ledger import holder


def run(arguments: argparse.Namespace) -> int:
    """Without names everything is meant, mappings that are added later too."""
    settings = load_settings(arguments.config)
    chosen = choose(settings, arguments.mappings)
    pausing = arguments.action == 'pause'
    ledger = open_ledger(settings)
    if ledger is None:
        print(f'1space: {NEVER_RAN} ({settings.status_dir}): there is nothing to {arguments.action}', file=sys.stderr)
        return EXIT_FAILED
    with ledger:
        for generation in [mapping.generation for mapping in chosen] if arguments.mappings else [None]:
            (ledger.pause if pausing else ledger.resume)(generation)
        states = {mapping.name: ledger.is_paused(mapping.generation) for mapping in settings.containers}
    pid = holder(settings.status_dir)
    if arguments.json:
        print(json.dumps({'daemon_pid': pid, 'paused': states}))
        return EXIT_OK
    for mapping in chosen:
        print(f'{printable(mapping.name)}: {"paused" if states[mapping.name] else "not paused"}')
    if pid is None:
        print('swift-s3-sync is not running; this holds when it starts.')
    elif pausing:
        print('Objects under way are finished; nothing new begins.')
    return EXIT_OK
