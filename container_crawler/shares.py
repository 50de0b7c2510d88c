"""Which node, and which process of a node, is first to work on a name.

The node's share is the predecessor's function, so that old and new daemons of
one cluster agree. Processes must not reuse its bits: within one node's share
those are all alike, and one process would get every row.
"""
from __future__ import annotations

from hashlib import sha1


def node_share(name: str, replicas: int) -> int:
    """Index of the container replica whose node owns ``name``: 0 to ``replicas`` - 1."""
    return int.from_bytes(sha1(name.encode(), usedforsecurity=False).digest()[-3:], 'big') % replicas


def process_share(name: str, processes: int) -> int:
    """Index of the local process that works on ``name``: 0 to ``processes`` - 1."""
    return int.from_bytes(sha1(name.encode(), usedforsecurity=False).digest()[:8], 'big') % processes
