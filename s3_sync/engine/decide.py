"""Pure decisions: what a row, a local version and a remote version together ask for.

Time first, then content (DESIGN 4.2, semantics 1). Data is decided by data
time; headers and metadata by metadata time; an ETag only tells whether bytes
must move. Older never overwrites newer. Nothing here does IO.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from swift.common.utils import Timestamp

from s3_sync.large_objects.etags import Relation
from s3_sync.timestamps import ZERO, is_ours, without_marker
from s3_sync.types import ABSENT, Condition, ObjectMeta, ObjectRow


class Unknown(Enum):
    """The remote has not been asked about this name."""

    UNKNOWN = 'unknown'


UNKNOWN = Unknown.UNKNOWN
Remote = ObjectMeta | None | Unknown
"""What is known of the remote: a version, None for absent, or UNKNOWN."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Send data and metadata, under this condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Update:
    """Set the remote's metadata to ``meta``; its data is already right."""

    meta: ObjectMeta
    remote: ObjectMeta


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the remote (HEAD) and decide again."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Both sides agree, or the remote is ahead; ``reason`` is counted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the remote object."""


Action = Copy | Update | Look | Nothing


@dataclass(frozen=True, slots=True)
class Rules:
    """What of the target matters to a decision."""

    create_only: bool
    """The target honours ``If-None-Match: *`` on PUT."""
    conditional_overwrite: bool
    """The target honours ``If-Match`` on PUT."""
    optimistic_bytes: int
    """Up to this size a body is sent to a name nobody asked about; a 412 then costs little."""
    comparable: Callable[[ObjectMeta], object]
    """What the target keeps of the metadata (``BaseSync.comparable``)."""
    relation: Callable[[ObjectMeta], Relation] | None = None
    """Of a local large object: how a remote version's content stands to it (``BaseSync.relation``)."""
    restored: bool = False
    """The local object was brought back from this very remote: what is not there any more was deleted there."""


def content_relation(local: ObjectMeta, remote: ObjectMeta) -> Relation:
    """Whether two versions hold the same bytes, as far as sizes and MD5s tell."""
    if local.size != remote.size and not local.large_object and not remote.large_object:
        return 'different'
    ours, theirs = local.content_md5, remote.content_md5
    if not ours or not theirs:
        return 'unknown'
    return 'same' if ours == theirs else 'different'


def _relation(local: ObjectMeta, remote: ObjectMeta, rules: Rules) -> Relation:
    return content_relation(local, remote) if rules.relation is None else rules.relation(remote)


def decide(local: ObjectMeta, remote: Remote, rules: Rules) -> Action:
    """What a live local version asks for. ``local`` has its times set."""
    if isinstance(remote, Unknown):
        fresh = local.meta_time is None or local.meta_time is local.data_time or local.meta_time == local.data_time
        if rules.create_only and fresh and not rules.relation and local.size <= rules.optimistic_bytes:
            return Copy(ABSENT)
        return Look()
    if remote is None:
        return Nothing('restored') if rules.restored else Copy(ABSENT if rules.create_only else Condition())
    if remote.data_time is None:
        return _decide_without_times(local, remote, rules)
    return _decide_by_times(local, remote, rules)


def _overwrite(remote: ObjectMeta, rules: Rules) -> Copy:
    """Replace exactly the version that was looked at, where the target can promise that."""
    return Copy(Condition(if_match=remote.etag) if rules.conditional_overwrite and remote.etag else Condition())


def _decide_without_times(local: ObjectMeta, remote: ObjectMeta, rules: Rules) -> Action:
    """A copy of the predecessor's, or anybody's: the source counts as newer (semantics 1.4)."""
    if _relation(local, remote, rules) != 'same':
        return _overwrite(remote, rules)
    if rules.comparable(local) == rules.comparable(remote):
        return Nothing('same')
    return Update(local, remote)


def _decide_by_times(local: ObjectMeta, remote: ObjectMeta, rules: Rules) -> Action:
    local_data, remote_data = _data_time(local), _data_time(remote)
    local_meta, remote_meta = _metadata_time(local), _metadata_time(remote)
    if local_data < remote_data:
        if local_meta <= max(remote_meta, remote_data):
            return Nothing('remote-newer')
        return Update(_metadata_onto(local, remote), remote)
    relation = _relation(local, remote, rules)
    if local_data > remote_data:
        return Update(local, remote) if relation == 'same' else _overwrite(remote, rules)
    if local_meta < remote_meta:
        return Nothing('remote-newer')
    if relation == 'different':
        return _overwrite(remote, rules)
    if local_meta > remote_meta or rules.comparable(local) != rules.comparable(remote):
        return Update(local, remote)
    return Nothing('same')


def _metadata_onto(local: ObjectMeta, remote: ObjectMeta) -> ObjectMeta:
    """A newer POST for data that only the remote has: its metadata, on the remote's data and type."""
    ctype_newer = local.ctype_time is not None and without_marker(local.ctype_time) > _data_time(remote)
    return replace(local, data_time=remote.data_time, size=remote.size, etag=remote.etag,
                   source_etag=remote.source_etag,
                   content_type=local.content_type if ctype_newer else remote.content_type,
                   headers=remote.headers)


def _data_time(meta: ObjectMeta) -> Timestamp:
    return without_marker(meta.data_time) if meta.data_time is not None else ZERO


def _metadata_time(meta: ObjectMeta) -> Timestamp:
    """Newest of the times that decide headers: metadata and content type."""
    times = [t for t in (meta.data_time, meta.meta_time, meta.ctype_time) if t is not None]
    return max(map(without_marker, times), default=ZERO)


def decide_delete(row: ObjectRow, remote: Remote, *, propagate: bool) -> Delete | Nothing | Look:
    """What a tombstone row asks for, once no newer local version exists (semantics 2.1, 2.4).

    UNKNOWN is enough where nothing newer can be at the remote alone; the caller
    looks first where local data may have left (archives).
    """
    times = row.times
    # By the data's time alone: Swift's DELETE takes a POST along that came after we looked, and the row keeps the
    # POST's times beside our mark.
    if is_ours(times.data):
        return Nothing('own-delete')
    if not propagate:
        return Nothing('not-propagated')
    if remote is None:
        return Nothing('already-gone')
    if isinstance(remote, ObjectMeta) and remote.data_time is not None and _metadata_time(remote) > times.newest:
        return Nothing('remote-newer')
    return Delete()
