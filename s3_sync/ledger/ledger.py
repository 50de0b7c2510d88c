"""The node's one durable memory: ``<status_dir>/1space-ledger.sqlite``.

Progress per (generation, database), work that is not done, local removals that
wait, pauses, facts. The daemon's main process is its owner and, but for an
operator's small changes through ``1space``, its only writer; all processes read it.
"""
from __future__ import annotations

import logging
import os
from datetime import UTC, datetime

from s3_sync.clock import Clock, SystemClock
from s3_sync.ledger.backoff import Backoff
from s3_sync.ledger.database import Database
from s3_sync.ledger.progress import ProgressPart
from s3_sync.ledger.removals import RemovalsPart
from s3_sync.ledger.work import WorkPart

FILE_NAME = '1space-ledger.sqlite'
_IMPORTS_CLOSED = 'ledger:imports-closed'
_SYSTEM_CLOCK = SystemClock()
_BACKOFF = Backoff()


class Ledger(WorkPart, ProgressPart, RemovalsPart):
    """See the parts: ``work``, ``progress``, ``removals``, ``control``. Every method may raise LedgerError.

    After an error nothing of the transaction is written, and the object works again when its
    cause is gone (a full disk that got space). Do not use one object on both sides of a fork, nor, in a
    monkey-patched process, outside the hub's thread.
    """

    rescan = False
    """True when a damaged file was replaced: everything will be read again from row 0."""

    @classmethod
    def open(cls, status_dir: str, *, clock: Clock = _SYSTEM_CLOCK, logger: logging.Logger | None = None,
             owner: bool = True, backoff: Backoff = _BACKOFF) -> Ledger:
        """``owner``: the daemon, holding ``NodeLock``; makes, migrates, checks and replaces the file.

        With ``owner=False`` (the ``1space`` command) a missing, damaged or
        outdated file is a LedgerError and left as it is.
        """
        stamp = datetime.fromtimestamp(clock.now(), UTC).strftime('%Y%m%dT%H%M%SZ')
        database = Database(ledger_path(status_dir), owner=owner, stamp=stamp,
                            logger=logger or logging.getLogger(__name__))
        ledger = cls(database, clock, backoff)
        ledger.rescan = database.replaced
        if database.replaced:
            # What the predecessor left is older than what was lost, and its failures are listed nowhere.
            ledger.save_fact(_IMPORTS_CLOSED, True)
        return ledger

    @property
    def imports_closed(self) -> bool:
        """Whether this file replaced a damaged one: then no status of the predecessor counts any more."""
        return bool(self.fact(_IMPORTS_CLOSED))

    def copy_to(self, status_dir: str) -> None:
        """Put a copy of everything, as it is now, into another folder that has no ledger. The daemon may go on."""
        self._database.copy_to(ledger_path(status_dir))

    def close(self) -> None:
        """May be called again. Afterwards every method raises LedgerError."""
        self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def ledger_path(status_dir: str) -> str:
    return os.path.join(status_dir, FILE_NAME)
