"""A real OpenStack Swift on loopback addresses: every server a process, every node a folder.

Node ``i`` lives on 127.0.0.(i+1) with its own devices and its own account,
container and object server; the proxy is on node 0's address. Replication,
sharding, expiry and updates run once when told, never by themselves, so a test
decides what has already happened.
"""
from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from swiftclient import Connection

from s3_sync.clock import Clock
from s3_sync.trial import swift_conf
from s3_sync.trial.ports import Ports
from s3_sync.trial.processes import Processes, Server, ServerError, accepts, answers
from s3_sync.trial.s3_endpoint import s3_client
from s3_sync.trial.scratch import ScratchFolder
from s3_sync.trial.swift_conf import ClusterConf, KeystoneAccess, Sections
from s3_sync.trial.swift_rings import Node, Policy, write_rings

MAX_SHARDER_PASSES = 20
KINDS = ('account', 'container', 'object')
RSYNC = """#!/bin/sh
# Stands in for rsync between nodes that are folders of one machine: the last two arguments are source and target.
for last; do source=$target; target=$last; done
exec cp "$source" "$target"
"""


class SwiftCluster:
    """A cluster that runs from ``__enter__`` to ``__exit__`` (or ``start`` to ``close``).

    ``folder`` keeps everything; by default a scratch folder in memory that is
    removed at the end. A proxy has one worker and caches in its own process;
    several proxies share a memcached where the machine has one (``memcached``:
    always, never, or the address of one that runs already), otherwise a token
    is known to the proxy that issued it.

    ``shunt``: the configuration file of the ``cloud-shunt`` filter (relative
    to ``swift_dir``), which is then in the pipeline of the proxies whose
    numbers ``shunt_proxies`` gives; all, when it gives none. What the file
    says is written with ``write_shunt_config``, before the start or at any
    later time; until then it has no mappings.
    ``proxy_options``: per filter of all proxies (also ``DEFAULT`` and
    ``proxy-server``) options beside the usual ones.
    """

    user = 'test:tester'
    key = 'testing'
    account = 'AUTH_test'

    def __init__(self, folder: Path | None = None, *, nodes: int = 1, replicas: int = 1, devices_per_node: int = 1,
                 policies: Sequence[Policy] = (Policy('gold', default=True), Policy('silver')),
                 proxies: int = 1, encrypted: bool = False, keystone: KeystoneAccess | None = None,
                 memcached: bool | str | None = None, constraints: Mapping[str, object] | None = None,
                 proxy_filters: Sequence[tuple[str, Mapping[str, object], str]] = (),
                 proxy_options: Mapping[str, Mapping[str, object]] | None = None,
                 shunt: Path | None = None, shunt_proxies: Sequence[int] = (),
                 shunt_options: Mapping[str, object] | None = None,
                 log_level: str = 'INFO', clock: Clock | None = None) -> None:
        self._stack = ExitStack()
        self._folder = folder or self._stack.enter_context(ScratchFolder()).path
        self._ports = Ports()
        self._stack.callback(self._ports.close)
        self.swift_dir = self._folder / 'swift'
        self.nodes = tuple(self._node(index, devices_per_node) for index in range(nodes))
        self._proxy_ports = [self._reserve(0) for _ in range(proxies)]
        self._proxy_filters = tuple(proxy_filters)
        self._proxy_options = proxy_options or {}
        self._shunt = None if shunt is None else self.swift_dir / shunt
        self._shunt_proxies = frozenset(shunt_proxies or range(proxies))
        self._shunt_options = shunt_options or {}
        self._replicas = replicas
        if memcached is None:
            memcached = proxies > 1 and bool(shutil.which('memcached'))
        self._memcached_port = self._reserve(0) if memcached is True else None
        if memcached is True:
            memcached = f'{self.nodes[0].address}:{self._memcached_port}'
        self._processes = Processes(self._folder / 'logs', clock=clock)
        self._stack.callback(self._processes.close)
        self.conf = ClusterConf(
            swift_dir=self.swift_dir, log_port=0, log_level=log_level,
            policies=tuple(policies), hash_prefix=secrets.token_hex(8), hash_suffix=secrets.token_hex(8),
            constraints=constraints or {}, keystone=keystone,
            memcached=memcached or None,
            encryption_secret=base64.b64encode(secrets.token_bytes(32)).decode() if encrypted else None)

    # -- where things are -------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Root of the first proxy."""
        return self.proxy_url(0)

    def proxy_url(self, proxy: int) -> str:
        return f'http://{self.nodes[0].address}:{self._proxy_ports[proxy]}'

    @property
    def auth_url(self) -> str:
        """Version 1 authentication (tempauth)."""
        return f'{self.url}/auth/v1.0'

    @property
    def storage_url(self) -> str:
        """Of the test account."""
        return f'{self.url}/v1/{self.account}'

    @property
    def s3_url(self) -> str:
        """Swift's own S3 API; ``user`` and ``key`` are the credentials."""
        return self.url

    @property
    def logs(self) -> Path:
        """Folder with one log file per server."""
        return self._processes.log_folder

    @property
    def internal_client_conf(self) -> Path:
        return self.swift_dir / 'internal-client.conf'

    def devices(self, node: int = 0) -> Path:
        """The node's mount root, what Swift calls ``devices``."""
        return self.nodes[node].folder

    def bind_ip(self, node: int = 0) -> str:
        return self.nodes[node].address

    def client(self, *, user: str | None = None, key: str | None = None, proxy: int = 0, **options: Any) -> Connection:
        """A swiftclient connection of the test user; close it after use."""
        return Connection(authurl=f'{self.proxy_url(proxy)}/auth/v1.0', user=user or self.user, key=key or self.key,
                          auth_version='1', **({'retries': 0} | options))

    def s3_client(self) -> Any:
        """A boto3 client of the cluster's own S3 API; close it after use."""
        return s3_client(self.s3_url, self.user, self.key)

    def daemon_config(self, node: int, status_dir: Path, **overrides: object) -> dict[str, object]:
        """Global keys of a swift-s3-sync configuration on this node; ``containers`` is the caller's."""
        return {'devices': str(self.devices(node)), 'swift_dir': str(self.swift_dir),
                'swift_bind_ip': self.bind_ip(node), 'status_dir': str(status_dir),
                'internal_client_path': str(self.internal_client_conf)} | overrides

    @property
    def shunt_config(self) -> Path:
        """The file that the shunt reads; ServerError when the cluster has no shunt."""
        if self._shunt is None:
            raise ServerError('this cluster was made without a shunt')
        return self._shunt

    def write_shunt_config(self, settings: Mapping[str, object]) -> Path:
        """Replace the shunt's configuration at once; where this cluster is need not be said."""
        path = self.shunt_config
        path.parent.mkdir(parents=True, exist_ok=True)
        place = {'swift_dir': str(self.swift_dir), 'status_dir': str(self._folder / 'shunt-status')}
        new = path.with_name(f'{path.name}.new')
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)  # it holds keys
        new.write_text(json.dumps(place | dict(settings)))
        new.replace(path)
        return path

    # -- life -----------------------------------------------------------------------------

    def start(self) -> SwiftCluster:
        """Write all files and start all servers; ServerError when one does not come up."""
        try:
            self._start_log_sink()
            self._write_files()
            self._add_servers()
            self._processes.start(*([] if self._memcached_port is None else ['memcached']),
                                  *(name for index in range(len(self.nodes)) for name in self._node_servers(index)),
                                  *(f'proxy-server-{index}' for index in range(len(self._proxy_ports))))
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop all servers and remove the scratch folder."""
        self._stack.close()

    def __enter__(self) -> SwiftCluster:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def start_node(self, node: int) -> None:
        """Start the node's three storage servers again."""
        self._processes.start(*self._node_servers(node))

    def stop_node(self, node: int) -> None:
        """Stop the node's three storage servers; its data stay."""
        self._processes.stop(*self._node_servers(node))

    def kill9_node(self, node: int) -> None:
        self._processes.kill9(*self._node_servers(node))

    def start_server(self, name: str) -> None:
        """A single one: ``object-server-0``, ``proxy-server-0``, ``memcached``, ..."""
        self._processes.start(name)

    def stop_server(self, name: str) -> None:
        self._processes.stop(name)

    def kill9(self, name: str) -> None:
        self._processes.kill9(name)

    def restart_proxy(self, proxy: int) -> None:
        """Stop and start one proxy, which then has read its files again."""
        self.stop_server(f'proxy-server-{proxy}')
        self.start_server(f'proxy-server-{proxy}')

    def pids(self) -> list[int]:
        """Process ids of all running servers."""
        return self._processes.pids()

    def pid(self, name: str) -> int:
        """Process id of a running server, named as for ``start_server``."""
        return self._processes.pid(name)

    def log_tail(self, name: str) -> str:
        return self._processes.log_tail(name)

    def run_once(self, daemon: str, *, node: int | None = None, options: Sequence[str] = ()) -> None:
        """One pass of a Swift daemon (``container-replicator``, ``object-expirer``, ...), by default on every node.

        ServerError when it exits with an error.
        """
        kind = daemon.split('-', 1)[0]
        if daemon == 'container-reconciler':
            self._run_daemon(daemon, daemon, 'container-reconciler.conf', options)
            return
        for index in range(len(self.nodes)) if node is None else (node,):
            self._run_daemon(f'{daemon}-{index}', daemon, f'{kind}-server-{index}.conf', options)

    def expire_objects(self) -> None:
        """Remove what has expired. The queue's containers must be known to their account first."""
        self.run_once('container-updater')
        self.run_once('object-expirer')

    def replicate(self) -> None:
        """One pass of all replicators on every node."""
        for daemon in ('account-replicator', 'container-replicator', 'object-replicator'):
            self.run_once(daemon)

    def container_databases(self, container: str, account: str | None = None) -> list[Path]:
        """All database files of a container on all nodes, handoffs and retiring ones included."""
        name = self._container_hash(account or self.account, container)
        return sorted(path for node in self.nodes
                      for path in node.folder.glob(f'*/containers/*/*/{name}/{name}*.db'))

    def shard_container(self, container: str, *, rows_per_shard: int, account: str | None = None) -> None:
        """Shard a container to its end: ranges of that many rows, then passes of the sharder until none is left.

        ServerError when sharding does not end.
        """
        account = account or self.account
        name = f'{self._container_hash(account, container)}.db'
        first = next(path for path in self.container_databases(container, account) if path.name == name)
        self._processes.run_once('shard-ranges', [
            sys.executable, '-m', 's3_sync.trial.swift_shard', str(self.swift_dir), str(first), str(rows_per_shard)])
        for _ in range(MAX_SHARDER_PASSES):
            self.run_once('container-replicator')
            self.run_once('container-sharder')
            if not any(path.name == name for path in self.container_databases(container, account)):
                return
        raise ServerError(f'{container} is still sharding after {MAX_SHARDER_PASSES} passes')

    def _run_daemon(self, name: str, daemon: str, conf: str, options: Sequence[str]) -> None:
        self._processes.run_once(name, [*_swift_command(daemon), str(self.swift_dir / conf), 'once', *options],
                                 env=self._environment())

    # -- inside -----------------------------------------------------------------------------

    def _reserve(self, node: int) -> int:
        return self._ports.reserve(f'127.0.0.{node + 1}')

    def _node(self, index: int, devices: int) -> Node:
        address = f'127.0.0.{index + 1}'
        return Node(index, address, self._folder / 'nodes' / address, self._folder / 'recon' / address,
                    self._reserve(index), self._reserve(index), self._reserve(index),
                    tuple(f'd{number + 1}' for number in range(devices)))

    def _container_hash(self, account: str, container: str) -> str:
        path = f'{self.conf.hash_prefix}/{account}/{container}{self.conf.hash_suffix}'
        return hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()

    def _node_servers(self, node: int) -> list[str]:
        return [f'{kind}-server-{node}' for kind in KINDS]

    def _start_log_sink(self) -> None:
        port_file = self._folder / 'log.port'
        command = [sys.executable, '-m', 's3_sync.trial.log_sink', str(port_file), str(self.logs)]
        self._processes.add(Server('log-sink', command, ready=port_file.exists))
        self._processes.start('log-sink')
        self.conf = replace(self.conf, log_port=int(port_file.read_text()))

    def _write_files(self) -> None:
        self.swift_dir.mkdir(parents=True, exist_ok=True)
        for node in self.nodes:
            for folder in (node.recon, *(node.folder / device for device in node.devices)):
                folder.mkdir(parents=True, exist_ok=True)
        rsync = self._folder / 'bin' / 'rsync'
        rsync.parent.mkdir(exist_ok=True)
        rsync.write_text(RSYNC)
        rsync.chmod(0o755)
        self._write('swift.conf', swift_conf.swift_conf(self.conf))
        self._write('internal-client.conf', swift_conf.internal_client_conf(self.conf))
        self._write('container-reconciler.conf', swift_conf.reconciler_conf(self.conf))
        write_rings(self.swift_dir, self.nodes, self.conf.policies, self._replicas)
        for node in self.nodes:
            for kind in KINDS:
                self._write(f'{kind}-server-{node.index}.conf', swift_conf.storage_conf(self.conf, node, kind))
        for index, port in enumerate(self._proxy_ports):
            name = f'proxy-server-{index}'
            self._write(f'{name}.conf', swift_conf.proxy_conf(
                self.conf, name, self.nodes[0].address, port, options=self._proxy_options,
                filters=(*self._shunt_filters(index), *self._proxy_filters)))
        if self._shunt is not None and not self._shunt.exists():
            self.write_shunt_config({})

    def _shunt_filters(self, proxy: int) -> Sequence[tuple[str, Mapping[str, object], str]]:
        if self._shunt is None or proxy not in self._shunt_proxies:
            return ()
        return swift_conf.shunt_filters(self._shunt, self._shunt_options)

    def _write(self, name: str, sections: Sections) -> None:
        path = self.swift_dir / name
        path.touch(mode=0o600)
        path.write_text(swift_conf.render(sections))

    def _add_servers(self) -> None:
        first = self.nodes[0].address
        if self._memcached_port is not None:
            port = self._memcached_port
            command = ['memcached', '-l', first, '-p', str(port), '-U', '0', '-m', '64']
            if os.getuid() == 0:
                command += ['-u', 'root']
            self._processes.add(Server('memcached', command, ready=lambda: accepts(first, port),
                                       stop_seconds=0.1))  # it has nothing to put away
        for node in self.nodes:
            for kind in KINDS:
                self._add_swift(f'{kind}-server', node.index, node.address, node.port(kind))
        for index, proxy_port in enumerate(self._proxy_ports):
            self._add_swift('proxy-server', index, first, proxy_port)

    def _add_swift(self, kind: str, index: int, address: str, port: int) -> None:
        name = f'{kind}-{index}'
        self._processes.add(Server(
            name, [*_swift_command(kind), str(self.swift_dir / f'{name}.conf')],
            ready=_healthcheck(address, port), env=self._environment()))

    def _environment(self) -> dict[str, str]:
        return {'PATH': f'{self._folder / "bin"}:{os.environ.get("PATH", os.defpath)}'}


def _swift_command(kind: str) -> list[str]:
    return [sys.executable, '-m', 's3_sync.trial.swift_server', kind]


def _healthcheck(address: str, port: int) -> Callable[[], bool]:
    return lambda: answers(address, port, '/healthcheck')
