"""Tell by stats alone whether a container's databases may have changed.

A new row may touch only ``.db.pending``; a database replaced by replication is
renamed over the old one; sharding adds a file. So inode, size and time of every
database file of the hash folder and of its pending file count, taken before
reading: whatever changes afterwards differs from the stamp.

File times have the kernel's tick (or, on old file systems, a second) as grain:
a file can change again within the grain and look the same. A stamp that is not
older than that proves nothing, and the folder is looked at once more.
"""
from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

GRAIN_SECONDS = 1.0


class Stamp(NamedTuple):
    value: int
    """Equal values: nothing changed in between."""
    settled: bool
    """Whether the files are old enough for that to hold."""


def take_stamp(folder: str) -> Stamp | None:
    """Stamp of a hash folder, None when it holds no database.

    Raises OSError when the folder cannot be read though it may be there.
    """
    files = []
    newest = 0
    found = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith('.db'):
                    found = True
                elif not name.endswith('.db.pending'):
                    continue
                stat = entry.stat()
                files.append((name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
                newest = max(newest, stat.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not found:
        return None
    files.sort()
    # The kernel dated the files with the real clock, so it is the one to compare with.
    age = time.time() - newest / 1e9
    return Stamp(hash(tuple(files)), not -GRAIN_SECONDS < age < GRAIN_SECONDS)


def take_stamps(folders: Sequence[str]) -> list[Stamp | None | OSError]:
    """Stamps of many folders of one device; an error concerns its own folder only."""
    stamps: list[Stamp | None | OSError] = []
    for folder in folders:
        try:
            stamps.append(take_stamp(folder))
        except OSError as error:
            stamps.append(error)
    return stamps
