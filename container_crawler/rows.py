"""One row of a Swift container database, as the crawler hands it out."""
from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A row of the ``object`` table. A tuple, so that it is cheap to send between processes."""

    row_id: int
    """ROWID in this database replica; other replicas number the same change differently."""
    name: str
    created_at: str
    """Swift's encoded triple of times (data, content type, metadata); never compared as text."""
    size: int
    content_type: str
    etag: str
    deleted: bool
    policy_index: int
