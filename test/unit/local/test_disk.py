from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from swift.common.exceptions import DiskFileStateChanged
from swift.common.utils import Timestamp

from container_crawler.exceptions import DeviceTimeout
from s3_sync.clock import FakeClock
from s3_sync.errors import SourceGone, SourceStale, SourceUnavailable
from s3_sync.local.disk import DEVICE_REST_SECONDS, DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.versions import SMALL_BYTES, ThroughProxy
from s3_sync.timestamps import MARKER

T = 1_600_000_000.0


class HereAndNow:
    """A runner without threads; ``hung`` devices time out, ``calls`` counts who was asked."""

    def __init__(self) -> None:
        self.hung: set[str] = set()
        self.calls: list[str] = []

    def run(self, device: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(device)
        if device in self.hung:
            raise DeviceTimeout(device, 1)
        return function(*args, **kwargs)

    def close(self) -> None:
        pass


@pytest.fixture
def runner() -> HereAndNow:
    return HereAndNow()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(disks: Any, runner: HereAndNow, clock: FakeClock) -> DiskSource:
    return DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.devices), runner=runner, clock=clock)


def test_a_replica_written_by_swift_is_read_with_its_metadata_and_times(disks: Any, source: DiskSource) -> None:
    row = disks.put('o', b'hello', T, X_Object_Meta_Colour='grün', Content_Encoding='x', X_Object_Sysmeta_K='v')
    found = source.open(row)
    assert b''.join(found.body) == b'hello'
    assert (found.meta.name, found.meta.size, found.meta.etag) == ('o', 5, hashlib.md5(b'hello').hexdigest())
    assert (found.meta.content_type, dict(found.meta.headers)) == ('text/plain', {'content-encoding': 'x'})
    assert found.meta.user_metadata == {'colour': 'grün'}
    assert found.meta.sysmeta['x-object-sysmeta-k'] == 'v'
    assert found.meta.data_time == found.meta.meta_time == found.meta.ctype_time == Timestamp(T)
    assert (found.times, found.origin) == (row.times, 'disk')
