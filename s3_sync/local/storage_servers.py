"""Storage servers asked one by one: every request is bounded in time, and who failed is left alone for a while.

Without that, a machine that is down costs a connect timeout for each of a
million requests.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping

from s3_sync.clock import Clock, SystemClock
from s3_sync.local.backend_http import BackendConnections, BackendError, BackendResponse
from s3_sync.local.placement import Node

SERVER_REST_SECONDS = 10.0
"""A server or device that failed counts as silent for this long without being asked."""

ALLOW_RESERVED = {'X-Backend-Allow-Reserved-Names': 'true', 'User-Agent': '1space'}


class StorageServers:
    """Green-thread safe; kept for the life of a process."""

    def __init__(self, *, connections: BackendConnections | None = None, clock: Clock | None = None,
                 logger: logging.Logger | None = None, rest_seconds: float = SERVER_REST_SECONDS) -> None:
        self._rest_seconds = rest_seconds
        self._clock = clock or SystemClock()
        self._connections = connections or BackendConnections(self._clock)
        self._logger = logger or logging.getLogger(__name__)
        self._resting: dict[object, float] = {}

    def close(self) -> None:
        self._connections.close()

    def ask(self, method: str, node: Node, partition: int, path: tuple[str, ...], headers: Mapping[str, str], *,
            query: str = '') -> BackendResponse:
        """An answer below 500, to be closed. BackendError otherwise. See ``BackendConnections.request``."""
        server, device = (node['ip'], node['port']), (node['ip'], node['port'], node['device'])
        now = self._clock.monotonic()
        if self._resting and max(self._resting.get(server, now), self._resting.get(device, now)) > now:
            raise BackendError(f'{label(node)}: did not answer a moment ago')
        try:
            response = self._connections.request(method, node, partition, path, {**ALLOW_RESERVED, **headers},
                                                 query=query)
        except BackendError as error:
            self._resting[server] = self._clock.monotonic() + self._rest_seconds
            self._logger.info('%s; not asked again for %d s', error, self._rest_seconds)
            raise
        if response.status < 500:
            return response
        response.close()
        if response.status == 507:
            self._resting[device] = now + self._rest_seconds
        raise BackendError(f'{label(node)}: status {response.status}')


def label(node: Node) -> str:
    return f'{node["ip"]}:{node["port"]}/{node["device"]}'
