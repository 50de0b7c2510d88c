"""What Swift's statuses mean to us."""
from __future__ import annotations

from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    Forbidden,
    LimitExceeded,
    NotFound,
    NotModified,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    TemporaryError,
    Throttled,
    Unsupported,
)

MAX_TEXT = 200
_THROTTLED = frozenset({429, 498, 503})
"""498 is what the rate limiter of older proxies answers."""
_TEMPORARY = {408: 'timeout', 409: 'conflict', 425: 'timeout', 499: 'connection', 507: 'storage-full'}
"""409: a newer version is on its way, or a container is being deleted; a later try meets a settled state."""


def classify(what: str, status: int, *, text: str = '', retry_after: float | None = None) -> ProviderError:
    """The error for an answer. ``what`` names the request, ``text`` is the beginning of the answer's body."""
    said = ' '.join(text.split())[:MAX_TEXT]
    message = f'{what}: {status} {said}'.rstrip()
    plain: dict[int, type[ProviderError]] = {
        304: NotModified, 401: Forbidden, 403: Forbidden, 404: NotFound, 412: PreconditionFailed,
        405: Unsupported, 501: Unsupported, 422: ChecksumMismatch}
    if status in plain:
        return plain[status](message, status=status)
    if status in _THROTTLED:
        return Throttled(message, status=status, retry_after=retry_after)
    if status in _TEMPORARY or status >= 500:
        return TemporaryError(message, status=status, reason=_TEMPORARY.get(status, 'server-error'),
                              retry_after=retry_after)
    if status == 413:
        # Also the answer of quotas; neither goes away by sending again.
        return LimitExceeded(message, status=status, reason='quota' if 'quota' in said.lower() else 'too-large')
    if status == 416:
        return PermanentError(message, status=status, reason='range')
    return PermanentError(message, status=status)


def no_container(name: str, error: ProviderError) -> BucketNotFound:
    """For the 404 of a request that only needs the container."""
    return BucketNotFound(f'no container {name!r} at the remote', status=error.status)
