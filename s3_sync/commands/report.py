"""The facts behind ``1space status``, as its ``--json`` gives them."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from s3_sync.commands.context import destination
from s3_sync.commands.numbers import iso
from s3_sync.commands.survey import Survey
from s3_sync.config import Mapping, Settings
from s3_sync.ledger import Kind, Ledger, RemovalTotals, holder, ledger_path
from s3_sync.remote_health import HELD_FACT
from s3_sync.removals import HARMLESS
from s3_sync.wire.tombstones import is_tombstone_container

WAITING_KINDS: tuple[Kind, ...] = ('failed', 'permanent', 'deferred')
TOTALS = ('copied', 'updated', 'deleted', 'bytes', 'archived', 'segments_removed')


@dataclass
class Report:
    """Times are Unix seconds here; ``as_json`` makes them text."""

    settings: Settings
    now: float
    daemon_pid: int | None
    survey_problem: str
    mappings: list[dict[str, Any]] = field(default_factory=list)
    orphans: list[dict[str, Any]] = field(default_factory=list)

    @property
    def trouble(self) -> bool:
        """Something failed, a database is unreadable, or a remote does not work."""
        return any(m['held'] or m['unreadable'] or m['waiting']['failed'] or m['waiting']['permanent']
                   or any(r['reason'] not in HARMLESS for r in m['removals']['reasons']) for m in self.mappings)


def make_report(settings: Settings, mappings: Sequence[Mapping], ledger: Ledger, survey: Survey, now: float) -> Report:
    report = Report(settings, now, holder(settings.status_dir), survey.problem)
    counts, totals, removals = ledger.counts(), ledger.totals(), ledger.removal_totals()
    known = {row.generation: row for row in ledger.generations()}
    held = ledger.fact(HELD_FACT) or {} if report.daemon_pid else {}

    def waiting(generation: str) -> dict[str, int]:
        return {kind: counts.get((generation, kind), 0) for kind in WAITING_KINDS}

    for mapping in mappings:
        generation = mapping.generation
        found = totals.get(generation, {})
        entry: dict[str, Any] = {
            'name': mapping.name, 'generation': generation, 'account': mapping.account,
            'container': mapping.container, 'destination': destination(mapping),
            'state': _state(ledger, mapping, report.daemon_pid, generation in known, held),
            'held': held.get(generation),
            'totals': {name: found.get(name, 0) for name in TOTALS},
            'waiting': waiting(generation),
            'reasons': [{'kind': kind, 'reason': reason, 'count': number, 'due': due}
                        for kind, reason, number, due in ledger.reasons(generation)]}
        entry['removals'] = _removals(ledger, mapping)
        report.mappings.append(entry | _progress(mapping, ledger, survey))
    configured = {mapping.generation for mapping in settings.containers}
    report.orphans = [
        {'generation': row.generation, 'name': row.name, 'description': json.loads(row.description),
         'last_used': row.last_seen, 'waiting': waiting(row.generation),
         'removals': asdict(removals.get(row.generation, RemovalTotals()))}
        for row in known.values() if row.generation not in configured]
    return report


def as_json(report: Report) -> dict[str, Any]:
    """JSON-ready."""
    mappings = [m | {'reasons': [r | {'due': iso(r['due'])} for r in m['reasons']],
                     'removals': _removals_json(m['removals'])} for m in report.mappings]
    return {'config': report.settings.path, 'ledger': ledger_path(report.settings.status_dir),
            'daemon_pid': report.daemon_pid, 'databases_problem': report.survey_problem or None,
            'mappings': mappings, 'orphans': [o | {'last_used': iso(o['last_used'])} for o in report.orphans]}


def _state(ledger: Ledger, mapping: Mapping, daemon_pid: int | None, known: bool, held: dict[str, str]) -> str:
    if ledger.is_paused(mapping.generation):
        return 'paused'
    if daemon_pid is None:
        return 'stopped'
    if not known:
        return 'not loaded'
    return 'held' if mapping.generation in held else 'running'


def _removals(ledger: Ledger, mapping: Mapping) -> dict[str, Any]:
    """Local objects and segments that wait to go."""
    reasons = ledger.removal_reasons(mapping.generation)
    return {
        'objects': sum(r.count for r in reasons if not r.segments),
        'segments': sum(r.count for r in reasons if r.segments),
        'bytes': sum(r.bytes for r in reasons),
        'since': min((r.added for r in reasons), default=None),
        'reasons': [{'kind': 'segment' if r.segments else 'object', 'reason': r.reason, 'count': r.count,
                     'bytes': r.bytes, 'due': r.due, 'since': r.added, 'detail': r.detail} for r in reasons]}


def _removals_json(removals: dict[str, Any]) -> dict[str, Any]:
    return removals | {'since': iso(removals['since']),
                       'reasons': [r | {'due': iso(r['due']), 'since': iso(r['since'])} for r in removals['reasons']]}


def _progress(mapping: Mapping, ledger: Ledger, survey: Survey) -> dict[str, Any]:
    """How far the node's databases have been read. Numbers of rows are upper bounds: not every row number is in use.

    Tombstones of deleted objects are no rows of users.
    """
    stored = {row.db_id: row for row in ledger.all_progress(mapping.generation)
              if not is_tombstone_container(row.container)}
    containers = {(account, container) for account, container in ledger.containers(mapping.generation)
                  if not is_tombstone_container(container)}
    databases: list[dict[str, Any]] = []
    survey.forget()
    if not mapping.all_containers:
        containers.add((mapping.account, mapping.container))
    here = {file.db_id: (account, container, file) for account, container in sorted(containers)
            for file in survey.databases(account, container)}
    for db_id in sorted(stored.keys() | here.keys()):
        row = stored.get(db_id)
        place = here.get(db_id)
        current = row is not None and row.evaluation == mapping.evaluation
        own = row.own_row if row is not None and current else 0
        verified = row.verified_row if row is not None and current else 0
        max_row = place[2].max_row if place else None
        account, container = (row.account, row.container) if row is not None else here[db_id][:2]
        databases.append({
            'id': db_id, 'account': account, 'container': container, 'own_row': own, 'verified_row': verified,
            'max_row': max_row, 'rows_left': None if max_row is None else max(0, max_row - own),
            'rows_unverified': max(0, own - verified)})
    return {
        'containers': len({(d['account'], d['container']) for d in databases}), 'databases': databases,
        'databases_behind': sum(1 for d in databases if d['rows_left']),
        'databases_unread': sum(1 for d in databases if d['max_row'] is None),
        'rows_left': sum(d['rows_left'] or 0 for d in databases),
        'rows_unverified': sum(d['rows_unverified'] for d in databases),
        'unreadable': survey.unreadable,
        'rescan': any(row.evaluation != mapping.evaluation for row in stored.values())}
