"""Who needs a segment at the remote, and until when: what a manifest claims of those that it refers to.

A segment that another manifest's copy sent is marked as shared *before* ours
refers to it, and once our manifest is visible it is looked whether all of them
are still there. Ends only move away while a manifest may need the segment.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from s3_sync.providers.swift.at_once import at_once
from s3_sync.providers.swift.places import Place, Places
from s3_sync.providers.swift.segments import MANY_OWNERS, Label, SegmentStore, Stored

SLACK_SECONDS = 120
"""An end that was already due when it was sent is stored a little later than wanted."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Of one version of one large object."""

    store: SegmentStore
    places: Places
    owner: str
    """'' where segments have rows of their own: they belong to nobody then."""
    end: int | None
    """Unix seconds until which the segments must stay, None for ever."""
    used: dict[Place, str] = field(default_factory=dict)
    """Everything that the manifest needs, with its ETag."""

    def label(self, combined: str = '') -> Label:
        """For a new segment."""
        # One with a row of its own that came first here would have that row bring an earlier end.
        return Label(self.owner or MANY_OWNERS * (self.end is not None), self.end, combined)

    def take(self, place: Place, stored: Stored) -> None:
        """Use what is there. Others who use it must be able to tell, and it must live long enough."""
        owner, end = self._shared(stored.owner), stored.delete_at
        has_row = self.places.kept_names or stored.is_copy
        if _earlier(end, self.end) and not (has_row and self.end is None):
            end = self.end
            if has_row:
                owner = MANY_OWNERS  # so that its own row does not bring its earlier end back
        self._change(place, stored, owner, end)
        self.used[place] = stored.etag

    def settled(self) -> bool:
        """Whether all that the visible manifest needs is there; also puts right who owns it, and until when.

        False when a segment is gone: another manifest's end took it along while
        ours was not visible yet. Two who sent the same segment at the same time
        see here that they share it.
        """
        return self.places.kept_names or all(at_once(self._settle, list(self.used.items())))

    def _settle(self, item: tuple[Place, str]) -> bool:
        place, etag = item
        stored = self.store.head(place)
        if stored is None or stored.etag != etag:
            return False
        owner, end = self._shared(stored.owner), stored.delete_at
        if owner == self.owner and self.end is not None and _earlier(self.end + SLACK_SECONDS, end):
            end = self.end  # only now: until then the version before this one may have needed it longer
        self._change(place, stored, owner, end)
        return True

    def _shared(self, owner: str) -> str:
        return owner if owner in ('', MANY_OWNERS, self.owner) else MANY_OWNERS

    def _change(self, place: Place, stored: Stored, owner: str, end: int | None) -> None:
        if (owner, end) != (stored.owner, stored.delete_at):
            self.store.change(place, stored, owner=owner, delete_at=end)


def _earlier(end: int | None, other: int | None) -> bool:
    """None is never."""
    return end is not None and (other is None or end < other)
