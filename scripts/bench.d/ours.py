"""``swift-s3-sync`` as an operator runs it, watched from outside: its metrics, and what the kernel says it uses."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from processes import Usage, children, usage
from prometheus import Samples, scrape, total
from rclone import OTHER_KEY, OTHER_USER

from s3_sync.trial.ports import Ports
from s3_sync.trial.scratch import ScratchFolder
from s3_sync.trial.swift_cluster import SwiftCluster

DEADLINE = 900.0

@dataclass(frozen=True)
class Moment:
    """What had been done, and used, at one time."""

    at: float
    rows: int
    main: Usage
    workers: tuple[Usage, ...]

    @property
    def cpu(self) -> float:
        """Seconds of all processes since they began."""
        return self.main.cpu + sum(worker.cpu for worker in self.workers)


class Daemon:
    """One node's daemon with shipped defaults, running from ``__enter__`` to ``__exit__``; state stays for the next."""

    def __init__(self, cluster: SwiftCluster, mappings: Sequence[Mapping[str, object]], **settings: object) -> None:
        self._folder = ScratchFolder()
        self._ports = Ports()
        port = self._ports.reserve(cluster.bind_ip())
        self._url = f'http://{cluster.bind_ip()}:{port}/metrics'
        self._config = {**cluster.daemon_config(0, self._folder.path), 'metrics_port': port, **settings,
                        'containers': list(mappings)}
        self.log = self._folder.path / 'log'
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def once(self) -> float:
        """A whole ``--once`` run; its seconds."""
        started = time.monotonic()
        with self.log.open('ab') as log:
            subprocess.run([*self._command(), '--once'], stdout=log, stderr=log, check=True)
        return time.monotonic() - started

    def __enter__(self) -> Daemon:
        self.started = time.monotonic()
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def use(self, mappings: Sequence[Mapping[str, object]], **settings: object) -> None:
        """Another configuration for the next run."""
        self._config.update({**settings, 'containers': list(mappings)})

    def close(self) -> None:
        self._ports.close()
        self._folder.close()

    def scrape(self) -> Samples:
        """All metrics; empty while the daemon is starting."""
        try:
            return scrape(self._url)
        except OSError:
            self._check()
            return {}

    def moment(self, samples: Samples | None = None) -> Moment:
        samples = self.scrape() if samples is None else samples
        assert self.process is not None
        pid = self.process.pid
        return Moment(time.monotonic(), int(total(samples, 'onespace_objects_total')), usage(pid),
                      tuple(usage(child) for child in children(pid)))

    def wait_for_rows(self, count: int, *, every: float = 0.05) -> Moment:
        """Until at least so many rows ended."""
        began, rows_then = time.monotonic(), -1
        while time.monotonic() < began + DEADLINE:
            samples = self.scrape()
            rows = int(total(samples, 'onespace_objects_total'))
            if rows >= count:
                return self.moment(samples)
            if rows_then < 0 and samples:
                began, rows_then = time.monotonic(), rows
            # Asking costs it some milliseconds: seldom while the end is far.
            left = (count - rows) * (time.monotonic() - began) / (rows - rows_then) if rows > rows_then >= 0 else 0.0
            time.sleep(max(every, left * 0.6))
        raise TimeoutError(f'{count} rows were not done in {DEADLINE:.0f} s:\n{self.log.read_text()[-2000:]}')

    def wait_for_poll(self, *, every: float = 0.01) -> tuple[float, float]:
        """When the next poll began (monotonic, as near as a scrape can tell) and how long it took."""
        before = self.scrape()
        polls, seconds = total(before, 'onespace_poll_seconds_count'), total(before, 'onespace_poll_seconds_sum')
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            samples = self.scrape()
            now = time.monotonic()
            if total(samples, 'onespace_poll_seconds_count') > polls:
                took = total(samples, 'onespace_poll_seconds_sum') - seconds
                return now - took, took
            time.sleep(every)
        raise TimeoutError(f'no poll in {DEADLINE:.0f} s:\n{self.log.read_text()[-2000:]}')

    def _check(self) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f'the daemon ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}')

    def _command(self) -> list[str]:
        path = self._folder.path / 'config.json'
        path.touch(mode=0o600)
        path.write_text(json.dumps(self._config))
        return [sys.executable, '-W', 'ignore', '-m', 's3_sync', '--config', str(path), '--console']


def mapping(endpoint: Any, container: str, bucket: str, **keys: object) -> dict[str, object]:
    """Names in the bucket are the objects' own, so that rclone can be asked about the same bucket."""
    return {'account': 'AUTH_test', 'container': container, 'aws_bucket': bucket, 'aws_endpoint': endpoint.url,
            'aws_identity': endpoint.access_key, 'aws_secret': endpoint.secret_key, 'custom_prefix': '', **keys}


def swift_mapping(cluster: SwiftCluster, container: str, bucket: str, **keys: object) -> dict[str, object]:
    """To a container of the second account."""
    return {'account': 'AUTH_test', 'container': container, 'protocol': 'swift', 'aws_bucket': bucket,
            'aws_endpoint': cluster.auth_url, 'aws_identity': OTHER_USER, 'aws_secret': OTHER_KEY, **keys}
