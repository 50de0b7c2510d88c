"""Which remotes stand behind a container: the configuration as the shunt asks it.

``containers`` with ``merge_namespaces`` and all ``migrations`` count. A mapping
of exactly this container beats ``/*``; within each kind the order is that of
the file, sync mappings first.
"""
from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from s3_sync.config import Mapping, Migration

RESERVED = '\0'
"""First character of names that are Swift's own; no mapping covers them."""
KEPT_LOOKUPS = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """One remote behind one local container."""

    mapping: Mapping
    """With this container and its bucket; of a migration one made up for it. What providers are made of."""
    migration: bool = False
    prefix: str = ''
    """Only names that begin with it belong here."""
    storage_policy: str | None = None
    """Of the local container, where a migration has to make it."""
    any_bucket: bool = False
    """From a ``/*`` migration of S3: the bucket counts only if the credentials own it (semantics 10)."""

    @property
    def name(self) -> str:
        """For logs, metrics and ``X-1space-Partial``."""
        return self.mapping.name

    @property
    def restore(self) -> bool:
        return self.mapping.restore_object

    @property
    def archives(self) -> bool:
        """Whether local objects leave for this remote: then a listing must ask it after the cluster, never before."""
        return not self.migration and not self.mapping.retain_local

    @property
    def always_marks(self) -> bool:
        """A copy may be on its way while its object is deleted (semantics 7.2)."""
        return not self.migration and self.mapping.delete_policy == 'tombstone'

    def covers(self, name: str) -> bool:
        return name.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Merged:
    """A container that is merged with at least one remote."""

    account: str
    container: str
    targets: tuple[Target, ...]

    @property
    def migrations(self) -> tuple[Target, ...]:
        return tuple(target for target in self.targets if target.migration)

    def covering(self, name: str) -> tuple[Target, ...]:
        """The targets that may have this object, in the order in which they are asked."""
        return tuple(target for target in self.targets if target.covers(name))


class Table:
    """Built once for each configuration; lookups cost one dictionary access."""

    def __init__(self, containers: Iterable[Mapping] = (), migrations: Iterable[Migration] = ()) -> None:
        self._single: defaultdict[tuple[str, str], list[Target]] = defaultdict(list)
        self._wild: defaultdict[str, list[Callable[[str], Target]]] = defaultdict(list)
        self._whole: defaultdict[str, list[Migration]] = defaultdict(list)
        self._found: OrderedDict[tuple[str, str], Merged | None] = OrderedDict()
        for mapping in containers:
            if not mapping.merge_namespaces:
                continue
            if mapping.all_containers:
                self._wild[mapping.account].append(_of_sync(mapping))
            else:
                self._single[mapping.account, mapping.container].append(Target(mapping))
        for profile in migrations:
            if profile.all_containers:
                self._wild[profile.account].append(_of_migration(profile))
                self._whole[profile.account].append(profile)
            else:
                self._single[profile.account, profile.container].append(
                    migration_target(profile, profile.container, profile.remote.bucket))
        self.accounts = frozenset(account for account, _ in self._single) | self._wild.keys()
        """Accounts with anything merged in them."""

    def lookup(self, account: str, container: str) -> Merged | None:
        key = (account, container)
        try:
            return self._found[key]
        except KeyError:
            found = self._look_up(account, container)
        self._found[key] = found
        if len(self._found) > KEPT_LOOKUPS:
            self._found.popitem(last=False)
        return found

    def whole_accounts(self, account: str) -> tuple[Migration, ...]:
        """The ``/*`` migrations into an account: they may add containers to its listing."""
        return tuple(self._whole.get(account, ()))

    def migrated_containers(self) -> tuple[Merged, ...]:
        """Every container that a migration names itself."""
        found = (Merged(account, container, tuple(targets)) for (account, container), targets in self._single.items())
        return tuple(merged for merged in found if merged.migrations)

    def whole_migrations(self) -> tuple[Migration, ...]:
        return tuple(profile for profiles in self._whole.values() for profile in profiles)

    def _look_up(self, account: str, container: str) -> Merged | None:
        if not container or container.startswith(RESERVED):
            return None
        targets = self._single.get((account, container)) or [make(container) for make in self._wild.get(account, ())]
        return Merged(account, container, tuple(targets)) if targets else None


def migration_target(profile: Migration, container: str, bucket: str) -> Target:
    """A migration's remote for one container, with names as they are at the source."""
    mapping = Mapping.model_construct(
        name=profile.name, account=profile.account, container=container,
        remote=profile.remote.model_copy(update={'bucket': bucket}), custom_prefix='', propagate_delete=False,
        merge_namespaces=True, restore_object=profile.restore_object, delete_policy=profile.delete_policy,
        on_remote_error=profile.on_remote_error, post_archived=profile.post_archived,
        remote_timeout=profile.remote_timeout, coalesce_size=profile.coalesce_size,
        remote_concurrency=profile.remote_concurrency, reverse_scan_limit=profile.reverse_scan_limit)
    return Target(mapping, migration=True, prefix=profile.prefix, storage_policy=profile.storage_policy,
                  any_bucket=profile.all_containers and profile.remote.protocol == 's3')


def account_target(profile: Migration) -> Target:
    """A ``/*`` migration's remote, for questions about its account. The container means nothing."""
    return migration_target(profile, '-', '-')


def _of_sync(mapping: Mapping) -> Callable[[str], Target]:
    return lambda container: Target(mapping.for_container(container))


def _of_migration(profile: Migration) -> Callable[[str], Target]:
    return lambda container: migration_target(profile, container, container)
