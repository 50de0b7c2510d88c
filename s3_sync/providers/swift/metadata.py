"""Metadata of an object at a Swift target: as it is told, as it is sent, as it is compared."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from swift.common.utils import Timestamp

from s3_sync.errors import LimitExceeded
from s3_sync.providers.swift import expiry
from s3_sync.providers.swift.limits import Limits, sendable
from s3_sync.streams import Body
from s3_sync.timestamps import without_marker
from s3_sync.types import NO_HEADERS, ObjectMeta
from s3_sync.wire.swift_headers import LARGE_KEYS, OWNER_KEY, USER_PREFIX, headers_for_put, meta_from_headers


@dataclass(frozen=True, slots=True)
class StoredMeta(ObjectMeta):
    """Metadata as the remote tells it: its expiry is the copy's own, no rule of the mapping applies to it."""


_FIELDS = tuple(f.name for f in fields(ObjectMeta))


def stored_meta(name: str, headers: Mapping[str, str]) -> StoredMeta:
    """Of a HEAD or GET answer (lower-case names, Unicode values). What tells of large objects is in ``sysmeta``."""
    meta = meta_from_headers(name, headers)
    own = {key: headers[USER_PREFIX + key] for key in (*LARGE_KEYS, OWNER_KEY) if USER_PREFIX + key in headers}
    if own:
        meta = replace(meta, user_metadata=users_own(meta.user_metadata), sysmeta={**meta.sysmeta, **own})
    return StoredMeta(*[getattr(meta, field) for field in _FIELDS])


def put_headers(meta: ObjectMeta, limits: Limits, now: float, more: Mapping[str, str] = NO_HEADERS) -> dict[str, str]:
    """Headers of a PUT or POST that store ``meta``, our own keys as far as they fit. LimitExceeded.

    ``more``: own keys that ``meta`` has no field for, without prefix.
    """
    meta = replace(meta, user_metadata=users_own(meta.user_metadata))
    own = limits.own_keys(meta, more)
    fitting = replace(meta, user_metadata=sendable(meta.user_metadata), headers=sendable_headers(meta.headers),
                      content_type=sendable_type(meta), delete_at=expiry.allowed(meta.delete_at, now))
    headers = headers_for_put(fitting, provenance=False)
    headers.update({USER_PREFIX + key: value for key, value in own.items()})
    return headers


def overtakes(stored: ObjectMeta, meta: ObjectMeta) -> bool:
    """Whether the remote's version is newer than ``meta``, which is about to replace it."""
    if stored.data_time is None or meta.data_time is None:
        return False
    theirs, ours = without_marker(stored.data_time), without_marker(meta.data_time)
    return bool(theirs > ours if theirs != ours else _newest(stored) > _newest(meta))


def _newest(meta: ObjectMeta) -> Timestamp:
    return max(without_marker(t) for t in (meta.data_time, meta.meta_time, meta.ctype_time) if t is not None)


def sendable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Content headers as HTTP carries them: no blanks around values, no empty ones. LimitExceeded on line breaks."""
    if any(c in value for value in headers.values() for c in '\r\n\x00'):
        raise LimitExceeded('a content header holds line breaks', reason='metadata-not-allowed')
    return {k: text for k, v in headers.items() if (text := v.strip(' \t'))}


def sendable_type(meta: ObjectMeta) -> str:
    """The content type as it is sent: always one, or Swift would guess it from the name."""
    return meta.content_type.strip(' \t') or 'application/octet-stream'


def comparable_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """User metadata as Swift would have kept it."""
    return {k: text for k, v in users_own(metadata).items() if (text := v.strip(' \t'))}


def users_own(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Without the keys that tell of large objects: at the remote they are ours."""
    if metadata.keys().isdisjoint(LARGE_KEYS):
        return metadata  # nearly always
    return {k: v for k, v in metadata.items() if k not in LARGE_KEYS}


class HashedBody:
    """A body of unknown MD5, which is known once it has been sent."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = body.size

    def __iter__(self) -> Iterator[bytes]:
        self._digest = hashlib.md5(usedforsecurity=False)
        for chunk in self._body:
            self._digest.update(chunk)
            yield chunk

    def hexdigest(self) -> str:
        """Of the bytes of the last iteration."""
        return self._digest.hexdigest()

    def rewind(self) -> None:
        self._body.rewind()

    def close(self) -> None:
        self._body.close()
