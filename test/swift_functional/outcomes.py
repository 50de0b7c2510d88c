"""What the tests came to, and the recorded list of a release: what passes on a plain proxy."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).parent / 'recorded'


@dataclass(frozen=True, slots=True)
class Outcome:
    result: str
    """passed, skipped or failed."""
    why: str = ''
    seconds: float = 0.0


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """As the plugin has written them: by test."""
    return {test: Outcome(*fields) for test, fields in json.loads(path.read_text()).items()}


def recorded_path(release: str) -> Path:
    return RECORDED / f'{release}.txt'


def read_recorded(release: str) -> frozenset[str]:
    """Tests that pass on a plain proxy of this release; FileNotFoundError when that was never recorded."""
    lines = recorded_path(release).read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith('#'))


def write_recorded(release: str, outcomes: Mapping[str, Outcome]) -> Path:
    """Replace the list of a release; what does not pass stands in it as a comment."""
    lines = [f'# Tests of Swift {release} that pass on a plain proxy. Made by: ./run_tests swift-functional a --record']
    for test, outcome in sorted(outcomes.items()):
        lines.append(test if outcome.result == 'passed' else f'# {outcome.result}: {test}')
    path = recorded_path(release)
    path.parent.mkdir(exist_ok=True)
    path.write_text('\n'.join(lines) + '\n')
    return path


def missing(recorded: Iterable[str], outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """What should have passed and did not, in order of its name."""
    absent = Outcome('not run')
    found = {test: outcomes.get(test, absent) for test in sorted(recorded)}
    return {test: outcome for test, outcome in found.items() if outcome.result != 'passed'}
