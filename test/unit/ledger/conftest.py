from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3_sync.clock import FakeClock
from s3_sync.ledger import Backoff, Ledger


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: FakeClock) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path), clock=clock, backoff=Backoff(draw=lambda: 1.0)) as opened:
        yield opened


@pytest.fixture
def command(ledger: Ledger, tmp_path: Path, clock: FakeClock) -> Iterator[Ledger]:
    """A second connection, as the operator's command has."""
    with Ledger.open(str(tmp_path), clock=clock, owner=False) as opened:
        yield opened


@pytest.fixture
def told_of_damage(expected_warnings) -> None:
    """The test fails when a replaced ledger is not told loudly."""
    expected_warnings('ERROR .*The ledger was damaged')
