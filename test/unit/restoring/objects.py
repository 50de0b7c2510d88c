"""Remote versions for the tests of restores."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from swift.common.utils import Timestamp

from s3_sync.large_objects.dlo import dlo_digest
from s3_sync.large_objects.manifest import logical_size, slo_etag
from s3_sync.large_objects.model import Kind, Layout, Segment
from s3_sync.restoring.plan import Limits, Origin, RestorePlan, plan_restore
from s3_sync.restoring.sources import StreamSource
from s3_sync.types import ObjectMeta

NOW = 1_700_000_000.0
WRITTEN = Timestamp(1_600_000_000.25)
LIMITS = Limits(max_file_size=1000, segment_bytes=300, max_segments=10)
ORIGIN = Origin('0123456789abcdef')


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def some_bytes(size: int, seed: int = 0) -> bytes:
    return bytes((at * 7 + at // 251 + seed) % 256 for at in range(size))


def version(data: bytes, name: str = 'o', **other: Any) -> ObjectMeta:
    """A copy of ours of a plain object, unless ``other`` says otherwise."""
    return replace(ObjectMeta(name, len(data), md5(data), 'text/plain', data_time=WRITTEN), **other)


def whole(container: str, name: str, data: bytes) -> Segment:
    return Segment(container, name, md5(data), len(data), 0, len(data))


def layout(segments: Sequence[Segment], kind: Kind = 'slo', prefix: str = '') -> Layout:
    segments = tuple(segments)
    return Layout(kind, segments, (), slo_etag(segments) if kind == 'slo' else dlo_digest(segments),
                  logical_size(segments), prefix=prefix)


def plan(meta: ObjectMeta, made_of: Layout | None = None, limits: Limits = LIMITS, origin: Origin = ORIGIN,
         **other: Any) -> RestorePlan:
    return plan_restore(meta, 'c', made_of, limits, origin, **{'now': NOW, **other})


def chunks(data: bytes, size: int = 64) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at:at + size]


def stream(data: bytes, size: int = 64) -> StreamSource:
    return StreamSource(chunks(data, size))
