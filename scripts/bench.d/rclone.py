"""rclone between the same Swift and the same endpoint."""
from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass

from processes import Usage

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster

TRANSFERS = 16
OTHER_USER, OTHER_KEY = 'test2:tester2', 'testing2'
"""Of a second account of the trial cluster, which stands for another cluster."""
BEST = ('--use-server-modtime', '--update', '--checksum', '--fast-list')


@dataclass(frozen=True)
class Run:
    seconds: float
    usage: Usage


class Rclone:
    """``available`` False: it is not installed and nothing can be compared."""

    def __init__(self, cluster: SwiftCluster, endpoint: S3Endpoint, *, available: bool) -> None:
        self.available = available
        self._environment = {
            **{k: v for k, v in os.environ.items() if k != 'AWS_CA_BUNDLE'},
            'RCLONE_CONFIG': '/dev/null',
            'RCLONE_CONFIG_SWIFT_TYPE': 'swift', 'RCLONE_CONFIG_SWIFT_USER': cluster.user,
            'RCLONE_CONFIG_SWIFT_KEY': cluster.key, 'RCLONE_CONFIG_SWIFT_AUTH': cluster.auth_url,
            'RCLONE_CONFIG_OTHER_TYPE': 'swift', 'RCLONE_CONFIG_OTHER_USER': OTHER_USER,
            'RCLONE_CONFIG_OTHER_KEY': OTHER_KEY, 'RCLONE_CONFIG_OTHER_AUTH': cluster.auth_url,
            'RCLONE_CONFIG_S3_TYPE': 's3', 'RCLONE_CONFIG_S3_PROVIDER': 'Other',
            'RCLONE_CONFIG_S3_ENDPOINT': endpoint.url, 'RCLONE_CONFIG_S3_REGION': 'us-east-1',
            'RCLONE_CONFIG_S3_ACCESS_KEY_ID': endpoint.access_key,
            'RCLONE_CONFIG_S3_SECRET_ACCESS_KEY': endpoint.secret_key}

    def sync(self, container: str, bucket: str, *flags: str, remote: str = 's3') -> Run:
        """The whole process, from start to end. ``remote``: ``s3``, or ``other``: another account of the Swift."""
        started = time.monotonic()
        process = subprocess.Popen(['rclone', 'sync', f'swift:{container}', f'{remote}:{bucket}', '--transfers',
                                    str(TRANSFERS), '--stats', '0', *flags], env=self._environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f'rclone ended with {process.returncode}')
        return Run(time.monotonic() - started, Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))
