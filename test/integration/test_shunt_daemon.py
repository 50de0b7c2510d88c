"""A proxy and a daemon with one configuration: what one cannot delete at the remote, the other does."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3_sync.config import load
from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import Answer
from test.servers.merged import Kind, MergedWorld, an_hour_ago, merged_world
from test.servers.sync_daemon import SyncDaemon, eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]
DEAD = Answer(500, {}, b'')


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        for kind in ('s3', 'swift'):
            made.add(f'{kind}-down', kind)
            made.add(f'{kind}-kept', kind, delete_policy='tombstone')
        made.configure()
        yield made


@pytest.mark.parametrize('kind', ['s3', 'swift'])
def test_what_a_proxy_could_not_delete_at_the_remote_the_daemon_does(world: MergedWorld, kind: Kind) -> None:
    down, kept = world[f'{kind}-down'], world[f'{kind}-kept']
    names = ('a', 'ü/ö', 'x' * 1024 if kind == 'swift' else 'x' * 200)
    for container in (down, kept):
        for name in (*names, 'other'):
            container.remote.put(name, b'data', **{'1space-timestamp': an_hour_ago()})
    for container in (down, kept):
        container.faults.fail(DEAD, method='DELETE', times=None)
        for name in names:
            assert container.status('DELETE', name) == 204
        container.faults.fail(DEAD, times=None)
    assert set(down.markers) == set(kept.markers) == set(names)
    with SyncDaemon(world.cluster, [down.entry(), kept.entry()]) as sync:
        sync.once(expect=3)  # cannot either
        assert set(down.markers) == set(names)
        for container in (down, kept):
            container.faults.clear()
        with sync.ledger() as ledger:
            for mapping in load(str(sync.config_file)).containers:
                ledger.retry(mapping.generation)
        sync.start()
        eventually(lambda: not down.markers, 'the markers gone')
        assert sync.stop() == 0 and sync.failures() == {}
    for name in names:
        assert down.remote.head(name) is None and down.status('GET', name) == 404
        assert kept.remote.read(name) == b'data' and kept.status('GET', name) == 404
    assert down.body('other') == b'data' == kept.body('other')
    assert set(kept.markers) == set(names)
