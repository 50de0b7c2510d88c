"""What the steps of ``1space try`` stand on: the running servers, one configuration, looks at both sides."""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from s3_sync.trial.processes import Processes
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster

ONCE_SECONDS = 180.0


@dataclass
class Demo:
    """The running servers and what was found wrong so far."""

    swift: SwiftCluster
    s3: S3Endpoint
    processes: Processes
    folder: Path
    metrics_port: int
    out: TextIO
    wrong: list[str] = field(default_factory=list)
    number: int = 0

    @property
    def config(self) -> Path:
        return self.folder / 'sync.json'

    def step(self, title: str) -> None:
        self.number += 1
        self.say(f'\n{self.number}. {title}')

    def say(self, text: str = '') -> None:
        print(text, file=self.out, flush=True)

    def expect(self, true: bool, what: str) -> None:
        """Show a fact that was checked; a wrong one makes the exit code 1."""
        self.say(f'   {"ok   " if true else "WRONG"} {what}')
        if not true:
            self.wrong.append(what)

    # -- doing ---------------------------------------------------------------------------

    def configure(self, *mappings: dict[str, object]) -> None:
        """Write the configuration with these mappings, each to a bucket of the S3 endpoint."""
        remote = {'account': self.swift.account, 'protocol': 's3', 'aws_endpoint': self.s3.url,
                  'aws_identity': self.s3.access_key, 'aws_secret': self.s3.secret_key}
        (self.folder / 'status').mkdir(exist_ok=True)
        self.config.touch(mode=0o600)  # it holds the keys
        self.config.write_text(json.dumps(self.swift.daemon_config(
            0, self.folder / 'status', poll_interval=1, metrics_port=self.metrics_port,
            containers=[{**remote, **mapping} for mapping in mappings]), indent=2, ensure_ascii=False))

    @property
    def daemon_command(self) -> list[str]:
        return [sys.executable, '-m', 's3_sync', '--config', str(self.config)]

    def sync_once(self) -> None:
        self.processes.run_once('sync-once', [*self.daemon_command, '--once', '--console'], seconds=ONCE_SECONDS)
        self.say('   exit code 0')

    def show(self, name: str, *command: str) -> None:
        """Run a command of ours and show what it prints."""
        self.processes.run_once(name, [sys.executable, '-m', *command])
        for line in self.processes.log_path(name).read_text('utf-8').splitlines():
            self.say(f'   {line}')

    # -- looking -------------------------------------------------------------------------

    @contextmanager
    def swift_client(self) -> Iterator[Any]:
        client = self.swift.client()
        try:
            yield client
        finally:
            client.close()

    @contextmanager
    def s3_client(self) -> Iterator[Any]:
        client = self.s3.client()
        try:
            yield client
        finally:
            client.close()

    def copies(self, bucket: str) -> dict[str, dict[str, Any]]:
        """Listing entries of a bucket by object name; keys are ``<hash>/<account>/<container>/<object>``."""
        with self.s3_client() as client:
            listed = client.list_objects_v2(Bucket=bucket).get('Contents', [])
        return {entry['Key'].split('/', 3)[-1]: entry for entry in listed
                if entry['Key'].split('/')[1] == self.swift.account}

    def body(self, bucket: str, copy: dict[str, Any]) -> bytes:
        with self.s3_client() as client, client.get_object(Bucket=bucket, Key=copy['Key'])['Body'] as body:
            return bytes(body.read())

    def head(self, bucket: str, copies: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
        """{} when there is no such copy, so that the check on it fails instead of the demonstration."""
        if name not in copies:
            return {}
        with self.s3_client() as client:
            return dict(client.head_object(Bucket=bucket, Key=copies[name]['Key']))
