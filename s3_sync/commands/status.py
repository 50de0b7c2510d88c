"""``1space status``: what each mapping has done and has left to do. Only reads, whether the daemon runs or not."""
from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from s3_sync.clock import SystemClock
from s3_sync.commands.context import NEVER_RAN, choose, load_settings, open_ledger
from s3_sync.commands.edge import EXIT_FAILED, EXIT_OK
from s3_sync.commands.names import printable, quote_path
from s3_sync.commands.numbers import count, duration, size, until
from s3_sync.commands.report import WAITING_KINDS, Report, as_json, make_report
from s3_sync.commands.survey import Survey
from s3_sync.ledger import ledger_path

WIDTH = 80
SHOWN_DATABASES = 5
LABEL = 12


def run(arguments: argparse.Namespace) -> int:
    """3 when something failed, cannot be read, or a remote does not work, else 0."""
    settings = load_settings(arguments.config)
    mappings = choose(settings, arguments.mappings)
    ledger = open_ledger(settings)
    if ledger is None:
        if arguments.json:
            print(json.dumps({'config': settings.path, 'ledger': None, 'daemon_pid': None, 'mappings': [],
                              'orphans': []}, indent=2))
        else:
            print(f'{NEVER_RAN} ({settings.status_dir}).')
        return EXIT_OK
    with ledger:
        report = make_report(settings, mappings, ledger, Survey.of(settings), SystemClock().now())
    if arguments.json:
        print(json.dumps(as_json(report), indent=2))
    else:
        _show(report, arguments.databases)
    return EXIT_FAILED if report.trouble else EXIT_OK


def _show(report: Report, databases: bool) -> None:
    print('swift-s3-sync is ' + (f'running (process {report.daemon_pid}).' if report.daemon_pid else 'not running.'))
    print(f'Ledger: {ledger_path(report.settings.status_dir)}')
    if report.survey_problem:
        _line('', f'Container databases cannot be read here: {report.survey_problem}')
    for mapping in report.mappings:
        print()
        _show_mapping(mapping, report.now, databases)
    if report.orphans:
        print('\nNo longer in the configuration; kept, and never acted on:')
    for orphan in report.orphans:
        removals = orphan['removals']
        numbers = orphan['waiting'] | {f'{kind} to remove': removals[kind] for kind in ('objects', 'segments')}
        waiting = ', '.join(f'{numbers[kind]:,} {kind}' for kind in numbers if numbers[kind])
        where = orphan['description']
        _line('', f'{orphan["generation"]} {orphan["name"]} to {where.get("bucket")} at '
              f'{where.get("endpoint") or "AWS"}, last used {duration(report.now - orphan["last_used"])} ago; '
              f'{waiting or "nothing waits"}')


def _show_mapping(mapping: dict[str, Any], now: float, databases: bool) -> None:
    print(f'{printable(mapping["name"])} [{mapping["state"]}]')
    if mapping['held']:
        _line('held', mapping['held'])
    _line('to', mapping['destination'])
    totals = mapping['totals']
    _line('done', f'{count(totals["copied"], "object")} copied ({size(totals["bytes"])}), '
          f'{totals["updated"]:,} updated, {totals["deleted"]:,} deleted')
    if totals['archived'] or totals['segments_removed']:
        _line('removed', f'{count(totals["archived"], "object")} and {count(totals["segments_removed"], "segment")}, '
              'here, after they were archived')
    _line('progress', _progress(mapping))
    for problem in mapping['unreadable'][:SHOWN_DATABASES]:
        _line('unreadable', problem)
    behind = mapping['databases'] if databases else sorted(
        (d for d in mapping['databases'] if d['rows_left']), key=lambda d: -d['rows_left'])[:SHOWN_DATABASES]
    for database in behind:
        _line('', _database(database))
    if not databases and mapping['databases_behind'] > SHOWN_DATABASES:
        _line('', f'and {count(mapping["databases_behind"] - SHOWN_DATABASES, "database")} more (--databases)')
    for kind in WAITING_KINDS:
        if mapping['waiting'][kind]:
            _line(kind, _waiting(mapping, kind, now))
    _show_removals(mapping['removals'], now)
    if mapping['waiting']['failed'] or mapping['waiting']['permanent']:
        _line('', '"1space failures list" names them')


def _progress(mapping: dict[str, Any]) -> str:
    text = (f'{count(mapping["containers"], "container")}, {count(len(mapping["databases"]), "database")} known; ')
    if mapping['rescan']:
        text += 'its selection has changed: everything is evaluated again; '
    left, unread = mapping['rows_left'], mapping['databases_unread']
    if left:
        text += f'at most {count(left, "row")} left'
    elif unread < len(mapping['databases']):
        text += 'nothing left'
    else:
        text += 'what is left cannot be told'
    if mapping['rows_unverified']:
        text += f'; at most {count(mapping["rows_unverified"], "row")} not verified for other nodes'
    if unread:
        text += f'; {count(unread, "database")} not on this node or not readable'
    return text


def _database(database: dict[str, Any]) -> str:
    text = (f'{quote_path(database["account"] + "/" + database["container"])} {database["id"]}: row '
            f'{database["own_row"]:,}')
    if database['max_row'] is None:
        return text + ' (not read)'
    text += f' of {database["max_row"]:,}'
    if database['verified_row'] < database['own_row']:
        text += f', {database["verified_row"]:,} verified'
    return text


def _waiting(mapping: dict[str, Any], kind: str, now: float) -> str:
    reasons = [r for r in mapping['reasons'] if r['kind'] == kind]
    told = ', '.join(f'{printable(r["reason"])} {r["count"]:,}' for r in reasons)
    text = f'{mapping["waiting"][kind]:,} ({told})'
    due = min((r['due'] for r in reasons if r['due'] is not None), default=None)
    return text if due is None else f'{text}, next {until(due, now)}'


def _show_removals(removals: dict[str, Any], now: float) -> None:
    """What is archived and has to wait here, why, and for what."""
    if not removals['reasons']:
        return
    kinds = [count(removals[f'{kind}s'], kind) for kind in ('object', 'segment') if removals[f'{kind}s']]
    _line('to remove', f'{" and ".join(kinds)} ({size(removals["bytes"])}), archived, for up to '
          f'{duration(now - removals["since"])}')
    for waits in removals['reasons']:
        text = f'{count(waits["count"], waits["kind"])} {printable(waits["reason"])}'
        if waits['reason'] != 'due':
            text += f', next {until(waits["due"], now)}'
        _line('', f'{text}: {waits["detail"]}' if waits['detail'] else text)


def _line(label: str, text: str) -> None:
    print(textwrap.fill(printable(text), WIDTH, initial_indent=f'    {label:<{LABEL - 2}}'.ljust(4 + LABEL),
                        subsequent_indent=' ' * (4 + LABEL), break_long_words=False, break_on_hyphens=False))
