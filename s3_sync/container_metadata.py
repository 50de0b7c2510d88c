"""What a container itself is to have at the remote: metadata, ACLs, lifecycle rules.

Brought by the main process, once when a mapping first meets a container and
then at each change. Every mapping has a green thread of its own for it: a
remote that answers slowly or not at all keeps nobody else waiting.
"""
from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, spawn
from s3_sync.config import Mapping as SyncMapping
from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger
from s3_sync.sync_container import SyncContainer

RETRY_SECONDS = 60.0
NOTED_AT_ONCE = 200
"""Containers in one transaction of the ledger; what a crash keeps from being noted is brought again."""

Key = tuple[str, str]
"""Generation and container."""


@dataclass(frozen=True, slots=True)
class _Due:
    container: SyncContainer
    headers: Mapping[str, str]
    at: float = 0.0
    """By the monotonic clock."""
    error: str = ''
    """Why it was not brought the last time."""


class ContainerMetadata:
    """``provider``: of a mapping with a concrete container. ``on_ledger_error``: nothing can be noted any more."""

    def __init__(self, ledger: Ledger, provider: Callable[[SyncMapping], BaseSync], *, clock: Clock,
                 logger: logging.Logger, on_ledger_error: Callable[[LedgerError], None]) -> None:
        self._ledger = ledger
        self._provider = provider
        self._clock = clock
        self._logger = logger
        self._on_ledger_error = on_ledger_error
        self._due: dict[Key, _Due] = {}
        self._threads: dict[str, GreenThread] = {}

    def changed(self, container: SyncContainer, headers: Mapping[str, str]) -> None:
        """A root container was seen first, or its metadata changed: the next ``bring`` takes it along.

        Unless nothing is wanted, and nothing that would have to be taken back was ever brought.
        """
        mapping = container.mapping
        if wanted(mapping) or self._ledger.metadata_hash(container.key[0], mapping.account, container.key[1]):
            self._due[container.key] = _Due(container, headers)

    def bring(self) -> None:
        """Start bringing what is due; returns at once."""
        now = self._clock.monotonic()
        for generation in {key[0] for key, due in self._due.items() if due.at <= now} - self._threads.keys():
            self._threads[generation] = spawn(self._bring_all, generation)

    @property
    def busy(self) -> bool:
        """Something is on its way."""
        return bool(self._threads)

    def undone(self) -> dict[str, str]:
        """Mapping and container to why its metadata could not be brought, of those that wait for another try."""
        return {f'{due.container.mapping.name}: metadata of container {key[1]!r}': due.error or 'the mapping is held'
                for key, due in self._due.items()}

    def close(self) -> None:
        """Abandon what is on its way, which loses nothing."""
        for thread in list(self._threads.values()):
            thread.kill()

    def _bring_all(self, generation: str) -> None:
        brought: dict[tuple[str, str, str], str] = {}
        try:
            for key in [key for key in self._due if key[0] == generation]:
                due = self._due.get(key)
                if due is not None and due.at <= self._clock.monotonic() and due.container.ready():
                    self._bring_one(key, brought)
                if len(brought) >= NOTED_AT_ONCE:
                    self._note(brought)
            self._note(brought)
        except LedgerError as error:
            self._on_ledger_error(error)
        finally:
            del self._threads[generation]

    def _note(self, brought: dict[tuple[str, str, str], str]) -> None:
        with self._ledger.transaction():
            for where, digest in brought.items():
                self._ledger.save_metadata_hash(*where, digest)
        brought.clear()

    def _bring_one(self, key: Key, brought: dict[tuple[str, str, str], str]) -> None:
        # Out of the list first: it may change again while the remote is asked.
        due = self._due.pop(key)
        mapping = due.container.mapping
        digest = container_digest(mapping, due.headers)
        where = (key[0], mapping.account, key[1])
        if self._ledger.metadata_hash(*where) == digest:
            return
        try:
            self._provider(mapping).apply_container(due.headers)
        except Exception as error:  # one container never blocks another
            self._logger.error('%s: metadata of container %r: %s', mapping.name, key[1], error)
            again = _Due(due.container, due.headers, self._clock.monotonic() + RETRY_SECONDS, str(error))
            self._due.setdefault(key, again)
        else:
            brought[where] = digest


def wanted(mapping: SyncMapping) -> bool:
    """Whether a mapping's settings ask for anything of the remote container."""
    return mapping.sync_container_metadata or bool(mapping.remote_delete_after)


def container_digest(mapping: SyncMapping, headers: Mapping[str, str]) -> str:
    """Changes when the remote container has to be brought up to date."""
    settings = [mapping.evaluation, mapping.sync_container_metadata, mapping.sync_container_acl]
    return hashlib.sha256(json.dumps([settings, sorted(headers.items())]).encode()).hexdigest()
