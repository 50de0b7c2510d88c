"""How far along: a bar on a terminal, elsewhere a log line each minute while something moves."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TextIO

from s3_sync.clock import Clock

LOG_SECONDS = 60.0
BAR_WIDTH = 24
RATE_SECONDS = 30.0
"""The rate is that of about the last half minute."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Totals since the session began. ``left``: rows not finished, at most (row numbers have gaps)."""

    objects: int
    bytes: int
    failures: int
    left: int


class ProgressReport:
    """Fed twice a second; says something when there is something to say."""

    def __init__(self, clock: Clock, logger: logging.Logger, terminal: TextIO | None = None) -> None:
        """``terminal``: where to draw the bar; None: log lines instead."""
        self._clock = clock
        self._logger = logger
        self._terminal = terminal
        self._marks: list[tuple[float, Standing]] = []
        self._logged_at = clock.monotonic()
        self._logged = Standing(0, 0, 0, 0)
        self._drawn = False

    def show(self, standing: Standing) -> None:
        now = self._clock.monotonic()
        self._marks = [m for m in self._marks if now - m[0] <= RATE_SECONDS] + [(now, standing)]
        if self._terminal is not None:
            if standing.left or self._drawn:
                self._draw(standing)
        elif now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            if standing != self._logged:
                self._logged = standing
                self._logger.info('progress: %s', self.text(standing))

    def end(self, standing: Standing) -> None:
        """The last word: the bar's line is finished, so that what follows starts a new one."""
        if self._terminal is not None and self._drawn:
            self._draw(standing)
            self._terminal.write('\n')
            self._terminal.flush()
            self._drawn = False

    def text(self, standing: Standing) -> str:
        """``1,204 objects, 4.8 MiB, 310/s, 2 failed, 5,000 left, about 16 s``."""
        parts = [f'{standing.objects:,} objects', size_text(standing.bytes)]
        rate = self._rate()
        if rate:
            parts.append(f'{rate:,.0f}/s' if rate >= 10 else f'{rate:.1f}/s')
        if standing.failures:
            parts.append(f'{standing.failures:,} failed')
        if standing.left:
            parts.append(f'{standing.left:,} left')
            if rate:
                parts.append(f'about {duration_text(standing.left / rate)}')
        return ', '.join(parts)

    def _rate(self) -> float:
        (since, first), (now, last) = self._marks[0], self._marks[-1]
        return (last.objects - first.objects) / (now - since) if now > since else 0.0

    def _draw(self, standing: Standing) -> None:
        assert self._terminal is not None
        whole = standing.objects + standing.left
        done = BAR_WIDTH * standing.objects // whole if whole else BAR_WIDTH
        self._terminal.write(f'\r\x1b[K[{"#" * done}{"." * (BAR_WIDTH - done)}] {self.text(standing)}')
        self._terminal.flush()
        self._drawn = True


def size_text(count: float) -> str:
    """Bytes for people: ``512 B``, ``4.8 MiB``."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024:
            return f'{count:.0f} {unit}' if unit == 'B' else f'{count:.1f} {unit}'
        count /= 1024
    return f'{count:.1f} TiB'


def duration_text(seconds: float) -> str:
    """``16 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60} min'
