"""The sweep of an account on a real Swift: what goes is exactly what nothing refers to and the remote still holds."""
from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from swift.common.utils import hash_path
from swiftclient import Connection

from container_crawler.rows import Row
from container_crawler.swift_dir import load_swift_dir
from s3_sync.config import load
from s3_sync.ledger import Ledger, RemovalTotals
from s3_sync.ledger.ledger import FILE_NAME
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import Removal
from s3_sync.wire.keys import KeyScheme
from test.servers.large_objects import md5, names, put_manifest
from test.servers.scene import worker_pids
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping

OWNER_ETAG = md5(b'owner')


class Stage:
    """An account's containers and a daemon whose ledger is filled by hand. The mapping itself selects nothing."""

    def __init__(self, swift: SwiftCluster, s3: S3Endpoint, client: Connection, bucket: str,
                 fresh_name: Callable[[str], str]) -> None:
        self.swift, self.client = swift, client
        self.container = fresh_name('c')
        self.segments = f'{self.container}_segments'
        self.bucket = bucket
        for name in (self.container, self.segments):
            client.put_container(name)
        self.remote = s3.client()
        self.key = KeyScheme('AUTH_test', self.container, None).key
        self.mapping = s3_mapping(s3, self.container, bucket, name='archive', retain_local=False, segments_grace=0,
                                  exclude_pattern='.*')
        self.daemon = SyncDaemon(swift, [self.mapping])
        self.archived('owner')

    def close(self) -> None:
        self.daemon.close()
        self.remote.close()

    def archived(self, owner: str, etag: str = OWNER_ETAG) -> None:
        """The remote has this manifest's object."""
        self.remote.put_object(Bucket=self.bucket, Key=self.key(owner), Body=b'all', Metadata={
            '1space-etag': etag, '1space-timestamp': '1600000000.00000'})

    def put(self, name: str, data: bytes = b'segment', container: str = '') -> None:
        self.client.put_object(container or self.segments, name, data)

    def waits(self, *segments: str, data: bytes = b'segment', owner: str = 'owner', container: str = '',
              due: float = 0.0) -> None:
        """Put these segments, and have them wait for the sweep."""
        for name in segments:
            self.put(name, data, container)
        with self.ledger() as ledger:
            ledger.add_removals(self.generation, 'AUTH_test', [
                self.removal(name, data, owner, container, due) for name in segments])

    def removal(self, name: str, data: bytes = b'segment', owner: str = 'owner', container: str = '',
                due: float = 0.0) -> Removal:
        row = Row(0, name, '', len(data), '', md5(data), False, 0)
        return Removal(container or self.segments, row, due, True, f'{self.container}/{owner}', OWNER_ETAG)

    def ledger(self) -> Ledger:
        return Ledger.open(str(self.daemon.status_dir))

    @property
    def generation(self) -> str:
        return load(self.daemon.config_file).containers[0].generation

    def slo(self, name: str, *segments: str, container: str = '', **changes: object) -> None:
        entries = [{'path': f'/{self.segments}/{s}', **changes} for s in segments]
        put_manifest(self.client, container or self.container, name, entries)

    def file_of(self, container: str, name: str | None = None) -> Path:
        """Where the only replica of a container's database, without suffix, or an object's files lie."""
        load_swift_dir(str(self.swift.swift_dir))
        key = hash_path('AUTH_test', container, name)
        devices = Path(str(self.swift.daemon_config(0, self.daemon.status_dir)['devices']))
        folder, = (path for path in devices.rglob(key) if path.is_dir())
        return folder / key if name is None else folder

    def left(self, container: str = '') -> set[str]:
        return names(self.client, container or self.segments)

    def reasons(self) -> dict[str, int]:
        with Ledger.open(str(self.daemon.status_dir), owner=False) as ledger:
            return {r.reason: r.count for r in ledger.removal_reasons(self.generation)}


@pytest.fixture(scope='module')
def clean_swift() -> Iterator[SwiftCluster]:
    """A cluster in whose account no other test has left anything unreadable."""
    with SwiftCluster() as cluster:
        yield cluster


@pytest.fixture
def stage(clean_swift: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> Iterator[Stage]:
    client = clean_swift.client()
    made = Stage(clean_swift, s3, client, bucket, fresh_name)
    yield made
    made.close()
    client.close()


def test_exactly_the_unreferenced_segments_go(stage: Stage, fresh_name: Callable[[str], str]) -> None:
    stage.waits('free/1', 'free/2', 'ö%41/\n', 'shared', 'ranged', 'inner', 'of-inner', 'dlo/1', 'dlo2', 'linked',
                'versioned', 'old-version')
    stage.slo('m', 'shared')
    stage.slo('part', 'ranged', range='1-2')
    stage.slo('sub', 'of-inner', container=stage.segments)
    stage.slo('outer', 'sub')
    stage.slo('in-data', 'inner')
    put_manifest(stage.client, stage.container, 'inline', [{'data': 'AAAA'}, {'path': f'/{stage.segments}/inner'}])
    stage.client.put_object(stage.container, 'dlo', b'', headers={'X-Object-Manifest': f'{stage.segments}/dlo%2F'})
    stage.client.put_object(stage.container, 'empty', b'')
    stage.client.put_object(stage.container, 'link', b'', headers={'X-Symlink-Target': f'{stage.segments}/linked'})
    other = fresh_name('versioned')
    stage.client.put_container(other, {'X-Versions-Enabled': 'true'})
    stage.slo('kept', 'old-version', container=other)
    stage.slo('kept', 'versioned', container=other)
    said = stage.daemon.once()
    assert stage.left() == {'shared', 'ranged', 'inner', 'sub', 'of-inner', 'dlo/1', 'linked', 'versioned',
                            'old-version'}, said
    assert stage.reasons() == {'referenced': 8}
    with stage.ledger() as ledger:
        assert ledger.removal_totals() == {stage.generation: RemovalTotals(0, 8, 8 * len(b'segment'))}
        assert ledger.totals(stage.generation)[stage.generation]['segments_removed'] == 4


def test_segments_of_a_manifest_that_goes_are_free_in_the_next_sweep_of_the_same_run(stage: Stage) -> None:
    stage.waits('leaf')
    stage.slo('sub', 'leaf', container=stage.segments)
    manifest = stage.client.get_object(stage.segments, 'sub', query_string='multipart-manifest=get')[1]
    logical = stage.client.head_object(stage.segments, 'sub')
    with stage.ledger() as ledger:
        row = Row(0, 'sub', '', int(logical['content-length']), '', logical['etag'].strip('"'), False, 0)
        ledger.add_removals(stage.generation, 'AUTH_test', [
            Removal(stage.segments, row, 0.0, True, f'{stage.container}/owner', OWNER_ETAG)])
    assert manifest
    said = stage.daemon.once()
    assert stage.left() == set(), said
    assert stage.reasons() == {}


def test_a_segment_overwritten_meanwhile_stays_and_is_forgotten(stage: Stage) -> None:
    stage.waits('same', 'other', 'longer', 'gone')
    stage.put('other', b'another')
    stage.put('longer', b'segments')
    stage.client.delete_object(stage.segments, 'gone')
    said = stage.daemon.once()
    assert stage.left() == {'other', 'longer'}, said
    assert stage.reasons() == {} and 'another version' in said


def test_nothing_goes_whose_manifest_the_remote_no_longer_holds(stage: Stage) -> None:
    stage.archived('replaced', md5(b'a newer version'))
    stage.waits('of-replaced', owner='replaced')
    stage.waits('of-deleted', owner='deleted')
    stage.waits('of-owner')
    said = stage.daemon.once()
    assert stage.left() == {'of-replaced', 'of-deleted'}, said
    assert stage.reasons() == {}
    assert 'another version' in said and 'no longer at the remote' in said


@pytest.mark.parametrize('how', ['missing', 'broken'])
def test_one_container_that_cannot_be_read_holds_everything(
        stage: Stage, how: str, fresh_name: Callable[[str], str]) -> None:
    stage.waits('free')
    unread = fresh_name('z')
    stage.client.put_container(unread)
    stage.put('x', container=unread)
    database = stage.file_of(unread).with_suffix('.db')
    aside = database.with_suffix('.aside')
    database.rename(aside)
    if how == 'broken':
        database.mkdir()
    try:
        said = stage.daemon.once(expect=3)
        assert stage.left() == {'free'}, said
        assert stage.reasons() == {'account-unreadable': 1} and unread in said
    finally:
        if how == 'broken':
            database.rmdir()
        aside.rename(database)
    assert 'account-unreadable' in stage.daemon.once(expect=3), 'it is not due again yet, and not forgotten'
    assert stage.left() == {'free'}


def test_a_manifest_that_is_listed_and_cannot_be_found_holds_everything(stage: Stage) -> None:
    stage.waits('free', 'used')
    stage.slo('m', 'used')
    file, = stage.file_of(stage.container, 'm').glob('*.data')
    aside = file.rename(file.with_suffix('.aside'))
    said = stage.daemon.once(expect=3)
    aside.rename(file)
    assert stage.left() == {'free', 'used'}, said
    assert f'{stage.container}/m is listed' in said and 'Traceback' not in said


def test_what_is_not_due_is_neither_waited_for_nor_a_failure(stage: Stage) -> None:
    stage.waits('later', due=4e9)
    stage.daemon.once()
    assert stage.left() == {'later'} and stage.reasons() == {'not-due': 1}


def test_a_paused_mapping_and_one_that_no_longer_archives_remove_nothing(stage: Stage) -> None:
    stage.waits('free')
    with stage.ledger() as ledger:
        ledger.pause(stage.generation)
    stage.daemon.once()
    assert stage.left() == {'free'}
    with stage.ledger() as ledger:
        ledger.resume()
    stage.daemon.configure([{**stage.mapping, 'retain_local': True}])
    stage.daemon.once()
    assert stage.left() == {'free'} and stage.reasons() == {'due': 1}
    stage.daemon.configure([{**stage.mapping, 'retain_local_segments': True}])
    stage.daemon.once()
    assert stage.left() == {'free'}
    stage.daemon.configure([{**stage.mapping, 'custom_prefix': 'elsewhere'}])
    stage.daemon.once()
    assert stage.left() == {'free'}
    stage.daemon.configure([stage.mapping])
    stage.daemon.once()
    assert stage.left() == set()


def test_a_segment_waits_for_the_copies_of_other_mappings_that_take_it_as_an_object(
        stage: Stage, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    stage.waits('wanted', 'not-wanted')
    other = s3_mapping(s3, stage.segments, s3.make_bucket(fresh_name('other')), name='other', custom_prefix='',
                       exclude_pattern='not-', copy_after=3600)
    stage.daemon.configure([stage.mapping, other])
    said = stage.daemon.once()
    assert stage.left() == {'wanted'}, said
    assert stage.reasons() == {'awaits-copy': 1}
    stage.waits('copied')
    stage.daemon.configure([stage.mapping, {**other, 'copy_after': 0}])
    said = stage.daemon.once()
    assert stage.left() == {'wanted'}, said
    assert {o['Key'] for o in stage.remote.list_objects_v2(Bucket=other['aws_bucket'])['Contents']} == {
        'wanted', 'copied'}
    assert stage.reasons() == {'awaits-copy': 1}, 'its next look is an hour away'


def test_a_worker_killed_in_a_sweep_is_replaced_and_the_sweep_is_made(stage: Stage) -> None:
    stage.daemon.start()
    worker, = eventually(lambda: (stage.daemon.status_dir / FILE_NAME).exists() and worker_pids(stage.daemon),
                         'the worker')
    os.kill(worker, signal.SIGSTOP)
    with Ledger.open(str(stage.daemon.status_dir), owner=False) as ledger:
        stage.put('free')
        ledger.add_removals(stage.generation, 'AUTH_test', [stage.removal('free')])
    time.sleep(2)
    assert stage.left() == {'free'}
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: stage.left() == set(), 'the segment gone')
    eventually(lambda: stage.reasons() == {}, 'its entry gone')
    assert stage.daemon.stop() == 0


def test_the_running_daemon_sweeps_again_when_a_manifest_is_gone(stage: Stage) -> None:
    stage.waits('used')
    stage.slo('m', 'used')
    stage.daemon.start()
    eventually(lambda: 'nothing refers to 0 of 1' in stage.daemon.said, 'a sweep that finds a reference')
    assert stage.left() == {'used'}
    stage.client.delete_object(stage.container, 'm')
    eventually(lambda: stage.left() == set(), 'the segment gone')
    assert stage.daemon.stop() == 0
    assert stage.reasons() == {}


def plan(stage: Stage, *words: str, code: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary of ``1space plan``, and the objects that it names."""
    done = subprocess.run([sys.executable, '-m', 's3_sync.command', 'plan', '--json', '--objects', '--config',
                           str(stage.daemon.config_file), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    *objects, summary = map(json.loads, done.stdout.splitlines())
    return summary, objects


def test_the_plan_tells_what_a_sweep_would_free_and_what_would_leave_and_the_run_does_just_that(
        stage: Stage, s3: S3Endpoint) -> None:
    stage.waits('free', 'used')
    stage.waits('of-replaced', owner='replaced')
    stage.archived('replaced', md5(b'newer'))
    stage.slo('m', 'used')
    found, objects = plan(stage)
    assert {(o['action'], o['object'], o['reason']) for o in objects} == {
        ('remove', 'free', 'unreferenced'), ('deferred', 'used', 'referenced'), ('excluded', 'm', 'exclude-pattern')}
    assert found['actions']['remove'] == {'objects': 1, 'bytes': 7, 'reasons': {'unreferenced': 1}}
    assert found['actions']['nothing']['reasons'] == {'owner-changed': 1}
    assert stage.left() == {'free', 'used', 'of-replaced'}

    stage.client.put_object(stage.container, 'o', b'data')
    stage.daemon.configure([{**stage.mapping, 'exclude_pattern': ''}])
    _, objects = plan(stage)
    actions = {(o['action'], o['object'], o['reason']) for o in objects}
    assert actions == {('remove', 'free', 'unreferenced'), ('deferred', 'used', 'referenced'), ('copy', 'm', 'new'),
                       ('remove', 'm', 'after a sweep'), ('copy', 'o', 'new'), ('remove', 'o', 'archived')}
    assert stage.left(stage.container) == {'m', 'o'}
    said = stage.daemon.once()
    assert stage.left(stage.container) == set(), said
    assert stage.left() == {'of-replaced'}, 'with its manifest gone nothing needs the other either'


def test_the_plan_says_when_the_account_cannot_be_read(stage: Stage) -> None:
    stage.waits('free')
    stage.slo('m', 'free')
    file, = stage.file_of(stage.container, 'm').glob('*.data')
    aside = file.rename(file.with_suffix('.aside'))
    found, _ = plan(stage, code=3)
    aside.rename(file)
    assert found['not_read'] == ['account AUTH_test']


def test_objects_that_may_be_segments_go_by_the_sweep_too(stage: Stage) -> None:
    """The whole way: a container of segments is archived; what a manifest elsewhere names stays."""
    for name in ('free', 'used'):
        stage.put(name, name.encode())
    stage.slo('m', 'used')
    mapping = {**stage.mapping, 'container': stage.segments, 'exclude_pattern': ''}
    stage.daemon.configure([mapping])
    said = stage.daemon.once()
    assert stage.left() == {'used'}, said
    scheme = KeyScheme('AUTH_test', stage.segments, None)
    for name in ('free', 'used'):
        body = stage.remote.get_object(Bucket=stage.bucket, Key=scheme.key(name))['Body'].read()
        assert body == name.encode(), said
    stage.client.delete_object(stage.container, 'm')
    stage.daemon.once()
    assert stage.left() == set()
    assert hashlib.md5(body, usedforsecurity=False).hexdigest() == md5(b'used')
