"""All names of a container, from databases of Swift's own making and from a scripted proxy application."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.internal_client import InternalClient
from swift.common.swob import Request, Response

from container_crawler.rows import Row
from s3_sync.audit import local_names
from s3_sync.audit.local_names import LocalContainers, LocalUnreadable, newest
from s3_sync.timestamps import row_times
from test.unit.crawler.cluster import Cluster, folder_of, replace_database
from test.unit.crawler.conftest import cluster, swift_settings  # noqa: F401
from test.unit.crawler.test_sharding import begin_sharding, cleave

A = 'AUTH_ä'
AWKWARD = ['%41', '//', '/x', 'a', 'a/', 'a\n', 'ä', '\uffee', '\U0001f600', 'x' * 1024]


class Proxy:
    """The application behind an InternalClient: lists one container in pages, and knows its objects' times."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, str]] = {}
        """Name to data and metadata time."""
        self.exists = True
        self.page = 2
        self.fails_after: int | None = None
        self.asked: list[str] = []
        self._pipeline_final_app = self  # what InternalClient looks for in a pipeline
        self.get_object_ring = self.container_ring = self.account_ring = self.auto_create_account_prefix = None

    def client(self) -> InternalClient:
        return InternalClient('', 'test', 1, app=self)

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(env)
        self.asked.append(request.method)
        return self._answer(request)(env, start_response)

    def _answer(self, request: Request) -> Response:
        _, _, container, name = request.split_path(2, 4, True)
        if name is not None:
            times = self.objects.get(name)
            if times is None:
                return Response(status=404)
            return Response(status=200, headers={'X-Backend-Data-Timestamp': times[0], 'X-Backend-Timestamp': times[1]})
        if not self.exists:
            return Response(status=404)
        if request.method == 'HEAD':
            return Response(status=204, headers={'X-Container-Object-Count': str(len(self.objects)),
                                                 'X-Backend-Storage-Policy-Index': '3'})
        if self.fails_after is not None and self.asked.count('GET') > self.fails_after:
            return Response(status=404)
        query = {key: value[0] for key, value in parse_qs(request.query_string).items()}
        names = [n for n in sorted(self.objects)
                 if n > query.get('marker', '') and n.startswith(query.get('prefix', ''))]
        return Response(status=200, body=json.dumps([
            {'name': n, 'bytes': 4, 'hash': 'etag', 'content_type': 'text/plain',
             'last_modified': '2023-11-14T22:13:20.123450'} for n in names[:self.page]]))


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def containers(cluster: Cluster, proxy: Proxy) -> Iterator[LocalContainers]:  # noqa: F811
    with closing(LocalContainers(cluster.ring(), proxy.client)) as opened:
        yield opened


def test_rows_come_in_byte_order_tombstones_and_pending_ones_too(
        cluster: Cluster, containers: LocalContainers, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(local_names, 'PAGE_ROWS', 3)
    cluster.put(A, 'c', reversed(AWKWARD))
    cluster.put(A, 'c', ['%41'], deleted=True)
    cluster.put(A, 'c', ['a', 'new'], deleted=True, commit=False)
    local = containers.open(A, 'c')
    rows = list(local.rows(''))
    assert [row.name for row in rows] == sorted([*AWKWARD, 'new'], key=str.encode)
    assert [row.name for row in rows if row.deleted] == ['%41', 'a', 'new']
    assert local.how == 'databases'


def test_rows_of_one_name_in_two_policies_are_not_torn_apart_by_a_page(
        cluster: Cluster, containers: LocalContainers, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(local_names, 'PAGE_ROWS', 2)
    broker, = cluster.brokers(A, 'c')
    for name, policy, etag in (('a', 0, 'a'), ('b', 0, 'old'), ('b', 1, 'new'), ('c', 0, 'c')):
        broker.put_object(name, cluster.timestamp(), 4, 'text/plain', etag, storage_policy_index=policy)
    broker._commit_puts_stale_ok()
    with broker:
        pass
    assert [row.etag for row in containers.open(A, 'c').rows('')] == ['a', 'new', 'c']


def test_a_prefix_is_an_exact_beginning(cluster: Cluster, containers: LocalContainers) -> None:  # noqa: F811
    cluster.put(A, 'c', AWKWARD)
    for prefix, names in (('a', ['a', 'a\n', 'a/']), ('%', ['%41']), ('/', ['//', '/x']), ('ä', ['ä']), ('b', [])):
        assert [row.name for row in containers.open(A, 'c').rows(prefix)] == names


def test_looking_commits_nothing(cluster: Cluster, containers: LocalContainers) -> None:  # noqa: F811
    cluster.put(A, 'c', ['o'], commit=False)
    before = {path.name: path.read_bytes() for path in Path(folder_of(cluster, A, 'c')).iterdir()}
    assert [row.name for row in containers.open(A, 'c').rows('')] == ['o']
    assert {path.name: path.read_bytes() for path in Path(folder_of(cluster, A, 'c')).iterdir()} == before


def test_of_several_replicas_here_the_newest_row_counts(tmp_path: Path, proxy: Proxy) -> None:
    cluster = Cluster(tmp_path / 'two', replicas=2, devices_per_node=2)  # noqa: F811
    cluster.put(A, 'c', ['both', 'one'])
    first, second = cluster.brokers(A, 'c')
    first.put_object('only-first', cluster.timestamp(), 1, 'text/plain', 'e1')
    second.delete_object('one', cluster.timestamp())
    for broker in (first, second):
        broker._commit_puts_stale_ok()
        with broker:
            pass
    with closing(LocalContainers(cluster.ring(), proxy.client)) as containers:
        rows = {row.name: row.deleted for row in containers.open(A, 'c').rows('')}
    assert rows == {'both': False, 'one': True, 'only-first': False}


def test_a_database_that_replication_replaces_while_it_is_read_is_read_on(
        cluster: Cluster, containers: LocalContainers, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(local_names, 'PAGE_ROWS', 2)
    names = [f'o{number}' for number in range(6)]
    cluster.put(A, 'c', names)
    rows = containers.open(A, 'c').rows('')
    found = [next(rows).name, next(rows).name]
    database, = Path(folder_of(cluster, A, 'c')).glob('*.db')
    replace_database(str(database), str(database))
    assert found + [row.name for row in rows] == names


def test_a_database_that_goes_while_it_is_read_is_told(
        cluster: Cluster, containers: LocalContainers, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(local_names, 'PAGE_ROWS', 2)
    cluster.put(A, 'c', [f'o{number}' for number in range(6)])
    rows = containers.open(A, 'c').rows('')
    next(rows)
    database, = Path(folder_of(cluster, A, 'c')).glob('*.db')
    database.unlink()
    with pytest.raises(LocalUnreadable):
        list(rows)


def test_a_broken_database_is_told(cluster: Cluster, containers: LocalContainers) -> None:  # noqa: F811
    cluster.put(A, 'c', ['o'])
    database, = Path(folder_of(cluster, A, 'c')).glob('*.db')
    database.write_bytes(b'SQLite format 3' + bytes(1000))
    with pytest.raises(LocalUnreadable):
        containers.open(A, 'c')


# -- listings -------------------------------------------------------------------------------


def test_a_container_without_a_database_here_is_listed(containers: LocalContainers, proxy: Proxy) -> None:
    proxy.objects = dict.fromkeys(AWKWARD, ('1700000000.12345', '1700000000.12345'))
    local = containers.open(A, 'c')
    rows = list(local.rows(''))
    assert [row.name for row in rows] == sorted(AWKWARD, key=str.encode)
    assert {(row.created_at, row.etag, row.policy_index) for row in rows} == {('1700000000.12345', 'etag', 3)}
    assert local.how == 'listing'


def test_a_listed_row_gets_all_its_times_from_its_object(containers: LocalContainers, proxy: Proxy) -> None:
    proxy.objects = {'o': ('1600000000.00000', '1700000000.12345')}
    local = containers.open(A, 'c')
    row, = local.rows('')
    exact = local.exact(row)
    assert exact is not None
    assert [t.internal for t in row_times(exact.created_at)] == [
        '1600000000.00000', '1600000000.00000', '1700000000.12345']
    proxy.objects = {}
    assert local.exact(row) is None


def test_a_listing_that_breaks_off_is_told(containers: LocalContainers, proxy: Proxy) -> None:
    proxy.objects = dict.fromkeys('abcdef', ('1', '1'))
    proxy.fails_after = 2
    rows = containers.open(A, 'c').rows('')
    assert next(rows).name == 'a'
    with pytest.raises(LocalUnreadable):
        list(rows)


def test_a_container_that_does_not_exist_has_no_names(containers: LocalContainers, proxy: Proxy) -> None:
    proxy.exists = False
    assert list(containers.open(A, 'c').rows('')) == []


def test_a_sharded_container_is_listed_with_the_tombstones_of_the_shards_that_are_here(
        cluster: Cluster, containers: LocalContainers, proxy: Proxy) -> None:  # noqa: F811
    cluster.put(A, 'c', ['a', 'ü'])
    _, ranges = begin_sharding(cluster, 'c')
    for shard in ranges:
        cleave(cluster, 'c', shard, ['a', 'ü'])
        cleave(cluster, 'c', shard, ['b', 'v'], deleted=True)
    proxy.objects = dict.fromkeys(['a', 'ü'], ('1700000000.12345', '1700000000.12345'))
    local = containers.open(A, 'c')
    assert local.how == 'listing'
    assert {row.name: row.deleted for row in local.rows('')} == {'a': False, 'b': True, 'v': True, 'ü': False}


# -- merging --------------------------------------------------------------------------------

Times = st.integers(1, 50).map(lambda n: f'{n:010}.00000')
Streams = st.lists(st.dictionaries(st.text(max_size=2), Times), max_size=4)


@given(Streams)
def test_of_each_name_the_newest_row_is_left(streams: list[dict[str, str]]) -> None:
    rows = [[Row(1, name, at, 0, '', '', False, 0) for name, at in sorted(stream.items())] for stream in streams]
    wanted = {name: max(stream[name] for stream in streams if name in stream) for stream in streams for name in stream}
    found = [(row.name, row.created_at) for row in newest(map(iter, rows))]
    assert found == sorted(wanted.items())
