"""What operators see of a proxy with the shunt: /info, statsd, its log, reloads, and what it refuses to start with."""
from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from s3_sync.trial.processes import ServerError
from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import Answer
from test.servers.merged import SHUNT, Kind, MergedWorld, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

KINDS: tuple[Kind, ...] = ('s3', 'swift')
PREFIX = 'onespace_shunt_requests_total'


class Statsd:
    """A UDP socket that adds up the counters of ours. Read all the time: the kernel keeps few datagrams."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(('127.0.0.1', 0))
        self._lock = threading.Lock()
        self._counters: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def counters(self) -> dict[str, int]:
        """All since ``clear``, by what follows the proxy's prefix."""
        with self._lock:
            return dict(self._counters)

    def clear(self) -> None:
        with self._lock:
            self._counters.clear()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b'', self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while data := self._socket.recv(65536):
            for line in data.decode().splitlines():
                name, _, value = line.rpartition(':')
                if 'onespace_' in name and '|c' in value:
                    with self._lock:
                        self._counters[name[name.index('onespace_'):]] += int(value.split('|')[0])


@pytest.fixture(scope='module')
def statsd() -> Iterator[Statsd]:
    with closing(Statsd()) as receiver:
        yield receiver


@pytest.fixture(scope='module')
def world(s3: S3Endpoint, statsd: Statsd) -> Iterator[MergedWorld]:
    with merged_world(s3, proxy_options={'DEFAULT': {
            'log_statsd_host': '127.0.0.1', 'log_statsd_port': statsd.port}}) as made:
        for kind in KINDS:
            made.add(f'{kind}-counted', kind, name=f'{kind} mapping', restore_object=True, delete_policy='tombstone')
            made.add(f'{kind}-spared', kind, name=f'{kind}-spared', post_archived='deny')
        made.add('reloaded', 'swift')
        made.configure()
        yield made


def test_the_cluster_tells_that_it_has_a_shunt_and_nothing_of_its_remotes(world: MergedWorld) -> None:
    told, plain = (world.session.get(f'{world.cluster.proxy_url(proxy)}/info', timeout=30) for proxy in (SHUNT, 0))
    assert 'cloud_shunt' in told.json()
    assert 'cloud_shunt' not in plain.json()
    for secret in ('testing2', 'remote', 'aws'):
        assert secret not in json.dumps(told.json()['cloud_shunt'])


def test_every_decision_is_counted_by_verb_outcome_and_mapping(
        world: MergedWorld, kind: str, statsd: Statsd) -> None:
    container, spared = world[f'{kind}-counted'], world[f'{kind}-spared']
    statsd.clear()
    for name in ('o', 'p'):
        container.remote.put(name, b'data')
    spared.remote.put('o', b'data')
    assert container.status('HEAD', 'o') == 200
    assert container.status('GET', 'o', headers={'Range': 'bytes=0-1'}) == 206
    assert container.status('GET', 'o') == 200
    eventually(lambda: container.is_here('o'), 'it is restored')
    assert container.status('GET', 'o') == 200  # here: no decision
    assert container.status('GET', '') == 200
    assert container.status('PUT', 'p', data=b'x', headers={'If-None-Match': '*'}) == 412
    assert container.status('POST', 'p', headers={'X-Object-Meta-A': 'b'}) == 202
    assert spared.status('POST', 'o', headers={'X-Object-Meta-A': 'b'}) == 409
    assert container.status('DELETE', 'p') == 204
    container.faults.fail(Answer(500), times=None)
    assert container.status('HEAD', 'q') == 503
    mapping = f'{kind}_mapping'
    wanted = {f'{PREFIX}.HEAD.served.{mapping}': 1, f'{PREFIX}.GET.served.{mapping}': 2,
              f'{PREFIX}.GET.listed.{mapping}': 1, f'{PREFIX}.PUT.exists.{mapping}': 1,
              f'{PREFIX}.POST.updated.{mapping}': 1, f'{PREFIX}.POST.denied.{kind}-spared': 1,
              f'{PREFIX}.DELETE.marked.{mapping}': 1, f'{PREFIX}.HEAD.unavailable.{mapping}': 1,
              f'onespace_restores_total.restored.none.{mapping}': 1}

    def counted() -> dict[str, int]:
        return {name: value for name, value in statsd.counters.items() if name.startswith((
            PREFIX, 'onespace_restores_total'))}
    with suppress(AssertionError):  # the comparison tells more
        eventually(lambda: counted() == wanted, 'all are counted', seconds=10)
    assert counted() == wanted


def test_one_line_of_the_log_for_every_decision(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-counted']
    container.remote.put('logged', b'data')
    container.ask('HEAD', 'logged')
    decision = f'remote HEAD AUTH_test/{container.name}/logged '
    lines = eventually(lambda: [line for line in world.log() if decision in line], 'the line')
    assert len(lines) == 1
    assert 'outcome=served' in lines[0]
    text = '\n'.join(world.log())
    for secret in ('testing2', world.s3.secret_key, world.token('owner')):
        assert secret not in text


def test_the_source_of_every_object_is_told(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-counted']
    container.put_here('mine', b'x')
    container.remote.put('yours', b'y')
    for method in ('HEAD', 'GET'):
        assert container.ask(method, 'mine').headers['x-1space-source'] == 'local'
        assert container.ask(method, 'yours').headers['x-1space-source'] == 'remote'
    eventually(lambda: container.is_here('yours'), 'it is restored')
    for method in ('HEAD', 'GET'):
        assert container.ask(method, 'yours').headers['x-1space-source'] == 'restored'
    assert container.status('POST', 'yours', headers={'X-Object-Meta-A': 'b'}) == 202
    assert 'x-1space-source' not in container.ask('GET', '').headers
    plain = world.session.get(container.url('mine', proxy=0), headers={'X-Auth-Token': world.token('owner')},
                              timeout=30)
    assert 'x-1space-source' not in plain.headers


@pytest.mark.parametrize('broken', ['{"containers": [', '{"containers": [{"account": "AUTH_test"}]}', '', None],
                         ids=['cut off', 'wrong', 'empty', 'gone'])
def test_a_configuration_that_breaks_changes_nothing_until_it_is_mended(world: MergedWorld, broken: str | None) -> None:
    container = world['reloaded']
    container.remote.put('o', b'data')
    assert container.body('o') == b'data'
    path = world.cluster.shunt_config
    good = path.read_text()
    seen = len(world.log())
    try:
        if broken is None:
            path.unlink()
        else:
            path.write_text(broken)
        eventually(lambda: any('the last good one stays in use' in line for line in world.log()[seen:]), 'it is told')
        for _ in range(3):
            assert container.body('o') == b'data'
            assert container.ask('GET', '').text == 'o\n'
    finally:
        config = json.loads(good)
        reduced = [entry for entry in config['containers'] if entry['container'] != 'reloaded']
        world.cluster.write_shunt_config({**config, 'containers': reduced})
        eventually(lambda: container.status('GET', 'o') == 404, 'the mended one counts, which has no such mapping')
        world.cluster.write_shunt_config(config)
        eventually(lambda: container.body('o') == b'data', 'and the first one again')


def test_a_proxy_does_not_start_with_a_broken_configuration_or_a_filter_in_a_wrong_place(s3: S3Endpoint) -> None:
    with merged_world(s3) as made:
        conf = made.cluster.swift_dir / f'proxy-server-{SHUNT}.conf'
        text = conf.read_text()
        line = next(line for line in text.splitlines() if line.startswith('pipeline'))
        filters = line.split('=')[1].split()
        for moved, behind in (('cloud-shunt', 'dlo'), ('cloud-shunt', 'tempauth'), ('cloud-shunt-segments', 'copy')):
            others = [name for name in filters if name != moved]
            where = others.index(behind) + (0 if behind == 'tempauth' else 1)
            wrong = [*others[:where], moved, *others[where:]]
            conf.write_text(text.replace(line, f'pipeline = {" ".join(wrong)}'))
            with pytest.raises(ServerError, match='It belongs') as caught:
                made.cluster.restart_proxy(SHUNT)
            assert f'filter {moved} is at a wrong place' in str(caught.value)
        conf.write_text(text)
        made.cluster.shunt_config.write_text('{"containers": [{}]}')
        with pytest.raises(ServerError, match='account'):
            made.cluster.restart_proxy(SHUNT)


def test_a_plain_request_for_what_nobody_mapped_meets_no_remote(world: MergedWorld) -> None:
    world.calm()
    world.plain.put_container('unmapped')
    token = {'X-Auth-Token': world.token('owner')}
    answer = world.session.get(f'{world.cluster.proxy_url(SHUNT)}/v1/AUTH_test/unmapped/o', headers=token, timeout=30)
    assert answer.status_code == 404
    assert 'x-1space-source' not in answer.headers
    assert all(container.asked() == [] for container in world.containers)
