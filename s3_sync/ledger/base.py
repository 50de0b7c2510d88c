"""What the parts of the ledger share: one database, its places, one clock."""
from __future__ import annotations

from contextlib import AbstractContextManager

from s3_sync.clock import Clock
from s3_sync.ledger.backoff import Backoff
from s3_sync.ledger.database import Database
from s3_sync.ledger.places import Places


class LedgerPart:
    """Parent of the parts ``Ledger`` is put together from."""

    def __init__(self, database: Database, clock: Clock, backoff: Backoff) -> None:
        self._database = database
        self._clock = clock
        self._backoff = backoff
        self._places = Places(database)

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[None]:
        """Everything inside is written together or not at all; nests.

        Other writers, in this process and others, wait meanwhile: do no IO and
        no long work inside. ``durable`` also survives loss of power (see
        ``s3_sync.ledger.database``). Raises LedgerError, with nothing written.
        """
        return self._database.transaction(durable=durable)

    def _settle(self) -> None:
        """Before a read: bring the numbers of a transaction that we are in up to date."""
        with self._database.lock:
            self._places.flush()
