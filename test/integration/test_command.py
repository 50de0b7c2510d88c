"""``1space`` beside a real cluster, a real store and, where it says so, a running daemon."""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from swiftclient import Connection

from container_crawler.databases import ContainerRing
from container_crawler.swift_dir import load_swift_dir
from s3_sync.clock import SystemClock
from s3_sync.ledger import ledger_path
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Answer, FaultProxy, throttled

READS = {'GET', 'HEAD'}
PATIENCE_SECONDS = 60.0


@dataclass
class Operator:
    """A configuration of this node, and its commands."""

    config: Path
    status_dir: Path

    def run(self, *words: str, code: int | None = 0) -> str:
        """Standard output; ``code`` None: whatever it ends with."""
        done = subprocess.run([sys.executable, '-m', 's3_sync.command', *words, '--config', str(self.config)],
                              capture_output=True, text=True, timeout=120)
        assert code in (None, done.returncode), done
        assert 'Traceback' not in done.stderr, done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run('status', '--json', code=None))
        return found

    def plan(self, *words: str, code: int = 0) -> dict[str, Any]:
        """The summary of the only mapping."""
        found: dict[str, Any] = json.loads(self.run('plan', '--json', *words, code=code).splitlines()[-1])
        return found

    def once(self, code: int = 0) -> None:
        done = subprocess.run([sys.executable, '-m', 's3_sync', '--config', str(self.config), '--once'],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr

    @contextmanager
    def daemon(self) -> Iterator[int]:
        """swift-s3-sync in the background; its process id."""
        with open(self.config.parent / 'daemon.log', 'ab') as log, subprocess.Popen(
                [sys.executable, '-m', 's3_sync', '--config', str(self.config)], stderr=log) as process:
            try:
                yield process.pid
            finally:
                process.terminate()
                process.wait(30)


def until(condition: Callable[[], object]) -> None:
    """Wait until it is true; a test that waits in vain fails."""
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert clock.monotonic() < end, 'waited in vain'
        clock.sleep(0.2)


@pytest.fixture
def proxy(fault_proxy: Callable[[str], FaultProxy], s3: S3Endpoint) -> FaultProxy:
    """In front of SeaweedFS; remembers every request."""
    return fault_proxy(s3.url)


@pytest.fixture
def operator_of(tmp_path: Path, s3: S3Endpoint, proxy: FaultProxy) -> Callable[..., Operator]:
    def make(cluster: SwiftCluster, *entries: dict[str, Any], number: int = 0, **top: Any) -> Operator:
        folder = tmp_path / f'node{number}'
        folder.mkdir()
        remote = {'aws_endpoint': proxy.url, 'aws_identity': s3.access_key, 'aws_secret': s3.secret_key}
        settings = cluster.daemon_config(
            number, folder / 'state', processes=1, poll_interval=0.5,
            containers=[{'account': cluster.account, **remote, **entry} for entry in entries], **top)
        config = folder / 'sync.json'
        config.write_text(json.dumps(settings))
        config.chmod(0o640)
        return Operator(config, folder / 'state')
    return make


@pytest.fixture
def operator(operator_of: Callable[..., Operator], swift: SwiftCluster, container: str, bucket: str) -> Operator:
    return operator_of(swift, {'container': container, 'aws_bucket': bucket, 'exclude_pattern': r'.*\.tmp$'})


def _fill(client: Connection, container: str, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        client.put_object(container, f'o{number:03}', f'data {number}')


def _bucket(client: Any, bucket: str) -> dict[str, tuple[Any, ...]]:
    """Everything that would differ if anything had been written."""
    entries = client.list_objects_v2(Bucket=bucket).get('Contents', [])
    return {entry['Key']: (entry['ETag'], entry['Size'], entry['LastModified']) for entry in entries}


def _names(client: Any, bucket: str) -> set[str]:
    return {key.rsplit('/', 1)[1] for key in _bucket(client, bucket)}


def _files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir()) if path.is_file()}


def _database_folder(cluster: SwiftCluster, container: str) -> Path:
    load_swift_dir(cluster.swift_dir)
    ring = ContainerRing(str(cluster.swift_dir), str(cluster.devices()), cluster.bind_ip())
    return Path(ring.places(cluster.account, container)[0].folder)


# -- plan ---------------------------------------------------------------------------------


def test_a_plan_changes_neither_remote_nor_ledger_nor_databases(
        operator: Operator, swift: SwiftCluster, swift_client: Connection, s3_client: Any, proxy: FaultProxy,
        container: str, bucket: str) -> None:
    _fill(swift_client, container, 5)
    operator.once()
    _change_everything(swift_client, container)
    folder = _database_folder(swift, container)
    before = _bucket(s3_client, bucket), _files(operator.status_dir), _files(folder)
    sent = len(proxy.requests)
    for words in ((), ('--objects',), ('--all-rows', '--json'), ('--limit', '2')):
        operator.run('plan', *words)
    assert (_bucket(s3_client, bucket), _files(operator.status_dir), _files(folder)) == before
    asked = proxy.requests[sent:]
    assert asked and {request.method for request in asked} <= READS


def test_a_plan_tells_what_the_next_run_does_and_how_many_requests_it_sends(
        operator: Operator, swift_client: Connection, proxy: FaultProxy, container: str) -> None:
    _fill(swift_client, container, 5)
    operator.once()
    done = operator.status()['mappings'][0]['totals']
    _change_everything(swift_client, container)
    plan = operator.plan()
    sent = len(proxy.requests)
    operator.once()
    totals = operator.status()['mappings'][0]['totals']
    actions = {name: action['objects'] for name, action in plan['actions'].items() if action['objects']}
    assert actions == {'copy': 3, 'update': 1, 'delete': 1, 'excluded': 1}
    assert plan['actions']['copy']['reasons'] == {'new': 2, 'changed': 1}
    assert plan['actions']['copy']['bytes'] == totals['bytes'] - done['bytes']
    assert {n: totals[n] - done[n] for n in ('copied', 'updated', 'deleted')} == {
        'copied': 3, 'updated': 1, 'deleted': 1}
    assert plan['requests_total'] == len(proxy.requests) - sent
    assert operator.plan()['requests_total'] == 0


def _change_everything(client: Connection, container: str) -> None:
    """After five objects were synchronised: two new ones, one new version, a POST, a DELETE, one that is excluded."""
    client.put_object(container, 'new', 'new data')
    client.put_object(container, 'große Datei\n', 'more new data')
    client.put_object(container, 'o001', 'other data')
    client.post_object(container, 'o002', {'X-Object-Meta-Colour': 'blue'})
    client.delete_object(container, 'o003')
    client.put_object(container, 'x.tmp', 'excluded')


def test_a_plan_before_the_first_run_leaves_no_trace(
        operator: Operator, swift_client: Connection, s3_client: Any, proxy: FaultProxy, container: str,
        bucket: str) -> None:
    _fill(swift_client, container, 3)
    text = operator.run('plan', '--objects')
    assert {f'copy      AUTH_test/{container}/o{number:03}  (new)' for number in range(3)} <= set(text.splitlines())
    assert 'copy        3 objects, 18 B (new)' in text
    assert 'has not found out yet' in text
    assert not operator.status_dir.exists()
    assert not _bucket(s3_client, bucket)
    assert {request.method for request in proxy.requests} <= READS


def test_a_plan_stops_at_its_limit_and_says_that_there_is_more(
        operator: Operator, swift_client: Connection, container: str) -> None:
    _fill(swift_client, container, 6)
    plan = operator.plan('--limit', '4')
    assert plan['actions']['copy']['objects'] == 4 and plan['limit_reached']
    plan = operator.plan('--limit', '6')
    assert plan['actions']['copy']['objects'] == 6 and not plan['limit_reached']


def test_a_plan_includes_what_waits_in_the_ledger(
        operator: Operator, swift_client: Connection, proxy: FaultProxy, container: str) -> None:
    _fill(swift_client, container, 3)
    proxy.fail(Answer(403), method='PUT', path='o000', times=None)
    proxy.fail(Answer(400), method='PUT', path='o001', times=None)
    operator.once(code=3)
    proxy.clear()
    plan = operator.plan(code=3)
    assert plan['actions']['copy']['objects'] == 1, 'what failed is tried again'
    assert plan['actions']['permanent']['objects'] == 1, 'what was given up is not'


def test_a_plan_whose_remote_does_not_work_says_so(
        operator: Operator, swift_client: Connection, proxy: FaultProxy, container: str) -> None:
    _fill(swift_client, container, 30)
    proxy.fail(Answer(403), times=None)
    plan = operator.plan(code=3)
    assert 'forbidden' in plan['held']


def test_what_the_remote_cannot_hold_is_planned_as_a_permanent_failure(
        operator: Operator, swift_client: Connection, container: str) -> None:
    swift_client.put_object(container, 'n' * 1020, 'x')
    assert operator.plan(code=3)['actions']['permanent']['reasons'] == {'key-too-long': 1}


def test_a_plan_whose_reader_went_away_ends(operator: Operator, swift_client: Connection, container: str) -> None:
    _fill(swift_client, container, 30)
    with subprocess.Popen([sys.executable, '-m', 's3_sync.command', 'plan', '--objects', '--json', '--config',
                           str(operator.config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b'', 141)


def test_nodes_plan_their_own_shares_unless_told_otherwise(
        make_swift_cluster: Callable[..., SwiftCluster], operator_of: Callable[..., Operator], bucket: str) -> None:
    cluster = make_swift_cluster(nodes=2, replicas=2)
    client = cluster.client()
    try:
        client.put_container('shared')
        _fill(client, 'shared', 12)
    finally:
        client.close()
    operators = [operator_of(cluster, {'container': 'shared', 'aws_bucket': bucket}, number=n) for n in range(2)]
    plans = [operator.plan() for operator in operators]
    shares = [plan['actions']['copy']['objects'] for plan in plans]
    assert sum(shares) == 12 and all(shares)
    assert all(plan['own_share_only'] for plan in plans)
    whole = operators[0].plan('--all-rows')
    assert whole['actions']['copy']['objects'] == 12 and not whole['own_share_only']


# -- beside a running daemon ---------------------------------------------------------------


def test_status_follows_a_running_daemon(
        operator: Operator, swift_client: Connection, container: str) -> None:
    _fill(swift_client, container, 4)
    with operator.daemon() as pid:
        until(lambda: (operator.status()['mappings'] or [{'totals': {}}])[0]['totals'].get('copied') == 4)
        until(lambda: operator.status()['mappings'][0]['rows_left'] == 0)
        found = operator.status()
        assert found['daemon_pid'] == pid
        mapping = found['mappings'][0]
        assert (mapping['state'], mapping['containers'], mapping['held']) == ('running', 1, None)
        database, = mapping['databases']
        assert database['own_row'] == database['verified_row'] == database['max_row'] == 4
        assert f'running (process {pid})' in operator.run('status')
    assert operator.status()['mappings'][0]['state'] == 'stopped'
    _fill(swift_client, container, 3, start=10)
    assert operator.status()['mappings'][0]['rows_left'] == 3, 'rows of the pending file count'


def test_a_paused_mapping_waits_and_the_other_goes_on(
        operator_of: Callable[..., Operator], swift: SwiftCluster, swift_client: Connection, s3: S3Endpoint,
        s3_client: Any, fresh_name: Callable[[str], str]) -> None:
    names = [fresh_name('paused'), fresh_name('other')]
    for name in names:
        swift_client.put_container(name)
        s3.make_bucket(name)
    held, other = names
    operator = operator_of(swift, *({'name': n, 'container': n, 'aws_bucket': n} for n in names))
    operator.once()
    operator.run('pause')
    with operator.daemon():
        operator.run('resume', other)
        for number in range(2):
            swift_client.put_object(held, f'h{number}', 'x')
            swift_client.put_object(other, f'o{number}', 'x')
            until(lambda number=number: f'o{number}' in _names(s3_client, other))
        assert not _bucket(s3_client, held)
        states = {m['name']: m['state'] for m in operator.status()['mappings']}
        assert states == {held: 'paused', other: 'running'}
        operator.run('resume')
        until(lambda: _names(s3_client, held) == {'h0', 'h1'})
        operator.run('pause', other)
        until(lambda: operator.status()['mappings'][1]['state'] == 'paused')


def test_what_was_given_up_is_copied_once_the_remote_is_mended_and_somebody_says_retry(
        operator: Operator, swift_client: Connection, s3_client: Any, proxy: FaultProxy, container: str,
        bucket: str) -> None:
    proxy.fail(Answer(400), method='PUT', path='bad%20', times=None)
    with operator.daemon():
        swift_client.put_object(container, 'bad name', 'x')
        until(lambda: operator.run('failures', 'list', '--json', code=None))
        line = json.loads(operator.run('failures', 'list', '--json'))
        assert (line['kind'], line['path']) == ('permanent', f'AUTH_test/{container}/bad%20name')
        proxy.clear()
        assert operator.run('failures', 'retry', line['path']) == '1 due now\n'
        until(lambda: _names(s3_client, bucket) == {'bad name'})
        until(lambda: operator.run('failures', 'list', '--json') == '')


def test_a_remote_that_does_not_work_shows_as_held_until_it_does(
        operator: Operator, swift_client: Connection, s3_client: Any, proxy: FaultProxy, container: str,
        bucket: str) -> None:
    proxy.fail(throttled(), times=None)
    _fill(swift_client, container, 40)
    with operator.daemon():
        until(lambda: [m['state'] for m in operator.status()['mappings']] == ['held'])
        assert 'the remote does not work' in operator.run('status', code=3)
        proxy.clear()
        until(lambda: len(_bucket(s3_client, bucket)) == 40)
        until(lambda: operator.status()['mappings'][0]['state'] == 'running')


def test_a_damaged_ledger_is_told_and_left_for_the_daemon(operator: Operator) -> None:
    operator.once()
    Path(ledger_path(str(operator.status_dir))).write_bytes(b'x' * 8192)
    for words in (('status',), ('failures', 'list'), ('pause',), ('plan',)):
        operator.run(*words, code=1)
    operator.once()
    assert operator.status()['mappings'][0]['state'] == 'stopped'


def test_a_container_that_cannot_be_read_is_told_by_status_plan_and_a_single_run_and_holds_up_no_other(
        operator_of: Callable[..., Operator], swift: SwiftCluster, swift_client: Connection, s3: S3Endpoint,
        s3_client: Any, fresh_name: Callable[[str], str]) -> None:
    names = [fresh_name('broken'), fresh_name('good')]
    for name in names:
        swift_client.put_container(name)
        s3.make_bucket(name)
        swift_client.put_object(name, 'o', 'x')
        swift_client.get_container(name)
    operator = operator_of(swift, *({'name': n, 'container': n, 'aws_bucket': n} for n in names))
    broken, good = names
    database, = _database_folder(swift, broken).glob('*.db')
    whole = database.read_bytes()
    database.write_bytes(b'SQLite format 3' + bytes(len(whole) - 15))
    plans = [json.loads(line) for line in operator.run('plan', '--json', code=3).splitlines()]
    assert [bool(plan['not_read']) for plan in plans] == [True, False]
    assert plans[1]['actions']['copy']['objects'] == 1
    operator.once(code=3)
    assert _names(s3_client, good) == {'o'}
    assert [len(m['unreadable']) for m in operator.status()['mappings']] == [1, 0]
    assert 'unreadable' in operator.run('status', code=3)
    database.write_bytes(whole)
    operator.once()
    assert _names(s3_client, broken) == {'o'}
