"""What S3's error codes mean to us.

The lists are those of botocore's retry rules (legacy, standard and adaptive
modes), plus the codes of Ceph, MinIO, SeaweedFS and Google where they differ.
"""
from __future__ import annotations

from collections.abc import Iterable

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

_THROTTLED = frozenset({
    'BandwidthLimitExceeded', 'EC2ThrottledException', 'LimitExceededException', 'PriorRequestNotComplete',
    'ProvisionedThroughputExceededException', 'RequestLimitExceeded', 'RequestThrottled', 'RequestThrottledException',
    'ServiceUnavailable', 'SlowDown', 'SlowDownRead', 'SlowDownWrite', 'ThrottledException', 'Throttling',
    'ThrottlingException', 'TooManyRequests', 'TooManyRequestsException', 'TransactionInProgressException',
    'XMinioServerNotInitialized'})
_TEMPORARY = frozenset({
    'ClientDisconnected', 'IncompleteBody', 'InternalError', 'InternalFailure', 'OperationAborted',
    'OperationMaxedOut', 'OperationTimedOut', 'RequestTimeout', 'RequestTimeoutException', 'ServerNotInitialized'})
_CONFLICT = frozenset({'ConditionalRequestConflict', 'OperationAborted', 'ConcurrentUpdate'})
_CHECKSUM = frozenset({'BadDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch'})
_FORBIDDEN = frozenset({
    'AccessDenied', 'AccountProblem', 'AllAccessDisabled', 'AuthFailure', 'AuthorizationHeaderMalformed',
    'CredentialsNotSupported', 'ExpiredToken', 'ExpiredTokenException', 'InvalidAccessKeyId', 'InvalidPayer',
    'InvalidSecurity', 'InvalidToken', 'NotSignedUp', 'RequestExpired', 'SignatureDoesNotMatch',
    'TokenRefreshRequired', 'UnauthorizedAccess'})
_TOO_LONG = {
    'EntityTooLarge': 'too-large', 'KeyTooLong': 'key-too-long', 'KeyTooLongError': 'key-too-long',
    'MaxMessageLengthExceeded': 'too-large', 'MetadataTooLarge': 'metadata-too-large',
    'RequestHeaderSectionTooLarge': 'metadata-too-large', 'InvalidTagError': 'tags', 'InvalidTag': 'tags'}
_UNSUPPORTED = frozenset({
    'InvalidObjectState', 'InvalidStorageClass', 'MethodNotAllowed', 'NotImplemented', 'UnsupportedOperation',
    'XNotImplemented'})
_FULL = frozenset({'QuotaExceeded', 'XMinioStorageFull', 'StorageFull', 'InsufficientCapacity'})
INVALID_PART = 'invalid-part'
SKEWED = frozenset({'RequestTimeTooSkewed', 'RequestInTheFuture'})
EXPIRED = frozenset({'ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'RequestExpired'})


def scrubbed(text: str, hidden: Iterable[str]) -> str:
    """Short, one line, without any of ``hidden``."""
    for secret in hidden:
        if secret:
            text = text.replace(secret, '***')
    return ' '.join(text.split())[:MAX_TEXT]


def classify(what: str, status: int, code: str, *, retry_after: float | None = None) -> ProviderError:
    """The error for an answer. ``what`` is the text, ``code`` S3's own word ('' without a body)."""
    by_code = _by_code(what, status, code, retry_after)
    return by_code if by_code is not None else _by_status(what, status, retry_after)


def _by_code(what: str, status: int, code: str, wait: float | None) -> ProviderError | None:
    if code == 'NoSuchBucket':
        return BucketNotFound(what, status=status)
    if code in ('NoSuchKey', 'NoSuchVersion', 'NoSuchUpload', 'NoSuchLifecycleConfiguration'):
        return NotFound(what, status=status)
    if code == 'PreconditionFailed':
        return PreconditionFailed(what, status=status)
    if code in _THROTTLED:
        return Throttled(what, status=status, retry_after=wait)
    if code in _CHECKSUM:
        return ChecksumMismatch(what, status=status, retry_after=wait)
    if code in _TOO_LONG:
        return LimitExceeded(what, status=status, reason=_TOO_LONG[code])
    if code in _UNSUPPORTED:
        return Unsupported(what, status=status)
    if code == 'InvalidPart':
        return PermanentError(what, status=status, reason=INVALID_PART)
    if code in _FORBIDDEN:
        return Forbidden(what, status=status)
    reason = ('conflict' if code in _CONFLICT else 'clock-skew' if code in SKEWED
              else 'storage-full' if code in _FULL else 'temporary' if code in _TEMPORARY else '')
    return TemporaryError(what, status=status, reason=reason, retry_after=wait) if reason else None


def _by_status(what: str, status: int, wait: float | None) -> ProviderError:
    simple: dict[int, type[ProviderError]] = {
        304: NotModified, 401: Forbidden, 403: Forbidden, 404: NotFound, 405: Unsupported, 410: NotFound,
        412: PreconditionFailed, 501: Unsupported}
    if status in simple:
        return simple[status](what, status=status)
    if status in (429, 503, 509):
        return Throttled(what, status=status, retry_after=wait)
    if status in (413, 414, 431):
        return LimitExceeded(what, status=status, reason={413: 'too-large', 414: 'key-too-long'}.get(
            status, 'metadata-too-large'))
    reasons = {408: 'temporary', 409: 'conflict', 425: 'temporary', 507: 'storage-full'}
    if status >= 500 or status in reasons:
        return TemporaryError(what, status=status, retry_after=wait, reason=reasons.get(status, 'temporary'))
    return PermanentError(what, status=status, reason='redirect' if 300 <= status < 400 else 'rejected')
