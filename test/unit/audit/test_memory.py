"""Comparing many names needs no more memory than comparing some pages of them."""
from __future__ import annotations

import logging
import tracemalloc
from collections import Counter
from contextlib import closing
from pathlib import Path

from s3_sync.audit.auditor import Auditor, Options, Told, Tools
from s3_sync.audit.local_names import LocalContainers, LocalNames
from s3_sync.clock import FakeClock
from s3_sync.providers.memory import MemorySync
from s3_sync.types import ListingEntry, ListingPage
from test.fakes.source import FakeSource
from test.unit.audit.world import AUDITED, World
from test.unit.crawler.cluster import Cluster
from test.unit.crawler.conftest import cluster, swift_settings  # noqa: F401

A = 'AUTH_a'
NAMES = 50_000
BOUND = 8 * 1024 * 1024
ETAG = 'd41d8cd98f00b204e9800998ecf8427e'


class Endless(MemorySync):
    """Lists names that it makes up, a thousand in a page; every tenth is not there."""

    def list_objects(self, *, marker: str = '', **words: object) -> ListingPage:
        first = int(marker or 0)
        entries = tuple(ListingEntry(f'name-{n:09}', 1, ETAG, AUDITED) for n in range(first, first + 1000) if n % 10)
        return ListingPage(entries, str(first + 1000) if first + 1000 < NAMES else None)


def test_many_names_take_no_more_memory_than_some_pages(
        cluster: Cluster, world: World, tmp_path: Path) -> None:  # noqa: F811
    broker, = cluster.brokers(A, 'c')
    with broker, broker.get() as connection:
        connection.executemany(
            'INSERT INTO object (name, created_at, size, content_type, etag, deleted) VALUES (?, ?, 1, ?, ?, 0)',
            ((f'name-{n:09}', '1000000.00000', 'text/plain', ETAG) for n in range(NAMES)))
        connection.commit()
    counts: Counter[tuple[str, str]] = Counter()

    def tell(told: Told) -> None:
        counts[told.finding.verdict, told.finding.reason] += 1
    with closing(LocalContainers(cluster.ring(), _no_client)) as containers:
        def open_local(container: str) -> LocalNames:
            return containers.open(A, container)
        tools = Tools(open_local, FakeSource(), lambda mapping: Endless(), None, FakeClock(AUDITED),
                      logging.getLogger('audit-test'), str(tmp_path))
        auditor = Auditor(world.mapping, tools, Options(), told=tell)
        tracemalloc.start()
        try:
            result = auditor.run(['c'])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (result.complete, counts['same', 'listing']) == (True, NAMES - NAMES // 10)
    assert peak < BOUND


def _no_client() -> None:
    raise AssertionError('the database is here')
