"""Loaded into the pytest that runs Swift's tests: one cluster per worker, and a file with every test's outcome.

It lies in a folder of its own, because that process has Swift's ``test``
package where ours would be.
"""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ['ONESPACE_FUNCTIONAL_FOLDER'])
"""Has one ``test-N.conf`` per worker; ``outcomes.json`` is written into it."""
RANK = {'passed': 0, 'skipped': 1, 'failed': 2}

worker = os.environ.get('PYTEST_XDIST_WORKER', 'gw0')
# Swift's test package reads it when it is imported.
os.environ['SWIFT_TEST_CONFIG_FILE'] = str(FOLDER / f'test-{worker.removeprefix("gw")}.conf')

_outcomes: dict[str, tuple[str, str, float]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of setup, test and teardown counts; why, and the seconds of all three."""
    before, why, seconds = _outcomes.get(report.nodeid, ('passed', '', 0.0))
    if RANK[report.outcome] > RANK[before]:
        before = report.outcome
        why = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    _outcomes[report.nodeid] = (before, why, seconds + report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, 'workerinput'):
        (FOLDER / 'outcomes.json').write_text(json.dumps(_outcomes, indent=0, sort_keys=True))
