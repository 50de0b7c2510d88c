"""Reload on change, last good settings kept on error.

A change is noticed by the stat of the file and of every file that a secret
was read from, links followed: an atomic rename or a swapped link (Kubernetes)
is another inode. A file touched so lately that a second write could leave the
same stat behind is read again until it has settled.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from s3_sync.clock import Clock, SystemClock
from s3_sync.config.load import read
from s3_sync.config.model import Settings
from s3_sync.errors import ConfigError

_SETTLED_SECONDS = 2.0
_log = logging.getLogger(__name__)

_Stat = tuple[int, int, int, int]


class Watcher:
    """Holds the settings of one file. The first reading raises ConfigError; later ones keep the last good settings."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock | None = None,
                 environ: Mapping[str, str] = os.environ) -> None:
        self.path = os.fspath(path)
        self.error: ConfigError | None = None
        """Why the file as it is now is not in use; None when it is."""
        self._clock = clock or SystemClock()
        self._environ = environ
        self._seen: dict[str, _Stat | None] = {}
        self._settled = False
        self._reported = ''
        settings = self._read()
        if settings is None:
            assert self.error is not None
            raise self.error
        self.settings = settings
        """The last good settings."""

    def check(self, *, force: bool = False) -> Settings | None:
        """New settings when the file has changed and is good, else None. Costs stats when nothing has changed.

        A bad file sets ``error`` and is logged once; ``force`` reads in any case (SIGHUP).
        """
        if not force and self._settled and all(_stat(path) == seen for path, seen in self._seen.items()):
            return None
        settings = self._read()
        if settings is None:
            self._report_once(str(self.error))
            return None
        self._reported = ''
        if settings == self.settings:
            return None
        self.settings = settings
        return settings

    def _read(self) -> Settings | None:
        # Stats come first: what is written while we read shows as a change next time.
        before = {path: _stat(path) for path in (self.path, *self._seen)}
        reading = read(self.path, environ=self._environ)
        watched = {self.path, *reading.secret_files}
        self._seen = {path: before[path] if path in before else _stat(path) for path in watched}
        now = self._clock.now()
        self._settled = watched <= before.keys() and all(
            seen is None or now - seen[0] / 1e9 > _SETTLED_SECONDS for seen in self._seen.values())
        self.error = ConfigError(self.path, reading.problems) if reading.settings is None else None
        return reading.settings

    def _report_once(self, text: str) -> None:
        if text != self._reported:
            self._reported = text
            _log.error('configuration not reloaded, the last good one stays in use:\n%s', text)


def _stat(path: str) -> _Stat | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_dev, found.st_size
