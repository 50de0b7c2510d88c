"""Rows that Swift has accepted but not yet merged into a container database.

Whoever reads a database normally merges its ``.pending`` file first, which
writes. Who only wants to look (a dry run, a status) computes what the merge would
make of it, with Swift's own comparison of times.
"""
from __future__ import annotations

import base64
import binascii
import pickle
import sqlite3
from typing import Any

from swift.container.backend import ContainerBroker, update_new_item_from_existing

from container_crawler.rows import Row

_NAMES_PER_QUERY = 500


def pending_rows(broker: ContainerBroker, connection: sqlite3.Connection, first_id: int) -> tuple[Row, ...]:
    """What the pending file of ``broker`` will become, numbered from ``first_id``; nothing is written."""
    items = _items(broker)
    if not items:
        return ()
    existing = _existing(broker, connection, sorted({item['name'] for item in items}))
    added: dict[tuple[str, int], dict[str, Any]] = {}
    for item in items:
        ident = (item['name'], item['storage_policy_index'])
        if update_new_item_from_existing(item, existing.get(ident)):
            if ident in added:
                update_new_item_from_existing(item, added[ident])
            added[ident] = item
    return tuple(Row(first_id + n, item['name'], item['created_at'], int(item['size']), item['content_type'],
                     item['etag'], bool(int(item['deleted'])), item['storage_policy_index'])
                 for n, item in enumerate(added.values()))


def _items(broker: ContainerBroker) -> list[dict[str, Any]]:
    """Entries of the pending file; one that is just being written is left out."""
    try:
        with open(broker.pending_file, 'rb') as file:
            data = file.read()
    except FileNotFoundError:
        return []
    items: list[dict[str, Any]] = []
    for entry in filter(None, data.split(b':')):
        try:
            # Swift's own file in Swift's own format, read as Swift reads it.
            broker._commit_puts_load(items, pickle.loads(base64.b64decode(entry), encoding='utf8'))  # noqa: S301
        except (ValueError, TypeError, EOFError, IndexError, binascii.Error, pickle.UnpicklingError):
            continue
    for item in items:
        if isinstance(item['name'], bytes):
            item['name'] = item['name'].decode()
    return items


def _existing(broker: ContainerBroker, connection: sqlite3.Connection,
              names: list[str]) -> dict[tuple[str, int], dict[str, Any]]:
    found = {}
    for at in range(0, len(names), _NAMES_PER_QUERY):
        part = names[at:at + _NAMES_PER_QUERY]
        for record in connection.execute(
                'SELECT name, created_at, size, content_type, etag, deleted, storage_policy_index FROM object '
                f'WHERE deleted IN (0, 1) AND name IN ({",".join("?" * len(part))})', part):  # noqa: S608
            found[record[0], record[6]] = broker._record_to_dict(tuple(record))
    return found
