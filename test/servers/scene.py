"""One container, one bucket and a fault proxy between the daemon and the store: the stage of the fault tests."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from swiftclient import Connection

from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.keys import KeyScheme
from test.servers.fault_proxy import FaultProxy, Request
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping


class Scene:
    """A context manager; daemons that it made are killed at its end."""

    def __init__(self, swift: SwiftCluster, s3: S3Endpoint | MotoEndpoint, container: str, bucket: str) -> None:
        self.swift, self.s3, self.container, self.bucket = swift, s3, container, bucket
        self.scheme = KeyScheme('AUTH_test', container, None)
        self._stack = ExitStack()
        self.proxy = self._stack.enter_context(FaultProxy(s3.url))
        self.local: Connection = swift.client(retries=3)
        self._stack.callback(self.local.close)
        self.client: Any = s3.client()
        self._stack.callback(self.client.close)
        self.local.put_container(container)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def server(self) -> str:
        """What the store calls itself in its answers."""
        return str(self.client.list_buckets()['ResponseMetadata']['HTTPHeaders']['server'])

    # -- the daemon -------------------------------------------------------------------------

    def mapping(self, **keys: object) -> dict[str, object]:
        """Of the container to the bucket, through the proxy."""
        return {**s3_mapping(self.s3, self.container, self.bucket), 'aws_endpoint': self.proxy.url, **keys}

    def daemon(self, *, node: int = 0, settings: Mapping[str, object] | None = None, **keys: object) -> SyncDaemon:
        """A daemon with this scene's mapping; ``keys`` are the mapping's, ``settings`` of the whole file."""
        return self._stack.enter_context(SyncDaemon(self.swift, [self.mapping(**keys)], node=node,
                                                    **{'processes': 1, **(settings or {})}))

    # -- both sides -------------------------------------------------------------------------

    def put(self, *names: str, data: bytes = b'data', **headers: str) -> None:
        for name in names:
            self.local.put_object(self.container, name, data, headers=headers)

    def delete(self, *names: str) -> None:
        for name in names:
            self.local.delete_object(self.container, name)

    def remote_names(self) -> set[str]:
        pages = self.client.get_paginator('list_objects_v2').paginate(Bucket=self.bucket, Prefix=self.scheme.prefix)
        return {entry['Key'].removeprefix(self.scheme.prefix) for page in pages for entry in page.get('Contents', [])}

    def remote_keys(self) -> set[str]:
        """Every key of the bucket, ours beside the objects included."""
        pages = self.client.get_paginator('list_objects_v2').paginate(Bucket=self.bucket)
        return {entry['Key'] for page in pages for entry in page.get('Contents', [])}

    def remote_get(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=self.scheme.key(name))['Body'].read())

    def remote_head(self, name: str) -> Any:
        return self.client.head_object(Bucket=self.bucket, Key=self.scheme.key(name))

    def delete_keys(self, *keys: str) -> None:
        """At the remote, behind the daemon's back."""
        for key in keys:
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def arrived(self, wanted: set[str]) -> None:
        """Wait until the remote holds exactly these names."""
        eventually(lambda: self.remote_names() == wanted, 'the right objects at the remote')

    # -- what went over the wire --------------------------------------------------------------

    def path(self, name: str = '') -> str:
        """Regular expression for requests about an object of the container, by default any."""
        return f'/{self.scheme.prefix}{name}' + ('$' if name else '')

    @property
    def side_path(self) -> str:
        """Regular expression for requests about side objects of large metadata."""
        return r'/\.metadata/AUTH_test/'

    @property
    def data_puts(self) -> list[Request]:
        """PUTs of objects' data, whatever became of them."""
        return [r for r in self.proxy.requests if r.method == 'PUT' and f'/{self.scheme.prefix}' in r.path
                and 'x-amz-copy-source' not in r.headers]

    @property
    def part_puts(self) -> list[Request]:
        """PUTs of parts of multipart uploads, whatever became of them."""
        return [r for r in self.proxy.requests if r.method == 'PUT' and 'partNumber=' in r.path
                and 'x-amz-copy-source' not in r.headers]

    @property
    def stored_parts(self) -> set[int]:
        """Numbers of the parts that the store took."""
        return {int(r.path.partition('partNumber=')[2].partition('&')[0]) for r in self.part_puts if r.status == 200}

    @property
    def bytes_sent(self) -> int:
        """Of all request bodies that said how long they were."""
        return sum(int(r.headers.get('content-length', 0)) for r in self.proxy.requests)

    @property
    def stored(self) -> Counter[str]:
        """How often each name's data was sent and taken."""
        return Counter(r.path.rpartition('/')[2] for r in self.data_puts if r.status == 200)


def main_pid(daemon: SyncDaemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


def worker_pids(daemon: SyncDaemon) -> list[int]:
    """The daemon's worker processes that live now."""
    pid = main_pid(daemon)
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split() if runs(int(child))]


def runs(pid: int) -> bool:
    """Whether a process lives; one that only waits to be reaped does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def pointers(daemon: SyncDaemon) -> list[int]:
    """How far the ledger says all rows are done, one number for each container database."""
    with daemon.ledger() as ledger:
        generations = [row.generation for row in ledger.generations()]
        return [row.verified_row for generation in generations for row in ledger.all_progress(generation)]


def waiting(daemon: SyncDaemon) -> dict[str, tuple[str, str]]:
    """Object name to (kind, reason) of what the ledger holds."""
    return {path.split('/', 2)[2]: value for path, value in daemon.failures().items()}
