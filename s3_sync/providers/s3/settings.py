"""What a mapping says about S3, in the words of S3."""
from __future__ import annotations

import os
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from urllib.parse import urlencode

from s3_sync.base_sync import Capabilities
from s3_sync.clock import Clock
from s3_sync.config.mapping import Mapping
from s3_sync.providers.s3.client import Client
from s3_sync.providers.s3.credentials import ChainCredentials, CredentialSource, FixedCredentials
from s3_sync.providers.s3.endpoint import Endpoint
from s3_sync.providers.s3.signing import Credentials
from s3_sync.providers.transport import WAIT_FOR_CONNECTION_SECONDS, Transport
from s3_sync.wire.s3_headers import AMAZON_LIMITS, CAREFUL_LIMITS, MetadataLimits

KEYS_PER_BATCH = 1000
NAMES_PER_BATCH = KEYS_PER_BATCH // 3
"""Object, manifest and side object of each name are deleted together."""
GOOGLE_AGENT = 'CloudSync/5.0 (GPN:SwiftStack) swift-s3-sync'


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How objects are written."""

    encryption: Dict[str, str] = field(default_factory=dict)
    """Headers of every write."""
    uploads: Dict[str, str] = field(default_factory=dict)
    """Further headers of uploads: storage class and tags."""
    kms: bool = False
    metadata_limits: MetadataLimits = AMAZON_LIMITS


def store_settings(mapping: Mapping, endpoint: Endpoint) -> StoreSettings:
    encryption: dict[str, str] = {}
    kms = mapping.server_side_encryption == 'aws:kms'
    if kms:
        encryption['x-amz-server-side-encryption'] = 'aws:kms'
        if mapping.kms_key_id:
            encryption['x-amz-server-side-encryption-aws-kms-key-id'] = mapping.kms_key_id
    elif mapping.server_side_encryption == 'AES256':
        encryption['x-amz-server-side-encryption'] = 'AES256'
    uploads: dict[str, str] = {}
    if mapping.storage_class:
        uploads['x-amz-storage-class'] = mapping.storage_class
    if mapping.tags:
        uploads['x-amz-tagging'] = urlencode(mapping.tags)
    return StoreSettings(encryption, uploads, kms, AMAZON_LIMITS if endpoint.flavour == 'aws' else CAREFUL_LIMITS)


def capabilities(mapping: Mapping, endpoint: Endpoint) -> Capabilities:
    """Conditional PUTs not yet among them: see ``conditional_put``."""
    google = endpoint.flavour == 'google'
    return Capabilities(
        create_only=False, conditional_overwrite=False, late_conditions=True,
        conditional_delete=endpoint.flavour == 'aws', etag_is_md5=not store_settings(mapping, endpoint).kms,
        update_moves_data=True, repeats_parts=True, bucket_expiry=not google,
        batch_delete=1 if google else NAMES_PER_BATCH)


def conditional_put(mapping: Mapping, endpoint: Endpoint) -> tuple[bool, bool] | None:
    """What is known without asking the endpoint; None: it has to be probed."""
    if endpoint.flavour == 'google' or mapping.remote.conditional_put == 'never':
        return False, False
    if endpoint.flavour == 'aws' or mapping.remote.conditional_put == 'always':
        return True, True
    return None


def make_endpoint(mapping: Mapping) -> Endpoint:
    remote = mapping.remote
    region = remote.region
    if region is None and not remote.endpoint:
        region = os.environ.get('AWS_REGION') or os.environ.get('AWS_DEFAULT_REGION')
    return Endpoint.parse(remote.endpoint, region=region, path_style=remote.path_style)


def make_client(mapping: Mapping, endpoint: Endpoint, *, max_connections: int, clock: Clock,
                connection_wait: float = WAIT_FOR_CONNECTION_SECONDS) -> Client:
    remote = mapping.remote
    credentials: CredentialSource = ChainCredentials(clock)
    if remote.identity is not None and remote.secret is not None:
        token = remote.session_token.reveal() if remote.session_token else None
        credentials = FixedCredentials(Credentials(remote.identity, remote.secret.reveal(), token))
    return Client(
        endpoint, credentials,
        Transport(max_connections=max_connections, clock=clock, connect_seconds=min(10.0, mapping.remote_timeout),
                  ca_file=remote.ca_file, verify=remote.verify_tls, connection_wait=connection_wait),
        clock=clock, timeout=mapping.remote_timeout, v2=remote.signature == 'v2',
        user_agent=GOOGLE_AGENT if endpoint.flavour == 'google' else 'swift-s3-sync')
