"""Which objects are read back: chosen by a hash of the name, so that the same seed chooses the same ones."""
from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from typing import NamedTuple

from container_crawler.rows import Row
from s3_sync.types import ListingEntry

_WHOLE = 2 ** 64


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is read: a fraction of all objects, or a number of them (of each mapping)."""

    fraction: float = 0.0
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Depth:
        """``100`` objects; ``0.01``, ``1%`` or ``100%`` of them. ValueError."""
        if text.endswith('%'):
            fraction = float(text[:-1]) / 100
        elif '.' in text:
            fraction = float(text)
        else:
            count = int(text)
            if count < 1:
                raise ValueError(f'{text} objects are none')
            return cls(count=count)
        if not 0 < fraction <= 1:
            raise ValueError(f'{text} is no fraction between 0 and 1')
        return cls(fraction=fraction)

    @property
    def anything(self) -> bool:
        return bool(self.fraction or self.count)


NOTHING = Depth()


class Pick(NamedTuple):
    """An object chosen to be read when everything else has been compared."""

    container: str
    row: Row | None
    entry: ListingEntry | None
    counted: tuple[str, str] = ('', '')
    """Verdict and reason until then."""


class Sampler:
    """Of one mapping."""

    def __init__(self, depth: Depth, seed: str) -> None:
        self._depth = depth
        self._seed = seed.encode()
        self._picks: list[tuple[int, str, str, Pick]] = []

    def wants(self, container: str, name: str) -> bool:
        """Whether it is read now, because a fraction was asked for and it belongs to it."""
        return bool(self._depth.fraction) and self._place(container, name) < self._depth.fraction * _WHOLE

    def offer(self, pick: Pick, name: str) -> None:
        """An object that looks right. Of all that are offered the few with the lowest hashes are kept."""
        if not self._depth.count:
            return
        item = (-self._place(pick.container, name), pick.container, name, pick)
        if len(self._picks) < self._depth.count:
            heapq.heappush(self._picks, item)
        elif item[:3] > self._picks[0][:3]:
            heapq.heapreplace(self._picks, item)

    def picks(self) -> list[Pick]:
        """In order of container and name."""
        return [pick for _, _, _, pick in sorted(self._picks, key=lambda item: item[1:3])]

    def _place(self, container: str, name: str) -> int:
        text = self._seed + b'\0' + container.encode() + b'\0' + name.encode('utf-8', 'surrogatepass')
        return int.from_bytes(hashlib.sha256(text).digest()[:8], 'big')
