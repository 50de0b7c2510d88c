"""Finding out what each S3 endpoint honours on PUT, without anybody waiting who need not.

An endpoint is asked once a day, by a green thread of its own: one that hangs
delays neither the other mappings nor the end of the daemon. Its own mappings
wait for the answer, as the first PUTs depend on it. When there is none they
go on, with a HEAD before each PUT, and the endpoint is asked again later.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, spawn
from s3_sync.config import Mapping
from s3_sync.errors import LedgerError, ProviderError
from s3_sync.ledger import Ledger
from s3_sync.provider_factory import ProviderCache, probe_fact

KEPT_SECONDS = 24 * 3600.0
"""How long it is believed what an endpoint's probe showed."""
AGAIN_SECONDS = 60.0
"""After a probe that failed."""


class EndpointProbes:
    """``changed`` is called when an endpoint has answered, or first failed to. What is known is in ``providers``."""

    def __init__(self, mappings: Iterable[Mapping], ledger: Ledger, providers: ProviderCache, *, clock: Clock,
                 logger: logging.Logger, changed: Callable[[], None],
                 on_ledger_error: Callable[[LedgerError], None]) -> None:
        self._ledger = ledger
        self._providers = providers
        self._clock = clock
        self._logger = logger
        self._changed = changed
        self._on_ledger_error = on_ledger_error
        self._waiting: set[str] = set()
        self._threads: list[GreenThread] = []
        unknown: dict[str, list[Mapping]] = {}
        for mapping in mappings:
            if mapping.remote.protocol == 's3' and mapping.remote.conditional_put == 'auto':
                key = probe_fact(mapping.remote)
                known = ledger.fact(key, KEPT_SECONDS)
                if known is None:
                    unknown.setdefault(key, []).append(mapping)
                else:
                    providers.set_conditional_put(mapping, known[0], known[1])
        self._unknown = unknown
        self._waiting.update(unknown)

    def start(self) -> None:
        """Ask those that are not known; returns at once."""
        self._threads = [spawn(self._ask_until_known, key, mappings) for key, mappings in self._unknown.items()]

    def awaited(self, mapping: Mapping) -> bool:
        """Whether the mapping's endpoint has not yet had its chance to answer."""
        return bool(self._waiting) and probe_fact(mapping.remote) in self._waiting

    @property
    def busy(self) -> bool:
        """Some endpoint has not yet had its chance to answer."""
        return bool(self._waiting)

    def close(self) -> None:
        for thread in self._threads:
            thread.kill()

    def _ask_until_known(self, key: str, mappings: list[Mapping]) -> None:
        first = mappings[0]
        provider = self._providers.get(first.for_container(first.container.strip('/*') or 'probe'))
        try:
            while True:
                try:
                    known = provider.probe_conditional_put()
                    break
                except ProviderError as error:
                    if key in self._waiting:
                        self._waiting.discard(key)
                        self._changed()
                        self._logger.warning('%s: cannot find out whether the remote honours conditional PUT (%s); '
                                             'asking before each PUT until it can be told', first.name, error)
                self._clock.sleep(AGAIN_SECONDS)
            self._ledger.save_fact(key, list(known))
            for mapping in mappings:
                self._providers.set_conditional_put(mapping, *known)
            self._waiting.discard(key)
            self._changed()
        except LedgerError as error:
            self._on_ledger_error(error)
