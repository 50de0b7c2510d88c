from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3_sync.config import Settings, load
from s3_sync.errors import ConfigError

Entry = dict[str, Any]


@pytest.fixture
def s3() -> Callable[..., Entry]:
    """An entry of ``containers`` that is right, with changes."""
    def make(**changes: Any) -> Entry:
        return {'account': 'AUTH_a', 'container': 'c', 'aws_bucket': 'b', 'aws_identity': 'key',
                'aws_secret': 'hunter2', **changes}
    return make


@pytest.fixture
def swift() -> Callable[..., Entry]:
    def make(**changes: Any) -> Entry:
        return {'account': 'AUTH_a', 'container': 'c', 'protocol': 'swift', 'aws_bucket': 'b',
                'aws_endpoint': 'https://far.example.com/auth/v1.0', 'aws_identity': 'acc:user',
                'aws_secret': 'hunter2', **changes}
    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a configuration file (a dict as JSON, text and bytes as they are) and give its path."""
    def write(raw: Any, name: str = 'sync.json') -> str:
        path = tmp_path / name
        if isinstance(raw, dict):
            raw = json.dumps(raw)
        path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
        path.chmod(0o640)
        return str(path)
    return write


@pytest.fixture
def loaded(write: Callable[..., str]) -> Callable[..., Settings]:
    """Settings of a file with these mappings and top-level keys."""
    def make(*entries: Entry, environ: dict[str, str] | None = None, **top: Any) -> Settings:
        return load(write({'status_dir': '/var/lib/x', 'containers': list(entries), **top}), environ=environ or {})
    return make


@pytest.fixture
def refused(write: Callable[..., str]) -> Callable[..., list[str]]:
    """The problems of such a file, as ``path: message``."""
    def make(*entries: Entry, environ: dict[str, str] | None = None, **top: Any) -> list[str]:
        path = write({'status_dir': '/var/lib/x', 'containers': list(entries), **top})
        with pytest.raises(ConfigError) as caught:
            load(path, environ=environ or {})
        assert 'hunter2' not in str(caught.value) + repr(caught.value)
        return [str(problem) for problem in caught.value.problems]
    return make
