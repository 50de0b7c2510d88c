"""Counting and timing each request to a remote, repeated ones included (it sits inside the retry wrapper)."""
from __future__ import annotations

from collections.abc import Callable

from s3_sync.base_sync import BaseSync, ProviderResponse, RemoteObject
from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import LimitExceeded, ProviderError
from s3_sync.metric_defs import LATENCY, REQUESTS
from s3_sync.metrics import Metrics
from s3_sync.providers.wrapper import T, Wrapper
from s3_sync.streams import Body
from s3_sync.types import PutResult


class MeteredSync(Wrapper):
    """Feeds REQUESTS and LATENCY. ``remote`` is the label of the remote in them."""

    def __init__(self, inner: BaseSync, *, remote: str, metrics: Metrics, clock: Clock | None = None) -> None:
        super().__init__(inner)
        self._remote = remote
        self._metrics = metrics
        self._clock = clock or SystemClock()

    def _around(self, operation: str, call: Callable[[], T], body: Body | None = None) -> T:
        started = self._clock.monotonic()
        code, requests = 'error', 1
        try:
            result = call()
            code, requests = _code(result), result.requests if isinstance(result, PutResult) else 1
            return result
        except LimitExceeded:
            requests = 0  # found out before sending
            raise
        except ProviderError as error:
            code = str(error.status or 'error')
            raise
        finally:
            if requests:
                self._metrics.add(REQUESTS, self._remote, operation, code, value=requests)
                self._metrics.observe(LATENCY, self._remote, operation, value=self._clock.monotonic() - started)


def _code(result: object) -> str:
    """The status where the result tells it; a provider's own values only say that it was a success."""
    if isinstance(result, ProviderResponse | RemoteObject):
        return str(result.status)
    return '2xx'
