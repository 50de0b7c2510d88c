"""PUT and POST of an object: what clients write is local, except that a POST follows an object to where it is.

Whoever may not write is told so by Swift itself: nothing is asked of a remote
before Swift's callback has allowed this user this verb for this path
(semantics 8.1).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swift.common.swob import (
    HTTPAccepted,
    HTTPBadRequest,
    HTTPConflict,
    HTTPPreconditionFailed,
    Response,
    wsgi_to_str,
)

from s3_sync.base_sync import ProviderResponse
from s3_sync.errors import PermanentError, PreconditionFailed
from s3_sync.shunting.call import Call
from s3_sync.shunting.creation import ensure_container
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.local import LocalAnswer
from s3_sync.shunting.reading import source_of
from s3_sync.shunting.remotes import Remote, Remotes, RemoteUnavailable
from s3_sync.shunting.targets import Merged
from s3_sync.shunting.versions import Versions
from s3_sync.types import CONTENT_HEADERS, ObjectMeta
from s3_sync.wire.swift_headers import USER_PREFIX

POSTED = frozenset({'x-delete-at', 'x-delete-after', 'x-remove-delete-at', *CONTENT_HEADERS})
"""Headers of a POST that go to a remote, beside user metadata and the content type."""
POSTS_UNDER_CONTENTION = 3
"""Tries while somebody else keeps changing the object at its remote."""


@dataclass(frozen=True)
class Looked:
    """A remote version that the merged namespace shows, by HEAD."""

    remote: Remote
    meta: ObjectMeta

    def close(self) -> None:
        """A HEAD holds nothing open."""


class ObjectWriter:
    def __init__(self, remotes: Remotes, versions: Versions, decisions: Decisions) -> None:
        self._remotes = remotes
        self._versions = versions
        self._decisions = decisions

    def put(self, call: Call) -> Iterable[bytes]:
        merged = call.merged
        if merged is None or is_refused(call):
            return call.send(call.forward())
        try:
            ensure_container(call, merged, self._remotes)
            if wants_nothing_there(call) and self._exists_remotely(call, merged):
                return call.respond(HTTPPreconditionFailed(request=call.request()))
        except RemoteUnavailable as error:
            return self._unavailable(call, error)
        answer = call.forward()
        for target in merged.covering(call.place.name):
            # A daemon may have brought the new version there before anybody reads again.
            self._remotes.forget(target, call.place.name)
        return call.send(answer)

    def post(self, call: Call) -> Iterable[bytes]:
        merged = call.merged
        if merged is None or is_refused(call):
            return call.send(call.forward())
        try:
            ensure_container(call, merged, self._remotes)
            answer = call.forward()
            if answer.status != 404:
                return call.send(answer)
            try:
                response = self._post_remotely(call, merged, answer)
            except BaseException:
                answer.drain()
                raise
        except RemoteUnavailable as error:
            return self._unavailable(call, error)
        if response is None:
            return call.send(answer)
        answer.drain()
        if response.status_int == 202 and source_of(local_head(call)) == 'restored':
            return call.send(call.again())  # somebody read it meanwhile: what came back is as it was before
        return call.respond(response)

    # -- inside -------------------------------------------------------------------------

    def _exists_remotely(self, call: Call, merged: Merged) -> bool:
        here = local_head(call)
        if here.status != 404:
            return False
        found = self._look(call, merged, here)
        if found is not None:
            self._decisions.note(call, 'exists', found.remote.target.name)
        return found is not None

    def _look(self, call: Call, merged: Merged, here: LocalAnswer) -> Looked | None:
        def look(remote: Remote) -> Looked | None:
            meta = remote.head(call.place.name, via=call.via)
            return None if meta is None else Looked(remote, meta)
        return self._versions.find(call, call.place, merged, here, look, anew=True)

    def _post_remotely(self, call: Call, merged: Merged, answer: LocalAnswer) -> Response | None:
        """The answer of the remote whose version is shown; None where nothing is."""
        found = self._look(call, merged, local_head(call))
        if found is None:
            return None
        target = found.remote.target
        if target.mapping.post_archived == 'deny':
            self._decisions.note(call, 'denied', target.name)
            return HTTPConflict(request=call.request(), headers=cors_headers(answer), content_type='text/plain',
                                body=f'This object is kept at the remote of {target.name}, where metadata cannot be '
                                     'changed. A copy onto itself brings it back.\n')
        headers = posted_headers(call)
        if not all(map(_is_text, headers.values())):
            return HTTPBadRequest(request=call.request(), headers=cors_headers(answer), content_type='text/plain',
                                  body='Metadata must be valid UTF-8')
        for _ in range(POSTS_UNDER_CONTENTION):
            try:
                posted = self._posted(found.remote, call, headers)
                return self._answer(call, posted, target.name, answer)
            except PreconditionFailed:
                continue
            finally:
                found.remote.forget_missing(call.place.name)
        raise RemoteUnavailable(target.name, 'somebody else keeps changing this object')

    def _posted(self, remote: Remote, call: Call, headers: Mapping[str, str]) -> ProviderResponse:
        try:
            return remote.post(call.place.name, headers, via=call.via)
        except RemoteUnavailable as error:
            if not isinstance(error.__cause__, PermanentError):
                raise
            # The same metadata will be refused again, however long the client waits.
            return ProviderResponse(409, {}, iter([f'the remote takes no such change ({error.reason})'.encode()]))

    def _answer(self, call: Call, posted: ProviderResponse, mapping: str, answer: LocalAnswer) -> Response | None:
        try:
            if posted.status == 404:
                return None
            if posted.status // 100 == 2:
                self._decisions.note(call, 'updated', mapping)
                return HTTPAccepted(request=call.request(), headers=cors_headers(answer))
            if posted.status == 409:
                self._decisions.note(call, 'denied', mapping, 'the remote cannot')
                text = b''.join(posted.body).decode('utf-8', 'replace')
                return HTTPConflict(request=call.request(), headers=cors_headers(answer), content_type='text/plain',
                                    body=f'The remote of {mapping} refuses to change this object: {text}\n')
        finally:
            posted.close()
        raise RemoteUnavailable(mapping, f'status {posted.status}')

    def _unavailable(self, call: Call, error: RemoteUnavailable) -> Iterable[bytes]:
        self._decisions.note(call, 'unavailable', error.target, error.reason)
        return call.unavailable(error)


def is_refused(call: Call) -> bool:
    """Whether Swift will deny this write; asked as its object controller asks."""
    info = call.local.container_info(call.env, call.place.account, call.place.container)
    return call.authorization.denial(dict(call.original), info.get('write_acl'),
                                     sync_key=info.get('sync_key')) is not None


def wants_nothing_there(call: Call) -> bool:
    """``If-None-Match: *``. Anything else under that name is Swift's to refuse."""
    condition = call.request().if_none_match
    return condition is not None and '*' in condition


def local_head(call: Call) -> LocalAnswer:
    """What the cluster has under the very name of the request, links and manifests as such; read to its end."""
    place = call.place
    answer = call.local.request(call.env, 'HEAD', place.account, place.container, place.name,
                                query={'symlink': 'get', 'multipart-manifest': 'get'})
    answer.drain()
    return answer


def posted_headers(call: Call) -> dict[str, str]:
    """What of a POST's headers is the object's metadata (lower-case names, Unicode): nothing else leaves here."""
    headers: dict[str, str] = {}
    for key, value in call.original.items():
        if key.startswith('HTTP_'):
            name = wsgi_to_str(key[5:]).replace('_', '-').lower()
            if name in POSTED or name.startswith(USER_PREFIX):
                headers[name] = wsgi_to_str(value)
    if call.original.get('CONTENT_TYPE'):
        headers['content-type'] = wsgi_to_str(call.original['CONTENT_TYPE'])
    return headers


def _is_text(value: str) -> bool:
    return not any('\udc80' <= character <= '\udcff' for character in value)


def cors_headers(answer: LocalAnswer) -> dict[str, str]:
    """What a browser needs to see an answer of ours: as on the cluster's own (WSGI strings)."""
    return {name: value for name, value in answer.raw_headers
            if name.lower().startswith('access-control-') or name.lower() == 'vary'}
