"""What containers tell that reading by name needs: storage policy, listings of segments, who may read them."""
from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from swift.common.middleware.acl import parse_acl, referrer_allowed
from swift.common.utils import parse_header

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import SegmentChanged, SourceEncrypted, SourceUnavailable
from s3_sync.local.listing_app import replica_rule
from s3_sync.local.proxy_client import ProxyClient

KEPT_SECONDS = 60.0
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
    """Asks through the proxy application; what it said of a container is kept for a minute."""

    def __init__(self, client: ProxyClient, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._known: OrderedDict[tuple[str, str], tuple[float, Mapping[str, Any]]] = OrderedDict()

    def policy_index(self, account: str, container: str) -> int:
        """Index of the container's storage policy. SegmentChanged when there is no such container."""
        return int(self._facts(account, container)['storage_policy'])

    def readable(self, account: str, container: str, by: str) -> bool:
        """Whether the container's read ACL lets everybody in, or everybody of the account ``by``.

        Rights of single users do not count: a link does not tell who made it.
        """
        referrers, groups = parse_acl(self._facts(account, container).get('read_acl') or '')
        project = by.partition('_')[2]
        return bool(referrer_allowed('', referrers)) or not {by, project, f'{project}:*', '*:*'}.isdisjoint(groups)

    def _facts(self, account: str, container: str) -> Mapping[str, Any]:
        until, facts = self._known.get((account, container), (0.0, {}))
        if self._clock.monotonic() < until:
            return facts
        facts = self._client.container_info(account, container)
        if facts['status'] == 404:
            self._known.pop((account, container), None)
            raise SegmentChanged(f'container {account}/{container} does not exist')
        self._known[account, container] = (self._clock.monotonic() + KEPT_SECONDS, facts)
        self._known.move_to_end((account, container))
        while len(self._known) > REMEMBERED_CONTAINERS:
            self._known.popitem(last=False)
        return facts

    def members(self, account: str, container: str, prefix: str) -> Iterator[Member]:
        """Everything that begins with the prefix, in the listing's order, a page in memory at a time.

        SegmentChanged when there is no such container. SourceUnavailable also
        while its replicas do not list the same: what is missing from one may
        be what is missing from a copy.
        """
        marker = ''
        while True:
            answer = self._client.request('GET', (account, container), replica_rule('agreed'), {
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
