"""What a person sees of a long run."""
from __future__ import annotations

import io
import logging

import pytest

from s3_sync.clock import FakeClock
from s3_sync.progress_report import ProgressReport, Standing, duration_text, size_text

LOGGER = logging.getLogger('test.progress')


def test_a_terminal_gets_a_bar_with_rate_failures_and_time_left() -> None:
    clock, terminal = FakeClock(), io.StringIO()
    report = ProgressReport(clock, LOGGER, terminal)
    report.show(Standing(0, 0, 0, 400))
    clock.advance(10)
    report.show(Standing(100, 5 * 1024 ** 2, 3, 300))
    last = terminal.getvalue().split('\r')[-1]
    assert last.removeprefix('\x1b[K') == ('[######..................] 100 objects, 5.0 MiB, 10/s, 3 failed, 300 left, '
                                           'about 30 s')
    report.end(Standing(400, 5 * 1024 ** 2, 3, 0))
    assert terminal.getvalue().endswith('\n') and '[########################]' in terminal.getvalue()


def test_nothing_is_drawn_while_there_is_nothing_to_do() -> None:
    terminal = io.StringIO()
    report = ProgressReport(FakeClock(), LOGGER, terminal)
    report.show(Standing(0, 0, 0, 0))
    report.end(Standing(0, 0, 0, 0))
    assert terminal.getvalue() == ''


def test_elsewhere_a_line_a_minute_and_none_when_nothing_moved(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    report = ProgressReport(clock, LOGGER)
    with caplog.at_level(logging.INFO, 'test.progress'):
        for second in range(180):
            report.show(Standing(min(second, 70), 0, 0, 0))
            clock.advance(1)
    assert [r.getMessage() for r in caplog.records] == ['progress: 60 objects, 0 B, 1.0/s', 'progress: 70 objects, 0 B']


def test_numbers_are_for_people() -> None:
    assert [size_text(n) for n in (0, 1023, 1536, 3 * 1024 ** 3, 5 * 1024 ** 4)] == [
        '0 B', '1023 B', '1.5 KiB', '3.0 GiB', '5.0 TiB']
    assert [duration_text(s) for s in (3, 89, 200, 7500)] == ['3 s', '89 s', '3 min', '2 h 5 min']
