"""What holds for unit tests alone."""
from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_green_process() -> Iterator[None]:
    """A process that a test has patched hangs later, where threads of others wait for each other."""
    yield
    patcher = sys.modules.get('eventlet.patcher')
    assert patcher is None or not patcher.is_monkey_patched('thread'), 'this test patched the whole process'
