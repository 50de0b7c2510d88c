from __future__ import annotations

import os
import signal

import pytest

from s3_sync.errors import LedgerError
from s3_sync.ledger import NodeLock, NodeLockHeld, holder

from .helpers import child

HOLD = '''
import sys
from s3_sync.ledger import NodeLock
lock = NodeLock(sys.argv[1])
print('held', flush=True)
sys.stdin.read()
'''


def test_a_second_daemon_is_told_who_the_first_one_is(tmp_path):
    with child(HOLD, str(tmp_path)) as process:
        assert process.stdout.readline() == 'held\n'
        with pytest.raises(NodeLockHeld, match=f'process {process.pid};') as caught:
            NodeLock(str(tmp_path))
        assert caught.value.pid == process.pid
        assert isinstance(caught.value, LedgerError)
        assert holder(str(tmp_path)) == process.pid


def test_a_killed_daemon_leaves_nothing_in_the_way(tmp_path):
    with child(HOLD, str(tmp_path)) as process:
        assert process.stdout.readline() == 'held\n'
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holder(str(tmp_path)) is None
    with NodeLock(str(tmp_path)):
        assert holder(str(tmp_path)) == os.getpid()
    assert holder(str(tmp_path)) is None


def test_a_released_lock_can_be_taken_again(tmp_path):
    lock = NodeLock(str(tmp_path / 'made'))
    lock.release()
    lock.release()
    NodeLock(str(tmp_path / 'made')).release()


def test_a_worker_process_does_not_keep_the_lock_of_a_daemon_that_died(tmp_path):
    lock = NodeLock(str(tmp_path))
    with child('import sys; print("up", flush=True); sys.stdin.read()') as worker:
        assert worker.stdout.readline() == 'up\n'
        os.close(lock._descriptor)  # as the end of the process does
        NodeLock(str(tmp_path)).release()
        worker.kill()


def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(LedgerError, match='file'):
        NodeLock(str(tmp_path / 'file'))
    assert holder(str(tmp_path / 'file')) is None
