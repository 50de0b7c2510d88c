"""DELETE of an object in a merged container: it stays deleted, wherever it was (semantics 7).

The marker is the deletion. It is written before anything is deleted, at the
time of the local delete, so that a crash at any moment leaves the object either
as it was or hidden; what a mapping's policy wants of the remote comes last, and
what fails of that is left to the daemon, which finds the marker.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swift.common.swob import HTTPConflict, HTTPNoContent, HTTPNotFound, HTTPServiceUnavailable
from swift.common.utils import Timestamp

from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, spawn
from s3_sync.shunting.call import Call
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.local import LocalAnswer
from s3_sync.shunting.markers import Marker, Markers, MarkerUnreadable, MarkerUnwritten
from s3_sync.shunting.policies import policy_of
from s3_sync.shunting.remotes import Remote, Remotes, RemoteUnavailable
from s3_sync.shunting.targets import Target
from s3_sync.shunting.versions import Versions, deleted_at, names_other_version
from s3_sync.shunting.writing import is_refused, local_head
from s3_sync.timestamps import ZERO, RowTimes, marked, parse_timestamp
from s3_sync.types import ObjectMeta
from s3_sync.wire.tombstones import Policies, hides

GONE = (204, 404)
ATTEMPTS = 2
"""At writing a marker: another delete of the same name may just have been finished, and be newer."""
RETRY_SECONDS = '5'


@dataclass(frozen=True)
class Look:
    """What one remote says about the name."""

    remote: Remote
    meta: ObjectMeta | None = None
    """None: nothing is there, or it could not be asked."""
    error: RemoteUnavailable | None = None

    @property
    def target(self) -> Target:
        return self.remote.target

    @property
    def generation(self) -> str:
        return self.target.mapping.generation


@dataclass(frozen=True)
class Deletion:
    """What is to be done, decided from what both sides say."""

    shown: bool
    """Whether the merged namespace showed a remote version, as far as can be told: then the client hears 204."""
    needed: bool
    """Whether a marker must be written."""
    policies: Policies
    """What it says."""
    late: Look | None = None
    """Who has a version that is newer than this deletion, which cannot hide it: the client hears 409, as in Swift."""


class ObjectDeleter:
    def __init__(self, remotes: Remotes, versions: Versions, markers: Markers, decisions: Decisions, *,
                 clock: Clock) -> None:
        self._remotes = remotes
        self._versions = versions
        self._markers = markers
        self._decisions = decisions
        self._clock = clock

    def __call__(self, call: Call) -> Iterable[bytes]:
        covering = call.merged.covering(call.place.name) if call.merged is not None else ()
        targets = [target for target in covering if target.mapping.delete_policy != 'local']
        # X-If-Delete-At is the expirer's way to ask for one local version.
        if (not covering or self._time(call) is None or names_other_version(call) or call.header('x-if-delete-at')
                or is_refused(call)):
            return call.send(call.forward())
        if not targets:
            return self._delete_here(call)
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                here, marker, looks = self._look(call, targets)
                # Only now: what was written while a slow remote was asked is deleted too, as in Swift.
                time = self._time(call) or ZERO
                deletion = self._decide(call, here, marker, looks, time)
                if not deletion.needed:
                    return call.send(call.forward())
                if deletion.late is not None and here.status == 404:
                    self._decisions.note(call, 'kept', deletion.late.target.name, 'the remote version is newer')
                    return call.respond(HTTPConflict(request=call.request()))
                self._markers.put(call.env, *_place(call), deletion.policies, time)
                return self._delete(call, time, deletion, marker, looks)
            except (MarkerUnreadable, MarkerUnwritten) as error:
                if not attempts_left:
                    self._decisions.note(call, 'unavailable', targets[0].name, str(error))
        return call.respond(HTTPServiceUnavailable(request=call.request(), headers={'Retry-After': RETRY_SECONDS}))

    # -- looking -------------------------------------------------------------------------

    def _time(self, call: Call) -> Timestamp | None:
        """When this deletion is; None for a request whose own time is nonsense, which Swift refuses."""
        given = call.header('x-timestamp')
        return parse_timestamp(given) if given else Timestamp(self._clock.now())

    def _look(self, call: Call, targets: Sequence[Target]) -> tuple[LocalAnswer, Marker | None, list[Look]]:
        asked = [spawn(_ask, self._remotes.of(target), call.place.name, call.via) for target in targets]
        try:
            here = local_head(call)
            marker = self._markers.find(call.env, *_place(call))
            return here, marker, [thread.wait() for thread in asked]
        finally:
            _stop(asked)

    def _decide(self, call: Call, here: LocalAnswer, marker: Marker | None, looks: Sequence[Look],
                time: Timestamp) -> Deletion:
        earlier = marker.policies if marker is not None else Policies({})
        policies = dict(earlier.without(look.generation for look in looks).of)
        shown = needed = False
        late: Look | None = None
        deleted = deleted_at(here) if here.status == 404 else None
        for look in looks:
            policy = policy_of(look.target, call.place.name)
            there = None if look.meta is None or self._versions.expired(look.meta) else look.meta
            visible = there is not None and not _hidden(there, marker.time if marker is not None else None)
            if visible or look.error is not None or look.target.always_marks:
                needed = True
                policies[look.generation] = policy
            elif there is not None:
                policies[look.generation] = earlier.get(look.generation) or policy
            if visible and there is not None and not _hidden(there, max(time, deleted or ZERO)):
                late = late or look
            shown |= look.error is not None or (visible and there is not None and not _hidden(there, deleted))
        return Deletion(shown, needed, Policies(policies), late)

    # -- deleting ------------------------------------------------------------------------

    def _delete_here(self, call: Call) -> Iterable[bytes]:
        """Policy ``local``. Swift leaves a tombstone for what is not there as well, which would hide the remote's."""
        info = call.local.container_info(call.env, call.place.account, call.place.container)
        versioned = any(key.startswith('versions-') for key in info.get('sysmeta') or ())
        if not versioned and info['status'] // 100 == 2 and local_head(call).status == 404:
            return call.respond(HTTPNotFound(request=call.request()))
        return call.send(call.forward())

    def _delete(self, call: Call, time: Timestamp, deletion: Deletion, earlier: Marker | None,
                looks: Sequence[Look]) -> Iterable[bytes]:
        call.env['HTTP_X_TIMESTAMP'] = time.internal
        try:
            answer = call.forward()
        except BaseException:
            self._undo(call, time, earlier, shown=deletion.shown, status=500)
            raise
        if answer.status // 100 != 2 and answer.status != 404:
            self._undo(call, time, earlier, shown=deletion.shown, status=answer.status)
            return call.send(answer)
        for look in looks:
            look.remote.forget_missing(call.place.name)
        self._propagate(call, time, deletion.policies, looks)
        if answer.status == 404 and deletion.shown:
            answer.drain()
            return call.respond(HTTPNoContent(request=call.request(), headers=_kept(answer)))
        return call.send(answer)

    def _undo(self, call: Call, time: Timestamp, earlier: Marker | None, *, shown: bool, status: int) -> None:
        """The object lives on, so the marker goes. It beats no deletion that has come since.

        An earlier deletion under the same name is remembered again, unless that would
        hide what was shown until now.
        """
        at = self._after(time)
        try:
            if earlier is not None and not shown:
                self._markers.put(call.env, *_place(call), earlier.policies, at)
                undone = True
            else:
                undone = self._markers.drop(call.env, *_place(call), at)
        except MarkerUnwritten:
            undone = False
        self._decisions.note(call, 'undone' if undone else 'later', '*',
                             f'the local delete failed: {status}' + ('' if undone else ', and its marker stays'))

    def _after(self, time: Timestamp) -> Timestamp:
        """Newer than our marker, older than any other deletion of a user's."""
        return marked(RowTimes(time, time, time), self._clock.now())

    def _propagate(self, call: Call, time: Timestamp, policies: Policies, looks: Sequence[Look]) -> None:
        left = policies
        for look in looks:
            policy = policies.get(look.generation)
            if policy == 'propagate' and self._removed(call, time, look):
                left = left.without([look.generation])
            elif policy == 'tombstone':
                self._decisions.note(call, 'marked', look.target.name,
                                     look.error.reason if look.error is not None else '')
        if not left and not self._markers.drop(call.env, *_place(call), self._after(time)):
            self._decisions.note(call, 'later', '*', 'the marker stays, though nothing needs it')

    def _removed(self, call: Call, time: Timestamp, look: Look) -> bool:
        """Delete what the remote had when it was asked. False: the daemon has to see to it."""
        name, reason = call.place.name, ''
        try:
            if look.error is not None:
                reason = look.error.reason
            elif look.meta is None:
                return True
            elif not hides(time, look.meta):
                reason = 'the remote version is newer'
            elif not look.remote.provider.capabilities.conditional_delete and not _same(
                    look.meta, look.remote.head(name, via=call.via)):
                reason = 'the remote version has changed'
            elif _written_since(call, time):
                # With the same content, a later copy would pass for the one that was looked at.
                reason = 'it was written again'
            else:
                status = look.remote.delete(name, look.meta.etag, via=call.via)
                reason = '' if status in GONE else f'status {status}'
        except RemoteUnavailable as error:
            reason = error.reason
        finally:
            look.remote.forget_missing(name)
        self._decisions.note(call, 'later' if reason else 'removed', look.target.name, reason)
        return not reason


def _ask(remote: Remote, name: str, via: str) -> Look:
    try:
        return Look(remote, remote.head(name, via=via))
    except RemoteUnavailable as error:
        return Look(remote, error=error)


def _stop(threads: Iterable[GreenThread]) -> None:
    """End those that nobody waits for any more; the others have ended."""
    for thread in threads:
        thread.kill()


def _hidden(meta: ObjectMeta, deleted: Timestamp | None) -> bool:
    return deleted is not None and hides(deleted, meta)


def _written_since(call: Call, time: Timestamp) -> bool:
    """Whether the name was used here after ``time`` (semantics 2.4), and be it by an object that has been archived."""
    here = call.local.request(call.env, 'HEAD', *_place(call), headers={'x-newest': 'true'},
                              query={'symlink': 'get', 'multipart-manifest': 'get'})
    here.drain()
    newest = parse_timestamp(here.headers.get('x-backend-timestamp') or here.headers.get('x-timestamp'))
    return (here.status != 404 and here.status // 100 != 2) or (newest is not None and newest > time)


def _same(seen: ObjectMeta, now: ObjectMeta | None) -> bool:
    return now is None or (now.etag == seen.etag and now.data_time == seen.data_time
                           and now.last_modified == seen.last_modified)


def _place(call: Call) -> tuple[str, str, str]:
    return call.place.account, call.place.container, call.place.name


def _kept(answer: LocalAnswer) -> list[tuple[str, str]]:
    """Headers of the cluster's 404 that are true of a 204 as well (versions, browsers)."""
    return [(name, value) for name, value in answer.raw_headers
            if name.lower() not in ('content-length', 'content-type')]
