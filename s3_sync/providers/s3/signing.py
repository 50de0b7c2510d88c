"""AWS Signature Version 4 by hand (the day's key is kept), and Version 2 where it is asked for.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
S3 quotes a path once and never normalises it: ``a/../b`` and ``//`` are names.
"""
from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol
from urllib.parse import quote

from s3_sync.timestamps import http_date

UNSIGNED = 'UNSIGNED-PAYLOAD'
EMPTY_SHA256 = sha256(b'').hexdigest()
_NOT_SIGNED = frozenset({'user-agent', 'connection', 'content-length', 'expect'})
_V2_SUBRESOURCES = frozenset({
    'acl', 'delete', 'lifecycle', 'location', 'partNumber', 'policy', 'tagging', 'uploadId', 'uploads', 'versionId',
    'versioning', 'versions'})


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Signer(Protocol):
    """Adds what proves who asks."""

    def sign(self, credentials: Credentials, method: str, path: str, query: str, headers: dict[str, str],
             *, now: float, payload: str, bucket_path: str) -> None:
        """Complete ``headers`` in place.

        ``path`` and ``query`` are quoted as they will be sent, query pairs
        sorted; ``payload`` the body's SHA-256 in hex or UNSIGNED; ``bucket_path``
        the path with the bucket in front whatever the addressing.
        """


def quote_path(path: str) -> str:
    return quote(path, safe='/-_.~')


def quote_query(params: Mapping[str, str]) -> str:
    """Sorted by name, as both the URL and the canonical request need it."""
    return '&'.join(sorted(f'{quote(k, safe="-_.~")}={quote(v, safe="-_.~")}' for k, v in params.items()))


class SignerV4:
    def __init__(self, region: str) -> None:
        self.region = region
        self._key: tuple[str, str, bytes] = ('', '', b'')

    def sign(self, credentials: Credentials, method: str, path: str, query: str, headers: dict[str, str],
             *, now: float, payload: str, bucket_path: str = '') -> None:
        moment = datetime.fromtimestamp(int(now), UTC)
        day = f'{moment.year:04}{moment.month:02}{moment.day:02}'
        headers['x-amz-date'] = f'{day}T{moment.hour:02}{moment.minute:02}{moment.second:02}Z'
        headers['x-amz-content-sha256'] = payload
        if credentials.session_token:
            headers['x-amz-security-token'] = credentials.session_token
        scope = f'{day}/{self.region}/s3/aws4_request'
        names = sorted(name for name in headers if name not in _NOT_SIGNED)
        signed = ';'.join(names)
        request = '\n'.join((
            method, path, query, *[f'{name}:{_canonical(headers[name])}' for name in names], '', signed, payload))
        digest = sha256(request.encode()).hexdigest()
        to_sign = f'AWS4-HMAC-SHA256\n{headers["x-amz-date"]}\n{scope}\n{digest}'
        signature = hmac.digest(self._day_key(credentials.secret_key, day), to_sign.encode(), 'sha256').hex()
        headers['authorization'] = (f'AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, '
                                    f'SignedHeaders={signed}, Signature={signature}')

    def _day_key(self, secret_key: str, day: str) -> bytes:
        if self._key[:2] != (secret_key, day):
            key = f'AWS4{secret_key}'.encode()
            for part in (day, self.region, 's3', 'aws4_request'):
                key = hmac.digest(key, part.encode(), 'sha256')
            self._key = (secret_key, day, key)
        return self._key[2]


class SignerV2:
    """For old stores only, when the configuration says so."""

    def sign(self, credentials: Credentials, method: str, path: str, query: str, headers: dict[str, str],
             *, now: float, payload: str, bucket_path: str = '') -> None:
        headers['date'] = http_date(now)
        if credentials.session_token:
            headers['x-amz-security-token'] = credentials.session_token
        amz = sorted(name for name in headers if name.startswith('x-amz-'))
        sub = [pair.removesuffix('=') for pair in query.split('&') if pair.split('=')[0] in _V2_SUBRESOURCES]
        to_sign = '\n'.join((
            method, headers.get('content-md5', ''), headers.get('content-type', ''), headers['date'],
            *[f'{name}:{_canonical(headers[name])}' for name in amz],
            bucket_path + ('?' + '&'.join(sub) if sub else '')))
        signature = base64.b64encode(hmac.digest(credentials.secret_key.encode(), to_sign.encode(), 'sha1')).decode()
        headers['authorization'] = f'AWS {credentials.access_key}:{signature}'


def _canonical(value: str) -> str:
    return ' '.join(value.split()) if '  ' in value else value.strip()
