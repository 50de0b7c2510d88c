"""What a worker does with rows of hidden containers: the deletions that their markers stand for are finished."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from s3_sync.clock import Clock
from s3_sync.config import Mapping as SyncMapping
from s3_sync.engine.markers import MarkerFinisher
from s3_sync.engine.outcomes import Outcome, outcome_of_error
from s3_sync.errors import SegmentChanged
from s3_sync.local.chain import ChainSource
from s3_sync.local.containers import Containers
from s3_sync.local.markers import MarkerStore
from s3_sync.provider_factory import ProviderCache
from s3_sync.types import ObjectRow
from s3_sync.wire.tombstones import real_container, real_name

KEPT_FINISHERS = 200


class MarkerWork:
    """Of one worker process."""

    def __init__(self, mappings: Mapping[str, SyncMapping], providers: ProviderCache, source: ChainSource,
                 source_without_disk: ChainSource, *, clock: Clock) -> None:
        self._mappings = mappings
        self._providers = providers
        self._source = source
        self._source_without_disk = source_without_disk
        self._clock = clock
        self._containers = Containers(source.proxy_client, clock)
        self._markers = MarkerStore(source.proxy_client)
        self._finishers: OrderedDict[tuple[str, str], MarkerFinisher] = OrderedDict()

    def locks(self, generation: str, row: ObjectRow) -> list[str]:
        """What nobody else of this process may work on meanwhile: the marker, and the object if it can be told."""
        names = [row.path]
        container, name = real_container(row.container), real_name(row.name)
        if container is not None and name is not None:
            names.append(f'{(generation, row.account, container)}{name}')
        return names

    def handle(self, generation: str, row: ObjectRow) -> Outcome:
        """Do what a row of a hidden container asks for. Never raises."""
        try:
            return self._finisher(self._mappings[generation], row.account, row.container).handle(row)
        except Exception as error:
            return outcome_of_error(error, self._clock.now())

    def forget(self) -> None:
        """Something is known of an endpoint that was not before."""
        self._finishers.clear()

    def _finisher(self, mapping: SyncMapping, account: str, hidden: str) -> MarkerFinisher:
        key = (mapping.generation, hidden)
        finisher = self._finishers.get(key)
        if finisher is None:
            finisher = self._finishers[key] = self._make(mapping, account, hidden)
            if len(self._finishers) > KEPT_FINISHERS:
                self._finishers.popitem(last=False)
        self._finishers.move_to_end(key)
        return finisher

    def _make(self, mapping: SyncMapping, account: str, hidden: str) -> MarkerFinisher:
        container = self._markers.container_of(account, hidden) if mapping.all_containers else mapping.container
        concrete = mapping.for_container(container)

        def policy_index() -> int | None:
            try:
                return self._containers.policy_index(account, container)
            except SegmentChanged:
                return None
        return MarkerFinisher(concrete, {mapping.generation, concrete.generation},
                              self._source if concrete.local_reads == 'auto' else self._source_without_disk,
                              self._providers.get(concrete), self._markers, policy_index, clock=self._clock)
