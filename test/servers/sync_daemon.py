"""``swift-s3-sync`` as an operator runs it: a configuration file, a process, its messages and exit code."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3_sync.ledger import Ledger
from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster

DEADLINE = 60.0


def s3_mapping(endpoint: S3Endpoint | MotoEndpoint, container: str, bucket: str, *, account: str = 'AUTH_test',
               **keys: object) -> dict[str, object]:
    """An entry of ``containers`` with an S3 remote."""
    return {'account': account, 'container': container, 'aws_bucket': bucket, 'aws_endpoint': endpoint.url,
            'aws_identity': endpoint.access_key, 'aws_secret': endpoint.secret_key, **keys}


def swift_mapping(cluster: SwiftCluster, container: str, bucket: str, **keys: object) -> dict[str, object]:
    """An entry of ``containers`` whose remote is a Swift with v1 authentication (test2's account)."""
    return {'account': 'AUTH_test', 'container': container, 'protocol': 'swift', 'aws_bucket': bucket,
            'aws_endpoint': cluster.auth_url, 'aws_identity': 'test2:tester2', 'aws_secret': 'testing2', **keys}


def keystone_mapping(keystone: Keystone, container: str, bucket: str, **keys: object) -> dict[str, object]:
    """An entry of ``containers`` whose remote is a Swift behind Keystone, without credentials."""
    return {'account': 'AUTH_test', 'container': container, 'protocol': 'swift', 'aws_bucket': bucket,
            'aws_endpoint': keystone.url, 'auth_type': 'keystone_v3', **keys}


def keystone_login(keystone: Keystone, user: ProjectUser) -> dict[str, object]:
    """Keys of a mapping: this user's password."""
    return {'aws_identity': user.user, 'aws_secret': user.password, 'project_name': user.project,
            'project_domain_name': keystone.domain, 'user_domain_name': keystone.domain}


class SyncDaemon:
    """One node's daemon with a status folder of its own. ``close`` stops what runs and removes it."""

    def __init__(self, cluster: SwiftCluster, mappings: Sequence[Mapping[str, object]], *, node: int = 0,
                 **settings: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix='sync-'))
        self.status_dir = self.folder / 'status'
        self.status_dir.mkdir()
        self.config_file = self.folder / 'sync.json'
        self.log = self.folder / 'log'
        self._base = {**cluster.daemon_config(node, self.status_dir), 'processes': 1, 'poll_interval': 0.3,
                      'verification_slack': 0, **settings}
        self.configure(mappings)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, mappings: Sequence[Mapping[str, object]], **settings: object) -> None:
        """Write the configuration, atomically as editors do."""
        self._base.update(settings)
        new = self.config_file.with_suffix('.new')
        new.touch(mode=0o600)
        new.write_text(json.dumps({**self._base, 'containers': list(mappings)}))
        new.replace(self.config_file)

    def once(self, expect: int | None = 0, env: Mapping[str, str] | None = None) -> str:
        """Run with ``--once``; everything it said. ``expect``: the exit code it must end with."""
        done = subprocess.run(self._command('--once'), stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
                              timeout=180, env={**os.environ, **(env or {})}, check=False)
        said = done.stdout.decode()
        assert expect is None or done.returncode == expect, f'exit {done.returncode}, expected {expect}:\n{said}'
        return said

    def start(self) -> None:
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)

    def stop(self) -> int:
        """SIGTERM; the exit code. It must come within the 10 s of DESIGN 5 (and some for a loaded machine)."""
        return self._end(signal.SIGTERM)

    def kill9(self) -> None:
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        if self.process is not None:
            self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, signum: int) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(signum)
        return process.wait(20)

    def __enter__(self) -> SyncDaemon:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def status(self) -> str:
        """What ``1space status`` prints."""
        return subprocess.run([sys.executable, '-m', 's3_sync.command', 'status', '--config', str(self.config_file)],
                              stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode()

    def ledger(self) -> Ledger:
        """For reading, and for an operator's changes; close it."""
        return Ledger.open(str(self.status_dir), owner=False)

    def failures(self) -> dict[str, tuple[str, str]]:
        """Object path to (kind, reason) of all that waits or failed, deferred work included."""
        with self.ledger() as ledger:
            return {w.path: (w.kind, w.reason) for kind in ('deferred', 'failed', 'permanent')
                    for w in ledger.failures(kind=kind)}  # type: ignore[arg-type]

    def _command(self, *flags: str) -> list[str]:
        return [sys.executable, '-m', 's3_sync', '--config', str(self.config_file), '--console', *flags]


def eventually(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait until ``condition`` gives something true; that."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, f'still not so after {seconds:g} s: {what}'
        time.sleep(0.1)
