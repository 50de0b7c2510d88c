"""What every way of reading a local object promises."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from s3_sync.large_objects.model import LargeSource
from s3_sync.streams import Body
from s3_sync.timestamps import RowTimes
from s3_sync.types import ObjectMeta, ObjectRow


@dataclass(frozen=True, slots=True)
class Link:
    """Where a user's symbolic link points."""

    container: str
    name: str
    account: str = ''
    """'' : the link's own account."""
    etag: str = ''
    """Of a static link: the ETag that its target must have (of a large object, its manifest's MD5)."""

    @property
    def target(self) -> str:
        """``container/object``, percent-encoded as ``X-Symlink-Target`` wants it."""
        return quote(f'{self.container}/{self.name}')


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
    link: Link | None = None
    """The object is a link that was not followed; ``meta`` and the empty body are the link's own."""


class Source(Protocol):
    """Opens local objects. Green-thread safe; kept for the life of the process."""

    def open(self, row: ObjectRow, *, follow_links: bool = True) -> SourceObject:
        """The version the row describes, or a newer one. A large object's body is its stored manifest.

        ``follow_links`` false: a user's symbolic link comes as itself, with
        ``link`` set. The links of versioned containers to their hidden versions
        are followed in any case.

        Raises SourceGone (deleted or expired by now), SourceStale (only older
        versions can be found), SourceUnavailable (those who may have it do not
        answer), SourceUnusable (a link that leads nowhere, and SourceEncrypted).
        """

    def large(self, row: ObjectRow, opened: SourceObject) -> LargeSource:
        """The large object whose manifest ``open`` returned; or a plain one, to be read in pieces.

        Reads the body of an SLO. Sub-manifests and DLO listings are read here,
        segments when they are opened. Raises SegmentChanged (a sub-manifest is
        missing or another one), SourceUnavailable, SourceUnusable with reason
        ``invalid-manifest``, SourceEncrypted.
        """

    def expect(self, rows: Sequence[ObjectRow]) -> None:
        """These live rows will be opened soon, in this order. Costs no IO now and may save some then."""

    def superseded(self, row: ObjectRow) -> bool:
        """For a tombstone row: whether a live version newer than it exists by now (semantics 2.4).

        Raises SourceUnavailable when that cannot be told (a primary does not answer).
        """

    def close(self) -> None:
        """Free connections and threads."""
