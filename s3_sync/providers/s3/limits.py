"""What a store cannot hold, said before anything is sent."""
from __future__ import annotations

from s3_sync.base_sync import Capabilities
from s3_sync.errors import LimitExceeded

CHANGES_NAMES = ('SeaweedFS',)
"""Servers that keep keys as paths of a file system."""
MAX_COMPONENT_BYTES = 255
"""Of a path, where parts are put together."""


def check_limits(key: str, size: int, capabilities: Capabilities) -> None:
    """LimitExceeded (``key-too-long``, ``key-not-utf-8``, ``too-large``) with the numbers."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise LimitExceeded('the name is not valid UTF-8', reason='key-not-utf-8') from error
    if length > capabilities.max_key_bytes:
        raise LimitExceeded(f'the key has {length} bytes, the store takes {capabilities.max_key_bytes}',
                            reason='key-too-long')
    if size > capabilities.max_put_bytes:
        raise LimitExceeded(f'{size} bytes, one PUT takes {capabilities.max_put_bytes}', reason='too-large')


def may_be_changed(key: str) -> bool:
    """Whether a store that keeps keys as paths would take this one for another (``a//b`` for ``a/b``)."""
    return '//' in key or '\\' in key or key.endswith('/') or key.startswith('/')


def has_long_component(key: str) -> bool:
    """Whether no file system has a path like this, though a store on top of one may take it for a single PUT."""
    return any(len(component.encode()) > MAX_COMPONENT_BYTES for component in key.split('/'))
