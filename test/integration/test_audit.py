"""``1space audit`` beside real servers: what was broken behind the daemon's back is found, told, and mended."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.scene import Scene
from test.servers.sync_daemon import SyncDaemon


class Audited:
    """A scene, its daemon, and ``1space audit`` with that daemon's configuration."""

    def __init__(self, sync: SyncDaemon) -> None:
        self.sync = sync
        self.report = sync.folder / 'report'

    def __call__(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """The summary. Everything just happened, so there is no grace."""
        done = subprocess.run(
            [sys.executable, '-m', 's3_sync.command', 'audit', '--config', str(self.sync.config_file), '--json',
             '--grace', '0', '--report', str(self.report), *words], capture_output=True, text=True, timeout=180,
            env=os.environ, check=False)
        assert done.returncode == expect, f'exit {done.returncode}:\n{done.stdout}{done.stderr}{self.told}'
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    @property
    def told(self) -> dict[str, tuple[str, str]]:
        """Object name to verdict and reason, of the last report."""
        lines = [json.loads(line) for line in self.report.read_text().splitlines()]
        assert lines[-1]['type'] == 'summary'
        return {line['object']: (line['verdict'], line['reason']) for line in lines[:-1]}


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, container: str, bucket: str) -> Iterator[Scene]:
    with Scene(swift, s3, container, bucket) as made:
        yield made


def test_what_was_broken_at_an_s3_store_is_found_exactly_and_mended(scene: Scene, s3_client: Any) -> None:
    names = ['gone', 'overwritten', 'renamed', 'side', 'fine', 'größe/ü', 'a b?c#d', '%41', 'deleted']
    scene.put(*names)
    scene.local.post_object(scene.container, 'side', {f'X-Object-Meta-{n}': 'v' * 90 for n in range(40)})
    scene.local.post_object(scene.container, 'renamed', {'X-Object-Meta-Colour': 'blue'})
    sync = scene.daemon()
    sync.once()
    audit = Audited(sync)
    assert audit('--metadata')['verdicts']['same'] == len(names)

    scene.delete_keys(scene.scheme.key('gone'))
    s3_client.put_object(Bucket=scene.bucket, Key=scene.scheme.key('overwritten'), Body=b'evil')
    head = scene.remote_head('renamed')
    s3_client.copy_object(Bucket=scene.bucket, Key=scene.scheme.key('renamed'),
                          CopySource={'Bucket': scene.bucket, 'Key': scene.scheme.key('renamed')},
                          MetadataDirective='REPLACE', Metadata={**head['Metadata'], 'colour': 'red'})
    scene.delete_keys(scene.scheme.side_key('side'))
    s3_client.put_object(Bucket=scene.bucket, Key=scene.scheme.key('stranger'), Body=b'hello')

    found = audit('--metadata', expect=3)
    assert audit.told == {
        'gone': ('missing', 'not-there'), 'overwritten': ('differs', 'content'), 'renamed': ('differs', 'metadata'),
        'side': ('differs', 'metadata'), 'stranger': ('extra', 'foreign')}
    assert (found['differences'], found['complete'], found['verdicts']['same']) == (5, True, len(names) - 4)

    assert audit('--metadata', '--repair', expect=3)['repair'] == {'queued': 4, 'held': 0}
    sync.once()
    assert scene.remote_get('overwritten') == b'data'
    audit('--metadata', expect=3)
    assert audit.told == {'stranger': ('extra', 'foreign')}, 'nobody has proven that it may go'
    scene.delete_keys(scene.scheme.key('stranger'))
    assert audit('--metadata')['differences'] == 0
