"""Carries a plan out: segments, then the object, and nothing half-way visible.

What a 202 means is found by a look at what is there (semantics 3.4). Whatever
the cluster answers ends as an ``Outcome``; segments that an attempt wrote in
vain go again, by a delete that is only just later than them: anybody's write
since is left alone.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

from swift.common.utils import Timestamp

from s3_sync.clock import Clock
from s3_sync.concurrency import Timeout
from s3_sync.large_objects.manifest import ManifestError, put_manifest, slo_etag
from s3_sync.restoring.plan import RestorePlan, SegmentWrite, beating
from s3_sync.restoring.proof import Mismatch, Witness
from s3_sync.restoring.sources import BrokenBody, CheckedBody, Source
from s3_sync.restoring.verdict import Local, look_at, reusable, verdict_of
from s3_sync.timestamps import RowTimes, is_ours

TRIES = 3
"""Of one PUT that tombstones of ours refuse."""
CHANGED = 'changed'
"""Reason of a restore that was taken back because the remote changed in the meantime."""
REASONS = {401: 'forbidden', 403: 'forbidden', 404: 'no-container', 408: 'body', 412: 'contended', 413: 'too-large',
           422: 'checksum', 499: 'body', 507: 'full'}


class LocalWriter(Protocol):
    """Swift's application, pre-authorised, from the quotas on. Names and header values are Unicode.

    May raise; then the request counts as failed. Header names of answers are
    lower-case, backend headers included.
    """

    def put(self, container: str, name: str, headers: Mapping[str, str], body: Iterable[bytes],
            query: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        """``body`` raises OSError where the request is to be broken off, so that nothing is stored."""

    def head(self, container: str, name: str) -> tuple[int, Mapping[str, str]]:
        """As new as the cluster knows it (X-Newest)."""

    def delete(self, container: str, name: str, headers: Mapping[str, str]) -> int: ...

    def ensure_container(self, container: str) -> int:
        """Have it there; 2xx when it is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a restore ended.

    ``already``: the same version is there. ``newer``: a later write is.
    ``deleted``: a user or the expirer deleted it at ``time``, which wants a
    tombstone marker of that time. ``failed``: see ``reason``.
    """

    kind: Literal['restored', 'already', 'newer', 'deleted', 'failed']
    reason: str = ''
    """Short stable word for metrics."""
    detail: str = ''
    time: Timestamp | None = None
    bytes: int = 0
    """Logical, of what was restored."""


class _Stop(Exception):
    """The end, before its time."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class _Put(NamedTuple):
    """A write of ours that was accepted, or may have been."""

    container: str
    name: str
    stamp: Timestamp


@dataclass
class _Attempt:
    written: list[_Put] = field(default_factory=list)
    etags: dict[tuple[str, str], str] = field(default_factory=dict)
    ensured: set[str] = field(default_factory=set)


class Writer:
    """Of one cluster. Green-thread safe."""

    def __init__(self, local: LocalWriter, *, clock: Clock, logger: logging.Logger | None = None) -> None:
        self._local = local
        self._clock = clock
        self._logger = logger or logging.getLogger(__name__)

    def run(self, plan: RestorePlan, source: Source, still: Callable[[], bool] = lambda: True) -> Outcome:
        """Everything the plan asks for, the object last. ``source`` is read in order and closed; never raises.

        ``still`` is asked once the object is here: whether the remote has this version
        still. If not, or if that cannot be told, it goes again: what a user changed at
        the remote meanwhile must not be covered.
        """
        attempt = _Attempt()
        try:
            outcome = self._run(plan, source, attempt)
            if outcome.kind == 'restored' and not still():
                outcome = Outcome('failed', CHANGED, 'the remote has another version now')
        except _Stop as stop:
            outcome = stop.outcome
        except (Exception, Timeout) as error:  # whatever it is, the client's download has nothing to do with it
            self._logger.exception('restore of %s/%s', plan.container, plan.name)
            outcome = Outcome('failed', 'error', repr(error))
        except BaseException:  # the green thread is killed: what it wrote stays for nobody
            self._undo(plan, attempt)
            raise
        finally:
            self._close(source)
        if outcome.kind not in ('restored', 'already'):
            self._undo(plan, attempt)
        return outcome

    # -- steps ---------------------------------------------------------------------------

    def _run(self, plan: RestorePlan, source: Source, attempt: _Attempt) -> Outcome:
        witness = Witness(plan.proof) if plan.sequential else None
        if plan.kind == 'bytes':
            body = CheckedBody(source, 0, plan.size, witness=witness, last=True)
            return self._object(plan, {'content-length': str(plan.size)}, body, {}, attempt)
        for segment in plan.segments:
            self._segment(segment, source, witness, attempt)
        if witness is not None:
            try:
                witness.check()
            except Mismatch as error:
                return Outcome('failed', 'checksum', str(error))
        if plan.kind == 'dlo':
            return self._object(plan, {'content-length': '0'}, [b''], {}, attempt)
        entries = tuple(replace(entry, etag=attempt.etags.get((entry.container, entry.name), entry.etag))
                        for entry in plan.manifest)
        manifest = put_manifest(entries)
        try:
            etag = slo_etag(entries)
        except ManifestError as error:
            return Outcome('failed', 'manifest', str(error))
        return self._object(plan, {'content-length': str(len(manifest)), 'etag': etag}, [manifest],
                            {'multipart-manifest': 'put'}, attempt)

    def _object(self, plan: RestorePlan, headers: Mapping[str, str], body: CheckedBody | list[bytes],
                query: Mapping[str, str], attempt: _Attempt) -> Outcome:
        stamp = plan.stamp
        for _ in range(TRIES):
            status = self._put(_Put(plan.container, plan.name, stamp), {**plan.headers, **headers}, body, query,
                               attempt if plan.segments else _Attempt())
            if status == 201:
                attempt.written.append(_Put(plan.container, plan.name, stamp))
                return Outcome('restored', bytes=plan.size)
            local = self._look(plan.container, plan.name)
            verdict = verdict_of(local, plan.times, stamp)
            if verdict == 'same':
                return Outcome('already')
            if verdict == 'newer':
                return Outcome('newer')
            if verdict == 'deleted':
                return Outcome('deleted', time=local.tombstone)
            if verdict == 'older-than-archived':
                # A version after this one was archived: what the remote shows is stale, or somebody put it back.
                return Outcome('failed', verdict, f'archived: {local.tombstone and local.tombstone.internal}')
            if isinstance(body, CheckedBody) and body.touched:
                return Outcome('failed', 'refused')
            stamp = beating(stamp, local.tombstone or stamp, self._clock.now())
        return Outcome('failed', 'refused', 'only tombstones of ours are there')

    def _segment(self, segment: SegmentWrite, source: Source, witness: Witness | None, attempt: _Attempt) -> None:
        """Have a segment there, or _Stop. Its ETag is remembered."""
        place = (segment.container, segment.name)
        stamp = segment.stamp
        self._ensure(segment.container, attempt)
        if not segment.own:
            # Deleted with another time than the object perhaps, and later.
            local = self._look(*place)
            if reusable(local, segment, self._clock.now()):
                attempt.etags[place] = segment.md5
                return
            if verdict_of(local, _times(stamp), stamp) == 'older-than-archived' and local.tombstone is not None:
                stamp = beating(stamp, local.tombstone, self._clock.now())
        body = CheckedBody(source, segment.first, segment.length, md5=segment.md5, witness=witness)
        headers = {**segment.headers, 'content-length': str(segment.length)}
        if segment.md5:
            headers['etag'] = segment.md5
        for _ in range(TRIES):
            status = self._put(_Put(*place, stamp), headers, body, {}, attempt)
            if status == 201:
                attempt.written.append(_Put(*place, stamp))
                self._drained(body)
                attempt.etags[place] = body.md5
                return
            local = self._look(*place)
            verdict = verdict_of(local, _times(segment.stamp), stamp)
            if local.live:
                self._other_segment(segment, local, body, attempt)
                return
            if verdict == 'deleted' or local.tombstone is None or body.touched:
                raise _Stop(Outcome('failed', 'segment-deleted' if verdict == 'deleted' else 'refused',
                                    f'/{segment.container}/{segment.name}'))
            stamp = beating(stamp, local.tombstone, self._clock.now())
        raise _Stop(Outcome('failed', 'refused', f'/{segment.container}/{segment.name}'))

    def _other_segment(self, segment: SegmentWrite, local: Local, body: CheckedBody, attempt: _Attempt) -> None:
        """Something as new is there. It will do when it is the same; another restore may have been faster."""
        self._drained(body)
        if local.etag != body.md5:
            raise _Stop(Outcome('failed', 'segment-changed', f'/{segment.container}/{segment.name}'))
        attempt.etags[segment.container, segment.name] = body.md5

    # -- requests ------------------------------------------------------------------------

    def _put(self, put: _Put, headers: Mapping[str, str], body: CheckedBody | list[bytes], query: Mapping[str, str],
             attempt: _Attempt) -> int:
        """201 or 202, or _Stop with the reason. What may have been stored all the same is noted in ``attempt``."""
        status, error = 0, ''
        if isinstance(body, CheckedBody) and headers['content-length'] == '0':
            self._drained(body)  # nobody will ask for it
        try:
            status = self._local.put(put.container, put.name, {**headers, 'x-timestamp': put.stamp.internal}, body,
                                     query)[0]
        except (Exception, Timeout) as raised:
            error = repr(raised)
        finally:
            broken = isinstance(body, CheckedBody) and body.error is not None
            if not broken and (not status or status >= 500):
                attempt.written.append(put)
        if isinstance(body, CheckedBody) and body.error is not None:
            raise _Stop(_body_failure(body.error))
        if status in (201, 202):
            return status
        raise _Stop(Outcome('failed', _reason(status), error or f'PUT /{put.container}/{put.name}: {status}'))

    def _look(self, container: str, name: str) -> Local:
        status, error = 0, ''
        headers: Mapping[str, str] = {}
        try:
            status, headers = self._local.head(container, name)
        except (Exception, Timeout) as raised:
            error = repr(raised)
        if status != 404 and status // 100 != 2:
            raise _Stop(Outcome('failed', _reason(status), error or f'HEAD /{container}/{name}: {status}'))
        return look_at(status, headers)

    def _ensure(self, container: str, attempt: _Attempt) -> None:
        if container in attempt.ensured:
            return
        status, error = 0, ''
        try:
            status = self._local.ensure_container(container)
        except (Exception, Timeout) as raised:
            error = repr(raised)
        if status // 100 != 2:
            raise _Stop(Outcome('failed', _reason(status), error or f'container {container}: {status}'))
        attempt.ensured.add(container)

    @staticmethod
    def _drained(body: CheckedBody) -> None:
        try:
            body.drain()
        except BrokenBody as error:
            assert body.error is not None
            raise _Stop(_body_failure(body.error)) from error

    def _undo(self, plan: RestorePlan, attempt: _Attempt) -> None:
        """Remove what this attempt wrote, unless somebody wrote it again or may need it."""
        written, attempt.written = attempt.written[::-1], []
        try:
            if written and (written[0].container, written[0].name) == (plan.container, plan.name):
                self._take_back(written.pop(0))  # a manifest that may be there, before its segments
            if written and not self._needed(plan):
                for put in written:
                    self._take_back(put)
                local = self._look(plan.container, plan.name)
                if local.live and is_ours(local.times.newest):
                    # Another restore was done in between, with segments that were just ours: the remote has it all.
                    self._take_back(_Put(plan.container, plan.name, local.times.newest))
        except _Stop as stop:
            # And so does what it may refer to: a segment too many harms nobody.
            self._logger.warning('left behind by a restore of /%s/%s that failed: %s', plan.container, plan.name,
                                 stop.outcome.detail)

    def _needed(self, plan: RestorePlan) -> bool:
        """Whether what is there by now may consist of the segments that this attempt wrote."""
        local = self._look(plan.container, plan.name)
        return local.live and (is_ours(local.times.data) or not plan.sequential)

    def _take_back(self, put: _Put) -> None:
        """Delete what was written at this time, and nothing that is later. _Stop when that cannot be done."""
        after = Timestamp(put.stamp.normal, offset=put.stamp.offset + 1)
        try:
            status: object = self._local.delete(put.container, put.name, {'x-timestamp': after.internal})
        except (Exception, Timeout) as error:
            status = error
        if not isinstance(status, int) or (status // 100 != 2 and status not in (404, 409)):
            raise _Stop(Outcome('failed', 'left', f'DELETE /{put.container}/{put.name}: {status!r}'))

    def _close(self, source: Source) -> None:
        try:
            source.close()
        except (Exception, Timeout) as error:
            self._logger.debug('closing the source of a restore: %r', error)


def _times(stamp: Timestamp) -> RowTimes:
    plain = Timestamp(stamp.normal)
    return RowTimes(plain, plain, plain)


def _body_failure(error: BaseException) -> Outcome:
    reason = 'checksum' if isinstance(error, Mismatch) else str(getattr(error, 'reason', 'body'))
    return Outcome('failed', reason, str(error) or type(error).__name__)


def _reason(status: int) -> str:
    if not status:
        return 'error'
    return REASONS.get(status) or ('unavailable' if status >= 500 else 'rejected')
