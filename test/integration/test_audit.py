"""``1space audit`` beside real servers: what was broken behind the daemon's back is found, told, and mended."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.keys import KeyScheme
from test.servers.fill_container import fill_container
from test.servers.large_objects import MIB, cheap_bytes, put_dlo, put_slo
from test.servers.scene import Scene, main_pid
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping, swift_mapping

AWKWARD = ['%41', 'a//b', '/x', 'end/', 'a\nb', '\uffee', '\U0001f600', "q'uote", 'x' * 1000]


class Audited:
    """A scene, its daemon, and ``1space audit`` with that daemon's configuration."""

    def __init__(self, sync: SyncDaemon) -> None:
        self.sync = sync
        self.report = sync.folder / 'report'

    def __call__(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """The summary. Everything just happened, so there is no grace."""
        done = self._run('--json', '--grace', '0', '--report', str(self.report), *words)
        assert done.returncode == expect, f'exit {done.returncode}:\n{done.stdout}{done.stderr}'
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def text(self, *words: str, expect: int = 0) -> str:
        """For people."""
        done = self._run('--grace', '0', *words)
        assert done.returncode == expect, done
        assert 'Traceback' not in done.stderr, done.stderr
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, '-m', 's3_sync.command', 'audit', '--config', str(self.sync.config_file), *words],
            capture_output=True, text=True, timeout=180, check=False)

    def peak_memory(self, *words: str) -> tuple[int, int]:
        """Differences found, and the most bytes that were resident meanwhile."""
        process = subprocess.Popen(
            [sys.executable, '-m', 's3_sync.command', 'audit', '--config', str(self.sync.config_file), '--grace', '0',
             '--report', str(self.report), *words], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 3
        return len(self.lines), used.ru_maxrss * 1024

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What the last report says of single objects."""
        lines = [json.loads(line) for line in self.report.read_text().splitlines()]
        assert lines[-1]['type'] == 'summary'
        return lines[:-1]

    @property
    def told(self) -> dict[str, tuple[str, str]]:
        """Object name to verdict and reason, of the last report."""
        return {line['object']: (line['verdict'], line['reason']) for line in self.lines}


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

    assert audit('--metadata', '--repair', expect=3)['repair'] == {'queued': 4, 'held': 0, 'daemon_pid': None}
    sync.once()
    assert scene.remote_get('overwritten') == b'data'
    audit('--metadata', expect=3)
    assert audit.told == {'stranger': ('extra', 'foreign')}, 'nobody has proven that it may go'
    scene.delete_keys(scene.scheme.key('stranger'))
    assert audit('--metadata')['differences'] == 0


def test_large_objects_at_an_s3_store_are_compared_whole(scene: Scene, s3_client: Any) -> None:
    parts = [cheap_bytes(5 * MIB, seed) for seed in (1, 2)]
    for name in ('manifest-gone', 'gone', 'fine', 'overwritten'):
        put_slo(scene.local, scene.container, name, parts)
    put_dlo(scene.local, scene.container, 'dlo', parts)
    put_slo(scene.local, scene.container, 'small-segments', [b'x' * 1000] * 3)
    sync = scene.daemon()
    sync.once()
    audit = Audited(sync)
    assert audit()['verdicts']['same'] == 6
    found = audit('--deep', '100%')
    assert (found['verdicts']['same'], found['read']['bytes']) == (6, 5 * 10 * MIB + 3000)

    scene.delete_keys(scene.scheme.manifest_key('manifest-gone'), scene.scheme.key('gone'))
    head = scene.remote_head('overwritten')
    s3_client.put_object(Bucket=scene.bucket, Key=scene.scheme.key('overwritten'), Body=b'x' * 10 * MIB,
                         Metadata=head['Metadata'], ContentType=head['ContentType'])
    audit(expect=3)
    assert audit.told == {'manifest-gone': ('incomplete', 'manifest'), 'gone': ('missing', 'not-there'),
                          'overwritten': ('unknown', 'unproven')}
    audit('--deep', '1', '--repair', expect=3)
    assert audit.told['overwritten'] == ('differs', 'content'), 'reading settles what ETags do not'
    scene.delete_keys(scene.scheme.key('overwritten'))
    audit('--repair', expect=3)
    sync.once()
    assert audit('--deep', '100%')['verdicts']['same'] == 6


def test_an_archives_copies_need_no_local_object_and_a_lost_one_is_told(scene: Scene) -> None:
    scene.put('archived', 'lost', 'deleted')
    sync = scene.daemon(retain_local=False)
    sync.once()
    audit = Audited(sync)
    assert audit('--deep', '100%')['verdicts']['archived'] == 3
    scene.delete_keys(scene.scheme.key('lost'))
    scene.local.put_object(scene.container, 'deleted', b'new')
    scene.delete('deleted')
    found = audit('--repair', expect=3)
    assert audit.told == {'lost': ('missing', 'archived-copy-gone'), 'deleted': ('extra', 'deleted-here')}
    assert found['repair']['queued'] == 1
    sync.once()
    audit(expect=3)
    assert audit.told == {'lost': ('missing', 'archived-copy-gone')}
    assert scene.remote_names() == {'archived'}


# -- another Swift --------------------------------------------------------------------------


@pytest.fixture
def far(swift: SwiftCluster) -> Iterator[Connection]:
    client = swift.client(user='test2:tester2', key='testing2')
    yield client
    client.close()


def test_what_was_broken_at_another_swift_is_found_exactly_and_mended(
        swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        fresh_name: Callable[[str], str]) -> None:
    target = fresh_name('target')
    far.put_container(target)
    plain = ['gone', 'overwritten', 'posted', 'fine', *AWKWARD]
    for name in plain:
        swift_client.put_object(container, name, b'data')
    parts = [b'a' * 1000, b'b' * 2000]
    put_slo(swift_client, container, 'slo', parts)
    put_slo(swift_client, container, 'slo-flattened', parts)
    put_dlo(swift_client, container, 'dlo', parts)
    with SyncDaemon(swift, [swift_mapping(swift, container, target)]) as sync:
        sync.once()
        audit = Audited(sync)
        found = audit('--metadata', '--deep', '100%')
        assert found['verdicts']['same'] == len(plain) + 3
        assert (found['read']['objects'], found['read']['bytes']) == (len(plain) + 3, 4 * len(plain) + 9000)

        far.delete_object(target, 'gone')
        far.put_object(target, 'overwritten', b'evil')
        far.post_object(target, 'posted', {'X-Object-Meta-Colour': 'red'})
        far.put_object(target, 'extra', b'hello')
        far.put_object(target, 'slo-flattened', b'c' * 3000)
        audit('--metadata', expect=3)
        told = audit.told
        assert told.pop('slo-flattened')[0] in ('differs', 'unknown')
        assert told == {'gone': ('missing', 'not-there'), 'overwritten': ('differs', 'content'),
                        'posted': ('differs', 'metadata'), 'extra': ('extra', 'foreign')}

        audit('--metadata', '--repair', expect=3)
        sync.once()
        far.delete_object(target, 'extra')
        assert audit('--metadata', '--deep', '100%')['verdicts']['same'] == len(plain) + 3


def test_a_segment_that_is_missing_at_another_swift_is_told_though_the_manifest_is_right(
        swift: SwiftCluster, swift_client: Connection, far: Connection, container: str,
        fresh_name: Callable[[str], str]) -> None:
    target = fresh_name('target')
    far.put_container(target)
    put_slo(swift_client, container, 'slo', [b'a' * 1000, b'b' * 2000])
    with SyncDaemon(swift, [swift_mapping(swift, container, target)]) as sync:
        sync.once()
        audit = Audited(sync)
        assert audit()['differences'] == 0
        segments, = [c['name'] for c in far.get_account(prefix=f'{target}_')[1]]
        far.delete_object(segments, far.get_container(segments)[1][0]['name'])
        audit(expect=3)
        assert audit.told == {'slo': ('unknown', 'unproven')}
        far.delete_object(target, 'slo')
        audit('--repair', expect=3)
        sync.once()
        assert audit('--deep', '100%')['read']['bytes'] == 3000


# -- what operators see ---------------------------------------------------------------------


def test_an_audit_writes_nothing_but_what_a_repair_queues(scene: Scene) -> None:
    scene.put('a', 'b')
    sync = scene.daemon()
    sync.once()
    scene.delete_keys(scene.scheme.key('a'))
    audit, sent = Audited(sync), len(scene.proxy.requests)
    ledger = (sync.status_dir / '1space-ledger.sqlite').read_bytes()
    found = audit('--metadata', '--deep', '5', expect=3)
    assert {request.method for request in scene.proxy.requests[sent:]} == {'GET', 'HEAD'}
    # The first object that is not found has the bucket looked at, once.
    assert found['requests'] == len(scene.proxy.requests) - sent - 1
    assert (sync.status_dir / '1space-ledger.sqlite').read_bytes() == ledger


def test_a_running_daemon_takes_what_a_repair_queues(scene: Scene) -> None:
    scene.put('a', 'b')
    sync = scene.daemon()
    sync.start()
    scene.arrived({'a', 'b'})
    scene.delete_keys(scene.scheme.key('a'))
    assert Audited(sync)('--repair', expect=3)['repair'] == {'queued': 1, 'held': 0, 'daemon_pid': main_pid(sync)}
    scene.arrived({'a', 'b'})
    eventually(lambda: not sync.failures(), 'an empty list of failures')
    assert sync.stop() == 0


def test_an_audit_that_cannot_read_the_remote_never_says_that_all_is_well(scene: Scene) -> None:
    scene.put('a')
    sync = scene.daemon(aws_secret='wrong')  # noqa: S106
    audit = Audited(sync)
    found = audit(expect=1)
    assert not found['complete'] and len(found['not_read']) == 1 and found['differences'] == 0
    text = audit.text(expect=1)
    assert 'NOT COMPLETE' in text and 'no differences' not in text and 'wrong' not in text


def test_a_report_for_people_names_what_differs(scene: Scene) -> None:
    scene.put('a b', 'c')
    sync = scene.daemon()
    sync.once()
    audit = Audited(sync)
    assert 'no differences' in audit.text()
    scene.delete_keys(scene.scheme.key('a b'))
    text = audit.text(expect=3)
    assert f'missing    AUTH_test/{scene.container}/a%20b  (not-there)\n' in text
    assert 'NOT COMPLETE' not in text and 'no differences' not in text


def test_every_container_of_an_account_is_compared_and_those_that_were_deleted(
        swift: SwiftCluster, s3: S3Endpoint, s3_client: Any, bucket: str, fresh_name: Callable[[str], str]) -> None:
    account, names = f'AUTH_{fresh_name("account")}', ['intact', 'emptied', 'deleted', 'ü']
    options = {'object_storage_url': f'{swift.url}/v1/{account}'}
    with closing(swift.client(user='admin:admin', key='admin', os_options=options)) as client, \
            SyncDaemon(swift, [s3_mapping(s3, '/*', bucket, account=account)]) as sync:
        for name in names:
            client.put_container(name)
            client.put_object(name, 'o', name)
        sync.once()
        audit = Audited(sync)
        assert audit()['verdicts']['same'] == 4
        s3_client.delete_object(Bucket=bucket, Key=KeyScheme(account, 'ü', None).key('o'))
        client.delete_object('emptied', 'o')
        client.delete_object('deleted', 'o')
        client.delete_container('deleted')
        audit(expect=3)
        assert {line['container']: line['reason'] for line in audit.lines} == {
            'ü': 'not-there', 'emptied': 'deleted-here', 'deleted': 'deleted-here'}
        assert audit('--repair', expect=3)['repair']['queued'] == 3
        sync.once()
        assert audit()['differences'] == 0


def test_a_node_without_the_containers_database_compares_it_all_the_same(
        make_swift_cluster: Callable[..., SwiftCluster], s3: S3Endpoint, s3_client: Any, bucket: str) -> None:
    cluster = make_swift_cluster(nodes=2, replicas=1)
    with closing(cluster.client()) as client:
        client.put_container('c')
        for name in ('gone', 'posted', 'fine', 'größe'):
            client.put_object('c', name, b'data')
        client.post_object('c', 'posted', {'X-Object-Meta-Colour': 'blue'})
    mapping = s3_mapping(s3, 'c', bucket)
    with SyncDaemon(cluster, [mapping], node=0) as one, SyncDaemon(cluster, [mapping], node=1) as other:
        one.once()
        other.once()
        listed = [Audited(sync)('--metadata')['listed_containers'] for sync in (one, other)]
        assert sorted(listed) == [0, 1]
        s3_client.delete_object(Bucket=bucket, Key=KeyScheme('AUTH_test', 'c', None).key('gone'))
        for sync in (one, other):
            assert Audited(sync)('--metadata', expect=3)['verdicts']['same'] == 3
        away = (one, other)[listed.index(1)]
        assert Audited(away)('--repair', expect=3)['repair']['queued'] == 1
        away.once()
        assert Audited(away)('--metadata')['differences'] == 0


def test_ten_thousand_differences_need_no_more_memory_than_a_thousand(scene: Scene) -> None:
    fill_container(scene.swift.swift_dir, scene.swift.devices(), 'AUTH_test', scene.container, 10_000)
    audit = Audited(scene.daemon())
    few, some = audit.peak_memory('--prefix', 'o00')
    many, all_of_them = audit.peak_memory()
    assert (few, many) == (1000, 10_000)
    assert all_of_them < some + 10 * 1024 ** 2
