"""Reading the replica that lies on this node's own disks: the cheapest source by far (DESIGN 7).

What this source answers alone is either right or "ask the next one": a stale,
corrupt, missing or unreadable replica proves nothing about the others. Only a
tombstone or an expiry that covers the row is conclusive.
"""
from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, ParamSpec, Protocol, TypeVar

from container_crawler.exceptions import DeviceTimeout
from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import SourceGone, SourceStale, SourceUnavailable
from s3_sync.local.links import link_of
from s3_sync.local.placement import Node, Place, Placement
from s3_sync.local.read_ahead import AHEAD_BYTES, Key, ReadAhead
from s3_sync.local.readonly_diskfile import (
    KEEP_CACHE_BYTES,
    MessageCollector,
    ReadOnlyManager,
    Replica,
    ReplicaRequest,
    read_and_hash,
    read_replicas,
)
from s3_sync.local.source import SourceObject
from s3_sync.local.versions import SMALL_BYTES, buries, is_expired, lower_headers, meta_of, refuse_indirect
from s3_sync.local.wanted import Wanted, size_of
from s3_sync.streams import CHUNK_BYTES, Body, BytesBody
from s3_sync.timestamps import RowTimes
from s3_sync.types import ObjectRow
from s3_sync.wire.swift_headers import text_of_header

READ_BYTES = 2 * 1024 * 1024
"""One hop to a device's thread reads this much of a large object."""
DEVICE_REST_SECONDS = 30.0
"""A device that timed out is not asked again for this long."""
DISTRUSTED_VERSIONS = 1000
"""Large bodies found corrupt that are remembered until the auditor has dealt with them."""

P = ParamSpec('P')
T = TypeVar('T')


class DeviceRunner(Protocol):
    """``container_crawler.device_threads.DeviceThreads``, as far as it is needed here."""

    def run(self, device: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, computed where a hung disk stalls nothing else. DeviceTimeout."""

    def close(self) -> None:
        """End its threads."""


class DiskBody:
    """A large body read in the device's thread. Its last bytes are handed out only when the MD5 is right.

    ``distrust`` is called when the bytes on disk turn out to be wrong.
    """

    def __init__(self, runner: DeviceRunner, device: str, file: BinaryIO, size: int, md5: str,
                 distrust: Callable[[], None]) -> None:
        self._runner = runner
        self._device = device
        self._file = file
        self.size = size
        self._md5 = md5
        self._distrust = distrust

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.md5(usedforsecurity=False)
        offset = 0
        while offset < self.size:
            block = self._block(offset, digest)
            offset += len(block)
            if not block or (offset == self.size and digest.hexdigest() != self._md5):
                self._distrust()
                raise SourceUnavailable(f'body on device {self._device} ended after {offset} of {self.size} bytes with '
                                        f'MD5 {digest.hexdigest()}, expected {self._md5}')
            yield from (block[at:at + CHUNK_BYTES] for at in range(0, len(block), CHUNK_BYTES))

    def _block(self, offset: int, digest: object) -> bytes:
        try:
            return self._runner.run(self._device, read_and_hash, self._file, offset,
                                    min(READ_BYTES, self.size - offset), digest, self.size > KEEP_CACHE_BYTES)
        except (DeviceTimeout, OSError, ValueError) as error:
            if isinstance(error, OSError):
                self._distrust()
            raise SourceUnavailable(f'device {self._device}: {error}') from error

    def rewind(self) -> None:
        """Every iteration starts at the first byte; the file stays the version that was opened."""

    def close(self) -> None:
        self._file.close()


class DiskCopy:
    """A run of bytes of a replica; see ``wanted.Copy``. Read in the device's thread."""

    def __init__(self, runner: DeviceRunner, node: Node, replica: Replica, headers: dict[str, str], first: int,
                 length: int | None) -> None:
        self._runner = runner
        self._device: str = node['device']
        self._file = replica.file
        self._data = replica.data
        self._size = size_of(headers)
        self._first = first
        self._length = self._size - first if length is None else length
        self.label: Hashable = node['id']
        self.headers = headers
        self.etag = headers.get('etag', '')

    def chunks(self, digest: Any = None) -> Iterator[bytes]:
        digest = hashlib.md5(usedforsecurity=False) if digest is None else digest
        at, end = self._first, self._first + self._length
        while at < end:
            block = self._block(at, min(READ_BYTES, end - at), digest)
            at += len(block)
            if not block:
                raise SourceUnavailable(f'device {self._device}: the file ends after {at} of {self._size} bytes')
            yield from (block[cut:cut + CHUNK_BYTES] for cut in range(0, len(block), CHUNK_BYTES))

    def _block(self, offset: int, size: int, digest: Any) -> bytes:
        if self._file is None:
            block = (self._data or b'')[offset:offset + size]
            digest.update(block)
            return block
        try:
            return self._runner.run(self._device, read_and_hash, self._file, offset, size, digest,
                                    self._size > KEEP_CACHE_BYTES)
        except (DeviceTimeout, OSError, ValueError) as error:
            raise SourceUnavailable(f'device {self._device}: {error}') from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class DiskSource:
    """Replicas on devices of this node, by Swift's own DiskFile, read-only.

    Switches itself off, once and loudly, when this process may not read the
    object server's files: ``off_reason`` then says why, and every ``open``
    raises SourceUnavailable at no cost.
    """

    def __init__(self, placement: Placement, *, devices: str, runner: DeviceRunner, clock: Clock | None = None,
                 logger: logging.Logger | None = None) -> None:
        self._placement = placement
        self._runner = runner
        self._clock = clock or SystemClock()
        self._logger = logger or logging.getLogger(__name__)
        self._messages = MessageCollector()
        self._manager = ReadOnlyManager(devices, self._messages)
        self._resting: dict[str, float] = {}
        self._distrusted: dict[tuple[int, str, RowTimes], None] = {}
        self._ahead = ReadAhead(self._clock)
        self.off_reason = ''

    def open(self, row: ObjectRow, *, follow_links: bool = True) -> SourceObject:
        """The version the row describes, or a newer one, with a checked (or self-checking) body.

        SourceGone is conclusive. SourceStale and SourceUnavailable mean: ask
        the other replicas; ThroughProxy: ask the proxy application.
        """
        place = self._placement.of(row)
        wanted = row.times
        stale = False
        problems = []
        for node in self.local_primaries(place):
            replica = self._replica(node, place, row, wanted, SMALL_BYTES)
            if replica.times is not None and replica.times.covers(wanted):
                if (node['id'], row.path, replica.times) not in self._distrusted:
                    return self._object(node, row, replica, follow_links)
                replica = self._useless(replica)
            if buries(replica.tombstone, wanted):
                raise SourceGone(f'{row.path} was deleted at {replica.tombstone!r}')
            stale = stale or replica.times is not None
            problems.append(f'{node["device"]}: {replica.problem or "its version is older than the row"}')
        detail = '; '.join(problems) or self.off_reason or 'no replica on this node'
        raise (SourceStale if stale else SourceUnavailable)(f'{row.path}: {detail}')

    def copy(self, wanted: Wanted, first: int, length: int | None, *, avoid: Collection[Hashable] = ()) -> DiskCopy:
        """A replica that is the wanted object, not one of the devices (ids) to ``avoid``.

        SourceUnavailable means: ask the other replicas; ThroughProxy: the proxy
        application.
        """
        place = self._placement.of(wanted.row)
        problems = []
        for node in self.local_primaries(place):
            if node['id'] in avoid:
                problems.append(f'{node["device"]}: its body was found to be corrupt')
                continue
            # A small body comes with the same hop.
            replica = self._replica(node, place, wanted.row, wanted.row.times, SMALL_BYTES if first == 0 else 0)
            problem = replica.problem
            if replica.times is not None:
                copy = DiskCopy(self._runner, node, replica, _headers(replica), first, length)
                try:
                    refuse_indirect(copy.headers, wanted.row.path)
                    problem = wanted.differs(copy.headers)
                    if not problem and not is_expired(copy.headers, self._clock.now()):
                        return copy
                except BaseException:
                    copy.close()
                    raise
                copy.close()
            problems.append(f'{node["device"]}: {problem or "expired"}')
        detail = '; '.join(problems) or self.off_reason or 'no replica on this node'
        raise SourceUnavailable(f'{wanted.row.path}: {detail}')

    def expect(self, rows: Iterable[ObjectRow]) -> None:
        """These rows will be opened soon, in this order: small ones are read in groups then."""
        for row in rows:
            if row.deleted or row.row.size > AHEAD_BYTES:
                continue
            place = self._placement.of(row)
            if place.replicated:
                for node in self.local_primaries(place)[:1]:
                    device = node['device']
                    self._ahead.expect((device, row.path, row.row.created_at),
                                       _request(device, place, row, row.times, AHEAD_BYTES))

    def newest(self, row: ObjectRow) -> dict[int, RowTimes | None]:
        """Times of the live version on each local primary that could be asked, by device id; None: no live one."""
        place = self._placement.of(row)
        if not place.replicated:
            return {}
        found = {}
        wanted = row.times
        for node in self.local_primaries(place):
            replica = self._replica(node, place, row, wanted, -1)
            if replica.times is not None or replica.absent:
                found[node['id']] = replica.times
        return found

    def local_primaries(self, place: Place) -> list[Node]:
        """Primaries of this node; none while local reads are off."""
        if self.off_reason:
            return []
        return [node for node in place.primaries if self._placement.is_local(node)]

    def close(self) -> None:
        self._runner.close()

    def _replica(self, node: Node, place: Place, row: ObjectRow, wanted: RowTimes, small_bytes: int) -> Replica:
        device = node['device']
        now = self._clock.monotonic()
        if self._resting and self._resting.get(device, now) > now:
            return Replica(problem='did not answer a moment ago')
        key = (device, row.path, row.row.created_at)
        replica = self._ahead.take(key) if small_bytes >= 0 else None
        if replica is None:
            replica = self._read(key, _request(device, place, row, wanted, small_bytes))
        for message in self._messages.drain():
            self._logger.info('device %s: %s', device, message)
        if replica.hopeless and not self.off_reason:
            self.off_reason = f'{replica.problem} (local reads need the user that the object server runs as)'
            self._logger.error('reading from the local disks is switched off: %s', self.off_reason)
        return replica

    def _read(self, key: Key, request: ReplicaRequest) -> Replica:
        """This replica, and in the same hop those expected next on its device."""
        device = request.device
        group = self._ahead.group(key)
        others: list[Replica] = []
        try:
            replica, *others = self._runner.run(device, read_replicas, self._manager,
                                                [request, *(member for _, member in group.members)])
            return replica
        except DeviceTimeout as error:
            self._resting[device] = self._clock.monotonic() + DEVICE_REST_SECONDS
            self._logger.warning('device %s does not answer (%s); reading from other replicas for %d s',
                                 device, error, DEVICE_REST_SECONDS)
            return Replica(problem='did not answer in time')
        finally:
            self._ahead.land(group, others)

    def _distrust(self, version: tuple[int, str, RowTimes]) -> None:
        """Take this replica's version from elsewhere from now on; the oldest entries make room."""
        self._distrusted[version] = None
        while len(self._distrusted) > DISTRUSTED_VERSIONS:
            del self._distrusted[next(iter(self._distrusted))]

    @staticmethod
    def _useless(replica: Replica) -> Replica:
        if replica.file is not None:
            replica.file.close()
        return Replica(problem='its body was found to be corrupt')

    def _object(self, node: Node, row: ObjectRow, replica: Replica, follow_links: bool) -> SourceObject:
        assert replica.times is not None
        body: Body
        try:
            headers = _headers(replica)
            refuse_indirect(headers, row.path, follow_links=follow_links)
            if is_expired(headers, self._clock.now()):
                raise SourceGone(f'{row.path} expired')
            meta = meta_of(row.name, headers, replica.times)
            link = link_of(headers, row.path)
        except BaseException:
            if replica.file is not None:
                replica.file.close()
            raise
        if replica.file is None:
            body = BytesBody(replica.data or b'')
        else:
            body = DiskBody(self._runner, node['device'], replica.file, meta.size, meta.etag,
                            partial(self._distrust, (node['id'], row.path, replica.times)))
        return SourceObject(meta, replica.times, body, 'disk', link)


def _headers(replica: Replica) -> dict[str, str]:
    # The object server stores what WSGI gave it: Latin-1 strings of UTF-8 bytes.
    return lower_headers((text_of_header(k), text_of_header(v)) for k, v in replica.metadata.items())


def _request(device: str, place: Place, row: ObjectRow, wanted: RowTimes, small_bytes: int) -> ReplicaRequest:
    return ReplicaRequest(device, place.partition, (row.account, row.container, row.name), place.policy, wanted,
                          small_bytes)
