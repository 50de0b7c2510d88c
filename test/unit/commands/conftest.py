"""A configuration and a real ledger in a temporary folder; no daemon."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from container_crawler.rows import Row
from s3_sync import command
from s3_sync.clock import SystemClock
from s3_sync.config import Settings, load
from s3_sync.ledger import Ledger, Work
from s3_sync.session import describe

SECRET = 'hunter2-hunter2'
MAPPINGS = ('one', 'two')


@dataclass
class Node:
    """What an operator has: a file, a status folder, and what the commands print."""

    config: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def settings(self) -> Settings:
        return load(self.config)

    def generation(self, name: str) -> str:
        mapping = self.settings.mapping(name)
        assert mapping is not None
        return mapping.generation

    def open(self) -> Ledger:
        """As the daemon does; the caller closes it."""
        return Ledger.open(self.settings.status_dir)

    def start_once(self) -> None:
        """What is left of a daemon that has run: its ledger knows the mappings."""
        with self.open() as ledger:
            for mapping in self.settings.containers:
                ledger.set_generation(mapping.generation, mapping.name, describe(mapping), mapping.evaluation)

    def run(self, *words: str, code: int = 0) -> str:
        """Standard output of ``1space WORDS``, which must end with ``code``."""
        found = command.main([*words, '--config', str(self.config)])
        captured = self.capsys.readouterr()
        self.errors = captured.err
        assert found == code, captured
        assert SECRET not in captured.out + captured.err
        return captured.out

    def json_lines(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, '--json', code=code).splitlines()]


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {'name': name, 'account': 'AUTH_a', 'container': name, 'aws_bucket': 'bucket', 'aws_identity': 'key',
            'aws_secret': SECRET, 'aws_endpoint': 'http://127.0.0.1:9', **changes}


@pytest.fixture(autouse=True)
def _unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some commands ask for green threads first thing; the test process stays as it is."""
    monkeypatch.setattr('s3_sync.concurrency.monkey_patch', lambda: None)


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    def write(*entries: dict[str, Any], **top: Any) -> Path:
        path = tmp_path / 'sync.json'
        path.write_text(json.dumps({
            'status_dir': str(tmp_path / 'state'), 'swift_dir': str(tmp_path / 'no-swift'),
            'containers': list(entries), **top}))
        path.chmod(0o640)
        return path
    return write


@pytest.fixture
def node(write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Node:
    """Two mappings; the daemon has run once and stopped."""
    node = Node(write_config(*(entry(name) for name in MAPPINGS)), capsys)
    node.start_once()
    return node


@pytest.fixture
def new_node(write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Node:
    """The daemon has never run."""
    return Node(write_config(*(entry(name) for name in MAPPINGS)), capsys)


@pytest.fixture
def ledger(node: Node) -> Iterator[Ledger]:
    with node.open() as opened:
        yield opened


def waiting(container: str, name: str = 'o', *, kind: Any = 'failed', reason: str = 'throttled',
            detail: str = '503 SlowDown', due_in: float = 600.0) -> Work:
    """An entry of the ledger that waits."""
    row = Row(1, name, '1700000000.00000', 12, 'text/plain', 'd41d8cd98f00b204e9800998ecf8427e', False, 0)
    return Work('AUTH_a', container, row, kind, reason, detail, due=SystemClock().now() + due_in)
