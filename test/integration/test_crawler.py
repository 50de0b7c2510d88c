"""The crawler beside real servers: rows that the proxy wrote, shards that the sharder made, a listing through Swift."""
from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3_sync.trial.swift_cluster import SwiftCluster

SCRIPT = '''
import json, logging, sys
from swift.common.utils import monkey_patch
monkey_patch()
from container_crawler.crawler import Crawler, CrawlerSettings
from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import HandlerFactory, RowHandler
from container_crawler.internal_client import account_listing, make_internal_client
from container_crawler.swift_dir import load_swift_dir
from s3_sync.clock import SystemClock
from typing import NamedTuple

class Mapping(NamedTuple):
    account: str
    container: str

swift_dir, devices, address, account, container, state = sys.argv[1:]
load_swift_dir(swift_dir)
progress = json.loads(open(state).read() or '{}')
handed = []

class Handler(RowHandler):
    def __init__(self, container):
        self.container = container
    def load_progress(self, db_id):
        from container_crawler.handlers import Progress
        return Progress(*progress[db_id]) if db_id in progress else None
    def save_progress(self, db_id, value):
        progress[db_id] = value
    def handle_own(self, db, rows, done):
        for row in rows:
            handed.append(['own', self.container, row.name, row.deleted, db.is_root])
            done(row)
    def handle_others(self, db, rows, done):
        for row in rows:
            handed.append(['others', self.container, row.name, row.deleted, db.is_root])
            done(row)

class Factory(HandlerFactory):
    def create(self, mapping, container):
        return Handler(container)

client = make_internal_client(swift_dir)
crawler = Crawler(CrawlerSettings(devices=devices, swift_dir=swift_dir, swift_bind_ip=address),
                  [Mapping(account, container)], Factory(), list_containers=account_listing(client),
                  logger=logging.getLogger(), clock=SystemClock())
report = crawler.run_once()
crawler.close()
open(state, 'w').write(json.dumps(progress))
print(json.dumps([report.caught_up, handed]))
'''


def crawl(cluster: SwiftCluster, node: int, container: str, folder: Path) -> tuple[bool, list[list[Any]]]:
    state = folder / f'node{node}.json'
    state.touch()
    done = subprocess.run([sys.executable, '-c', SCRIPT, str(cluster.swift_dir), str(cluster.devices(node)),
                           cluster.bind_ip(node), cluster.account, container, str(state)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    caught_up, handed = json.loads(done.stdout)
    return caught_up, handed


def test_three_nodes_share_what_the_proxy_wrote_and_what_the_sharder_made_of_it(
        make_swift_cluster: Callable[..., SwiftCluster], tmp_path: Path) -> None:
    cluster = make_swift_cluster(nodes=3, replicas=1)
    names = [f'ü/{n:02}' for n in range(30)]
    client = cluster.client()
    try:
        for container in ('foo', 'foobar', 'plain'):
            client.put_container(container)
        for name in names:
            client.put_object('foo', name, b'x')
        client.put_object('plain', 'p', b'x')
        cluster.shard_container('foo', rows_per_shard=10)
        client.put_object('foobar', names[0], b'x')
        client.delete_object('foobar', names[0])
        client.put_object('foo', 'zz after', b'x')
    finally:
        client.close()

    results = [crawl(cluster, node, 'foo', tmp_path) for node in range(3)]
    assert all(caught_up for caught_up, _ in results)
    handed = [tuple(row) for _, rows in results for row in rows]
    assert Counter(row[2] for row in handed) == Counter([*names, 'zz after'])
    assert {row[1] for row in handed} == {'foo'} and not any(row[3] for row in handed)

    results = [crawl(cluster, node, '/*', tmp_path) for node in range(3)]
    handed = [tuple(row) for _, rows in results for row in rows]
    assert sorted(row[1:4] for row in handed) == [('foobar', names[0], True), ('plain', 'p', False)], 'the rest is done'
