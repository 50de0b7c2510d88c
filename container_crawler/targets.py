"""Which containers to look at: those named, all of an account, and the shards of either.

Names of a whole account are streamed, never held. No listing is believed to be
complete: what it leaves out keeps its state and is found again. Hidden containers
(Swift's reserved names hold a NUL) are nobody's but a handler factory's that asks
for them.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from container_crawler.folder import Clock, Target
from container_crawler.handlers import ContainerMapping, HandlerFactory
from container_crawler.shards import ContainerPath, is_hidden

WHOLE_ACCOUNT = '/*'
KNOWN_SECONDS = 60.0
"""How often containers that no listing needs to name (deleted ones) are looked for."""

Names = Callable[[str], Iterable[str]]


class Targets:
    def __init__(self, list_containers: Names, factory: HandlerFactory, logger: logging.Logger, clock: Clock) -> None:
        self._list_containers = list_containers
        self._factory = factory
        self._logger = logger
        self._clock = clock
        self._named: dict[ContainerPath, list[int]] = {}
        self._accounts: dict[str, list[int]] = {}
        self._shards: dict[ContainerPath, tuple[ContainerPath, ...]] = {}
        self._failing: set[str] = set()
        self._known_at: float | None = None
        self.all_listed = False
        """Whether the last pass saw every listing to its end."""

    def set_mappings(self, mappings: Sequence[tuple[int, ContainerMapping]]) -> None:
        """Numbered mappings, from now on instead of any others."""
        self._named, self._accounts = {}, {}
        for number, mapping in mappings:
            if mapping.container == WHOLE_ACCOUNT:
                self._accounts.setdefault(mapping.account, []).append(number)
            else:
                for name in (mapping.container, *self._factory.companions(mapping.container)):
                    self._named.setdefault(ContainerPath(mapping.account, name), []).append(number)

    def set_shards(self, root: ContainerPath, shards: tuple[ContainerPath, ...]) -> bool:
        """What is known of a root's shards. Whether that is news."""
        if self._shards.get(root, ()) == shards:
            return False
        if shards:
            self._shards[root] = shards
        else:
            self._shards.pop(root, None)
        return True

    def shards(self, root: Target) -> Iterator[Target]:
        """Known shards of a root."""
        for shard in self._shards.get(root.path, ()):
            yield root._replace(path=shard)

    def _root_and_shards(self, root: ContainerPath, numbers: Sequence[int]) -> Iterator[Target]:
        target = Target(root.account, root.container, root, tuple(numbers))
        yield target
        yield from self.shards(target)

    def __iter__(self) -> Iterator[Target]:
        """One pass. A container may come more than once."""
        self.all_listed = True
        for root, numbers in list(self._named.items()):
            yield from self._root_and_shards(root, numbers)
        known = self._known_at is None or self._clock.monotonic() - self._known_at >= KNOWN_SECONDS
        for account, numbers in list(self._accounts.items()):
            for name in self._names(account, known):
                yield from self._root_and_shards(ContainerPath(account, name), numbers)
        if known:
            self._known_at = self._clock.monotonic()

    def _names(self, account: str, known: bool) -> Iterator[str]:
        yield from self._wanted(account, self._list_containers, 'cannot be listed')
        if known:
            yield from self._wanted(account, self._factory.known_containers, 'known containers cannot be told')

    def _wanted(self, account: str, source: Names, complaint: str) -> Iterator[str]:
        """Users' containers, and hidden ones that are asked for; a failing source ends early."""
        failing = f'account {account}: {complaint}'
        try:
            for name in source(account):
                if not is_hidden(name) or self._factory.wants_hidden(name):
                    yield name
        except Exception as error:
            self.all_listed = False
            if failing not in self._failing:
                self._failing.add(failing)
                self._logger.error('%s, containers seen before go on: %s', failing, error, exc_info=error)
        else:
            self._failing.discard(failing)
