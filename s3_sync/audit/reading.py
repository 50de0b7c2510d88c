"""Reading copies back: the only proof that no ETag can stand in for.

Streams; a chunk of either side is in memory. The provider pays for its bytes
by the mapping's rate limits.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable

from s3_sync.base_sync import BaseSync
from s3_sync.engine.archive import Version
from s3_sync.errors import Error
from s3_sync.large_objects.bodies import WholeBody
from s3_sync.types import ObjectMeta


class ChangedWhileRead(Error):
    """The remote's version is another one than was looked at."""

    reason = 'changed'


class Reader:
    def __init__(self, provider: BaseSync) -> None:
        self._provider = provider

    def compare(self, version: Version, remote: ObjectMeta) -> tuple[int, bool]:
        """Bytes read at the remote, and whether they are the local version's. Raises ChangedWhileRead."""
        if version.large is None:
            return self.is_what_it_says(remote, version.meta.content_md5)
        _, local = _digest(WholeBody(version.large))
        return self.is_what_it_says(remote, local)

    def is_what_it_says(self, remote: ObjectMeta, md5: str) -> tuple[int, bool]:
        """Bytes read of the version ``remote`` (a HEAD), and whether they have this MD5 (hex)."""
        found = self._provider.get_object(remote.name)
        try:
            if found.meta.etag != remote.etag:
                raise ChangedWhileRead(f'{remote.name!r} was overwritten at the remote')
            count, digest = _digest(found)
        finally:
            found.close()
        return count, digest == md5


def _digest(chunks: Iterable[bytes]) -> tuple[int, str]:
    digest, count = hashlib.md5(usedforsecurity=False), 0
    for chunk in chunks:
        digest.update(chunk)
        count += len(chunk)
    return count, digest.hexdigest()
