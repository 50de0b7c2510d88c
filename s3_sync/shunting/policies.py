"""What a deletion means for one remote (semantics 7.3)."""
from __future__ import annotations

from s3_sync.engine.select import Selector
from s3_sync.shunting.targets import Target
from s3_sync.wire.tombstones import Policy


def policy_of(target: Target, name: str) -> Policy:
    """What the marker of a deleted object says to this mapping, whose ``delete_policy`` is not ``local``."""
    propagates = target.mapping.delete_policy == 'propagate' and not Selector(target.mapping).excluded(name)
    return 'propagate' if propagates else 'tombstone'
