"""What only an overwritten or deleted large object used goes with it; nothing else ever does.

Each segment that we send says whose manifest it is for (``1space-owner``). Who
takes over a segment that is there already makes it ``*`` first. So a segment
that names just the manifest that went can go at once. For the others, and for
those of the predecessor, it is looked whether any manifest of the bucket still
refers to them. Only segment containers of the mapping are touched at all, and
no copy of an object in its own right.

What is owed is remembered from before the new state is visible until it is
done, so that a try after a failure knows it too.
"""
from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable

from s3_sync.large_objects.manifest import MAX_DEPTH
from s3_sync.providers.swift.at_once import at_once
from s3_sync.providers.swift.places import Place, Places
from s3_sync.providers.swift.segments import MANY_OWNERS, Listed, SegmentStore, Stored

MAX_DEBTS = 1000
MAX_LOOKS = 5000
"""Manifests that are read, for one object, to learn whether segments without a known owner are still needed."""

logger = logging.getLogger(__name__)


class Cleanup:
    """Of one mapping with a concrete container. Green-thread safe."""

    def __init__(self, store: SegmentStore, places: Places) -> None:
        self._store = store
        self._places = places
        self._debts: OrderedDict[str, dict[Place, None]] = OrderedDict()

    def owe(self, key: str, stored: Stored) -> None:
        """``key``, which is ``stored`` now, is about to go or to be replaced: note what it is made of."""
        if not self._places.kept_names:
            self.owe_these(key, self.used(Place(self._places.bucket, key), stored))

    def owe_these(self, key: str, places: Iterable[Place]) -> None:
        """As ``owe``, for segments that are known."""
        ours = [place for place in places if self._places.is_segment_container(place.container)]
        if not ours:
            return
        self._debts.setdefault(key, {}).update(dict.fromkeys(ours))
        self._debts.move_to_end(key)
        if len(self._debts) > MAX_DEBTS:
            self._debts.popitem(last=False)

    def pay(self, key: str, keep: Collection[Place] = (), digest: str = '') -> None:
        """The new state of ``key`` is visible: remove what was owed, but nothing that this state, or ``keep``, uses.

        ``digest`` of a DLO that we have just written, whose segments are just ``keep``.
        """
        left = [place for place in self._debts.get(key, ()) if place not in keep]
        if left:
            # Asked afresh: another node may have brought the object back, with the very same segments.
            main = Place(self._places.bucket, key)
            stored = self._store.head(main)
            if stored is not None and not (digest and stored.digest == digest):
                visible = set(self.used(main, stored))
                left = [place for place in left if place not in visible]
            self._remove(left, self._places.owner(key))
        self._debts.pop(key, None)

    def _remove(self, places: Iterable[Place], owner: str) -> None:
        doubtful = [place for place in at_once(lambda place: self._without_own(place, owner), places)
                    if place is not None]
        at_once(self._store.delete, self._unused(doubtful) if doubtful else ())

    def used(self, place: Place, stored: Stored) -> list[Place]:
        """All that the large object ``stored`` is made of, manifests before what they name."""
        if stored.is_slo:
            found: dict[Place, None] = {}
            self._named(place, found, 1)
            return list(found)
        if (dlo := stored.dlo) is not None:
            return [Place(dlo.container, entry.name) for entry in self._store.listing(*dlo)]
        return []

    # -- inside -------------------------------------------------------------------------------

    def _named(self, place: Place, found: dict[Place, None], depth: int) -> None:
        for segment in self._store.manifest(place) or ():
            inner = Place(segment.container, segment.name)
            if segment.data is None and inner not in found:
                found[inner] = None
                if segment.sub_slo and depth < MAX_DEPTH:
                    self._named(inner, found, depth + 1)

    def _without_own(self, place: Place, owner: str) -> Place | None:
        """Delete a segment that only ``owner`` needs; the place when that cannot be told from the segment."""
        stored = self._store.head(place)
        if stored is None or stored.is_copy:
            return None
        if stored.owner == owner:
            self._store.delete(place)
        return place if stored.owner in ('', MANY_OWNERS) else None

    def _unused(self, places: Iterable[Place]) -> list[Place]:
        """Those of ``places`` that no large object of the bucket refers to."""
        left = set(places)
        looks, marker = 0, ''
        while left:
            page = self._store.page(self._places.bucket, '', marker)
            if not page:
                return list(left)
            marker = page[-1].name
            # An empty object may be a DLO's manifest; one with bytes of its own is a documented limit (semantics 2.3).
            manifests = [entry for entry in page if entry.slo_etag or not entry.size]
            looks += len(manifests)
            if looks > MAX_LOOKS:
                logger.warning('%r: too many manifests to learn whether %d segments are still needed; they stay',
                               self._places.bucket, len(left))
                return []
            at_once(lambda entry: self._strike(entry, left), manifests)
        return []

    def _strike(self, entry: Listed, left: set[Place]) -> None:
        """Take out of ``left`` what a listed object refers to."""
        if not left:
            return
        place = Place(self._places.bucket, entry.name)
        if entry.slo_etag:
            named: dict[Place, None] = {}
            self._named(place, named, 1)
            left.difference_update(named)
            return
        stored = self._store.head(place)
        if stored is not None and stored.is_slo:
            left.difference_update(self.used(place, stored))
        elif stored is not None and (dlo := stored.dlo) is not None:
            left.difference_update([p for p in left if p.container == dlo.container and p.name.startswith(dlo.name)])
