from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from test.swift_functional.__main__ import PLUGIN
from test.swift_functional.outcomes import read_outcomes

TESTS = """
import os
import unittest


class Tests(unittest.TestCase):
    def test_passes(self):
        assert os.environ['SWIFT_TEST_CONFIG_FILE'].endswith('test-0.conf')

    def test_fails(self):
        self.fail('because')

    def test_is_skipped(self):
        self.skipTest('not here')

    def test_fails_in_the_end(self):
        self.addCleanup(self.fail, 'late')

    def test_has_a_part_that_fails(self):
        for number in range(3):
            with self.subTest(number=number):
                assert number != 1
"""


def _alone() -> dict[str, str]:
    """Our own tests may run in several processes, of which the plugin would think as its lanes."""
    return {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_XDIST')}


def test_each_test_has_its_worst_outcome_and_why(tmp_path: Path) -> None:
    (tmp_path / 'test_some.py').write_text(TESTS)
    (tmp_path / 'pytest.ini').write_text('[pytest]\n')
    subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'swift_functional_plugin', '-p', 'no:cacheprovider',
                    'test_some.py'], cwd=tmp_path, stdout=subprocess.DEVNULL, check=False,
                   env={**_alone(), 'PYTHONPATH': str(PLUGIN), 'ONESPACE_FUNCTIONAL_FOLDER': str(tmp_path)})
    found = {test.rpartition('::')[2]: outcome for test, outcome in
             read_outcomes(tmp_path / 'outcomes.json').items()}
    assert {test: outcome.result for test, outcome in found.items()} == {
        'test_passes': 'passed', 'test_fails': 'failed', 'test_is_skipped': 'skipped',
        'test_fails_in_the_end': 'failed', 'test_has_a_part_that_fails': 'failed'}
    assert 'because' in found['test_fails'].why
    assert 'late' in found['test_fails_in_the_end'].why
