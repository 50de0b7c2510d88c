"""Object headers of Swift's API (client and backend) to ObjectMeta and back."""
from __future__ import annotations

from collections.abc import Mapping

from s3_sync.timestamps import http_date_seconds, parse_timestamp
from s3_sync.types import CONTENT_HEADERS, LargeObject, ObjectMeta

USER_PREFIX = 'x-object-meta-'
CRYPTO_PREFIXES = ('x-object-sysmeta-crypto-', 'x-object-transient-sysmeta-crypto-')

DATA_TIME_KEY = '1space-timestamp'
META_TIME_KEY = '1space-meta-timestamp'
SOURCE_ETAG_KEY = '1space-etag'
DELETE_AT_KEY = '1space-delete-at'
SIDE_OBJECT_KEY = '1space-metadata'
"""On a copy whose user metadata is in a side object: the MD5 of that object's body."""
SLO_ETAG_KEY = 'swift-slo-etag'
"""On a copy whose segments are not the source's: the MD5 of the source's stored manifest."""
DLO_ETAG_KEY = 'swift-source-dlo-etag'
"""On a copy of a DLO: the MD5 of the concatenated ETags of the source's segments."""
COMBINED_ETAG_KEY = 'combined-etag'
"""On a segment made of several: the MD5 of their concatenated ETags."""
OWNER_KEY = '1space-owner'
"""On a segment at a Swift: whose manifest needs it, hashed; ``*`` once several do."""
OWN_KEYS = frozenset({DATA_TIME_KEY, META_TIME_KEY, SOURCE_ETAG_KEY, DELETE_AT_KEY, SIDE_OBJECT_KEY, OWNER_KEY})
"""User metadata names that are ours at the remote; hidden from clients on the way back."""
LARGE_KEYS = (SLO_ETAG_KEY, DLO_ETAG_KEY, COMBINED_ETAG_KEY)
"""Names of the predecessor's making that tell the content of large objects and their segments."""


def text_of_header(value: str) -> str:
    """WSGI and ``http.client`` hand out Latin-1 strings; Swift's headers are UTF-8 bytes."""
    try:
        return value.encode('latin-1').decode('utf-8')
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def meta_from_headers(name: str, headers: Mapping[str, str]) -> ObjectMeta:
    """ObjectMeta of a HEAD or GET answer of a Swift proxy or object server.

    ``headers`` have lower-case names and Unicode values. Backend times are
    preferred where present; for a copy at a remote Swift the source's times are
    in user metadata (``1space-timestamp``).
    """
    user = {k[len(USER_PREFIX):]: v for k, v in headers.items() if k.startswith(USER_PREFIX)}
    own = {k: user.pop(k) for k in OWN_KEYS if k in user}
    etag = headers.get('etag', '').strip('"')
    large: LargeObject | None = None
    if headers.get('x-static-large-object', '').lower() in ('true', '1', 't', 'yes', 'y', 'on'):
        large = 'slo'
    elif headers.get('x-object-manifest'):
        large = 'dlo'
    delete_at = headers.get('x-delete-at', '')
    return ObjectMeta(
        name=name, size=int(headers.get('content-length') or 0), etag=etag,
        content_type=headers.get('content-type', ''),
        headers={k: headers[k] for k in CONTENT_HEADERS if headers.get(k)},
        user_metadata=user,
        data_time=parse_timestamp(own.get(DATA_TIME_KEY)),
        meta_time=parse_timestamp(own.get(META_TIME_KEY)),
        delete_at=int(delete_at) if delete_at.isdigit() else None,
        last_modified=http_date_seconds(headers.get('last-modified', '')),
        etag_is_md5=large is None, source_etag=own.get(SOURCE_ETAG_KEY, ''), large_object=large,
        sysmeta={k: v for k, v in headers.items() if not k.startswith(USER_PREFIX)})


def headers_for_put(meta: ObjectMeta, *, provenance: bool = True) -> dict[str, str]:
    """Request headers that store ``meta`` in Swift (PUT, or POST, which replaces all of them).

    Values are Unicode; the caller's HTTP library sends UTF-8. ``provenance``
    adds the source's times; without it the copy counts as made now.
    """
    headers = {'content-type': meta.content_type, **meta.headers}
    headers.update({USER_PREFIX + k: v for k, v in meta.user_metadata.items()})
    if meta.delete_at is not None:
        headers['x-delete-at'] = str(meta.delete_at)
    if provenance:
        headers.update({USER_PREFIX + k: v for k, v in provenance_metadata(meta).items()})
    return headers


def provenance_metadata(meta: ObjectMeta) -> dict[str, str]:
    """Our own keys for a copy of ``meta``: the source's times, its MD5 where it must be told (semantics 1)."""
    own: dict[str, str] = {}
    if meta.data_time is not None:
        own[DATA_TIME_KEY] = meta.data_time.internal
    if (meta.meta_time is not None and meta.meta_time is not meta.data_time  # comparing them writes both out as text
            and meta.meta_time != meta.data_time):
        own[META_TIME_KEY] = meta.meta_time.internal
    if meta.source_etag:
        own[SOURCE_ETAG_KEY] = meta.source_etag
    return own


def is_encrypted(headers: Mapping[str, str]) -> bool:
    """Whether lower-case backend headers or xattr names show Swift's encryption at rest."""
    return any(k.startswith(CRYPTO_PREFIXES) for k in headers)
