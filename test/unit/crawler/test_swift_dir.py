from __future__ import annotations

from pathlib import Path

import pytest
from swift.common import constraints, db, storage_policy, utils

from container_crawler.swift_dir import SwiftDirError, load_swift_dir


def write(folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / 'swift.conf').write_text(text)
    return str(folder)


def test_hash_settings_policies_and_constraints_come_from_the_folder(tmp_path: Path) -> None:
    load_swift_dir(write(tmp_path / 'a', '''
[swift-hash]
swift_hash_path_prefix = before
swift_hash_path_suffix = after
[storage-policy:0]
name = gold
default = yes
[storage-policy:7]
name = silver
[swift-constraints]
max_file_size = 12345
max_meta_count = 33
'''))
    assert (utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX) == (b'before', b'after')
    assert storage_policy.POLICIES.get_by_name('silver').idx == 7
    assert constraints.MAX_FILE_SIZE == 12345
    assert db.MAX_META_COUNT == 33, 'modules that copied the constant follow'
    assert constraints.MAX_HEADER_COUNT == 33 + 36


def test_another_folder_replaces_everything(tmp_path: Path) -> None:
    load_swift_dir(write(tmp_path / 'a', '[swift-hash]\nswift_hash_path_prefix = x\nswift_hash_path_suffix = one\n'
                                         '[swift-constraints]\nmax_file_size = 5\n'))
    load_swift_dir(write(tmp_path / 'b', '[swift-hash]\nswift_hash_path_suffix = two\n'))
    assert (utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX) == (b'', b'two')
    default = constraints.DEFAULT_CONSTRAINTS['max_file_size']
    assert default == constraints.MAX_FILE_SIZE


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / 'a', '[swift-hash]\nswift_hash_path_suffix = one\n')
    load_swift_dir(folder)
    write(tmp_path / 'a', '[swift-hash]\nswift_hash_path_suffix = new\n')
    load_swift_dir(folder)
    assert utils.HASH_PATH_SUFFIX == b'new'


@pytest.mark.parametrize('text', [
    '', 'no section', '[swift-hash]\n',
    '[swift-hash]\nswift_hash_path_suffix = s\n[storage-policy:x]\nname = a\n',
    '[swift-hash]\nswift_hash_path_suffix = s\n[swift-constraints]\nmax_file_size = many\n',
])
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(SwiftDirError, match='swift.conf'):
        load_swift_dir(write(tmp_path / 'a', text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SwiftDirError, match='swift.conf'):
        load_swift_dir(str(tmp_path / 'nowhere'))
