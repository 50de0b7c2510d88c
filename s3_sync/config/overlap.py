"""Rules between entries: no two may write into the same names, none may copy another's copies back.

Two mappings with one key space overwrite each other's objects, take each
other's for their own when deletions are inferred, and let each other's expire.
Entries are grouped, not compared pair by pair: there may be thousands.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from s3_sync.config.identity import canonical_endpoint, target_account
from s3_sync.config.mapping import Mapping
from s3_sync.config.migration import Migration
from s3_sync.config.parse import join
from s3_sync.config.remote import ANY, Remote
from s3_sync.config.report import Report
from s3_sync.wire.keys import KeyScheme

_Place = tuple[str, ...]
_SAME_CONTAINER = 'same bucket, account and container; give one of them a custom_prefix'


@dataclass(frozen=True, slots=True)
class _Entry:
    """A mapping with its position in the file."""

    index: int
    path: str
    mapping: Mapping
    place: _Place

    @property
    def prefix(self) -> str | None:
        """What all its S3 keys begin with; None when that differs by container (``/*`` without custom prefix)."""
        if self.mapping.all_containers and self.mapping.custom_prefix is None:
            return None
        return KeyScheme(self.mapping.account, self.mapping.container, self.mapping.custom_prefix).prefix

    @property
    def many_containers(self) -> bool:
        return self.mapping.all_containers and self.mapping.remote.protocol == 'swift'


def check(mappings: list[tuple[str, Mapping]], migrations: list[tuple[str, Migration]], report: Report) -> None:
    """Compare all entries with each other."""
    entries = [_Entry(n, path, mapping, place_of(mapping.remote)) for n, (path, mapping) in enumerate(mappings)]
    s3 = [entry for entry in entries if entry.mapping.remote.protocol == 's3']
    for group in _grouped(s3, lambda entry: (entry.place, entry.mapping.remote.bucket)):
        _check_bucket(group, report)
    swift = [entry for entry in entries if entry.mapping.remote.protocol == 'swift']
    for group in _grouped(swift, lambda entry: entry.place):
        _check_swift_account(group, report)
    _check_local_targets(migrations, report)
    _check_loops(migrations, entries, report)


def place_of(remote: Remote) -> _Place:
    """The store (S3) or the account (Swift) that a bucket's name is unique in."""
    account = target_account(remote)
    if remote.protocol == 'swift' and not account:
        # v1 users are ACCOUNT:USER; an application credential belongs to one project.
        account = ['login', (remote.identity or '').partition(':')[0], remote.application_credential_id or '']
    return (remote.protocol, canonical_endpoint(remote), *account)


def _grouped(entries: Iterable[_Entry], key: Any) -> list[list[_Entry]]:
    groups: dict[Hashable, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return [group for group in groups.values() if len(group) > 1]


def _clash(one: _Entry, other: _Entry, reason: str, report: Report) -> None:
    first, second = (one, other) if one.index < other.index else (other, one)
    report.problem(second.path, f'writes to the same names as {first.path}: {reason}')


def _first_of_its_kind(entries: Iterable[_Entry], key: Any, reason: str, report: Report) -> dict[Any, _Entry]:
    """The first entry of each key; every further one clashes with it."""
    firsts: dict[Any, _Entry] = {}
    for entry in entries:
        first = firsts.setdefault(key(entry), entry)
        if first is not entry:
            _clash(first, entry, reason, report)
    return firsts


def _check_bucket(group: list[_Entry], report: Report) -> None:
    """Mappings into one S3 bucket: no key prefix may contain another."""
    whole_accounts = [entry for entry in group if entry.prefix is None]
    accounts = _first_of_its_kind(whole_accounts, lambda entry: entry.mapping.account, _SAME_CONTAINER, report)
    outer: tuple[str, _Entry] | None = None
    for prefix, entry in sorted(((entry.prefix, entry) for entry in group if entry.prefix is not None),
                                key=lambda item: (item[0], item[1].index)):
        if outer is None or not prefix.startswith(outer[0]):
            outer = prefix, entry
        elif prefix == outer[0] and entry.mapping.custom_prefix is None and outer[1].mapping.custom_prefix is None:
            _clash(outer[1], entry, _SAME_CONTAINER, report)
        else:
            _clash(outer[1], entry, 'same bucket, and the key prefix of one contains that of the other', report)
        if not prefix:
            for whole in whole_accounts:
                _clash(entry, whole, 'same bucket, and an empty custom_prefix takes all of it', report)
        if entry.mapping.custom_prefix is None and entry.mapping.account in accounts:
            _clash(accounts[entry.mapping.account], entry, f'same bucket and account; {ANY} includes the container',
                   report)


def _check_swift_account(group: list[_Entry], report: Report) -> None:
    """Mappings into one remote Swift account."""
    singles = _first_of_its_kind((entry for entry in group if not entry.many_containers),
                                 lambda entry: entry.mapping.remote.bucket, 'same account and container', report)
    wholes = _first_of_its_kind((entry for entry in group if entry.many_containers),
                                lambda entry: entry.mapping.remote.bucket,
                                'both put containers with the same beginning of the name into the same account', report)
    for entry in group:
        if entry.many_containers:
            continue
        bucket, container = entry.mapping.remote.bucket, entry.mapping.container
        whole = wholes.get(bucket.removesuffix(container)) if bucket.endswith(container) else None
        if whole is not None and whole.mapping.account == entry.mapping.account:
            _clash(whole, entry, f'{ANY} already copies this container there', report)
        segments = singles.get(f'{bucket}_segments')
        if segments is not None:
            report.warn(join(segments.path, 'aws_bucket'), f'is where {entry.path} keeps segments of large objects')


def _check_local_targets(migrations: list[tuple[str, Migration]], report: Report) -> None:
    seen: dict[tuple[str, str], str] = {}
    for path, migration in migrations:
        first = seen.setdefault((migration.account, migration.container), path)
        if first != path:
            report.problem(path, f'fills the same local container as {first}; deletions at one source would remove '
                                 'what came from the other')


def _check_loops(migrations: list[tuple[str, Migration]], entries: list[_Entry], report: Report) -> None:
    """A migration must not bring in what a mapping of the same container sends out."""
    by_account: dict[tuple[_Place, str], list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_account[entry.place, entry.mapping.account].append(entry)
    for path, migration in migrations:
        for entry in by_account.get((place_of(migration.remote), migration.account), ()):
            if _is_loop(migration, entry):
                report.problem(path, f'brings back what {entry.path} sends out: same remote, bucket and local '
                                     'container')


def _is_loop(migration: Migration, entry: _Entry) -> bool:
    mapping, source = entry.mapping, migration.remote.bucket
    if migration.container != mapping.container and ANY not in (migration.container, mapping.container):
        return False
    if source not in (ANY, mapping.remote.bucket) and not entry.many_containers:
        return False
    if mapping.remote.protocol == 'swift':
        return True
    prefix = entry.prefix
    return prefix is None or prefix.startswith(migration.prefix) or migration.prefix.startswith(prefix)
