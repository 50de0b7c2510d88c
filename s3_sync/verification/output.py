"""What people and programs get to see of a verification. No secret is ever in any of it."""
from __future__ import annotations

import json
import sys
from typing import Any

from s3_sync.verification import suggest
from s3_sync.verification.arguments import PROG
from s3_sync.verification.outcomes import StepResult, Target, Verdict, status_line

WORDS = {'ok': 'ok', 'warning': 'WARNING', 'failed': 'FAILED', 'skipped': 'skipped'}


class Output:
    """Steps as they end on standard output, failures on standard error as well."""

    def __init__(self, *, text: bool) -> None:
        """``text`` False: nothing on standard output before ``documents``."""
        self._text = text
        self._skipped: tuple[str, list[str]] = ('', [])
        """Steps that were left out for the same reason: one line for all of them."""

    def begins(self, target: Target) -> None:
        self._say(f'{target.label}{" (read only)" if target.mode == "read" else ""}')
        for note in target.notes:
            self._say(f'  note     {note}')

    def step(self, result: StepResult) -> None:
        if result.outcome == 'skipped':
            self._skip(result)
            return
        self._flush()
        took = f'{result.seconds * 1000:.0f} ms' if result.outcome in ('ok', 'warning') else ''
        said = '; '.join(filter(None, (_reason(result), took)))
        self._say(f'  {WORDS[result.outcome]:<8} {result.step.title}{f": {said}" if said else ""}')
        if result.outcome == 'failed':
            needs = f'; it needs {result.step.needs}' if result.step.needs and _lacks_permission(result) else ''
            complain(f'{result.step.title} failed: {_reason(result)}{needs}')

    def _skip(self, result: StepResult) -> None:
        reason, titles = self._skipped
        if reason != result.detail:
            self._flush()
            self._skipped = reason, titles = result.detail, []
        titles.append(result.step.title)

    def _flush(self) -> None:
        reason, titles = self._skipped
        self._skipped = ('', [])
        if titles:
            self._say(f'  {WORDS["skipped"]:<8} {", ".join(titles)}: {reason}')

    def ends(self, verdict: Verdict) -> None:
        self._flush()
        for what in verdict.left_behind:
            complain(f'left behind: {what}')
        for what in verdict.late:
            complain(f'may still appear, its write was never answered: {what}')
        if verdict.interrupted:
            complain(f'stopped by {verdict.interrupted}')
        if verdict.advice:
            self._say('')
        for advice in verdict.advice:
            setting = f'{advice.setting}: {json.dumps(advice.value)}: ' if advice.setting else ''
            self._say(f'- {setting}{advice.why}')
        entry = suggest.entry(verdict)
        if entry is not None:
            self._say(f'\nSettings that suit it, for "{suggest.section(verdict.target)}" of the configuration file:')
            self._say(json.dumps(entry, indent=2))
        self._say('')

    def _say(self, text: str) -> None:
        if self._text:
            print(text, flush=True)


def complain(text: str) -> None:
    """One line on standard error."""
    print(f'{PROG}: {" ".join(text.split())}', file=sys.stderr)


def document(verdicts: list[Verdict]) -> dict[str, Any]:
    """JSON-ready. Fields are added, never renamed."""
    return {'ok': all(verdict.ok for verdict in verdicts), 'targets': [_target(verdict) for verdict in verdicts]}


def _target(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    return {
        'name': target.label, 'protocol': target.mapping.remote.protocol, 'endpoint': target.mapping.remote.endpoint,
        'bucket': target.bucket or None, 'mode': target.mode, 'ok': verdict.ok,
        'steps': [_step(result) for result in verdict.steps], 'findings': verdict.findings,
        'advice': [{'setting': a.setting or None, 'value': a.value, 'why': a.why} for a in verdict.advice],
        'section': suggest.section(target), 'settings': suggest.entry(verdict), 'notes': list(target.notes),
        'left_behind': verdict.left_behind, 'late': verdict.late, 'interrupted': verdict.interrupted or None}


def _step(result: StepResult) -> dict[str, Any]:
    return {'name': result.step.name, 'title': result.step.title, 'needs': result.step.needs,
            'outcome': result.outcome, 'detail': result.detail, 'status': result.status,
            'milliseconds': round(result.seconds * 1000, 1)}


def _lacks_permission(result: StepResult) -> bool:
    """The credentials are good, and not for this."""
    return result.status == 403 and not any(word in result.detail for word in ('Signature', 'InvalidAccessKeyId'))


def _reason(result: StepResult) -> str:
    """The HTTP status line and what the remote said."""
    line = status_line(result.status)
    return f'{line} ({result.detail})' if line and result.detail else line or result.detail
