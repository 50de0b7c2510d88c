"""Symbolic links as the headers of a link tell them; which of them are Swift's own.

A versioned container (``X-Versions-Enabled``) keeps its data in a hidden
container and shows links to it. Those are an implementation detail: whoever
wrote an object there never made a link.
"""
from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from s3_sync.errors import SourceUnusable
from s3_sync.local.source import Link
from s3_sync.local.versions import SYMLINK_HEADER

DANGLING = 'dangling-symlink'
_SHOWN = 'x-symlink-target'
"""How the symlink filter of a pipeline spells the same for who asks for the link itself."""


def stored_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of a link as they are stored, whether a filter has renamed them or not."""
    return {SYMLINK_HEADER + k.removeprefix(_SHOWN) if k.startswith(_SHOWN) else k: v for k, v in headers.items()}


def link_of(headers: Mapping[str, str], path: str) -> Link | None:
    """The link that lower-case, stored headers describe; None for other objects.

    SourceUnusable when what they say is no target.
    """
    target = headers.get(SYMLINK_HEADER)
    if target is None:
        return None
    container, slash, name = unquote(target).lstrip('/').partition('/')
    if not container or not slash or not name:
        raise SourceUnusable(f'{path} links to {target!r}, which is no object', reason=DANGLING)
    return Link(container, name, unquote(headers.get(f'{SYMLINK_HEADER}-account', '')),
                headers.get(f'{SYMLINK_HEADER}-etag', '').strip('"'))
