"""A stored manifest and what it belongs to, made into a layout again: the way back of every archived large object."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from s3_sync.large_objects.dlo import dlo_digest
from s3_sync.large_objects.manifest import ManifestError, logical_size, parse_manifest, slo_etag
from s3_sync.large_objects.model import Layout, Segment


def layout_of_manifest(kind: Literal['slo', 'dlo'], manifest: bytes, *, size: int, content: str = '',
                       prefix: str = '') -> Layout | None:
    """The layout that ``manifest`` (as Swift stores it) describes, pieces left empty.

    None when it is no manifest, or not that of an object with ``size`` bytes and this
    ``content`` (``Layout.etag``; '' when nobody knows).
    """
    try:
        segments = parse_manifest(manifest)
    except ManifestError:
        return None
    return layout_of_segments(kind, segments, manifest, size=size, content=content, prefix=prefix)


def layout_of_segments(kind: Literal['slo', 'dlo'], segments: Sequence[Segment], manifest: bytes, *, size: int | None,
                       content: str = '', prefix: str = '') -> Layout | None:
    """As ``layout_of_manifest``, of a manifest already read. ``size`` None: nobody knows."""
    try:
        etag = slo_etag(segments) if kind == 'slo' else dlo_digest(segments)
        length = logical_size(segments)
    except ManifestError:
        return None
    if size not in (None, length) or content not in ('', etag):
        return None
    return Layout(kind, tuple(segments), (), etag, length, manifest, prefix)
