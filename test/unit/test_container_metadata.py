"""Metadata of containers on its way to remotes that are quick, slow, broken or changed meanwhile."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.concurrency import Event, sleep
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Remote, Secret
from s3_sync.container_metadata import RETRY_SECONDS, ContainerMetadata
from s3_sync.errors import PermanentError
from s3_sync.ledger import Ledger

LOGGER = logging.getLogger('test.container_metadata')


class RemoteContainer:
    """Takes metadata, one call after the other, once ``gate`` is open."""

    def __init__(self) -> None:
        self.brought: list[Mapping[str, str]] = []
        self.error: Exception | None = None
        self.gate: Event | None = None

    def apply_container(self, headers: Mapping[str, str]) -> None:
        self.brought.append(headers)
        if self.gate is not None:
            self.gate.wait()
        if self.error is not None:
            raise self.error


class Rig:
    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.clock = clock
        self.remotes: dict[str, RemoteContainer] = {}
        self.ready = True
        self.metadata = ContainerMetadata(ledger, self.remote, clock=clock, logger=LOGGER, on_ledger_error=self.fail)

    def fail(self, error: Exception) -> None:
        raise AssertionError(error)

    def remote(self, mapping: SyncMapping) -> Any:
        return self.remotes.setdefault(mapping.remote.bucket, RemoteContainer())

    def container(self, bucket: str = 'b', **keys: object) -> Any:
        remote = Remote.model_validate({'protocol': 'swift', 'bucket': bucket, 'endpoint': 'http://127.0.0.1:1',
                                        'identity': 'i', 'secret': Secret('s')})
        mapping = SyncMapping.model_validate({'account': 'AUTH_a', 'container': 'c', 'remote': remote,
                                               'sync_container_metadata': True, **keys})
        return SimpleNamespace(key=(mapping.generation, 'c'), mapping=mapping, ready=lambda: self.ready)

    def bring(self) -> None:
        self.metadata.bring()
        sleep(0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    clock = FakeClock()
    with Ledger.open(str(tmp_path), clock=clock, logger=LOGGER) as ledger:
        made = Rig(ledger, clock)
        yield made
        made.metadata.close()


def test_it_is_brought_once_and_again_when_it_changes(rig: Rig) -> None:
    container = rig.container()
    for headers in ({'x-container-meta-a': '1'}, {'x-container-meta-a': '1'}, {'x-container-meta-a': '2'}):
        rig.metadata.changed(container, headers)
        rig.bring()
    assert rig.remotes['b'].brought == [{'x-container-meta-a': '1'}, {'x-container-meta-a': '2'}]
    assert rig.metadata.undone() == {}


def test_it_is_brought_again_when_the_mapping_begins_to_want_more(rig: Rig) -> None:
    for container in (rig.container(), rig.container(sync_container_acl=True)):
        rig.metadata.changed(container, {'x-container-read': '.r:*'})
        rig.bring()
    assert len(rig.remotes['b'].brought) == 2


def test_a_mapping_that_wants_nothing_asks_nothing_until_there_is_something_to_take_back(rig: Rig) -> None:
    never = rig.container(sync_container_metadata=False)
    rig.metadata.changed(never, {'x-container-meta-a': '1'})
    rig.bring()
    assert rig.remotes == {}
    for container in (rig.container(remote_delete_after=86400, sync_container_metadata=False), never):
        rig.metadata.changed(container, {})
        rig.bring()
    assert len(rig.remotes['b'].brought) == 2


def test_a_change_while_the_remote_is_asked_is_not_lost(rig: Rig) -> None:
    container = rig.container()
    gate = rig.remote(container.mapping).gate = Event()
    rig.metadata.changed(container, {'x-container-meta-a': 'old'})
    rig.bring()
    rig.metadata.changed(container, {'x-container-meta-a': 'new'})
    gate.send()
    sleep(0)
    rig.bring()
    assert rig.remotes['b'].brought[-1] == {'x-container-meta-a': 'new'}
    assert rig.metadata.undone() == {}


def test_a_remote_that_does_not_answer_keeps_no_other_mapping_waiting(rig: Rig) -> None:
    slow, quick = rig.container('slow'), rig.container('quick')
    gate = rig.remote(slow.mapping).gate = Event()
    rig.metadata.changed(slow, {})
    rig.bring()
    rig.metadata.changed(quick, {})
    rig.bring()
    assert rig.remotes['quick'].brought == [{}]
    assert rig.metadata.busy
    gate.send()
    sleep(0)
    assert not rig.metadata.busy


def test_what_fails_is_told_and_tried_again_later(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    container = rig.container()
    rig.remote(container.mapping).error = PermanentError('not that one')
    rig.metadata.changed(container, {})
    rig.bring()
    rig.bring()
    assert rig.remotes['b'].brought == [{}]
    assert rig.metadata.undone() == {"AUTH_a/c: metadata of container 'c'": 'not that one'}
    assert 'not that one' in caplog.text
    rig.remotes['b'].error = None
    rig.clock.advance(RETRY_SECONDS)
    rig.bring()
    assert len(rig.remotes['b'].brought) == 2
    assert rig.metadata.undone() == {}


def test_it_waits_while_the_mapping_is_held(rig: Rig) -> None:
    rig.ready = False
    rig.metadata.changed(rig.container(), {})
    rig.bring()
    assert rig.remotes == {}
    assert list(rig.metadata.undone().values()) == ['the mapping is held']
    rig.ready = True
    rig.bring()
    assert rig.remotes['b'].brought == [{}]
