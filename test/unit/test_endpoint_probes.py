from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.concurrency import sleep
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.endpoint_probes import AGAIN_SECONDS, KEPT_SECONDS, EndpointProbes
from s3_sync.errors import ConnectionFailed, LedgerError
from s3_sync.ledger import Ledger


class Endpoint:
    """Stands for the providers of one process, and for the one behind them."""

    def __init__(self, *answers: tuple[bool, bool] | Exception) -> None:
        self.answers = list(answers)
        self.told: list[tuple[str, bool, bool]] = []

    def get(self, mapping: Mapping) -> Endpoint:
        return self

    def probe_conditional_put(self) -> tuple[bool, bool]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def set_conditional_put(self, mapping: Mapping, create_only: bool, overwrite: bool) -> None:
        self.told.append((mapping.container, create_only, overwrite))


class Clock(FakeClock):
    """Lets others run."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        sleep(0)


def mapping(container: str, bucket: str = 'b', **remote: object) -> Mapping:
    return Mapping.model_validate({'account': 'AUTH_a', 'container': container, 'remote': Remote.model_validate({
        'bucket': bucket, 'endpoint': 'http://127.0.0.1:1', 'identity': 'i', 'secret': Secret('s'), **remote})})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path), clock=clock) as opened:
        yield opened


def probes(endpoint: Any, ledger: Any, clock: Clock, *mappings: Mapping) -> tuple[EndpointProbes, list[object]]:
    changes: list[object] = []
    made = EndpointProbes(mappings, ledger, endpoint, clock=clock, logger=logging.getLogger('test.probes'),
                          changed=lambda: changes.append('changed'), on_ledger_error=changes.append)
    made.start()
    return made, changes


def test_one_answer_serves_all_mappings_of_an_endpoint_and_is_believed_for_a_day(ledger: Ledger, clock: Clock) -> None:
    endpoint = Endpoint((True, False))
    one, two = mapping('one'), mapping('two')
    made, changes = probes(endpoint, ledger, clock, one, two)
    assert made.busy and made.awaited(one) and made.awaited(two)
    sleep(0)
    assert not (made.busy or made.awaited(one)) and changes == ['changed']
    assert endpoint.told == [('one', True, False), ('two', True, False)]

    clock.advance(KEPT_SECONDS - 1)
    again, changes = probes(endpoint, ledger, clock, one)
    assert not again.busy and endpoint.told[2:] == [('one', True, False)]
    clock.advance(2)
    endpoint.answers.append((True, True))
    assert probes(endpoint, ledger, clock, one)[0].busy
    sleep(0)
    assert endpoint.told[3:] == [('one', True, True)]


def test_mappings_whose_endpoint_is_known_by_its_kind_are_not_asked(ledger: Ledger, clock: Clock) -> None:
    known = mapping('one', conditional_put='never'), mapping('two', protocol='swift')
    made, _ = probes(Endpoint(), ledger, clock, *known)
    assert not made.busy


def test_one_that_cannot_be_asked_holds_its_mappings_up_once_and_is_asked_again(ledger: Ledger, clock: Clock) -> None:
    endpoint = Endpoint(ConnectionFailed('refused'), ConnectionFailed('refused'), (True, True))
    one = mapping('one')
    made, changes = probes(endpoint, ledger, clock, one)
    sleep(0)
    assert not made.awaited(one) and changes == ['changed'] and endpoint.told == []
    sleep(0)
    sleep(0)
    assert endpoint.told == [('one', True, True)] and changes == ['changed', 'changed']
    assert clock.slept == [AGAIN_SECONDS, AGAIN_SECONDS]


def test_a_ledger_that_cannot_be_written_is_told(ledger: Ledger, clock: Clock) -> None:
    made, changes = probes(Endpoint((True, True)), ledger, clock, mapping('one'))
    ledger.close()
    sleep(0)
    assert [type(change) for change in changes] == [LedgerError]
    made.close()
