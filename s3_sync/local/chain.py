"""The sources in order of cost: local disk, object servers, proxy application (DESIGN 7).

``open``: a local replica decides only when it is as new as the row and its
body is right, or holds a tombstone or expiry that covers the row; anything
else asks the other replicas, and what they say is final. The proxy is not
asked as a last resort: it reads the same replicas, and less strictly. It
serves what must be put together (erasure coding, encryption, links).

``superseded``: a newer version seen anywhere is conclusive. That there is none
needs an answer of every primary: this node's from its disks, the others' by a
HEAD each.
"""
from __future__ import annotations

from collections.abc import Sequence

from s3_sync.errors import SourceStale, SourceUnavailable
from s3_sync.large_objects.model import LargeSource
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DiskSource
from s3_sync.local.large import LargeReader
from s3_sync.local.placement import Placement
from s3_sync.local.proxy import ProxySource
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.local.segments import SegmentReader
from s3_sync.local.source import SourceObject
from s3_sync.local.versions import ThroughProxy
from s3_sync.metric_defs import SOURCES
from s3_sync.metrics import Metrics, NoMetrics
from s3_sync.types import ObjectRow


class ChainSource:
    """What the sync engine reads from; see ``s3_sync.local.source.Source`` for the promises."""

    def __init__(self, placement: Placement, *, disk: DiskSource | None, direct: DirectSource, proxy: ProxySource,
                 metrics: Metrics | None = None, large: LargeReader | None = None) -> None:
        self._placement = placement
        self._disk = disk
        self._direct = direct
        self._proxy = proxy
        self._metrics = metrics or NoMetrics()
        self._large = large or LargeReader(SegmentReader(placement, disk=disk, direct=direct, proxy=proxy),
                                           proxy.containers)

    def without_disk(self) -> ChainSource:
        """The same for mappings with ``local_reads: off``; shares connections, ``close`` only one of the two."""
        return ChainSource(self._placement, disk=None, direct=self._direct, proxy=self._proxy, metrics=self._metrics,
                           large=self._large.without_disk())

    @property
    def proxy_client(self) -> ProxyClient:
        """The proxy application that this source reads through; one is enough for a process."""
        return self._proxy.client

    def expect(self, rows: Sequence[ObjectRow]) -> None:
        """Rows that will be opened soon, in this order; costs no I/O now, and saves some then."""
        if self._disk is not None:
            self._disk.expect(rows)

    def open(self, row: ObjectRow, *, follow_links: bool = True) -> SourceObject:
        try:
            found = (self._open_replica(row, follow_links) if self._placement.of(row).replicated
                     else self._proxy.open(row, follow_links=follow_links))
        except ThroughProxy:
            found = self._proxy.open(row, follow_links=follow_links)
        self._metrics.add(SOURCES, found.origin)
        return found

    def large(self, row: ObjectRow, opened: SourceObject) -> LargeSource:
        return self._large.large(row, opened)

    def _open_replica(self, row: ObjectRow, follow_links: bool) -> SourceObject:
        last: list[int] = []
        if self._disk is not None:
            try:
                return self._disk.open(row, follow_links=follow_links)
            except (SourceStale, SourceUnavailable):
                place = self._placement.of(row)
                last = [node['id'] for node in self._disk.local_primaries(place)]
        return self._direct.open(row, last=last, follow_links=follow_links)

    def superseded(self, row: ObjectRow) -> bool:
        known = self._disk.newest(row) if self._disk is not None else {}
        return self._direct.superseded(row, known=known)

    def close(self) -> None:
        for source in (self._disk, self._direct, self._proxy):
            if source is not None:
                source.close()
