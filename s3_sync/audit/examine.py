"""A second look at one name: the local object itself and a HEAD of the remote, and by decision of the engine.

What the merge of two listings suspects may be over by now, or was never so: a
listing is older than its last page, a database replica may be behind. So
nothing is reported that was not seen here, afresh, on both sides; and what has
changed since shortly before the audit began, or stands in the ledger, is
somebody else's work in progress.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from swift.common.utils import encode_timestamps

from container_crawler.exceptions import CrawlerError
from container_crawler.rows import Row
from s3_sync.audit.findings import Finding, Repair, Side, Verdict
from s3_sync.audit.glance import same
from s3_sync.audit.reading import ChangedWhileRead, Reader
from s3_sync.base_sync import BaseSync
from s3_sync.clock import Clock
from s3_sync.config import Mapping
from s3_sync.engine.archive import Version, large_meta
from s3_sync.engine.decide import Copy, Nothing, Rules, Update, content_relation, decide, decide_delete
from s3_sync.engine.outcomes import outcome_of_error
from s3_sync.engine.select import Selector
from s3_sync.errors import (
    BucketNotFound,
    Error,
    LedgerError,
    NotFound,
    SourceGone,
    SourceStale,
    SourceUnusable,
    Unproven,
)
from s3_sync.large_objects.etags import Relation
from s3_sync.ledger import Work
from s3_sync.local.source import Source, SourceObject
from s3_sync.local.versions import RESTORED_FROM_HEADER
from s3_sync.timestamps import is_ours, without_marker
from s3_sync.types import ListingEntry, ObjectMeta, ObjectRow

NO_TIME = '0000000000.00000'
"""Of a name that no row tells of: any version covers it."""
NOT_SENT_AGAIN = 'what the remote tells of it is right, so it is not sent again: delete the copy there, then repair'
LOOKS = 3
"""At an object that is overwritten while it is read."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Of one container. Green-thread safe. ``mapping`` has a concrete container."""

    mapping: Mapping
    source: Source
    provider: BaseSync
    selector: Selector
    known: Callable[[str], Work | None]
    """What the ledger has of an object."""
    exact: Callable[[Row], Row | None]
    """``LocalNames.exact``."""
    reader: Reader
    clock: Clock
    quiet_since: float
    """Unix seconds: what changed later is in flight."""
    policy_index: int
    only_archive: bool
    read_unknown: bool
    """Whether copies that nothing else settles are read."""

    def examine(self, row: Row | None, entry: ListingEntry | None, *, read: bool) -> Finding:
        """The verdict on a name that was not settled at a glance. ``read``: the content, too.

        Raises BucketNotFound: then no name can be judged.
        """
        name = row.name if row is not None else entry.name if entry is not None else ''
        before = self.known(name)
        try:
            finding = self._look(name, row, read)
        except (BucketNotFound, LedgerError):
            raise
        except SourceUnusable as error:
            finding = Finding('unknown', error.reason, str(error), row)
        except SourceStale as error:
            finding = Finding('unknown', error.reason, f'no version as new as its row: {error}', row)
        except (Error, CrawlerError) as error:
            outcome = outcome_of_error(error, self.clock.now())
            finding = Finding('unread', outcome.reason, outcome.detail, row)
        if not finding.is_difference:
            return finding
        return self._excused(finding, before or self.known(name))

    def _look(self, name: str, row: Row | None, read: bool) -> Finding:
        if row is None:
            return self._no_row(name, read)
        if row.deleted:
            return self._tombstone(row, read)
        exact = self.exact(row)
        if exact is None:
            return Finding('waiting', 'in-flight', 'the local object is gone', row)
        return self._live(exact, read)

    def _excused(self, finding: Finding, work: Work | None) -> Finding:
        """Differences that are known, or may be over in a moment."""
        if work is not None:
            verdict: Verdict = 'waiting' if work.kind == 'deferred' else 'failed'
            return finding._replace(verdict=verdict, reason=work.reason, detail=work.detail or finding.detail,
                                    repair=None)
        row = finding.row
        if row is not None and float(without_marker(self._where(row).times.newest)) >= self.quiet_since:
            return finding._replace(verdict='waiting', reason='in-flight', repair=None)
        return finding

    # -- live rows -------------------------------------------------------------------------

    def _live(self, row: Row, read: bool) -> Finding:
        for _ in range(LOOKS):
            try:
                return self._compare(row, read)
            except SourceGone as error:
                return self._gone(row, str(error))
            except ChangedWhileRead:
                continue
        return Finding('waiting', 'in-flight', 'overwritten while it was read', row)

    def _compare(self, row: Row, read: bool) -> Finding:
        where = self._where(row)
        opened = self.source.open(where, follow_links=self.mapping.symlinks == 'follow')
        try:
            if opened.link is not None:
                return self._link(row, opened)
            version = Version(where, opened, opened.meta, None)
            if opened.meta.large_object or opened.meta.size > self.provider.capabilities.max_put_bytes:
                large = self.source.large(where, opened)
                version = replace(version, meta=large_meta(opened.meta, large), large=large)
            row = row._replace(created_at=encode_timestamps(*opened.times))
            unfit = self.selector.after_read(self._where(row), version.meta, self.clock.now())
            if unfit is not None:
                return Finding('waiting' if unfit.kind == 'deferred' else 'excluded', unfit.reason, row=row)
            remote = self._head(row.name)
            relation = 'unknown' if remote is None else self._relation(version, remote)
            finding = self._judged(version, row, remote, relation)
            if remote is not None and (self.read_unknown if finding.verdict == 'unknown' else
                                       read and finding.verdict in ('same', 'waiting', 'incomplete')):
                finding = self._read(finding, version, remote, relation)
            return finding
        finally:
            opened.body.close()

    def _link(self, row: Row, opened: SourceObject) -> Finding:
        """A symbolic link that is not followed: what it leads to is compared by its own name."""
        unfit = self.selector.after_read(self._where(row), opened.meta, self.clock.now())
        if unfit is not None or self.mapping.symlinks == 'skip':
            return Finding('excluded', unfit.reason if unfit is not None else 'symlink', row=row)
        if self._head(row.name) is None:
            return Finding('missing', 'link', row=row, repair='copy')
        return same(self.mapping, row, 'link')

    def _judged(self, version: Version, row: Row, remote: ObjectMeta | None, relation: Relation) -> Finding:
        local = version.meta
        action = decide(local, remote, self._rules(version, relation))
        finding = partial(Finding, row=row, local=_side(local), remote=_side(remote))
        if remote is None:
            if isinstance(action, Nothing):
                return finding('kept', action.reason, 'deleted at the remote after it was restored from there')
            return finding('missing', 'not-there', repair='copy')
        if isinstance(action, Nothing) and action.reason == 'remote-newer' and relation != 'same':
            return finding('differs', 'remote-newer', 'the remote holds a newer version than this cluster')
        if isinstance(action, Update):
            return finding('differs', 'metadata', _what_differs(local, remote), repair='copy')
        if isinstance(action, Copy) or relation == 'different':
            return self._content(finding, local, remote, relation)
        if version.large is not None:
            return self._whole(finding, version, relation)
        reason = 'etag' if relation == 'same' else 'times'
        return same(self.mapping, row, reason)._replace(local=_side(local), remote=_side(remote))

    def _content(self, finding: partial[Finding], local: ObjectMeta, remote: ObjectMeta,
                 relation: Relation) -> Finding:
        if remote.data_time is not None and local.data_time is not None and (
                without_marker(remote.data_time) < without_marker(local.data_time)):
            return finding('differs', 'older', 'the remote holds an older version', repair='copy')
        if relation == 'unknown':
            return finding('unknown', 'etag', f'the ETag {remote.etag!r} proves nothing, and it carries no times of '
                           'ours', repair='copy')
        if local.size != remote.size:
            return finding('differs', 'size', f'{local.size} bytes here, {remote.size} at the remote', repair='copy')
        return finding('differs', 'content', f'ETag {remote.etag!r}', repair='copy')

    def _whole(self, finding: partial[Finding], version: Version, relation: Relation) -> Finding:
        """A large object's copy that looks right: what stands beside it must be there, too."""
        try:
            self.provider.prove(version.meta, large=version.large)
        except Unproven as error:
            if error.reason == 'manifest':
                return finding('incomplete', error.reason, str(error), repair='copy')
            if relation == 'same':
                return finding('unknown', error.reason, f'{error}; {NOT_SENT_AGAIN}')
            return finding('unknown', error.reason, str(error), repair='copy')
        return same(self.mapping, finding.keywords['row'], 'etag')._replace(**{
            side: finding.keywords[side] for side in ('local', 'remote')})

    def _read(self, finding: Finding, version: Version, remote: ObjectMeta, relation: Relation) -> Finding:
        count, equal = self.reader.compare(version, remote)
        if equal:
            if finding.verdict == 'unknown':
                finding = same(self.mapping, version.row.row, 'read')._replace(local=finding.local,
                                                                               remote=finding.remote)
            return finding._replace(reason='read' if finding.verdict == 'same' else finding.reason, read=count)
        # What its ETag and times call right, the daemon would not send again.
        repair: Repair | None = finding.repair if relation != 'same' else None
        detail = 'read at the remote: other bytes than here'
        if repair is None:
            detail += f'; {NOT_SENT_AGAIN}'
        return finding._replace(verdict='differs', reason='content', detail=detail, repair=repair, read=count)

    def _relation(self, version: Version, remote: ObjectMeta) -> Relation:
        if version.large is not None:
            return self.provider.relation(version.large, remote)
        if remote.etag_is_md5 and not remote.large_object:
            # Metadata may have outlived the bytes it came with: the store's own word counts first.
            remote = replace(remote, source_etag='')
        return content_relation(version.meta, remote)

    def _rules(self, version: Version, relation: Relation) -> Rules:
        restored_from = version.opened.meta.sysmeta.get(RESTORED_FROM_HEADER)
        return Rules(create_only=False, conditional_overwrite=False, optimistic_bytes=0,
                     comparable=self.provider.comparable, relation=lambda remote: relation,
                     restored=restored_from == self.mapping.generation and is_ours(version.opened.times.data))

    def _gone(self, row: Row, detail: str) -> Finding:
        """Deleted or expired since its row; its tombstone is on the way, here or to the remote."""
        if self._head(row.name) is None:
            return Finding('same', 'gone', detail, row)
        return Finding('waiting', 'gone-here', detail, row)

    # -- everything else -------------------------------------------------------------------

    def _tombstone(self, row: Row, read: bool) -> Finding:
        """A user's delete whose copy is still there, or one of ours whose copy is not."""
        where, remote = self._where(row), self._head(row.name)
        own = is_ours(where.times.data)
        if remote is None and not own:
            return Finding('same', 'gone', row=row)
        if remote is not None and own:
            return self._archived(Finding('archived', 'own-delete', row=row, remote=_side(remote)), remote, read)
        if self.source.superseded(where):
            return Finding('waiting', 'in-flight', 'written again', row)
        if own:
            detail = 'deleted here after its copy was proven; the copy is gone'
            may_expire = self.mapping.remote_delete_after or self.mapping.propagate_expiration
            if may_expire or not self.only_archive:
                return Finding('unknown', 'archived-copy-gone', f'{detail} (it may have expired, or been another '
                               "mapping's)", row)
            return Finding('missing', 'archived-copy-gone', detail, row)
        action = decide_delete(where, remote, propagate=self.mapping.propagate_delete)
        if isinstance(action, Nothing):
            return Finding('extra', action.reason, 'deleted here; the remote holds a newer version', row,
                           remote=_side(remote))
        return Finding('extra', 'deleted-here', row=row, remote=_side(remote), repair='delete')

    def _no_row(self, name: str, read: bool) -> Finding:
        remote = self._head(name)
        if remote is None:
            return Finding('same', 'gone')
        if not self.mapping.retain_local or not self.only_archive:
            return self._archived(Finding('archived', 'no-row-left', remote=_side(remote)), remote, read)
        nowhere = Row(0, name, NO_TIME, 0, '', '', True, self.policy_index)
        if self.source.superseded(self._where(nowhere)):
            # The database here is behind: the object counts.
            return self._live(nowhere._replace(deleted=False), read)
        if remote.last_modified is not None and remote.last_modified >= self.quiet_since:
            return Finding('waiting', 'in-flight', 'just written at the remote', remote=_side(remote))
        if remote.data_time is None:
            return Finding('extra', 'foreign', 'not a copy that this software made', remote=_side(remote))
        return Finding('extra', 'no-local-object', 'a copy whose local object is gone, and no tombstone tells why',
                       remote=_side(remote))

    def _archived(self, finding: Finding, remote: ObjectMeta, read: bool) -> Finding:
        """The only copy there is: read, it can only be compared with what it says of itself."""
        known = remote.content_md5 if not remote.large_object else ''
        if not (read and known):
            return finding
        count, equal = self.reader.is_what_it_says(remote, known)
        if equal:
            return finding._replace(reason='read', read=count)
        return finding._replace(verdict='differs', reason='archived-content', read=count,
                                detail=f'read at the remote: not the bytes of MD5 {known}')

    # -- inside ----------------------------------------------------------------------------

    def _where(self, row: Row) -> ObjectRow:
        return ObjectRow(self.mapping.account, self.mapping.container, row)

    def _head(self, name: str) -> ObjectMeta | None:
        try:
            return self.provider.head_object(name)
        except BucketNotFound:
            raise
        except NotFound:
            return None


def _side(meta: ObjectMeta | None) -> Side | None:
    if meta is None:
        return None
    time = float(meta.data_time) if meta.data_time is not None else meta.last_modified
    return Side(meta.size, meta.etag, time)


def _what_differs(local: ObjectMeta, remote: ObjectMeta) -> str:
    """Which headers a person would find different; values may be secrets of users."""
    names = [what for what, one, other in (
        ('Content-Type', local.content_type, remote.content_type), ('X-Delete-At', local.delete_at, remote.delete_at),
    ) if one != other]
    for here, there, prefix in ((local.headers, remote.headers, ''),
                                (local.user_metadata, remote.user_metadata, 'X-Object-Meta-')):
        names += [f'{prefix}{key.title()}' for key in sorted(here.keys() | there.keys())
                  if here.get(key) != there.get(key)]
    return ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')


