"""Clients are made in processes of their own: Swift's loggers leave their sockets to the garbage collector."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from swift.common.ring import RingBuilder

from test.unit.crawler.cluster import Cluster

OWN = '''
[pipeline:main]
pipeline = catch_errors proxy-server
[app:proxy-server]
use = egg:swift#proxy
object_chunk_size = 4321
client_timeout = 5
[filter:catch_errors]
use = egg:swift#catch_errors
'''

SCRIPT = '''
import json, sys
from container_crawler.internal_client import make_internal_client
from container_crawler.swift_dir import load_swift_dir
swift_dir, conf = sys.argv[1:]
load_swift_dir(swift_dir)
client = make_internal_client(swift_dir, conf or None, user_agent='Crawler-of-ours')
proxy = client.app._pipeline_final_app
print(json.dumps({
    'swift_dir': proxy.swift_dir, 'ring': proxy.container_ring.serialized_path,
    'account_autocreate': proxy.account_autocreate, 'user_agent': client.user_agent,
    'chunk': proxy.object_chunk_size, 'client_timeout': proxy.client_timeout,
    'pipeline': [type(app).__name__ for app in client.app._pipeline]}))
'''


@pytest.fixture
def swift_dir(tmp_path: Path) -> str:
    cluster = Cluster(tmp_path / '100%')
    builder = RingBuilder(2, 1, 0)
    builder.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': 1, 'weight': 1, 'device': 'sda1'})
    builder.rebalance()
    for name in ('account', 'object'):
        builder.get_ring().save(os.path.join(cluster.swift_dir, f'{name}.ring.gz'))
    return cluster.swift_dir


def made(swift_dir: str, conf: str = '') -> dict[str, Any]:
    done = subprocess.run([sys.executable, '-c', SCRIPT, swift_dir, conf], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    client: dict[str, Any] = json.loads(done.stdout)
    return client


def test_the_built_in_pipeline_uses_the_rings_of_the_folder(swift_dir: str) -> None:
    client = made(swift_dir)
    assert client['swift_dir'] == swift_dir
    assert client['ring'].startswith(swift_dir)
    assert client['account_autocreate'] is True
    assert client['user_agent'] == 'Crawler-of-ours'
    assert client['pipeline'] == ['CatchErrorMiddleware', 'ProxyLoggingMiddleware', 'MemcacheMiddleware',
                                  'SymlinkMiddleware', 'Application']


def test_an_operators_file_is_used_with_the_rings_of_the_folder(swift_dir: str, tmp_path: Path) -> None:
    conf = tmp_path / 'internal-client.conf'
    conf.write_text(OWN)
    client = made(swift_dir, str(conf))
    assert (client['chunk'], client['swift_dir']) == (4321, swift_dir)


def test_no_conf_hurries_the_readers_of_this_process(swift_dir: str, tmp_path: Path) -> None:
    conf = tmp_path / 'internal-client.conf'
    conf.write_text(OWN)
    for client in (made(swift_dir), made(swift_dir, str(conf))):
        assert client['client_timeout'] > 86400


def test_a_missing_file_is_an_error(swift_dir: str) -> None:
    with pytest.raises(AssertionError, match='nowhere'):
        made(swift_dir, '/nowhere/internal-client.conf')
