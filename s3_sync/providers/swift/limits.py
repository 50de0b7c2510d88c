"""What a Swift cluster takes: its constraints, and making metadata fit them."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from s3_sync.errors import LimitExceeded
from s3_sync.types import NO_HEADERS, ObjectMeta
from s3_sync.wire.swift_headers import (
    DATA_TIME_KEY,
    DLO_ETAG_KEY,
    META_TIME_KEY,
    OWNER_KEY,
    SLO_ETAG_KEY,
    SOURCE_ETAG_KEY,
    provenance_metadata,
)

GIVES_WAY = (OWNER_KEY, META_TIME_KEY, SLO_ETAG_KEY, DLO_ETAG_KEY, SOURCE_ETAG_KEY, DATA_TIME_KEY)
"""Our own keys in the order in which they are left out where the user's metadata needs the room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Swift's constraints by their names in /info; the defaults are Swift's."""

    max_file_size: int = 5 * 1024 ** 3 + 2
    max_object_name_length: int = 1024
    max_meta_name_length: int = 128
    max_meta_value_length: int = 256
    max_meta_count: int = 90
    max_meta_overall_size: int = 4096
    container_listing_limit: int = 10_000
    max_container_name_length: int = 256
    max_manifest_segments: int = 1000
    max_manifest_size: int = 8 * 1024 ** 2
    knows_slo: bool = True

    @classmethod
    def from_info(cls, document: bytes) -> Limits:
        """Of a cluster's /info; what it does not tell is as Swift's defaults."""
        try:
            info = json.loads(document)
            told = {**info['swift'], **info.get('slo', {})}
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return cls(knows_slo='slo' in info, **{
            f.name: told[f.name] for f in fields(cls)
            if f.name != 'knows_slo' and isinstance(told.get(f.name), int) and told[f.name] > 0})

    def check(self, name: str, size: int) -> None:
        """LimitExceeded when the target takes no such name or so many bytes."""
        name_bytes = len(name.encode('utf-8', 'surrogatepass'))
        if name_bytes > self.max_object_name_length:
            raise LimitExceeded(f'the name has {name_bytes} bytes, the target takes {self.max_object_name_length}',
                                reason='name-too-long')
        if size > self.max_file_size:
            raise LimitExceeded(f'the object has {size} bytes, the target takes {self.max_file_size}',
                                reason='too-large')

    def own_keys(self, meta: ObjectMeta, more: Mapping[str, str] = NO_HEADERS) -> dict[str, str]:
        """Our own keys for ``meta``, and ``more``, as far as the user's leave room.

        LimitExceeded when those alone do not fit.
        """
        user = sendable(meta.user_metadata)
        self._check_user(user)
        own = {**provenance_metadata(meta), **more}
        for key in GIVES_WAY:
            if self._fits({**user, **own}):
                break
            own.pop(key, None)
        return own

    def _check_user(self, user: Mapping[str, str]) -> None:
        for name, value in user.items():
            if len(name.encode()) > self.max_meta_name_length or len(value.encode()) > self.max_meta_value_length:
                raise LimitExceeded(f'metadata {name!r} is longer than the target takes', reason='metadata-too-large')
        if not self._fits(user):
            raise LimitExceeded(
                f'{len(user)} metadata keys of {_size(user)} bytes: the target takes {self.max_meta_count} keys '
                f'of {self.max_meta_overall_size} bytes', reason='metadata-too-large')

    def _fits(self, metadata: Mapping[str, str]) -> bool:
        return len(metadata) <= self.max_meta_count and _size(metadata) <= self.max_meta_overall_size


DEFAULTS = Limits()


def sendable(metadata: Mapping[str, str]) -> dict[str, str]:
    """User metadata as HTTP headers carry it: no blanks around values, no empty ones.

    Blanks inside a name are against the rules of HTTP, but Swift takes and shows them.
    LimitExceeded for what would break out of a header line.
    """
    kept = {}
    for name, value in metadata.items():
        if not name or name != name.strip() or any(c < ' ' or c in ':\x7f' for c in name):
            raise LimitExceeded(f'metadata name {name!r} cannot be a header', reason='metadata-not-allowed')
        if any(c in '\r\n\x00' for c in value):
            raise LimitExceeded(f'the value of metadata {name!r} holds line breaks', reason='metadata-not-allowed')
        if text := value.strip(' \t'):
            kept[name] = text
    return kept


def _size(metadata: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
