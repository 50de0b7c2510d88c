"""The clusters that Swift's tests run against: plain, with an idle shunt, and with every container mapped.

Each lane (process of tests) has a cluster of its own, as the tests share
accounts, and its own remote; only the S3 server is one for all, with a bucket
for each lane.
"""
from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.trial.swift_rings import Policy

ACCOUNTS = ('AUTH_test', 'AUTH_test2', 'AUTH_test5', 'SERVICE_test', 'AUTH_admin')
"""All that the tests use."""
STORAGE_DOMAIN = 'functional.example.com'

OPTIONS: dict[str, dict[str, object]] = {
    'tempauth': {'reseller_prefix': 'AUTH, SERVICE', 'SERVICE_require_group': 'service',
                 'user_test_tester2': 'testing2 .admin', 'user_test5_tester5': 'testing5 service'},
    'proxy-server': {'allow_open_expired': 'true'},
    'DEFAULT': {'cors_allow_origin': ''},  # a test has an origin that is not allowed
}
FILTERS = (
    ('domain_remap', {'use': 'egg:swift#domain_remap', 'storage_domain': STORAGE_DOMAIN}, 'listing_formats'),
    ('etag-quoter', {'use': 'egg:swift#etag_quoter'}, 'listing_formats'),
    ('formpost', {'use': 'egg:swift#formpost'}, 's3api'),
    ('staticweb', {'use': 'egg:swift#staticweb'}, 'copy'),
)
"""Filters beside the usual ones, so that fewer tests are left out; each goes before the filter named last."""

TEST_CONF = """[func_test]
auth_uri = {url}/auth/v1.0
account = test
username = tester
password = testing
s3_access_key = test:tester
s3_secret_key = testing
account2 = test2
username2 = tester2
password2 = testing2
username3 = tester3
password3 = testing3
s3_access_key2 = test:tester2
s3_secret_key2 = testing2
s3_access_key3 = test:tester3
s3_secret_key3 = testing3
account5 = test5
username5 = tester5
password5 = testing5
service_prefix = SERVICE
account6 = admin
username6 = admin
password6 = admin
storage_domain = {domain}
collate = C
insecure = no
"""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Worlds:
    """The clusters, one for each lane, all running."""

    clusters: Sequence[SwiftCluster]
    requests: Callable[[], int] | None
    """How many requests the remotes have had so far; None where there is no remote."""


@dataclass(frozen=True)
class Remotes:
    """What stands behind the clusters of a mode."""

    settings: Sequence[Settings]
    """The shunt's configuration for each lane."""
    requests: Callable[[], int] | None = None


Prepare = Callable[[ExitStack, int], Remotes]
"""Starts the remotes for so many lanes."""


def write_test_conf(path: Path, cluster: SwiftCluster) -> None:
    """What Swift's tests read in place of /etc/swift/test.conf."""
    path.write_text(TEST_CONF.format(url=cluster.url, domain=STORAGE_DOMAIN))


@contextmanager
def worlds(mode: str, lanes: int) -> Iterator[Worlds]:
    """Everything that a mode needs, from beginning to end of the block."""
    with ExitStack() as stack:
        if mode == 'a':
            yield Worlds([stack.enter_context(_cluster()) for _ in range(lanes)], None)
            return
        remotes = PREPARE[mode](stack, lanes)
        clusters = []
        for settings in remotes.settings:
            cluster = _cluster(shunt=Path('cloud-shunt.json'))
            stack.callback(cluster.close)
            cluster.write_shunt_config(settings)
            clusters.append(cluster.start())
        yield Worlds(clusters, remotes.requests)


def _cluster(**options: Any) -> SwiftCluster:
    return SwiftCluster(memcached=bool(shutil.which('memcached')), policies=(Policy('gold', default=True),
                                                                             Policy('silver')),
                        proxy_options=OPTIONS, proxy_filters=FILTERS, **options)


def _no_mapping(stack: ExitStack, lanes: int) -> Remotes:
    return Remotes([{} for _ in range(lanes)])


def _merged_s3(stack: ExitStack, lanes: int) -> Remotes:
    endpoint = stack.enter_context(S3Endpoint())
    buckets = [endpoint.make_bucket(f'lane-{lane}') for lane in range(lanes)]
    return Remotes([{'containers': [_s3(endpoint) | _merged(account, bucket) for account in ACCOUNTS]}
                    for bucket in buckets], partial(_s3_requests, endpoint))


def _merged_swift(stack: ExitStack, lanes: int) -> Remotes:
    remotes = [stack.enter_context(SwiftCluster()) for _ in range(lanes)]
    return Remotes([{'containers': [_swift(remote) | _merged(account, f'{account}-') for account in ACCOUNTS]}
                    for remote in remotes], partial(_swift_requests, remotes))


def _migration_s3(stack: ExitStack, lanes: int) -> Remotes:
    endpoint = stack.enter_context(S3Endpoint())
    return Remotes([_migrations(_s3(endpoint))] * lanes, partial(_s3_requests, endpoint))


def _migration_swift(stack: ExitStack, lanes: int) -> Remotes:
    remotes = [stack.enter_context(SwiftCluster()) for _ in range(lanes)]
    return Remotes([_migrations(_swift(remote)) for remote in remotes], partial(_swift_requests, remotes))


def _s3(endpoint: S3Endpoint) -> Settings:
    return {'protocol': 's3', 'aws_endpoint': endpoint.url, 'aws_identity': endpoint.access_key,
            'aws_secret': endpoint.secret_key}


def _swift(remote: SwiftCluster) -> Settings:
    return {'protocol': 'swift', 'aws_endpoint': remote.auth_url, 'aws_identity': remote.user,
            'aws_secret': remote.key}


def _merged(account: str, bucket: str) -> Settings:
    return {'account': account, 'container': '/*', 'aws_bucket': bucket, 'merge_namespaces': True,
            'restore_object': True}


def _migrations(remote: Settings) -> Settings:
    return {'migrations': [remote | {'account': account, 'aws_bucket': '/*'} for account in ACCOUNTS]}


def _s3_requests(endpoint: S3Endpoint) -> int:
    """As the endpoint counts them itself."""
    with urlopen(endpoint.metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    return round(sum(float(line.rsplit(' ', 1)[1]) for line in lines
                     if line.startswith('SeaweedFS_s3_request_total{')))


def _swift_requests(remotes: Sequence[SwiftCluster]) -> int:
    """Lines of the proxies' logs about requests of accounts."""
    return sum(log.read_text(errors='replace').count(' /v1/AUTH_')
               for remote in remotes for log in remote.logs.glob('proxy-server-*.log'))


PREPARE: dict[str, Prepare] = {
    'b': _no_mapping,
    'c-s3': _merged_s3,
    'c-swift': _merged_swift,
    'c-migrate-s3': _migration_s3,
    'c-migrate-swift': _migration_swift,
}
MODES = ('a', *PREPARE)
