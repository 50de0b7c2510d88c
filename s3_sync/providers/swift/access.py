"""What a login at a Swift gives."""
from __future__ import annotations

from typing import NamedTuple


class Access(NamedTuple):
    """A login that worked. ``token`` is a secret: it goes into requests, never into a message."""

    storage_url: str
    token: str
    expires: float | None
    """Unix seconds, None when the service does not say."""

    def __repr__(self) -> str:
        return f'Access({self.storage_url})'
