"""Carries out decisions: the one place of the sync job where the remote is changed."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock, SystemClock
from s3_sync.config import Mapping
from s3_sync.engine.archive import Archiver, Brought, Version, large_meta
from s3_sync.engine.decide import (
    UNKNOWN,
    Copy,
    Delete,
    Look,
    Nothing,
    Remote,
    Rules,
    Update,
    decide,
    decide_delete,
)
from s3_sync.engine.outcomes import Outcome, outcome_of_error
from s3_sync.engine.select import Selector
from s3_sync.errors import (
    MANIFEST_MISSING,
    BucketNotFound,
    NotFound,
    PreconditionFailed,
    ProviderError,
    SourceGone,
    SourceStale,
    SourceUnavailable,
    Unproven,
    Unsupported,
)
from s3_sync.local.source import Link, Source, SourceObject
from s3_sync.local.versions import RESTORED_FROM_HEADER
from s3_sync.timestamps import is_ours
from s3_sync.types import Condition, ObjectMeta, ObjectRow

Mode = Literal['own', 'look', 'remove']
"""``own``: a new name is sent without asking. ``look``: the name is probably there, ask first.
``remove``: as ``look``, and nothing else needs the archived local object any more."""

OPTIMISTIC_BYTES = 1024 * 1024
"""Above this a HEAD (some hundred bytes) is cheaper than a body that a 412 throws away."""

ATTEMPTS_UNDER_CONTENTION = 4
"""Decisions on one row before giving way to whoever else writes this name right now."""


class Applier:
    """Works on the rows of one container for one mapping (with a concrete container).

    Green-thread safe; kept as long as the mapping lives. Callers see that two
    rows of one name never run at the same time in one process; other nodes and
    processes are kept apart by conditions on the writes.
    """

    def __init__(self, mapping: Mapping, source: Source, provider: BaseSync, *, archiver: Archiver | None = None,
                 objects_leave: bool = False, clock: Clock | None = None,
                 logger: logging.Logger | None = None) -> None:
        """``archiver`` of a mapping that keeps nothing here (``retain_local: false``).

        ``objects_leave``: another mapping's archive may take objects of this container away.
        """
        self.archiver = archiver
        self._objects_leave = objects_leave or not mapping.retain_local
        self.mapping = mapping
        self.source = source
        self.provider = provider
        self.clock = clock or SystemClock()
        self.logger = logger or logging.getLogger(__name__)
        self._selector = Selector(mapping)

    # -- live rows -----------------------------------------------------------------------

    def expect(self, rows: Sequence[ObjectRow]) -> None:
        """These rows come next: those that will be opened may be read ahead."""
        now = self.clock.now()
        self.source.expect([row for row in rows if self._selector.before_read(row, now) is None])

    def handle(self, row: ObjectRow, mode: Mode = 'own') -> Outcome:
        """Bring the remote to this row's version, or a newer one. Never raises."""
        try:
            early = self._selector.before_read(row, self.clock.now())
            if early is not None:
                return early
            return self._with_source(row, mode)
        except Exception as error:  # one bad object never blocks another
            return self._failed(row, error)

    def _with_source(self, row: ObjectRow, mode: Mode, *, follow_links: bool = False) -> Outcome:
        try:
            opened = self.source.open(row, follow_links=follow_links or self.mapping.symlinks == 'follow')
        except SourceGone:
            return Outcome('same', 'gone')
        except SourceStale:
            ghost = self.archiver.ghost(row) if self.archiver is not None else None
            if ghost is None:
                raise
            return ghost
        try:
            if opened.link is not None:
                return self._link(row, opened, opened.link, mode)
            version = self._version(row, opened)
            unfit = self._selector.after_read(row, version.meta, self.clock.now())
            if unfit is not None:
                return unfit
            if is_ours(row.times.newest) and mode == 'own':
                mode = 'look'  # restored from somewhere: most likely from here
            brought = self._bring(version, mode)
            return brought.outcome if self.archiver is None else self._archive(version, brought, mode)
        finally:
            opened.body.close()

    def _link(self, row: ObjectRow, opened: SourceObject, link: Link, mode: Mode) -> Outcome:
        if self.mapping.symlinks == 'skip':
            return Outcome('excluded', 'symlink')
        unfit = self._selector.after_read(row, opened.meta, self.clock.now())
        if unfit is not None:
            return unfit
        if not link.account:
            try:
                written = self.provider.bring_link(opened.meta, link.container, link.name)
                return Outcome('copied', 'link') if written else Outcome('same', 'same')
            except Unsupported:
                pass  # it leads to what this mapping does not copy: the data goes instead
        return self._with_source(row, mode, follow_links=True)

    def _version(self, row: ObjectRow, opened: SourceObject) -> Version:
        if not opened.meta.large_object and opened.meta.size <= self.provider.capabilities.max_put_bytes:
            return Version(row, opened, opened.meta, None)
        large = self.source.large(row, opened)
        return Version(row, opened, large_meta(opened.meta, large), large)

    # -- the remote's copy ---------------------------------------------------------------

    def _bring(self, version: Version, mode: Mode) -> Brought:
        local, rules = version.meta, self._rules(version)
        remote: Remote = UNKNOWN
        for attempt in range(ATTEMPTS_UNDER_CONTENTION):
            try:
                # A 412, or a name that is probably there: look before anything else.
                if remote is UNKNOWN and (mode != 'own' or attempt):
                    remote = self._look(local.name)
                action = decide(local, remote, rules)
                if isinstance(action, Look):
                    remote = self._look(local.name)
                    action = decide(local, remote, rules)
                if isinstance(action, Nothing):
                    return self._settled(version, action.reason, remote)
                if isinstance(action, Update):
                    return self._update(version, action)
                assert isinstance(action, Copy)  # decide() never looks twice
                return self._copy(version, action.condition)
            except PreconditionFailed:
                remote = UNKNOWN
                version.opened.body.rewind()
        return Brought(Outcome('failed', 'contended', 'somebody else keeps writing this name at the remote'))

    def _rules(self, version: Version) -> Rules:
        can, large = self.provider.capabilities, version.large
        restored_from = version.opened.meta.sysmeta.get(RESTORED_FROM_HEADER)
        # What takes hours to send must not replace what another node has brought meanwhile.
        late = large is not None and can.late_conditions
        return Rules(create_only=can.create_only or late, conditional_overwrite=can.conditional_overwrite or late,
                     optimistic_bytes=OPTIMISTIC_BYTES, comparable=self.provider.comparable,
                     relation=None if large is None else partial(self.provider.relation, large),
                     restored=restored_from == self.mapping.generation and is_ours(version.opened.times.data))

    def _look(self, name: str) -> ObjectMeta | None:
        try:
            return self.provider.head_object(name)
        except BucketNotFound:
            raise
        except NotFound:
            return None

    def _settled(self, version: Version, reason: str, remote: Remote) -> Brought:
        """Nothing to send; of a large object what stands beside it may still be missing."""
        seen = remote if isinstance(remote, ObjectMeta) else None
        if version.large is not None and reason == 'same' and self.provider.ensure_manifest(version.large,
                                                                                              version.meta):
            return Brought(Outcome('updated', 'manifest'), remote=seen)
        return Brought(Outcome('same', reason), remote=seen)

    def _copy(self, version: Version, condition: Condition) -> Brought:
        if version.large is None:
            written = self.provider.upload_object(version.opened.body, version.meta, condition=condition)
        else:
            written = self.provider.upload_large_object(version.large, version.meta, condition=condition)
        return Brought(Outcome('copied', bytes=version.meta.size), written)

    def _update(self, version: Version, action: Update) -> Brought:
        try:
            self.provider.update_metadata(action.meta, action.remote)
        except Unsupported:
            # Archive storage classes and the like: metadata changes only with the data.
            if action.meta.data_time != version.meta.data_time:
                raise  # the remote's data is newer than what there is here
            return self._overwrite(version, action.remote)
        if version.large is not None:
            self.provider.ensure_manifest(version.large, version.meta)
        return Brought(Outcome('updated'))

    def _overwrite(self, version: Version, remote: ObjectMeta) -> Brought:
        """Send the data again, over the version that was looked at."""
        matches = self._rules(version).conditional_overwrite and remote.etag
        return self._copy(version, Condition(if_match=remote.etag) if matches else Condition())

    # -- the local object ----------------------------------------------------------------

    def _archive(self, version: Version, brought: Brought, mode: Mode) -> Outcome:
        """Let the local object go, once that is safe. What was done to the remote is told all the same."""
        assert self.archiver is not None
        if not brought.outcome.finished or brought.outcome.reason == 'restored':
            return brought.outcome
        try:
            return brought.outcome._replace(local=self._proven_and_gone(version, brought, mode == 'remove'))
        except Exception as error:
            return brought.outcome._replace(local=self._failed(version.row, error))

    def _proven_and_gone(self, version: Version, brought: Brought, cleared: bool) -> Outcome:
        assert self.archiver is not None
        try:
            return self.archiver.finish(version, brought, cleared=cleared)
        except Unproven as error:
            if error.reason == MANIFEST_MISSING and version.large is not None:
                self.provider.ensure_manifest(version.large, version.meta)
                return self.archiver.finish(version, brought, cleared=cleared)
            if brought.written is not None:
                raise
            # Its ETag tells nothing (KMS, parts of another size): what a write of ours returns does. But only over
            # this very version: somebody may have brought a newer one since it was looked at.
            rules = replace(self._rules(version), relation=lambda remote: 'different')
            action = decide(version.meta, self._look(version.meta.name), rules)
            if not isinstance(action, Copy):
                raise
            self.logger.info('%r: %s; sent again', version.row.path, error)
            version.opened.body.rewind()
            return self.archiver.finish(version, self._copy(version, action.condition), cleared=cleared)

    # -- tombstones ----------------------------------------------------------------------

    @property
    def deletes_at_once(self) -> int:
        """How many tombstones ``delete`` is best given at a time.

        Where objects leave, one: what another node brings between the look and the delete may have left here already.
        """
        return 1 if self._objects_leave else max(1, self.provider.capabilities.batch_delete)

    def delete(self, rows: Sequence[ObjectRow]) -> list[Outcome]:
        """Propagate tombstones, one outcome each, in order. Never raises."""
        outcomes = [self._before_delete(row) for row in rows]
        names = [row.name for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if not names:
            return [o for o in outcomes if o is not None]
        try:
            results = self.provider.delete_objects(names)
        except Exception as error:
            results = dict.fromkeys(names, error)
        return [outcome if outcome is not None else self._deleted(row, results[row.name])
                for row, outcome in zip(rows, outcomes, strict=True)]

    def _before_delete(self, row: ObjectRow) -> Outcome | None:
        try:
            if self._selector.excluded(row.name):
                return Outcome('excluded', 'exclude-pattern')
            action = decide_delete(row, UNKNOWN, propagate=self.mapping.propagate_delete)
            superseded = self._superseded(row) if isinstance(action, Delete) else None
            if superseded is None and isinstance(action, Delete) and self._objects_leave:
                # Local data may have left for good: only the remote knows what is newest. Asked last, because
                # a version that comes and leaves again while others are asked is nowhere else any more.
                action = decide_delete(row, self._look(row.name), propagate=True)
            return Outcome('same', action.reason) if isinstance(action, Nothing) else superseded
        except Exception as error:
            return self._failed(row, error)

    def _superseded(self, row: ObjectRow) -> Outcome | None:
        """Whether a newer version lives (semantics 2.4).

        While a replica is down that cannot be told here. A remote copy that says
        it is older than the tombstone may go all the same: whatever came since
        has a row of its own, and is not at the remote yet.
        """
        try:
            return Outcome('same', 'superseded') if self.source.superseded(row) else None
        except SourceUnavailable:
            remote = self._look(row.name)
            if remote is not None and remote.data_time is None:
                raise
            action = decide_delete(row, remote, propagate=True)
            return Outcome('same', action.reason) if isinstance(action, Nothing) else None

    def _deleted(self, row: ObjectRow, error: Exception | None) -> Outcome:
        return Outcome('deleted') if error is None else self._failed(row, error)

    def _failed(self, row: ObjectRow, error: Exception) -> Outcome:
        outcome = outcome_of_error(error, self.clock.now())
        if outcome.reason == 'internal-error':
            self.logger.error('%r: unexpected error', row.path, exc_info=error)
        elif isinstance(error, ProviderError):
            self.logger.debug('%r: %s: %s', row.path, outcome.reason, outcome.detail)
        return outcome
