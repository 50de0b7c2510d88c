"""Carries out decisions: the one place of the sync job where the remote is changed."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock, SystemClock
from s3_sync.config import Mapping
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
    BucketNotFound,
    NotFound,
    PreconditionFailed,
    ProviderError,
    SourceGone,
    SourceUnavailable,
    Unsupported,
)
from s3_sync.local.source import Source, SourceObject
from s3_sync.types import Condition, ObjectMeta, ObjectRow

Mode = Literal['own', 'look']
"""``own``: a new name is sent without asking. ``look``: the name is probably there, ask first."""

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

    def __init__(self, mapping: Mapping, source: Source, provider: BaseSync, *, clock: Clock | None = None,
                 logger: logging.Logger | None = None) -> None:
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

    def _with_source(self, row: ObjectRow, mode: Mode) -> Outcome:
        try:
            source = self.source.open(row)
        except SourceGone:
            return Outcome('same', 'gone')
        try:
            if source.meta.large_object:
                return Outcome('permanent', 'large-object',
                               f'{source.meta.large_object.upper()} objects are not synchronised by this release')
            unfit = self._selector.after_read(row, source.meta, self.clock.now())
            return unfit if unfit is not None else self._bring(source, mode)
        finally:
            source.body.close()

    def _bring(self, source: SourceObject, mode: Mode) -> Outcome:
        local = source.meta
        rules = self._rules()
        remote: Remote = UNKNOWN
        for attempt in range(ATTEMPTS_UNDER_CONTENTION):
            try:
                # A 412, or a name that is probably there: look before anything else.
                if remote is UNKNOWN and (mode == 'look' or attempt):
                    remote = self._look(local.name)
                action = decide(local, remote, rules)
                if isinstance(action, Look):
                    remote = self._look(local.name)
                    action = decide(local, remote, rules)
                if isinstance(action, Nothing):
                    return Outcome('same', action.reason)
                if isinstance(action, Update):
                    return self._update(source, action)
                assert isinstance(action, Copy)  # decide() never looks twice
                return self._copy(source, action.condition)
            except PreconditionFailed:
                remote = UNKNOWN
                source.body.rewind()
        return Outcome('failed', 'contended', 'somebody else keeps writing this name at the remote')

    def _rules(self) -> Rules:
        can = self.provider.capabilities
        return Rules(create_only=can.create_only, conditional_overwrite=can.conditional_overwrite,
                     optimistic_bytes=OPTIMISTIC_BYTES, comparable=self.provider.comparable)

    def _look(self, name: str) -> ObjectMeta | None:
        try:
            return self.provider.head_object(name)
        except BucketNotFound:
            raise
        except NotFound:
            return None

    def _copy(self, source: SourceObject, condition: Condition) -> Outcome:
        self.provider.upload_object(source.body, source.meta, condition=condition)
        return Outcome('copied', bytes=source.meta.size)

    def _update(self, source: SourceObject, action: Update) -> Outcome:
        try:
            self.provider.update_metadata(action.meta, action.remote)
            return Outcome('updated')
        except Unsupported:
            # Archive storage classes and the like: metadata changes only with the data.
            matches = self.provider.capabilities.conditional_overwrite and action.remote.etag
            return self._copy(source, Condition(if_match=action.remote.etag) if matches else Condition())

    # -- tombstones ----------------------------------------------------------------------

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
            if isinstance(action, Delete) and not self.mapping.retain_local:
                # Local data may have left for good: only the remote knows what is newest.
                action = decide_delete(row, self._look(row.name), propagate=True)
            if isinstance(action, Nothing):
                return Outcome('same', action.reason)
            return self._superseded(row)
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
