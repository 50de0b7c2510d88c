"""Time in a process that is not ours: Swift's proxy is green, but its ``time`` is not patched."""
from __future__ import annotations

from s3_sync.clock import SystemClock
from s3_sync.concurrency import sleep


class GreenClock(SystemClock):
    """The system's clock, whose ``sleep`` lets the proxy's other clients go on."""

    def sleep(self, seconds: float) -> None:
        sleep(seconds)
