"""Markers of deletions in memory, read as those in the hidden container are."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from swift.common.utils import Timestamp

from s3_sync.shunting.listing.tombstones import Tombstones
from s3_sync.wire.tombstones import is_hashed


class Deleted(NamedTuple):
    name: str
    time: Timestamp


class Deletions:
    def __init__(self, times: Mapping[str, float]) -> None:
        self._markers = {name: Deleted(name, Timestamp(time)) for name, time in times.items()}
        self.read = 0
        self.looked_up: list[str] = []

    @property
    def tombstones(self) -> Tombstones:
        return Tombstones(pages=self.pages, find=self.find, hashed=lambda: any(map(is_hashed, self._markers)))

    def pages(self, *, prefix: str, marker: str, end_marker: str, reverse: bool) -> Iterator[Deleted]:
        lower, upper = (end_marker, marker) if reverse else (marker, end_marker)
        for name in sorted(self._markers, reverse=reverse):
            if (name.startswith(prefix) and name > lower and (not upper or name < upper) and not is_hashed(name)):
                self.read += 1
                yield self._markers[name]

    def find(self, name: str) -> Deleted | None:
        self.looked_up.append(name)
        return self._markers.get(name)
