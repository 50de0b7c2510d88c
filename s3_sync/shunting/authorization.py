"""Who may: Swift's own callback, watched and asked, never replaced (semantics 8.1).

A status proves nothing: a path without a container is 404 before anybody was
asked, and a denial may come with 200. So the shunt goes remote for a read only
if the callback's last word for exactly this path was yes, and before a write
asks it itself, with the ACL that Swift would use.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swift.common.swob import Request

Env = dict[str, Any]
Denial = Callable[..., Any]
"""A WSGI application that says no."""


class Authorization:
    """Of one request: what the callback in its environment says, by path."""

    def __init__(self, env: Env) -> None:
        self._callback: Callable[[Request], Denial | None] | None = env.get('swift.authorize')
        self._allowed: dict[str, bool] = {}
        self.watch(env)

    def watch(self, env: Env) -> None:
        """Notice what the callback says about requests of this environment, and of those made from it."""
        if self._callback is not None:
            env['swift.authorize'] = self._watched

    def _watched(self, request: Request) -> Denial | None:
        assert self._callback is not None
        denial = self._callback(request)
        self._allowed[request.environ['PATH_INFO']] = denial is None
        return denial

    def allowed(self, path_info: str) -> bool:
        """Whether the last word about this path (a WSGI string) was yes. Without a callback Swift asks nobody."""
        return self._callback is None or self._allowed.get(path_info, False)

    def denial(self, env: Env, acl: str | None, *, sync_key: str | None = None) -> Denial | None:
        """Ask now, as the proxy would with this ACL. None: allowed.

        ``env`` is the request whose path and method are meant; it is not changed, but for ``swift_owner`` and the like.
        """
        if self._callback is None:
            return None
        if sync_key:
            env['swift_sync_key'] = sync_key
        request = Request(env)
        request.acl = acl
        denial = self._callback(request)
        self._allowed[env['PATH_INFO']] = denial is None
        return denial
