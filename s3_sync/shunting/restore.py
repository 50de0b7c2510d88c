"""Restore on GET: what a client reads in whole comes back into the cluster, and no client waits for that.

A large object goes to client and cluster at once; a small one, which many may
be reading from memory, is written from there once it is complete. One restore
of an object at a time in the cluster, few in a process, and only as long as
the bytes come anyway: a slow client's object is read once more, in the
background.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from swift.common.constraints import EFFECTIVE_CONSTRAINTS
from swift.common.registry import get_swift_info
from swift.common.storage_policy import POLICIES
from swift.common.utils import Timestamp, cache_from_env
from swift.common.wsgi import make_pre_authed_env

from s3_sync.clock import Clock
from s3_sync.config.migration import MigratorSettings
from s3_sync.errors import ProviderError
from s3_sync.large_objects.model import Layout
from s3_sync.restoring.background import BackgroundRestores, Job, Stop
from s3_sync.restoring.flight import RestoreLocks
from s3_sync.restoring.plan import Limits, Origin, RestorePlan, Unrestorable, plan_restore
from s3_sync.restoring.sources import RangeSource, Source, StreamSource
from s3_sync.restoring.tee import ABSENCE_SECONDS, LATER, Tee
from s3_sync.restoring.writer import Outcome, Writer
from s3_sync.shunting.authorization import Env
from s3_sync.shunting.call import Call, Place
from s3_sync.shunting.creation import create_container
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.guards import Name, Names
from s3_sync.shunting.local import SOURCE, LocalSwift, wsgi_path
from s3_sync.shunting.markers import Markers, MarkerUnreadable, MarkerUnwritten
from s3_sync.shunting.opening import Body, Found, Opener, same_version
from s3_sync.shunting.options import Options
from s3_sync.shunting.policies import policy_of
from s3_sync.shunting.remotes import Remote, Remotes, RemoteUnavailable
from s3_sync.shunting.sharing import Download, Reader
from s3_sync.shunting.state import Setup
from s3_sync.shunting.targets import Merged, Table
from s3_sync.types import ObjectMeta
from s3_sync.wire.tombstones import Policies, version_time

MULTIPART = 'multipart'
LATELY_SECONDS = 30.0
"""Who was told 404 before a restore's end comes too late to need another; nobody else asks the remote at all."""


@dataclass(frozen=True)
class Task:
    """One version to bring back; outlives the request that asked for it."""

    env: Env
    """Nothing of the client's but what subrequests share; authorised beforehand."""
    place: Place
    merged: Merged
    remote: Remote
    meta: ObjectMeta
    via: str
    tombstone: Timestamp | None
    """Of the local 404, if it told one."""


class RestoreWork:
    """What is under way in a process, whatever the configuration."""

    def __init__(self, options: Options, *, clock: Clock) -> None:
        self.max_bytes = options.max_restore_size
        self.locks = RestoreLocks(clock=clock, max_restore_size=options.max_restore_size,
                                  restore_concurrency=options.restore_concurrency)
        self.background = BackgroundRestores(clock=clock, concurrency=options.restore_concurrency)
        self.absence_seconds = ABSENCE_SECONDS
        """Of a client, after which its restore goes on without it."""
        self.lately = Names(clock, LATELY_SECONDS)
        """Versions that were found here, or brought here, a moment ago."""


class Restorer:
    """``Restores`` of one configuration."""

    def __init__(self, setup: Setup, local: LocalSwift, opener: Opener, decisions: Decisions, work: RestoreWork, *,
                 clock: Clock) -> None:
        settings = setup.settings.migrator_settings or MigratorSettings.model_construct()
        self._segment_bytes: int = settings.segment_size
        self._table = setup.table
        self._remotes = setup.remotes
        self._local = local
        self._opener = opener
        self._decisions = decisions
        self._work = work
        self._clock = clock

    def along(self, call: Call, found: Found, tombstone: Timestamp | None) -> Body | Iterator[bytes]:
        """The client's iterator instead of ``found.body``, which it closes. ``tombstone``: of the local 404."""
        body = found.body
        assert body is not None
        task = self._task(call, found, tombstone)
        if task is None:
            return body
        if isinstance(body, Reader):
            body.download.when_complete(lambda download: self._from_memory(task, download))
            return body
        return Tee(body, found.meta.size, lambda source: self._run(task, source),
                   lambda outcome: self._teed(task, outcome), clock=self._clock,
                   absence_seconds=self._work.absence_seconds)

    def _task(self, call: Call, found: Found, tombstone: Timestamp | None) -> Task | None:
        """None: this is not to be restored."""
        most = self._work.max_bytes
        if (not found.remote.target.restore or found.size is None or (most is not None and found.size > most)
                or 'version-id' in call.query or self._work.lately.holds(_version(found.remote, found.meta))):
            return None
        place = found.place
        merged = self._table.lookup(place.account, place.container)
        if merged is None:
            return None
        env = make_pre_authed_env(call.original, path=wsgi_path(place.account, place.container, place.name),
                                  swift_source=SOURCE)
        env.pop('swift.infocache', None)  # it grows old
        return Task(env, place, merged, found.remote, found.meta, call.via, tombstone)

    # -- ways ---------------------------------------------------------------------------------

    def _from_memory(self, task: Task, download: Download) -> bool:
        """False: the bytes are not needed."""
        def done(outcome: Outcome) -> None:
            self._note(task, outcome)
            download.restored()
        return self._in_background(task, lambda stop: self._run(task, StreamSource(download.chunks)), done)

    def _teed(self, task: Task, outcome: Outcome) -> None:
        self._note(task, outcome)
        if outcome.kind == 'failed' and outcome.reason in LATER:
            self._in_background(task, lambda stop: self._again(task, stop), lambda outcome: self._note(task, outcome))

    def _in_background(self, task: Task, job: Job, done: Callable[[Outcome], None]) -> bool:
        """False: there is no place for it. The next reader of the object asks again."""
        taken = self._work.background.submit(job, done)
        if not taken:
            self._note(task, Outcome('failed', 'dropped'))
        return taken

    def _again(self, task: Task, stop: Stop) -> Outcome:
        """With a remote read of its own, which takes a reader's place."""
        try:
            lease = task.remote.take_place()
        except RemoteUnavailable as error:
            return Outcome('failed', 'crowded', error.reason)
        try:
            return self._run(task, RangeSource(self._opener.source(task.remote, task.place, task.meta, task.via),
                                               stop.check))
        finally:
            lease.release()

    # -- one restore --------------------------------------------------------------------------

    def _run(self, task: Task, source: Source) -> Outcome:
        place, locks = task.place, self._work.locks
        flight = locks.begin(place.account, place.container, place.name, task.meta.size,
                             cache_from_env(task.env, allow_none=True))
        if isinstance(flight, str):
            source.close()
            return Outcome('failed', flight)
        if self._work.lately.holds(_version(task.remote, task.meta)):
            source.close()
            locks.end(flight)
            return Outcome('already')
        outcome = Outcome('failed', 'stopping')
        try:
            outcome = self._restore(task, source)
            return outcome
        finally:
            source.close()
            locks.end(flight, failed=outcome.reason if outcome.kind == 'failed' else '')

    def _restore(self, task: Task, source: Source) -> Outcome:
        writer = _Containers(self._local, task, self._table, self._remotes)
        try:
            if not writer.ensure(task.merged):
                return Outcome('failed', 'no-container')
            plan = self._plan(task)
        except Unrestorable as error:
            return Outcome('failed', error.reason, str(error))
        except (RemoteUnavailable, MarkerUnreadable) as error:
            return Outcome('failed', 'remote', str(error))
        outcome = Writer(writer, clock=self._clock, logger=self._remotes.logger).run(
            plan, source, lambda: self._is_there_still(task))
        if outcome.kind == 'deleted' and outcome.time is not None:
            self._bury(task, outcome.time)
        return outcome

    @staticmethod
    def _is_there_still(task: Task) -> bool:
        """False as well when nobody can tell. A POST that comes later finds the object here (``ObjectWriter.post``)."""
        try:
            now = task.remote.head(task.place.name, via=task.via)
        except RemoteUnavailable:
            return False
        return now is not None and same_version(now, task.meta)

    def _plan(self, task: Task) -> RestorePlan:
        target = task.remote.target
        return plan_restore(
            task.meta, task.place.container, self._layout(task), self._limits(),
            Origin(target.mapping.generation, target.migration), now=self._clock.now(), tombstone=task.tombstone,
            part_bytes=self._part_bytes(task))

    def _layout(self, task: Task) -> Layout | None:
        if task.meta.large_object is None:
            return None
        try:
            return task.remote.ask(
                lambda provider: provider.layout_of(task.meta, as_remote=task.remote.target.migration))
        except ProviderError:
            return None  # then just the bytes come back

    def _part_bytes(self, task: Task) -> int | None:
        """Bytes of the first part of a multipart upload: by them its ETag proves that the bytes are right."""
        if task.meta.large_object != MULTIPART or task.meta.source_etag:
            return None
        opened = task.remote.open(task.place.name, method='HEAD', query={'part-number': '1'}, via=task.via)
        opened.close()
        length = opened.headers.get('content-length', '')
        return int(length) if opened.status == 206 and length.isdigit() else None

    def _limits(self) -> Limits:
        largest = int(EFFECTIVE_CONSTRAINTS['max_file_size'])
        slo = get_swift_info().get('slo', {})
        return Limits(largest, min(self._segment_bytes, largest), int(slo.get('max_manifest_segments', 1000)),
                      int(slo.get('max_manifest_size', 8 * 1024 ** 2)))

    def _bury(self, task: Task, when: Timestamp) -> None:
        """Somebody deleted it past the shunt: from now on that is remembered (semantics 3.4)."""
        place = task.place
        policies = Policies({target.mapping.generation: policy_of(target, place.name)
                             for target in task.merged.covering(place.name)
                             if target.mapping.delete_policy != 'local'})
        if not policies:
            return
        try:
            Markers(self._local).put(task.env, place.account, place.container, place.name, policies, when)
        except MarkerUnwritten as error:
            self._remotes.logger.warning('%s', error)

    def _note(self, task: Task, outcome: Outcome) -> None:
        if outcome.kind in ('restored', 'already', 'newer'):
            self._work.lately.note(_version(task.remote, task.meta))
        self._decisions.restore(task.place, outcome, task.remote.target.name)


def _version(remote: Remote, meta: ObjectMeta) -> Name:
    return remote.target.mapping.generation, f'{version_time(meta).internal}/{meta.etag}/{meta.name}'


class _Containers:
    """``LocalWriter`` of one task: the right-hand side of the filter, quotas included."""

    def __init__(self, local: LocalSwift, task: Task, table: Table, remotes: Remotes) -> None:
        self._local = local
        self._task = task
        self._table = table
        self._remotes = remotes
        self._account = task.place.account

    def put(self, container: str, name: str, headers: Mapping[str, str], body: Iterable[bytes],
            query: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        sent = dict(headers)
        size = int(sent.pop('content-length'))
        return self._ask('PUT', container, name, headers=sent, query=query, body=body, size=size)

    def head(self, container: str, name: str) -> tuple[int, Mapping[str, str]]:
        return self._ask('HEAD', container, name, headers={'x-newest': 'true'})

    def delete(self, container: str, name: str, headers: Mapping[str, str]) -> int:
        return self._ask('DELETE', container, name, headers=headers)[0]

    def ensure_container(self, container: str) -> int:
        """One of segments: who may read the object may read them, and they lie in the same policy."""
        merged = self._table.lookup(self._account, container)
        if self._info(container)['status'] // 100 == 2 or (merged is not None and self.ensure(merged)):
            return 204
        info = self._info(self._task.place.container)
        headers = {'x-container-read': str(info.get('read_acl') or '')}
        policy = POLICIES.get_by_index(info.get('storage_policy'))
        if policy is not None:
            headers['x-storage-policy'] = policy.name
        status = self._ask('PUT', container, '', headers={k: v for k, v in headers.items() if v})[0]
        self._local.forget_container(self._task.env, self._account, container)
        return status

    def ensure(self, merged: Merged) -> bool:
        """Whether a merged container is here, made where it is a migration's. MarkerUnreadable, RemoteUnavailable."""
        if self._info(merged.container)['status'] // 100 == 2:
            return True
        return bool(merged.migrations) and create_container(self._local, self._task.env, merged, self._remotes,
                                                            via=self._task.via)

    def _info(self, container: str) -> dict[str, Any]:
        return self._local.container_info(self._task.env, self._account, container)

    def _ask(self, method: str, container: str, name: str, **more: Any) -> tuple[int, Mapping[str, str]]:
        answer = self._local.request(self._task.env, method, self._account, container, name, **more)
        answer.drain()
        return answer.status, answer.headers
