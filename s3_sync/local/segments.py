"""Bodies of objects that manifests name: the cheapest replica that is the right one, checked.

An object read whole is checked while it is read. A range alone cannot be: so
the first range of an object makes us read one replica of it whole, once; later
ranges come from replicas that are known to be right. A thousand ranges of one
object cost it twice, not a thousand times.
"""
from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Generator, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from s3_sync.concurrency import Semaphore
from s3_sync.errors import SegmentChanged, SourceUnavailable
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.proxy import ProxySource
from s3_sync.local.versions import SMALL_BYTES, ThroughProxy
from s3_sync.local.wanted import Copy, Wanted
from s3_sync.streams import CHUNK_BYTES, Body, BytesBody
from s3_sync.types import ObjectMeta

REMEMBERED_REPLICAS = 10_000
"""Replicas known to be right, and as many known to be wrong; the oldest are read again."""
TRIES = 4
"""Replicas (or connections to them) that one body may use up without an error to its reader."""


class SegmentReader:
    """Reads wanted objects from disk, object servers or the proxy. Green-thread safe, kept by the source."""

    def __init__(self, placement: Placement, *, disk: DiskSource | None, direct: DirectSource,
                 proxy: ProxySource) -> None:
        self._placement = placement
        self._disk = disk
        self._direct = direct
        self._proxy = proxy
        self._right = _Memory()
        self._wrong = _Memory()
        self._busy: dict[Hashable, Semaphore] = {}

    def without_disk(self) -> SegmentReader:
        return SegmentReader(self._placement, disk=None, direct=self._direct, proxy=self._proxy)

    def checked(self, wanted: Wanted, first: int, length: int) -> Body:
        """A run of bytes of an object whose MD5 is right.

        Small objects are read now, whole. SegmentChanged, SourceUnavailable,
        also while the body is read; before the last chunk at the latest.
        """
        if 0 <= wanted.size <= SMALL_BYTES:
            return BytesBody(self.read(wanted)[0][first:first + length])
        wanted = self.pinned(wanted)
        if (first, length) == (0, wanted.size):
            return SegmentBody(self, wanted, 0, length, check=True)
        self.verify(wanted)
        return SegmentBody(self, wanted, first, length, trusted=True)

    def unchecked(self, wanted: Wanted, first: int, length: int) -> Body:
        """The same with nothing told about its MD5."""
        return SegmentBody(self, self.pinned(wanted), first, length)

    def read(self, wanted: Wanted, limit: int = SMALL_BYTES) -> tuple[bytes, dict[str, str]]:
        """A small object's bytes, checked, and its headers. SegmentChanged for more than ``limit`` bytes."""
        wrong: set[Hashable] = set()
        problem = ''
        for _ in range(TRIES):
            copy = self.copy(wanted, 0, None, wrong)
            digest = hashlib.md5(usedforsecurity=False)
            data = bytearray()
            try:
                for chunk in copy.chunks(digest):
                    data += chunk
                    if len(data) > limit:
                        raise SegmentChanged(f'{wanted.row.path} has more than {limit} bytes')
            except SourceUnavailable as error:
                problem = str(error)
                wrong.add(copy.label)
                continue
            finally:
                copy.close()
            if digest.hexdigest() == copy.etag:
                return bytes(data), copy.headers
            problem = self.distrust(wanted, copy, digest.hexdigest())
            wrong.add(copy.label)
        raise SourceUnavailable(problem)

    def meta(self, wanted: Wanted) -> ObjectMeta:
        """Metadata and times of an object. SegmentChanged, SourceUnavailable."""
        return self._proxy.meta(wanted)

    def pinned(self, wanted: Wanted) -> Wanted:
        """The same with the ETag of the newest version, where it was not known."""
        if wanted.etag:
            return wanted
        copy = self.copy(wanted, 0, None, ())
        copy.close()
        return replace(wanted, etag=copy.etag)

    def verify(self, wanted: Wanted, label: Hashable = None) -> None:
        """Have a replica of the object (this one) read whole, once, and found right. One reads, others wait for it."""
        if self._known_right(wanted, label):
            return
        with self._alone(_identity(wanted)):
            for _ in range(TRIES):
                if self._known_right(wanted, label):
                    return
                copy = self.copy(wanted, 0, None, ())
                try:
                    if self._right.has(wanted, copy.label) or self._whole_is_right(wanted, copy):
                        return
                finally:
                    copy.close()
        raise SourceUnavailable(f'{wanted.row.path}: no replica with the right MD5 was found')

    def _known_right(self, wanted: Wanted, label: Hashable) -> bool:
        known = self._right.labels(wanted)
        return label in known if label is not None else bool(known)

    def copy(self, wanted: Wanted, first: int, length: int | None, avoid: Collection[Hashable]) -> Copy:
        """The cheapest copy, open for these bytes (None: all). What is in ``avoid`` or known to be wrong comes last."""
        avoid = {*avoid, *self._wrong.labels(wanted)}
        if not wanted.etag or not self._placement.of(wanted.row).replicated:
            return self._from_proxy(wanted, first, length)
        last = set(avoid)
        try:
            if self._disk is not None:
                try:
                    return self._disk.copy(wanted, first, length, avoid=avoid)
                except SourceUnavailable:
                    last |= {node['id'] for node in self._disk.local_primaries(self._placement.of(wanted.row))}
            return self._direct.copy(wanted, first, length, last=last)
        except ThroughProxy:
            return self._from_proxy(wanted, first, length)

    def trusted(self, wanted: Wanted, first: int, length: int, avoid: set[Hashable]) -> Copy:
        """The same, of a replica that is known to be right."""
        for _ in range(TRIES):
            copy = self.copy(wanted, first, length, avoid)
            if self._right.has(wanted, copy.label):
                return copy
            copy.close()  # the one that was verified serves no more
            self.verify(wanted, copy.label)
        raise SourceUnavailable(f'{wanted.row.path}: its replicas keep changing')

    def distrust(self, wanted: Wanted, copy: Copy, found: str) -> str:
        """Take this object from elsewhere from now on, until the auditor has dealt with the replica; what to tell."""
        self._wrong.add(wanted, copy.label)
        return f'{wanted.row.path}: its body from {copy.label} has MD5 {found}, expected {copy.etag}'

    def _from_proxy(self, wanted: Wanted, first: int, length: int | None) -> Copy:
        try:
            return self._proxy.copy(wanted, first, length)
        except SegmentChanged as error:
            silent = self._direct.silent(wanted.row)
            if silent:
                raise SourceUnavailable(f'{error}; {silent}') from error
            raise

    def _whole_is_right(self, wanted: Wanted, copy: Copy) -> bool:
        digest = hashlib.md5(usedforsecurity=False)
        try:
            for _ in copy.chunks(digest):
                pass
        except SourceUnavailable:
            self._wrong.add(wanted, copy.label)
            return False
        if digest.hexdigest() != copy.etag:
            self.distrust(wanted, copy, digest.hexdigest())
            return False
        self._right.add(wanted, copy.label)
        return True

    @contextmanager
    def _alone(self, key: Hashable) -> Iterator[None]:
        turn = self._busy.setdefault(key, Semaphore())
        try:
            with turn:
                yield
        finally:
            if not turn.locked():
                self._busy.pop(key, None)


class SegmentBody:
    """A run of bytes of one object, opened now, and again wherever the connection was lost.

    ``check``: it is the whole object, and the last chunk waits for the MD5.
    ``trusted``: only replicas that were found right before serve.
    """

    def __init__(self, reader: SegmentReader, wanted: Wanted, first: int, length: int, *, check: bool = False,
                 trusted: bool = False) -> None:
        self.size = length
        self._reader = reader
        self._wanted = wanted
        self._first = first
        self._check = check
        self._trusted = trusted
        self._opened: Copy | None = self._open(0, set())
        self._running: Generator[bytes, None, None] | None = None

    def __iter__(self) -> Iterator[bytes]:
        running, self._running = self._running, None
        if running is not None:
            running.close()
        self._running = self._chunks()
        return self._running

    def rewind(self) -> None:
        """Every iteration starts at the first byte."""

    def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _open(self, at: int, avoid: set[Hashable]) -> Copy:
        if self._trusted:
            return self._reader.trusted(self._wanted, self._first + at, self.size - at, avoid)
        whole = self._check and at == 0
        return self._reader.copy(self._wanted, self._first + at, None if whole else self.size - at, avoid)

    def _chunks(self) -> Generator[bytes, None, None]:
        digest = hashlib.md5(usedforsecurity=False) if self._check else None
        failed: set[Hashable] = set()
        at = tries = 0
        copy, self._opened = self._opened, None
        while at < self.size:
            copy = copy or self._open(at, failed)
            begun_at = at
            try:
                for chunk in copy.chunks(digest):
                    at += len(chunk)
                    if at > self.size:
                        raise SourceUnavailable(f'{self._wanted.row.path}: more bytes than were asked for')
                    if at == self.size and digest is not None and digest.hexdigest() != copy.etag:
                        raise SourceUnavailable(self._reader.distrust(self._wanted, copy, digest.hexdigest()))
                    yield from _cut(chunk)
                if at < self.size:
                    raise SourceUnavailable(f'{self._wanted.row.path}: the body ended after {at} of {self.size} bytes')
            except SourceUnavailable:
                tries = tries + 1 if at == begun_at else 1
                if tries >= TRIES or at >= self.size:
                    raise
                failed.add(copy.label)
            finally:
                copy.close()
            copy = None


class _Memory:
    """Which replicas of which contents something is known of."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Hashable, Hashable], None] = OrderedDict()
        self._labels: dict[Hashable, set[Hashable]] = {}

    def add(self, wanted: Wanted, label: Hashable) -> None:
        identity = _identity(wanted)
        self._known[identity, label] = None
        self._known.move_to_end((identity, label))
        self._labels.setdefault(identity, set()).add(label)
        while len(self._known) > REMEMBERED_REPLICAS:
            (old, old_label), _ = self._known.popitem(last=False)
            self._labels[old].discard(old_label)
            if not self._labels[old]:
                del self._labels[old]

    def has(self, wanted: Wanted, label: Hashable) -> bool:
        return label in self._labels.get(_identity(wanted), ())

    def labels(self, wanted: Wanted) -> set[Hashable]:
        return self._labels.get(_identity(wanted), set())


def _identity(wanted: Wanted) -> Hashable:
    return wanted.row.path, wanted.row.row.policy_index, wanted.etag


def _cut(chunk: bytes) -> Iterator[bytes]:
    """Chunks of the size that bodies promise; erasure coding gives a MiB at once."""
    return (chunk[at:at + CHUNK_BYTES] for at in range(0, len(chunk), CHUNK_BYTES))
