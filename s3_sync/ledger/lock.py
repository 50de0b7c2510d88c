"""One daemon per status folder.

``flock`` on a file of its own: the kernel drops it with the last process that
holds the descriptor, however that one dies, so a left-over file means nothing.
"""
from __future__ import annotations

import contextlib
import fcntl
import os

from s3_sync.errors import LedgerError

FILE_NAME = '1space.lock'


class NodeLockHeld(LedgerError):
    """Another daemon works with this folder. ``pid``: its process, None when it did not say."""

    def __init__(self, path: str, pid: int | None) -> None:
        super().__init__(f'{path}: held by {f"process {pid}" if pid else "another process"}; '
                         'two daemons cannot share a status_dir')
        self.pid = pid


class NodeLock:
    """Held from construction (NodeLockHeld at once when taken) until ``release`` or the process's end."""

    def __init__(self, status_dir: str) -> None:
        self.path = os.path.join(status_dir, FILE_NAME)
        self._descriptor: int | None = None
        try:
            os.makedirs(status_dir, mode=0o750, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(f'{self.path}: {error.strerror}') from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            raise NodeLockHeld(self.path, pid) from error
        except OSError as error:
            os.close(descriptor)
            raise LedgerError(f'{self.path}: {error.strerror}') from error
        self._descriptor = descriptor
        # Only a courtesy to the next one who asks: a full disk must not keep the daemon from starting.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f'{os.getpid()}\n'.encode(), 0)

    def release(self) -> None:
        """Let another daemon start. May be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def __enter__(self) -> NodeLock:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def holder(status_dir: str) -> int | None:
    """Process that runs with this folder, None when there is none (or it did not say). For status."""
    try:
        descriptor = os.open(os.path.join(status_dir, FILE_NAME), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _read_pid(descriptor: int) -> int | None:
    try:
        return int(os.pread(descriptor, 32, 0))
    except (ValueError, OSError):
        return None
