"""DLOs: what ``X-Object-Manifest`` means, and a listing as segments.

A DLO has no manifest of its own: it is whatever a listing of its prefix shows.
So the listing of one moment is made into segments, and the digest of their
ETags tells later whether it would still be the same.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import unquote

from s3_sync.large_objects.manifest import ManifestError
from s3_sync.large_objects.model import Segment
from s3_sync.types import ListingEntry


def dlo_prefix(header: str) -> tuple[str, str]:
    """Container and prefix of an ``X-Object-Manifest`` value, URL-decoded like Swift does. ManifestError.

    Nothing is stripped: ``video/`` does not mean ``video2/`` as well.
    """
    container, slash, prefix = unquote(header).partition('/')
    if not container or not slash:
        raise ManifestError(f'{header!r} names no container and prefix')
    return container, prefix


def dlo_segments(container: str, entries: Iterable[ListingEntry]) -> tuple[Segment, ...]:
    """The segments of a DLO whose prefix lists ``entries``, empty ones included; in the order of the listing."""
    return tuple(
        Segment(container, entry.name, _plain_etag(entry.etag), entry.size, 0, entry.size)
        for entry in entries if not entry.subdir)


def dlo_digest(segments: Iterable[Segment]) -> str:
    """MD5 (hex) over the concatenated ETags: Swift's ETag of a short DLO, and the predecessor's mark of any DLO."""
    digest = hashlib.md5(usedforsecurity=False)
    for segment in segments:
        digest.update(segment.etag.encode())
    return digest.hexdigest()


def _plain_etag(listed: str) -> str:
    """Listings append parameters for other middleware: ``<md5>; slo_etag=<...>``."""
    return listed.partition(';')[0].strip().strip('"')
