"""A hung disk stalls its own device's work only."""
from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eventlet
import pytest
from eventlet import patcher

from container_crawler import scan
from container_crawler.crawler import Crawler, CrawlerSettings
from container_crawler.device_threads import DeviceThreads
from test.unit.crawler.cluster import Cluster, LiveClock, Pair, RecorderFactory, settle

A = 'AUTH_ä'
native_threading = patcher.original('threading')


class HangingThreads(DeviceThreads):
    """One device does not answer until released."""

    def __init__(self, device: str, *, hang_on: str) -> None:
        super().__init__(timeout=0.3)
        self.hung_device, self.hang_on = device, hang_on
        self.release = native_threading.Event()

    def run_within(self, timeout: float, device: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def hanging(*args: Any, **kwargs: Any) -> Any:
            self.release.wait()
            return function(*args, **kwargs)

        hangs = device == self.hung_device and function.__name__ == self.hang_on and not self.release.is_set()
        return super().run_within(min(timeout, 0.3), device, hanging if hangs else function, *args, **kwargs)


@pytest.mark.parametrize('hang_on', ['take_stamps', 'inspect_folder', 'read_rows'])
def test_other_devices_go_on_and_the_hung_one_when_it_answers(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, hang_on: str) -> None:
    assert scan.PATIENCE_SECONDS <= 5
    cluster = Cluster(tmp_path / 'c', nodes=1, replicas=1, devices_per_node=2)
    containers = [f'c{n}' for n in range(12)]
    for container in containers:
        cluster.put(A, container, ['x'])
    device_of = {container: cluster.places(A, container)[0].device for container in containers}
    hung, other = 'sda1', 'sdb1'
    assert set(device_of.values()) == {hung, other}
    factory, threads = RecorderFactory(), HangingThreads(hung, hang_on=hang_on)
    crawler = Crawler(
        CrawlerSettings(devices=cluster.devices(), swift_dir=cluster.swift_dir, enumerator_workers=2),
        [Pair(A, container) for container in containers], factory, list_containers=lambda account: (),
        logger=logging.getLogger('crawler'), clock=LiveClock(), threads=threads)

    def handed() -> set[str]:
        return {key[1] for key, handler in factory.handlers.items() if handler.seen.own}

    others = {container for container, device in device_of.items() if device == other}
    polling = eventlet.spawn(crawler.poll)
    with eventlet.Timeout(10):
        while handed() != others:
            eventlet.sleep(0.01)
    assert threads.stuck(hung) or not polling.dead or hang_on != 'take_stamps'
    polling.wait()
    settle(crawler)
    assert handed() == others
    assert any(hung in record.getMessage() for record in caplog.records)
    assert not any(other in record.getMessage() for record in caplog.records)
    threads.release.set()
    while threads.stuck(hung):
        eventlet.sleep(0.01)
    settle(crawler)
    assert handed() == set(containers)
    crawler.close()
    threads.close()
