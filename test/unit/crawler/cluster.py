"""Container databases and rings made by Swift's own code in a temporary folder; no servers."""
from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import eventlet
from swift.common.ring import RingBuilder
from swift.common.utils import Timestamp, hash_path, storage_directory
from swift.container.backend import DATADIR, ContainerBroker

from container_crawler.crawler import Crawler, CrawlerSettings
from container_crawler.databases import ContainerRing, DatabaseInfo, Place
from container_crawler.handlers import HandlerFactory, Progress, RowHandler
from container_crawler.rows import Row
from container_crawler.swift_dir import load_swift_dir


@dataclass(frozen=True)
class Pair:
    """A mapping as the crawler sees it."""

    account: str
    container: str
    label: str = ''


class LiveClock:
    """Real time that a test can move forward; sleeping is green."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        import time
        return time.time() + self.ahead

    def monotonic(self) -> float:
        import time
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        eventlet.sleep(seconds)


class Cluster:
    """A ring over nodes 127.0.0.1, 127.0.0.2, ...; each node has its own ``devices`` folder."""

    def __init__(self, folder: Path, *, nodes: int = 1, replicas: int = 1, devices_per_node: int = 1) -> None:
        self.folder = folder
        self.nodes = nodes
        self.swift_dir = str(folder / 'etc')
        os.makedirs(self.swift_dir)
        (folder / 'etc' / 'swift.conf').write_text('[swift-hash]\nswift_hash_path_suffix = test\n')
        load_swift_dir(self.swift_dir)
        self.build_ring(nodes=nodes, replicas=replicas, devices_per_node=devices_per_node)
        self.clock = 1_600_000_000.0

    def build_ring(self, *, nodes: int, replicas: int, devices_per_node: int = 1) -> None:
        builder = RingBuilder(4, replicas, 0)
        for node in range(1, nodes + 1):
            for number in range(devices_per_node):
                device = f'sd{"abcdefgh"[number]}{node}'
                os.makedirs(os.path.join(self.devices(node), device), exist_ok=True)
                builder.add_dev({'region': 1, 'zone': node, 'ip': self.ip(node), 'port': 6201, 'weight': 1,
                                 'device': device})
        builder.rebalance(seed=1)
        builder.get_ring().save(os.path.join(self.swift_dir, 'container.ring.gz'))

    def ip(self, node: int) -> str:
        return f'127.0.0.{node}'

    def devices(self, node: int = 1) -> str:
        return str(self.folder / f'node{node}')

    def ring(self, node: int = 1) -> ContainerRing:
        return ContainerRing(self.swift_dir, self.devices(node), self.ip(node))

    def places(self, account: str, container: str, node: int = 1) -> list[Place]:
        return self.ring(node).places(account, container)

    def timestamp(self, step: float = 1.0) -> str:
        self.clock += step
        return str(Timestamp(self.clock).internal)

    def brokers(self, account: str, container: str, nodes: Iterable[int] = ()) -> list[ContainerBroker]:
        """The container's database on all its places (of ``nodes``), made where missing."""
        brokers = []
        for node in nodes or range(1, self.nodes + 1):
            for place in self.places(account, container, node):
                part = place.folder.split('/')[-3]
                device = os.path.join(self.devices(node), place.device)
                broker, _ = ContainerBroker.create_broker(device, part, account, container,
                                                          put_timestamp=self.timestamp(), storage_policy_index=0)
                brokers.append(broker)
        return brokers

    def put(self, account: str, container: str, names: Iterable[str], *, nodes: Iterable[int] = (),
            created_at: str = '', deleted: bool = False, commit: bool = True) -> None:
        """Rows into every replica; with ``commit`` False they stay in the pending files."""
        brokers = self.brokers(account, container, nodes)
        for name in names:
            at = created_at or self.timestamp()
            for broker in brokers:
                if deleted:
                    broker.delete_object(name, at)
                else:
                    broker.put_object(name, at, 4, 'text/plain', 'etag')
        for broker in brokers:
            if commit:
                broker._commit_puts_stale_ok()
            with broker:
                pass

    def age_files(self, seconds: float = 100.0) -> None:
        """Make all database files look unchanged for so long."""
        for parent, _, files in os.walk(self.folder):
            for name in files:
                path = os.path.join(parent, name)
                stat = os.stat(path)
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - int(seconds * 1e9)))


@dataclass
class Seen:
    """What one handler was given."""

    own: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    databases: list[DatabaseInfo] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)


class Recorder(RowHandler):
    """Takes rows and finishes them at once, unless told to keep them."""

    def __init__(self, factory: RecorderFactory, key: tuple[str, str, str]) -> None:
        self.factory = factory
        self.key = key
        self.seen = Seen()
        self.keeping = False
        self.kept: list[tuple[Row, Callable[[Row], None]]] = []
        self.failing: Exception | None = None
        self.is_ready = True

    def load_progress(self, db_id: str) -> Progress | None:
        return self.factory.stored.get((self.key, db_id))

    def save_progress(self, db_id: str, progress: Progress) -> None:
        self.factory.stored[self.key, db_id] = progress

    def handle_own(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        self._take(self.seen.own, 'own', db, rows, done)

    def handle_others(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        self._take(self.seen.others, 'others', db, rows, done)

    def handle_container_info(self, info: Any, metadata: Any) -> None:
        self.seen.infos.append({**info, 'given': dict(metadata)})

    def ready(self) -> bool:
        return self.is_ready

    def finish(self, *names: str) -> None:
        """Report kept rows (those of ``names``, or all) as done."""
        kept, self.kept = self.kept, []
        for row, done in kept:
            if not names or row.name in names:
                done(row)
            else:
                self.kept.append((row, done))

    def _take(self, list_of: list[str], kind: str, db: DatabaseInfo, rows: Sequence[Row],
              done: Callable[[Row], None]) -> None:
        assert rows
        self.factory.order.append((kind, self.key[1], tuple(r.name for r in rows)))
        list_of.extend(r.name for r in rows)
        self.seen.rows.extend(rows)
        self.seen.databases.append(db)
        if self.failing is not None:
            raise self.failing
        for row in rows:
            if self.keeping:
                self.kept.append((row, done))
            else:
                done(row)


class RecorderFactory(HandlerFactory):
    def __init__(self, stored: dict[Any, Progress] | None = None) -> None:
        self.stored: dict[Any, Progress] = {} if stored is None else stored
        self.handlers: dict[tuple[str, str, str], Recorder] = {}
        self.order: list[tuple[str, str, tuple[str, ...]]] = []
        self.known: list[str] = []
        self.beside: dict[str, list[str]] = {}
        """By container: hidden ones that are looked at as well."""
        self.hidden: set[str] = set()
        self.prepare: Callable[[Recorder], None] = lambda handler: None

    def create(self, mapping: Pair, container: str) -> Recorder:
        key = (mapping.account, container, mapping.label)
        assert key not in self.handlers, 'made once'
        handler = self.handlers[key] = Recorder(self, key)
        self.prepare(handler)
        return handler

    def known_containers(self, account: str) -> Iterable[str]:
        return self.known

    def companions(self, container: str) -> Iterable[str]:
        return self.beside.get(container, ())

    def wants_hidden(self, container: str) -> bool:
        return container in self.hidden

    def __getitem__(self, container: str) -> Recorder:
        return next(h for k, h in self.handlers.items() if k[1] == container)


def crawler_of(cluster: Cluster, factory: HandlerFactory, mappings: Iterable[Pair], *, node: int = 1,
               listing: Callable[[str], Iterable[str]] = lambda account: (), clock: Any = None,
               ask_shards: Any = None, logger: logging.Logger | None = None, **settings: Any) -> Crawler:
    settings.setdefault('verification_slack_seconds', 0.0)
    return Crawler(
        CrawlerSettings(devices=cluster.devices(node), swift_dir=cluster.swift_dir, swift_bind_ip=cluster.ip(node),
                        **settings),
        mappings, factory, list_containers=listing, logger=logger or logging.getLogger('crawler-test'),
        clock=clock or LiveClock(), ask_shards=ask_shards or (lambda account, container: ()))


def settle(crawler: Crawler, polls: int = 1) -> None:
    """Poll and let everything run that can."""
    for _ in range(polls):
        crawler.poll()
        eventlet.sleep(0)
        while crawler._turns.busy or crawler._remote.busy:
            eventlet.sleep(0.001)


def folder_of(cluster: Cluster, account: str, container: str, node: int = 1) -> str:
    return cluster.places(account, container, node)[0].folder


def replace_database(source: str, target: str) -> None:
    """What the replicator does with an rsynced database: renamed over, with a new id."""
    copy = target + '.tmp'
    shutil.copy(source, copy)
    broker = ContainerBroker(copy, force_db_file=True)
    with broker:
        broker.newid('remote')
    os.rename(copy, target)


__all__ = ['DATADIR', 'Cluster', 'LiveClock', 'Pair', 'Recorder', 'RecorderFactory', 'crawler_of', 'folder_of',
           'hash_path', 'replace_database', 'settle', 'storage_directory']
