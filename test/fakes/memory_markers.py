"""Hidden containers of markers in memory, behind what ``MarkerStore`` asks of a proxy application."""
from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from swift.common.utils import Timestamp

from s3_sync.local.markers import MarkerStore
from s3_sync.wire.tombstones import Policies, Policy, container_headers, tombstone_container

Path = tuple[str, ...]


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b''

    def read(self) -> bytes:
        return self.body


class MemoryMarkers:
    """One cluster: containers and objects with their headers (lower-case names). A page of a listing is two long."""

    def __init__(self) -> None:
        self.containers: dict[tuple[str, str], dict[str, str]] = {}
        self.objects: dict[tuple[str, str, str], dict[str, str]] = {}
        self.requests: list[tuple[str, Path]] = []
        self.before: Callable[[str, Path], Answer | None] = lambda method, path: None
        """May answer a request in our place, or raise."""
        self.store = MarkerStore(self)  # type: ignore[arg-type]

    def put(self, account: str, container: str, name: str, policies: Mapping[str, Policy], at: float) -> None:
        hidden = tombstone_container(container)
        self.containers[account, hidden] = {k.lower(): v for k, v in container_headers(container).items()}
        assert self.store.put(account, hidden, name, Policies(policies), Timestamp(at)) == 'written'

    def markers(self) -> set[tuple[str, str]]:
        """Hidden containers and markers."""
        return {(container, name) for _, container, name in self.objects}

    # -- ProxyClient ---------------------------------------------------------------------

    def request(self, method: str, path: Path, headers: Mapping[str, str] | None = None,
                params: Mapping[str, str] | None = None, *, normal: Collection[int] = ()) -> Answer:
        self.requests.append((method, path))
        sent = {key.lower(): value for key, value in (headers or {}).items()}
        assert sent['x-backend-allow-reserved-names'] == 'true'
        scripted = self.before(method, path)
        if scripted is not None:
            return scripted
        if len(path) == 3:
            return self._object(method, (path[0], path[1], path[2]), sent)
        if method == 'HEAD':
            found = self.containers.get((path[0], path[1]))
            return Answer(404) if found is None else Answer(204, found)
        return self._listing(path, params or {})

    def _object(self, method: str, path: tuple[str, str, str], sent: dict[str, str]) -> Answer:
        known = self.objects.get(path)
        if method in ('HEAD', 'GET'):
            return Answer(404) if known is None else Answer(200, {**known, 'x-backend-timestamp': known['x-timestamp']})
        if path[:2] not in self.containers:
            return Answer(404)
        newer = known is not None and Timestamp(known['x-timestamp']) >= Timestamp(sent['x-timestamp'])
        if method == 'PUT':
            if not newer:
                self.objects[path] = sent
            return Answer(202 if newer else 201)
        if not newer:
            self.objects.pop(path, None)
        return Answer(409 if newer else 404 if known is None else 204)

    def _listing(self, path: Path, params: Mapping[str, str]) -> Answer:
        if len(path) == 2 and (path[0], path[1]) not in self.containers:
            return Answer(404)
        rows = ([{'name': name} for account, name in self.containers if account == path[0]] if len(path) == 1 else
                [{'name': name, 'content_type': headers['content-type'],
                  'last_modified': Timestamp(headers['x-timestamp']).isoformat}
                 for (account, container, name), headers in self.objects.items() if (account, container) == path])
        rows = sorted((row for row in rows if row['name'].startswith(params.get('prefix', ''))
                       and row['name'] > params.get('marker', '')), key=lambda row: row['name'].encode())
        return Answer(200, {}, json.dumps(rows[:2]).encode())
