"""Finishes deletions that a user asked for and the remote has not heard of (semantics 7.3).

A marker object says that its name was deleted, when, and for which mappings the
remote's copy goes too. It is dropped only after the remote was seen without that
copy, so it may be met again and again: after a crash, by another node, by another
mapping that it concerns as well.
"""
from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from swift.common.utils import Timestamp

from container_crawler.rows import Row
from s3_sync.base_sync import NO_CONDITION, BaseSync
from s3_sync.clock import Clock
from s3_sync.config import Mapping
from s3_sync.engine.outcomes import Outcome, outcome_of_error
from s3_sync.engine.select import Selector
from s3_sync.errors import BucketNotFound, NotFound, PreconditionFailed, SourceUnavailable, SourceUnusable
from s3_sync.local.source import Source
from s3_sync.timestamps import ZERO, RowTimes, marked, without_marker
from s3_sync.types import Condition, ObjectMeta, ObjectRow
from s3_sync.wire.tombstones import Policies, hides, name_from_headers, parse_content_type

ATTEMPTS_UNDER_CONTENTION = 4
"""Looks at a remote object that somebody keeps writing, before giving way."""
STILL_HERE_SECONDS = (5.0, 600.0)
"""How soon to look again at an object that is deleted by its marker, and lives: most likely its DELETE is under way."""

Written = Literal['written', 'superseded']
"""``superseded``: something newer has the marker's name, and brings a row of its own."""


class Markers(Protocol):
    """``s3_sync.local.markers.MarkerStore``, as far as it is needed here. Every method raises SourceUnavailable."""

    def drop(self, account: str, hidden: str, marker: str, at: Timestamp) -> Written: ...

    def put(self, account: str, hidden: str, name: str, policies: Policies, at: Timestamp) -> Written: ...


@dataclass(frozen=True)
class _Marker:
    row: ObjectRow
    name: str
    """Of the deleted object."""
    times: RowTimes
    policies: Policies

    @property
    def deleted_at(self) -> Timestamp:
        return without_marker(self.times.newest)


class MarkerFinisher:
    """Works on the markers of one container for one mapping (with a concrete container).

    Green-thread safe; callers see that one name is worked on once at a time.
    """

    def __init__(self, mapping: Mapping, generations: Collection[str], source: Source, provider: BaseSync,
                 markers: Markers, policy_index: Callable[[], int | None], *, clock: Clock) -> None:
        """``generations``: by which markers may know this mapping.

        ``policy_index`` tells the local container's storage policy, None while there is no such container.
        """
        self._mapping = mapping
        self._generations = frozenset(generations)
        self._source = source
        self._provider = provider
        self._markers = markers
        self._policy_index = policy_index
        self._clock = clock
        self._selector = Selector(mapping)

    def handle(self, row: ObjectRow) -> Outcome:
        """Do what this row of the hidden container asks for. Never raises."""
        try:
            if row.deleted:
                return Outcome('same', 'dropped')
            if not self._mine(parse_content_type(row.row.content_type)):
                return Outcome('same', 'kept')
            return self._finish(self._read(row))
        except Exception as error:  # one marker never blocks another
            return outcome_of_error(error, self._clock.now())

    def _mine(self, policies: Policies | None) -> list[str]:
        return [generation for generation, policy in (policies.of.items() if policies is not None else ())
                if policy == 'propagate' and generation in self._generations]

    def _read(self, row: ObjectRow) -> _Marker:
        """The marker as it is now: an operator may have purged it. SourceGone and other errors of sources."""
        opened = self._source.open(row, follow_links=False)
        opened.body.close()
        name = name_from_headers(row.name, opened.meta.sysmeta)
        if name is None:
            raise SourceUnusable(f'{row.path}: this marker does not tell whose it is', reason='no-marker')
        return _Marker(row, name, opened.times, parse_content_type(opened.meta.content_type) or Policies({}))

    def _finish(self, marker: _Marker) -> Outcome:
        if not self._mine(marker.policies):
            return Outcome('same', 'kept')
        if self._selector.excluded(marker.name):
            return Outcome('excluded', 'exclude-pattern')
        for _ in range(ATTEMPTS_UNDER_CONTENTION):
            try:
                remote = self._look(marker.name)
                if remote is None:
                    return self._finished(marker, 'gone')
                if not hides(marker.deleted_at, remote):
                    return Outcome('same', 'remote-newer')
                # After the look: what comes to the remote from here now is newer than what lives here now.
                lives = self._lives(marker, remote)
                if lives is not None:
                    return lives
                self._provider.delete_object(marker.name, condition=self._condition(remote))
                return self._finished(marker, 'removed')
            except PreconditionFailed:
                continue
        return Outcome('failed', 'contended', 'somebody else keeps writing this name at the remote')

    def _look(self, name: str) -> ObjectMeta | None:
        try:
            return self._provider.head_object(name)
        except BucketNotFound:
            if self._mapping.of_all_containers and self._mapping.remote.protocol == 'swift':
                return None  # it is made when the first object comes
            raise
        except NotFound:
            return None

    def _condition(self, remote: ObjectMeta) -> Condition:
        conditional = self._provider.capabilities.conditional_delete and remote.etag
        return Condition(if_match=remote.etag) if conditional else NO_CONDITION

    # -- the local name ------------------------------------------------------------------

    def _lives(self, marker: _Marker, remote: ObjectMeta) -> Outcome | None:
        """The end when the object lives here (semantics 2.4), None when it does not.

        While a replica is down that cannot be told. A copy that says it is not newer
        than the marker may go all the same: whatever came since is not at the remote yet.
        """
        index = self._policy_index()
        if index is None:
            return None
        try:
            if not self._newer_than(ZERO, marker, index):
                return None
            if self._newer_than(marker.deleted_at, marker, index):
                return Outcome('same', 'superseded')
        except SourceUnavailable:
            if remote.data_time is None:
                raise
            return None
        now, (soonest, latest) = self._clock.now(), STILL_HERE_SECONDS
        wait = min(latest, max(soonest, now - float(marker.deleted_at)))
        return Outcome('deferred', 'still-here', 'the local object is older than its deletion, and lives',
                       due=now + wait)

    def _newer_than(self, time: Timestamp, marker: _Marker, index: int) -> bool:
        row = Row(0, marker.name, time.internal, 0, '', '', True, index)
        return self._source.superseded(ObjectRow(self._mapping.account, self._mapping.container, row))

    # -- the marker ----------------------------------------------------------------------

    def _finished(self, marker: _Marker, reason: str) -> Outcome:
        """The remote is as the deletion wants it: this mapping needs the marker no more, others may.

        Newer than the marker, older than any deletion of a user's that came since: that one stays.
        """
        at = marked(marker.times, self._clock.now())
        account, hidden = marker.row.account, marker.row.container
        rest = marker.policies.without(self._mine(marker.policies))
        if rest:
            self._markers.put(account, hidden, marker.name, rest, at)
        else:
            self._markers.drop(account, hidden, marker.row.name, at)
        return Outcome('deleted', reason)
