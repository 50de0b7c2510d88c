"""The daemon's own life: killed, stopped, reloaded, started twice, out of disk, badly configured. Nothing is lost."""
from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from s3_sync.config import load
from s3_sync.ledger.ledger import FILE_NAME
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import Answer, LoseAnswer, Stall
from test.servers.scene import Scene, main_pid, pointers, runs, waiting, worker_pids
from test.servers.sync_daemon import SyncDaemon, eventually

FOREVER = 3600.0
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
LARGE_METADATA = {f'X-Object-Meta-Key-{i}': 'x' * 200 for i in range(15)}


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> Iterator[Scene]:
    with Scene(swift, s3, fresh_name('container'), bucket) as made:
        yield made


def end_of(daemon: SyncDaemon) -> int:
    """The exit code of a daemon that ends by itself."""
    process, daemon.process = daemon.process, None
    assert process is not None
    return process.wait(60)


# -- kill -9 ------------------------------------------------------------------------------


@pytest.mark.parametrize('answer_lost', [False, True], ids=['before', 'after'])
def test_killed_between_any_two_requests_it_goes_on_from_the_ledger(scene: Scene, answer_lost: bool) -> None:
    scene.put('deleted', 'changed', 'untouched')
    sync = scene.daemon()
    sync.once()
    modified = scene.remote_head('untouched')['LastModified']
    sync.start()

    requests = {'put': ('PUT', scene.path('put')), 'changed': ('PUT', scene.path('changed')),
                'deleted': ('POST', 'delete'), 'side': ('PUT', scene.side_path)}
    if answer_lost:
        for method, path in requests.values():
            scene.proxy.fail(LoseAnswer(), method=method, path=path)
    caught = [scene.proxy.fail(Stall(FOREVER), method=method, path=path) for method, path in requests.values()]
    scene.put('put', data=b'put' * 1000)
    scene.local.post_object(scene.container, 'changed', {'X-Object-Meta-Colour': 'blue'})
    scene.delete('deleted')
    scene.local.put_object(scene.container, 'side', b'side', headers=LARGE_METADATA)
    eventually(lambda: all(rule.hits for rule in caught), 'all four under way')
    before = pointers(sync)
    workers = worker_pids(sync)
    assert workers
    sync.kill9()
    eventually(lambda: not any(map(runs, workers)), 'the workers gone with their main process')
    assert pointers(sync) == before == [3], 'the pointer passed what was not done'

    scene.proxy.clear()
    sync.once()
    assert scene.remote_names() == {'put', 'changed', 'side', 'untouched'}
    assert scene.remote_get('put') == b'put' * 1000 and scene.remote_get('side') == b'side'
    assert scene.remote_head('changed')['Metadata']['colour'] == 'blue'
    assert scene.remote_head('untouched')['LastModified'] == modified
    assert waiting(sync) == {}
    # What had arrived before the kill is found, and refused when it is sent again; nothing is stored twice.
    assert scene.stored == ({'side': 1} if answer_lost else {'put': 1, 'side': 1})


def test_a_killed_worker_is_replaced_and_its_rows_start_again(scene: Scene) -> None:
    sync = scene.daemon(settings={'processes': 2})
    sync.start()
    eventually(lambda: (sync.status_dir / FILE_NAME).exists() and len(worker_pids(sync)) == 2, 'both workers')
    stalled = scene.proxy.fail(Stall(FOREVER), method='PUT', path=scene.path('stalled'))
    names = {'stalled', *(f'o{i:02}' for i in range(20))}
    scene.put(*sorted(names))
    eventually(lambda: stalled.hits, 'one copy under way')
    old = worker_pids(sync)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    scene.arrived(names)
    eventually(lambda: pointers(sync) == [len(names)] and not waiting(sync), 'all rows done')
    # One without rows in its hands is replaced at leisure.
    eventually(lambda: len(set(worker_pids(sync)) - set(old)) == 2, 'two new workers')
    assert sync.said.count('SIGKILL') == 2
    assert sync.stop() == 0


def test_a_row_that_kills_its_worker_again_and_again_is_set_aside_and_others_go_on(scene: Scene) -> None:
    sync = scene.daemon()
    sync.start()
    deadly = scene.proxy.fail(Stall(FOREVER), method='PUT', path=scene.path('deadly'), times=None)
    scene.put('deadly')
    for time in range(1, 4):
        eventually(lambda time=time: deadly.hits == time, 'the deadly row in hand')  # type: ignore[misc]
        os.kill(worker_pids(sync)[0], signal.SIGKILL)
    eventually(lambda: waiting(sync) == {'deadly': ('failed', 'worker-died')}, 'the row set aside')
    scene.put('other')
    scene.arrived({'other'})
    assert sync.stop() == 0


# -- SIGTERM --------------------------------------------------------------------------------


def test_told_to_stop_it_waits_neither_for_a_stalled_upload_nor_for_hung_workers(scene: Scene) -> None:
    sync = scene.daemon(settings={'processes': 6})
    sync.start()
    stalled = scene.proxy.fail(Stall(FOREVER), method='PUT', path=scene.path('stalled'))
    scene.put('stalled', *(f'o{i}' for i in range(5)))
    eventually(lambda: stalled.hits and len(scene.remote_names()) == 5, 'the others copied')
    workers = worker_pids(sync)
    assert len(workers) == 6
    for pid in workers[1:]:
        os.kill(pid, signal.SIGSTOP)
    assert sync.stop() == 0
    assert not any(map(runs, workers))
    scene.proxy.clear()
    sync.once()
    assert 'stalled' in scene.remote_names() and scene.stored == {'stalled': 1}


def test_an_endpoint_that_hangs_at_the_start_delays_neither_others_nor_the_end(
        scene: Scene, swift: SwiftCluster, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    with Scene(swift, s3, fresh_name('container'), scene.bucket) as hung:
        stalled = hung.proxy.fail(Stall(FOREVER), times=None)
        scene.put('one')
        hung.put('two')
        sync = scene.daemon()
        sync.configure([hung.mapping(), scene.mapping()])
        sync.start()
        scene.arrived({'one'})
        assert stalled.hits and hung.data_puts == []
        assert sync.stop() == 0


def test_an_endpoint_that_could_not_be_asked_at_the_start_gets_its_objects_all_the_same(scene: Scene) -> None:
    probe = scene.proxy.fail(Answer(500), method='PUT', path=r'/\.1space/', times=None)
    scene.put('one')
    sync = scene.daemon()
    said = sync.once()
    assert probe.hits and 'cannot find out whether the remote honours conditional PUT' in said
    assert scene.remote_names() == {'one'}
    assert scene.proxy.count('HEAD', scene.path('one')) == 1


# -- reload -----------------------------------------------------------------------------------


def test_reloading_takes_up_what_is_good_and_keeps_what_works(
        scene: Scene, swift: SwiftCluster, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    with Scene(swift, s3, fresh_name('container'), scene.bucket) as other:
        sync = scene.daemon()
        sync.start()
        scene.put('one')
        scene.arrived({'one'})

        # A new mapping, noticed without being told.
        other.put('hello')
        sync.configure([scene.mapping(), other.mapping()])
        other.arrived({'hello'})

        # A broken file: the last good one stays, said once for each time it was looked at on purpose.
        good = sync.config_file.read_text()
        sync.config_file.write_text(good[:-10])
        sync.reload()
        eventually(lambda: 'configuration not reloaded' in sync.said, 'the complaint')
        scene.put('two')
        scene.arrived({'one', 'two'})

        # A mapping is taken out while objects of it wait: their entries stay, nobody acts on them.
        sync.configure([scene.mapping(), other.mapping(copy_after=FOREVER)])
        sync.reload()
        eventually(lambda: sync.said.count('2 mappings,') == 2, 'the patient configuration in use')
        other.put('young')
        eventually(lambda: waiting(sync) == dict.fromkeys(('hello', 'young'), ('deferred', 'copy-after')),
                   'the young objects waiting')
        sync.configure([scene.mapping()])
        sync.reload()
        eventually(lambda: sync.said.count('1 mappings,') == 2, 'the smaller configuration in use')
        with sync.ledger() as ledger:
            ledger.retry()  # due now
            known = {row.generation for row in ledger.generations()}
        orphans = known - {m.generation for m in load(sync.config_file).containers}
        assert len(orphans) == 1
        scene.put('three')
        scene.arrived({'one', 'two', 'three'})
        assert other.remote_names() == {'hello'}
        assert set(waiting(sync)) == {'hello', 'young'}

        # The same identity again takes it up.
        sync.configure([scene.mapping(), other.mapping()])
        sync.reload()
        other.arrived({'hello', 'young'})
        eventually(lambda: sync.failures() == {}, 'nothing waiting any more')
        assert sync.stop() == 0
        assert sync.said.count('configuration not reloaded') == 1
        assert other.stored == {'hello': 1, 'young': 1} and scene.stored == {'one': 1, 'two': 1, 'three': 1}


def test_what_needs_a_restart_is_refused_once_and_the_daemon_goes_on(scene: Scene, tmp_path: Path) -> None:
    sync = scene.daemon()
    sync.start()
    scene.put('one')
    scene.arrived({'one'})
    sync.configure([scene.mapping()], status_dir=str(tmp_path))
    eventually(lambda: 'needs a restart' in sync.said, 'the complaint')
    complaints = sync.said.count('needs a restart')
    sync.reload()
    scene.put('two')
    scene.arrived({'one', 'two'})
    sync.reload()
    scene.put('three')
    scene.arrived({'one', 'two', 'three'})
    assert sync.stop() == 0
    assert sync.said.count('needs a restart') == complaints == 1
    assert not list(tmp_path.iterdir())


# -- the status folder --------------------------------------------------------------------------


def test_a_second_daemon_says_why_it_ends_and_leaves_the_first_alone(scene: Scene) -> None:
    sync = scene.daemon()
    sync.start()
    scene.put('one')
    scene.arrived({'one'})
    said = sync.once(expect=1)
    assert f'held by process {main_pid(sync)}' in said and 'Traceback' not in said
    scene.put('two')
    scene.arrived({'one', 'two'})
    assert sync.stop() == 0


class SmallDisk:
    """A status folder whose disk can be full: a small file system of its own, or (not root) a limit on the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = folder / 'ballast'
        self._mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(folder)],
                                       capture_output=True, check=False).returncode == 0

    def fill(self, pid: int) -> None:
        if not self._mounted:
            size = (self._folder / f'{FILE_NAME}-wal').stat().st_size
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
            return
        with self._ballast.open('wb', buffering=0) as file, suppress(OSError):
            while True:
                file.write(b'x' * 4096)

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self._mounted:
            subprocess.run(['umount', str(self._folder)], check=True)


def test_without_space_for_its_ledger_it_stops_and_goes_on_when_there_is_some(scene: Scene) -> None:
    scene.put(*(f'o{i}' for i in range(5)))
    sync = scene.daemon()
    disk = SmallDisk(sync.status_dir)
    try:
        sync.start()
        eventually(lambda: (sync.status_dir / FILE_NAME).exists() and pointers(sync) == [5], 'the first copies')
        disk.fill(main_pid(sync))
        scene.put(*(f'late-{i}' for i in range(20)))
        workers = worker_pids(sync)
        assert end_of(sync) == 1
        assert not any(map(runs, workers))
        last = sync.said.splitlines()[-1]
        assert f'{FILE_NAME}: ' in last and 'disk full' in last
        disk.empty()
        assert pointers(sync) == [5], 'the pointer moved though it could not be written'
        sync.once()
        assert scene.remote_names() == {*(f'o{i}' for i in range(5)), *(f'late-{i}' for i in range(20))}
        assert set(scene.stored.values()) == {1}
    finally:
        disk.close()


def test_a_damaged_ledger_is_moved_aside_and_nothing_is_sent_again(scene: Scene) -> None:
    names = {f'o{i}' for i in range(20)}
    scene.put(*names)
    sync = scene.daemon()
    sync.once()
    (sync.status_dir / FILE_NAME).write_bytes(b'\0' * 50_000)
    before = len(scene.data_puts)
    said = sync.once()
    assert 'The ledger was damaged' in said and 'read again from the start' in said
    assert len(list(sync.status_dir.glob(f'{FILE_NAME}.corrupt-*'))) == 1
    assert len(scene.data_puts) == before == 20
    assert pointers(sync) == [20]


def test_status_files_of_the_predecessor_count_once(scene: Scene) -> None:
    scene.put(*(f'o{i}' for i in range(8)))
    sync = scene.daemon()
    sync.once()
    with sync.ledger() as ledger:
        db_id = next(ledger.all_progress(ledger.generations()[0].generation)).db_id
    for path in sync.status_dir.glob(f'{FILE_NAME}*'):
        path.unlink()
    status = sync.status_dir / 'AUTH_test' / scene.container
    status.parent.mkdir()
    status.write_text(json.dumps({db_id: {
        'last_row': 6, 'last_verified_row': 6, 'aws_bucket': scene.bucket,
        'policy': {'copy_after': 0, 'retain_local': True, 'propagate_delete': True}}}))
    scene.proxy.clear()
    scene.delete_keys(*scene.remote_keys())
    sync.once()
    assert scene.remote_names() == {'o6', 'o7'}, 'rows of the status file were not believed, or too many'
    status.write_text(json.dumps({db_id: {'last_row': 0, 'aws_bucket': scene.bucket}}))
    sync.once()
    assert scene.remote_names() == {'o6', 'o7'} and scene.stored == {'o6': 1, 'o7': 1}


# -- configurations that cannot be used -----------------------------------------------------------


def unprivileged() -> None:
    """In a child: even for root, file modes count."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def refused(config: Path) -> tuple[int, str]:
    """Exit code and message of a daemon that does not start."""
    done = subprocess.run([sys.executable, '-m', 's3_sync', '--config', str(config)], capture_output=True, timeout=60,
                          check=False, preexec_fn=unprivileged)  # noqa: PLW1509 - nothing runs beside it
    message = done.stderr.decode()
    assert 'Traceback' not in message and done.stdout == b''
    return done.returncode, message


def test_a_configuration_that_cannot_be_read_is_exit_78_with_its_path(scene: Scene) -> None:
    sync = scene.daemon()
    missing = sync.folder / 'missing.json'
    code, message = refused(missing)
    assert code == 78 and str(missing) in message
    sync.config_file.chmod(0)
    code, message = refused(sync.config_file)
    assert code == 78 and str(sync.config_file) in message and 'ermission' in message


def test_every_error_of_a_configuration_is_told_together(scene: Scene) -> None:
    sync = scene.daemon()
    wrong = {**scene.mapping(), 'copy_after': -1, 'exclude_pattern': '(', 'unheard_of': True}
    sync.configure([wrong, {'account': 'AUTH_test'}], processes=0)
    code, message = refused(sync.config_file)
    assert code == 78
    for what in ('containers[0].copy_after', 'containers[0].exclude_pattern', 'containers[0].unheard_of',
                 'containers[1].container', 'processes'):
        assert f'{sync.config_file}: {what}' in message
    assert 'trial-secret' not in message


def test_folders_that_are_missing_or_closed_are_named(scene: Scene, tmp_path: Path) -> None:
    sync = scene.daemon()
    sync.configure([scene.mapping()], swift_dir=str(tmp_path / 'no-swift'))
    code, message = refused(sync.config_file)
    assert code == 78 and str(tmp_path / 'no-swift') in message
    sync.configure([scene.mapping()], swift_dir=str(scene.swift.swift_dir), devices=str(tmp_path / 'no-devices'))
    code, message = refused(sync.config_file)
    assert code == 1 and str(tmp_path / 'no-devices') in message
    closed = tmp_path / 'closed'
    closed.mkdir(mode=0)
    sync.configure([scene.mapping()], devices=str(closed))
    code, message = refused(sync.config_file)
    assert code == 1 and str(closed) in message and 'ermission' in message
    sync.configure([scene.mapping()], devices=str(scene.swift.devices()), status_dir=str(closed / 'status'))
    code, message = refused(sync.config_file)
    assert code == 1 and str(closed) in message and 'ermission' in message


# -- the mass-delete guard ---------------------------------------------------------------------------


def test_guarded_tombstones_wait_for_an_operator(scene: Scene) -> None:
    names = {f'o{i}' for i in range(20)}
    scene.put(*names)
    sync = scene.daemon(guard_tombstones=True, max_delete_count=3, max_delete_fraction=0.2)
    sync.once()
    scene.delete('o0', 'o1')  # as many as are always allowed
    sync.once()
    assert scene.remote_names() == names - {'o0', 'o1'}
    gone = {f'o{i}' for i in range(2, 12)}
    scene.delete(*gone)
    scene.put('new')
    said = sync.once(expect=3)
    assert 'mass-delete-guard' in said
    assert waiting(sync) == dict.fromkeys(gone, ('permanent', 'mass-delete-guard'))
    assert scene.remote_names() == names - {'o0', 'o1'} | {'new'}
    with sync.ledger() as ledger:
        assert ledger.retry(path=f'AUTH_test/{scene.container}') == 10
    sync.once()
    assert scene.remote_names() == names - {'o0', 'o1'} - gone | {'new'}
    assert waiting(sync) == {}
