"""Reading replicas straight from the object servers, past the proxy (DESIGN 7).

Every primary may hold the row's version, so what counts as an answer is strict
(semantics 1.2, 4.2): the first replica whose three times cover the row's and
whose body has the right MD5 wins. Otherwise

- a tombstone not older than the row's data: SourceGone, whoever tells it;
- a primary that did not answer: SourceUnavailable, it may hold the version;
- all answered, none new enough, handoffs neither: SourceStale.
"""
from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Any

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import SegmentChanged, SourceError, SourceGone, SourceStale, SourceUnavailable
from s3_sync.local.backend_http import BackendConnections, BackendError, BackendResponse
from s3_sync.local.bodies import ReopeningBody
from s3_sync.local.links import link_of
from s3_sync.local.placement import Node, Place, Placement
from s3_sync.local.source import SourceObject
from s3_sync.local.versions import (
    SMALL_BYTES,
    buries,
    is_expired,
    lower_headers,
    meta_of,
    refuse_indirect,
    times_from_headers,
)
from s3_sync.local.wanted import Wanted
from s3_sync.streams import BytesBody
from s3_sync.timestamps import RowTimes, parse_timestamp
from s3_sync.types import ObjectRow

NODE_REST_SECONDS = 10.0
"""A server or device that failed counts as silent for this long without being asked."""

NONE_KNOWN: Mapping[int, RowTimes | None] = MappingProxyType({})


class Silent(SourceError):
    """This node told nothing: no connection, an error, a body cut short."""


class NotThere(SourceError):
    """This node answered: it holds no live file, perhaps an old tombstone."""


@dataclass
class _Told:
    """What nodes said that could not serve the row."""

    follow_links: bool = True
    silent: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unlike: list[tuple[RowTimes, str]] = field(default_factory=list)
    """Times and content type of the live versions that do not cover the row."""


class DirectCopy:
    """A run of bytes of a replica; see ``wanted.Copy``."""

    def __init__(self, node: Node, response: BackendResponse, headers: dict[str, str]) -> None:
        self._response = response
        self.label: Hashable = node['id']
        self.headers = headers
        self.etag = headers.get('etag', '').strip('"')

    def chunks(self, digest: Any = None) -> Iterator[bytes]:
        for chunk in self._response:
            if digest is not None:
                digest.update(chunk)
            yield chunk

    def close(self) -> None:
        self._response.close()


class DirectSource:
    """GETs and HEADs to primaries, then to a few handoffs. Replicated policies only for ``open``."""

    def __init__(self, placement: Placement, *, clock: Clock | None = None, logger: logging.Logger | None = None,
                 connections: BackendConnections | None = None) -> None:
        self._placement = placement
        self._clock = clock or SystemClock()
        self._logger = logger or logging.getLogger(__name__)
        self._connections = connections or BackendConnections(self._clock)
        self._resting: dict[object, float] = {}

    def open(self, row: ObjectRow, *, last: Collection[Hashable] = (), follow_links: bool = True) -> SourceObject:
        """The first replica that covers the row. ``last``: device ids to ask after all others."""
        place = self._placement.of(row)
        primaries = self._order(place, last)
        told = _Told(follow_links)
        found = self._first(primaries, place, row, told) or self._agreed(primaries, place, row, told)
        silent = bool(told.silent)
        found = found or self._first(self._placement.handoffs(place, len(primaries)), place, row, told)
        if found is None:
            raise (SourceUnavailable if silent else SourceStale)(f'{row.path}: {"; ".join(told.silent + told.others)}')
        return found

    def superseded(self, row: ObjectRow, *, known: Mapping[int, RowTimes | None] = NONE_KNOWN) -> bool:
        """Whether any primary holds a version whose data is newer than the tombstone row.

        One HEAD to each primary not in ``known`` (what the local disks told).
        True is conclusive from one answer. False needs all of them; without,
        SourceUnavailable. A version that has expired counts too: its own rows
        decide what becomes of the copy.
        """
        deleted_at = row.times.data
        if any(times is not None and times.data > deleted_at for times in known.values()):
            return True
        place = self._placement.of(row)
        silent = []
        for node in self._order(place, ()):
            if node['id'] in known:
                continue
            try:
                response = self._ask('HEAD', node, place, row)
                response.close()
                if times_from_headers(response.headers, row).data > deleted_at:
                    return True
            except NotThere:
                continue
            except Silent as error:
                silent.append(str(error))
        if silent:
            raise SourceUnavailable(f'{row.path}: {"; ".join(silent)}')
        return False

    def close(self) -> None:
        self._connections.close()

    # -- several nodes -------------------------------------------------------------------

    def _order(self, place: Place, last: Collection[Hashable]) -> list[Node]:
        """This machine's replicas first, the rest in an order that spreads over partitions, ``last`` last."""
        count = len(place.primaries)
        turn = [place.primaries[(i + place.partition) % count] for i in range(count)]
        return sorted(turn, key=lambda node: (node['id'] in last, not self._placement.is_local(node)))

    def _first(self, nodes: Iterable[Node], place: Place, row: ObjectRow, told: _Told) -> SourceObject | None:
        """The first that covers the row; what the others said goes into ``told``."""
        for node in nodes:
            try:
                response = self._ask('GET', node, place, row)
                times = times_from_headers(response.headers, row)
                if times.covers(row.times):
                    return self._object(node, row, response, times, told.follow_links)
                response.close()
                told.others.append(f'{node["ip"]}/{node["device"]}: its version is older than the row')
                told.unlike.append((times, response.headers.get('content-type', '')))
            except NotThere as error:
                told.others.append(str(error))
            except Silent as error:
                told.silent.append(str(error))
        return None

    def _agreed(self, primaries: list[Node], place: Place, row: ObjectRow, told: _Told) -> SourceObject | None:
        """All primaries have one version, newer than the row, but with another content type.

        Then it was changed after the row: no replica can have missed what all have.
        """
        if len(told.unlike) != len(primaries) or len(set(told.unlike)) != 1:
            return None
        times = told.unlike[0][0]._replace(content_type=row.times.content_type)
        if times.metadata <= row.times.metadata or not times.covers(row.times):
            return None
        try:
            response = self._ask('GET', primaries[0], place, row)
            if times_from_headers(response.headers, row) == told.unlike[0][0]:
                return self._object(primaries[0], row, response, times, told.follow_links)
            response.close()
        except (Silent, NotThere) as error:
            told.silent.append(str(error))
        return None

    # -- objects known by their content --------------------------------------------------

    def copy(self, wanted: Wanted, first: int, length: int | None, *,
             last: Collection[Hashable] = ()) -> DirectCopy:
        """The first replica that is the wanted object, open for a run of its bytes.

        SegmentChanged: everybody answered, and nobody has it. SourceUnavailable:
        somebody did not answer, who may. ThroughProxy.
        """
        place = self._placement.of(wanted.row)
        primaries = self._order(place, last)
        silent: list[str] = []
        others: list[str] = []
        for node in chain(primaries, self._placement.handoffs(place, len(primaries))):
            try:
                response = self._exchange('GET', node, place, wanted.row, _range(first, length))
            except Silent as error:
                if node in primaries:
                    silent.append(str(error))
                continue
            try:
                copy = DirectCopy(node, response, lower_headers(response.headers.items()))
                problem = self._differs(wanted, copy, response.status)
                if not problem:
                    return copy
            except BaseException:
                response.close()
                raise
            response.close()
            others.append(f'{node["ip"]}/{node["device"]}: {problem}')
        raise (SourceUnavailable if silent else SegmentChanged)(f'{wanted.row.path}: {"; ".join(silent + others)}')

    def _differs(self, wanted: Wanted, copy: DirectCopy, status: int) -> str:
        """Why this is not what is wanted, '' when it is. ThroughProxy."""
        if status == 404:
            return 'missing'
        refuse_indirect(copy.headers, wanted.row.path)
        if is_expired(copy.headers, self._clock.now()):
            return 'expired'
        problem = wanted.differs(copy.headers)
        return problem or ('has other bytes than its headers say' if status == 416 else '')

    def silent(self, row: ObjectRow) -> str:
        """Which primaries of this name do not answer a HEAD; '' when all do."""
        place = self._placement.of(row)
        problems = []
        for node in self._order(place, ()):
            try:
                self._exchange('HEAD', node, place, row).close()
            except Silent as error:
                problems.append(str(error))
        return '; '.join(problems)

    # -- one node ------------------------------------------------------------------------

    def _ask(self, method: str, node: Node, place: Place, row: ObjectRow) -> BackendResponse:
        """A 200 of this node. Silent, NotThere, SourceGone (conclusive tombstone) otherwise."""
        response = self._exchange(method, node, place, row)
        if response.status == 200:
            return response
        response.close()
        tombstone = parse_timestamp(response.headers.get('x-backend-timestamp'))
        if not row.deleted and buries(tombstone, row.times):
            raise SourceGone(f'{row.path} was deleted at {tombstone!r}')
        raise NotThere(f'{_label(node)}: 404')

    def _exchange(self, method: str, node: Node, place: Place, row: ObjectRow, byte_range: str = '') -> BackendResponse:
        """What this node tells of its replica: 200 or 404, of a range also 206 or 416. Silent otherwise."""
        server = (node['ip'], node['port'])
        label = _label(node)
        now = self._clock.monotonic()
        if self._resting and max(self._resting.get(server, now), self._resting.get(node['id'], now)) > now:
            raise Silent(f'{label}: did not answer a moment ago')
        headers = {'X-Backend-Storage-Policy-Index': str(row.row.policy_index), 'X-Backend-Open-Expired': 'true',
                   'X-Backend-Allow-Reserved-Names': 'true', 'User-Agent': '1space'}
        if byte_range:
            headers['Range'] = byte_range
        try:
            response = self._connections.request(method, node, place.partition, (row.account, row.container, row.name),
                                                 headers)
        except BackendError as error:
            self._resting[server] = now + NODE_REST_SECONDS
            self._logger.info('object server %s; asking others for %d s', error, NODE_REST_SECONDS)
            raise Silent(f'{label}: {error}') from error
        if response.status == 404 or response.status in ((206, 416) if byte_range else (200,)):
            return response
        response.close()
        if response.status == 507:
            self._resting[node['id']] = now + NODE_REST_SECONDS
            self._logger.info('%s answers 507; asking others for %d s', label, NODE_REST_SECONDS)
        raise Silent(f'{label}: status {response.status}')

    def _object(self, node: Node, row: ObjectRow, response: BackendResponse, times: RowTimes,
                follow_links: bool) -> SourceObject:
        try:
            headers = lower_headers(response.headers.items())
            refuse_indirect(headers, row.path, follow_links=follow_links)
            if is_expired(headers, self._clock.now()):
                raise SourceGone(f'{row.path} expired')
            meta = meta_of(row.name, headers, times)
            link = link_of(headers, row.path)
            if meta.size > SMALL_BYTES:
                again = _SameVersionAgain(self, row, node, response.headers)
                return SourceObject(meta, times, ReopeningBody(response, again, meta.size, meta.etag), 'direct')
            try:
                data = response.read()
            except BackendError as error:
                raise Silent(str(error)) from error
            found = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if found != meta.etag:
                raise Silent(f'{node["ip"]}/{node["device"]}: its body has MD5 {found}')
        except BaseException:
            response.close()
            raise
        response.close()
        return SourceObject(meta, times, BytesBody(data), 'direct', link)

    def reopen(self, row: ObjectRow, after: int, version: tuple[str, str]) -> tuple[int, BackendResponse]:
        """The same version (ETag, data time) again: from the next primary after device ``after`` that has it."""
        place = self._placement.of(row)
        nodes = self._order(place, ())
        at = next((i for i, node in enumerate(nodes) if node['id'] == after), -1) + 1
        problems = []
        for node in nodes[at:] + nodes[:at]:
            try:
                response = self._ask('GET', node, place, row)
            except (Silent, NotThere) as error:
                problems.append(str(error))
                continue
            if _version(response.headers) == version:
                return node['id'], response
            response.close()
            problems.append(f'{node["ip"]}/{node["device"]}: has another version')
        raise SourceUnavailable(f'{row.path}: {"; ".join(problems)}')


def _label(node: Node) -> str:
    return f'{node["ip"]}:{node["port"]}/{node["device"]}'


def _range(first: int, length: int | None) -> str:
    return '' if length is None else f'bytes={first}-{first + length - 1}'


def _version(headers: Mapping[str, str]) -> tuple[str, str]:
    return headers.get('etag', '').strip('"'), headers.get('x-backend-data-timestamp', '')


class _SameVersionAgain:
    """Opens the body of a version once more, each time at another replica."""

    def __init__(self, source: DirectSource, row: ObjectRow, node: Node, headers: Mapping[str, str]) -> None:
        self._source = source
        self._row = row
        self._device: int = node['id']
        self._version = _version(headers)

    def __call__(self) -> BackendResponse:
        self._device, response = self._source.reopen(self._row, self._device, self._version)
        return response
