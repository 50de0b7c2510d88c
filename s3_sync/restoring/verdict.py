"""What a HEAD after a refused write tells (semantics 3.4), and whether a segment that is here will do. Pure."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from swift.common.utils import Timestamp

from s3_sync.local.versions import SOURCE_TIME_HEADER, restored_at
from s3_sync.restoring.plan import SegmentWrite
from s3_sync.timestamps import ZERO, RowTimes, is_ours, parse_timestamp, without_marker

Verdict = Literal['same', 'newer', 'deleted', 'older-than-archived', 'again']
YOUNG_SECONDS = 3600.0
"""A segment that was restored within this may belong to a restore that is about to fail and take it away again."""


@dataclass(frozen=True, slots=True)
class Local:
    """What is under a name here."""

    live: bool
    times: RowTimes
    source_time: Timestamp | None = None
    """The source's data time, where it is another than the object's own."""
    etag: str = ''
    restored: float | None = None
    """Unix seconds at which it was restored, None when it was not."""
    tombstone: Timestamp | None = None
    """When it was deleted; None: not told, or never there."""


def look_at(status: int, headers: Mapping[str, str]) -> Local:
    """A HEAD's answer (lower-case names): 404 or 2xx."""
    newest = parse_timestamp(headers.get('x-backend-timestamp') or headers.get('x-timestamp'))
    if status == 404:
        return Local(False, RowTimes(ZERO, ZERO, ZERO), tombstone=newest)
    newest = newest or ZERO
    data = parse_timestamp(headers.get('x-backend-data-timestamp')) or newest
    times = RowTimes(data, data, newest)
    return Local(True, times, parse_timestamp(headers.get(SOURCE_TIME_HEADER)) if is_ours(data) else None,
                 headers.get('etag', '').strip('"'), restored_at(headers, times))


def verdict_of(local: Local, times: RowTimes, stamp: Timestamp) -> Verdict:
    """What stands against a write at ``stamp`` of the remote version with ``times`` (without our marker).

    ``again``: nothing that would be seen; a later counter may win.
    """
    if local.live:
        data = local.source_time or without_marker(local.times.data)
        newest = max(data, without_marker(local.times.newest))
        if data in (times.data, times.newest):
            return 'same' if newest <= max(times.newest, Timestamp(stamp.normal)) else 'newer'
        # A source's time may lie in the future: then what is later than our write is a user's all the same.
        return 'newer' if newest > min(times.newest, Timestamp(stamp.normal)) else 'again'
    tombstone = local.tombstone
    if tombstone is None or tombstone < stamp:
        return 'again'
    if not is_ours(tombstone):
        return 'deleted'
    return 'older-than-archived' if without_marker(tombstone) > Timestamp(stamp.normal) else 'again'


def reusable(local: Local, segment: SegmentWrite, now: float) -> bool:
    """Whether the segment that is here is the one wanted, and here to stay."""
    if not local.live or not segment.md5 or local.etag != segment.md5:
        return False
    return local.restored is None or local.restored + YOUNG_SECONDS <= now
