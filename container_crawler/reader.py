"""Reads container databases through Swift's own broker. Every function here runs in a device thread.

Pending files are committed as Swift's servers do when they read, unless told
otherwise; nothing else is written, and a corrupt database is reported, not
quarantined (that is for Swift's auditor). Databases are opened for each call:
a file that replication replaced is never read through an old handle.
"""
from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from types import FunctionType
from typing import Any, NamedTuple

from swift.common.exceptions import LockTimeout
from swift.common.utils import get_db_files
from swift.container import backend
from swift.container.backend import ContainerBroker

from container_crawler.exceptions import DatabaseBroken, DatabaseBusy
from container_crawler.pending import pending_rows
from container_crawler.rows import Row
from container_crawler.shards import ContainerPath, shard_paths

LOCK_SECONDS = 5.0
"""How long to wait for a database or its pending file that somebody else has locked."""


class DatabaseFile(NamedTuple):
    """One readable database file of a hash folder."""

    path: str
    retiring: bool
    db_id: str
    max_row: int
    """Highest ROWID ever given, 0 when none was."""
    object_count: int
    pending: tuple[Row, ...] = ()
    """Rows that ``max_row`` counts and the file does not hold: its pending file was left alone."""


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What a hash folder holds: its database files, and what the newest of them says of the container."""

    account: str
    container: str
    is_root: bool
    deleted: bool
    files: tuple[DatabaseFile, ...]
    """Two while the container is being sharded: the retiring one first."""
    info: Mapping[str, Any]
    """``get_info()`` of the newest file plus ``metadata_timestamps``."""
    metadata: Mapping[str, str]
    shards: tuple[ContainerPath, ...]
    """Of a root that is or was sharded: where its shards are, shrunk ones included."""
    complaints: tuple[str, ...]
    """What Swift's broker would have logged."""


class Chunk(NamedTuple):
    rows: list[Row]
    complete: bool
    """Whether nothing more was to be read up to the row asked for."""


class _Complaints:
    """Stands for the broker's logger: nothing may be logged in a device thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _keep(self, message: object, *args: object, **_: object) -> None:
        values = args[0] if len(args) == 1 and isinstance(args[0], dict) else args
        try:
            self.lines.append(str(message) % values if args else str(message))
        except (TypeError, ValueError):
            self.lines.append(f'{message} {args}')

    exception = error = warning = critical = _keep

    def debug(self, *_: object, **__: object) -> None:
        """Not of interest."""

    info = debug


class _Here:
    """Stands for ``tpool``: this is a native thread already, and tpool serves green ones only."""

    @staticmethod
    def execute(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


_merge_items_here = FunctionType(
    ContainerBroker.merge_items.__code__, {**vars(backend), 'tpool': _Here}, 'merge_items',
    ContainerBroker.merge_items.__defaults__)
"""Swift's own code, unchanged but for the thread where the merge runs."""


class _Broker(ContainerBroker):  # type: ignore[misc]  # Swift has no types
    merge_items = _merge_items_here

    def quarantine(self, reason: str) -> None:
        raise DatabaseBroken(f'{self.db_file}: {reason}')


def inspect_folder(folder: str, commit: bool = True) -> FolderFacts | None:
    """State of the databases in ``folder``, None when there is none. Commits the pending file.

    With ``commit`` False nothing is written: rows of the pending file are told
    in ``DatabaseFile.pending``. Raises DatabaseBusy, DatabaseBroken.
    """
    name_hash = folder.rpartition('/')[2]
    paths = get_db_files(f'{folder}/{name_hash}.db')[-2:]
    if not paths:
        return None
    try:
        return _facts(paths, commit)
    except _Gone as error:
        raise DatabaseBusy(f'{error}: replaced while it was read') from error


def _facts(paths: list[str], commit: bool) -> FolderFacts:
    complaints = _Complaints()
    files = []
    for path in paths[:-1]:
        with _readable(path, complaints, skip_commits=True) as retiring:
            files.append(_database_file(retiring, retiring.get_info(), retiring=True))
    with _readable(paths[-1], complaints, skip_commits=not commit) as newest:
        if not commit:
            with newest.get() as connection:
                connection.execute('PRAGMA query_only = ON')  # brokers bring old schemas up to date when they read
        info, deleted = newest.get_info_is_deleted()
        files.append(_database_file(newest, info, retiring=False))
        if not commit:
            files[-1] = _with_pending(newest, files[-1])
        metadata = newest.metadata
        is_root = newest.is_root_container()
        shards = shard_paths(newest.get_shard_ranges(include_deleted=True)) if is_root else ()
    info['metadata_timestamps'] = {name: value[1] for name, value in metadata.items()}
    return FolderFacts(
        account=info['account'], container=info['container'], is_root=is_root, deleted=deleted,
        files=tuple(files), info=info,
        metadata={name: value[0] for name, value in metadata.items() if value[0] != ''},
        shards=shards, complaints=tuple(complaints.lines))


def read_rows(file: DatabaseFile, after: int, upto: int, limit: int) -> Chunk | None:
    """Rows with ``after`` < ROWID <= ``upto``, deleted ones included, at most ``limit``.

    None when the file is gone or holds another database by now. Raises
    DatabaseBusy, DatabaseBroken.
    """
    query = ('SELECT ROWID, name, created_at, size, content_type, etag, deleted, storage_policy_index '
             'FROM object WHERE ROWID > ? AND ROWID <= ? ORDER BY ROWID LIMIT ?')
    try:
        with _readable(file.path, _Complaints(), skip_commits=True) as broker, broker.get() as connection:
            identity = connection.execute('SELECT id FROM container_info').fetchone()
            if identity is None or identity[0] != file.db_id:
                return None
            connection.row_factory = None
            superseded = {(row.name, row.policy_index) for row in file.pending}
            while True:
                found = [Row(n, name, created_at, size, content_type, etag, bool(deleted), policy_index)
                         for n, name, created_at, size, content_type, etag, deleted, policy_index
                         in connection.execute(query, (after, upto, limit))]
                complete = len(found) < limit or found[-1].row_id >= upto
                rows = [r for r in found if (r.name, r.policy_index) not in superseded] if superseded else found
                if rows or complete:
                    break
                after = found[-1].row_id
    except _Gone:
        return None
    if complete and file.pending:
        rows += [row for row in file.pending if after < row.row_id <= upto]
    return Chunk(rows, complete)


def read_names(file: DatabaseFile, deleted: bool, after: str, prefix: str, limit: int) -> Chunk | None:
    """Live rows, or tombstones, in order of their names: those behind ``after`` that begin with ``prefix``.

    At most ``limit``; rows of one name in several policies are never torn apart.
    What ``file.pending`` holds is not taken into account. None and errors as
    ``read_rows``.
    """
    query = ('SELECT ROWID, name, created_at, size, content_type, etag, deleted, storage_policy_index '
             'FROM object WHERE deleted = ? AND name > ? AND name >= ? ORDER BY name LIMIT ?')
    try:
        with _readable(file.path, _Complaints(), skip_commits=True) as broker, broker.get() as connection:
            identity = connection.execute('SELECT id FROM container_info').fetchone()
            if identity is None or identity[0] != file.db_id:
                return None
            connection.row_factory = None
            found = [Row(n, name, created_at, size, content_type, etag, bool(gone), policy_index)
                     for n, name, created_at, size, content_type, etag, gone, policy_index
                     in connection.execute(query, (int(deleted), after, prefix, limit))]
    except _Gone:
        return None
    rows = list(takewhile(lambda row: row.name.startswith(prefix), found))
    if len(found) < limit or len(rows) < len(found):
        return Chunk(rows, True)
    whole = [row for row in rows if row.name != rows[-1].name]
    return Chunk(whole or rows, False)


def _database_file(broker: _Broker, info: Mapping[str, Any], *, retiring: bool) -> DatabaseFile:
    return DatabaseFile(broker.db_file, retiring, info['id'], max(0, broker.get_max_row()), info['object_count'])


def _with_pending(broker: _Broker, file: DatabaseFile) -> DatabaseFile:
    with broker.get() as connection:
        pending = pending_rows(broker, connection, file.max_row + 1)
    return file._replace(max_row=file.max_row + len(pending), pending=pending)


class _Gone(Exception):
    """The database file vanished."""


@contextmanager
def _readable(path: str, complaints: _Complaints, *, skip_commits: bool) -> Iterator[_Broker]:
    """A broker of exactly this file; Swift's errors become ours."""
    broker = _Broker(path, timeout=LOCK_SECONDS, pending_timeout=LOCK_SECONDS, logger=complaints,
                     force_db_file=True, skip_commits=skip_commits)
    try:
        broker.reload_db_files()  # now: doing so later would close the connection
        with broker:
            yield broker
    except LockTimeout as error:
        raise DatabaseBusy(f'{path}: locked') from error
    except OSError as error:
        raise DatabaseBroken(f'{path}: {error}') from error
    except sqlite3.DatabaseError as error:
        if not os.path.exists(path):
            raise _Gone(path) from error
        if 'locked' in str(error):
            raise DatabaseBusy(f'{path}: {error}') from error
        raise DatabaseBroken(f'{path}: {error}') from error
