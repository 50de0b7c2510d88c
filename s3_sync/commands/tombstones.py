"""``1space tombstones``: deletions that a merged namespace remembers; what they are for, and forgetting them.

Without arguments every account of the configuration is meant, markers of orphaned
generations among them. A mapping's name means what it has to do with: where a
marker concerns others too, it is only taken out of it.
"""
from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from container_crawler.swift_dir import load_swift_dir
from s3_sync.clock import Clock, SystemClock
from s3_sync.commands.context import find
from s3_sync.commands.edge import EXIT_FAILED, EXIT_OK, UsageError
from s3_sync.commands.names import printable, quote_path, unquote_path
from s3_sync.commands.numbers import count, iso
from s3_sync.commands.plan import OneLine
from s3_sync.concurrency import GreenPool
from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Migration, Settings, load
from s3_sync.local.factory import make_proxy_client
from s3_sync.local.markers import Marker, MarkerStore, Written
from s3_sync.shunting.targets import migration_target
from s3_sync.timestamps import RowTimes, marked
from s3_sync.wire.tombstones import ACCOUNT_TOMBSTONES, tombstone_container


class Choice(NamedTuple):
    """What one argument means; '' is everything."""

    argument: str
    account: str
    container: str = ''
    """'' : all of the account."""
    name: str | None = None
    mapping: str = ''
    """Only what concerns this one."""


class Tombstone(NamedTuple):
    """A marker and where it is."""

    choice: Choice
    account: str
    hidden: str
    container: str
    """The deleted object's, or the deleted container itself."""
    marker: Marker

    @property
    def name(self) -> str | None:
        """None: the container was deleted."""
        return None if self.hidden == ACCOUNT_TOMBSTONES else self.marker.name

    @property
    def path(self) -> str:
        return '/'.join((self.account, self.container, *([] if self.name is None else [self.name])))


def run(arguments: argparse.Namespace) -> int:
    """0, or 3 when nothing was found for a path that was named."""
    settings = load(arguments.config)  # migrations alone are enough
    choices = _choices(settings, arguments.what)
    load_swift_dir(settings.swift_dir)
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    clock = SystemClock()
    with closing(make_proxy_client(settings, clock=clock)) as proxy:
        catalogue = Catalogue(settings, MarkerStore(proxy))
        found = _old_enough(catalogue.tombstones(choices), clock.now() - arguments.older_than)
        if arguments.action == 'list':
            return _list(catalogue, choices, found, as_json=arguments.json)
        return purge(catalogue, choices, found, clock, at_once=settings.workers, dry_run=arguments.dry_run,
                     as_json=arguments.json)


def _choices(settings: Settings, what: Sequence[str]) -> list[Choice]:
    accounts = dict.fromkeys([*(mapping.account for mapping in settings.containers),
                              *(profile.account for profile in settings.migrations)])
    return [_choice(settings, argument) for argument in what] or [Choice('', account) for account in accounts]


def _choice(settings: Settings, argument: str) -> Choice:
    mapping: SyncMapping | Migration | None = find(settings, argument)
    if mapping is None:
        mapping = next((profile for profile in settings.migrations if profile.name == argument), None)
    if mapping is not None:
        return Choice(argument, mapping.account, '' if mapping.all_containers else mapping.container,
                      mapping=mapping.name)
    try:
        account, _, rest = unquote_path(argument).partition('/')
    except ValueError:
        raise UsageError(f'{argument!r} is no path: what it encodes is no UTF-8') from None
    container, _, name = rest.partition('/')
    if not account or not container:
        raise UsageError(f'{argument!r} is no mapping, generation or account/container[/object]')
    return Choice(argument, account, container, name or None)


def _old_enough(found: Iterator[Tombstone], before: float) -> Iterator[Tombstone]:
    return (tombstone for tombstone in found if float(tombstone.marker.time) <= before)


class Catalogue:
    """The markers of the cluster, and which mappings they concern."""

    def __init__(self, settings: Settings, store: MarkerStore) -> None:
        self.store = store
        self._settings = settings
        self._known: dict[tuple[str, str], Mapping[str, str]] = {}

    def tombstones(self, choices: Sequence[Choice]) -> Iterator[Tombstone]:
        """Every marker that one of the choices means, once for each of them."""
        for choice in choices:
            for tombstone in self._of(choice):
                if not choice.mapping or self.generations(tombstone):
                    yield tombstone

    def _of(self, choice: Choice) -> Iterator[Tombstone]:
        account = choice.account
        if not choice.container:
            for hidden in self.store.containers(account):
                yield from self._all(choice, hidden)
            return
        hidden = tombstone_container(choice.container)
        if choice.name is not None:
            one = self.store.find(account, hidden, choice.name)
            found = [one] if one is not None else []
            yield from (Tombstone(choice, account, hidden, choice.container, marker) for marker in found)
            return
        whole = self.store.find(account, ACCOUNT_TOMBSTONES, choice.container)
        if whole is not None:
            yield Tombstone(choice, account, ACCOUNT_TOMBSTONES, choice.container, whole)
        yield from self._all(choice, hidden, choice.container)

    def _all(self, choice: Choice, hidden: str, container: str | None = None) -> Iterator[Tombstone]:
        if container is None:
            container = self.store.container_of(choice.account, hidden)
        for marker in self.store.markers(choice.account, hidden):
            yield Tombstone(choice, choice.account, hidden, container or marker.name, marker)

    # -- whose they are ------------------------------------------------------------------

    def names(self, tombstone: Tombstone) -> Mapping[str, str]:
        """Generation to name, of the mappings and migrations of a tombstone's container."""
        key = (tombstone.account, tombstone.container)
        if key not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[key] = self._names(*key)
        return self._known[key]

    def _names(self, account: str, container: str) -> Mapping[str, str]:
        names = {}
        for profile in self._settings.migrations:
            if profile.account == account and (profile.all_containers or profile.container == container):
                bucket = container if profile.all_containers else profile.remote.bucket
                names[migration_target(profile, container, bucket).mapping.generation] = profile.name
        for mapping in self._settings.containers:
            if mapping.account == account and (mapping.all_containers or mapping.container == container):
                names[mapping.generation] = names[mapping.for_container(container).generation] = mapping.name
        return names

    def generations(self, tombstone: Tombstone) -> set[str]:
        """Those in the marker that belong to the mapping that was named."""
        names = self.names(tombstone)
        return {generation for generation in tombstone.marker.policies.of
                if names.get(generation) == tombstone.choice.mapping}

    # -- purging -------------------------------------------------------------------------

    def purge(self, tombstone: Tombstone, now: float) -> Written:
        """Forget it; of a named mapping only its part."""
        marker = tombstone.marker
        at = marked(RowTimes(marker.time, marker.time, marker.time), now)
        rest = marker.policies.without(self.generations(tombstone)) if tombstone.choice.mapping else None
        if rest:
            return self.store.put(tombstone.account, tombstone.hidden, marker.name, rest, at)
        return self.store.drop(tombstone.account, tombstone.hidden, marker.object_name, at)


# -- list ---------------------------------------------------------------------------------

def _list(catalogue: Catalogue, choices: Sequence[Choice], found: Iterator[Tombstone], *, as_json: bool) -> int:
    counts: Counter[str] = Counter()
    for tombstone in found:
        counts[tombstone.choice.argument] += 1
        if as_json:
            print(json.dumps(_as_json(tombstone, catalogue.names(tombstone))))
        else:
            _show(tombstone, catalogue.names(tombstone))
    if not as_json:
        print(count(counts.total(), 'tombstone'))
    return EXIT_FAILED if _say_missing(choices, counts) else EXIT_OK


def _show(tombstone: Tombstone, names: Mapping[str, str]) -> None:
    print(quote_path(tombstone.path))
    policies = ', '.join(f'{printable(names[generation]) if generation in names else "orphaned"}: {policy}'
                         for generation, policy in sorted(tombstone.marker.policies.of.items()))
    what = ' container,' if tombstone.name is None else ''
    print(f'    {iso(float(tombstone.marker.time))}{what} {policies}')


def _as_json(tombstone: Tombstone, names: Mapping[str, str]) -> dict[str, Any]:
    marker = tombstone.marker
    return {'path': quote_path(tombstone.path), 'account': tombstone.account, 'container': tombstone.container,
            'object': tombstone.name, 'time': iso(float(marker.time)), 'timestamp': marker.time.internal,
            'policies': [{'mapping': names.get(generation), 'generation': generation, 'policy': policy}
                         for generation, policy in sorted(marker.policies.of.items())]}


# -- purge --------------------------------------------------------------------------------

def purge(catalogue: Catalogue, choices: Sequence[Choice], found: Iterable[Tombstone], clock: Clock, *,
          at_once: int, dry_run: bool, as_json: bool) -> int:
    """Forget what was found, ``at_once`` at a time; exit code as ``run``. Raises what reading or writing raised."""
    counts: Counter[str] = Counter()
    kept = 0

    def one(tombstone: Tombstone | Exception) -> tuple[str, Written | Exception]:
        if isinstance(tombstone, Exception):
            return '', tombstone
        try:
            written = 'written' if dry_run else catalogue.purge(tombstone, clock.now())
            return tombstone.choice.argument, written
        except Exception as error:
            return '', error
    for argument, ended in GreenPool(at_once).imap(one, _or_error(found)):
        if isinstance(ended, Exception):
            raise ended
        counts[argument] += 1
        kept += ended == 'superseded'
    purged = counts.total() - kept
    if as_json:
        print(json.dumps({'action': 'purge', 'purged': purged, 'kept': kept, 'dry_run': dry_run}))
    else:
        print(f'{count(purged, "tombstone")} {"would go" if dry_run else "purged"}')
        if kept:
            print(f'{count(kept, "object")} deleted again meanwhile: these tombstones stay')
    return EXIT_FAILED if _say_missing(choices, counts) else EXIT_OK


def _or_error(found: Iterable[Tombstone]) -> Iterator[Tombstone | Exception]:
    """A pool that is fed by what raises would wait for ever."""
    try:
        yield from found
    except Exception as error:
        yield error


def _say_missing(choices: Sequence[Choice], found: Counter[str]) -> bool:
    """Paths that somebody named and that stand for nothing are told. Whether there were any."""
    missing = [choice.argument for choice in choices if choice.argument and not choice.mapping
               and not found[choice.argument]]
    for argument in missing:
        print(f'1space: no tombstone is found for {argument}', file=sys.stderr)
    return bool(missing)
