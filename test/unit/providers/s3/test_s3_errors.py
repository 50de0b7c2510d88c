from __future__ import annotations

import pytest

from s3_sync import errors
from s3_sync.providers.http import retry_after_seconds
from s3_sync.providers.s3.errors import classify, scrubbed
from s3_sync.timestamps import http_date


@pytest.mark.parametrize('status, code, kind, reason', [
    (404, 'NoSuchKey', errors.NotFound, 'not-found'),
    (404, 'NoSuchBucket', errors.BucketNotFound, 'bucket-not-found'),
    (404, '', errors.NotFound, 'not-found'),
    (304, '', errors.NotModified, 'not-modified'),
    (412, 'PreconditionFailed', errors.PreconditionFailed, 'precondition-failed'),
    (412, '', errors.PreconditionFailed, 'precondition-failed'),
    (409, 'ConditionalRequestConflict', errors.TemporaryError, 'conflict'),
    (409, 'OperationAborted', errors.TemporaryError, 'conflict'),
    (503, 'SlowDown', errors.Throttled, 'throttled'),
    (503, '', errors.Throttled, 'throttled'),
    (503, 'ServiceUnavailable', errors.Throttled, 'throttled'),
    (429, '', errors.Throttled, 'throttled'),
    (400, 'Throttling', errors.Throttled, 'throttled'),
    (400, 'ThrottlingException', errors.Throttled, 'throttled'),
    (400, 'RequestThrottled', errors.Throttled, 'throttled'),
    (400, 'RequestLimitExceeded', errors.Throttled, 'throttled'),
    (509, 'BandwidthLimitExceeded', errors.Throttled, 'throttled'),
    (400, 'PriorRequestNotComplete', errors.Throttled, 'throttled'),
    (500, 'InternalError', errors.TemporaryError, 'temporary'),
    (500, '', errors.TemporaryError, 'temporary'),
    (502, '', errors.TemporaryError, 'temporary'),
    (504, '', errors.TemporaryError, 'temporary'),
    (400, 'RequestTimeout', errors.TemporaryError, 'temporary'),
    (400, 'IncompleteBody', errors.TemporaryError, 'temporary'),
    (400, 'BadDigest', errors.ChecksumMismatch, 'checksum'),
    (400, 'XAmzContentSHA256Mismatch', errors.ChecksumMismatch, 'checksum'),
    (403, 'RequestTimeTooSkewed', errors.TemporaryError, 'clock-skew'),
    (403, 'AccessDenied', errors.Forbidden, 'forbidden'),
    (403, 'InvalidAccessKeyId', errors.Forbidden, 'forbidden'),
    (403, 'SignatureDoesNotMatch', errors.Forbidden, 'forbidden'),
    (400, 'ExpiredToken', errors.Forbidden, 'forbidden'),
    (400, 'InvalidToken', errors.Forbidden, 'forbidden'),
    (401, '', errors.Forbidden, 'forbidden'),
    (403, '', errors.Forbidden, 'forbidden'),
    (400, 'EntityTooLarge', errors.LimitExceeded, 'too-large'),
    (400, 'KeyTooLongError', errors.LimitExceeded, 'key-too-long'),
    (400, 'MetadataTooLarge', errors.LimitExceeded, 'metadata-too-large'),
    (413, '', errors.LimitExceeded, 'too-large'),
    (403, 'InvalidObjectState', errors.Unsupported, 'unsupported'),
    (501, 'NotImplemented', errors.Unsupported, 'unsupported'),
    (405, '', errors.Unsupported, 'unsupported'),
    (403, 'QuotaExceeded', errors.TemporaryError, 'storage-full'),
    (507, '', errors.TemporaryError, 'storage-full'),
    (400, 'InvalidArgument', errors.PermanentError, 'rejected'),
    (400, '', errors.PermanentError, 'rejected'),
    (301, 'PermanentRedirect', errors.PermanentError, 'redirect')])
def test_each_answer_has_its_meaning(status: int, code: str, kind: type[errors.ProviderError], reason: str) -> None:
    error = classify('PUT b/k', status, code)
    assert type(error) is kind
    assert (error.reason, error.status) == (reason, status)


@pytest.mark.parametrize('text, seconds', [
    ('7', 7.0), (' 0 ', 0.0), (http_date(1_700_000_030), 30.0), (http_date(1_600_000_000), 0.0), ('soon', None),
    ('', None), ('-1', None)])
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({'retry-after': text}, 1_700_000_000.0) == seconds


def test_the_wait_a_store_asks_for_is_kept() -> None:
    for status, code in ((503, 'SlowDown'), (429, ''), (500, 'InternalError')):
        error = classify('x', status, code, retry_after=12.0)
        assert isinstance(error, errors.TemporaryError) and error.retry_after == 12.0


def test_messages_are_short_lines_without_secrets() -> None:
    text = scrubbed('key sec-ret\nsigned\tsec-ret ' + 'x' * 1000, ['sec-ret', ''])
    assert 'sec-ret' not in text and '\n' not in text and len(text) <= 200
