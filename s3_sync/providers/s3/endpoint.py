"""Where a bucket's requests go, and what kind of store answers there."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from s3_sync.providers.s3.signing import quote_path
from s3_sync.providers.transport import Origin

DEFAULT_REGION = 'us-east-1'
Flavour = Literal['aws', 'google', 'other']

_AWS_REGION = re.compile(r'(?:^|\.)s3[.-](?:dualstack\.|fips\.)*([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$')
_DNS_BUCKET = re.compile(r'[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])')


@dataclass(frozen=True, slots=True)
class Address:
    """One bucket's address. ``path`` is the quoted front of every target."""

    origin: Origin
    host_header: str
    path: str
    bucket_path: str
    """As ``path``, with the bucket in front whatever the addressing (V2 signs that)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    scheme: str
    host: str
    port: int | None
    path: str
    """Path of a store behind a prefix, without the last slash."""
    flavour: Flavour
    region: str
    path_style: bool
    default: bool
    """No endpoint was configured: the host follows the region."""

    @classmethod
    def parse(cls, url: str | None, *, region: str | None = None, path_style: bool | None = None) -> Endpoint:
        """From configuration. ValueError when the URL is none for S3."""
        if not url:
            region = region or DEFAULT_REGION
            return cls('https', _aws_host(region), None, '', 'aws', region, bool(path_style), True)
        parts = urlsplit(url if '://' in url else f'https://{url}')
        host = parts.hostname or ''
        if parts.scheme not in ('http', 'https') or not host or parts.query or parts.fragment or parts.username:
            raise ValueError(f'not an S3 endpoint: {url!r}')
        flavour: Flavour = 'other'
        if host.endswith(('.amazonaws.com', '.amazonaws.com.cn')):
            flavour = 'aws'
        elif host == 'storage.googleapis.com':
            flavour = 'google'
        if region is None:
            found = _AWS_REGION.search(host)
            region = found.group(1) if found else 'auto' if flavour == 'google' else DEFAULT_REGION
        return cls(parts.scheme, host, parts.port, parts.path.rstrip('/'), flavour, region,
                   flavour != 'aws' if path_style is None else path_style, False)

    def address(self, bucket: str = '', region: str = '') -> Address:
        """Of ``bucket`` ('': the account) in ``region`` (once another one was learnt)."""
        host = _aws_host(region) if region and self._follows_region() else self.host
        path = quote_path(self.path)
        bucket_path = f'{path}/{quote_path(bucket)}' if bucket else path
        # A dot in the bucket's name would not match the certificate's one-level wildcard.
        if bucket and not self.path_style and _DNS_BUCKET.fullmatch(bucket):
            host = f'{bucket}.{host}'
        else:
            path = bucket_path
        port = self.port or (443 if self.scheme == 'https' else 80)
        header = f'[{host}]' if ':' in host else host
        if self.port is not None and self.port != (443 if self.scheme == 'https' else 80):
            header = f'{header}:{self.port}'
        return Address(Origin(self.scheme, host, port), header, path, bucket_path)

    def _follows_region(self) -> bool:
        return self.default or (self.flavour == 'aws' and (
            self.host == 's3.amazonaws.com' or bool(_AWS_REGION.search(self.host))))

    @property
    def location(self) -> str:
        """How merged listings name this store."""
        if self.default:
            return 'AWS S3'
        if self.flavour == 'google':
            return 'Google Cloud Storage'
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{self.scheme}://{host}{f":{self.port}" if self.port else ""}{self.path}'


def _aws_host(region: str) -> str:
    return f's3.{region}.amazonaws.com' + ('.cn' if region.startswith('cn-') else '')
