"""``1space plan``: a dry run. Nothing changes: not the remote, not the ledger, not the container databases."""
from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from container_crawler.swift_dir import load_swift_dir
from s3_sync.clock import Clock, SystemClock
from s3_sync.commands.context import choose, destination, load_settings, open_ledger
from s3_sync.commands.edge import EXIT_FAILED, EXIT_OK
from s3_sync.commands.names import printable, quote_path
from s3_sync.commands.numbers import count, iso, size, until
from s3_sync.commands.plan_dispatch import Planned
from s3_sync.commands.planner import Planner, PlanResult
from s3_sync.config import Mapping, Secret, Settings
from s3_sync.engine.outcomes import Kind, Outcome
from s3_sync.ledger import Ledger

WIDTH = 80
ACTIONS: dict[Kind, str] = {
    'copied': 'copy', 'updated': 'update', 'deleted': 'delete', 'archived': 'remove', 'deferred': 'deferred',
    'excluded': 'excluded', 'same': 'nothing', 'failed': 'failed', 'permanent': 'permanent'}
"""Outcome of the dry run to the word in the plan, in the order shown."""
REASONS = {'update': 'metadata', 'delete': 'deleted here'}
"""Why, where the outcome does not say."""
LOCAL_REASONS = {'removed': 'archived', 'waits': 'after a sweep'}
"""Why a local object may go, for people."""


class OneLine(logging.Formatter):
    """What the daemon's parts would log, without tracebacks: they are for its log."""

    def format(self, record: logging.LogRecord) -> str:
        return f'1space: {printable(record.getMessage())}'


class Tally:
    """What was told of one mapping; names objects as they come."""

    def __init__(self, mapping: Mapping, clock: Clock, *, objects: bool, as_json: bool) -> None:
        self._mapping = mapping
        self._clock = clock
        self._objects = objects
        self._json = as_json
        self._shown_at = clock.monotonic()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[str] = Counter()
        self.due: dict[str, float] = {}

    def add(self, planned: Planned) -> None:
        remote, local = planned.outcome._replace(local=None), planned.outcome.local
        self._add(planned, remote, planned.why or REASONS.get(ACTIONS[remote.kind], ''))
        if local is not None and local.kind != 'same':
            self._add(planned, local, local.reason)
        self._show_progress()

    def _add(self, planned: Planned, outcome: Outcome, reason: str) -> None:
        action = ACTIONS[outcome.kind]
        if action == 'remove':
            outcome = outcome._replace(bytes=planned.row.size)
            reason = LOCAL_REASONS.get(reason, reason)
        self.counts[action, reason] += 1
        self.bytes[action] += outcome.bytes
        if outcome.kind == 'deferred':
            self.due[reason] = min(outcome.due, self.due.get(reason, outcome.due))
        if self._objects and action != 'nothing':
            self._name(planned, outcome, action, reason)

    def end_progress(self) -> None:
        if sys.stderr.isatty():
            print(' ' * (WIDTH - 1), end='\r', file=sys.stderr, flush=True)

    def _name(self, planned: Planned, outcome: Outcome, action: str, reason: str) -> None:
        path = f'{planned.account}/{planned.container}/{planned.row.name}'
        if not self._json:
            print(f'{action:<10}{quote_path(path)}  ({printable(reason)})')
            return
        print(json.dumps({
            'type': 'object', 'mapping': self._mapping.name, 'generation': self._mapping.generation, 'action': action,
            'reason': reason, 'detail': outcome.detail, 'path': quote_path(path), 'account': planned.account,
            'container': planned.container, 'object': planned.row.name, 'bytes': outcome.bytes,
            'due': iso(outcome.due) if outcome.kind == 'deferred' else None}))

    def _show_progress(self) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at >= 1 and sys.stderr.isatty():
            self._shown_at = now
            print(f'{count(self.counts.total(), "object")} looked at', end='\r', file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """3 when something failed or could not be looked at, else 0."""
    settings = load_settings(arguments.config)
    mappings = choose(settings, arguments.mappings)
    load_swift_dir(settings.swift_dir)
    for variable in ('http_proxy', 'https_proxy'):
        proxy: Secret | None = getattr(settings, variable)
        if proxy is not None:
            os.environ[variable] = proxy.reveal()
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    clock = SystemClock()
    trouble = False
    with tempfile.TemporaryDirectory(prefix='1space-plan-') as folder, _copy(settings, folder) as ledger:
        for mapping in mappings:
            tally = Tally(mapping, clock, objects=arguments.objects, as_json=arguments.json)
            result = Planner(settings, mapping, ledger, Path(folder), all_rows=arguments.all_rows,
                             limit=arguments.limit, clock=clock, logger=logging.getLogger('1space.plan'),
                             told=tally.add).run()
            tally.end_progress()
            if arguments.json:
                print(json.dumps(_as_json(mapping, tally, result)))
            else:
                _show(mapping, tally, result, clock.now())
            trouble = trouble or bool(result.failed or result.held) or any(
                action in ('failed', 'permanent') for action, _ in tally.counts)
    return EXIT_FAILED if trouble else EXIT_OK


def _copy(settings: Settings, folder: str) -> Ledger:
    """A ledger of our own: as the node's is now, or a new one where the daemon never ran."""
    ledger = open_ledger(settings)
    if ledger is not None:
        with ledger:
            ledger.copy_to(folder)
    return Ledger.open(folder)


def _as_json(mapping: Mapping, tally: Tally, result: PlanResult) -> dict[str, Any]:
    actions: dict[str, Any] = {
        action: {'objects': sum(n for (a, _), n in tally.counts.items() if a == action), 'bytes': tally.bytes[action],
                 'reasons': {reason: n for (a, reason), n in sorted(tally.counts.items()) if a == action}}
        for action in ACTIONS.values()}
    return {'type': 'summary', 'mapping': mapping.name, 'generation': mapping.generation,
            'destination': destination(mapping), 'actions': actions, 'requests': dict(result.requests),
            'requests_total': sum(result.requests.values()), 'container_settings': list(result.containers),
            'requests_of_this_plan': result.asked, 'own_share_only': result.own_share_only,
            'limit_reached': result.limited,
            'requests_guessed': result.guessed, 'held': result.held or None, 'not_read': list(result.failed)}


def _show(mapping: Mapping, tally: Tally, result: PlanResult, now: float) -> None:
    print(f'{printable(mapping.name)} to {destination(mapping)}')
    for action in ACTIONS.values():
        reasons = {reason: n for (a, reason), n in tally.counts.most_common() if a == action}
        if not reasons:
            continue
        told = ', '.join(f'{printable(reason)} {n:,}' if len(reasons) > 1 else printable(reason)
                         for reason, n in reasons.items())
        if action == 'deferred':
            told += f'; next {until(min(tally.due.values()), now)}'
        data = f', {size(tally.bytes[action])}' if tally.bytes[action] else ''
        _line(f'{action:<12}{count(sum(reasons.values()), "object")}{data} ({told})')
    if not tally.counts:
        _line('nothing to do')
    if result.containers:
        _line(f'settings of {count(len(result.containers), "container")} would be brought')
    told = ', '.join(f'{operation} {n:,}' for operation, n in sorted(result.requests.items()))
    _line(f'about {count(sum(result.requests.values()), "request")} to the remote' + (f' ({told})' if told else '')
          + f', {size(tally.bytes["copy"])} of data; this dry run asked it {count(result.asked, "time")}')
    if result.guessed and result.requests.get('PUT'):
        _line('a HEAD is counted before each PUT: the daemon has not found out yet whether this remote honours '
              'conditional PUTs, which need none')
    if result.own_share_only:
        _line('this node\'s own share only; --all-rows shows what other nodes are to do first')
    if result.limited:
        _line('stopped at the limit: there is more')
    if result.held:
        _line(f'stopped: {printable(result.held)}')
    for name in result.failed:
        _line(f'could not be read: {quote_path(name)}')


def _line(text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent='    ', subsequent_indent=' ' * 16, break_long_words=False,
                        break_on_hyphens=False))
