"""Large objects as Swift's clients make them: segments in a container of their own, then the manifest."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from swiftclient import Connection

MIB = 1024 ** 2


def cheap_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from place to place and from seed to seed."""
    block = b''.join(hashlib.sha256(f'{seed}:{i}'.encode()).digest() for i in range(64))
    return (block * (size // len(block) + 1))[:size]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def put_segments(client: Connection, segments: str, names: Sequence[str],
                 parts: Sequence[bytes]) -> list[dict[str, object]]:
    """PUT the segments; entries of a manifest that names them."""
    client.put_container(segments)
    for name, part in zip(names, parts, strict=True):
        client.put_object(segments, name, part)
    return [{'path': f'/{segments}/{name}', 'etag': md5(part), 'size_bytes': len(part)}
            for name, part in zip(names, parts, strict=True)]


def put_manifest(client: Connection, container: str, name: str, entries: Sequence[Mapping[str, object]],
                 headers: Mapping[str, str] | None = None) -> None:
    client.put_object(container, name, json.dumps(list(entries)), query_string='multipart-manifest=put',
                      headers=dict(headers or {}))


def put_slo(client: Connection, container: str, name: str, parts: Sequence[bytes], *, segments: str = '',
            prefix: str = '', headers: Mapping[str, str] | None = None) -> bytes:
    """An SLO of these segments (in ``<container>_segments``, below ``<name>/``); its content."""
    names = [f'{prefix or name}/{number:03}' for number in range(len(parts))]
    put_manifest(client, container, name, put_segments(client, segments or f'{container}_segments', names, parts),
                 headers)
    return b''.join(parts)


def put_dlo(client: Connection, container: str, name: str, parts: Sequence[bytes], *, segments: str = '',
            prefix: str = '', headers: Mapping[str, str] | None = None) -> bytes:
    """A DLO over segments below ``prefix`` (default ``<name>/``); its content."""
    segments, prefix = segments or f'{container}_segments', prefix or f'{name}/'
    put_segments(client, segments, [f'{prefix}{number:03}' for number in range(len(parts))], parts)
    client.put_object(container, name, b'', headers={'X-Object-Manifest': quote(f'{segments}/{prefix}'),
                                                     **(headers or {})})
    return b''.join(parts)


def stored_manifest(client: Connection, container: str, name: str) -> bytes:
    """The manifest as Swift stores it."""
    # http.client stops reading headers at one whose name is not ASCII, and then waits for the end of the connection.
    return bytes(client.get_object(container, name, query_string='multipart-manifest=get',
                                   headers={'Connection': 'close'})[1])


def names(client: Connection, container: str) -> set[str]:
    return {entry['name'] for entry in client.get_container(container, full_listing=True)[1]}
