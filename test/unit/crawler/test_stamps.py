from __future__ import annotations

import os
from pathlib import Path

import pytest

from container_crawler.stamps import take_stamp, take_stamps

HASH = 'd41d8cd98f00b204e9800998ecf8427e'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / HASH
    folder.mkdir()
    for name in (f'{HASH}.db', f'{HASH}.db.pending', '.lock'):
        (folder / name).write_bytes(b'1234')
        os.utime(folder / name, (1_600_000_000, 1_600_000_000))
    return folder


def value(folder: Path) -> int:
    stamp = take_stamp(str(folder))
    assert stamp is not None
    return stamp.value


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (1_600_000_000, 1_600_000_000))


def test_nothing_changed_looks_the_same(folder: Path) -> None:
    before = value(folder)
    rewrite(folder / '.lock', b'something else')
    (folder / f'{HASH}.db-journal').touch()
    assert value(folder) == before


@pytest.mark.parametrize('name', [f'{HASH}.db', f'{HASH}.db.pending'])
def test_size_time_and_replacement_of_database_and_pending_file_show(folder: Path, name: str) -> None:
    values = [value(folder)]
    rewrite(folder / name, b'12345')
    values.append(value(folder))
    os.utime(folder / name, ns=(0, 1_600_000_000_000_000_001))
    values.append(value(folder))
    rewrite(folder / 'new', b'12345')
    os.utime(folder / 'new', ns=(0, 1_600_000_000_000_000_001))
    os.rename(folder / 'new', folder / name)
    values.append(value(folder))
    assert len(set(values)) == 4


def test_a_second_database_of_a_sharding_container_shows(folder: Path) -> None:
    before = value(folder)
    rewrite(folder / f'{HASH}_1600000000.00000.db', b'')
    assert value(folder) != before


def test_files_within_the_grain_of_file_times_settle_nothing(folder: Path) -> None:
    stamp = take_stamp(str(folder))
    assert stamp is not None and stamp.settled
    (folder / f'{HASH}.db.pending').touch()
    stamp = take_stamp(str(folder))
    assert stamp is not None and not stamp.settled


def test_files_dated_far_in_the_future_settle(folder: Path) -> None:
    """The clock was set back: it cannot give the same date again soon."""
    os.utime(folder / f'{HASH}.db', (4_000_000_000, 4_000_000_000))
    stamp = take_stamp(str(folder))
    assert stamp is not None and stamp.settled


def test_no_database_no_stamp(folder: Path, tmp_path: Path) -> None:
    (folder / f'{HASH}.db').unlink()
    assert take_stamp(str(folder)) is None
    assert take_stamp(str(tmp_path / 'nowhere')) is None
    assert take_stamp(str(folder / '.lock')) is None


def test_an_unreadable_folder_is_no_missing_one(folder: Path, tmp_path: Path) -> None:
    loop = tmp_path / 'loop'
    loop.symlink_to(loop)
    error, stamp = take_stamps([str(loop), str(folder)])
    assert isinstance(error, OSError)
    assert stamp == take_stamp(str(folder))
