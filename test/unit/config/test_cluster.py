"""The cluster's id: the same in every process, told by nothing but what all nodes share."""
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from s3_sync.config import Settings
from s3_sync.config.cluster import cluster_id


def settings(swift_dir: Path, **more: str) -> Settings:
    return Settings(swift_dir=str(swift_dir), **more)  # type: ignore[arg-type]


def with_conf(folder: Path, conf: str) -> Path:
    (folder / 'swift.conf').write_bytes(conf.encode('latin-1'))
    return folder


def test_the_configured_id_counts_before_everything_else(tmp_path: Path) -> None:
    folder = with_conf(tmp_path, '[swift-hash]\nswift_hash_path_suffix = s\n')
    assert cluster_id(settings(folder, cluster_id='berlin')) == 'berlin'


def test_without_one_it_is_made_from_the_hash_settings_alone(tmp_path: Path) -> None:
    folder = with_conf(tmp_path, '[swift-hash]\nswift_hash_path_prefix = p\nswift_hash_path_suffix = s\n')
    assert cluster_id(settings(folder)) == hashlib.sha256(b'p\0s').hexdigest()[:16]
    with_conf(tmp_path, '[swift-hash]\nswift_hash_path_prefix = p\nswift_hash_path_suffix = s\n'
                        '[storage-policy:0]\nname = gold\ndefault = yes\n')
    assert cluster_id(settings(folder)) == hashlib.sha256(b'p\0s').hexdigest()[:16]


def test_prefix_and_suffix_are_not_mistaken_for_one_another(tmp_path: Path) -> None:
    one = cluster_id(settings(with_conf(tmp_path, '[swift-hash]\nswift_hash_path_prefix = x\n')))
    other = cluster_id(settings(with_conf(tmp_path, '[swift-hash]\nswift_hash_path_suffix = x\n')))
    assert one and other and one != other


def test_hash_settings_may_hold_any_byte(tmp_path: Path) -> None:
    folder = with_conf(tmp_path, '[swift-hash]\nswift_hash_path_suffix = 50%\xff\n')
    assert cluster_id(settings(folder)) == hashlib.sha256(b'\x0050%\xff').hexdigest()[:16]


@pytest.mark.parametrize('conf', ['', 'no ini file', '[swift-hash]\n', '[other]\nswift_hash_path_suffix = s\n'])
def test_a_folder_without_hash_settings_has_no_id(tmp_path: Path, conf: str) -> None:
    assert cluster_id(settings(with_conf(tmp_path, conf))) == ''


def test_a_folder_that_is_not_there_has_no_id(tmp_path: Path) -> None:
    assert cluster_id(settings(tmp_path / 'nowhere')) == ''
