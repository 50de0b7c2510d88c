from __future__ import annotations

import pytest

from s3_sync.engine.outcomes import REMOTE_WIDE, outcome_of_error
from s3_sync.errors import BucketNotFound, Forbidden, LimitExceeded, PermanentError, ProviderError
from s3_sync.providers.s3.errors import classify as classify_s3
from s3_sync.providers.swift.errors import classify as classify_swift

NOW = 1_700_000_000.0


@pytest.mark.parametrize('error', [
    *(classify_swift('PUT c/o', status) for status in (401, 403, 429, 498, 500, 502, 503, 504, 507)),
    *(classify_s3('PUT b/o', status, '', retry_after=None) for status in (401, 403, 429, 500, 502, 503, 504, 507)),
    classify_s3('PUT b/o', 403, 'RequestTimeTooSkewed', retry_after=None),
    BucketNotFound('no bucket'), Forbidden('no'),
    PermanentError('https://auth: no authentication service there (404)', status=404, reason='login')],
    ids=lambda error: f'{type(error).__name__}-{error.status}-{error.reason}')
def test_what_every_object_would_meet_holds_the_mapping_and_is_never_final(error: ProviderError) -> None:
    outcome = outcome_of_error(error, NOW)
    assert outcome.kind == 'failed' and outcome.reason in REMOTE_WIDE


def test_what_only_this_object_meets_is_final() -> None:
    assert outcome_of_error(LimitExceeded('too long', reason='key-too-long'), NOW)[:2] == ('permanent', 'key-too-long')
    assert outcome_of_error(PermanentError('no', status=400), NOW)[:2] == ('permanent', 'rejected')
