"""What becomes of the local object once its copy is at the remote (``retain_local: false``).

Nothing goes before the remote has shown, asked afresh, that it holds just this
version, whole; and with several destinations each of them has (DESIGN 4.3,
semantics 2). Objects that a manifest may need, and the segments of those that
go, wait for the sweep of their account.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from container_crawler.rows import Row
from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.config import Mapping
from s3_sync.engine.decide import content_relation
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.select import Selector
from s3_sync.errors import NotFound, RemovalDeferred, SourceError, Unproven
from s3_sync.large_objects.model import LargeSource
from s3_sync.local.source import SourceObject
from s3_sync.local.versions import restored_at
from s3_sync.timestamps import RowTimes, without_marker
from s3_sync.types import ObjectMeta, ObjectRow, PutResult, Removal

DEFER_SECONDS = 300.0
"""How long a local delete waits for a replica that is away, or for another mapping's copy."""
SEGMENT_CONTAINERS = ('_segments', '+segments')
"""Ends of names under which Swift's clients and s3api keep segments."""
DAY_SECONDS = 86400.0
REMEMBERED_WRITES = 10_000
"""Answers to writes that may still be needed as proof when the local object could not go at once."""


class Remover(Protocol):
    """``s3_sync.local.remove.LocalRemover``, as far as it is needed here."""

    def remove(self, row: ObjectRow, times: RowTimes) -> Literal['removed', 'superseded', 'gone']:
        """Delete exactly the version with these times. RemovalDeferred, SourceUnavailable."""


@dataclass(frozen=True, slots=True)
class Version:
    """A local version, opened, as it is to be at the remote."""

    row: ObjectRow
    opened: SourceObject
    meta: ObjectMeta
    """Of large objects with the logical size and the content's ETag."""
    large: LargeSource | None


@dataclass(frozen=True, slots=True)
class Brought:
    """How bringing the remote to a version went."""

    outcome: Outcome
    written: PutResult | None = None
    """What our own write returned."""
    remote: ObjectMeta | None = None
    """The remote's version where it was looked at."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another mapping of the same container."""

    name: str
    selector: Selector
    provider: BaseSync


def peers_of(mapping: Mapping, mappings: Iterable[Mapping], provider: Callable[[Mapping], BaseSync]) -> list[Peer]:
    """The other ones among ``mappings`` that take from the same container; ``mapping`` has a concrete one."""
    others = takers(mapping.account, mapping.container, mappings)
    return [Peer(other.name, Selector(other), provider(other)) for other in others
            if other.generation != mapping.generation]


def takers(account: str, container: str, mappings: Iterable[Mapping]) -> list[Mapping]:
    """Those that take from this container, each with it as its concrete one."""
    return [mapping.for_container(container) for mapping in mappings
            if mapping.account == account and (mapping.all_containers or mapping.container == container)]


def objects_leave(account: str, container: str, mappings: Iterable[Mapping]) -> bool:
    """Whether objects of this container may be archived by any of ``mappings``, perhaps as somebody's segments."""
    return any(not mapping.retain_local for mapping in mappings if mapping.account == account and (
        mapping.all_containers or mapping.container == container or not mapping.retain_local_segments))


def peers_lack(peers: Iterable[Peer], version: Version, now: float) -> Outcome | None:
    """The wait for a destination that selects this object and does not show that it has it; None: all do."""
    for peer in peers:
        unfit = (peer.selector.before_read(version.row, now)
                 or peer.selector.after_read(version.row, version.meta, now))
        if unfit is not None:
            if unfit.kind == 'deferred':
                return Outcome('deferred', 'awaits-copy', f'for {peer.name}', due=unfit.due)
            continue
        try:
            peer.provider.prove(version.meta, large=version.large)
        except (Unproven, NotFound) as error:
            if isinstance(error, Unproven) and _has_newer(peer.provider, version.meta):
                continue  # it needs no older one
            return Outcome('deferred', 'awaits-copy', f'for {peer.name}: {error}', due=now + DEFER_SECONDS)
    return None


def _has_newer(provider: BaseSync, meta: ObjectMeta) -> bool:
    """Whether the remote has data that replaces this version's."""
    theirs = provider.head_object(meta.name).data_time
    return theirs is not None and meta.data_time is not None and bool(
        without_marker(theirs) > without_marker(meta.data_time))


class Archiver:
    """Of one mapping with a concrete container. Green-thread safe."""

    def __init__(self, mapping: Mapping, provider: BaseSync, remover: Remover, peers: Sequence[Peer], *,
                 clock: Clock) -> None:
        self._mapping = mapping
        self._provider = provider
        self._remover = remover
        self._peers = peers
        self._clock = clock
        self._written: OrderedDict[str, tuple[str, PutResult]] = OrderedDict()
        """By name: a version, and what our write of it returned."""
        self._holds_segments = mapping.of_all_containers or mapping.container.endswith(SEGMENT_CONTAINERS)

    def finish(self, version: Version, brought: Brought, *, cleared: bool) -> Outcome:
        """What happened to the local object. ``cleared``: nothing else needs the row's version here.

        Raises Unproven when the remote does not show what it must.
        """
        now = self._clock.now()
        if version.large is not None and version.large.layout.kind == 'dlo' and not version.large.layout.pieces:
            # The listing of one replica, perhaps of one that lags: nothing that a copy could prove. Segments that come
            # later touch no row of it.
            return Outcome('deferred', 'empty-dlo', due=now + DAY_SECONDS)
        restored = restored_at(version.opened.meta.sysmeta, version.opened.times)
        if restored is not None:
            due = restored + max(self._mapping.copy_after, self._mapping.restore_days * DAY_SECONDS)
            if due > now:
                return Outcome('deferred', 'restored', due=due)
        if brought.outcome.reason == 'remote-newer':
            if not self._replaced(version, brought.remote):
                return Outcome('same', 'remote-newer')
        else:
            self._provider.prove(version.meta, large=version.large, written=self._answer(version.meta, brought))
        waits = peers_lack(self._peers, version, now)
        if waits is not None:
            return waits
        removals = self._removals(version, now)
        if removals and not (cleared and removals[0].row.etag == version.row.row.etag):
            if cleared and version.opened.times.newest != version.row.times.newest:
                return Outcome('archived', 'superseded')  # the newer version has a row of its own
            # Or again: a DLO may come to other segments than those that the ledger has by now.
            return Outcome('archived', 'waits', removals=removals)
        # The row's times: of a link its own, not its target's; of a version newer than the row, which has its own row,
        # too old to touch it.
        return self._remove(version.row, version.row.times)

    def _answer(self, meta: ObjectMeta, brought: Brought) -> PutResult | None:
        """What our write of this version returned, now or at an earlier try.

        Where ETags tell nothing (KMS) the only proof; without it every try would send the data again.
        """
        version = repr((meta.data_time, meta.meta_time, meta.etag))
        if brought.written is not None and brought.written.etag != meta.content_md5:
            self._written[meta.name] = version, brought.written
            self._written.move_to_end(meta.name)
            if len(self._written) > REMEMBERED_WRITES:
                self._written.popitem(last=False)
        known, answer = self._written.get(meta.name, ('', None))
        return brought.written or (answer if known == version else None)

    def ghost(self, row: ObjectRow) -> Outcome | None:
        """A row whose version is on no disk: when the remote has it, or a newer one, the row goes as well.

        What is on the disks then goes with it, and may be the data without its
        latest metadata: so the remote must be as new in both.
        """
        try:
            remote = self._provider.head_object(row.name)
        except NotFound:
            return None
        times = [without_marker(time) for time in (remote.data_time, remote.meta_time) if time is not None]
        data, newest = without_marker(row.times.data), without_marker(row.times.newest)
        if remote.data_time is None or times[0] < data or max(times) < newest:
            return None
        return self._remove(row, row.times)

    def _replaced(self, version: Version, remote: ObjectMeta | None) -> bool:
        """Whether the remote's newer version makes this one a ghost: it was archived after it, or holds its bytes."""
        if remote is None or remote.data_time is None or version.meta.data_time is None:
            return False
        theirs, ours = without_marker(remote.data_time), without_marker(version.meta.data_time)
        if theirs != ours:
            return bool(theirs > ours)
        relation = (content_relation(version.meta, remote) if version.large is None
                    else self._provider.relation(version.large, remote))
        return relation == 'same'

    def _removals(self, version: Version, now: float) -> tuple[Removal, ...]:
        """What has to wait in the ledger: objects that may be segments, and the segments of a manifest that goes."""
        row = version.row
        grace = self._mapping.segments_grace
        if self._holds_segments:
            due = float(without_marker(version.opened.times.newest)) + grace
            return (Removal(row.container, row.row, due, sweep=True),)
        layout = version.large.layout if version.large is not None else None
        if layout is None or layout.kind == 'plain' or self._mapping.retain_local_segments:
            return ()
        owner = f'{row.container}/{row.name}'
        named = {(s.container, s.name): s for s in layout.objects()}
        segments = [
            Removal(container, Row(0, name, '', s.size, '', s.etag, False, 0), now + grace, sweep=True, owner=owner,
                    owner_etag=layout.etag)
            for (container, name), s in named.items()]
        return (Removal(row.container, row.row._replace(etag=layout.etag), now, sweep=False), *segments)

    def _remove(self, row: ObjectRow, times: RowTimes) -> Outcome:
        try:
            return Outcome('archived', self._remover.remove(row, times))
        except RemovalDeferred as error:
            return Outcome('deferred', error.reason, str(error), due=self._clock.now() + DEFER_SECONDS)
        except SourceError as error:
            return Outcome('failed', error.reason, str(error))


def large_meta(meta: ObjectMeta, large: LargeSource) -> ObjectMeta:
    """What travels with a large object: its logical size, and what tells its content."""
    layout = large.layout
    if layout.kind == 'plain':
        return meta
    return replace(meta, size=layout.size, etag=layout.etag, source_etag=layout.etag, etag_is_md5=False)
