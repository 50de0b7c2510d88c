"""What containers tell that segments need: their storage policy, and listings for dynamic large objects."""
from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from swift.common.utils import parse_header

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import SegmentChanged, SourceEncrypted, SourceUnavailable
from s3_sync.local.proxy_client import ProxyClient

POLICY_SECONDS = 60.0
"""A container's policy changes only when it is deleted and made again."""
REMEMBERED_CONTAINERS = 10_000
VERSIONS_PREFIX = '\0versions\0'
"""Begin of the hidden container's name in which a versioned container keeps its data."""


@dataclass(frozen=True, slots=True)
class Member:
    """An object that the prefix of a DLO lists, as the proxy of the cluster shows it."""

    name: str
    etag: str
    size: int
    slo_etag: str = ''
    """Set for an SLO; ``size`` is its logical size then."""


class Containers:
    """Asks through the proxy application; what it says of policies is kept for a minute."""

    def __init__(self, client: ProxyClient, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._policies: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def policy_index(self, account: str, container: str) -> int:
        """Index of the container's storage policy. SegmentChanged when there is no such container."""
        known_until, index = self._policies.get((account, container), (0.0, 0))
        if self._clock.monotonic() < known_until:
            return index
        answer = self._client.request('HEAD', (account, container))
        answer.close()
        if answer.status == 404:
            self._policies.pop((account, container), None)
            raise SegmentChanged(f'container {account}/{container} does not exist')
        told = answer.headers.get('x-backend-storage-policy-index', '')
        if not told.isdecimal():
            raise SourceUnavailable(f'{account}/{container}: the proxy application tells no storage policy')
        self._policies[account, container] = (self._clock.monotonic() + POLICY_SECONDS, int(told))
        self._policies.move_to_end((account, container))
        while len(self._policies) > REMEMBERED_CONTAINERS:
            self._policies.popitem(last=False)
        return int(told)

    def members(self, account: str, container: str, prefix: str) -> Iterator[Member]:
        """Everything that begins with the prefix, in the listing's order, a page in memory at a time.

        SegmentChanged when there is no such container.
        """
        marker = ''
        while True:
            answer = self._client.request('GET', (account, container), params={
                'format': 'json', 'prefix': prefix, 'marker': marker})
            if answer.status == 404:
                answer.close()
                raise SegmentChanged(f'container {account}/{container} does not exist')
            page = _page(answer.read(), f'{account}/{container}')
            if not page:
                return
            for item in page:
                if item['name'].encode() <= marker.encode():
                    raise SourceUnavailable(f'the listing of {account}/{container} goes back to {item["name"]!r}')
                marker = item['name']
                yield _member(item, f'{account}/{container}/{marker}')


def _page(body: bytes, label: str) -> list[dict[str, Any]]:
    try:
        return [item for item in json.loads(body) if 'name' in item] if body else []
    except ValueError as error:
        raise SourceUnavailable(f'the listing of {label} is not JSON: {error}') from error


def _member(item: Mapping[str, Any], path: str) -> Member:
    """An entry with what filters of a proxy's pipeline would make of it, whichever of them ran here."""
    etag, params = parse_header(item['hash'])
    if 'swift_meta' in params:
        raise SourceEncrypted(f'{path} is encrypted at rest and internal_client_path does not decrypt')
    size, target = item['bytes'], unquote(str(item.get('symlink_path', params.get('symlink_target', ''))))
    if VERSIONS_PREFIX in target:
        etag = item.get('symlink_etag', params.get('symlink_target_etag', etag))
        size = item.get('symlink_bytes', params.get('symlink_target_bytes', size))
    slo_etag = item.get('slo_etag', params.get('slo_etag', ''))
    return Member(item['name'], etag.strip('"'), int(size), slo_etag.strip('"'))
