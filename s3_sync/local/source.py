"""What every way of reading a local object promises."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from s3_sync.streams import Body
from s3_sync.timestamps import RowTimes
from s3_sync.types import ObjectMeta, ObjectRow


@dataclass
class SourceObject:
    """One version of a local object, metadata read, body not yet.

    ``times`` are the version's own; they cover the row's (semantics 1.2).
    ``origin`` says which source served it: ``disk``, ``direct`` or ``proxy``.
    The holder closes ``body``, also when it never read it.
    """

    meta: ObjectMeta
    times: RowTimes
    body: Body
    origin: str


class Source(Protocol):
    """Opens local objects. Green-thread safe; kept for the life of the process."""

    def open(self, row: ObjectRow) -> SourceObject:
        """The version the row describes, or a newer one.

        Raises SourceGone (deleted or expired by now), SourceStale (only older
        versions can be found), SourceUnavailable (those who may have it do not
        answer), SourceEncrypted.
        """

    def expect(self, rows: Sequence[ObjectRow]) -> None:
        """These live rows will be opened soon, in this order. Costs no IO now and may save some then."""

    def superseded(self, row: ObjectRow) -> bool:
        """For a tombstone row: whether a live version newer than it exists by now (semantics 2.4).

        Raises SourceUnavailable when that cannot be told (a primary does not answer).
        """

    def close(self) -> None:
        """Free connections and threads."""
