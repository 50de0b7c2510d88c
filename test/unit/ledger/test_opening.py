"""Opening: new, damaged, foreign, newer and missing files; permissions."""
from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import LedgerCorrupt, LedgerError
from s3_sync.ledger import Ledger, ledger_path
from s3_sync.ledger.schema import VERSION

from .helpers import GENERATION, row, work


@pytest.fixture
def folder(tmp_path):
    """A status folder with a ledger that was used and closed."""
    with Ledger.open(str(tmp_path)) as ledger:
        fill(ledger)
    return str(tmp_path)


def fill(ledger, count=400):
    with ledger.transaction():
        for number in range(count):
            ledger.record(GENERATION, work(f'object-{number:04}', detail='x' * 200))
        ledger.save_progress(GENERATION, 'db', account='AUTH_a', container='c', own_row=count, verified_row=0, share='',
                             evaluation='e')


def overwrite(path, offset, data):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(data)


DAMAGE = {
    'emptied': lambda path: os.truncate(path, 0),
    'cut within the header': lambda path: os.truncate(path, 60),
    'cut in the middle': lambda path: os.truncate(path, os.path.getsize(path) // 2 // 4096 * 4096),
    'cut within a page': lambda path: os.truncate(path, os.path.getsize(path) - 1000),
    'garbage header': lambda path: overwrite(path, 0, os.urandom(100)),
    'garbage everywhere': lambda path: overwrite(path, 0, os.urandom(os.path.getsize(path))),
    'garbage in a page of data': lambda path: overwrite(
        path, os.path.getsize(path) // 4096 // 2 * 4096, b'\xa5' * 4096),
    'text': lambda path: overwrite(path, 0, b'{"last_row": 3}\n' * 100),
}


@pytest.mark.usefixtures('told_of_damage')
@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_file_is_moved_aside_loudly_and_a_new_one_works(folder, caplog, damage):
    DAMAGE[damage](ledger_path(folder))
    damaged = open_bytes(ledger_path(folder))
    with caplog.at_level(logging.ERROR), Ledger.open(folder, clock=FakeClock()) as ledger:
        assert ledger.rescan
        assert ledger.progress(GENERATION, 'db') is None
        fill(ledger)
    aside = ledger_path(folder) + '.corrupt-20231114T221320Z'
    assert open_bytes(aside) == damaged
    assert aside in caplog.text and 'read again' in caplog.text
    with Ledger.open(folder) as ledger:
        assert not ledger.rescan
        assert ledger.progress(GENERATION, 'db').own_row == 400


def open_bytes(path):
    with open(path, 'rb') as file:
        return file.read()


@pytest.mark.usefixtures('told_of_damage')
def test_a_second_damage_in_the_same_second_keeps_both_files(folder):
    for _ in range(2):
        os.truncate(ledger_path(folder), 0)
        Ledger.open(folder, clock=FakeClock()).close()
    assert sorted(name for name in os.listdir(folder) if name.endswith(('Z', '.1'))) == [
        '1space-ledger.sqlite.corrupt-20231114T221320Z', '1space-ledger.sqlite.corrupt-20231114T221320Z.1']


def test_a_wal_whose_database_is_gone_is_damage_and_not_replayed(folder, expected_warnings):
    expected_warnings('damaged .only its WAL was left')
    overwrite_with_open_wal(folder)
    os.unlink(ledger_path(folder))
    with Ledger.open(folder) as ledger:
        assert ledger.rescan
        assert ledger.counts() == {}


def overwrite_with_open_wal(folder, garbage_from=None):
    """Leave the files as ``kill -9`` does, a filled WAL beside the database; optionally spoil the WAL."""
    copy = folder + '-copy'
    with Ledger.open(folder) as ledger:
        for number in range(400, 420):
            with ledger.transaction():
                ledger.record(GENERATION, work(f'object-{number:04}'))
                ledger.save_progress(GENERATION, 'db', account='AUTH_a', container='c', own_row=number + 1,
                                     verified_row=0, share='', evaluation='e')
        shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    shutil.move(copy, folder)
    wal = ledger_path(folder) + '-wal'
    if garbage_from is not None:
        overwrite(wal, garbage_from(os.path.getsize(wal)), os.urandom(5000))


@pytest.mark.parametrize(('garbage_from', 'all_lost'), [
    (lambda size: 0, True), (lambda size: size // 2, False), (lambda size: size - 5000, False)])
def test_a_spoilt_wal_goes_back_to_an_earlier_commit_whole(folder, garbage_from, all_lost):
    overwrite_with_open_wal(folder, garbage_from)
    with Ledger.open(folder) as ledger:
        done = ledger.progress(GENERATION, 'db').own_row
        assert (done == 400) if all_lost else (400 < done < 420)
        assert ledger.counts() == {(GENERATION, 'failed'): done}
        assert len(list(ledger.failures())) == done


def test_an_untouched_wal_of_a_killed_process_is_replayed(folder):
    overwrite_with_open_wal(folder)
    with Ledger.open(folder) as ledger:
        assert ledger.progress(GENERATION, 'db').own_row == 420
        assert not ledger.rescan


@pytest.mark.parametrize('damage', ['emptied', 'garbage header', 'garbage everywhere', 'cut in the middle'])
def test_the_command_leaves_a_damaged_file_where_it_is(folder, damage):
    DAMAGE[damage](ledger_path(folder))
    before = open_bytes(ledger_path(folder))
    with pytest.raises(LedgerError):
        Ledger.open(folder, owner=False)
    assert open_bytes(ledger_path(folder)) == before
    assert not [name for name in os.listdir(folder) if 'corrupt' in name]


@pytest.mark.usefixtures('told_of_damage')
def test_damage_met_while_running_says_so_and_is_healed_by_the_next_start(folder):
    half = os.path.getsize(ledger_path(folder)) // 2  # the tables themselves are described in the first pages
    overwrite(ledger_path(folder), half, b'\xa5' * half)
    with Ledger.open(folder, owner=False) as ledger, pytest.raises(LedgerCorrupt, match='next start'):
        list(ledger.failures())
    with Ledger.open(folder) as ledger:
        assert ledger.rescan


@pytest.mark.usefixtures('told_of_damage')
def test_no_predecessor_status_counts_after_damage(folder):
    os.truncate(ledger_path(folder), 0)
    with Ledger.open(folder) as ledger:
        assert ledger.imports_closed
    with Ledger.open(folder) as ledger:
        assert ledger.imports_closed and not ledger.rescan


def test_a_file_of_a_newer_version_is_refused_and_left_alone(folder):
    with sqlite3.connect(ledger_path(folder)) as connection:
        connection.execute(f'PRAGMA user_version = {VERSION + 1}')
    connection.close()
    for owner in (True, False):
        with pytest.raises(LedgerError, match='newer version'):
            Ledger.open(folder, owner=owner)
    assert not [name for name in os.listdir(folder) if 'corrupt' in name]


def test_a_file_of_an_older_version_needs_the_daemon(folder):
    with sqlite3.connect(ledger_path(folder)) as connection:
        connection.execute('PRAGMA user_version = 0')
    connection.close()
    with pytest.raises(LedgerError, match='start the daemon once'):
        Ledger.open(folder, owner=False)


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    with sqlite3.connect(ledger_path(str(tmp_path))) as connection:
        connection.execute('CREATE TABLE precious (x)')
    connection.close()
    before = open_bytes(ledger_path(str(tmp_path)))
    for owner in (True, False):
        with pytest.raises(LedgerError, match='something else'):
            Ledger.open(str(tmp_path), owner=owner)
    assert open_bytes(ledger_path(str(tmp_path))) == before
    assert os.listdir(tmp_path) == ['1space-ledger.sqlite']


def test_all_files_are_for_their_owner_only(tmp_path):
    old = os.umask(0)
    try:
        with Ledger.open(str(tmp_path / 'status')) as ledger:
            ledger.save_fact('k', 1)
            modes = {name: stat.S_IMODE(os.stat(tmp_path / 'status' / name).st_mode)
                     for name in os.listdir(tmp_path / 'status')}
    finally:
        os.umask(old)
    assert modes == {f'1space-ledger.sqlite{suffix}': 0o600 for suffix in ('', '-wal', '-shm')}


def test_a_file_others_could_read_is_closed_to_them(folder):
    os.chmod(ledger_path(folder), 0o644)
    Ledger.open(folder).close()
    assert stat.S_IMODE(os.stat(ledger_path(folder)).st_mode) == 0o600


def test_a_creation_that_was_cut_short_is_simply_done_again(tmp_path):
    (tmp_path / '1space-ledger.sqlite.new').write_bytes(b'half')
    with Ledger.open(str(tmp_path)) as ledger:
        assert not ledger.rescan
        ledger.save_fact('k', 1)
    assert os.listdir(tmp_path) == ['1space-ledger.sqlite']


def test_a_status_folder_that_cannot_be_used_is_a_clear_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(LedgerError, match=str(tmp_path / 'file')):
        Ledger.open(str(tmp_path / 'file'))


def test_the_command_says_when_no_daemon_ever_ran(tmp_path):
    with pytest.raises(LedgerError, match='has the daemon run'):
        Ledger.open(str(tmp_path), owner=False)
    assert os.listdir(tmp_path) == []


def test_a_folder_with_awkward_characters_works(tmp_path):
    folder = str(tmp_path / 'a?b#c%41 d')
    with Ledger.open(folder) as ledger:
        ledger.save_fact('k', 1)
    assert os.path.exists(ledger_path(folder))


def test_a_closed_ledger_says_so_and_may_be_closed_again(tmp_path):
    ledger = Ledger.open(str(tmp_path))
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match='closed'):
        ledger.resolve(GENERATION, 'a', 'c', 'o', row().created_at)
    with pytest.raises(LedgerError, match='closed'):
        ledger.counts()


def test_a_copy_holds_everything_and_the_original_goes_on(ledger, tmp_path):
    ledger.record(GENERATION, work('a'))
    folder = tmp_path / 'copy'
    folder.mkdir()
    ledger.copy_to(str(folder))
    ledger.record(GENERATION, work('b'))
    with Ledger.open(str(folder)) as copy:
        assert [entry.row.name for entry in copy.failures()] == ['a']
        copy.drop()
    assert [entry.row.name for entry in ledger.failures()] == ['a', 'b']
