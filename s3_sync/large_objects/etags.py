"""What ETags say about content, without a byte being read.

An ETag proves equality where the same function of the same bytes gives it. It
proves difference only where it is known to be the MD5 of the whole content:
another multipart ETag may come from other part sizes, another SLO ETag from
other segments of the same bytes, and stores that encrypt give ETags of their
own making. All that is ``unknown``. A DLO's digest is the exception: the
listing behind it changes without the object's time, so a copy that records
another digest counts as ``different``, or the change would never be sent.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

from s3_sync.large_objects.model import Layout
from s3_sync.large_objects.parts import Part

Relation = Literal['same', 'different', 'unknown']


def multipart_etag(md5s: Sequence[str]) -> str:
    """S3's ETag of a multipart upload whose parts have these MD5s (hex). ValueError when one is not hex."""
    digest = hashlib.md5(usedforsecurity=False)
    for md5 in md5s:
        digest.update(bytes.fromhex(md5))
    return f'{digest.hexdigest()}-{len(md5s)}'


def relation_to(layout: Layout, remote_etag: str, *, source_etag: str = '', swift_slo_etag: str = '',
                source_dlo_etag: str = '', remote_size: int | None = None, parts: Sequence[Part] | None = None,
                etag_is_md5: bool = False) -> Relation:
    """How a remote version's content relates to ``layout``.

    ``source_etag`` is what our own copies carry (``1space-etag``),
    ``swift_slo_etag`` and ``source_dlo_etag`` what the predecessor's do
    (``swift-slo-etag``, ``swift-source-dlo-etag``). ``parts``: how this store's
    copy would be cut. ``etag_is_md5``: the remote ETag is known to be the MD5
    of the whole content. ``remote_size`` None: not told (Swift does not, for a
    DLO of many segments). Quotes around ETags do not count.
    """
    remote_etag = remote_etag.strip('"')
    if remote_size is not None and remote_size != layout.size:
        return 'different'
    if remote_size == 0:
        return 'same'
    if layout.etag and layout.etag in (remote_etag, source_etag, source_dlo_etag, swift_slo_etag.strip('"')):
        return 'same'
    if layout.kind == 'dlo' and (source_etag or source_dlo_etag):
        return 'different'
    if swift_slo_etag and layout.manifest and swift_slo_etag.strip('"') == _md5(layout.manifest):
        return 'same'
    md5 = _content_md5(layout)
    if md5 and md5 == remote_etag:
        return 'same'
    if '-' in remote_etag:
        return 'same' if remote_etag in _multipart_etags(layout, parts) else 'unknown'
    return 'different' if md5 and etag_is_md5 and remote_etag else 'unknown'


def _content_md5(layout: Layout) -> str:
    """MD5 of the whole content where it is known without reading."""
    if layout.kind == 'plain':
        return layout.etag
    return layout.pieces[0].md5 if len(layout.pieces) == 1 else ''


def _multipart_etags(layout: Layout, parts: Sequence[Part] | None) -> Iterator[str]:
    """As this store would cut it, as the predecessor did (one part for each segment), and as a single part."""
    for md5s in ([part.md5 for part in parts or ()], [piece.md5 for piece in layout.pieces], [_content_md5(layout)]):
        if md5s and all(md5s):
            yield multipart_etag(md5s)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
