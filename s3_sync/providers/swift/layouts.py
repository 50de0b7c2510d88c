"""What a large object at a Swift consists of, told in the names that it has locally."""
from __future__ import annotations

from dataclasses import replace

from s3_sync.large_objects.dlo import dlo_digest
from s3_sync.large_objects.layouts import layout_of_segments
from s3_sync.large_objects.manifest import MAX_DEPTH, stored_manifest
from s3_sync.large_objects.model import Layout, Segment
from s3_sync.providers.swift.places import Place, Places
from s3_sync.providers.swift.segments import SegmentStore, Stored
from s3_sync.providers.swift.sources import Sources
from s3_sync.types import ObjectMeta

LISTED_AT_ONCE = 10_000
"""DLOs of fewer segments tell their true size and digest in a HEAD."""


class Layouts:
    """Of one mapping. ``as_remote``: whether names at the remote are the local ones."""

    def __init__(self, store: SegmentStore, places: Places, sources: Sources, *, as_remote: bool) -> None:
        self._store = store
        self._places = places
        self._sources = sources
        self._as_remote = as_remote

    def of(self, meta: ObjectMeta) -> Layout | None:
        """``meta`` is a HEAD or GET of the object just made. None: see ``BaseSync.layout_of``."""
        stored = Stored(meta.sysmeta)
        if stored.is_slo:
            return self._slo(meta)
        return self._dlo(meta, stored.dlo) if stored.dlo is not None else None

    # -- static -----------------------------------------------------------------------------

    def _slo(self, meta: ObjectMeta) -> Layout | None:
        segments = self._segments(Place(self._places.bucket, meta.name), 1)
        if segments is None:
            return None
        layout = layout_of_segments('slo', segments, stored_manifest(segments), size=meta.size, content=meta.etag)
        if layout is None or self._as_remote or meta.source_etag in ('', layout.etag):
            return layout
        return None  # its segments were joined or cut for this remote: they are not the source's

    def _segments(self, place: Place, depth: int) -> tuple[Segment, ...] | None:
        """Of the manifest there, sub-manifests read too. None: no SLO, or names that do not tell the local ones."""
        remote = self._store.manifest(place)
        if remote is None or depth > MAX_DEPTH:
            return None
        local = []
        for segment in remote:
            if segment.data is not None:
                local.append(segment)
                continue
            at = Place(segment.container, segment.name)
            source = at if self._as_remote else self._source_of(at)
            if source is None:
                return None
            children = None
            if segment.sub_slo:
                children = self._segments(at, depth + 1)
                if children is None:
                    return None
            local.append(replace(segment, container=source.container, name=source.name, children=children))
        return tuple(local)

    def _source_of(self, place: Place) -> Place | None:
        self._sources.learn(place.container)
        return self._places.source_of(place)

    # -- dynamic ----------------------------------------------------------------------------

    def _dlo(self, meta: ObjectMeta, base: Place) -> Layout | None:
        if not self._as_remote:
            self._sources.learn(base.container)
        source = base if self._as_remote else self._places.source_of_prefix(base, meta.name)
        if source is None:
            return None
        segments = tuple(
            Segment(source.container, source.name + entry.name[len(base.name):], entry.etag, entry.size, 0, entry.size)
            for entry in self._store.listing(*base))
        short = 0 < len(segments) < LISTED_AT_ONCE
        content = '' if self._as_remote else meta.source_etag
        if short and meta.etag not in ('', dlo_digest(segments)):
            return None  # it is another one by now
        return layout_of_segments('dlo', segments, stored_manifest(segments), size=meta.size if short else None,
                                  content=content, prefix=f'{source.container}/{source.name}')
