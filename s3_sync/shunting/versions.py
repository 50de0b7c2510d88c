"""Which remote version the merged namespace shows under a name (semantics 7.1 and 9), for every verb the same."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from swift.common.utils import Timestamp

from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, Timeout, spawn
from s3_sync.shunting.call import Call, Place
from s3_sync.shunting.local import LocalAnswer
from s3_sync.shunting.markers import Marker, Markers, MarkerUnreadable
from s3_sync.shunting.remotes import Remote, Remotes, RemoteUnavailable
from s3_sync.shunting.targets import Merged
from s3_sync.timestamps import is_ours, parse_timestamp, without_marker
from s3_sync.types import ObjectMeta
from s3_sync.wire.tombstones import hides, version_time


class Version(Protocol):
    """A remote version that was looked at."""

    @property
    def meta(self) -> ObjectMeta: ...

    def close(self) -> None: ...


V = TypeVar('V', bound=Version)


class Versions:
    def __init__(self, remotes: Remotes, markers: Markers, *, clock: Clock) -> None:
        self._remotes = remotes
        self._markers = markers
        self._clock = clock

    def find(self, call: Call, place: Place, merged: Merged, answer: LocalAnswer,
             look: Callable[[Remote], V | None], *, anew: bool = False) -> V | None:
        """The version to show; None when the merged namespace has none. RemoteUnavailable when that cannot be told.

        ``answer`` is the cluster's 404. ``look`` gives what a remote has, opened or not; what is not shown is closed.
        ``anew``: whatever was not there a moment ago is asked for again.
        """
        if names_other_version(call):
            return None
        deleted, archived = deleted_at(answer), archived_at(answer)
        unsure: RemoteUnavailable | None = None
        older: V | None = None
        marker: _Beside | None = None
        for target in merged.covering(place.name):
            remote = self._remotes.of(target)
            if not anew and archived is None and remote.known_missing(place.name):
                continue
            marker = marker or _Beside(self._markers, call, place)
            try:
                found = self._looked(remote, place.name, look, archived)
                if found is None:
                    remote.note_missing(place.name)
                elif self._shows(target.name, found, deleted, marker):
                    older, given_up = _newer_first(found, older)
                    _close(given_up)
                    if archived is None or version_time(found.meta) >= archived:
                        return found
            except RemoteUnavailable as error:
                if archived is None and target.mapping.on_remote_error == 'fail':
                    raise  # this one comes first, whatever those behind it have
                unsure = unsure or error
            except BaseException:
                _close(older)
                raise
        if unsure is not None:
            _close(older)
            raise unsure
        return older

    def _looked(self, remote: Remote, name: str, look: Callable[[Remote], V | None],
                archived: Timestamp | None) -> V | None:
        """A version older than the one that was archived may be remembered only: then it is looked at again."""
        found = look(remote)
        if found is None or archived is None or version_time(found.meta) >= archived:
            return found
        found.close()
        remote.forget_missing(name)
        return look(remote)

    def _shows(self, target: str, found: Version, deleted: Timestamp | None, beside: _Beside) -> bool:
        shown = False
        try:
            if not self.expired(found.meta) and not (deleted is not None and hides(deleted, found.meta)):
                marker = beside.marker()
                shown = marker is None or not hides(marker.time, found.meta)
        except MarkerUnreadable as error:
            raise RemoteUnavailable(target, 'tombstones cannot be read') from error
        finally:
            if not shown:
                found.close()
        return shown

    def expired(self, meta: ObjectMeta) -> bool:
        """A version whose time is over is not there, whether or not its store has noticed."""
        return meta.delete_at is not None and meta.delete_at <= self._clock.now()


class _Beside:
    """Looks for the marker while the remote is asked: a client waits for the slower of the two, not for both."""

    def __init__(self, markers: Markers, call: Call, place: Place) -> None:
        self._error: BaseException | None = None
        self._thread: GreenThread = spawn(self._find, markers, call, place)

    def marker(self) -> Marker | None:
        found: Marker | None = self._thread.wait()
        if self._error is not None:
            raise self._error
        return found

    def _find(self, markers: Markers, call: Call, place: Place) -> Marker | None:
        try:
            return markers.find(call.env, place.account, place.container, place.name)
        except (Exception, Timeout) as error:  # raised where it matters; there may be nothing that it would hide
            self._error = error
            return None


def names_other_version(call: Call) -> bool:
    """Whether the request means a version other than the one without an id: those are never remote (semantics 7.5)."""
    return call.query.get('version-id', 'null') != 'null'


def deleted_at(answer: LocalAnswer) -> Timestamp | None:
    """When a user, or the expirer, deleted what is missing, as far as the cluster still knows."""
    time = parse_timestamp(answer.headers.get('x-backend-timestamp'))
    return None if time is None or is_ours(time) or not time else time


def archived_at(answer: LocalAnswer) -> Timestamp | None:
    """Time of the version that went to a remote, when the tombstone is one of ours.

    With several remotes another may still have an earlier one.
    """
    time = parse_timestamp(answer.headers.get('x-backend-timestamp'))
    return without_marker(time) if time is not None and is_ours(time) else None


def _newer_first(one: V, other: V | None) -> tuple[V, V | None]:
    return (one, other) if other is None or version_time(one.meta) > version_time(other.meta) else (other, one)


def _close(version: Version | None) -> None:
    if version is not None:
        version.close()
