from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from s3_sync.trial.processes import ServerError
from s3_sync.trial.swift_cluster import SwiftCluster


def test_the_configuration_of_the_shunt_is_written_before_the_cluster_runs_and_only_the_owner_reads_it(
        tmp_path: Path) -> None:
    cluster = SwiftCluster(tmp_path, proxies=2, shunt=Path('shunt.json'), shunt_proxies=[1])
    try:
        for settings in ({'containers': []}, {'containers': [], 'poll_interval': 7}):
            path = cluster.write_shunt_config(settings)
            assert path == cluster.shunt_config == cluster.swift_dir / 'shunt.json'
            found = json.loads(path.read_text())
            assert found['swift_dir'] == str(cluster.swift_dir)
            assert settings.items() <= found.items()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        cluster.close()


def test_a_cluster_without_a_shunt_has_no_configuration_for_one(tmp_path: Path) -> None:
    cluster = SwiftCluster(tmp_path)
    try:
        with pytest.raises(ServerError, match='without a shunt'):
            cluster.write_shunt_config({})
    finally:
        cluster.close()
