"""A DLO at a Swift target: its segments below a prefix where nothing else is, then the manifest object.

A DLO is whatever its prefix lists. So its copy may use the source's own prefix
only where everything else that is listed there is this copy's too; where an
archived object, or another manifest, has something else there, the copy gets a
prefix to itself. Changed segments replace the old ones in place: that a DLO has
no whole version while its segments change lies in its nature.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from s3_sync.errors import PreconditionFailed
from s3_sync.large_objects.model import Layout, Segment
from s3_sync.providers.swift.at_once import at_once
from s3_sync.providers.swift.large_transfer import Transfer
from s3_sync.providers.swift.places import OTHERS, Place
from s3_sync.providers.swift.segments import Stored


@dataclass(frozen=True, slots=True)
class Survey:
    """What is below a prefix before anything is sent there."""

    base: Place
    """Container and prefix."""
    there: Mapping[Place, Stored | None]
    """Every segment of the DLO."""
    surplus: tuple[Place, ...]
    """Segments of this copy that the DLO has no more."""


class DloCopy:
    """Of one version. ``transfer`` tells which manifest the segments are for."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._store = transfer.store
        self._owner = transfer.claims.owner
        self._kept_names = transfer.places.kept_names
        self.layout: Layout = transfer.large.layout

    def bring(self, current: Place | None) -> Survey:
        """Have every segment there. ``current``: container and prefix of the copy that is there now."""
        survey = self._place(current)
        if not self.layout.segments:
            self._store.create_container(survey.base.container)  # without it the DLO would not be found
        at_once(lambda item: self._segment(*item, survey), list(self._wanted(survey.base).items()))
        return survey

    def _place(self, current: Place | None) -> Survey:
        container, prefix = source_prefix(self.layout)
        own = Place(self._transfer.places.container(container), prefix)
        apart = Place(own.container + OTHERS, f'{self._owner}/{prefix}')
        if self._kept_names or current != apart:
            survey = self._survey(own)
            if survey is not None:
                return survey
        survey = self._survey(apart)
        # There nothing can be but what is ours.
        return survey if survey is not None else Survey(apart, {}, ())

    def _wanted(self, base: Place) -> dict[Place, Segment]:
        start = len(source_prefix(self.layout).name)
        return {Place(base.container, base.name + segment.name[start:]): segment for segment in self.layout.segments}

    def _survey(self, base: Place) -> Survey | None:
        """None when something below the prefix is in the way and not this copy's to change."""
        wanted = self._wanted(base)
        if self._kept_names:
            return Survey(base, {}, ())
        listed = [Place(base.container, entry.name) for entry in self._store.listing(*base)]
        places = list(dict.fromkeys([*wanted, *listed]))
        there = dict(zip(places, at_once(self._store.head, places), strict=True))
        surplus = []
        for place, stored in there.items():
            if stored is None or (place in wanted and fits(stored, wanted[place])):
                continue
            if stored.is_copy or stored.owner != self._owner:
                return None
            if place not in wanted:
                surplus.append(place)
        return Survey(base, there, tuple(surplus))

    def _segment(self, place: Place, segment: Segment, survey: Survey) -> None:
        stored = survey.there[place] if place in survey.there else self._store.head(place)
        if stored is None:
            try:
                self._transfer.put(place, segment)
                return
            except PreconditionFailed:
                stored = self._store.head(place)
        if stored is not None and fits(stored, segment):
            self._transfer.claims.take(place, stored)
        else:
            self._transfer.put(place, segment, absent=False)


def fits(stored: Stored, segment: Segment) -> bool:
    return bool(segment.etag) and (stored.etag, stored.size) == (segment.etag, segment.size)


def source_prefix(layout: Layout) -> Place:
    """Container and prefix at the source."""
    container, _, prefix = layout.prefix.partition('/')
    return Place(container, prefix)


def manifest_header(base: Place) -> str:
    """``X-Object-Manifest`` as Swift takes it: it decodes the value, and refuses a prefix that begins with a slash."""
    prefix = quote(base.name)
    return quote(base.container, safe='') + '/' + ('%2F' + prefix[1:] if prefix.startswith('/') else prefix)
