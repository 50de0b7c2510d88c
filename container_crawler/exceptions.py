"""What the crawler and its handlers raise on purpose."""
from __future__ import annotations


class CrawlerError(Exception):
    """Root of this package's errors."""


class SkipContainer(CrawlerError):
    """Raised while a handler is made: this container is not for it. Logged once, never an error."""


class RetryError(CrawlerError):
    """Raised by a handler: not now, offer the same rows again later. Never logged as an error."""


class DeviceTimeout(CrawlerError):
    """A disk did not answer in time. Only work on that device is affected."""

    def __init__(self, device: str, seconds: float) -> None:
        self.device = device
        super().__init__(f'device {device} did not answer within {seconds:g} s')


class DatabaseBusy(CrawlerError):
    """The database is locked by somebody else; it will be readable later."""


class DatabaseBroken(CrawlerError):
    """The database cannot be read as one (corrupt, not SQLite, I/O error). Others are not affected."""
