"""Mappings to S3 endpoints, as the configuration would give them."""
from __future__ import annotations

from typing import Any

from s3_sync.config.mapping import Mapping
from s3_sync.config.remote import Remote
from s3_sync.config.secrets import Secret


def s3_mapping(endpoint: str | None, *, access_key: str | None = 'access',
               secret_key: str = 'secret',  # noqa: S107
               bucket: str = 'bucket', container: str = 'c', remote: dict[str, Any] | None = None,
               **keys: Any) -> Mapping:
    """``remote``: further keys of the remote, under the configuration's names."""
    values: dict[str, Any] = {'protocol': 's3', 'aws_bucket': bucket, **(remote or {})}
    if endpoint is not None:
        values['aws_endpoint'] = endpoint
    if access_key is not None:
        values.update({'aws_identity': access_key, 'aws_secret': Secret(secret_key)})
    return Mapping.model_validate({
        'account': 'AUTH_test', 'container': container, 'remote': Remote.model_validate(values), **keys})
