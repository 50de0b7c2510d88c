from __future__ import annotations

from pathlib import Path

import pytest

from test.swift_functional import outcomes
from test.swift_functional.__main__ import main
from test.swift_functional.outcomes import Outcome, missing, read_recorded, write_recorded

FOUND = {'a::passes': Outcome('passed'), 'b::fails': Outcome('failed', 'E  404'), 'c::skipped': Outcome('skipped')}


def test_only_what_passes_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, 'RECORDED', tmp_path)
    write_recorded('1.2', FOUND)
    assert read_recorded('1.2') == {'a::passes'}


def test_a_recorded_test_that_fails_or_is_skipped_or_never_runs_is_named() -> None:
    found = missing(['d::gone', *FOUND], FOUND)
    assert {test: outcome.result for test, outcome in found.items()} == {
        'b::fails': 'failed', 'c::skipped': 'skipped', 'd::gone': 'not run'}


@pytest.mark.parametrize('arguments', [['d'], ['b', '--record'], ['a', '--record', '--only', 'x']])
def test_an_unknown_mode_and_a_recording_of_anything_but_the_plain_proxy_are_refused(
        arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert 'error:' in capsys.readouterr().err
