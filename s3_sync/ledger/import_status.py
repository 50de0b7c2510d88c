"""Goes on where the predecessor stopped: reads its status files, once per container and mapping.

A file ``<status_dir>/<account>/<container>`` (of a shard: under the root's
names) is a JSON object: database id -> ``{"aws_bucket", "policy", "last_row",
"last_verified_row", "metadata_hash"}``; before 0.1.18 without ``policy``,
before 0.0.5 only ``{"last_row": n}``. The files stay as they are.

What they say is believed only as far as starting too early is the worst that
can come of it, which costs comparisons and copies nothing:

- Both of our row numbers start at the *lower* of the two in the file. Own
  rows above ``last_verified_row`` were counted with the predecessor's split of
  the time, which need not be ours; and after a change of bucket or policy the
  predecessor never took ``last_verified_row`` back.
- A bare ``last_row`` beside database ids is a left-over that never moved: ignored.
- When a container has several mappings, all of them wrote the file's one
  entry in turn, each reading the other's numbers as 0: none takes it.
- ``metadata_hash`` is of another form and was mostly lost anyway: not taken.

One thing no reader can see: after a change of bucket or policy the
predecessor could write the old row numbers beside the new settings.
"""
from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Sequence
from typing import Any, Protocol

from s3_sync.ledger.ledger import Ledger

_POLICY_FIELDS = ('copy_after', 'retain_local', 'propagate_delete')
_LAST, _VERIFIED = 'last_row', 'last_verified_row'
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
ALL_CONTAINERS = '/*'


class StatusRemote(Protocol):
    @property
    def bucket(self) -> str: ...


class StatusMapping(Protocol):
    """What of a configured mapping (``/*`` not yet made concrete) decides whether a status is its own."""

    @property
    def account(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def generation(self) -> str: ...
    @property
    def evaluation(self) -> str: ...
    @property
    def copy_after(self) -> float: ...
    @property
    def retain_local(self) -> bool: ...
    @property
    def propagate_delete(self) -> bool: ...
    @property
    def remote(self) -> StatusRemote: ...


class StatusImporter:
    """Asked when a database without progress is met; after the first time it costs one look at the ledger."""

    def __init__(self, ledger: Ledger, status_dir: str, mappings: Sequence[StatusMapping],
                 logger: logging.Logger) -> None:
        """``mappings``: all of the configuration, to find those that shared a status."""
        self._ledger = ledger
        self._status_dir = status_dir
        self._mappings = mappings
        self._logger = logger

    def import_container(self, mapping: StatusMapping, container: str, db_id: str | None = None) -> int:
        """Take over the status of a (root) container; returns how many databases got progress.

        ``db_id``: this node's database of the container; the oldest form of the
        file knows no id and is then taken to mean this one (None for a sharded
        container, which that form never knew). Nothing is done when the ledger
        already has progress, or an import, of this generation and container.
        LedgerError when it cannot be written.
        """
        account, generation = mapping.account, mapping.generation
        if self._ledger.imports_closed or self._ledger.import_closed(generation, account, container):
            return 0
        path = os.path.join(self._status_dir, account, container)
        status = self._read(path)
        if status is None:
            return 0
        rows = self._rows(mapping, container, path, status, db_id)
        with self._ledger.transaction():
            for each, row in rows.items():
                self._ledger.save_progress(generation, each, account=account, container=container, own_row=row,
                                           verified_row=row, share='', evaluation=mapping.evaluation)
            self._ledger.close_import(generation, account, container)
        if rows:
            self._logger.info('%s: progress of %d databases imported from the previous version: %s',
                              path, len(rows), ', '.join(f'{each} at row {row}' for each, row in rows.items()))
        return len(rows)

    def _read(self, path: str) -> Any:
        """The file's JSON; None when there is no file, {} when it is no use."""
        try:
            with open(path, 'rb') as file:
                status = json.loads(file.read().decode())
                return [] if status is None else status
        except ValueError as error:
            if '\0' in path:
                return None
            self._logger.error('%s: damaged status file of the previous version, starting at row 0: %s', path, error)
        except RecursionError:
            self._logger.error('%s: damaged status file of the previous version, starting at row 0', path)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            self._logger.error('%s: status file of the previous version cannot be read, starting at row 0: %s',
                               path, error.strerror)
        return {}

    def _rows(self, mapping: StatusMapping, container: str, path: str, status: Any,
              db_id: str | None) -> dict[str, int]:
        """Row to start at, per database id."""
        if not isinstance(status, dict):
            self._logger.error('%s: damaged status file of the previous version, starting at row 0: no JSON object',
                               path)
            return {}
        if self._shared(mapping, container):
            self._logger.warning('%s: several mappings of this container overwrote each other in this status of the '
                                 'previous version; starting at row 0', path)
            return {}
        entries = {key: value for key, value in status.items() if isinstance(value, dict)}
        if not entries and _LAST in status:
            if db_id is None:
                self._logger.warning('%s: status of a version before 0.0.5 for a sharded container; starting at row 0',
                                     path)
                return {}
            entries = {db_id: {_LAST: status[_LAST], 'aws_bucket': mapping.remote.bucket}}
        found = {}
        for key, entry in entries.items():
            problem = _mismatch(mapping, entry)
            row = _lower_row(entry) if key.isascii() else None
            if problem is None and row is None:
                problem = 'the entry is damaged'
            if problem is not None:
                self._logger.warning('%s: database %r starts at row 0: %s', path, key, problem)
            elif row:
                found[key] = row
        return found

    def _shared(self, mapping: StatusMapping, container: str) -> bool:
        return any(other.account == mapping.account and other.container in (container, ALL_CONTAINERS)
                   and other.generation != mapping.generation for other in self._mappings)


def _mismatch(mapping: StatusMapping, entry: dict[str, Any]) -> str | None:
    """Why this entry was written for other settings, None when it was not."""
    if entry.get('aws_bucket') != mapping.remote.bucket:
        return f'it was for bucket {entry.get("aws_bucket")!r}, not {mapping.remote.bucket!r}'
    policy = entry.get('policy')
    if policy is None:
        return None
    for name in _POLICY_FIELDS:
        now = getattr(mapping, name)
        then = policy.get(name) if isinstance(policy, dict) else None
        if then != now:
            return f'{name} was {then!r} and is {now!r}'
    return None


def _lower_row(entry: dict[str, Any]) -> int | None:
    last = entry.get(_LAST, 0)
    verified = entry.get(_VERIFIED, last)
    for number in (last, verified):
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2 ** 63:
            return None
    return int(min(last, verified))
