from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.config import Watcher
from s3_sync.errors import ConfigError

Make = Callable[..., Any]
LATER = FakeClock(4_000_000_000.0)
"""Every file has settled long ago."""


def text(**top: Any) -> str:
    return json.dumps({'workers': 1, **top})


def replace(path: Path, content: str) -> None:
    new = path.with_name('new')
    new.write_text(content)
    new.chmod(0o600)
    new.rename(path)


def test_a_bad_file_at_the_start_is_an_error(write: Make) -> None:
    with pytest.raises(ConfigError, match='workers: must be at least 1'):
        Watcher(write({'workers': 0}), LATER)


def test_nothing_changed_is_nothing_new(write: Make) -> None:
    watcher = Watcher(write(text()), LATER)
    first = watcher.settings
    assert watcher.check() is None
    assert watcher.settings is first


def test_a_file_that_stands_still_is_not_read_again(write: Make, tmp_path: Path) -> None:
    watcher = Watcher(write(text()), LATER)
    path = tmp_path / 'sync.json'
    before = path.stat()
    path.write_text(text(workers=2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watcher.check() is None, 'same inode, size and time: only a reading could tell'
    fresh = watcher.check(force=True)
    assert fresh is not None
    assert fresh.workers == 2


def test_a_rewritten_and_a_renamed_file_are_seen(write: Make, tmp_path: Path) -> None:
    watcher = Watcher(write(text()), LATER)
    write(text(workers=22))
    fresh = watcher.check()
    assert fresh is not None
    assert fresh.workers == 22
    replace(tmp_path / 'sync.json', text(workers=3))
    fresh = watcher.check()
    assert fresh is not None
    assert fresh is watcher.settings
    assert fresh.workers == 3
    assert watcher.check() is None


def test_a_swapped_link_is_seen(tmp_path: Path) -> None:
    for version in (1, 2):
        folder = tmp_path / f'v{version}'
        folder.mkdir()
        (folder / 'sync.json').write_text(text(workers=version))
        os.utime(folder / 'sync.json', (1_000_000_000, 1_000_000_000))
    (tmp_path / 'data').symlink_to('v1')
    (tmp_path / 'sync.json').symlink_to('data/sync.json')
    watcher = Watcher(tmp_path / 'sync.json', LATER)
    assert watcher.settings.workers == 1
    (tmp_path / 'next').symlink_to('v2')
    (tmp_path / 'next').rename(tmp_path / 'data')
    fresh = watcher.check()
    assert fresh is not None
    assert fresh.workers == 2


def test_a_second_write_within_one_tick_of_the_clock_is_seen(write: Make, tmp_path: Path) -> None:
    path = tmp_path / 'sync.json'
    write(text(workers=1))
    stamp = path.stat()
    clock = FakeClock(stamp.st_mtime)
    watcher = Watcher(path, clock)
    path.write_text(text(workers=2))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    fresh = watcher.check()
    assert fresh is not None
    assert fresh.workers == 2
    clock.advance(10)
    assert watcher.check() is None


def test_a_touched_file_with_the_same_meaning_is_no_change(write: Make, tmp_path: Path) -> None:
    watcher = Watcher(write(text()), LATER)
    (tmp_path / 'sync.json').write_text(text() + '\n\n')
    assert watcher.check() is None


def test_the_last_good_settings_are_kept_and_the_error_is_reported_once(
        write: Make, tmp_path: Path, expected_warnings: Make, caplog: pytest.LogCaptureFixture) -> None:
    expected_warnings('the last good one stays in use')
    watcher = Watcher(write(text(workers=7)), LATER)
    write(text(workers=0))
    for _ in range(3):
        assert watcher.check() is None
    assert watcher.settings.workers == 7
    assert watcher.error is not None
    assert 'workers: must be at least 1' in str(watcher.error)
    write(text(workers=0) + ' ')
    assert watcher.check() is None
    assert len(caplog.records) == 1
    write(text(workers=8))
    assert watcher.check() is not None
    assert watcher.error is None


def test_going_back_to_the_old_text_clears_the_error_without_new_settings(
        write: Make, expected_warnings: Make) -> None:
    expected_warnings('the last good one stays in use')
    watcher = Watcher(write(text()), LATER)
    write('{')
    assert watcher.check() is None
    write(text())
    assert watcher.check() is None
    assert watcher.error is None


def test_a_file_that_vanishes_and_returns_is_survived(write: Make, tmp_path: Path, expected_warnings: Make) -> None:
    expected_warnings('cannot be read: No such file')
    watcher = Watcher(write(text()), LATER)
    (tmp_path / 'sync.json').unlink()
    assert watcher.check() is None
    assert watcher.error is not None
    write(text(workers=2))
    fresh = watcher.check()
    assert fresh is not None
    assert fresh.workers == 2


def test_a_changed_secret_file_is_a_change(write: Make, tmp_path: Path, s3: Make, expected_warnings: Make) -> None:
    expected_warnings('cannot read the secret file')
    key = tmp_path / 'key'
    key.write_text('one')
    key.chmod(0o600)
    path = write({'status_dir': '/x', 'containers': [s3(aws_secret={'file': 'key'})]})
    watcher = Watcher(path, LATER)
    replace(key, 'two')
    fresh = watcher.check()
    assert fresh is not None
    secret = fresh.containers[0].remote.secret
    assert secret is not None
    assert secret.reveal() == 'two'
    key.unlink()
    assert watcher.check() is None
    replace(key, 'three')
    fresh = watcher.check()
    assert fresh is not None
    secret = fresh.containers[0].remote.secret
    assert secret is not None
    assert secret.reveal() == 'three'


def test_secrets_of_the_environment_are_the_given_ones(write: Make, s3: Make) -> None:
    path = write({'status_dir': '/x', 'containers': [s3(aws_secret={'env': 'ONLY_HERE'})]})
    watcher = Watcher(path, LATER, {'ONLY_HERE': 'hunter2'})
    secret = watcher.settings.containers[0].remote.secret
    assert secret is not None
    assert secret.reveal() == 'hunter2'
