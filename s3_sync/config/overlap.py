"""Rules between entries: no two may write into the same names, none may copy another's copies back.

Two mappings with one key space overwrite each other's objects, take each
other's for their own when deletions are inferred, and let each other's expire.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations

from s3_sync.config.identity import canonical_endpoint, target_account
from s3_sync.config.mapping import Mapping
from s3_sync.config.migration import Migration
from s3_sync.config.parse import join
from s3_sync.config.remote import ANY, Remote
from s3_sync.config.report import Report


@dataclass(frozen=True, slots=True)
class _Space:
    """Names that a mapping may write: in one bucket those below ``prefix``, or all containers that begin with it."""

    path: str
    mapping: Mapping
    place: tuple[str, ...]

    @property
    def many_containers(self) -> bool:
        return self.mapping.all_containers and self.mapping.remote.protocol == 'swift'


def check(mappings: list[tuple[str, Mapping]], migrations: list[tuple[str, Migration]], report: Report) -> None:
    """Compare all entries with each other."""
    spaces = [_Space(path, mapping, _place(mapping.remote)) for path, mapping in mappings]
    for one, other in combinations(spaces, 2):
        if one.place == other.place:
            _compare(one, other, report)
    _same_local_target(migrations, report)
    for path, migration in migrations:
        for space in spaces:
            _check_loop(path, migration, space, report)


def _place(remote: Remote) -> tuple[str, ...]:
    """The account (Swift) or the store (S3) that the bucket name is unique in."""
    account = target_account(remote)
    if remote.protocol == 'swift' and not account:
        # v1 users are ACCOUNT:USER; an application credential belongs to one project.
        account = ['login', (remote.identity or '').partition(':')[0], remote.application_credential_id or '']
    return (remote.protocol, canonical_endpoint(remote), *account)


def _compare(one: _Space, other: _Space, report: Report) -> None:
    reason = _s3_clash(one.mapping, other.mapping) if one.mapping.remote.protocol == 's3' else _swift_clash(one, other)
    if reason:
        report.problem(other.path, f'writes to the same names as {one.path}: {reason}')
    elif one.mapping.remote.protocol == 'swift':
        _warn_segments(one, other, report)


def _s3_clash(one: Mapping, other: Mapping) -> str:
    if one.remote.bucket != other.remote.bucket:
        return ''
    if one.custom_prefix is None and other.custom_prefix is None:
        if one.account != other.account or not _containers_meet(one.container, other.container):
            return ''
        return 'same bucket, account and container; give one of them a custom_prefix'
    first, second = key_prefix(one), key_prefix(other)
    if first is None or second is None:
        return ''
    if first.startswith(second) or second.startswith(first):
        return 'same bucket, and the key prefix of one contains that of the other'
    return ''


def key_prefix(mapping: Mapping) -> str | None:
    """What all S3 keys of a mapping begin with; None when that differs by container (``/*`` without prefix)."""
    if mapping.custom_prefix is not None:
        prefix = mapping.custom_prefix.strip('/')
        return f'{prefix}/' if prefix else ''
    if mapping.all_containers:
        return None
    digest = hashlib.md5(f'{mapping.account}/{mapping.container}'.encode(), usedforsecurity=False).hexdigest()
    return f'{int(digest, 16) % 16 ** 6:x}/{mapping.account}/{mapping.container}/'


def _containers_meet(one: str, other: str) -> bool:
    return one == other or ANY in (one, other)


def _swift_clash(one: _Space, other: _Space) -> str:
    first, second = one.mapping.remote.bucket, other.mapping.remote.bucket
    if one.many_containers and other.many_containers:
        return 'both put containers of the same prefix into the same account' if first == second else ''
    if not one.many_containers and not other.many_containers:
        return 'same account and container' if first == second else ''
    whole, single = (one.mapping, other.mapping) if one.many_containers else (other.mapping, one.mapping)
    if whole.account == single.account and whole.remote.bucket + single.container == single.remote.bucket:
        return '/* already copies this container there'
    return ''


def _warn_segments(one: _Space, other: _Space, report: Report) -> None:
    for left, right in ((one, other), (other, one)):
        if not left.many_containers and right.mapping.remote.bucket == f'{left.mapping.remote.bucket}_segments':
            report.warn(join(right.path, 'aws_bucket'), f'is where {left.path} keeps segments of large objects')


def _same_local_target(migrations: list[tuple[str, Migration]], report: Report) -> None:
    seen: dict[tuple[str, str], str] = {}
    for path, migration in migrations:
        first = seen.setdefault((migration.account, migration.container), path)
        if first != path:
            report.problem(path, f'fills the same local container as {first}; deletions at one source would remove '
                                 'what came from the other')


def _check_loop(path: str, migration: Migration, space: _Space, report: Report) -> None:
    """A migration must not bring in what a mapping of the same container sends out."""
    mapping = space.mapping
    if _place(migration.remote) != space.place or migration.account != mapping.account:
        return
    if not _containers_meet(migration.container, mapping.container):
        return
    source = migration.remote.bucket
    if source != ANY and not (source == mapping.remote.bucket or space.many_containers):
        return
    prefix = key_prefix(mapping) if mapping.remote.protocol == 's3' else ''
    if prefix is None or prefix.startswith(migration.prefix) or migration.prefix.startswith(prefix):
        report.problem(path, f'brings back what {space.path} sends out: same remote, bucket and local container')
