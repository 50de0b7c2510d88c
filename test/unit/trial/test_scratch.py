from __future__ import annotations

import os
import signal
import subprocess
import sys

from s3_sync.trial.scratch import ScratchFolder

OWNER = """
import sys
from s3_sync.trial.scratch import ScratchFolder
with ScratchFolder() as folder:
    print(folder.path, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_when_closed_even_twice():
    with ScratchFolder() as folder:
        (folder.path / 'file').write_text('x')
        folder.close()
        assert not folder.path.exists()


def test_it_holds_the_attributes_of_swift():
    with ScratchFolder() as folder:
        file = folder.path / 'file'
        file.touch()
        os.setxattr(file, 'user.swift.metadata', b'x' * 3000)
        assert len(os.getxattr(file, 'user.swift.metadata')) == 3000


def test_a_new_one_removes_those_of_killed_owners_and_no_others():
    with ScratchFolder() as mine, subprocess.Popen(
            [sys.executable, '-c', OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        theirs = owner.stdout.readline().strip()
        with ScratchFolder():
            assert os.path.exists(theirs)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert os.path.exists(theirs)
        with ScratchFolder():
            assert not os.path.exists(theirs)
            assert mine.path.exists()
