"""A folder for the data of trial servers that cannot be left behind.

Swift keeps object metadata in extended attributes: 90 headers need more than
ext4 gives, tmpfs on a recent kernel is enough. A folder in memory must not
outlive its owner, whatever ended it: each holds a lock for as long as its
owner lives, and every new one first removes those whose lock is free.
"""
from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

PREFIX = '1space-trial-'
LOCK = '.owner'
SHARED_MEMORY = Path('/dev/shm')  # noqa: S108 - where Linux mounts tmpfs for everybody
MINIMUM_FREE_BYTES = 1 << 30
XATTR_BYTES = 8192


class ScratchFolder:
    """A fresh folder; removed by ``close``, or by the next one when the owner was killed."""

    def __init__(self) -> None:
        parent = _parent()
        _sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Locked before it has the name that a sweep looks for.
        self._lock = _locked(self.path / f'{LOCK}.new')
        os.rename(self.path / f'{LOCK}.new', self.path / LOCK)

    def close(self) -> None:
        """Remove the folder. Safe to call twice."""
        if self._lock is None:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

    def __enter__(self) -> ScratchFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _parent() -> Path:
    """Shared memory when it is roomy and holds large attributes, else the system's temporary folder."""
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        usage = os.statvfs(SHARED_MEMORY)
        if usage.f_bavail * usage.f_frsize >= MINIMUM_FREE_BYTES and _holds_large_xattrs(SHARED_MEMORY):
            return SHARED_MEMORY
    return Path(tempfile.gettempdir())


def _holds_large_xattrs(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX) as file:
        try:
            os.setxattr(file.name, 'user.probe', b'x' * XATTR_BYTES)
        except OSError:
            return False
    return True


def _locked(path: Path) -> int | None:
    """The descriptor that holds the lock, or None when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(parent: Path) -> None:
    """Remove folders whose owner is gone. One without its lock is being made right now."""
    for folder in parent.glob(f'{PREFIX}*'):
        lock = folder / LOCK
        try:
            if folder.stat().st_uid != os.getuid() or not lock.exists():
                continue
            descriptor = _locked(lock)
        except OSError:
            continue
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
