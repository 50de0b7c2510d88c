"""The error tree of the project.

SDK and socket exceptions stop at the provider that met them; everything above
a provider sees only these classes, chained with ``from``. Exit codes are
chosen at the entry points, never here.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class Error(Exception):
    """Root of everything this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration file."""

    path: str
    """Where in the file, for example ``containers[2].aws_bucket``."""
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.message}' if self.path else self.message


class ConfigError(Error):
    """The configuration cannot be used; lists every problem found."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__('\n'.join(f'{file}: {p}' for p in self.problems))


class LedgerError(Error):
    """The node's ledger cannot be read or written now (disk full, permissions)."""


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged; the daemon replaces it at its next start and rescans."""


class LimiterStopped(Error):
    """A wait for a rate limit was given up because the process is stopping."""


# -- remote side ------------------------------------------------------------------------

class ProviderError(Error):
    """A remote request did not do what was asked.

    ``reason`` is a short stable word for metrics and ``1space failures``;
    ``status`` the HTTP status when there was an answer.
    """

    reason = 'remote-error'
    sent = True
    """False: there was no connection or no login, so the remote has surely done nothing."""

    def __init__(self, message: str, *, status: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        if reason is not None:
            self.reason = reason


class NotFound(ProviderError):
    """The object (or bucket, when the message says so) is not there."""

    reason = 'not-found'


class BucketNotFound(NotFound):
    """The remote bucket or container itself does not exist."""

    reason = 'bucket-not-found'


class PreconditionFailed(ProviderError):
    """A condition sent along (If-Match, If-None-Match) did not hold: look, then decide again."""

    reason = 'precondition-failed'


class NotModified(ProviderError):
    """A conditional read found the version the caller already has (304)."""

    reason = 'not-modified'


class Forbidden(ProviderError):
    """The remote refuses these credentials (401 after renewal, 403)."""

    reason = 'forbidden'


class PermanentError(ProviderError):
    """The same request will fail again however often it is sent."""

    reason = 'rejected'


class LimitExceeded(PermanentError):
    """Known before sending: the target cannot hold this (name, size, metadata)."""

    reason = 'limit'


class Unsupported(PermanentError):
    """The target has no such operation."""

    reason = 'unsupported'


MANIFEST_MISSING = 'manifest'
"""Reason of ``Unproven``: the data is right, the manifest beside it is missing or another one."""


class Unproven(ProviderError):
    """The remote does not show that it holds this version, whole: nothing local may go."""

    reason = 'unproven'


class TemporaryError(ProviderError):
    """May work later. ``retry_after``: seconds the remote asked to wait, if it did."""

    reason = 'temporary'

    def __init__(self, message: str, *, status: int | None = None, reason: str | None = None,
                 retry_after: float | None = None) -> None:
        super().__init__(message, status=status, reason=reason)
        self.retry_after = retry_after


class Throttled(TemporaryError):
    """429, 503 SlowDown and their like."""

    reason = 'throttled'


class ConnectionFailed(TemporaryError):
    """No usable answer: refused, reset, timed out, cut short, or not TLS."""

    reason = 'connection'


class NotConnected(ConnectionFailed):
    """No connection or no login, so nothing was sent that the remote could have acted on."""

    sent = False


class ChecksumMismatch(TemporaryError):
    """The remote received other bytes than were sent (BadDigest, 422, wrong ETag in the answer)."""

    reason = 'checksum'


# -- local side -------------------------------------------------------------------------

class SourceError(Error):
    """A local object could not be read as its row describes it."""

    reason = 'source'


class SourceGone(SourceError):
    """No replica holds a live object of this name: deleted or expired since the row."""

    reason = 'gone'


class SourceStale(SourceError):
    """Only versions older than the row can be found now; a replica is behind or down."""

    reason = 'stale-replica'


class SourceUnavailable(SourceError):
    """Replicas that may hold the object did not answer, or served a body whose MD5 is wrong."""

    reason = 'source-unavailable'


class SourceUnusable(SourceError):
    """Cannot be copied the way it is stored, however often it is tried; ``reason`` says why."""

    reason = 'unusable'

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class SegmentChanged(SourceError):
    """A segment is missing, or another object than its manifest names. Whoever writes it mends it: tried again."""

    reason = 'segment-changed'


class RemovalDeferred(SourceError):
    """An archived object cannot go yet: a replica that may keep it does not answer, or still shows it.

    ``due``: Unix seconds before which another try makes no sense, 0 when that is not known.
    """

    reason = 'replica-away'

    def __init__(self, message: str, *, reason: str | None = None, due: float = 0.0) -> None:
        super().__init__(message)
        self.due = due
        if reason is not None:
            self.reason = reason


class AccountUnreadable(SourceError):
    """Not everything that may refer to archived segments could be read: none of them goes in this sweep."""

    reason = 'account-unreadable'


class SourceEncrypted(SourceUnusable):
    """Encrypted at rest, and no pipeline here decrypts it. Ciphertext is never sent."""

    reason = 'encrypted'
