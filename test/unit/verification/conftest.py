from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from s3_sync import verify
from test.fakes.odd_store import OddStore

SECRET = 'very-secret-words'


@dataclass
class Ended:
    """What a run of the command left for its caller."""

    code: int
    out: str
    err: str

    @property
    def target(self) -> dict[str, Any]:
        """The only target of the JSON document."""
        target, = json.loads(self.out)['targets']
        return dict(target)

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.target['steps'] if step['name'] == name)

    @property
    def outcomes(self) -> dict[str, str]:
        return {step['name']: step['outcome'] for step in self.target['steps']}

    @property
    def said(self) -> list[str]:
        """Lines of standard error."""
        return self.err.splitlines()


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with these words, in this process."""
    def call(*words: str) -> Ended:
        try:
            code = verify.main(list(words))
        except SystemExit as ended:
            code = int(str(ended.code or 0))
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        return Ended(code, out, err)
    return call


@pytest.fixture
def verify_store(run: Run) -> Callable[..., Ended]:
    """The whole verification of a store, as a document."""
    def call(store: OddStore, *words: str) -> Ended:
        return run('--protocol', 's3', '--endpoint', store.url, '--username', 'access', '--password', SECRET,
                   '--bucket', 'bucket', '--json', *words)
    return call
