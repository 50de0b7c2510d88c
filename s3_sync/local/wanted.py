"""Objects known by their content instead of by a row: what manifests name.

A manifest says name, ETag and size. A replica with another ETag is an older or
a newer object: never what was asked for, and no proof that the right one does
not exist.
"""
from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from swift.common.utils import Timestamp

from container_crawler.rows import Row
from s3_sync.types import ObjectRow

SLO_ETAG_HEADER = 'x-object-sysmeta-slo-etag'
_ANY_TIME = Timestamp(0).internal


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object and the content that it must have."""

    row: ObjectRow
    """Where it is. A row of our own, older than any version."""
    etag: str
    """Hex MD5; '' when it is not known. Of a sub-SLO its SLO ETag."""
    size: int
    """Bytes; negative when they are not known."""
    sub_slo: bool = False
    """The object is a manifest, and is wanted as such."""

    def differs(self, headers: Mapping[str, str]) -> str:
        """Why a version with these (lower-case) headers is not the wanted one; '' when it is."""
        if self.sub_slo:
            if headers.get('x-static-large-object', '').lower() != 'true':
                return 'is no manifest any more'
            etag = headers.get(SLO_ETAG_HEADER, self.etag)  # before Swift 2.12 it was not stored
            return '' if etag == self.etag else f'is a manifest with ETag {etag}, expected {self.etag}'
        etag, size = headers.get('etag', '').strip('"'), size_of(headers)
        if self.etag and etag != self.etag:
            return f'has ETag {etag}, expected {self.etag}'
        return '' if self.size in (size, -1) else f'has {size} bytes, expected {self.size}'


def object_wanted(account: str, container: str, name: str, policy_index: int, *, etag: str, size: int = -1,
                  sub_slo: bool = False) -> Wanted:
    """The object of this name with this content."""
    row = Row(0, name, _ANY_TIME, max(size, 0), '', etag, False, policy_index)
    return Wanted(ObjectRow(account, container, row), etag, size, sub_slo)


def size_of(headers: Mapping[str, str]) -> int:
    """Bytes of the whole object, also from the answer to a range request; -1 when it is not told."""
    total = headers.get('content-range', '').rpartition('/')[2] or headers.get('content-length', '')
    return int(total) if total.isdecimal() else -1


class Copy(Protocol):
    """One replica (or what the proxy makes of several) of a wanted object, opened for a run of its bytes."""

    label: Hashable
    """Tells replicas apart; what is known of one says nothing of another."""
    headers: dict[str, str]
    etag: str
    """MD5 of the whole object as this copy tells it."""

    def chunks(self, digest: Any = None) -> Iterator[bytes]:
        """The run's bytes, also added to ``digest``. SourceUnavailable when they end early. Once only."""

    def close(self) -> None:
        """Free file or connection. Safe to call twice."""
