"""Which S3 key an object name has, byte for byte as the predecessor chose it.

Archives written years ago must be found again, so nothing here may change: the
hash in front (it spread load over S3's partitions), the manifests beside the
objects, the custom prefix that replaces it all. Side objects with large
metadata, marks of unfinished uploads and the keys of probes are ours, named
after the same pattern.
"""
from __future__ import annotations

import hashlib
import re

MANIFESTS = '.manifests'
METADATA = '.metadata'
PROBES = '.1space'
UPLOADS = '.pending'
INTERNAL = (MANIFESTS, METADATA, PROBES, UPLOADS)
_INTERNAL_NAMES = {
    MANIFESTS: r'(?:[0-9a-f]{64}\.swift_slo_manifest)?', METADATA: r'(?:[0-9a-f]{64}\.json)?',
    PROBES: r'(?:probe-[0-9a-f]+)?', UPLOADS: r'(?:[0-9a-f]{64}\.[0-9a-f]+\.json)?'}


def container_hash(account: str, container: str) -> str:
    """One to six hex digits of the container's MD5, leading zeros dropped."""
    digest = hashlib.md5(f'{account}/{container}'.encode(), usedforsecurity=False).hexdigest()
    return f'{int(digest[-6:], 16):x}'


class KeyScheme:
    """Names to keys and back for one container.

    Without ``custom_prefix``: ``<hash>/<account>/<container>/<object>``. With
    one (also ''): ``<custom_prefix>/<object>``, or just the object's name.
    """

    def __init__(self, account: str, container: str, custom_prefix: str | None = None) -> None:
        if custom_prefix is None:
            front = container_hash(account, container)
            self.prefix = f'{front}/{account}/{container}/'
            self._internal = {part: f'{front}/{part}/{account}/{container}/' for part in INTERNAL}
        else:
            stripped = custom_prefix.strip('/')
            self.prefix = f'{stripped}/' if stripped else ''
            self._internal = {part: f'{self.prefix}{part}/' for part in INTERNAL}
        inside = [re.escape(prefix) + _INTERNAL_NAMES[part] for part, prefix in self._internal.items()]
        self._hidden = re.compile('|'.join(inside)) if custom_prefix is not None else None

    def key(self, name: str) -> str:
        return self.prefix + name

    def name(self, key: str) -> str:
        """The name behind a key of this container. ValueError for another's."""
        if not key.startswith(self.prefix):
            raise ValueError(f'key {key!r} is not below {self.prefix!r}')
        return key[len(self.prefix):]

    def manifest_key(self, name: str) -> str:
        """Where the manifest of a large object is kept."""
        return f'{self._internal[MANIFESTS]}{_digest(name)}.swift_slo_manifest'

    def side_key(self, name: str) -> str:
        """Where user metadata beyond the store's limit is kept."""
        return f'{self._internal[METADATA]}{_digest(name)}.json'

    def upload_prefix(self, name: str | None = None) -> str:
        """What the keys of all marks of unfinished uploads begin with; or those of one object."""
        front = self._internal[UPLOADS]
        return front if name is None else f'{front}{_digest(name)}.'

    def upload_key(self, name: str, token: str) -> str:
        """Where one unfinished multipart upload is noted; ``token`` (hex) tells those of one object apart."""
        return f'{self.upload_prefix(name)}{token}.json'

    def probe_key(self, token: str) -> str:
        """A throw-away key that no object of a user can have."""
        return f'{self._internal[PROBES]}probe-{token}'

    def is_internal(self, key: str) -> bool:
        """Whether a key below ``prefix``, or a common prefix of such, is ours and no object's.

        Only possible under a custom prefix.
        """
        return self._hidden is not None and self._hidden.fullmatch(key) is not None

    def internal_prefixes(self) -> tuple[str, ...]:
        """Prefixes of manifests and side objects, where they lie outside ``prefix``."""
        return () if self._hidden is not None else (self._internal[MANIFESTS], self._internal[METADATA])


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
