"""Run Swift's own functional tests against trial clusters and compare with what passes on a plain proxy.

Usage: python -m test.swift_functional [MODE ...] [--record] [--lanes N] [--only EXPRESSION]
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3_sync.clock import SystemClock
from s3_sync.trial.scratch import ScratchFolder
from s3_sync.trial.swift_cluster import SwiftCluster
from test.swift_functional.outcomes import (
    Outcome,
    missing,
    read_outcomes,
    read_recorded,
    recorded_path,
    write_recorded,
)
from test.swift_functional.source import CACHE, fetch, installed_release
from test.swift_functional.worlds import MODES, worlds, write_test_conf

PLUGIN = Path(__file__).parent / 'plugin'
GROUPS = {'c': [mode for mode in MODES if mode.startswith('c-')], 'all': list(MODES)}
WHY_LINES = 12
"""Of a failure, in our summary; the whole of it is in the saved output."""
TEST_SECONDS = 300
RAN = (0, 1)
"""Exit codes of a pytest that has run its tests, whatever they came to."""
OUTPUT_TAIL = 3000


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    release = installed_release()
    tests = fetch(release)
    modes = list(dict.fromkeys(mode for name in options.modes or ['all'] for mode in GROUPS.get(name, [name])))
    if not options.record and not recorded_path(release).exists():
        print(f'Nothing is recorded for Swift {release}: ./run_tests swift-functional a --record', file=sys.stderr)
        return 2
    failed = [mode for mode in modes if not _run_mode(mode, tests, release, options)]
    for mode in modes:
        print(f'swift-functional {mode}: {"FAILED" if mode in failed else "good"}')
    return 1 if failed else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='./run_tests swift-functional')
    parser.add_argument('modes', nargs='*', metavar='MODE', help=(
        'a: plain proxy; b: shunt without mappings; c-s3, c-swift: all containers merged with an empty S3 bucket or '
        'Swift account; c-migrate-s3, c-migrate-swift: the same as migrations; c: these four; default: everything'))
    parser.add_argument('--record', action='store_true', help='what passes in mode a becomes the recorded list')
    parser.add_argument('--lanes', type=int, default=2, help='processes of tests, each with its own cluster (2)')
    parser.add_argument('--only', metavar='EXPRESSION', help='pytest -k; what is not selected is not missed')
    options = parser.parse_args(arguments)
    unknown = [mode for mode in options.modes if mode not in MODES and mode not in GROUPS]
    if unknown:
        parser.error(f'no such mode: {", ".join(unknown)} (there are {", ".join([*MODES, *GROUPS])})')
    if options.record and (options.modes != ['a'] or options.only):
        parser.error('--record is for a whole run of mode a')
    return options


def _run_mode(mode: str, tests: Path, release: str, options: argparse.Namespace) -> bool:
    """Whether all went well: nothing that is recorded did not pass."""
    print(f'== swift-functional {mode} (Swift {release}, {options.lanes} lanes)', flush=True)
    saved = CACHE / 'last' / mode
    saved.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    begin = clock.monotonic()
    with ScratchFolder() as scratch, worlds(mode, options.lanes) as there:
        for lane, cluster in enumerate(there.clusters):
            write_test_conf(scratch.path / f'test-{lane}.conf', cluster)
        before = there.requests() if there.requests else 0
        outcomes = _run_tests(tests, scratch.path, saved / 'output.txt', options)
        remote_requests = there.requests() - before if there.requests else None
        _save_logs(scratch.path, there.clusters, saved)
        crashes = _crashes(there.clusters)
    if not outcomes:
        return False
    counts = Counter(outcome.result for outcome in outcomes.values())
    if remote_requests is not None:
        print(f'   the remotes had {remote_requests} requests')
        if not remote_requests:
            return False  # whatever this run was, it was not one of merged containers
    print(f'   {dict(sorted(counts.items()))} in {clock.monotonic() - begin:.0f} s; output and logs: {saved}')
    if options.record:
        print(f'   recorded in {write_recorded(release, outcomes)}')
        return _report({test: found for test, found in outcomes.items() if found.result == 'failed'})
    recorded = read_recorded(release)
    for crash in crashes:
        print(f'   CRASH {crash}')
    return _report(missing(recorded & outcomes.keys() if options.only else recorded, outcomes)) and not crashes


def _run_tests(tests: Path, folder: Path, output: Path, options: argparse.Namespace) -> dict[str, Outcome]:
    """One pytest, with a process per lane when there are several."""
    (folder / 'pytest.ini').write_text('[pytest]\npython_files = test*.py\n')
    command = [sys.executable, '-m', 'pytest', '-c', str(folder / 'pytest.ini'), '--rootdir', str(tests), '-q', '-ra',
               '-p', 'swift_functional_plugin', '-p', 'no:cacheprovider', '--disable-warnings', '--tb=short',
               f'--timeout={TEST_SECONDS}', 'test/functional']
    if options.lanes > 1:
        # The tests of a class share what its first one has set up.
        command += ['-n', str(options.lanes), '--dist', 'loadscope']
    if options.only:
        command += ['-k', options.only]
    with output.open('w') as stream:
        code = subprocess.run(command, cwd=tests, env=_environment(folder), stdout=stream, stderr=subprocess.STDOUT,
                              check=False).returncode
    if code not in RAN:
        print(f'   pytest did not come to its end, code {code}:\n{output.read_text()[-OUTPUT_TAIL:]}')
        return {}
    return read_outcomes(folder / 'outcomes.json')


def _environment(folder: Path) -> dict[str, str]:
    """Whoever runs this may have credentials and proxies; the tests are not to find them."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(('AWS_', 'OS_', 'ST_', 'SWIFT_', 'PYTEST_')) and not name.lower().endswith('_proxy')}
    return kept | {'PYTHONPATH': str(PLUGIN), 'ONESPACE_FUNCTIONAL_FOLDER': str(folder), 'SWIFT_TEST_IN_PROCESS': '0',
                   'AWS_CONFIG_FILE': os.devnull, 'AWS_SHARED_CREDENTIALS_FILE': os.devnull,
                   'AWS_EC2_METADATA_DISABLED': 'true', 'BOTO_CONFIG': os.devnull}


def _save_logs(written: Path, clusters: Sequence[SwiftCluster], folder: Path) -> None:
    if (written / 'outcomes.json').exists():
        (folder / 'outcomes.json').write_bytes((written / 'outcomes.json').read_bytes())
    for lane, cluster in enumerate(clusters):
        for log in cluster.logs.glob('proxy-server-*.log'):
            (folder / f'lane-{lane}-{log.name}').write_bytes(log.read_bytes())


def _crashes(clusters: Sequence[SwiftCluster]) -> list[str]:
    """Tracebacks in the proxies' logs: clients that try again may never see what went wrong."""
    return [line for cluster in clusters for log in cluster.logs.glob('proxy-server-*.log')
            for line in log.read_text(errors='replace').splitlines() if 'Traceback' in line]


def _report(bad: Mapping[str, Outcome]) -> bool:
    for test, outcome in bad.items():
        print(f'   {outcome.result.upper()} {test}')
        for line in outcome.why.splitlines()[-WHY_LINES:]:
            print(f'      {line}')
    return not bad


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
