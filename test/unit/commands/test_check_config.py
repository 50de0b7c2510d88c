from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from swift.common import utils

from container_crawler.swift_dir import load_swift_dir

from .conftest import SECRET, Node, entry


@pytest.fixture
def swift_dir(tmp_path: Path):
    """A folder that Swift can be read from; Swift's settings are afterwards as they were."""
    saved = utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX
    (tmp_path / 'swift.conf').write_text('[swift-hash]\nswift_hash_path_suffix = x\n')
    yield str(tmp_path)
    load_swift_dir(tmp_path)
    utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = saved


def _node(config: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(config, capsys)


def test_a_good_file_is_summarised_without_secrets(write_config, swift_dir, capsys) -> None:
    node = _node(write_config(entry('one'), swift_dir=swift_dir), capsys)
    out = node.run('check-config')
    assert f'one: copies to s3 http://127.0.0.1:9 bucket (generation {node.generation("one")})' in out
    assert out.endswith('good\n')
    found = json.loads(node.run('check-config', '--json'))
    assert found['containers'][0]['generation'] == node.generation('one')
    assert found['containers'][0]['remote']['secrets'] == {'secret': 'inline'}


def test_a_file_can_be_checked_on_a_machine_without_swift(new_node: Node) -> None:
    new_node.run('check-config', code=78)
    assert 'no-swift/swift.conf' in new_node.errors
    assert new_node.run('check-config', '--file-only').endswith('good\n')


@pytest.mark.parametrize('change', [
    {'containers': [{'nonsense': 1}, entry('one', copy_after=-1, aws_secret={'env': 'NOT_SET_ANYWHERE'})]},
    {'containers': [entry('one', retain_local=False)]},
    {'containers': []},
    {'status_dir': 1},
    None,
], ids=['keys', 'not-yet', 'nothing', 'types', 'no-file'])
def test_it_says_what_the_daemon_says_and_ends_as_the_daemon_does(
        write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str],
        change: dict[str, object] | None) -> None:
    config = write_config(entry('one'))
    if change is None:
        config.unlink()
    else:
        config.write_text(json.dumps(json.loads(config.read_text()) | change))
    node = _node(config, capsys)
    assert node.run('check-config', code=78) == ''
    daemon = subprocess.run([sys.executable, '-m', 's3_sync', '--config', str(config), '--once'], capture_output=True,
                            text=True, timeout=60)
    assert daemon.returncode == 78
    assert node.errors == daemon.stderr
    assert SECRET not in daemon.stderr


def test_a_file_of_later_jobs_only_is_good(write_config, capsys) -> None:
    config = write_config(migrations=[{'account': 'AUTH_a', 'container': 'c', 'aws_bucket': 'b',
                                       'aws_endpoint': 'http://127.0.0.1:9', 'aws_identity': 'k',
                                       'aws_secret': SECRET}])
    assert '1 migrations' in _node(config, capsys).run('check-config')
