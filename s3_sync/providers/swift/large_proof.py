"""Evidence that a large object at a Swift is whole: its manifest, and every segment that it names, as they are now."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from s3_sync.errors import Unproven
from s3_sync.large_objects.dlo import dlo_digest
from s3_sync.large_objects.manifest import MAX_DEPTH, ManifestError, logical_size, slo_etag
from s3_sync.large_objects.model import Layout, Segment
from s3_sync.providers.swift.at_once import at_once
from s3_sync.providers.swift.large_dlo import source_prefix
from s3_sync.providers.swift.places import Place
from s3_sync.providers.swift.segments import SegmentStore

DENSE = 10
"""From so many segments in one container on a listing is asked first; it must show every tenth name at least."""

Wanted = Mapping[Place, tuple[str, int]]
"""ETag and size by place."""


def prove_slo(store: SegmentStore, place: Place, etag: str, size: int, depth: int = 1) -> None:
    """Unproven unless the manifest there has this SLO ETag and size, and all it names is there as it says."""
    segments = store.manifest(place)
    if segments is None:
        raise Unproven(f'{place} is no SLO')
    try:
        found = slo_etag(segments), logical_size(segments)
    except ManifestError as error:
        raise Unproven(f'{place}: {error}') from error
    if found != (etag, size):
        raise Unproven(f'the manifest {place} has ETag {found[0]} and {found[1]} bytes, not {etag} and {size}')
    if depth >= MAX_DEPTH:
        raise Unproven(f'{place}: manifests lie too deep in one another')
    prove_objects(store, {Place(s.container, s.name): (s.etag, s.size)
                          for s in segments if s.data is None and not s.sub_slo})
    for child in {(s.container, s.name): s for s in segments if s.sub_slo}.values():
        prove_slo(store, Place(child.container, child.name), child.etag, child.size, depth + 1)


def prove_dlo(store: SegmentStore, base: Place, layout: Layout) -> None:
    """Unproven unless the prefix lists exactly the source's segments."""
    start = len(source_prefix(layout).name)
    wanted = {base.name + s.name[start:]: (s.etag, s.size) for s in layout.segments}
    found = {entry.name: (entry.etag, entry.size) for entry in store.listing(*base)}
    if found == wanted:
        return
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    raise Unproven(f'{len(wrong)} segments below {base} are not as at the source, the first is {wrong[0]!r}')


def prove_listed(store: SegmentStore, base: Place, digest: str) -> None:
    """Unproven unless the contents that the prefix lists make this DLO digest."""
    found = dlo_digest(Segment(etag=entry.etag) for entry in store.listing(*base))
    if found != digest:
        raise Unproven(f'the segments below {base} make the digest {found}, not {digest}')


def prove_objects(store: SegmentStore, wanted: Wanted) -> None:
    """Unproven unless every one of them is there, with its ETag and size."""
    left = dict(wanted)
    for container in {place.container for place in wanted}:
        names = sorted(place.name for place in wanted if place.container == container)
        if len(names) >= DENSE:
            _strike_listed(store, container, names, left)
    problems = [problem for problem in at_once(lambda item: _problem(store, *item), list(left.items())) if problem]
    if problems:
        raise Unproven(f'{len(problems)} segments are missing or changed, the first is {problems[0]}')


def _strike_listed(store: SegmentStore, container: str, names: Sequence[str],
                   left: dict[Place, tuple[str, int]]) -> None:
    """What a listing shows as it should be needs no HEAD. Stops where the names lie too far apart."""
    prefix = os.path.commonprefix([names[0], names[-1]])
    marker, seen, struck = '', 0, 0
    while True:
        page = store.page(container, prefix, marker)
        for entry in page:
            if left.get(Place(container, entry.name)) == (entry.etag, entry.size):
                del left[Place(container, entry.name)]
                struck += 1
        seen += len(page)
        if not page or page[-1].name >= names[-1] or struck * DENSE < seen:
            return
        marker = page[-1].name


def _problem(store: SegmentStore, place: Place, wanted: tuple[str, int]) -> str:
    stored = store.head(place)
    if stored is None:
        return f'{place}, which is not there'
    return '' if (stored.etag, stored.size) == wanted else f'{place}, which has ETag {stored.etag}'
