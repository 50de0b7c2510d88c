"""Containers take turns: first come, first served per device, each again at the end of the line.

A device has its own line, so that folders of a hung disk wait for themselves only.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable

from eventlet import spawn_n

from container_crawler.folder import Folder


class Turns:
    def __init__(self, turn: Callable[[Folder], bool], at_once: int) -> None:
        """``turn(folder)`` must not raise; True puts the folder in line again. ``at_once``: per device."""
        self._turn = turn
        self._at_once = at_once
        self._lines: dict[str, deque[Folder]] = {}
        self._workers: dict[str, int] = {}
        self._waiting: set[Folder] = set()
        self._running: set[Folder] = set()
        self.stopped = False

    def request(self, folder: Folder) -> None:
        """Give ``folder`` a turn. One request waits at most, and none runs beside another of the same folder."""
        if folder in self._waiting or self.stopped:
            return
        self._waiting.add(folder)
        if folder not in self._running:
            self._line_up(folder)

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    def stop(self) -> None:
        """No turn begins any more; running ones end by themselves."""
        self.stopped = True
        self._lines.clear()
        self._waiting.clear()

    def _line_up(self, folder: Folder) -> None:
        device = folder.place.device
        self._lines.setdefault(device, deque()).append(folder)
        if self._workers.get(device, 0) < self._at_once:
            self._workers[device] = self._workers.get(device, 0) + 1
            spawn_n(self._work, device)

    def _work(self, device: str) -> None:
        try:
            while line := self._lines.get(device):
                folder = line.popleft()
                self._waiting.discard(folder)
                self._running.add(folder)
                try:
                    if self._turn(folder):
                        self.request(folder)
                finally:
                    self._running.discard(folder)
                    if folder in self._waiting:
                        self._line_up(folder)
        finally:
            self._workers[device] -= 1
