"""Deleting a local object whose archived copy is proven, so that it neither takes anything newer nor comes back.

Every delete carries the copied version's newest time with our marker
(semantics 2.1), so a newer PUT outlives it. A newer POST would not: Swift's
object servers compare a DELETE with the data alone. So the replicas are looked
at first, and nothing is deleted where any of them shows something newer.

A recent object then goes like any other: a quorum, tombstones, Swift's own
replication. Of an object older than ``reclaim_age`` no tombstone stays, and
whoever missed the delete would bring it back as a ghost (semantics 2.2). Those
go only while every replica of file and row answers, and all of them are looked
at again afterwards.

How times are compared. With a version of data time D and newest time N, a file
is *newer* when its data time is after D or its metadata time after N, *exact*
when both are equal, otherwise *older*. Rows show their newest time only, and
that without an offset: after N is newer, N is exact, before N is older. What is
not newer is the copied version or behind it, a ghost or a stale replica, and
goes with it.
"""
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from swift.common.utils import Timestamp

from container_crawler.rows import Row
from s3_sync.clock import Clock, SystemClock
from s3_sync.concurrency import Timeout
from s3_sync.errors import RemovalDeferred, SourceEncrypted, SourceUnavailable
from s3_sync.local.placement import Node
from s3_sync.local.proxy_client import ProxyAnswer, ProxyClient
from s3_sync.local.replicas import Database, File, LiveRow, Replicas, Unanswered
from s3_sync.local.versions import restored_at
from s3_sync.timestamps import RowTimes, marked, parse_timestamp
from s3_sync.types import ObjectRow
from s3_sync.wire.swift_headers import is_encrypted

PROXY_SECONDS = 60.0
"""The proxy application has timeouts of its own; this is for the case that they fail."""
DAY_SECONDS = 86400.0
RESTORED_REST_SECONDS = 3600.0
"""A restored segment stays at least this long (semantics 3.2)."""
EC_PLAIN = ('x-object-sysmeta-ec-etag', 'x-object-sysmeta-ec-content-length')
SLO_PLAIN = ('x-object-sysmeta-slo-etag', 'x-object-sysmeta-slo-size')

Removed = Literal['removed', 'superseded', 'gone']
"""``removed``: it is deleted. ``superseded``: something newer has its name now, nothing of that was touched.
``gone``: there was nothing left to delete."""
Standing = Literal['newer', 'exact', 'older', 'none']
Verdict = Literal['superseded', 'gone', 'remove', 'wait']


def file_standing(file: File, version: RowTimes) -> Standing:
    """A file beside the copied version."""
    if not file.live:
        return 'none'
    if file.data > version.data or file.metadata > version.newest:
        return 'newer'
    return 'exact' if (file.data, file.metadata) == (version.data, version.newest) else 'older'


def row_standing(row: LiveRow, version: RowTimes) -> Standing:
    """A live row beside the copied version."""
    if not row.last_modified:
        return 'none'
    newest = version.newest.isoformat
    if row.last_modified > newest:
        return 'newer'
    return 'exact' if row.last_modified == newest else 'older'


def judge(files: Sequence[Standing], rows: Sequence[Standing]) -> Verdict:
    """What is to become of an object that no tombstone will guard, after every primary has answered.

    A version is whole when all have it. Swift never leaves a file without any
    row, or a row without any file, or files on less than half of the primaries:
    that is a ghost of an earlier delete, and goes. In between a replica is only
    behind; Swift will mend it, and whoever it is mended from must not be
    emptied before.
    """
    if 'newer' in files or 'newer' in rows:
        return 'superseded'
    live_files, live_rows = len(files) - files.count('none'), len(rows) - rows.count('none')
    if not live_files and not live_rows:
        return 'gone'
    whole = files.count('exact') == len(files) and rows.count('exact') == len(rows)
    ghost = not live_rows or 2 * live_files < len(files)
    return 'remove' if whole or ghost else 'wait'


class LocalRemover:
    """Of one worker process. Green-thread safe.

    ``reclaim_age`` in seconds, at most the cluster's.
    """

    def __init__(self, replicas: Replicas, proxy: ProxyClient, *, reclaim_age: float,
                 clock: Clock | None = None, logger: logging.Logger | None = None) -> None:
        self._replicas = replicas
        self._proxy = proxy
        self._guarded_seconds = reclaim_age - DAY_SECONDS
        self._clock = clock or SystemClock()
        self._logger = logger or logging.getLogger(__name__)

    def close(self) -> None:
        self._replicas.close()

    def remove(self, row: ObjectRow, times: RowTimes) -> Removed:
        """Delete exactly the version with these times, or what is left of it.

        ``row`` gives name and storage policy; of a symbolic link also the
        times, because ``times`` may be those of its target. Raises
        RemovalDeferred with reason ``replica-away`` (nothing was deleted) or
        ``ghost`` (some replica may still show it: the same call again removes
        that as well), and SourceUnavailable.
        """
        now = self._clock.now()
        guarded = float(times.newest) >= now - self._guarded_seconds
        primaries = self._replicas.primaries(row)
        files = self._answering(row, primaries) if guarded else self._files(row, primaries)
        if row.row.created_at and times != row.times and any(file.is_link for file in files):
            return self.remove(row, row.times)
        stamp = marked(times, now)
        if guarded:
            return self._remove_guarded(row, times, stamp, files)
        return self._remove_for_good(row, times, stamp, files)

    def remove_segment(self, account: str, container: str, name: str, etag: str, size: int, *,
                       restore_days: float = 0.0, written_before: float = math.inf) -> Removed | Literal['changed']:
        """The same for the newest local version, if it has this content; ``changed`` when it has another.

        ``etag`` and ``size`` as manifests name them: MD5 and bytes of the plain
        content, of a sub-SLO its SLO ETag and logical size. A segment that was
        restored waits ``restore_days``, an hour at least: RemovalDeferred with
        reason ``restored`` and ``due``. One that was written again after
        ``written_before`` (Unix seconds), perhaps for a manifest that nobody
        has seen yet, waits too: reason ``written-again``. Also raises
        SourceUnavailable, SourceEncrypted.
        """
        policy_index = self._replicas.policy_index(account, container)
        if policy_index is None:
            return 'gone'
        row = ObjectRow(account, container, Row(0, name, '', size, '', etag, False, policy_index))
        primaries = self._replicas.primaries(row)
        files = self._answering(row, primaries)
        if 2 * len(files) <= len(primaries):
            raise RemovalDeferred(f'{row.path}: only {len(files)} of {len(primaries)} object servers answer')
        live = [file for file in files if file.live]
        if not live:
            return self._nothing_to_see(row, files, primaries)
        newest = max(live, key=lambda file: (file.data, file.metadata))
        if newest.is_link or (etag, size) not in self._contents(row, newest):
            return 'changed'
        times = RowTimes(newest.data, newest.data, newest.metadata)
        too_new = float(newest.data) - written_before
        if too_new >= 0:
            raise RemovalDeferred(f'{row.path} was written again', reason='written-again',
                                  due=self._clock.now() + too_new)
        restored = restored_at(newest.headers, times)
        if restored is not None:
            due = restored + max(RESTORED_REST_SECONDS, restore_days * DAY_SECONDS)
            if due > self._clock.now():
                raise RemovalDeferred(f'{row.path} was restored', reason='restored', due=due)
        return self.remove(row, times)

    # -- recent: tombstones guard it -----------------------------------------------------

    def _remove_guarded(self, row: ObjectRow, version: RowTimes, stamp: Timestamp, files: Sequence[File]) -> Removed:
        """``files``: of those that answer."""
        if not files:
            raise RemovalDeferred(f'{row.path}: no object server answers')
        standings = [file_standing(file, version) for file in files]
        if 'newer' in standings:
            return 'superseded'
        live = [file.node for file, standing in zip(files, standings, strict=True) if standing != 'none']
        if not live and any(file.tombstone is not None and file.tombstone >= version.data for file in files):
            return 'gone'
        status = self._delete(row, stamp)
        if status == 404:  # of a row without a file, or in a container that is gone: the proxy asks nobody then
            for node in live:
                self._replicas.delete_file(row, node, stamp)
            return 'removed' if live else 'gone'
        return 'superseded' if status == 409 else 'removed'

    # -- old: nothing will remember the delete -------------------------------------------

    def _remove_for_good(self, row: ObjectRow, version: RowTimes, stamp: Timestamp, files: Sequence[File]) -> Removed:
        """``files``: of all primaries."""
        handoffs = self._files(row, self._replicas.handoffs(row))
        rows = self._replicas.rows(row)
        file_standings = [file_standing(file, version) for file in files]
        row_standings = [row_standing(shown, version) for shown in rows.primaries]
        verdict = judge(file_standings, row_standings)
        stray_files = [file_standing(file, version) for file in handoffs]
        stray_rows = [row_standing(shown, version) for shown in rows.others]
        if 'newer' in stray_files or 'newer' in stray_rows:
            verdict = 'superseded'
        strays = len(stray_files) - stray_files.count('none') + len(stray_rows) - stray_rows.count('none')
        if verdict == 'superseded' or (verdict == 'gone' and not strays):
            return verdict
        if verdict == 'wait':
            raise RemovalDeferred(f'{row.path}: replication is behind (files {"/".join(file_standings)}, '
                                  f'rows {"/".join(row_standings)})')
        if strays:
            self._logger.info('%s: %d stray files and rows go with it', row.path, strays)
        # Handoffs first: their replicator would push what it holds to the primaries.
        nodes = [file.node for file, standing in zip(handoffs, stray_files, strict=True) if standing != 'none']
        for node in nodes:
            self._replicas.delete_file(row, node, stamp)
        if self._delete(row, stamp) == 409:
            return 'superseded'
        databases = [shown.database for shown in (*rows.primaries, *rows.others)]
        return self._settle(row, version, stamp, [*(file.node for file in files), *nodes], databases)

    def _settle(self, row: ObjectRow, version: RowTimes, stamp: Timestamp, nodes: Sequence[Node],
                databases: Sequence[Database]) -> Removed:
        """Look everywhere once more, and tell those directly that still show it."""
        left: list[str] = []
        for node in nodes:
            if self._settled(partial(self._file_standing, row, node, version),
                             partial(self._replicas.delete_file, row, node, stamp), left):
                return 'superseded'  # the rows are the newer version's
        for database in databases:
            if self._settled(partial(self._row_standing, row, database, version),
                             partial(self._replicas.delete_row, row, database, stamp), left):
                return 'superseded'
        if left:
            raise RemovalDeferred(f'{row.path}: {"; ".join(left)}', reason='ghost')
        return 'removed'

    @staticmethod
    def _settled(look: Callable[[], Standing], delete: Callable[[], None], left: list[str]) -> bool:
        """Whether something newer is there; what is there and should not be goes into ``left``."""
        try:
            standing = look()
            if standing in ('exact', 'older'):
                delete()
                standing = look()
            if standing in ('exact', 'older'):
                left.append('a replica still shows it')
            return standing == 'newer'
        except Unanswered as error:
            left.append(str(error))
            return False

    def _file_standing(self, row: ObjectRow, node: Node, version: RowTimes) -> Standing:
        return file_standing(self._replicas.file(row, node), version)

    def _row_standing(self, row: ObjectRow, database: Database, version: RowTimes) -> Standing:
        return row_standing(self._replicas.row(row, database), version)

    # -- asking --------------------------------------------------------------------------

    def _files(self, row: ObjectRow, nodes: Sequence[Node]) -> list[File]:
        """What all of these hold. Raises Unanswered."""
        return [self._replicas.file(row, node) for node in nodes]

    def _answering(self, row: ObjectRow, nodes: Sequence[Node]) -> list[File]:
        """What those hold that answer."""
        files = []
        for node in nodes:
            try:
                files.append(self._replicas.file(row, node))
            except Unanswered as error:
                self._logger.debug('%s: %s', row.path, error)
        return files

    @staticmethod
    def _nothing_to_see(row: ObjectRow, files: Sequence[File], primaries: Sequence[Node]) -> Removed:
        if len(files) < len(primaries) and not any(file.tombstone for file in files):
            raise RemovalDeferred(f'{row.path}: a replica that does not answer may hold it')
        return 'gone'

    def _contents(self, row: ObjectRow, file: File) -> set[tuple[str, int]]:
        """ETag and size of the whole content, every way that a manifest may name it."""
        headers = self._decrypted(row, file) if is_encrypted(dict(file.headers)) else file.headers
        plain = ('etag', 'content-length')
        if EC_PLAIN[0] in headers:  # what the file itself has are a fragment's
            plain = EC_PLAIN
        return {(headers[etag].strip('"'), int(headers[size])) for etag, size in (plain, SLO_PLAIN)
                if etag in headers and headers.get(size, '').isdigit()}

    def _decrypted(self, row: ObjectRow, file: File) -> Mapping[str, str]:
        """Headers of the same version as the proxy application puts them together."""
        answer = self._through_proxy('HEAD', row, {'X-Newest': 'true', 'X-Backend-Open-Expired': 'true'})
        if answer.status != 200 or parse_timestamp(answer.headers.get('x-backend-data-timestamp')) != file.data:
            raise RemovalDeferred(f'{row.path}: the proxy application shows another version ({answer.status})')
        if is_encrypted(answer.headers):
            raise SourceEncrypted(f'{row.path} is encrypted at rest and internal_client_path does not decrypt')
        return answer.headers

    def _delete(self, row: ObjectRow, stamp: Timestamp) -> int:
        """Delete as a client would, with a time of our choosing; 2xx, 404 or 409."""
        try:
            return self._through_proxy('DELETE', row, {'X-Timestamp': stamp.internal}).status
        except SourceUnavailable as error:
            raise RemovalDeferred(str(error), reason='ghost') from error

    def _through_proxy(self, method: str, row: ObjectRow, headers: dict[str, str]) -> ProxyAnswer:
        headers = {'X-Backend-Storage-Policy-Index': str(row.row.policy_index), **headers}
        with Timeout(PROXY_SECONDS):
            answer = self._proxy.request(method, (row.account, row.container, row.name), headers)
            answer.close()
        return answer
