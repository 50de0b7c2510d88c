"""Swift's own DiskFile with everything that changes a disk taken out.

Swift's class moves what looks corrupt into quarantine. That is the object
server's and its auditor's business; for us it only means "take the next
source" (semantics 4.1). Functions here run in native threads: they neither log
nor touch eventlet.
"""
from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from swift.common.exceptions import (
    DiskFileDeleted,
    DiskFileDeviceUnavailable,
    DiskFileError,
    DiskFileNotExist,
    DiskFileQuarantined,
    DiskFileStateChanged,
    DiskFileXattrNotSupported,
)
from swift.common.utils import Timestamp, drop_buffer_cache
from swift.obj.diskfile import DiskFile, DiskFileManager

from s3_sync.timestamps import RowTimes

KEEP_CACHE_BYTES = 5 * 1024 * 1024
"""As the object server's keep_cache_size: the page cache is dropped behind larger objects."""
STATE_CHANGES = 3
"""Tries when files of the object are replaced while it is being opened."""


class Unreadable(DiskFileError):  # type: ignore[misc]
    """The system refused to open a file; Swift's ``open`` swallows this and goes on with empty metadata."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno = error.errno


class MessageCollector:
    """Stands in for Swift's logger inside native threads; the hub logs what was collected."""

    def __init__(self) -> None:
        self._messages: deque[str] = deque(maxlen=100)

    def _keep(self, message: str, *args: object, **kwargs: object) -> None:
        self._messages.append(message % args if args else message)

    debug = info = warning = error = critical = exception = _keep

    def increment(self, *args: object, **kwargs: object) -> None:
        """Swift counts quarantines in statsd; nothing is quarantined here."""

    def drain(self) -> list[str]:
        """What was said since the last call. Cheap when nothing was."""
        taken = []
        while self._messages:
            taken.append(self._messages.popleft())
        return taken


class ReadOnlyDiskFile(DiskFile):  # type: ignore[misc]
    """Opens a replica without ever moving, writing or unlinking anything; hands out its file."""

    _fp: Any
    _opened: BinaryIO | None = None

    def _quarantine(self, data_file: str, msg: str) -> DiskFileQuarantined:
        return DiskFileQuarantined(msg)

    def _quarantine_dir(self, dir_path: str, msg: str) -> DiskFileQuarantined:
        return DiskFileQuarantined(msg)

    def _read_and_validate_metadata(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        if hasattr(source, 'fileno'):
            self._opened = source
        metadata: dict[str, str] = super()._read_and_validate_metadata(source, *args, **kwargs)
        return metadata

    def _construct_from_data_file(self, *args: Any, **kwargs: Any) -> BinaryIO:
        try:
            file: BinaryIO = super()._construct_from_data_file(*args, **kwargs)
            return file
        except BaseException as error:
            if self._opened is not None:
                self._opened.close()
            if isinstance(error, OSError):
                raise Unreadable(error) from error
            raise

    def take_file(self) -> BinaryIO:
        """The open data file; from now on the caller closes it."""
        file: BinaryIO = self._fp
        self._fp = None
        return file


class ReadOnlyManager(DiskFileManager):  # type: ignore[misc]
    """One for each ``devices`` folder; its renaming functions do nothing but say so."""

    diskfile_cls = ReadOnlyDiskFile

    def __init__(self, devices: str, messages: MessageCollector) -> None:
        super().__init__({'devices': devices, 'mount_check': 'false'}, messages)

    @staticmethod
    def quarantine_renamer(device_path: str, corrupted_file_path: str) -> str:
        raise DiskFileQuarantined(f'{corrupted_file_path} is corrupt')

    @staticmethod
    def quarantine_dir_renamer(device_path: str, from_dir: str) -> str:
        raise DiskFileQuarantined(f'{from_dir} is corrupt')


@dataclass(slots=True)
class Replica:
    """What one device holds. Exactly one of ``metadata`` and ``problem`` is set."""

    metadata: dict[str, str] = field(default_factory=dict)
    """As on disk: header names and values as WSGI strings."""
    times: RowTimes | None = None
    data: bytes | None = None
    """The body, MD5 checked, when it was asked for whole."""
    file: BinaryIO | None = None
    """Open for the caller to stream from and close, when the body was not read."""
    problem: str = ''
    """Why this replica is of no use; '' when it is."""
    tombstone: Timestamp | None = None
    """When it was deleted, if that is what the disk says."""
    absent: bool = False
    """The device was readable and holds no live file of this name."""
    hopeless: bool = False
    """No replica on any device of this node will be readable by this process."""


class ReplicaRequest(NamedTuple):
    """Which replica to open, and how much of it to read."""

    device: str
    partition: int
    path: tuple[str, str, str]
    """Account, container, object."""
    policy: Any
    wanted: RowTimes
    """The body of a version that does not cover these is of no interest."""
    small_bytes: int
    """Bodies up to this are read whole; negative: metadata only, no file is left open."""


def read_replicas(manager: ReadOnlyManager, requests: Sequence[ReplicaRequest]) -> list[Replica]:
    """One after the other, in one hop to a device's thread. Never raises."""
    return [read_replica(manager, request) for request in requests]


def read_replica(manager: ReadOnlyManager, request: ReplicaRequest) -> Replica:
    """Open one replica; read it whole when it covers what is wanted and is small. Never raises."""
    try:
        for _ in range(STATE_CHANGES - 1):
            try:
                return _read(manager, request)
            except DiskFileStateChanged:
                continue
        return _read(manager, request)
    except DiskFileDeleted as error:
        return Replica(problem='deleted', tombstone=error.timestamp, absent=True)
    except DiskFileNotExist:
        return Replica(problem='not there', absent=True)
    except DiskFileDeviceUnavailable:
        return Replica(problem='no such device folder')
    except DiskFileXattrNotSupported:
        return Replica(problem='its filesystem has no extended attributes', hopeless=True)
    except (DiskFileError, DiskFileQuarantined, DiskFileStateChanged, OSError) as error:
        return Replica(problem=str(error) or type(error).__name__, hopeless=_denied(error))
    except Exception as error:  # damaged metadata can make Swift's code fail in any way
        return Replica(problem=f'{type(error).__name__}: {error}')


def _denied(error: BaseException) -> bool:
    """Whether the system forbade it; Swift wraps a failed listdir without its errno."""
    return any(getattr(e, 'errno', None) in (errno.EACCES, errno.EPERM) for e in (error, error.__context__))


def _read(manager: ReadOnlyManager, request: ReplicaRequest) -> Replica:
    replica_file = manager.get_diskfile(request.device, request.partition, *request.path, request.policy,
                                        open_expired=True)
    replica_file.open()
    file = replica_file.take_file()
    keep = False
    try:
        metadata = replica_file.get_metadata()
        times = RowTimes(replica_file.data_timestamp, replica_file.content_type_timestamp, replica_file.timestamp)
        replica = Replica(metadata, times)
        if times.covers(request.wanted):
            size = replica_file.content_length
            if size <= request.small_bytes:
                replica.data = read_block(file, 0, size)
                found = hashlib.md5(replica.data, usedforsecurity=False).hexdigest()
                if len(replica.data) != size or found != metadata.get('ETag'):
                    return Replica(problem=f'its body has {len(replica.data)} bytes and MD5 {found}')
            elif request.small_bytes >= 0:
                replica.file = file
                keep = True
        return replica
    finally:
        if not keep:
            file.close()


def read_block(file: BinaryIO, offset: int, size: int) -> bytes:
    """Up to ``size`` bytes at ``offset``; fewer only at the end of the file."""
    block = os.pread(file.fileno(), size, offset)
    while 0 < len(block) < size:
        more = os.pread(file.fileno(), size - len(block), offset + len(block))
        if not more:
            break
        block += more
    return block


def read_and_hash(file: BinaryIO, offset: int, size: int, digest: Any, drop_cache: bool) -> bytes:
    """A block of a large body, added to its MD5 here, where the hub need not wait for it."""
    block = read_block(file, offset, size)
    digest.update(block)
    if drop_cache:
        drop_buffer_cache(file.fileno(), offset, len(block))
    return block
