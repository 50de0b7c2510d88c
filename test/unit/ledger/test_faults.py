"""kill -9, full disks, other processes and threads, for real."""
from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time

import pytest

from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger, ledger_path

from .helpers import GENERATION, child, row, work

WRITER = '''
import sys
from test.unit.ledger.helpers import GENERATION, row, work
from s3_sync.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
start = (ledger.progress(GENERATION, 'db') or type('None', (), {'own_row': 0})).own_row
for number in range(start + 1, 1_000_000):
    with ledger.transaction():
        for part in range(20):
            ledger.record(GENERATION, work(f'o{number}-{part}'))
        ledger.save_progress(GENERATION, 'db', account='AUTH_a', container='c', own_row=number, verified_row=0,
                             share='', evaluation='e')
        ledger.add_totals(GENERATION, chunks=1)
    print(number, flush=True)
'''


def test_after_kill_9_everything_reported_is_there_and_nothing_is_half_there(tmp_path):
    for commits in (3, 17, 40):
        with child(WRITER, str(tmp_path)) as process:
            reported = [int(process.stdout.readline()) for _ in range(commits)][-1]
            process.send_signal(signal.SIGKILL)
            process.wait()
            rest = process.stdout.read().split('\n')[:-1]
        reported = int(rest[-1]) if rest else reported
        with Ledger.open(str(tmp_path)) as ledger:
            done = ledger.progress(GENERATION, 'db').own_row
            assert not ledger.rescan
            assert done in (reported, reported + 1)
            assert ledger.totals() == {GENERATION: {'chunks': done}}
            assert ledger.counts() == {(GENERATION, 'failed'): 20 * done}
            assert sum(1 for _ in ledger.failures()) == 20 * done


def test_a_full_database_is_an_error_and_nothing_is_half_written(ledger):
    ledger.record(GENERATION, work('before'))
    pages = ledger._database.one('PRAGMA page_count')[0]
    ledger._database.query(f'PRAGMA max_page_count = {pages + 10}')
    with pytest.raises(LedgerError, match='disk full'), ledger.transaction():
        for number in range(1000):
            ledger.record(GENERATION, work(f'o{number}', detail='x' * 400))
    assert ledger.counts() == {(GENERATION, 'failed'): 1}
    assert [entry.row.name for entry in ledger.failures()] == ['before']
    ledger._database.query('PRAGMA max_page_count = 1000000')
    with ledger.transaction():
        for number in range(1000):
            ledger.record(GENERATION, work(f'o{number}', detail='x' * 400))
    assert ledger.counts() == {(GENERATION, 'failed'): 1001}


LIMITED = '''
import os, resource, signal, sys
from test.unit.ledger.helpers import GENERATION, work
from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger, ledger_path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger.open(sys.argv[1])
ledger.record(GENERATION, work('before'))
wal = os.path.getsize(ledger_path(sys.argv[1]) + '-wal')
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def fill():
    with ledger.transaction(durable=True):
        for number in range(2000):
            ledger.record(GENERATION, work(f'o{number}', detail='x' * 400))

resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 10_000, hard))
for _ in range(3):
    try:
        fill()
    except LedgerError as error:
        print('refused', error)
assert ledger.counts() == {(GENERATION, 'failed'): 1}, ledger.counts()
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
fill()
assert ledger.counts() == {(GENERATION, 'failed'): 2001}, ledger.counts()
ledger.close()
print('recovered')
'''


def test_a_disk_that_refuses_writes_loses_nothing_and_the_same_object_works_again_afterwards(tmp_path):
    with child(LIMITED, str(tmp_path)) as process:
        lines = process.stdout.read().splitlines()
    assert [line.split()[0] for line in lines] == ['refused', 'refused', 'refused', 'recovered']
    assert 'I/O error' in lines[0]
    with Ledger.open(str(tmp_path)) as ledger:
        assert not ledger.rescan
        assert ledger.counts() == {(GENERATION, 'failed'): 2001}


OPENER = '''
import resource, signal, sys
from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
try:
    Ledger.open(sys.argv[1])
except LedgerError as error:
    print('refused')
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
ledger = Ledger.open(sys.argv[1])
print('opened', ledger.rescan)
ledger.close()
'''


def test_a_first_start_on_a_full_disk_is_an_error_and_leaves_no_half_made_file(tmp_path):
    with child(OPENER, str(tmp_path)) as process:
        assert process.stdout.read().split() == ['refused', 'opened', 'False']


COMMAND = '''
import sys
from test.unit.ledger.helpers import GENERATION
from s3_sync.ledger import Ledger
ledger = Ledger.open(sys.argv[1], owner=False)
print('ready', flush=True)
for _ in range(5):
    ledger.pause(GENERATION)
    seen = list(ledger.failures())
    assert len({entry.row.name for entry in seen}) == len(seen)
    ledger.retry(path_prefix='AUTH_a/c/o1')
    assert all(count > 0 for count in ledger.counts().values())
    ledger.resume()
ledger.close()
print('done', flush=True)
'''


def test_a_command_reads_and_writes_beside_a_busy_daemon(ledger, tmp_path):
    ledger.record(GENERATION, work('o1'))
    with child(COMMAND, str(tmp_path)) as process:
        assert process.stdout.readline() == 'ready\n'
        rounds = 0
        while process.poll() is None:
            rounds += 1
            with ledger.transaction():
                for number in range(50):
                    ledger.record(GENERATION, work(f'o{number}-{rounds % 7}'))
                for number in range(50):
                    ledger.resolve(GENERATION, 'AUTH_a', 'c', f'o{number}-{(rounds + 3) % 7}', row().created_at)
            time.sleep(0.002)  # a daemon does something else, too
        assert process.stdout.read() == 'done\n'
        assert process.returncode == 0
    assert ledger.counts().get((GENERATION, 'failed'), 0) == len(list(ledger.failures()))
    assert not ledger.is_paused(GENERATION)


def test_threads_share_one_object_without_mixing_transactions(ledger):
    errors = []

    def chunk(container: str) -> None:
        try:
            for number in range(30):
                with ledger.transaction():
                    ledger.record(GENERATION, work(f'o{number}', container=container))
                    ledger.save_progress(GENERATION, container, account='AUTH_a', container=container,
                                         own_row=number + 1, verified_row=0, share='', evaluation='e')
                    if number % 3 == 2:
                        ledger.resolve(GENERATION, 'AUTH_a', container, f'o{number}', row().created_at)
        except Exception as error:  # shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=chunk, args=(f'c{number}',)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ledger.counts() == {(GENERATION, 'failed'): 80}
    assert len(list(ledger.failures())) == 80


GREEN = '''
from s3_sync.concurrency import GreenPool, monkey_patch, sleep
monkey_patch()
import sys
from test.unit.ledger.helpers import GENERATION, work
from s3_sync.ledger import Ledger
ledger = Ledger.open(sys.argv[1])

def chunk(number):
    try:
        with ledger.transaction():
            ledger.record(GENERATION, work(f'a{number}'))
            sleep(0)
            ledger.record(GENERATION, work(f'b{number}'))
            if number % 2:
                raise InterruptedError
    except InterruptedError:
        pass

pool = GreenPool(10)
for number in range(50):
    pool.spawn_n(chunk, number)
pool.waitall()
assert ledger.counts() == {(GENERATION, 'failed'): 50}, ledger.counts()
print(all(int(entry.row.name[1:]) % 2 == 0 for entry in ledger.failures()))
ledger.close()
'''


def test_green_threads_that_switch_inside_a_transaction_do_not_mix(tmp_path):
    with child(GREEN, str(tmp_path)) as process:
        assert process.stdout.read() == 'True\n'


def test_a_foreign_lock_on_the_file_is_a_clear_error_and_passes(ledger, tmp_path):
    ledger._database.query('PRAGMA busy_timeout = 10')
    other = sqlite3.connect(ledger_path(str(tmp_path)), isolation_level=None)
    try:
        other.execute('BEGIN IMMEDIATE')
        with pytest.raises(LedgerError, match='locked by another process'):
            ledger.save_fact('k', 1)
        other.execute('ROLLBACK')
    finally:
        other.close()
    ledger.save_fact('k', 1)
    assert ledger.fact('k') == 1


def test_operators_changes_are_synced_to_the_disk_and_ordinary_ones_are_not(ledger):
    def level() -> int:
        return ledger._database.one('PRAGMA synchronous')[0]

    normal, full = 1, 2
    with ledger.transaction():
        assert level() == normal
    with ledger.transaction(durable=True):
        assert level() == full
    ledger.pause(GENERATION)
    assert level() == full
    ledger.save_fact('k', 1)
    assert level() == normal


def test_the_file_is_in_wal_mode(ledger, tmp_path):
    assert ledger._database.one('PRAGMA journal_mode')[0] == 'wal'
    assert os.path.exists(ledger_path(str(tmp_path)) + '-wal')
