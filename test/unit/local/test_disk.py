from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import pytest
from swift.common.exceptions import DiskFileStateChanged
from swift.common.utils import Timestamp

from container_crawler.exceptions import DeviceTimeout
from s3_sync.clock import FakeClock
from s3_sync.errors import SourceGone, SourceStale, SourceUnavailable
from s3_sync.local.disk import DEVICE_REST_SECONDS, DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.versions import SMALL_BYTES, ThroughProxy
from s3_sync.timestamps import MARKER

T = 1_600_000_000.0


class HereAndNow:
    """A runner without threads; ``hung`` devices time out, ``calls`` counts who was asked."""

    def __init__(self) -> None:
        self.hung: set[str] = set()
        self.calls: list[str] = []

    def run(self, device: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(device)
        if device in self.hung:
            raise DeviceTimeout(device, 1)
        return function(*args, **kwargs)

    def close(self) -> None:
        pass


@pytest.fixture
def runner() -> HereAndNow:
    return HereAndNow()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(disks: Any, runner: HereAndNow, clock: FakeClock) -> DiskSource:
    return DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.devices), runner=runner,
                      clock=clock)


def test_a_replica_written_by_swift_is_read_with_its_metadata_and_times(disks: Any, source: DiskSource) -> None:
    row = disks.put('o', b'hello', T, X_Object_Meta_Colour='grün', Content_Encoding='x', X_Object_Sysmeta_K='v')
    found = source.open(row)
    assert b''.join(found.body) == b'hello'
    assert (found.meta.name, found.meta.size, found.meta.etag) == ('o', 5, hashlib.md5(b'hello').hexdigest())
    assert (found.meta.content_type, dict(found.meta.headers)) == ('text/plain', {'content-encoding': 'x'})
    assert found.meta.user_metadata == {'colour': 'grün'}
    assert found.meta.sysmeta['x-object-sysmeta-k'] == 'v'
    assert found.meta.data_time == found.meta.meta_time == found.meta.ctype_time == Timestamp(T)
    assert (found.times, found.origin) == (row.times, 'disk')


def test_bodies_of_any_size_come_whole(disks: Any, source: DiskSource) -> None:
    for size in (0, 1, SMALL_BYTES, SMALL_BYTES + 1, 6 * SMALL_BYTES + 5):
        body = os.urandom(size)
        found = source.open(disks.put('o', body, T + size))
        chunks = list(found.body)
        assert b''.join(chunks) == body
        assert all(0 < len(chunk) <= 256 * 1024 for chunk in chunks)
        found.body.rewind()
        assert b''.join(found.body) == body
        found.body.close()
        found.body.close()


def test_the_other_local_device_is_asked_when_the_first_is_behind(disks: Any, source: DiskSource) -> None:
    disks.put('o', b'old', T, devices=('d0',))
    row = disks.put('o', b'new', T + 1, devices=('d1',))
    assert b''.join(source.open(row).body) == b'new'


def test_a_replica_that_missed_the_put_but_got_the_post_is_stale(disks: Any, source: DiskSource, make_row: Any) -> None:
    disks.put('o', b'old', T)
    disks.post('o', T + 2, X_Object_Meta_A='1')
    with pytest.raises(SourceStale):
        source.open(make_row('o', T + 1, T + 1, T + 2))


def test_a_replica_that_missed_only_the_content_type_is_stale(disks: Any, source: DiskSource, make_row: Any) -> None:
    disks.put('o', b'x', T)
    disks.post('o', T + 2, X_Object_Meta_A='1')
    with pytest.raises(SourceStale):
        source.open(make_row('o', T, T + 1, T + 2))
    disks.post('o', T + 1, Content_Type='text/new')
    found = source.open(make_row('o', T, T + 1, T + 2))
    assert (found.meta.content_type, found.meta.user_metadata) == ('text/new', {'a': '1'})
    assert found.meta.ctype_time == Timestamp(T + 1)


def test_offsets_count_when_times_are_compared(disks: Any, source: DiskSource, make_row: Any) -> None:
    disks.put('o', b'x', T)
    with pytest.raises(SourceStale):
        source.open(make_row('o', Timestamp(T, offset=1)))


def test_a_newer_version_serves_the_row(disks: Any, source: DiskSource, make_row: Any) -> None:
    disks.put('o', b'newer', T + 5)
    assert b''.join(source.open(make_row('o', T)).body) == b'newer'


def test_our_marker_is_left_out_of_the_time_that_travels(disks: Any, source: DiskSource) -> None:
    row = disks.put('o', b'x', Timestamp(T, offset=(MARKER << 32) + 7))
    found = source.open(row)
    assert found.meta.data_time == found.meta.meta_time == Timestamp(T)
    assert found.times.data.offset == (MARKER << 32) + 7


def test_the_source_time_of_a_restored_object_is_its_data_time(disks: Any, source: DiskSource) -> None:
    told = Timestamp(T + 500)
    row = disks.put('o', b'x', Timestamp(T, offset=(MARKER << 32) + 7),
                    X_Object_Sysmeta_1space_Source_Time=told.internal)
    assert source.open(row).meta.data_time == told
    copied = disks.put('copy', b'x', T, X_Object_Sysmeta_1space_Source_Time=told.internal)
    assert source.open(copied).meta.data_time == Timestamp(T), 'a COPY takes sysmeta along'


def test_user_metadata_named_like_ours_does_not_change_the_time(disks: Any, source: DiskSource) -> None:
    row = disks.put('o', b'x', T, X_Object_Meta_1space_Timestamp=Timestamp(T - 500).internal,
                    X_Object_Meta_1space_Etag='f' * 32)
    meta = source.open(row).meta
    assert (meta.data_time, meta.content_md5) == (Timestamp(T), hashlib.md5(b'x').hexdigest())


def test_a_newer_tombstone_means_gone_an_older_one_asks_others(disks: Any, source: DiskSource, make_row: Any) -> None:
    disks.put('o', b'x', T)
    disks.delete('o', T + 1)
    with pytest.raises(SourceGone):
        source.open(make_row('o', T))
    with pytest.raises(SourceGone):  # a POST after the delete keeps nothing alive
        source.open(make_row('o', T, T, T + 2))
    with pytest.raises(SourceUnavailable):
        source.open(make_row('o', T + 2))


def test_a_name_without_files_asks_others(disks: Any, source: DiskSource, make_row: Any) -> None:
    with pytest.raises(SourceUnavailable):
        source.open(make_row('never', T))


def test_an_expired_object_is_gone_and_no_error(disks: Any, source: DiskSource, clock: FakeClock) -> None:
    row = disks.put('o', b'x', T, X_Delete_At=str(int(clock.now()) + 10))
    assert source.open(row).meta.delete_at == int(clock.now()) + 10
    clock.advance(10)
    with pytest.raises(SourceGone):
        source.open(row)


def test_an_expired_replica_that_missed_the_put_asks_others(disks: Any, source: DiskSource, make_row: Any) -> None:
    disks.put('o', b'x', T, X_Delete_At=str(int(T) + 10))
    with pytest.raises(SourceStale):
        source.open(make_row('o', T + 5))


def corrupt_body(disks: Any) -> None:
    [data] = [path for path in disks.files('o', 'd0') if path.suffix == '.data']
    body = bytearray(data.read_bytes())
    body[len(body) // 2] ^= 1
    with open(data, 'r+b') as file:
        file.write(body)


def truncated_file(disks: Any) -> None:
    [data] = disks.files('o', 'd0')
    os.truncate(data, 3)


def wrong_metadata(disks: Any) -> None:
    [data] = disks.files('o', 'd0')
    os.setxattr(data, 'user.swift.metadata', b'not a pickle')


def file_for_folder(disks: Any) -> None:
    [data] = disks.files('o', 'd0')
    data.unlink()
    folder = data.parent
    folder.rmdir()
    folder.write_bytes(b'')


def renamed_object(disks: Any) -> None:
    [data] = disks.files('o', 'd0')
    os.rename(data, disks.files('other', 'd0')[0])


def nonsense_expiry(disks: Any) -> None:
    disks.post('o', T + 1, devices=('d0',), X_Delete_At='soon')


@pytest.mark.parametrize('damage', [corrupt_body, truncated_file, wrong_metadata, file_for_folder, renamed_object,
                                    nonsense_expiry])
def test_a_damaged_replica_is_passed_over_and_left_as_it_is(disks: Any, source: DiskSource, damage: Any) -> None:
    disks.put('other', b'other', T, devices=('d0',))
    row = disks.put('o', b'good body', T, devices=('d0',))
    damage(disks)
    before = disks.snapshot()
    asked = disks_row_of_other(row) if damage is renamed_object else row
    with pytest.raises(SourceUnavailable):
        source.open(asked)
    assert disks.snapshot() == before
    assert source.off_reason == ''
    disks.put('o', b'good body', T, devices=('d1',))
    assert b''.join(source.open(row).body) == b'good body'


def disks_row_of_other(row: Any) -> Any:
    return type(row)(row.account, row.container, row.row._replace(name='other'))


def test_a_large_corrupt_body_never_completes(disks: Any, source: DiskSource) -> None:
    body = os.urandom(3 * SMALL_BYTES)
    row = disks.put('o', body, T, devices=('d0',))
    corrupt_body(disks)
    before = disks.snapshot()
    found = source.open(row)
    taken = 0
    with pytest.raises(SourceUnavailable):
        for chunk in found.body:
            taken += len(chunk)
    found.body.close()
    assert taken < len(body)
    with pytest.raises(SourceUnavailable, match='corrupt'):  # now it is known: other replicas are asked at once
        source.open(row)
    assert disks.snapshot() == before


def test_junk_in_the_hash_folder_disturbs_nothing_and_stays(disks: Any, source: DiskSource,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    row = disks.put('o', b'x', T)
    for device in ('d0', 'd1'):
        [data] = disks.files('o', device)
        (data.parent / 'README').write_text('junk')
        (data.parent / '.1234.data.Ab12cd').write_text('half of an rsync')
        (data.parent / f'{Timestamp(T - 9).internal}.data').write_text('obsolete')
    before = disks.snapshot()
    assert b''.join(source.open(row).body) == b'x'
    assert disks.snapshot() == before
    assert 'Unexpected file' in caplog.text


def test_a_file_replaced_while_it_is_opened_is_opened_again(disks: Any, source: DiskSource,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    row = disks.put('o', b'x', T)
    diskfile = source._manager.diskfile_cls
    failures = [DiskFileStateChanged(), DiskFileStateChanged()]
    genuine = diskfile.open

    def flaky(self: Any, *args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return genuine(self, *args, **kwargs)

    monkeypatch.setattr(diskfile, 'open', flaky)
    assert b''.join(source.open(row).body) == b'x'
    assert not failures


def test_a_hung_disk_is_left_alone_for_a_while(disks: Any, source: DiskSource, runner: HereAndNow, clock: FakeClock,
                                               expected_warnings: Any) -> None:
    expected_warnings('device d. does not answer')
    row = disks.put('o', b'x', T)
    runner.hung = {'d0', 'd1'}
    with pytest.raises(SourceUnavailable):
        source.open(row)
    assert sorted(runner.calls) == ['d0', 'd1']
    runner.hung = set()
    with pytest.raises(SourceUnavailable):
        source.open(row)
    assert len(runner.calls) == 2
    clock.advance(DEVICE_REST_SECONDS)
    assert b''.join(source.open(row).body) == b'x'


def test_a_disk_that_hangs_in_mid_body_ends_the_body(disks: Any, source: DiskSource, runner: HereAndNow) -> None:
    found = source.open(disks.put('o', os.urandom(5 * SMALL_BYTES), T))
    chunks = iter(found.body)
    next(chunks)
    runner.hung = {'d0', 'd1'}
    with pytest.raises(SourceUnavailable):
        list(chunks)
    found.body.close()


def test_what_one_replica_cannot_give_is_sent_through_the_proxy(disks: Any, source: DiskSource) -> None:
    for name, header in (('e', 'X_Object_Sysmeta_Crypto_Body_Meta'), ('m', 'X_Object_Transient_Sysmeta_Crypto_Meta'),
                         ('l', 'X_Object_Sysmeta_Symlink_Target')):
        row = disks.put(name, b'x' * (2 * SMALL_BYTES), T, **{header: 'c/o'})
        with pytest.raises(ThroughProxy):
            source.open(row)


def test_devices_that_are_not_there_or_not_ours_are_passed_over(disks: Any, runner: HereAndNow) -> None:
    row = disks.put('o', b'x', T, devices=('d0', 'd1', 'far'))
    elsewhere = DiskSource(Placement(str(disks.swift_dir), '127.0.0.8'), devices=str(disks.devices), runner=runner)
    with pytest.raises(SourceUnavailable, match='no replica on this node'):
        elsewhere.open(row)
    unmounted = DiskSource(Placement(str(disks.swift_dir), '127.0.0.1'), devices=str(disks.swift_dir), runner=runner)
    with pytest.raises(SourceUnavailable, match='no such device folder'):
        unmounted.open(row)
    assert 'far' not in runner.calls


def test_the_newest_local_times_are_told_for_tombstones(disks: Any, source: DiskSource, make_row: Any) -> None:
    row = disks.put('o', b'x', T, devices=('d0',), X_Delete_At='1')
    disks.put('o', b'x', T, devices=('d1',))
    disks.delete('o', T + 1, devices=('d1',))
    assert source.newest(make_row('o', T - 1, deleted=True)) == {0: row.times, 1: None}
    truncated_file(disks)
    assert source.newest(make_row('o', T - 1, deleted=True)) == {1: None}


READ_AS_NOBODY = '''
import logging, os, sys
from swift.common import utils
from container_crawler.swift_dir import load_swift_dir
from s3_sync.errors import SourceUnavailable
from s3_sync.local.disk import DiskSource
from s3_sync.local.placement import Placement
from test.unit.local.conftest import row_of
from test.unit.local.test_disk import HereAndNow
load_swift_dir(sys.argv[1])
logging.basicConfig(stream=sys.stdout, format='%(levelname)s %(message)s', level=logging.WARNING)
source = DiskSource(Placement(sys.argv[1], '127.0.0.1'), devices=sys.argv[2], runner=HereAndNow())
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for _ in range(2):
    try:
        source.open(row_of('o', 1600000000))
    except SourceUnavailable as error:
        print('unavailable', error)
print('off', source.off_reason)
'''


@pytest.mark.parametrize('denied', ['file', 'folder'])
def test_another_users_files_switch_local_reads_off_once_and_loudly(disks: Any, denied: str) -> None:
    disks.put('o', b'x', T)
    for path in (disks.devices.parent, disks.swift_dir, disks.devices):
        path.chmod(0o755)
    for device in ('d0', 'd1'):
        [data] = disks.files('o', device)
        (data if denied == 'file' else data.parent).chmod(0)
    out = subprocess.run([sys.executable, '-c', READ_AS_NOBODY, str(disks.swift_dir), str(disks.devices)],
                         check=True, capture_output=True, text=True,
                         env={'PYTHONPATH': os.pathsep.join(sys.path)}).stdout
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ['ERROR', 'unavailable', 'unavailable', 'off']
    assert 'switched off' in lines[0] and 'Permission denied' in lines[0] and 'object server' in lines[0]
