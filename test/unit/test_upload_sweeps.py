"""Unfinished uploads are looked at a few times a day, whatever restarts and errors come between."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.concurrency import sleep
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.errors import Throttled
from s3_sync.ledger import Ledger
from s3_sync.remote_health import RemoteHealth
from s3_sync.sync_container import MappingState
from s3_sync.upload_sweeps import ABANDONED_SECONDS, EVERY_SECONDS, UploadSweeps
from s3_sync.wire.tombstones import tombstone_container

LOGGER = logging.getLogger('test.upload_sweeps')


class Rig:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock(2_000_000_000.0)
        self.ledger = Ledger.open(str(folder), clock=self.clock)
        self.asked: list[tuple[str, float]] = []
        self.error: Exception | None = None

    def sweeps(self, container: str = 'c') -> UploadSweeps:
        remote = Remote.model_validate({'aws_bucket': 'b', 'aws_identity': 'i', 'aws_secret': Secret('s')})
        mapping = Mapping.model_validate({'account': 'AUTH_a', 'container': container, 'remote': remote})
        self.state = MappingState(mapping, RemoteHealth(self.clock))
        return UploadSweeps({mapping.generation: self.state}, self.ledger, self.provider, clock=self.clock,
                            logger=LOGGER, on_ledger_error=self.fail)

    def fail(self, error: Exception) -> None:
        raise AssertionError(error)

    def provider(self, mapping: Mapping) -> Any:
        rig = self

        class Provider:
            def sweep_uploads(self, older_than_seconds: float) -> int:
                rig.asked.append((mapping.container, older_than_seconds))
                if rig.error is not None:
                    raise rig.error
                return 1
        return Provider()

    def tick(self, sweeps: UploadSweeps, seconds: float = 0.0) -> int:
        """How many were asked in all."""
        self.clock.advance(seconds)
        sweeps.tick()
        sleep(0)
        return len(self.asked)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.ledger.close()


def test_they_are_looked_at_every_so_often_and_a_restart_asks_no_sooner(rig: Rig) -> None:
    sweeps = rig.sweeps()
    assert rig.tick(sweeps) == 0
    assert rig.tick(sweeps, EVERY_SECONDS) == 1
    assert rig.asked == [('c', ABANDONED_SECONDS)]
    assert rig.tick(sweeps, 60) == 1
    again = rig.sweeps()
    assert rig.tick(again, EVERY_SECONDS - 120) == 1
    assert rig.tick(again, 120) == 2


def test_what_was_due_while_nothing_ran_is_done_at_the_start(rig: Rig) -> None:
    rig.sweeps()
    rig.clock.advance(10 * EVERY_SECONDS)
    assert rig.tick(rig.sweeps()) == 1


def test_every_known_container_of_an_account_has_its_turn_and_errors_wait_for_the_next(
        rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    sweeps = rig.sweeps('/*')
    for number, container in enumerate(('a', 'b', 'c', tombstone_container('a'))):
        rig.ledger.save_progress(rig.state.mapping.generation, f'db-{number}', account='AUTH_a', container=container,
                                 own_row=1, verified_row=1, share='0/1', evaluation='e')
    rig.error = Throttled('slow down', status=503)
    assert rig.tick(sweeps, EVERY_SECONDS) == 3
    assert [container for container, _ in rig.asked] == ['a', 'b', 'c']
    assert 'slow down' in caplog.text


def test_a_paused_mapping_waits(rig: Rig) -> None:
    sweeps = rig.sweeps()
    rig.state.paused = True
    assert rig.tick(sweeps, EVERY_SECONDS) == 0
    rig.state.paused = False
    assert rig.tick(sweeps) == 1


def test_what_nobody_expected_is_logged_and_the_next_time_comes(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    sweeps = rig.sweeps()
    rig.error = KeyError('odd answer')
    assert rig.tick(sweeps, EVERY_SECONDS) == 1
    assert 'unexpected error' in caplog.text and 'odd answer' in caplog.text
    assert rig.tick(sweeps, EVERY_SECONDS) == 2
