from __future__ import annotations

import json
import shutil
import socket
from array import array
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from swift.common.ring import RingData
from swift.common.utils import ShardRange, Timestamp

from s3_sync.clock import FakeClock
from s3_sync.local.backend_http import BackendConnections
from s3_sync.local.placement import Placement
from s3_sync.local.replicas import Replicas, Unanswered
from s3_sync.local.storage_servers import SERVER_REST_SECONDS
from test.unit.local.object_server import ScriptedServer, answer, missing, scripted_server, version

T = 1_600_000_000.0


@pytest.fixture
def objects() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def containers() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def replicas(make_disks: Any, objects: ScriptedServer, containers: ScriptedServer,
             clock: FakeClock) -> Iterator[Replicas]:
    """Object servers with d0, d1, far and handoff h; container servers with c0, c1 and handoff ch."""
    disks = make_disks(port=objects.port, far='127.0.0.1', handoff=True)
    nodes = [{'id': i, 'device': name, 'ip': '127.0.0.1', 'port': containers.port, 'region': 1, 'zone': i,
              'weight': 1.0, 'meta': '', 'replication_ip': '127.0.0.1', 'replication_port': containers.port}
             for i, name in enumerate(['c0', 'c1', 'ch'])]
    table = [array('H', [0] * 16), array('H', [1] * 15 + [2])]
    RingData(table, nodes, 28).save(str(disks.swift_dir / 'container.ring.gz'))
    objects.answers = {name: [missing()] for name in ('d0', 'd1', 'far', 'h')}
    containers.answers = {name: [listing()] for name in ('c0', 'c1', 'ch')}
    replicas = Replicas(Placement(str(disks.swift_dir), '127.0.0.200'), str(disks.swift_dir), clock=clock)
    yield replicas
    replicas.close()


def listing(*entries: dict[str, Any], state: str = 'unsharded', **headers: str) -> bytes:
    return answer(200, {'X-Backend-Sharding-State': state, 'X-Backend-Storage-Policy-Index': '1',
                        **{key.replace('_', '-'): value for key, value in headers.items()}},
                  json.dumps(entries).encode())


def entry(name: str, at: float = T) -> dict[str, Any]:
    return {'name': name, 'last_modified': Timestamp(at).isoformat, 'bytes': 1, 'hash': 'x', 'content_type': 'a/b'}


def shard(name: str, state: int = ShardRange.ACTIVE) -> bytes:
    return listing({'name': name, 'state': state}, state='sharded', X_Backend_Record_Type='shard')


# -- files --------------------------------------------------------------------------------


def test_live_deleted_and_missing_files_are_told_apart(replicas: Replicas, objects: ScriptedServer,
                                                       make_row: Any) -> None:
    row = make_row('o', T)
    objects.answers |= {'d0': [version(b'', T, T + 5)], 'd1': [missing(T + 1)]}
    by_device = {node['device']: replicas.file(row, node) for node in replicas.primaries(row)}
    live, deleted, absent = by_device['d0'], by_device['d1'], by_device['far']
    assert (live.live, live.data, live.metadata) == (True, Timestamp(T), Timestamp(T + 5))
    assert (deleted.live, deleted.tombstone) == (False, Timestamp(T + 1))
    assert (absent.live, absent.tombstone) == (False, None)
    assert [node['device'] for node in replicas.handoffs(row)] == ['h']


@pytest.mark.parametrize('said', [answer(500), answer(503), answer(507), answer(200), answer(416), b'', b'garbage'])
def test_what_is_no_answer_proves_nothing(replicas: Replicas, objects: ScriptedServer, make_row: Any,
                                          said: bytes) -> None:
    row = make_row('o', T)
    objects.answers = dict.fromkeys(objects.answers, [said])
    for act in (lambda node: replicas.file(row, node),
                lambda node: replicas.delete_file(row, node, Timestamp(T))):
        if said != answer(200):
            with pytest.raises(Unanswered):
                act(replicas.primaries(row)[0])
    with pytest.raises(Unanswered):
        replicas.file(row, replicas.primaries(row)[1])


def test_a_silent_server_is_not_waited_for_again_and_again(replicas: Replicas, objects: ScriptedServer,
                                                           clock: FakeClock, make_row: Any) -> None:
    row = make_row('o', T)
    objects.answers = dict.fromkeys(objects.answers, [b''])
    for node in replicas.primaries(row) * 3:
        with pytest.raises(Unanswered):
            replicas.file(row, node)
    assert len(objects.requests) == 1
    clock.advance(SERVER_REST_SECONDS + 1)
    objects.answers = dict.fromkeys(objects.answers, [missing()])
    assert not replicas.file(row, replicas.primaries(row)[0]).live


def test_an_unmounted_device_leaves_the_others_of_its_server_alone(replicas: Replicas, objects: ScriptedServer,
                                                                   make_row: Any) -> None:
    row = make_row('o', T)
    objects.answers['d0'] = [answer(507)]
    by_device = {node['device']: node for node in replicas.primaries(row)}
    for _ in range(2):
        with pytest.raises(Unanswered):
            replicas.file(row, by_device['d0'])
    replicas.file(row, by_device['d1'])
    assert [device for _, device in objects.requests] == ['d0', 'd1']


def test_a_server_that_hangs_is_given_up(make_disks: Any, clock: FakeClock, make_row: Any) -> None:
    with socket.create_server(('127.0.0.1', 0)) as mute:  # takes connections and never says a word
        disks = make_disks(port=mute.getsockname()[1], far='127.0.0.1')
        shutil.copy(disks.swift_dir / 'object.ring.gz', disks.swift_dir / 'container.ring.gz')
        replicas = Replicas(Placement(str(disks.swift_dir)), str(disks.swift_dir), clock=clock,
                            connections=BackendConnections(clock, answer_seconds=0.05))
        row = make_row('o', T)
        for _ in range(2):
            with pytest.raises(Unanswered):
                replicas.file(row, replicas.primaries(row)[0])
            with pytest.raises(Unanswered):
                replicas.rows(row)
            clock.advance(SERVER_REST_SECONDS + 1)
        replicas.close()


# -- rows ---------------------------------------------------------------------------------


def test_rows_of_primaries_and_handoffs(replicas: Replicas, containers: ScriptedServer, make_row: Any) -> None:
    containers.answers |= {'c0': [listing(entry('o'))], 'c1': [listing(entry('n'))], 'ch': [missing()]}
    found = replicas.rows(make_row('o', T, policy=1))
    assert [(row.exists, row.last_modified, row.policy_index) for row in (*found.primaries, *found.others)] == [
        (True, Timestamp(T).isoformat, 1), (True, '', 1), (False, '', 0)]
    head = containers.seen[0]
    assert 'X-Backend-Storage-Policy-Index: 1\r\n' in head and 'X-Backend-Allow-Reserved-Names: true\r\n' in head
    assert parse_qs(urlsplit(head.split(' ')[1]).query) == {
        'format': ['json'], 'limit': ['1'], 'reverse': ['true'], 'marker': ['o\0']}


@pytest.mark.parametrize('said', [answer(500), answer(507), answer(412), answer(200, {}, b'[tr'), b''])
def test_a_listing_that_is_none_proves_nothing(replicas: Replicas, containers: ScriptedServer, make_row: Any,
                                               said: bytes) -> None:
    containers.answers['ch'] = [said]
    with pytest.raises(Unanswered):
        replicas.rows(make_row('o', T))


def test_a_container_that_is_being_sharded_is_left_alone(replicas: Replicas, containers: ScriptedServer,
                                                        make_row: Any) -> None:
    row = make_row('o', T)
    for states in (('sharding', 'sharding'), ('sharded', 'unsharded'), ('unsharded', 'sharding')):
        containers.answers |= {'c0': [listing(state=states[0])], 'c1': [listing(state=states[1])]}
        with pytest.raises(Unanswered, match='is being sharded'):
            replicas.rows(row)


def root_then(then: bytes) -> dict[str, list[bytes]]:
    """Both root databases are sharded; c0 names the shard, whose databases say ``then``."""
    root = listing(state='sharded')
    return {'c0': [root, shard('.shards_AUTH_a/c-1'), then], 'c1': [root, then], 'ch': [listing()]}


def test_rows_of_a_sharded_container_are_the_shards(replicas: Replicas, containers: ScriptedServer,
                                                    make_row: Any) -> None:
    containers.answers = root_then(listing(entry('o')))
    found = replicas.rows(make_row('o', T))
    assert [(row.database.account, row.database.container, bool(row.last_modified)) for row in found.primaries] == [
        ('.shards_AUTH_a', 'c-1', True)] * 2
    assert [row.database.container for row in found.others] == ['c', 'c', 'c-1']  # the root's may be left over
    asked = parse_qs(urlsplit(containers.seen[2].split(' ')[1]).query)
    assert asked == {'format': ['json'], 'states': ['updating'], 'includes': ['o']}


@pytest.mark.parametrize('then', [listing(state='sharding'), listing(state='sharded'), missing()])
def test_a_shard_that_is_itself_cut_up_is_left_alone(replicas: Replicas, containers: ScriptedServer, make_row: Any,
                                                     then: bytes) -> None:
    containers.answers = root_then(then)
    with pytest.raises(Unanswered, match='c-1 is being sharded'):
        replicas.rows(make_row('o', T))


def test_a_shard_that_is_not_filled_yet_is_left_alone(replicas: Replicas, containers: ScriptedServer,
                                                      make_row: Any) -> None:
    containers.answers = root_then(listing())
    containers.answers['c0'][1] = shard('.shards_AUTH_a/c-1', ShardRange.CREATED)
    with pytest.raises(Unanswered, match='not complete'):
        replicas.rows(make_row('o', T))


def test_a_name_that_no_shard_takes_is_the_roots(replicas: Replicas, containers: ScriptedServer,
                                                 make_row: Any) -> None:
    containers.answers = root_then(listing())
    containers.answers['c0'][1] = shard('AUTH_a/c')
    found = replicas.rows(make_row('o', T))
    assert [row.database.container for row in found.primaries] == ['c', 'c']


def test_no_shard_ranges_prove_nothing(replicas: Replicas, containers: ScriptedServer, make_row: Any) -> None:
    root = listing(state='sharded')
    containers.answers |= {'c0': [root, listing(X_Backend_Record_Type='shard')], 'c1': [root, listing(entry('o'))]}
    with pytest.raises(Unanswered, match='no shard'):
        replicas.rows(make_row('o', T))


def test_the_policy_of_a_container(replicas: Replicas, containers: ScriptedServer) -> None:
    known = answer(204, {'X-Backend-Storage-Policy-Index': '2'})
    containers.answers |= {'c0': [missing()], 'c1': [known]}
    assert replicas.policy_index('AUTH_a', 'c') == 2
    containers.answers['c1'] = [missing()]
    assert replicas.policy_index('AUTH_a', 'c') is None
    containers.answers['c0'] = [answer(503)]
    with pytest.raises(Unanswered):
        replicas.policy_index('AUTH_a', 'c')
