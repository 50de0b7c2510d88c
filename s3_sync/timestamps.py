"""Swift's times, compared as Swift compares them (semantics 1 and 2).

Rows hold three times in one string; they are decoded to
``swift.common.utils.Timestamp`` (float part plus offset) and never compared as
text or floats: databases abbreviate offsets, so text order is wrong.
"""
from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

from swift.common.utils import Timestamp, decode_timestamps

MARKER = 0x31535043
"""High 32 bits of the offset of every local delete or restore of ours (semantics 2.1)."""

MAX_COUNTER = 0xffffffff
"""The low 32 bits: Unix seconds, or more where two of ours met in one second."""

ZERO = Timestamp(0)

_DAYS = ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')
_MONTHS = ('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')


class RowTimes(NamedTuple):
    """Data, content-type and metadata time of one version of an object."""

    data: Timestamp
    content_type: Timestamp
    metadata: Timestamp

    @property
    def newest(self) -> Timestamp:
        data, content_type, metadata = self
        # Mostly they are one object; comparing Timestamps writes both out as text.
        return data if data is content_type and data is metadata else max(self)

    def covers(self, other: RowTimes) -> bool:
        """Whether a version with these times is as new as ``other`` in all three (semantics 1.2)."""
        return (_order(self.data) >= _order(other.data) and _order(self.content_type) >= _order(other.content_type)
                and _order(self.metadata) >= _order(other.metadata))


def _order(timestamp: Timestamp) -> tuple[float, int]:
    """What Timestamps are ordered by, without writing them out: the float part is whole steps of 10 microseconds."""
    return timestamp.timestamp, timestamp.offset


@lru_cache(maxsize=4096)  # everybody who works on a row asks, and decoding costs as much as signing a request
def row_times(created_at: str) -> RowTimes:
    """Decode ``created_at`` of a container row. ValueError when it is no timestamp."""
    return RowTimes(*decode_timestamps(created_at))


def is_ours(timestamp: Timestamp) -> bool:
    """Whether this time was given by our own delete or restore, not by a user."""
    return bool(timestamp.offset >> 32 == MARKER)


def without_marker(timestamp: Timestamp) -> Timestamp:
    """The user's time behind one of ours; comparisons with the remote ignore our marker."""
    return Timestamp(timestamp.normal) if is_ours(timestamp) else timestamp


def marked(times: RowTimes, now: float) -> Timestamp:
    """The time of our own delete or restore of the version with these times (semantics 2.1), ``now`` in Unix seconds.

    Its newest time with our marker. The counter tells deletes and restores of
    one version apart: later ones win, also where they follow within a second
    or the clock was set back.
    """
    counter = max(int(now), *(_counter(timestamp) + 1 for timestamp in times))
    return Timestamp(times.newest.normal, offset=MARKER << 32 | min(counter, MAX_COUNTER))


def _counter(timestamp: Timestamp) -> int:
    return timestamp.offset & MAX_COUNTER if is_ours(timestamp) else -1


def parse_timestamp(text: str | None) -> Timestamp | None:
    """A Timestamp from a header or metadata value, None when missing or malformed."""
    if not text:
        return None
    try:
        return Timestamp(text)
    except ValueError:
        return None


def http_date_seconds(text: str) -> float | None:
    """Unix seconds of an RFC 7231 date (Date, Last-Modified), None when malformed."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError):
        return None


def clock_offset(date: str, now: float) -> float:
    """Seconds that a clock is ahead of ours whose Date header came at ``now``; 0.0 when it tells nothing."""
    theirs = http_date_seconds(date)
    return 0.0 if theirs is None else theirs - now


def iso_seconds(text: str) -> float | None:
    """Unix seconds of an ISO 8601 time in UTC (listings of Swift and S3), None when malformed."""
    try:
        when = datetime.fromisoformat(text.replace('Z', '+00:00'))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def http_date(seconds: float) -> str:
    """RFC 7231 date of Unix seconds."""
    at = datetime.fromtimestamp(int(seconds), UTC)
    return (f'{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} '
            f'{at.hour:02}:{at.minute:02}:{at.second:02} GMT')
