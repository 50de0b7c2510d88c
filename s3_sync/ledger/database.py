"""The SQLite file below the ledger: opening, damage, transactions, errors.

Durability. WAL with ``synchronous=NORMAL``: a commit survives ``kill -9`` of
any process, because it is in the page cache before ``COMMIT`` returns. Power
loss may take the last commits, and always a suffix of them: the file goes
back to an earlier moment, progress and work entries together, because they
are committed together. Rows after that moment are simply read again, and
doing a row twice is harmless (every PUT is conditional, every decision is by
time). So ordinary commits do not pay for an fsync, which on a busy container
server's disk would stop the main process for tens of milliseconds. What
nobody would repeat (an operator's pause, retry, drop) is committed with
``transaction(durable=True)``, which syncs it and everything before it.

Damage. Only the owner (the daemon, under its ``NodeLock``) checks the whole
file, moves a damaged one aside and makes a new one. A new file is made under
another name and renamed, so an empty or half-made file in its place is damage
too, and an orphaned WAL is never replayed into a database it does not belong to.
"""
from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from s3_sync.errors import LedgerCorrupt, LedgerError
from s3_sync.ledger.schema import APPLICATION_ID, STEPS, VERSION

BUSY_SECONDS = 30.0
"""How long a write waits for another process's write. Theirs are small, but for an operator's retry of millions."""

_SIDE_FILES = ('', '-wal', '-shm')
_LEAST_BYTES = 512
"""Less than one page is an empty new database to SQLite, and damage to us."""
_EMPTY = 'the file is empty or cut short'
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MEANINGS = {
    sqlite3.SQLITE_FULL: 'disk full',
    sqlite3.SQLITE_IOERR: 'I/O error (disk full, over quota or failing?)',
    sqlite3.SQLITE_READONLY: 'not writable',
    sqlite3.SQLITE_CANTOPEN: 'cannot be opened (missing folder or permission)',
    sqlite3.SQLITE_PERM: 'permission denied',
    sqlite3.SQLITE_BUSY: f'locked by another process for more than {BUSY_SECONDS:.0f} s',
    sqlite3.SQLITE_LOCKED: 'locked',
}


def _primary_code(error: sqlite3.Error) -> int:
    return (getattr(error, 'sqlite_errorcode', None) or 0) & 0xff


def _nothing() -> None:
    pass


class Database:
    """One connection. Threads and green threads share it; a transaction is one thread's at a time.

    Must not be used on both sides of a fork. Every failure is a LedgerError,
    after which the file is as before the transaction and the object usable.
    """

    def __init__(self, path: str, *, owner: bool, logger: logging.Logger, stamp: str) -> None:
        """``stamp`` goes into the name of a file moved aside."""
        self.path = path
        self.replaced = False
        """Whether a damaged file was moved aside."""
        self.on_begin: Callable[[], None] = _nothing
        self.before_commit: Callable[[], None] = _nothing
        self.after_rollback: Callable[[], None] = _nothing
        self.lock = threading.RLock()
        self._depth = 0
        self._broken = False
        self._connection: sqlite3.Connection | None = None
        if owner:
            self._open_as_owner(logger, stamp)
        else:
            self._open_as_guest()

    # -- opening ---------------------------------------------------------------------

    def _open_as_owner(self, logger: logging.Logger, stamp: str) -> None:
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
            damage = self._damage_before_opening()
            if damage is None:
                try:
                    self._create_if_missing()
                    self._connect()
                    self._check()
                    self._migrate()
                except LedgerCorrupt as error:
                    damage = str(error)
            if damage is not None:
                self.close()
                aside = self._move_aside(stamp)
                logger.error('The ledger was damaged (%s). It was moved to %s and a new one is made: every container '
                             'will be read again from the start; failures and pauses that were listed are lost.',
                             damage, aside)
                self.replaced = True
                self._create_if_missing()
                self._connect()
            os.chmod(self.path, 0o600)
        except OSError as error:
            self.close()
            raise LedgerError(f'{self.path}: {error.strerror or error}') from error
        except BaseException:
            self.close()
            raise

    def _open_as_guest(self) -> None:
        if not os.path.exists(self.path):
            raise LedgerError(f'{self.path}: no ledger there; has the daemon run with this status_dir?')
        if os.path.getsize(self.path) < _LEAST_BYTES:
            raise LedgerCorrupt(f'{self.path}: {_EMPTY}; the daemon replaces it at its next start')
        try:
            self._connect()
            version = self._version()
            if version < VERSION:
                raise LedgerError(f'{self.path}: has version {version}, needs {VERSION}; start the daemon once')
        except BaseException:
            self.close()
            raise

    def _damage_before_opening(self) -> str | None:
        """What SQLite would not tell: an emptied file, or a WAL whose database is gone."""
        if not os.path.exists(self.path):
            return 'only its WAL was left' if os.path.exists(self.path + '-wal') else None
        return _EMPTY if os.path.getsize(self.path) < _LEAST_BYTES else None

    def _create_if_missing(self) -> None:
        if os.path.exists(self.path):
            return
        fresh = f'{self.path}.new'
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with self.errors(), contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute(f'PRAGMA application_id = {APPLICATION_ID}')
            _apply_steps(connection, 0)
        os.rename(fresh, self.path)
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _connect(self) -> None:
        with self.errors():
            # mode=rw: a file that vanished is an error, not an invitation to make an empty one.
            uri = f'file:{_uri_quoted(self.path)}?mode=rw'
            self._connection = connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
            # Before anything is written: it may be somebody else's.
            if connection.execute('PRAGMA application_id').fetchone()[0] != APPLICATION_ID:
                raise LedgerError(f'{self.path}: is a database of something else; move it away')
            if self._version() > VERSION:
                raise LedgerError(f'{self.path}: was written by a newer version of this software '
                                  f'(schema {self._version()}, this one knows {VERSION}); upgrade, or move it away '
                                  'to start over')
            connection.execute('PRAGMA journal_mode = WAL').fetchall()
            connection.execute('PRAGMA synchronous = NORMAL')
            connection.execute('PRAGMA foreign_keys = ON')
            connection.execute('PRAGMA journal_size_limit = 67108864')

    def _version(self) -> int:
        return int(self.query('PRAGMA user_version')[0][0])

    def _check(self) -> None:
        problems = [row[0] for row in self.query('PRAGMA quick_check(1)')]
        if problems != ['ok']:
            raise LedgerCorrupt(f'{self.path}: {problems[0]}')

    def _migrate(self) -> None:
        with self.errors():
            _apply_steps(self._open_connection(), self._version())

    def _move_aside(self, stamp: str) -> str:
        aside = f'{self.path}.corrupt-{stamp}'
        number = 0
        while os.path.exists(aside) or os.path.exists(aside + '-wal'):
            number += 1
            aside = f'{self.path}.corrupt-{stamp}.{number}'
        for suffix in _SIDE_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path + suffix, aside + suffix)
        return aside

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError(f'{self.path}: is closed')
        return self._connection

    def close(self) -> None:
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def copy_to(self, path: str) -> None:
        """A consistent copy in a new file."""
        with self.lock, self.errors(), contextlib.closing(sqlite3.connect(path)) as target:
            self._open_connection().backup(target)

    # -- using -----------------------------------------------------------------------

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> LedgerError:
        code = _primary_code(error)
        if code in _CORRUPT:
            return LedgerCorrupt(f'{self.path}: {error}; the daemon replaces it at its next start')
        meaning = _MEANINGS.get(code)
        return LedgerError(f'{self.path}: {meaning}: {error}' if meaning else f'{self.path}: {error}')

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        with self.lock, self.errors():
            return self._open_connection().execute(sql, params).fetchall()

    def one(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first row or None."""
        with self.lock, self.errors():
            return self._open_connection().execute(sql, params).fetchone()

    def write(self, sql: str, params: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Only inside ``transaction``, which also translates its errors."""
        return self._open_connection().execute(sql, params)

    def write_many(self, sql: str, params: Sequence[Sequence[Any]]) -> None:
        """Only inside ``transaction``."""
        self._open_connection().executemany(sql, params)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All or nothing. Inside another one of the same thread it joins that.

        A part that failed makes the whole fail, even when its error was caught.
        ``durable``: on the disk when this returns, not only in the kernel
        (counts for the outermost only).
        """
        with self.lock:
            if self._depth == 0:
                self._begin(durable)
            self._depth += 1
            try:
                yield
            except sqlite3.Error as error:
                self._broken = True
                raise self._translated(error) from error
            except BaseException:
                self._broken = True
                raise
            finally:
                self._depth -= 1
                if self._depth == 0 and self._broken:
                    self._roll_back()
            if self._depth == 0:
                if self._broken:
                    raise LedgerError(f'{self.path}: a part of the transaction failed; nothing was written')
                self._commit()

    def _begin(self, durable: bool) -> None:
        self._broken = False
        with self.errors():
            connection = self._open_connection()
            connection.execute(f'PRAGMA synchronous = {"FULL" if durable else "NORMAL"}')
            connection.execute('BEGIN IMMEDIATE')
        try:
            self.on_begin()
        except BaseException:
            self._roll_back()
            raise

    def _commit(self) -> None:
        try:
            self.before_commit()
            with self.errors():
                self._open_connection().execute('COMMIT')
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        connection = self._connection
        # A full disk may have rolled back already; then there is nothing to do.
        if connection is not None and connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute('ROLLBACK')
        self.after_rollback()


def _apply_steps(connection: sqlite3.Connection, version: int) -> None:
    for number in range(version, VERSION):
        connection.execute('BEGIN IMMEDIATE')
        try:
            for statement in STEPS[number]:
                connection.execute(statement)
            connection.execute(f'PRAGMA user_version = {number + 1}')
            connection.execute('COMMIT')
        except BaseException:
            if connection.in_transaction:
                connection.execute('ROLLBACK')
            raise


def _uri_quoted(path: str) -> str:
    return path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')
