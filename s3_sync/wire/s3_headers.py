"""ObjectMeta to the headers of an S3 request and back.

User metadata of Swift may have any Unicode in names and values, S3's is ASCII
and 2 KB: values travel as encoded words, names that are no HTTP token as hex,
and what is too much goes into a side object (``plan_metadata`` says what).
"""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import Any

from s3_sync.timestamps import http_date_seconds, parse_timestamp
from s3_sync.types import CONTENT_HEADERS, NO_HEADERS, LargeObject, ObjectMeta
from s3_sync.wire.s3_mime import decode_text, encode_text
from s3_sync.wire.swift_headers import (
    DATA_TIME_KEY,
    DELETE_AT_KEY,
    DLO_ETAG_KEY,
    META_TIME_KEY,
    OWN_KEYS,
    SIDE_OBJECT_KEY,
    SLO_ETAG_KEY,
    SOURCE_ETAG_KEY,
    provenance_metadata,
)

META_PREFIX = 'x-amz-meta-'
NAME_KEY = '1space-name-'
"""Starts a metadata name that S3 could not carry; the name's UTF-8 in hex follows."""
SLO_MARK = 'x-static-large-object'
DLO_MARK = 'x-object-manifest'
LARGE_MARKS = (SLO_MARK, DLO_MARK, SLO_ETAG_KEY, DLO_ETAG_KEY)
"""Metadata names by which a copy tells that its source is a large object, as the predecessor wrote them."""
MAX_CONTENT_HEADER_BYTES = 4096
"""Content headers beyond this go to the side object: AWS takes 8 KB of headers in all."""

_TOKEN = re.compile(r"[!#$&'*+\-.^_`|~0-9a-z%]+")
_MD5 = re.compile(r'[0-9a-f]{32}')
_MULTIPART = re.compile(r'[0-9a-f]{32}-\d+')


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """How much user metadata, ours included, a store takes."""

    bytes: int = 2048
    """Of names and values as sent."""
    per_name: int = 0
    """Bytes that the store counts for each name beside its own."""
    count: int | None = None

    def allow(self, *parts: Mapping[str, str]) -> bool:
        size = sum(len(k) + len(v) + self.per_name for part in parts for k, v in part.items())
        return size <= self.bytes and (self.count is None or sum(map(len, parts)) <= self.count)


AMAZON_LIMITS = MetadataLimits()
CAREFUL_LIMITS = MetadataLimits(per_name=len(META_PREFIX), count=90)
"""MinIO counts the names' common prefix too, Swift's own S3 API takes no more than 90 names."""


@dataclass(frozen=True, slots=True)
class MetadataPlan:
    """Where the metadata of one object goes."""

    headers: Mapping[str, str]
    """Request headers, lower-case names, ASCII values."""
    side: bytes | None = None
    """Body of the side object that has to be there before the object; None: not needed."""
    kept: ObjectMeta = field(default=ObjectMeta('', 0))
    """What a HEAD will tell of the metadata that was given."""


def encode_name(name: str) -> str:
    """A user metadata name (lower-case) as it can stand in an HTTP header."""
    if _TOKEN.fullmatch(name) and not name.startswith(NAME_KEY):
        return name
    return NAME_KEY + name.encode('utf-8', 'surrogatepass').hex()


def decode_name(name: str) -> str:
    if not name.startswith(NAME_KEY):
        return name
    try:
        return bytes.fromhex(name[len(NAME_KEY):]).decode('utf-8', 'surrogatepass')
    except ValueError:
        return name


def is_multipart(etag: str) -> bool:
    """Whether this is the ETag of a multipart upload."""
    return _MULTIPART.fullmatch(etag) is not None


def marks_of(meta: ObjectMeta) -> dict[str, str]:
    """The LARGE_MARKS that a HEAD told, to be written again with other metadata."""
    return {k: meta.sysmeta[k] for k in LARGE_MARKS if k in meta.sysmeta} if meta.large_object else {}


def plan_metadata(meta: ObjectMeta, limits: MetadataLimits, marks: Mapping[str, str] = NO_HEADERS) -> MetadataPlan:
    """Split ``meta`` over request headers and side object so that no limit is passed.

    ``marks``: LARGE_MARKS that are to stand with it, ASCII; they count as ours.
    The user's keys come first: when both do not fit together, ours move to the
    side object, or away when not even a reference to it fits; only when the
    user's alone are too much do they move (all of them, so that nobody takes a
    part for the whole).
    """
    meta = _settled(meta)
    user = {encode_name(k): encode_text(v) for k, v in meta.user_metadata.items()}
    own = {**provenance_metadata(meta), **marks}
    if meta.delete_at is not None:
        own[DELETE_AT_KEY] = str(meta.delete_at)
    content = {k: encode_text(v) for k, v in meta.headers.items()}
    content_type = {'content-type': encode_text(meta.content_type)} if meta.content_type else {}

    wide = sum(map(len, content.values())) > MAX_CONTENT_HEADER_BYTES
    if not wide and limits.allow(user, own):
        return MetadataPlan({**content_type, **content, **_prefixed(user), **_prefixed(own)}, kept=meta)
    reference = {SIDE_OBJECT_KEY: '0' * 32}
    if not wide and limits.allow(user) and not limits.allow(user, reference):
        bare = replace(meta, data_time=None, meta_time=None, source_etag='', delete_at=None)
        return MetadataPlan({**content_type, **content, **_prefixed(user)}, kept=bare)
    side: dict[str, Any] = {'name': meta.name}
    inline: dict[str, str] = {}
    if limits.allow(user, reference):
        inline.update(user)
    else:
        side['user_metadata'] = dict(meta.user_metadata)
    if limits.allow(inline, own, reference):
        inline.update(own)
    else:
        side['own'] = own
    if wide:
        side['headers'] = dict(meta.headers)
        content = {}
    body = json.dumps(side, sort_keys=True).encode()
    inline[SIDE_OBJECT_KEY] = md5(body, usedforsecurity=False).hexdigest()
    return MetadataPlan({**content_type, **content, **_prefixed(inline)}, side=body, kept=meta)


def _settled(meta: ObjectMeta) -> ObjectMeta:
    """``meta`` without what HTTP or stores take away: empty values (Swift's way to remove), spaces around headers."""
    user = {k: v for k, v in meta.user_metadata.items() if v and k not in OWN_KEYS}
    headers = {k: v.strip(' ') for k, v in meta.headers.items() if k in CONTENT_HEADERS and v.strip(' ')}
    content_type = meta.content_type.strip(' ')
    if user == meta.user_metadata and headers == meta.headers and content_type == meta.content_type:
        return meta  # nearly always, and ``replace`` is slow
    return replace(meta, content_type=content_type, headers=headers, user_metadata=user)


def _prefixed(metadata: Mapping[str, str]) -> dict[str, str]:
    return {META_PREFIX + k: v for k, v in metadata.items()}


def meta_from_s3(name: str, headers: Mapping[str, str], *, size: int | None = None) -> ObjectMeta:
    """ObjectMeta of a HEAD or GET answer; ``headers`` have lower-case names and Unicode values.

    A reference to a side object is in ``sysmeta`` under SIDE_OBJECT_KEY: see ``with_side``.
    """
    user: dict[str, str] = {}
    rest: dict[str, str] = {}
    for key, value in headers.items():
        if key.startswith(META_PREFIX):
            user[decode_name(key[len(META_PREFIX):])] = decode_text(value)
        else:
            rest[key] = value
    own = {k: user.pop(k) for k in OWN_KEYS if k in user}
    etag = headers.get('etag', '').removeprefix('W/').strip('"')
    large = _large_object(user) or ('multipart' if is_multipart(etag) else None)
    if large:
        rest.update({k: user.pop(k) for k in LARGE_MARKS if k in user})
    if SIDE_OBJECT_KEY in own:
        rest[SIDE_OBJECT_KEY] = own[SIDE_OBJECT_KEY]
    if size is None:
        size = int(headers.get('content-length') or 0)
    return _with_own(ObjectMeta(
        name=name, size=size, etag=etag, content_type=decode_text(headers.get('content-type', '')),
        headers={k: decode_text(headers[k]) for k in CONTENT_HEADERS if headers.get(k)},
        user_metadata=user, last_modified=http_date_seconds(headers.get('last-modified', '')),
        etag_is_md5=_etag_is_md5(etag, headers), large_object=large,
        storage_class=headers.get('x-amz-storage-class', ''), sysmeta=rest), own)


def with_side(meta: ObjectMeta, side: bytes) -> ObjectMeta:
    """``meta`` with what its side object keeps put back. ValueError when that is no side object."""
    document = json.loads(side)
    if not isinstance(document, dict):
        raise ValueError('side object is no JSON object')
    found = replace(
        meta,
        user_metadata=_texts(document.get('user_metadata', meta.user_metadata)),
        headers=_texts(document.get('headers', meta.headers)))
    own = _texts(document.get('own', {}))
    marks = {k: own[k] for k in LARGE_MARKS if k in own}
    if marks:
        found = replace(found, large_object=_large_object(marks) or found.large_object,
                        sysmeta={**found.sysmeta, **marks})
    return _with_own(found, own)


def _large_object(metadata: Mapping[str, str]) -> LargeObject | None:
    if metadata.get(SLO_MARK, '').lower() == 'true':
        return 'slo'
    return 'dlo' if metadata.get(DLO_MARK) else None


def side_matches(meta: ObjectMeta, side: bytes) -> bool:
    """Whether ``side`` is the body that this version of the object refers to."""
    return md5(side, usedforsecurity=False).hexdigest() == meta.sysmeta.get(SIDE_OBJECT_KEY)


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError('side object has values that are no text')
    return dict(value)


def _with_own(meta: ObjectMeta, own: Mapping[str, str]) -> ObjectMeta:
    delete_at = own.get(DELETE_AT_KEY, '')
    return replace(
        meta,
        data_time=parse_timestamp(own.get(DATA_TIME_KEY)) or meta.data_time,
        meta_time=parse_timestamp(own.get(META_TIME_KEY)) or meta.meta_time,
        source_etag=own.get(SOURCE_ETAG_KEY, meta.source_etag),
        delete_at=int(delete_at) if delete_at.isascii() and delete_at.isdigit() else meta.delete_at)


def _etag_is_md5(etag: str, headers: Mapping[str, str]) -> bool:
    return (_MD5.fullmatch(etag) is not None
            and not headers.get('x-amz-server-side-encryption', '').startswith('aws:kms')
            and 'x-amz-server-side-encryption-customer-algorithm' not in headers)
