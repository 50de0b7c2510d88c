"""Queues what differs: into the node's ledger, from where the daemon takes it and looks before it sends.

Live rows are queued at once. Deletions need evidence: only tombstones of
users come here, and they wait until their container has been compared whole,
because only then is it known whether they are too many to be believed. Too many
are listed as given up, by the mass-delete guard's name, and an operator who
has looked lets them pass with ``failures retry``.
"""
from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import IO

from container_crawler.rows import Row
from s3_sync.config import Mapping
from s3_sync.delete_guard import HELD
from s3_sync.ledger import Kind, Ledger, Work

REASON = 'audit'
BATCH = 200


class Repairer:
    """Of one mapping."""

    def __init__(self, mapping: Mapping, ledger: Ledger, *, now: float) -> None:
        self._mapping = mapping
        self._ledger = ledger
        self._now = now
        self._deletes: IO[str] | None = None
        self._waiting = 0
        self.queued = 0
        self.held = 0
        """Deletions that the mass-delete guard keeps back."""

    def copy(self, container: str, row: Row, detail: str) -> None:
        """Have the daemon look at a live row again."""
        with self._ledger.transaction():
            self._record(container, row, 'failed', REASON, detail)
        self.queued += 1

    def delete(self, row: Row) -> None:
        """The same for a tombstone, once the container is done."""
        if self._deletes is None:
            self._deletes = tempfile.TemporaryFile('w+', encoding='utf-8', errors='surrogatepass')  # noqa: SIM115
        self._deletes.write(json.dumps(row) + '\n')
        self._waiting += 1

    def container_done(self, container: str, remote_objects: int) -> None:
        """Decide on the deletions of a container that was compared whole and has so many objects at the remote."""
        mapping = self._mapping
        too_many = (self._waiting > mapping.max_delete_count
                    and self._waiting > mapping.max_delete_fraction * remote_objects)
        for rows in self._batches():
            with self._ledger.transaction():
                for row in rows:
                    if too_many:
                        self._record(container, row, 'permanent', HELD.reason, HELD.detail)
                    else:
                        self._record(container, row, 'failed', REASON, 'deleted here')
        if too_many:
            self.held += self._waiting
        else:
            self.queued += self._waiting
        self.forget_deletes()

    def forget_deletes(self) -> None:
        """Of a container that could not be compared to its end: nothing is known of how many they are."""
        if self._deletes is not None:
            self._deletes.close()
            self._deletes = None
        self._waiting = 0

    def close(self) -> None:
        """Make it durable, and known as an operator's doing."""
        self.forget_deletes()
        if self.queued or self.held:
            with self._ledger.transaction(durable=True):
                self._ledger.save_fact('ledger:operator-change', self.queued + self.held)

    def _batches(self) -> Iterator[list[Row]]:
        if self._deletes is None:
            return
        self._deletes.seek(0)
        rows = (Row(*json.loads(line)) for line in self._deletes)
        while batch := list(islice(rows, BATCH)):
            yield batch

    def _record(self, container: str, row: Row, kind: Kind, reason: str, detail: str) -> None:
        self._ledger.record(self._mapping.generation, Work(self._mapping.account, container, row, kind, reason, detail,
                                                           due=self._now))
