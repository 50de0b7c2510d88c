"""Which rows a mapping wants: name pattern, age, selection criteria.

Everything that can be said from the row alone is said before the object is
opened; only criteria that name headers need it open.
"""
from __future__ import annotations

from swift.common.utils import extract_swift_bytes

from s3_sync.config import Mapping
from s3_sync.engine.outcomes import Outcome
from s3_sync.timestamps import without_marker
from s3_sync.types import ObjectMeta, ObjectRow


class Selector:
    """Pure: the time is an argument."""

    def __init__(self, mapping: Mapping) -> None:
        self._exclude = mapping.exclude_regex
        self._copy_after = mapping.copy_after
        self._criteria = mapping.criteria
        self._wants_all = self._exclude is None and not self._copy_after and self._criteria.node is None

    def excluded(self, name: str) -> bool:
        """Excluded names do nothing at all, deletes included."""
        return self._exclude is not None and self._exclude.match(name) is not None

    def before_read(self, row: ObjectRow, now: float) -> Outcome | None:
        """The row's end when it can be told without opening the object, else None."""
        if self._wants_all:
            return None
        if self.excluded(row.name):
            return Outcome('excluded', 'exclude-pattern')
        due = _newest_seconds(row) + self._copy_after
        if self._copy_after and due > now:
            return Outcome('deferred', 'copy-after', due=due)
        if not row.row.size:
            return None  # perhaps a manifest, whose object is larger than its row
        content_type, size = extract_swift_bytes(row.row.content_type)
        meta = ObjectMeta(name=row.name, size=row.row.size if size is None else int(size), content_type=content_type)
        newest = _newest_seconds(row)
        if self._criteria.may_match(meta, newest_time=newest, now=now):
            return None
        return self._not_selected(meta, newest, now, headers_known=not self._criteria.needs_headers)

    def after_read(self, row: ObjectRow, meta: ObjectMeta, now: float) -> Outcome | None:
        """The row's end when the object's headers do not fit, else None: go on."""
        if self._wants_all:
            return None
        newest = _newest_seconds(row)
        if self._criteria.matches(meta, newest_time=newest, now=now):
            return None
        return self._not_selected(meta, newest, now, headers_known=True)

    def _not_selected(self, meta: ObjectMeta, newest: float, now: float, *, headers_known: bool) -> Outcome:
        """Excluded for good, or only until the object is old enough."""
        due = self._criteria.next_match_time(meta, newest_time=newest, now=now, headers_known=headers_known)
        if due is not None:
            return Outcome('deferred', 'selection-age', due=due)
        return Outcome('excluded', 'selection-criteria')


def _newest_seconds(row: ObjectRow) -> float:
    return float(without_marker(row.times.newest))
