"""Names and headers that restores and migrations share, so that either finds the other's work done (semantics 3.3).

Segments that we make ourselves, because the source's have no names here, lie
beside the object's container under the predecessor's scheme.
"""
from __future__ import annotations

import hashlib

from swift.common.utils import Timestamp

MIGRATOR_TAG = 'x-object-transient-sysmeta-multi-cloud-internal-migrator'
"""On every migrated object: the source's time. Transient, so that a user's POST takes it away."""
REMOTE_ETAG_TAG = 'x-object-transient-sysmeta-multi-cloud-internal-migrator-remote-etag'
"""On a migrated object whose local ETag cannot be the source's: that one."""
S3_ETAG_HEADER = 'x-object-sysmeta-s3api-etag'
"""The ETag that Swift's s3api shows its clients instead of Swift's own."""
LISTED_ETAG_HEADER = 'x-object-sysmeta-container-update-override-etag'
"""What the container's listing gets for an ETag; s3api reads the ``s3_etag`` parameter."""

MAX_CONTAINER_BYTES = 256
MAX_NAME_BYTES = 1024
_SUFFIX = '_segments'


def segments_container(container: str) -> str:
    """Where our own segments of the objects in ``container`` lie."""
    found = container + _SUFFIX
    return found if len(found.encode()) <= MAX_CONTAINER_BYTES else _digest(container) + _SUFFIX


def segment_name(name: str, when: Timestamp, size: int, segment_bytes: int, index: int) -> str:
    """The ``index``-th (from 0) segment of the version of ``name`` written at ``when`` with ``size`` bytes."""
    tail = f'/{when.normal}/{size}/{segment_bytes}/{index:08d}'
    found = name + tail
    return found if len(found.encode()) <= MAX_NAME_BYTES else _digest(name) + tail


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
