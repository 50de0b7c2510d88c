"""``DELETE ?multipart-manifest=delete``: a large object goes with its segments, each by a delete of the shunt's own.

Swift's slo stands to the right, and what it deletes never meets the filter: the
remote's versions of the segments would show again. So its own code is run here,
over the shunt: manifests are read wherever they are, every name is authorised
for itself and gets its marker, and the client reads what it would read anyway
(semantics 8.2).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from swift.common.middleware.slo import StaticLargeObject
from swift.common.swob import (
    HTTPBadRequest,
    HTTPException,
    HTTPPreconditionFailed,
    HTTPServerError,
    Request,
    str_to_wsgi,
    wsgi_quote,
    wsgi_to_str,
)
from swift.common.utils import StreamingPile, close_if_possible, config_true_value, split_path
from swift.common.wsgi import make_subrequest

from s3_sync.shunting.authorization import Env
from s3_sync.shunting.call import SOURCE_HEADER, Call, parse_path
from s3_sync.shunting.local import App, wsgi_path
from s3_sync.shunting.targets import Table
from s3_sync.shunting.writing import is_refused

AGENT = '%(orig)s MultipartDELETE'
SOURCE = 'SLO'
"""``swift.source`` of its requests, as in Swift."""


def deletes_segments(env: Env) -> bool:
    """Whether a request is of this kind. Cheap: every request to a merged account asks."""
    return (env['REQUEST_METHOD'] == 'DELETE' and 'multipart-manifest=delete' in env.get('QUERY_STRING', '')
            and not env.get('swift.slo_override'))


class ManifestDeleter:
    """Handler of DELETE of objects; the rest is ``plain``'s. ``right``: what stands right of the shunt."""

    def __init__(self, shunt: App, right: App, table: Table, plain: Callable[[Call], Iterable[bytes]]) -> None:
        theirs = _find(right)
        self._slo = MergedLargeObjects(shunt, theirs, table) if theirs is not None else None
        self._plain = plain

    def __call__(self, call: Call) -> Iterable[bytes]:
        slo = self._slo
        if slo is None or not deletes_segments(call.env) or call.query.get('multipart-manifest') != 'delete':
            return self._plain(call)
        asynchronous = slo.allow_async_delete and config_true_value(call.query.get('async'))
        if asynchronous and is_refused(call):
            return call.send(call.forward())
        try:
            answer = slo.handle_multipart_delete(Request(call.env))
        except HTTPException as refusal:
            answer = refusal
        if answer is slo.app:
            return self._plain(_of_one(call))
        sent: Iterable[bytes] = answer(call.env, call.start_response)
        return sent


class MergedLargeObjects(StaticLargeObject):  # type: ignore[misc]
    """Swift's slo with the settings of ``theirs``, over the merged namespace. Only for deleting."""

    def __init__(self, shunt: App, theirs: StaticLargeObject, table: Table) -> None:
        super().__init__(shunt, theirs.conf, max_manifest_segments=theirs.max_manifest_segments,
                         max_manifest_size=theirs.max_manifest_size, yield_frequency=theirs.yield_frequency,
                         allow_async_delete=theirs.allow_async_delete)
        self._table = table

    def get_slo_segments(self, obj_name: str, req: Request) -> list[dict[str, Any]]:
        """As in Swift; a large object of a remote that has no manifest has no segments either."""
        try:
            segments: list[dict[str, Any]] = super().get_slo_segments(obj_name, req)
            return segments
        except HTTPException as error:
            if error.status_int in (HTTPBadRequest().status_int, HTTPServerError().status_int) \
                    and self._in_one_piece(obj_name, req):
                return []
            raise

    def handle_async_delete(self, req: Request) -> Any:
        """Swift leaves the segments to its expirer, whose deletes write no markers: merged ones go now."""
        if parse_path(req.path_info) is None:
            raise HTTPPreconditionFailed(request=req, body='Invalid UTF8 or contains NULL')
        version, account, container, name = req.split_path(4, 4, True)
        manifest = f'/{wsgi_to_str(container)}/{wsgi_to_str(name)}'
        segments = [segment for segment in self.get_slo_segments(manifest, req) if 'data' not in segment]
        containers = {split_path(segment['name'], 2, 2, True)[0] for segment in segments}
        if not any(self._table.lookup(wsgi_to_str(account), container) for container in containers):
            return super().handle_async_delete(req)
        if len(containers) > 1:
            listed = ', '.join(f'"{wsgi_quote(str_to_wsgi(container))}"' for container in sorted(containers))
            raise HTTPBadRequest(f'All segments must be in one container. Found segments in {listed}')
        if any(segment.get('sub_slo') for segment in segments):
            raise HTTPBadRequest('No segments may be large objects.')
        paths = [f'/{version}/{account}{str_to_wsgi(segment["name"])}' for segment in segments]
        with StreamingPile(self.bulk_deleter.delete_concurrency) as pile:
            for response in pile.asyncstarmap(self._delete, ((req, path) for path in paths)):
                if not response.is_success and response.status_int != 404:
                    return response
        return self.app

    def _delete(self, req: Request, path: str) -> Any:
        # The question mark: not with the query of the request at hand.
        response = make_subrequest(req.environ, method='DELETE', path=wsgi_quote(path) + '?', body='', agent=AGENT,
                                   headers={'X-Auth-Token': req.headers.get('X-Auth-Token')},
                                   swift_source=SOURCE).get_response(self.app)
        response.body  # noqa: B018 - read, so that its connection is kept
        return response

    def _in_one_piece(self, obj_name: str, req: Request) -> bool:
        """Whether a remote has this as a large object, and no manifest of it."""
        shown = self._head(obj_name, req, '')
        if (not shown.is_success or shown.headers.get(SOURCE_HEADER) != 'remote'
                or not config_true_value(shown.headers.get('X-Static-Large-Object'))):
            return False
        manifest = self._head(obj_name, req, 'multipart-manifest=get')
        return manifest.status_int == 409 or (
            manifest.is_success and not config_true_value(manifest.headers.get('X-Static-Large-Object')))

    def _head(self, obj_name: str, req: Request, query: str) -> Any:
        account = req.split_path(2, 3, True)[1]
        container, name = split_path(obj_name, 2, 2, True)
        path = wsgi_path(wsgi_to_str(account), container, name)
        # Not as SLO's: the filter of the segments would answer, and nobody would see from where.
        response = make_subrequest(req.environ, method='HEAD', path=f'{wsgi_quote(path)}?{query}', agent=AGENT,
                                   headers={'X-Auth-Token': req.headers.get('X-Auth-Token')}).get_response(self.app)
        close_if_possible(response.app_iter)
        return response


def _of_one(call: Call) -> Call:
    """The same request for the manifest alone."""
    query = {key: value for key, value in call.query.items() if key not in ('multipart-manifest', 'async')}
    env = {**call.original, 'QUERY_STRING': urlencode(query, errors='surrogateescape')}
    return Call(env, call.start_response, call.place, call.merged, call.local)


def _find(app: Any) -> StaticLargeObject | None:
    while app is not None and not isinstance(app, StaticLargeObject):
        app = getattr(app, 'app', None)
    return app
