"""Whatever this cluster sends to another Swift tells where it comes from (semantics 8.3)."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from swiftclient import Connection

from s3_sync.config import load
from s3_sync.config.cluster import cluster_id
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import FaultProxy
from test.servers.sync_daemon import SyncDaemon, swift_mapping


def ways(proxy: FaultProxy) -> set[str | None]:
    return {request.headers.get('x-1space-via') for request in proxy.requests if '/auth/v1.0' not in request.path
            and request.path != '/info'}


def test_the_daemon_and_the_commands_tell_the_cluster_in_every_request(
        swift: SwiftCluster, container: str, swift_client: Connection, fresh_name: Callable[[str], str],
        fault_proxy: Callable[[str], FaultProxy]) -> None:
    far = swift.client(user='test2:tester2', key='testing2')
    target = fresh_name('target')
    far.put_container(target)
    far.close()
    for name in ('a', 'b'):
        swift_client.put_object(container, name, b'data')
    proxy = fault_proxy(swift.url)
    mapping = {**swift_mapping(swift, container, target), 'aws_endpoint': f'{proxy.url}/auth/v1.0'}
    with SyncDaemon(swift, [mapping]) as daemon:
        own = cluster_id(load(str(daemon.config_file)))
        assert len(own) == 16
        for command in (['plan'], [], ['audit']):
            seen = len(proxy.requests)
            if command:
                subprocess.run([sys.executable, '-m', 's3_sync.command', *command, '--config',
                                str(daemon.config_file)], stdout=subprocess.PIPE, timeout=60, check=True)
            else:
                daemon.once()
            assert len(proxy.requests) > seen, f'{command} asked nothing'
            assert ways(proxy) == {own}
        daemon.configure([mapping], cluster_id='berlin')
        seen = len(proxy.requests)
        swift_client.put_object(container, 'c', b'data')
        daemon.once()
        assert proxy.requests[-1].headers['x-1space-via'] == 'berlin'
        assert len(proxy.requests) > seen
