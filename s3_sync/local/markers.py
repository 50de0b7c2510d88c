"""Marker objects of deletions (``s3_sync.wire.tombstones``), read and written through Swift's own proxy application."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from swift.common.utils import Timestamp

from s3_sync.errors import SourceUnavailable, SourceUnusable
from s3_sync.local.proxy_client import ProxyAnswer, ProxyClient
from s3_sync.timestamps import parse_timestamp
from s3_sync.wire import tombstones
from s3_sync.wire.tombstones import Policies

Written = Literal['written', 'superseded']


@dataclass(frozen=True)
class Marker:
    """One deletion."""

    name: str
    """Of the deleted object (or container)."""
    object_name: str
    """Of the marker."""
    time: Timestamp
    policies: Policies


class MarkerStore:
    """Of one process. Every method raises SourceUnavailable when the cluster does not answer as it should."""

    def __init__(self, proxy: ProxyClient) -> None:
        self._proxy = proxy

    # -- writing -------------------------------------------------------------------------

    def drop(self, account: str, hidden: str, marker: str, at: Timestamp) -> Written:
        """Delete a marker. ``superseded``: one that is newer than ``at`` has its name, and stays."""
        answer = self._ask('DELETE', (account, hidden, marker), tombstones.delete_headers(at))
        return 'superseded' if answer.status == 409 else 'written'

    def put(self, account: str, hidden: str, name: str, policies: Policies, at: Timestamp) -> Written:
        """Write the marker of a deleted object. ``superseded``: one that is not older than ``at`` is there."""
        answer = self._ask('PUT', (account, hidden, tombstones.tombstone_name(name)),
                           tombstones.put_headers(policies, at, name))
        if answer.status == 404:
            raise SourceUnavailable(f'{account}/{hidden}: the container of this marker is gone')
        return 'written' if answer.status == 201 else 'superseded'

    # -- reading -------------------------------------------------------------------------

    def container_of(self, account: str, hidden: str) -> str:
        """Whose deletions a hidden container remembers; ``ACCOUNT_TOMBSTONES`` is that of ''.

        SourceUnusable with reason ``no-container`` when it does not tell.
        """
        name = tombstones.real_container(hidden)
        if name is not None or hidden == tombstones.ACCOUNT_TOMBSTONES:
            return name or ''
        answer = self._ask('HEAD', (account, hidden), {tombstones.RESERVED_HEADER: 'true'})
        name = tombstones.container_from_headers(hidden, answer.headers)
        if name is None:
            raise SourceUnusable(f'{account}/{hidden} does not tell whose deletions it remembers',
                                 reason='no-container')
        return name

    def containers(self, account: str) -> Iterator[str]:
        """The hidden containers of an account, in order."""
        for entry in self._listing((account,), tombstones.HIDDEN_PREFIX):
            if tombstones.is_tombstone_container(entry['name']):
                yield entry['name']

    def markers(self, account: str, hidden: str, prefix: str = '') -> Iterator[Marker]:
        """Those of one hidden container, in order of their objects' names; hashed ones come first, in no order.

        ``prefix``: only names that begin so.
        """
        for start in ('\0\0', '\0' + prefix) if prefix else ('\0',):
            for entry in self._listing((account, hidden), start):
                marker = self._marker((account, hidden), entry)
                if marker is not None and marker.name.startswith(prefix):
                    yield marker

    def find(self, account: str, hidden: str, name: str) -> Marker | None:
        """The marker of one name, None when there is none."""
        marker = tombstones.tombstone_name(name)
        answer = self._ask('HEAD', (account, hidden, marker), {tombstones.RESERVED_HEADER: 'true'})
        time = parse_timestamp(answer.headers.get('x-backend-timestamp') or answer.headers.get('x-timestamp'))
        policies = tombstones.parse_content_type(answer.headers.get('content-type', ''))
        if answer.status == 404 or time is None or policies is None:
            return None
        return Marker(name, marker, time, policies)

    def _marker(self, where: tuple[str, str], entry: Mapping[str, Any]) -> Marker | None:
        """From a listing; None for what is no marker, or gone by now."""
        policies = tombstones.parse_content_type(entry.get('content_type', ''))
        if policies is None:
            return None
        name = tombstones.real_name(entry['name'])
        if name is None:
            answer = self._ask('HEAD', (*where, entry['name']), {tombstones.RESERVED_HEADER: 'true'})
            name = tombstones.name_from_headers(entry['name'], answer.headers)
        if name is None:
            return None
        return Marker(name, entry['name'], tombstones.listed_time(entry['last_modified']), policies)

    def _listing(self, path: tuple[str, ...], prefix: str) -> Iterator[dict[str, Any]]:
        """Entries, a page in memory at a time; none where there is no such account or container."""
        marker = ''
        while True:
            answer, body = self._read('GET', path, {tombstones.RESERVED_HEADER: 'true'},
                                      {'format': 'json', 'prefix': prefix, 'marker': marker})
            if answer.status == 404:
                return
            try:
                page = [entry for entry in (json.loads(body) if body else ()) if 'name' in entry]
            except ValueError as error:
                raise SourceUnavailable(f'the listing of {"/".join(path)} is not JSON') from error
            if not page:
                return
            for entry in page:
                if entry['name'].encode() <= marker.encode():
                    raise SourceUnavailable(f'the listing of {"/".join(path)} goes back to {entry["name"]!r}')
                marker = entry['name']
                yield entry

    def _ask(self, method: str, path: tuple[str, ...], headers: Mapping[str, str]) -> ProxyAnswer:
        return self._read(method, path, headers, {})[0]

    def _read(self, method: str, path: tuple[str, ...], headers: Mapping[str, str],
              params: Mapping[str, str]) -> tuple[ProxyAnswer, bytes]:
        answer = self._proxy.request(method, path, headers, params)
        return answer, answer.read()
