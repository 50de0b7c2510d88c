"""What HEADs have told of remote versions that a deletion may hide, remembered for later listings.

An object that was deleted soon after it was copied is in doubt in every listing
from then on; its version and its marker do not change, so it is looked at once.
"""
from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

KEPT = 100_000


class Verdicts:
    """Whether a version shows, by all that tells the version and the deletion; at most ``size`` of them."""

    def __init__(self, size: int = KEPT) -> None:
        self._size = size
        self._kept: OrderedDict[bytes, bool] = OrderedDict()

    def get(self, *facts: object) -> bool | None:
        return self._kept.get(_digest(facts))

    def put(self, shows: bool, *facts: object) -> None:
        self._kept[_digest(facts)] = shows
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _digest(facts: tuple[object, ...]) -> bytes:
    return blake2b(repr(facts).encode('utf-8', 'surrogatepass'), digest_size=16).digest()
