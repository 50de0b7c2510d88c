"""Rows and entries for tests of the ledger, and children that run beside it."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from container_crawler.rows import Row
from s3_sync.ledger import Work

ROOT = Path(__file__).parents[3]
GENERATION = 'a1b2c3d4e5f60718'
OTHER = '00112233445566ff'


def row(name: str = 'o', created_at: str = '1700000000.00000', *, row_id: int = 1, deleted: bool = False) -> Row:
    return Row(row_id, name, created_at, 12, 'text/plain', 'd41d8cd98f00b204e9800998ecf8427e', deleted, 0)


def work(name: str = 'o', created_at: str = '1700000000.00000', *, kind: Any = 'failed', due: float = 100.0,
         account: str = 'AUTH_a', container: str = 'c', reason: str = 'throttled',
         detail: str = '503 SlowDown') -> Work:
    return Work(account, container, row(name, created_at), kind, reason, detail, due=due)


@contextmanager
def child(program: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own, killed and closed at the end."""
    process = subprocess.Popen([sys.executable, '-c', program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
