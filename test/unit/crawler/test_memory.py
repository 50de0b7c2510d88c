"""A crawl of many rows needs no more memory than one of a few chunks."""
from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

from container_crawler.crawler import Crawler
from container_crawler.databases import DatabaseInfo
from container_crawler.rows import Row
from test.unit.crawler.cluster import Cluster, Pair, Recorder, RecorderFactory

A = 'AUTH_ä'
ROWS = 100_000
BOUND = 8 * 1024 * 1024


class Forgetful(Recorder):
    count = 0

    def handle_own(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        Forgetful.count += len(rows)
        for row in rows:
            done(row)


class ForgetfulFactory(RecorderFactory):
    def create(self, mapping: Pair, container: str) -> Recorder:
        return Forgetful(self, (mapping.account, container, ''))


def test_100000_rows_take_no_more_memory_than_some_chunks(
        cluster: Cluster, crawler_of: Callable[..., Crawler]) -> None:
    broker, = cluster.brokers(A, 'c')
    at = cluster.timestamp()
    with broker, broker.get() as connection:
        connection.executemany(
            'INSERT INTO object (name, created_at, size, content_type, etag, deleted) VALUES (?, ?, 1, ?, ?, 0)',
            ((f'name-{n:09}', at, 'text/plain', 'd41d8cd98f00b204e9800998ecf8427e') for n in range(ROWS)))
        connection.commit()
    crawler = crawler_of(cluster, ForgetfulFactory(), [Pair(A, 'c')])
    tracemalloc.start()
    try:
        assert crawler.run_once().caught_up
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert Forgetful.count == ROWS
    assert peak < BOUND
