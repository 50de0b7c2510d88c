"""Archived objects leave every replica of three real nodes, and none of them comes back."""
from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from swift.common import direct_client, storage_policy, utils
from swift.common.ring import Ring
from swift.common.utils import Timestamp, hash_path
from swift.container.backend import ContainerBroker
from swiftclient import ClientException

from container_crawler.internal_client import make_internal_client
from container_crawler.rows import Row
from container_crawler.swift_dir import load_swift_dir
from s3_sync.clock import FakeClock
from s3_sync.errors import RemovalDeferred, SourceEncrypted
from s3_sync.local.placement import Placement
from s3_sync.local.proxy_client import ProxyAnswer, ProxyClient
from s3_sync.local.remove import LocalRemover
from s3_sync.local.replicas import Replicas
from s3_sync.timestamps import RowTimes, is_ours, marked
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.trial.swift_rings import Policy
from s3_sync.types import ObjectRow

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

WEEK = 7 * 86400.0
AGES = {'young': 3600.0, 'old': 5 * WEEK}
POLICIES = (Policy('gold', default=True), Policy('pieces', kind='erasure_coding'))
AWKWARD = ['%41', 'a//b', '/lead', 'end/', 'line\nbreak', 'ключ \U0001f600', 'q?a=1&b#c', '..', 'x' * 1024,
           'last \U0010ffff']


class Meddler(ProxyClient):
    """Lets somebody else come first: ``before`` runs once, right before the next DELETE."""

    before: Callable[[], object] | None = None

    def request(self, method: str, path: tuple[str, ...], *args: Any, **options: Any) -> ProxyAnswer:
        if method == 'DELETE' and self.before is not None:
            self.before, before = None, self.before
            before()
        return super().request(method, path, *args, **options)


class World:
    """A running cluster that is this process's Swift, and a remover as a worker has it."""

    def __init__(self, cluster: SwiftCluster) -> None:
        self.cluster = cluster
        self.client = cluster.client()
        self.now = time.time()
        self.clock = FakeClock(self.now)
        self.proxy = self.make_proxy(cluster.internal_client_conf)
        self.remover = self.make_remover()

    def make_proxy(self, conf: Path) -> Meddler:
        return Meddler(lambda: make_internal_client(str(self.cluster.swift_dir), str(conf), tries=1),
                       logger=logging.getLogger('expected'))

    def make_remover(self, proxy: ProxyClient | None = None) -> LocalRemover:
        replicas = Replicas(Placement(str(self.cluster.swift_dir)), str(self.cluster.swift_dir), clock=self.clock)
        return LocalRemover(replicas, proxy or self.proxy, reclaim_age=WEEK, clock=self.clock)

    def close(self) -> None:
        self.client.close()
        self.remover.close()
        self.proxy.close()

    # -- writing with times of our choosing ----------------------------------------------

    def container(self, name: str, **headers: str) -> str:
        self.client.put_container(name, headers=headers)
        return name

    def request(self, method: str, path: str, at: Timestamp, status: tuple[int, ...] = (2,), body: bytes = b'',
                **headers: str) -> Any:
        headers = {key.replace('_', '-'): value for key, value in headers.items()}
        return self.proxy.ready().make_request(
            method, quote(f'/v1/{self.cluster.account}/{path}'),
            {'X-Timestamp': at.internal, 'Content-Length': str(len(body)), **headers}, status,
            body_file=BytesIO(body)).status_int

    def put(self, container: str, name: str, age: float, body: bytes = b'data', **headers: str) -> ObjectRow:
        self.request('PUT', f'{container}/{name}', Timestamp(self.now - age), body=body, **headers)
        return self.row(container, name)

    def post(self, container: str, name: str, age: float, **headers: str) -> ObjectRow:
        self.request('POST', f'{container}/{name}', Timestamp(self.now - age), **headers)
        return self.row(container, name)

    # -- looking at disks ----------------------------------------------------------------

    def rows(self, container: str, name: str) -> dict[int, Row]:
        """By node: the newest row of this name in any database of the container or its shards."""
        found: dict[int, Row] = {}
        for node in self.cluster.nodes:
            for path in node.folder.glob('*/containers/*/*/*/*.db'):
                broker = ContainerBroker(str(path))
                if f'{broker.root_account}/{broker.root_container}' != f'{self.cluster.account}/{container}':
                    continue
                for item in broker.get_items_since(-1, 100000):
                    if item['name'] == name:
                        found[node.index] = Row(item['ROWID'], name, item['created_at'], item['size'],
                                                item['content_type'], item['etag'], bool(item['deleted']),
                                                item['storage_policy_index'])
        return found

    def row(self, container: str, name: str) -> ObjectRow:
        rows = [ObjectRow(self.cluster.account, container, row) for row in self.rows(container, name).values()]
        return max(rows, key=lambda row: row.times)

    def live_rows(self, container: str, name: str) -> set[int]:
        return {node for node, row in self.rows(container, name).items() if not row.deleted}

    def folders(self, container: str, name: str) -> dict[int, Path]:
        """By node: the object's folder, on any device and in any policy."""
        wanted = hash_path(self.cluster.account, container, name)
        return {node.index: path for node in self.cluster.nodes
                for path in node.folder.glob(f'*/objects*/*/*/{wanted}')}

    def files(self, container: str, name: str, kind: str = 'data') -> set[int]:
        """Nodes that hold such a file."""
        return {node for node, folder in self.folders(container, name).items() if list(folder.glob(f'*.{kind}'))}

    def nothing_left(self, container: str, name: str) -> bool:
        return not self.files(container, name) and not self.live_rows(container, name)

    def status(self, container: str, name: str) -> int:
        try:
            self.client.head_object(container, name)
            return 200
        except ClientException as error:
            return int(error.http_status)

    # -- what can go wrong ---------------------------------------------------------------

    @contextmanager
    def without(self, *servers: str) -> Iterator[None]:
        for server in servers:
            self.cluster.stop_server(server)
        try:
            yield
        finally:
            for server in servers:
                self.cluster.start_server(server)
            self.clock.advance(60)  # nobody rests any more

    def replicate(self, *daemons: str) -> None:
        """One pass of these daemons on every node, by default of the replicators of rows and files."""
        for daemon in daemons or ('container-replicator', 'object-replicator'):
            self.cluster.run_once(daemon)

    def keep_file(self, container: str, name: str, node: int, aside: Path) -> Callable[[], None]:
        """A replica as it is now; call the result to put it back, as a node that was down would have kept it."""
        folder = self.folders(container, name)[node]
        shutil.copytree(folder, aside)  # extended attributes included

        def put_back() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(aside, folder)
        return put_back

    def write_row(self, row: ObjectRow, node: int, container_path: str = '') -> None:
        """Make one container server show a row again."""
        account, _, container = (container_path or f'{row.account}/{row.container}').partition('/')
        ring = Ring(str(self.cluster.swift_dir), ring_name='container')
        partition, nodes = ring.get_nodes(account, container)
        address = self.cluster.nodes[node].address
        target = next(n for n in (*nodes, *ring.get_more_nodes(partition)) if n['ip'] == address)
        direct_client.direct_put_container_object(target, partition, account, container, row.name, headers={
            'X-Timestamp': row.times.data.internal, 'X-Size': str(row.row.size), 'X-Etag': row.row.etag,
            'X-Content-Type': row.row.content_type, 'X-Backend-Storage-Policy-Index': str(row.row.policy_index)})


@contextmanager
def cluster_world(**options: Any) -> Iterator[World]:
    """A cluster that is this process's Swift until the end."""
    before = (utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES)
    with SwiftCluster(**options) as cluster:
        load_swift_dir(cluster.swift_dir)
        world = World(cluster)
        try:
            yield world
        finally:
            world.close()
            utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, storage_policy._POLICIES = before


@pytest.fixture(scope='module')
def shared_world() -> Iterator[World]:
    with cluster_world(nodes=3, replicas=3, policies=POLICIES) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.clock.advance(60)
    return shared_world


@pytest.fixture
def c(world: World, fresh_name: Callable[[str], str]) -> str:
    """A container of the test's own."""
    return world.container(fresh_name('c'))


ages = pytest.mark.parametrize('age', AGES.values(), ids=AGES)


# -- the usual course ---------------------------------------------------------------------


@ages
def test_an_object_leaves_every_replica_and_its_rows(world: World, c: str, age: float) -> None:
    row = world.put(c, 'o', age)
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o') and world.status(c, 'o') == 404
    assert world.client.get_container(c)[1] == []
    world.replicate()
    assert world.nothing_left(c, 'o')
    assert world.remover.remove(row, row.times) == 'gone'


def test_every_node_knows_our_delete_by_its_row(world: World, c: str) -> None:
    row = world.put(c, 'o', AGES['young'])
    assert world.remover.remove(row, row.times) == 'removed'
    rows = world.rows(c, 'o')
    assert set(rows) == {0, 1, 2}
    for tombstone in rows.values():
        times = ObjectRow('', '', tombstone).times
        assert tombstone.deleted and all(map(is_ours, times))
        assert times.data.normal == row.times.data.normal and times.data > row.times.data
    assert world.files(c, 'o', 'ts') == {0, 1, 2}


@ages
def test_a_posted_object_goes_whole_at_the_time_of_its_metadata(world: World, c: str, age: float) -> None:
    world.put(c, 'o', age)
    world.post(c, 'o', age - 20, Content_Type='text/new')
    row = world.post(c, 'o', age - 30, X_Object_Meta_A='b')
    assert row.times.data < row.times.content_type < row.times.metadata
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o') and not world.files(c, 'o', 'meta')
    assert all(is_ours(ObjectRow('', '', found).times.newest) for found in world.rows(c, 'o').values())


def test_of_an_old_object_no_tombstone_is_needed_and_none_stays(world: World, c: str) -> None:
    row = world.put(c, 'o', AGES['old'])
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.folders(c, 'o') == {}
    world.replicate()
    assert world.rows(c, 'o') == {}


@pytest.mark.parametrize('name', AWKWARD)
def test_awkward_names_are_found_on_every_server(world: World, c: str, name: str) -> None:
    row = world.put(c, name, AGES['old'])
    beside = world.put(c, f'{name}1'[-1024:], AGES['old'])
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, name)
    assert world.files(c, beside.name) == world.live_rows(c, beside.name) == {0, 1, 2}


@ages
def test_erasure_coded_objects_leave_with_every_fragment(world: World, fresh_name: Callable[[str], str],
                                                        age: float) -> None:
    c = world.container(fresh_name('pieces'), **{'X-Storage-Policy': 'pieces'})
    row = world.put(c, 'o', age, b'x' * 100_000)
    assert world.files(c, 'o') == {0, 1, 2} and row.row.policy_index == 1
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')


@ages
def test_a_row_in_another_policy_than_its_container_is_the_one_that_goes(world: World, c: str, age: float) -> None:
    row = world.put(c, 'o', age, X_Backend_Storage_Policy_Index='1')
    assert row.row.policy_index == 1
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')


@ages
def test_an_object_that_expired_meanwhile_goes_all_the_same(world: World, c: str, age: float) -> None:
    row = world.put(c, 'o', age, X_Delete_At=str(int(time.time()) + 2))
    while world.status(c, 'o') == 200:
        time.sleep(0.2)
    assert world.files(c, 'o') == {0, 1, 2}
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')


# -- nodes that are down ------------------------------------------------------------------


@pytest.mark.parametrize('server', ['object-server-2', 'container-server-2'])
def test_an_old_object_stays_while_a_server_is_down(world: World, c: str, server: str) -> None:
    row = world.put(c, 'o', AGES['old'])
    with world.without(server), pytest.raises(RemovalDeferred) as error:
        world.remover.remove(row, row.times)
    assert error.value.reason == 'replica-away'
    assert world.files(c, 'o') == world.live_rows(c, 'o') == {0, 1, 2}
    assert world.remover.remove(row, row.times) == 'removed'


@pytest.mark.parametrize('kind', ['object', 'container'])
def test_a_young_object_goes_with_a_server_down_and_the_server_learns_of_it(world: World, c: str, kind: str) -> None:
    row = world.put(c, 'o', AGES['young'])
    with world.without(f'{kind}-server-2'):
        assert world.remover.remove(row, row.times) == 'removed'
        assert world.status(c, 'o') == 404
    assert (2 in world.files(c, 'o')) is (kind == 'object')
    world.cluster.run_once('object-updater')
    world.replicate()
    assert world.nothing_left(c, 'o')
    assert all(is_ours(ObjectRow('', '', found).times.data) for found in world.rows(c, 'o').values())


def test_an_old_object_stays_while_a_replica_is_behind(world: World, c: str) -> None:
    with world.without('object-server-2'):
        row = world.put(c, 'o', AGES['old'])
    with pytest.raises(RemovalDeferred, match='replication is behind'):
        world.remover.remove(row, row.times)
    assert world.files(c, 'o') == {0, 1}
    world.replicate()
    assert world.files(c, 'o') == {0, 1, 2}
    assert world.remover.remove(row, row.times) == 'removed'


def test_an_old_object_stays_while_a_row_is_behind(world: World, c: str) -> None:
    with world.without('container-server-2'):
        row = world.put(c, 'o', AGES['old'])
    with pytest.raises(RemovalDeferred, match='rows exact/exact/none|rows none/exact/exact|rows exact/none/exact'):
        world.remover.remove(row, row.times)
    world.cluster.run_once('object-updater')
    assert world.remover.remove(row, row.times) == 'removed'


def test_a_server_that_goes_down_in_the_middle_leaves_a_ghost_that_the_next_call_removes(world: World,
                                                                                        c: str) -> None:
    row = world.put(c, 'o', AGES['old'])
    world.proxy.before = lambda: world.cluster.stop_node(2)
    try:
        with pytest.raises(RemovalDeferred) as error:
            world.remover.remove(row, row.times)
        assert error.value.reason == 'ghost'
    finally:
        world.cluster.start_node(2)
        world.clock.advance(60)
    assert world.files(c, 'o') == {2}
    assert world.remover.remove(row, row.times) == 'removed'
    world.replicate()
    assert world.nothing_left(c, 'o')


# -- ghosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(('age', 'what', 'spread'), [
    ('old', 'file', False), ('old', 'row', False), ('old', 'both', False), ('old', 'both', True),
    ('old', 'file', True), ('young', 'both', False)])
def test_a_ghost_is_removed_by_the_same_call(world: World, c: str, tmp_path: Path, age: str, what: str,
                                             spread: bool) -> None:
    """What a node kept that was down, and what replication has made of it since."""
    row = world.put(c, 'o', AGES[age])
    put_back = world.keep_file(c, 'o', 2, tmp_path / 'kept')
    assert world.remover.remove(row, row.times) == 'removed'
    world.replicate('container-replicator')  # reclaims the tombstones of old rows
    if what != 'row':
        put_back()
    if what != 'file':
        world.write_row(row, 2)
    if spread:
        world.replicate()
    if age == 'old':
        everywhere = {0, 1, 2} if spread else {2}
        assert world.files(c, 'o') == (everywhere if what != 'row' else set())
        assert world.live_rows(c, 'o') == (everywhere if what != 'file' else set())
        assert world.remover.remove(row, row.times) == 'removed'
    else:  # the others still have the tombstone
        assert world.remover.remove(row, row.times) in ('removed', 'gone')
        world.replicate()
    assert world.nothing_left(c, 'o')


def test_a_young_row_without_a_file_goes(world: World, c: str) -> None:
    row = ObjectRow(world.cluster.account, c, Row(0, 'o', Timestamp(world.now - 60).internal, 1, 'a/b', 'x', False, 0))
    for node in (0, 1, 2):
        world.write_row(row, node)
    assert world.remover.remove(row, row.times) == 'gone'
    assert world.live_rows(c, 'o') == set() and is_ours(world.row(c, 'o').times.data)


def test_a_stale_replica_goes_with_the_version_that_replaced_it(world: World, c: str, tmp_path: Path) -> None:
    world.put(c, 'o', AGES['old'] + 60, b'older')
    put_back = world.keep_file(c, 'o', 1, tmp_path / 'kept')
    row = world.put(c, 'o', AGES['old'])
    assert world.remover.remove(row, row.times) == 'removed'
    put_back()
    assert world.status(c, 'o') == 200
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')


def test_ghosts_in_a_container_that_is_gone_are_removed(world: World, c: str, tmp_path: Path) -> None:
    row = world.put(c, 'o', AGES['old'])
    put_back = world.keep_file(c, 'o', 0, tmp_path / 'kept')
    assert world.remover.remove(row, row.times) == 'removed'
    world.client.delete_container(c)
    put_back()
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')


# -- what is newer wins -------------------------------------------------------------------


@ages
@pytest.mark.parametrize('method', ['PUT', 'POST'])
def test_what_a_user_wrote_since_wins(world: World, c: str, age: float, method: str) -> None:
    row = world.put(c, 'o', age)
    if method == 'PUT':
        world.put(c, 'o', age - 1, b'newer')
    else:
        world.post(c, 'o', age - 1, X_Object_Meta_A='b')
    assert world.remover.remove(row, row.times) == 'superseded'
    headers, body = world.client.get_object(c, 'o')
    assert body == b'newer' if method == 'PUT' else headers['x-object-meta-a'] == 'b'
    assert world.live_rows(c, 'o') == {0, 1, 2}


@ages
def test_a_put_between_look_and_delete_wins(world: World, c: str, age: float) -> None:
    row = world.put(c, 'o', age)
    world.proxy.before = lambda: world.client.put_object(c, 'o', b'newer')
    assert world.remover.remove(row, row.times) == 'superseded'
    assert world.client.get_object(c, 'o')[1] == b'newer'
    world.replicate()
    assert world.live_rows(c, 'o') == {0, 1, 2}


def test_a_post_between_look_and_delete_is_lost_and_the_row_is_ours_by_its_data_time_only(world: World,
                                                                                          c: str) -> None:
    """Swift lets a DELETE win over newer metadata, and leaves a tombstone whose newest time is the user's."""
    row = world.put(c, 'o', AGES['young'])
    world.proxy.before = lambda: world.client.post_object(c, 'o', {'X-Object-Meta-A': 'b'})
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')
    for tombstone in world.rows(c, 'o').values():
        times = ObjectRow('', '', tombstone).times
        assert is_ours(times.data) and not is_ours(times.newest)


def test_a_users_delete_is_left_alone(world: World, c: str) -> None:
    row = world.put(c, 'o', AGES['young'])
    world.client.delete_object(c, 'o')
    assert world.remover.remove(row, row.times) == 'gone'
    assert not is_ours(world.row(c, 'o').times.newest)


@ages
def test_one_replica_with_newer_data_is_enough(world: World, c: str, age: float) -> None:
    """Copied from a replica that missed a PUT, but not the POST after it."""
    world.put(c, 'o', age, b'old')
    with world.without('object-server-0'):
        world.put(c, 'o', age - 10, b'new')
    row = world.post(c, 'o', age - 20, X_Object_Meta_A='b')
    stale = RowTimes(Timestamp(world.now - age), Timestamp(world.now - age), row.times.metadata)
    assert world.remover.remove(row, stale) == 'superseded'
    assert world.files(c, 'o') == {0, 1, 2}


# -- restoring over our own delete --------------------------------------------------------


def test_restores_and_deletes_of_one_version_follow_each_other(world: World, c: str) -> None:
    first = row = world.put(c, 'o', AGES['young'])
    path = f'{c}/o'
    for _ in range(3):  # all within one second of the clock
        assert world.remover.remove(row, row.times) == 'removed'
        tombstone = world.row(c, 'o').times
        assert world.request('PUT', path, first.times.data, (202,), b'data') == 202  # what a restore must not do
        assert world.request('PUT', path, marked(tombstone, world.clock.now()), (201,), b'data') == 201
        row = world.row(c, 'o')
        assert not row.deleted and row.times.data > tombstone.data
        headers = world.client.head_object(c, 'o')
        assert headers['x-timestamp'] == first.times.data.normal
        assert headers['last-modified'] == time.strftime('%a, %d %b %Y %H:%M:%S GMT',
                                                         time.gmtime(-(-float(first.times.data) // 1)))
        assert not any('31535043' in value for value in headers.values())
        [entry] = world.client.get_container(c)[1]
        assert entry['last_modified'] == first.times.data.isoformat
    world.post(c, 'o', 10, X_Object_Meta_A='b')
    row = world.row(c, 'o')
    assert is_ours(row.times.data) and not is_ours(row.times.newest)
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o')


def test_an_old_object_is_restored_and_removed_again(world: World, c: str) -> None:
    row = world.put(c, 'o', AGES['old'])
    assert world.remover.remove(row, row.times) == 'removed'
    world.request('PUT', f'{c}/o', marked(row.times, world.clock.now() + 1), (201,), b'data')
    assert world.remover.remove(row, row.times) == 'superseded'
    restored = world.row(c, 'o')
    assert world.remover.remove(restored, restored.times) == 'removed'
    assert world.nothing_left(c, 'o')


# -- objects that stand for others --------------------------------------------------------


@ages
def test_a_link_goes_and_its_target_stays(world: World, c: str, age: float) -> None:
    target = world.put(c, 'target', 10)
    link = world.put(c, 'link', age, b'', X_Symlink_Target=f'{c}/target')
    both = RowTimes(*(max(a, b) for a, b in zip(link.times, target.times, strict=True)))  # as it was read
    assert world.remover.remove(link, both) == 'removed'
    assert world.nothing_left(c, 'link') and world.client.get_object(c, 'target')[1] == b'data'
    assert ObjectRow('', '', next(iter(world.rows(c, 'link').values()))).times.data.normal == link.times.data.normal


def test_a_link_that_was_changed_since_stays(world: World, c: str) -> None:
    target = world.put(c, 'target', 10)
    link = world.put(c, 'link', 3600, b'', X_Symlink_Target=f'{c}/target')
    world.put(c, 'link', 3000, b'', X_Symlink_Target=f'{c}/other')
    both = RowTimes(*(max(a, b) for a, b in zip(link.times, target.times, strict=True)))
    assert world.remover.remove(link, both) == 'superseded'
    assert world.files(c, 'link') == {0, 1, 2}


def test_of_a_versioned_name_the_link_goes(world: World, fresh_name: Callable[[str], str]) -> None:
    c = world.container(fresh_name('versioned'), **{'X-Versions-Enabled': 'true'})
    world.client.put_object(c, 'o', b'first')
    world.client.put_object(c, 'o', b'second')
    row = world.row(c, 'o')
    assert world.remover.remove(row, row.times) == 'removed'
    assert world.nothing_left(c, 'o') and world.status(c, 'o') == 404
    _, versions = world.client.get_container(c, query_string='versions')
    bodies = {world.client.get_object(c, 'o', query_string=f'version-id={entry["version_id"]}')[1]
              for entry in versions}
    assert bodies == {b'first', b'second'}


def test_of_a_large_object_only_the_manifest_goes(world: World, c: str) -> None:
    world.client.put_object(c, 'seg', b'segment')
    world.client.put_object(c, 'slo', json.dumps([{'path': f'/{c}/seg'}]), query_string='multipart-manifest=put')
    world.client.put_object(c, 'dlo', b'', headers={'X-Object-Manifest': f'{c}/seg'})
    for name in ('slo', 'dlo'):
        row = world.row(c, name)
        assert world.remover.remove(row, row.times) == 'removed'
        assert world.nothing_left(c, name)
    assert world.client.get_object(c, 'seg')[1] == b'segment'


# -- segments, known by their content -----------------------------------------------------


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@ages
@pytest.mark.parametrize('policy', ['gold', 'pieces'])
def test_a_segment_goes_if_it_has_the_content(world: World, fresh_name: Callable[[str], str], age: float,
                                             policy: str) -> None:
    c = world.container(fresh_name('segments'), **{'X-Storage-Policy': policy})
    world.put(c, 's', age, b'segment')
    remove = world.remover.remove_segment
    for etag, size in ((md5(b'segment'), 8), (md5(b'other'), 7), ('', 7)):
        assert remove(world.cluster.account, c, 's', etag, size) == 'changed'
    assert world.files(c, 's') == {0, 1, 2}
    assert remove(world.cluster.account, c, 's', md5(b'segment'), 7) == 'removed'
    assert world.nothing_left(c, 's')
    assert remove(world.cluster.account, c, 's', md5(b'segment'), 7) == 'gone'
    assert remove(world.cluster.account, 'no-container', 's', md5(b'segment'), 7) == 'gone'


def test_a_manifest_inside_another_is_known_by_its_slo_etag(world: World, c: str) -> None:
    world.client.put_object(c, 'seg', b'segment')
    world.client.put_object(c, 'sub', json.dumps([{'path': f'/{c}/seg'}]), query_string='multipart-manifest=put')
    etag = world.client.head_object(c, 'sub')['etag'].strip('"')
    assert world.remover.remove_segment(world.cluster.account, c, 'sub', etag, 7) == 'removed'
    assert world.nothing_left(c, 'sub') and world.files(c, 'seg') == {0, 1, 2}


def test_the_newest_version_of_a_segment_decides(world: World, c: str) -> None:
    world.put(c, 's', 3600, b'segment')
    with world.without('object-server-0'):
        world.put(c, 's', 3000, b'changed')
    assert world.remover.remove_segment(world.cluster.account, c, 's', md5(b'segment'), 7) == 'changed'
    with world.without('object-server-0'):
        assert world.remover.remove_segment(world.cluster.account, c, 's', md5(b'changed'), 7) == 'removed'
    world.replicate()
    assert world.nothing_left(c, 's')


def test_a_segment_is_not_judged_by_a_minority(world: World, c: str) -> None:
    world.put(c, 's', 3600, b'segment')
    with world.without('object-server-0', 'object-server-1'), pytest.raises(RemovalDeferred, match='only 1 of 3'):
        world.remover.remove_segment(world.cluster.account, c, 's', md5(b'segment'), 7)


def test_a_restored_segment_waits(world: World, c: str) -> None:
    now = world.clock.now()
    at = marked(RowTimes(*[Timestamp(world.now - 3600)] * 3), now)
    world.request('PUT', f'{c}/s', at, (201,), b'segment', X_Object_Sysmeta_1space_Restored=Timestamp(now).internal)
    world.request('PUT', f'{c}/copy', Timestamp(world.now - 3600), (201,), b'segment',
                  X_Object_Sysmeta_1space_Restored=Timestamp(now).internal)
    segment = (world.cluster.account, c, 's', md5(b'segment'), 7)
    for days, seconds in ((0, 3600), (7, WEEK)):
        with pytest.raises(RemovalDeferred) as error:
            world.remover.remove_segment(*segment, restore_days=days)
        assert error.value.reason == 'restored' and error.value.due == pytest.approx(now + seconds, abs=0.001)
    # The tag came along with a COPY; only a marked time makes it count.
    assert world.remover.remove_segment(world.cluster.account, c, 'copy', md5(b'segment'), 7,
                                        restore_days=7) == 'removed'
    world.clock.advance(3601)
    assert world.remover.remove_segment(*segment) == 'removed'


# -- clusters of another shape ------------------------------------------------------------


def test_encrypted_objects_and_segments_leave_like_others() -> None:
    with cluster_world(nodes=1, replicas=1, encrypted=True) as world:
        c = world.container('secret')
        for name, age in AGES.items():
            row = world.put(c, name, age)
            assert world.remover.remove(row, row.times) == 'removed'
            assert world.nothing_left(c, name)
        world.put(c, 's', 3600, b'segment')
        plain = world.cluster.swift_dir / 'plain.conf'
        plain.write_text(world.cluster.internal_client_conf.read_text().replace(' keymaster encryption ', ' '))
        blind = world.make_remover(world.make_proxy(plain))
        with pytest.raises(SourceEncrypted):
            blind.remove_segment(world.cluster.account, c, 's', md5(b'segment'), 7)
        blind.close()
        assert world.remover.remove_segment(world.cluster.account, c, 's', md5(b'another'), 7) == 'changed'
        assert world.remover.remove_segment(world.cluster.account, c, 's', md5(b'segment'), 7) == 'removed'


def test_what_handoffs_hold_goes_too() -> None:
    with cluster_world(nodes=5, replicas=3) as world:
        c = world.container('c')
        row = world.put(c, 'o', AGES['old'])
        placement = Placement(str(world.cluster.swift_dir))
        place = placement.of(row)
        first = {n['ip']: n for n in placement.handoffs(place, 3)}
        holder, handoff = place.primaries[0], next(iter(first.values()))
        roots = {node.address: node for node in world.cluster.nodes}
        folder = world.folders(c, 'o')[roots[holder['ip']].index]
        aside = roots[handoff['ip']].folder / folder.relative_to(roots[holder['ip']].folder)
        shutil.copytree(folder, aside)
        with ExitStack() as stack:
            stack.enter_context(world.without(f'object-server-{roots[handoff["ip"]].index}'))
            stack.enter_context(pytest.raises(RemovalDeferred))
            world.remover.remove(row, row.times)
        assert len(world.files(c, 'o')) == 4
        assert world.remover.remove(row, row.times) == 'removed'
        world.replicate()
        assert world.nothing_left(c, 'o')


def test_in_a_sharded_container_the_row_of_the_right_shard_goes() -> None:
    with cluster_world(nodes=3, replicas=3) as world:
        c = world.container('c')
        rows = {name: world.put(c, name, AGES['old']) for name in ('a', 'b', 'm', 'n', 'x', 'y')}
        world.cluster.shard_container(c, rows_per_shard=2)
        assert {name: world.live_rows(c, name) for name in rows} == dict.fromkeys(rows, {0, 1, 2})
        with world.without('container-server-1'), pytest.raises(RemovalDeferred):
            world.remover.remove(rows['m'], rows['m'].times)
        assert world.files(c, 'm') == {0, 1, 2}
        assert world.remover.remove(rows['m'], rows['m'].times) == 'removed'
        assert world.nothing_left(c, 'm')
        # Where the proxy remembered no shards, tombstones went to the root; that is emptied by moving and reclaiming.
        world.replicate('container-sharder', 'container-replicator')
        world.write_row(rows['m'], 0)  # in the root, where the sharder would move it from
        assert world.live_rows(c, 'm') == {0}
        assert world.remover.remove(rows['m'], rows['m'].times) == 'removed'
        world.replicate('container-sharder', 'container-replicator')
        assert world.nothing_left(c, 'm')
        assert [entry['name'] for entry in world.client.get_container(c)[1]] == ['a', 'b', 'n', 'x', 'y']
