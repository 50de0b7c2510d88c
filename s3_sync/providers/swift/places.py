"""Where the segments of copies lie at a Swift target (predecessor-sync 1.4, its collisions taken out).

The predecessor put the segments of all source containers into one, where equal
names overwrote each other. Here every source container has one of its own at
the remote; the usual one keeps the predecessor's name.
"""
from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from s3_sync.config import Mapping
from s3_sync.errors import LimitExceeded
from s3_sync.providers.swift.limits import Limits

USUAL = ('_segments', '+segments')
"""Ends of segment containers' names: of Swift's clients, and of s3api."""
JOINED = '_segments_joined'
"""For objects made from several segments: apart, so that they never show up under a DLO's prefix."""
OTHERS = '_versions'
"""Beside a segment container: what cannot have its own name, because a visible manifest needs another content there."""

SOURCE_HEADER = 'x-container-meta-1space-source'
"""On a container whose name does not tell whose segments it is for: the local container, percent-encoded."""
MAX_SOURCE_BYTES = 256
"""Of that header's value; every Swift takes as much."""

_HASHED = re.compile('[0-9a-f]{64}')


class Place(NamedTuple):
    """An object at the remote."""

    container: str
    name: str

    def __str__(self) -> str:
        return f'{self.container}/{self.name}'


class Places:
    """Of one mapping with a concrete container."""

    def __init__(self, mapping: Mapping) -> None:
        self.bucket = mapping.remote.bucket
        self.kept_names = mapping.of_all_containers
        """Whether segments are rows of this mapping's family: they lie where their own rows would put them."""
        self._source = mapping.container
        self._prefix = self.bucket.removesuffix(mapping.container)
        self._family = re.compile(
            re.escape(self.bucket) + r'(_segments|\+segments|_segments_joined|_segments_[0-9a-f]{10})(_versions)?')
        self._silent = re.compile(re.escape(self.bucket) + r'_segments_[0-9a-f]{10}(_versions)?')
        self._told: dict[str, str] = {}
        """Remote containers that do not tell by their names whose segments they are for, and whose those are."""

    def container(self, source: str) -> str:
        """The remote container for segments out of the local container ``source``."""
        if self.kept_names:
            return self._prefix + source
        for end in USUAL:
            if source == self._source + end:
                return self.bucket + end
        found = f'{self.bucket}_segments_{hashlib.sha256(source.encode()).hexdigest()[:10]}'
        self._told[found] = source
        return found

    def creation_headers(self, container: str) -> dict[str, str]:
        """What the remote ``container`` is to say of itself when it is made."""
        source = self._told.get(container.removesuffix(OTHERS))
        value = '' if source is None or not self._silent.fullmatch(container) else quote(source, safe='')
        return {SOURCE_HEADER: value} if 0 < len(value) <= MAX_SOURCE_BYTES else {}

    def is_riddle(self, container: str) -> bool:
        """Whether the remote ``container`` is for some local one's segments, and has to be asked for whose."""
        return (not self.kept_names and self._silent.fullmatch(container) is not None
                and container.removesuffix(OTHERS) not in self._told)

    def tell(self, header: str) -> None:
        """What a remote container says of itself. A lie is remembered for the container that it fits."""
        source = unquote(header)
        if source:
            self.container(source)

    def source(self, container: str) -> str | None:
        """The local container whose segments lie in the remote ``container``; None where its name does not tell."""
        if self.kept_names:
            name = container.removeprefix(self._prefix)
            return name if name and container == self._prefix + name else None
        for source in (*(self._source + end for end in USUAL), self._source):
            if self.container(source) == container:
                return source
        return self._told.get(container)

    def source_of(self, place: Place) -> Place | None:
        """The local container and name of a segment at ``place``; None where its name there does not tell."""
        container, name = place
        if not self.kept_names and container.endswith(OTHERS):
            # Beside its own place, below the content that it has. A name too long for that was hashed.
            container, name = container.removesuffix(OTHERS), name.partition('/')[2]
            if not name or _HASHED.fullmatch(name):
                return None
        source = self.source(container)
        return None if source is None else Place(source, name)

    def source_of_prefix(self, base: Place, key: str) -> Place | None:
        """Local container and prefix of the segments of the DLO ``key``, whose copies lie below ``base``."""
        container, prefix = base
        if not self.kept_names and container.endswith(OTHERS):
            container = container.removesuffix(OTHERS)
            start = f'{self.owner(key)}/'
            if not prefix.startswith(start):
                return None
            prefix = prefix.removeprefix(start)
        source = self.source(container)
        return None if source is None else Place(source, prefix)

    def copies_of(self, source: str) -> str | None:
        """The remote container with this mapping's copies of the local container ``source``; None: it has none."""
        if source == self._source:
            return self.bucket
        return self._prefix + source if self.kept_names else None

    def segment(self, container: str, name: str) -> Place:
        """Where a segment of this local container and name belongs."""
        return Place(self.container(container), name)

    def version(self, place: Place, content: str, limits: Limits) -> Place:
        """Where the same segment goes when another content has its place; ``content`` is hex and tells what it is."""
        return Place(place.container + OTHERS, content + '/' + _fitting(place.name, len(content) + 1, limits))

    def joined(self, key: str, timestamp: str, index: int, limits: Limits) -> Place:
        """Of a new object made from several segments of ``key``, or from a part of one (the predecessor's form)."""
        end = f'/{timestamp}/{index:06}'
        return Place(self.bucket + JOINED, _fitting(key, len(end), limits) + end)

    def is_segment_container(self, container: str) -> bool:
        """Whether only segments of this mapping's copies lie there. Nothing elsewhere ever goes with a manifest."""
        return not self.kept_names and self._family.fullmatch(container) is not None

    def owner(self, key: str) -> str:
        """What segments say whose manifest ``key`` needs, 16 hex digits."""
        return hashlib.sha256(f'{self.bucket}/{key}'.encode('utf-8', 'surrogatepass')).hexdigest()[:16]


def check_container(name: str, limits: Limits) -> None:
    """LimitExceeded when the target takes no container of this name."""
    size = len(name.encode())
    if size > limits.max_container_name_length:
        raise LimitExceeded(f'the segment container {name!r} has {size} bytes, '
                            f'the target takes {limits.max_container_name_length}', reason='name-too-long')


def _fitting(name: str, others: int, limits: Limits) -> str:
    """``name``, or its hash where it would be too long together with ``others`` more bytes."""
    data = name.encode('utf-8', 'surrogatepass')
    return name if len(data) + others <= limits.max_object_name_length else hashlib.sha256(data).hexdigest()
