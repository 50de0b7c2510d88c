"""``1space failures``: what is not done and why; trying it again, or forgetting it.

Without arguments all mappings of the configuration are meant. Entries of
orphaned generations (mappings that left it) are named in ``status``, and are
meant only when their generation id is given.
"""
from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from s3_sync.clock import SystemClock
from s3_sync.commands.context import NEVER_RAN, find, load_settings, open_ledger
from s3_sync.commands.edge import EXIT_FAILED, EXIT_OK, UsageError
from s3_sync.commands.names import printable, quote_path, unquote_path
from s3_sync.commands.numbers import iso, until
from s3_sync.config import Settings
from s3_sync.ledger import Kind, Ledger, Work, holder

WIDTH = 80


class Choice(NamedTuple):
    """What one argument means: a generation, or a path in one."""

    argument: str
    generation: str
    path: str | None = None


def run(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.config)
    ledger = open_ledger(settings)
    if ledger is None:
        print(f'1space: {NEVER_RAN} ({settings.status_dir})', file=sys.stderr)
        return EXIT_FAILED if arguments.what else EXIT_OK
    with ledger:
        choices = _choices(settings, ledger, arguments.what)
        if arguments.action == 'list':
            return _list(settings, ledger, choices, arguments)
        return _change(settings, ledger, choices, arguments)


def _choices(settings: Settings, ledger: Ledger, what: Sequence[str]) -> list[Choice]:
    generations = [mapping.generation for mapping in settings.containers]
    if not what:
        return [Choice('', generation) for generation in generations]
    known = {row.generation for row in ledger.generations()} | set(generations)
    choices = []
    for argument in what:
        mapping = find(settings, argument)
        if mapping is not None or argument in known:
            choices.append(Choice(argument, mapping.generation if mapping else argument))
            continue
        try:
            path = unquote_path(argument)
        except ValueError:
            raise UsageError(f'{argument!r} is no path: what it encodes is no UTF-8') from None
        if '/' not in path:
            raise UsageError(f'{argument!r} is no mapping, generation or account/container[/object]')
        choices += [Choice(argument, generation, path) for generation in generations]
    return list(dict.fromkeys(choices))


# -- list ---------------------------------------------------------------------------------


def _list(settings: Settings, ledger: Ledger, choices: list[Choice], arguments: argparse.Namespace) -> int:
    names = {mapping.generation: mapping.name for mapping in settings.containers}
    found: Counter[str] = Counter()
    counts: Counter[Kind] = Counter()
    now = SystemClock().now()
    for choice, work in _works(ledger, choices, arguments.kind):
        found[choice.argument] += 1
        counts[work.kind] += 1
        name = names.get(work.generation, f'orphaned {work.generation}')
        if arguments.json:
            print(json.dumps(_as_json(work, name)))
        else:
            _show(work, name if len(names) > 1 or work.generation not in names else '', now)
    missing = _say_missing(choices, found)
    if not arguments.json:
        told = ', '.join(f'{number:,} {kind}' for kind, number in sorted(counts.items()))
        print(told or 'nothing')
    return EXIT_FAILED if missing else EXIT_OK


def _works(ledger: Ledger, choices: list[Choice], kind: Kind | None) -> Iterator[tuple[Choice, Work]]:
    for choice in choices:
        for work in ledger.failures(choice.generation, kind=kind, path=choice.path):
            yield choice, work


def _show(work: Work, mapping: str, now: float) -> None:
    """The path on a line of its own, never broken: it is what is given back."""
    print(quote_path(work.path))
    facts: list[str] = [work.kind]
    if mapping:
        facts.insert(0, printable(mapping))
    if work.kind == 'failed':
        facts += [f'attempt {work.attempts}', f'again {until(work.due, now)}']
    elif work.kind == 'deferred':
        facts += [f'due {until(work.due, now)}']
    text = f'{", ".join(facts)}: {work.reason}'
    if work.detail:
        text += f': {printable(work.detail)}'
    print(textwrap.fill(text, WIDTH, initial_indent='    ', subsequent_indent='    ', break_on_hyphens=False))


def _as_json(work: Work, mapping: str) -> dict[str, Any]:
    permanent = work.kind == 'permanent'
    return {'mapping': mapping, 'generation': work.generation, 'path': quote_path(work.path), 'account': work.account,
            'container': work.container, 'object': work.row.name, 'delete': work.row.deleted, 'size': work.row.size,
            'kind': work.kind, 'reason': work.reason, 'detail': work.detail, 'attempts': work.attempts,
            'due': None if permanent else iso(work.due), 'first_seen': iso(work.first_seen),
            'updated': iso(work.updated)}


# -- retry and drop -----------------------------------------------------------------------


def _change(settings: Settings, ledger: Ledger, choices: list[Choice], arguments: argparse.Namespace) -> int:
    change = ledger.retry if arguments.action == 'retry' else ledger.drop
    done = 'due now' if arguments.action == 'retry' else 'dropped'
    found: Counter[str] = Counter()
    for choice in choices:
        found[choice.argument] += change(choice.generation, kind=arguments.kind, path=choice.path)
    missing = _say_missing(choices, found)
    pid = holder(settings.status_dir)
    if arguments.json:
        print(json.dumps({'action': arguments.action, 'changed': found.total(), 'daemon_pid': pid}))
    else:
        print(f'{found.total():,} {done}')
        if arguments.action == 'retry' and found.total() and pid is None:
            print('swift-s3-sync is not running; they are tried when it starts.')
    return EXIT_FAILED if missing else EXIT_OK


def _say_missing(choices: list[Choice], found: Counter[str]) -> bool:
    """Paths that somebody named and that stand for nothing are told. Whether there were any."""
    missing = [argument for argument in dict.fromkeys(c.argument for c in choices if c.path is not None)
               if not found[argument]]
    for argument in missing:
        print(f'1space: nothing is listed for {argument}', file=sys.stderr)
    return bool(missing)
