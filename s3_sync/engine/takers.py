"""Segments are objects too: a mapping that takes them as such must have its copy before they go (semantics 2.3)."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from swift.common.utils import encode_timestamps

from container_crawler.rows import Row
from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.config import Mapping as SyncMapping
from s3_sync.engine.archive import Peer, Version, large_meta, peers_lack, takers
from s3_sync.engine.select import Selector
from s3_sync.errors import RemovalDeferred, SegmentChanged, SourceGone, SourceUnavailable
from s3_sync.local.containers import Containers
from s3_sync.local.proxy import RAW
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.local.source import Source
from s3_sync.timestamps import parse_timestamp
from s3_sync.types import ObjectRow, Removal


class Takers:
    """Of one process. Green-thread safe."""

    def __init__(self, mappings: Mapping[str, SyncMapping], provider: Callable[[SyncMapping], BaseSync],
                 source: Source, proxy: ProxyClient, *, clock: Clock) -> None:
        self._mappings = mappings
        self._provider = provider
        self._source = source
        self._proxy = proxy
        self._containers = Containers(proxy, clock)
        self._clock = clock

    def check(self, account: str, removal: Removal) -> None:
        """Costs nothing where no mapping takes from the segment's container.

        Raises RemovalDeferred with reason ``awaits-copy``, and what reading the
        segment or asking a remote raises.
        """
        mappings = takers(account, removal.container, self._mappings.values())
        if not mappings:
            return
        row = self._row(account, removal.container, removal.row.name)
        if row is None:
            return
        try:
            opened = self._source.open(row)
        except SourceGone:
            return
        try:
            for mapping in mappings:
                provider = self._provider(mapping)
                version = Version(row, opened, opened.meta, None)
                if opened.meta.large_object or opened.meta.size > provider.capabilities.max_put_bytes:
                    large = self._source.large(row, opened)
                    version = Version(row, opened, large_meta(opened.meta, large), large)
                waits = peers_lack([Peer(mapping.name, Selector(mapping), provider)], version, self._clock.now())
                if waits is not None:
                    raise RemovalDeferred(f'{row.path}: {waits.detail}', reason=waits.reason, due=waits.due)
        finally:
            opened.body.close()

    def _row(self, account: str, container: str, name: str) -> ObjectRow | None:
        """A row as the newest version has it; None when there is none."""
        path = (account, container, name)
        try:
            policy_index = self._containers.policy_index(account, container)
        except SegmentChanged:
            return None
        answer = self._proxy.request('HEAD', path, {'X-Newest': 'true', 'X-Backend-Open-Expired': 'true'}, RAW)
        answer.close()
        if answer.status == 404:
            return None
        data = parse_timestamp(answer.headers.get('x-backend-data-timestamp'))
        metadata = parse_timestamp(answer.headers.get('x-backend-timestamp'))
        if answer.status != 200 or data is None or metadata is None:
            raise SourceUnavailable(f'{"/".join(path)}: the proxy answers {answer.status}')
        row = Row(0, name, encode_timestamps(data, data, metadata), int(answer.headers.get('content-length', 0)),
                  answer.headers.get('content-type', ''), '', False, policy_index)
        return ObjectRow(account, container, row)
