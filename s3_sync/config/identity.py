"""Which mapping is which: canonical endpoints, ``generation`` and ``evaluation`` (semantics 5.5).

Both ids are the first 16 hex digits of the SHA-256 of a compact, sorted, UTF-8
JSON list, so they are the same in every process and every version. They key
the ledger: a change of the canonical form is a rescan for everybody, and
``test_identity.py`` holds vectors against it.
"""
from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from s3_sync.config.mapping import Mapping
    from s3_sync.config.remote import Remote

_DEFAULT_PORTS = {'http': 80, 'https': 443}
AMAZON, AMAZON_CHINA = 'aws', 'aws-cn'


def endpoint_host(endpoint: str) -> str:
    """Lower-case host name of a URL, '' when it has none."""
    try:
        return (urlsplit(endpoint).hostname or '').lower()
    except ValueError:
        return ''


def canonical_endpoint(remote: Remote) -> str:
    """One spelling for one place: scheme and host in lower case, no default port, no trailing slash.

    All of Amazon (each of its two partitions) is one place, because bucket names are global there.
    """
    if remote.is_amazon:
        return AMAZON_CHINA if endpoint_host(remote.endpoint or '').endswith('.cn') else AMAZON
    parts = urlsplit(remote.endpoint or '')
    host = (parts.hostname or '').lower()
    if ':' in host:
        host = f'[{host}]'
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        host = f'{host}:{parts.port}'
    return f'{parts.scheme}://{host}{parts.path.rstrip("/")}'


def target_account(remote: Remote) -> list[str]:
    """What, beside the endpoint, says in which Swift account the data lands. Empty for S3.

    A Keystone project is a place. The v1 user and the application credential
    are credentials: exchanging them must not start anew, so they are left out.
    """
    if remote.protocol == 's3':
        return []
    if remote.remote_account:
        return ['account', remote.remote_account]
    if remote.tenant_name:
        return ['tenant', remote.tenant_name]
    if remote.project_name:
        return ['project', remote.project_domain_name or '', remote.project_name]
    return []


def generation(mapping: Mapping) -> str:
    """Identity of the place where a mapping's data goes."""
    remote = mapping.remote
    prefix = None if mapping.custom_prefix is None else mapping.custom_prefix.strip('/')
    return _digest(['generation', 1, remote.protocol, canonical_endpoint(remote), target_account(remote),
                    remote.bucket, prefix, mapping.account, mapping.container])


def evaluation(mapping: Mapping) -> str:
    """Identity of everything that decides which rows count and which headers a copy bears.

    A change reads all rows again and sends only what differs.
    """
    # Keys added later count only when they are used: a new version of the program is no reason to look at everything.
    later = [] if mapping.symlinks == 'follow' else ['symlinks', mapping.symlinks]
    return _digest(['evaluation', 1, mapping.copy_after, mapping.retain_local, mapping.retain_local_segments,
                    mapping.propagate_delete, mapping.exclude_pattern, mapping.criteria.canonical(),
                    mapping.propagate_expiration, mapping.propagate_expiration_offset,
                    mapping.remote_delete_after, mapping.remote_delete_after_addition,
                    mapping.convert_dlo, mapping.min_segment_size, *later])


def _digest(parts: list[Any]) -> str:
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]
