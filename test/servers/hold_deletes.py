"""A proxy filter that holds DELETEs of one path as long as a file names it, so that a test can do things meanwhile."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def filter_factory(global_conf: dict[str, str], file: str, **local_conf: str) -> Callable[[WSGIApp], WSGIApp]:
    named = Path(file)

    def factory(app: WSGIApp) -> WSGIApp:
        def held(env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            while env['REQUEST_METHOD'] == 'DELETE' and named.exists() and named.read_text() == env['PATH_INFO']:
                time.sleep(0.02)
            return app(env, start_response)
        return held
    return factory
