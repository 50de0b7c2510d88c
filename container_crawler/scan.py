"""Stats of all hash folders, batch by batch, each device in its own thread."""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from eventlet import spawn
from eventlet.greenthread import GreenThread

from container_crawler.databases import Place
from container_crawler.device_threads import DeviceThreads
from container_crawler.exceptions import DeviceTimeout
from container_crawler.folder import Target
from container_crawler.stamps import Stamp, take_stamps

BATCH = 128
PATIENCE_SECONDS = 5.0
"""A device that needs longer for a batch is left out until it answers."""


class Visit(NamedTuple):
    target: Target
    place: Place
    places: tuple[Place, ...]
    """All local places of the container."""


class Scanner:
    """Knows the devices that do not answer; each pass over the folders is one :meth:`begin`."""

    def __init__(self, threads: DeviceThreads, seen: Callable[[Visit, Stamp | None | OSError], None],
                 logger: logging.Logger) -> None:
        self._threads = threads
        self._seen = seen
        self._logger = logger
        self.silent: set[str] = set()
        """Devices that did not answer when they were last asked."""

    def begin(self) -> ScanPass:
        return ScanPass(self)

    def scan(self, device: str, batch: list[Visit]) -> None:
        try:
            stamps = self._threads.run_within(PATIENCE_SECONDS, device, take_stamps, [v.place.folder for v in batch])
        except DeviceTimeout as error:
            if device not in self.silent:
                self.silent.add(device)
                self._logger.error('%s; its containers wait, others go on', error)
            return
        if device in self.silent:
            self.silent.remove(device)
            self._logger.warning('device %s answers again', device)
        for visit, stamp in zip(batch, stamps, strict=True):
            self._seen(visit, stamp)


class ScanPass:
    """The next batch of a device waits for the last one; devices do not wait for each other."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._collected: dict[str, list[Visit]] = {}
        self._running: dict[str, GreenThread] = {}

    def add(self, visit: Visit) -> None:
        device = visit.place.device
        batch = self._collected.setdefault(device, [])
        batch.append(visit)
        if len(batch) >= BATCH:
            self._flush(device)

    def finish(self) -> None:
        """Wait until everything added has been seen, or its device did not answer."""
        for device in list(self._collected):
            self._flush(device)
        for running in self._running.values():
            running.wait()

    def _flush(self, device: str) -> None:
        batch = self._collected.pop(device)
        if device in self._running:
            self._running[device].wait()
        self._running[device] = spawn(self._scanner.scan, device, batch)
