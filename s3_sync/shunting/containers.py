"""What clients do with merged containers themselves: HEAD, PUT, POST and DELETE (semantics 7.4, 10).

The cluster's own container is the one that counts. One that is only at a
migration's remote is made here as soon as the cluster says that it is missing;
one that is deleted here stays deleted, and may be only when the merged view of
it is empty.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from swift.common.swob import HTTPConflict, header_to_environ_key
from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.errors import NotFound
from s3_sync.shunting.call import Call
from s3_sync.shunting.creation import ACCOUNT_LEVEL, MIGRATOR_SYSMETA, ensure_container
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.listings import MERGED, VIA, Lister, Refused
from s3_sync.shunting.local import LocalAnswer
from s3_sync.shunting.markers import Markers, MarkerUnreadable, MarkerUnwritten
from s3_sync.shunting.remotes import Remotes, RemoteUnavailable
from s3_sync.shunting.targets import Merged, Target
from s3_sync.timestamps import RowTimes, marked
from s3_sync.types import NO_HEADERS, ShuntRequest
from s3_sync.wire.tombstones import Policies, Policy

MODIFIED = {header_to_environ_key(MIGRATOR_SYSMETA): 'modified'}
GONE = (204, 404)


class ContainerVerbs:
    """Handlers; each is called with a request to a merged container."""

    def __init__(self, remotes: Remotes, markers: Markers, lister: Lister, decisions: Decisions, *,
                 clock: Clock) -> None:
        self._remotes = remotes
        self._markers = markers
        self._lister = lister
        self._clock = clock
        self._decisions = decisions
        self._logger = remotes.logger

    def head(self, call: Call) -> Iterable[bytes]:
        return self._guarded(call, lambda merged: call.send(self._made(call, merged)))

    def post(self, call: Call) -> Iterable[bytes]:
        """A migration leaves metadata alone that a user has changed here: its mark says so."""
        return self._guarded(call, lambda merged: call.send(
            self._made(call, merged, MODIFIED if merged.migrations else NO_HEADERS)))

    def put(self, call: Call) -> Iterable[bytes]:
        """A container of the user's own; what was deleted under its name before no longer matters."""
        def put(merged: Merged) -> Iterable[bytes]:
            answer = call.forward()
            if answer.status // 100 == 2 and merged.migrations:
                self._forget_deletion(call, merged)
            return call.send(answer)
        return self._guarded(call, put)

    def delete(self, call: Call) -> Iterable[bytes]:
        def delete(merged: Merged) -> Iterable[bytes]:
            if call.authorization.denial(dict(call.original), None) is not None:
                return call.send(call.forward())
            if self._shows_objects(call, merged):
                self._note(call, 'kept', merged.targets)
                return call.respond(HTTPConflict(request=call.request()))
            return call.send(self._delete(call, merged))
        return self._guarded(call, delete)

    # -- inside -------------------------------------------------------------------------

    def _guarded(self, call: Call, handler: Callable[[Merged], Iterable[bytes]]) -> Iterable[bytes]:
        if call.merged is None:
            return call.send(call.forward())
        try:
            return handler(call.merged)
        except Refused as refused:
            return call.send(refused.answer)
        except RemoteUnavailable as error:
            self._decisions.note(call, 'unavailable', error.target, error.reason)
            return call.unavailable(error)
        except (MarkerUnreadable, MarkerUnwritten) as error:
            return call.unavailable(RemoteUnavailable(MERGED, str(error)))

    def _made(self, call: Call, merged: Merged, extra: Mapping[str, str] = NO_HEADERS) -> LocalAnswer:
        """The cluster's answer, the container made where it is missing; ``extra`` is added to the environment."""
        call.env.update(extra)
        answer = call.forward()
        if answer.status != 404 or not self._ensured(call, merged, answer):
            return answer
        return call.again(extra)

    def _ensured(self, call: Call, merged: Merged, answer: LocalAnswer) -> bool:
        try:
            made = ensure_container(call, merged, self._remotes, missing=True)
        except BaseException:
            answer.drain()
            raise
        if made:
            answer.drain()
        return made

    def _forget_deletion(self, call: Call, merged: Merged) -> None:
        where = (call.env, merged.account, ACCOUNT_LEVEL, merged.container)
        try:
            marker = self._markers.find(*where)
        except MarkerUnreadable as error:
            self._logger.warning('container %s is here again; its tombstone may stay: %s', call.place.path, error)
            return
        if marker is not None and not self._markers.drop(
                *where, max(Timestamp(self._clock.now()), self._after(marker.time))):
            # It matters only once the container has been deleted again, which writes it anew.
            self._logger.warning('container %s is here again, but its tombstone stays', call.place.path)

    def _after(self, time: Timestamp) -> Timestamp:
        """Newer than our marker, older than any deletion that has come since."""
        return marked(RowTimes(time, time, time), self._clock.now())

    def _shows_objects(self, call: Call, merged: Merged) -> bool:
        """Whether anything keeps the container from being deleted. Refused: it is not there at all."""
        try:
            return self._lister.any_object(call, merged)
        except Refused as refused:
            if refused.answer.status != 404 or not self._ensured(call, merged, refused.answer):
                raise
        return self._lister.any_object(call, merged)

    def _delete(self, call: Call, merged: Merged) -> LocalAnswer:
        """The marker goes before the container: nothing may bring it back in between."""
        concerned = [target for target in merged.migrations
                     if target.mapping.delete_policy != 'local' and self._may_exist(call, target)]
        if not concerned:
            return call.forward()
        where = (call.env, merged.account, ACCOUNT_LEVEL, merged.container)
        time = Timestamp(self._clock.now())
        self._markers.put(*where, _policies(concerned), time)
        answer = call.forward()
        if answer.status not in GONE:
            self._markers.drop(*where, self._after(time))
            self._note(call, 'undone', concerned)
            return answer
        self._note(call, 'marked', concerned)
        # One that is not propagated keeps its remote, and the marker that hides it.
        finished = [target.mapping.delete_policy == 'propagate' and self._delete_remote(call, target)
                    for target in concerned]
        if all(finished):
            self._markers.drop(*where, self._after(time))
        return answer

    def _may_exist(self, call: Call, target: Target) -> bool:
        try:
            return self._remotes.of(target).exists(via=call.via) is not None
        except RemoteUnavailable:
            return True

    def _delete_remote(self, call: Call, target: Target) -> bool:
        """Whether the remote's container is gone. One that is not empty there, or a bucket, stays and is hidden."""
        request = ShuntRequest('DELETE', '', {VIA: self._remotes.via(call.via)})

        def delete(provider: BaseSync) -> int:
            response = provider.shunt_delete(request)
            response.close()
            return response.status
        try:
            status = self._remotes.of(target).ask(delete)
        except NotFound:
            status = 404
        except RemoteUnavailable as error:
            self._decisions.note(call, 'unavailable', target.name, error.reason)
            return False
        if status not in GONE:
            self._decisions.note(call, 'kept', target.name, f'status {status}')
            return False
        self._decisions.note(call, 'removed', target.name)
        return True

    def _note(self, call: Call, outcome: str, targets: Sequence[Target]) -> None:
        for target in targets:
            self._decisions.note(call, outcome, target.name)


def _policies(targets: Sequence[Target]) -> Policies:
    return Policies({target.mapping.generation: cast(Policy, target.mapping.delete_policy) for target in targets})
