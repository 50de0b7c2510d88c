"""Handlers of the predecessor's contract."""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import eventlet
import pytest

from container_crawler.base_sync import BaseSync
from container_crawler.classic import classic_crawler
from container_crawler.crawler import Crawler
from container_crawler.exceptions import RetryError
from test.unit.crawler.cluster import Cluster, LiveClock, settle

A = 'AUTH_ä'


class Handler(BaseSync):
    """Keeps its pointers in a file as handlers of that contract do."""

    made: list[Handler] = []

    def __init__(self, status_dir: str, settings: Mapping[str, Any], per_account: bool = False) -> None:
        super().__init__(status_dir, settings, per_account)
        self.file = Path(status_dir, self._container)
        self.settings, self.per_account = settings, per_account
        self.calls: list[Any] = []
        self.clients: set[Any] = set()
        self.infos: list[Any] = []
        self.bad: dict[str, Exception] = {}
        self.at_once = self.most = 0
        Handler.made.append(self)

    def handle(self, rows: Any, internal_client: Any) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            self.calls.append(rows)
            self.clients.add(internal_client)
            eventlet.sleep(0)
            for row in rows if isinstance(rows, list) else [rows]:
                if row['name'] in self.bad:
                    raise self.bad[row['name']]
        finally:
            self.at_once -= 1

    def handle_container_info(self, container_info: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        self.infos.append((container_info['container'], dict(metadata)))

    def _status(self) -> dict[str, int]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def _save(self, key: str, row_id: int) -> None:
        self.file.write_text(json.dumps({**self._status(), key: row_id}))

    def get_last_processed_row(self, db_id: str) -> int:
        return self._status().get(db_id, 0)

    def save_last_processed_row(self, row_id: int, db_id: str) -> None:
        self._save(db_id, row_id)

    def get_last_verified_row(self, db_id: str) -> int:
        return self._status().get(f'{db_id} verified', 0)

    def save_last_verified_row(self, row_id: int, db_id: str) -> None:
        self._save(f'{db_id} verified', row_id)


Make = Callable[..., Crawler]


@pytest.fixture
def make(cluster: Cluster, tmp_path: Path) -> Iterator[Make]:
    crawlers = []
    Handler.made = []

    def make(*containers: Mapping[str, Any], names: tuple[str, ...] = (), **conf: Any) -> Crawler:
        conf = {'containers': containers, 'devices': cluster.devices(), 'swift_dir': cluster.swift_dir,
                'items_chunk': 3, 'swift_bind_ip': '127.0.0.1', 'workers': 2, **conf}
        crawlers.append(classic_crawler(
            conf, lambda settings, per_account: Handler(str(tmp_path), settings, per_account), make_client=object,
            list_containers=lambda account: names, logger=logging.getLogger('classic'), clock=LiveClock()))
        return crawlers[-1]

    yield make
    for crawler in crawlers:
        crawler.close()


def entry(container: str = 'c', **more: Any) -> dict[str, Any]:
    return {'account': A, 'container': container, 'aws_bucket': 'b', **more}


def test_each_row_is_given_as_the_broker_tells_it(cluster: Cluster, make: Make) -> None:
    cluster.put(A, 'c', ['ü'], created_at='0000000001.00000')
    cluster.put(A, 'c', ['x'], deleted=True)
    make(entry()).run_once()
    handler, = Handler.made
    assert handler.calls[0] == {'ROWID': 1, 'name': 'ü', 'created_at': '0000000001.00000', 'size': 4,
                                'content_type': 'text/plain', 'etag': 'etag', 'deleted': 0, 'storage_policy_index': 0}
    assert [row['deleted'] for row in handler.calls] == [0, 1]
    assert handler.settings == entry() and handler.per_account is False


def test_rows_run_on_the_workers_with_a_client_each(cluster: Cluster, make: Make) -> None:
    cluster.put(A, 'c', list('abcdefghi'))
    make(entry(), workers=2).run_once()
    handler, = Handler.made
    assert sorted(row['name'] for row in handler.calls) == list('abcdefghi')
    assert handler.most == 2 and len(handler.clients) == 2


def test_bulk_mode_gives_whole_chunks(cluster: Cluster, make: Make) -> None:
    cluster.put(A, 'c', list('abcd'))
    make(entry(), bulk_process=True).run_once()
    handler, = Handler.made
    assert [[row['name'] for row in rows] for rows in handler.calls] == [['a', 'b', 'c'], ['d']]


@pytest.mark.parametrize(('error', 'logged'), [(RetryError(), 0), (ValueError('ouch'), 1)])
@pytest.mark.parametrize('bulk', [False, True])
def test_one_failing_row_keeps_the_pointer_and_the_chunk_comes_again(
        cluster: Cluster, make: Make, caplog: pytest.LogCaptureFixture, error: Exception, logged: int,
        bulk: bool) -> None:
    cluster.put(A, 'c', list('abcd'))
    crawler = make(entry(), bulk_process=bulk)
    handler: Handler
    settle(crawler)
    handler, = Handler.made
    handler.calls.clear()
    cluster.put(A, 'c', list('efgh'))
    handler.bad['f'] = error
    settle(crawler, 2)
    names = [r['name'] for rows in handler.calls for r in (rows if bulk else [rows])]
    assert names == list('efgefg'), 'the others of the chunk ran; those behind it wait'
    assert max(handler._status().values()) == 4
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == logged
    handler.bad.clear()
    settle(crawler)
    assert set(handler._status().values()) == {8}


def test_pointers_are_taken_up_again(cluster: Cluster, make: Make) -> None:
    cluster.put(A, 'c', list('ab'))
    make(entry()).run_once()
    cluster.put(A, 'c', ['c'])
    make(entry()).run_once()
    assert [row['name'] for row in Handler.made[1].calls] == ['c']


def test_whole_accounts_and_container_metadata(cluster: Cluster, make: Make) -> None:
    cluster.put(A, 'c', ['a'])
    broker, = cluster.brokers(A, 'c')
    at = cluster.timestamp()
    with broker:
        broker.update_metadata({'X-Container-Meta-X': ('ü', at)})
    make(entry('/*'), names=('c', 'missing')).run_once()
    handler, = Handler.made
    assert handler.settings['container'] == 'c' and handler.per_account is True
    assert handler.infos == [('c', {'X-Container-Meta-X': ('ü', at)})]


def test_identical_entries_are_one_and_incomplete_ones_left_out(
        cluster: Cluster, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    cluster.put(A, 'c', ['a'])
    make(entry(), entry(), {'container': 'c'}).run_once()
    assert len(Handler.made) == 1
    assert 'containers[2]' in caplog.text
