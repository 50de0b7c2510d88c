"""When a copy expires at a Swift target (predecessor-sync 1.8, its defects corrected).

The time is always counted from the object's own date, so sending or updating
a copy again never pushes its end forward.
"""
from __future__ import annotations

from s3_sync.config import Mapping
from s3_sync.types import ObjectMeta

LEAST_LIFE_SECONDS = 60
"""Swift refuses an end that has passed. A copy that is already due is sent with this long to live."""


def copy_delete_at(mapping: Mapping, meta: ObjectMeta, now: float) -> int | None:
    """Unix seconds at which the copy of a source object is to vanish, None for never.

    An expiry of the object's own (``propagate_expiration``) comes before
    ``remote_delete_after``, unless that is set and the offset is not: then it
    decides for all objects.
    """
    after, offset = mapping.remote_delete_after, mapping.propagate_expiration_offset
    if mapping.propagate_expiration and meta.delete_at is not None and (offset or not after):
        return meta.delete_at + offset
    if not after:
        return None
    if meta.data_time is not None:
        born = float(meta.data_time)
    else:
        born = meta.last_modified if meta.last_modified is not None else now
    return int(born + after)


def allowed(delete_at: int | None, now: float) -> int | None:
    """The same time, moved to where Swift accepts it."""
    return None if delete_at is None else max(delete_at, int(now) + LEAST_LIFE_SECONDS)


def comparable(delete_at: int | None, now: float) -> int | str | None:
    """For comparing a wanted time with a stored one: all that are due count as one."""
    if delete_at is not None and delete_at <= now + LEAST_LIFE_SECONDS:
        return 'due'
    return delete_at


class NotBefore:
    """The end of a copy that a manifest needs longer than its own row asks for: equal to every earlier one."""

    def __init__(self, delete_at: int | str | None) -> None:
        self._end = delete_at

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int) and isinstance(self._end, int):
            return other <= self._end
        return self._end is None or other in ('due', self._end)

    def __hash__(self) -> int:
        return 0


def later(delete_at: int | None, other: int | None) -> int | None:
    """The later of two ends; None is never."""
    return None if delete_at is None or other is None else max(delete_at, other)
