from __future__ import annotations

import pytest

from s3_sync.errors import ConfigError
from s3_sync.shunting.options import DEFAULT_CONF_FILE, RESTORE_CONCURRENCY, Options


def test_an_empty_section_means_the_defaults() -> None:
    assert Options.parse({}) == Options(DEFAULT_CONF_FILE, None, None, RESTORE_CONCURRENCY)


def test_everything_can_be_said() -> None:
    conf = {'conf_file': '/x.yaml', 'on_remote_error': 'partial', 'max_restore_size': '5GiB',
            'restore_concurrency': '9'}
    assert Options.parse(conf) == Options('/x.yaml', 'partial', 5 * 1024 ** 3, 9)


def test_plain_numbers_are_bytes() -> None:
    assert Options.parse({'max_restore_size': '4096'}).max_restore_size == 4096


def test_all_mistakes_are_told_at_once_with_their_file() -> None:
    with pytest.raises(ConfigError) as caught:
        Options.parse({'__file__': '/etc/swift/proxy-server.conf', 'on_remote_error': 'maybe',
                       'max_restore_size': 'huge', 'restore_concurrency': '0'})
    assert caught.value.file == '/etc/swift/proxy-server.conf'
    assert [problem.path for problem in caught.value.problems] == [
        'on_remote_error', 'max_restore_size', 'restore_concurrency']
