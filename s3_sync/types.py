"""Frozen values that cross module borders.

"Local" and "remote" are always said from Swift's side.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from swift.common.utils import Timestamp

from container_crawler.rows import Row
from s3_sync.timestamps import RowTimes, row_times

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def _no_headers() -> Mapping[str, str]:
    return NO_HEADERS


CONTENT_HEADERS = ('content-encoding', 'content-disposition', 'content-language', 'cache-control')
"""Headers beside Content-Type that describe the body and travel with every copy (DESIGN 6)."""

LargeObject = Literal['slo', 'dlo', 'multipart']


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """A change of one object: the crawler's row plus where it happened."""

    account: str
    container: str
    row: Row

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def deleted(self) -> bool:
        return self.row.deleted

    @property
    def times(self) -> RowTimes:
        return row_times(self.row.created_at)

    @property
    def path(self) -> str:
        return f'{self.account}/{self.container}/{self.row.name}'


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What is known of one object, on either side. Bodies travel separately."""

    name: str
    size: int
    etag: str = ''
    """Without quotes; '' when unknown (encrypted rows). Not necessarily an MD5: see ``etag_is_md5``."""
    content_type: str = 'application/octet-stream'
    headers: Mapping[str, str] = field(default_factory=_no_headers)
    """Those of CONTENT_HEADERS that are set; lower-case names."""
    user_metadata: Mapping[str, str] = field(default_factory=_no_headers)
    """User metadata without prefix; names lower-case, values any Unicode; none of our own keys."""
    data_time: Timestamp | None = None
    """When the source's data was written (``1space-timestamp`` of a copy); None: not a copy of ours."""
    meta_time: Timestamp | None = None
    """When its metadata was last set; None: same as ``data_time``."""
    ctype_time: Timestamp | None = None
    """When its content type was last set (local objects only); None: same as ``data_time``."""
    delete_at: int | None = None
    """Unix seconds after which the object is to vanish."""
    last_modified: float | None = None
    """Unix seconds as the side itself tells it: for a store, the upload time (semantics 1.4)."""
    etag_is_md5: bool = True
    source_etag: str = ''
    """MD5 of the source where the store's ETag is not it (``1space-etag``, semantics 1.6)."""
    large_object: LargeObject | None = None
    storage_class: str = ''
    policy_index: int | None = None
    sysmeta: Mapping[str, str] = field(default_factory=_no_headers)
    """All other response headers, lower-case names (selection criteria may name any of them)."""

    @property
    def content_md5(self) -> str:
        """Hex MD5 of the body when it is known, else ''."""
        if self.source_etag:
            return self.source_etag
        return self.etag if self.etag_is_md5 and not self.large_object else ''


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """One name of a listing page. ``etag`` and ``last_modified`` as the side tells them."""

    name: str
    size: int = 0
    etag: str = ''
    last_modified: float = 0.0
    content_type: str = 'application/octet-stream'
    subdir: bool = False
    storage_class: str = ''


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page. ``next_marker`` None means the listing is complete, whatever the page's length.

    A page may be short or empty and still have a ``next_marker``.
    """

    entries: tuple[ListingEntry, ...] = ()
    next_marker: str | None = None
    clock_offset: float = 0.0
    """Seconds that the remote's clock was ahead of ours when it answered, as far as it told."""


@dataclass(frozen=True, slots=True)
class BucketEntry:
    name: str
    count: int = 0
    bytes: int = 0
    last_modified: float = 0.0


@dataclass(frozen=True, slots=True)
class BucketPage:
    entries: tuple[BucketEntry, ...] = ()
    next_marker: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds or the request fails with PreconditionFailed. Values are ETags without quotes, or ``*``."""

    if_match: str | None = None
    if_none_match: str | None = None


ABSENT = Condition(if_none_match='*')
"""Only a name that does not exist yet."""


@dataclass(frozen=True, slots=True)
class PutResult:
    """What the remote answered to a write that it accepted."""

    etag: str
    """Without quotes."""
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Removal:
    """A local object whose archived copy is proven, and which goes once nothing needs it here (semantics 2.3).

    ``row`` of an object is its container's row; of a large one with segments that
    wait beside it, with its content (``Layout.etag``) as etag. Of a segment, which has no row
    with this mapping, only name, size and etag count (row_id 0, created_at '').
    """

    container: str
    row: Row
    due: float
    """Unix seconds: not before."""
    sweep: bool
    """Only when a sweep of the whole account found no manifest that refers to it."""
    owner: str = ''
    """Of a segment: ``container/object`` of the archived manifest that named it; '' for an object."""
    owner_etag: str = ''
    """Of a segment: the content (``Layout.etag``) of that manifest. The remote must still hold it."""


@dataclass(frozen=True, slots=True)
class ShuntRequest:
    """A client's request on its way to the remote: only what is listed goes out (DESIGN 4.9)."""

    method: str
    key: str
    """Object name; '' for the container itself."""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
