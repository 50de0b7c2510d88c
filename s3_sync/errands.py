"""What a worker does beside rows: the sweep of an account, and letting segments go."""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from s3_sync.channel import Answer, Segments, SegmentsDecided, Sweep, Swept
from s3_sync.clock import Clock
from s3_sync.concurrency import GreenPool
from s3_sync.config import Mapping as SyncMapping
from s3_sync.engine.segments import Decided, SegmentRemover, Verdict, remove_segments
from s3_sync.engine.sweep import unreferenced
from s3_sync.engine.takers import Takers
from s3_sync.errors import AccountUnreadable
from s3_sync.local.account import LocalAccount
from s3_sync.local.chain import ChainSource
from s3_sync.provider_factory import ProviderCache
from s3_sync.types import Removal


class Errands:
    """Of one worker process. Each method answers through ``send``, whatever happens."""

    def __init__(self, mappings: Mapping[str, SyncMapping], providers: ProviderCache, remover: SegmentRemover,
                 source: ChainSource, *, at_once: int, send: Callable[[Answer], None], clock: Clock,
                 logger: logging.Logger) -> None:
        """``at_once``: manifests that a sweep reads at the same time."""
        self._mappings = mappings
        self._providers = providers
        self._remover = remover
        self._proxy = source.proxy_client
        self._takers = Takers(mappings, providers.get, source, source.proxy_client, clock=clock)
        self._at_once = at_once
        self._send = send
        self._clock = clock
        self._logger = logger

    def sweep(self, message: Sweep) -> None:
        account = LocalAccount(message.account, self._proxy, clock=self._clock)
        try:
            found = unreferenced(account, message.candidates, spread=GreenPool(self._at_once).imap)
            self._send(Swept(message.token, sorted(found)))
        except AccountUnreadable as error:
            self._send(Swept(message.token, [], str(error)))
        except Exception as error:
            self._logger.exception('%s: unexpected error in the sweep', message.account)
            self._send(Swept(message.token, [], f'unexpected error: {error!r}'))

    def remove_segments(self, message: Segments) -> None:
        mapping = self._mappings.get(message.generation)
        if mapping is None:
            gone = Decided('waits', 'mapping-gone', 'the mapping left the configuration')
            self._send(SegmentsDecided(message.token, [gone] * len(message.removals)))
            return
        container = message.removals[0].owner.partition('/')[0]
        try:
            provider = self._providers.get(mapping.for_container(container))
            decisions = list(remove_segments(message.removals, provider,
                                             partial(self._remove, message, mapping.restore_days),
                                             self._clock.now))
        except Exception as error:
            self._logger.exception('%s: unexpected error in letting segments go', message.account)
            decisions = [Decided('waits', 'internal-error', repr(error))] * len(message.removals)
        self._send(SegmentsDecided(message.token, decisions))

    def _remove(self, message: Segments, restore_days: float, removal: Removal) -> Verdict:
        self._takers.check(message.account, removal)
        row = removal.row
        return self._remover.remove_segment(message.account, removal.container, row.name, row.etag, row.size,
                                            restore_days=restore_days, written_before=message.written_before)
