"""Requests to an S3 store beside the provider: for what the provider never sends, and for looking at the answer.

They go through the provider's own client, so addressing, signatures, TLS and
proxies are those of the daemon.
"""
from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping

from s3_sync.clock import Clock
from s3_sync.config import Mapping as MappingConfig
from s3_sync.errors import NotFound, ProviderError
from s3_sync.providers.s3 import settings, xml
from s3_sync.providers.s3.client import Call, Client
from s3_sync.providers.s3.endpoint import Endpoint
from s3_sync.providers.s3.limits import CHANGES_NAMES
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.streams import BytesBody
from s3_sync.wire.keys import KeyScheme

MAX_READ_BYTES = 1024 * 1024


class Store:
    """One bucket under the keys of the test identity."""

    def __init__(self, mapping: MappingConfig, clock: Clock, *, path_style: bool | None = None) -> None:
        """``path_style``: another addressing than the mapping's."""
        if path_style is not None:
            mapping = mapping.model_copy(update={
                'remote': mapping.remote.model_copy(update={'path_style': path_style})})
        self.mapping = mapping
        self.bucket = mapping.remote.bucket
        self.endpoint: Endpoint = settings.make_endpoint(mapping)
        self.scheme = KeyScheme(mapping.account, mapping.container, mapping.custom_prefix)
        self.client: Client = settings.make_client(mapping, self.endpoint, max_connections=2, clock=clock)
        how = settings.store_settings(mapping, self.endpoint)
        self.kms = how.kms
        self.write_headers: Mapping[str, str] = how.encryption
        self.upload_headers: Mapping[str, str] = {**how.encryption, **how.uploads}
        """Storage class and tags too."""
        self.objects = Objects(self.client, encryption=how.encryption, etag_is_md5=not how.kms)

    def place(self, key: str) -> str:
        """For people."""
        return f'{self.bucket}/{key}'

    def put(self, key: str, data: bytes, headers: Mapping[str, str] | None = None, *, payload: str = '') -> None:
        """One PUT, encrypted as the mapping says, with no checksum but those in ``headers``."""
        self.client.do(Call('PUT', self.bucket, key, body=BytesBody(data), payload=payload,
                            headers={'content-type': 'text/plain', **self.write_headers, **(headers or {})}))

    def get(self, key: str) -> bytes:
        with self.client.open(Call('GET', self.bucket, key)) as response:
            return response.read(MAX_READ_BYTES)

    def exists(self, key: str) -> bool:
        try:
            self.client.do(Call('HEAD', self.bucket, key))
        except NotFound:
            return False
        return True

    def remove_folders(self, keys: Iterable[str], below: str) -> None:
        """Some stores keep keys as paths and their folders for ever: remove those of ``keys`` longer than ``below``.

        Only empty ones go: such a store refuses to delete others. Not worth an error.
        """
        if not self.client.server.startswith(CHANGES_NAMES):
            return
        folders = {key[:at + 1] for key in keys for at, char in enumerate(key) if char == '/' and at >= len(below)}
        with contextlib.suppress(ProviderError):
            for folder in sorted(folders, key=len, reverse=True):
                self.delete(folder)

    def delete(self, key: str) -> None:
        """Gone afterwards, whether or not it was there."""
        self.objects.delete(Place(self.bucket, key))

    def remover(self, key: str) -> Callable[[], None]:
        """``delete`` of this key, for the leftovers."""
        return lambda: self.delete(key)

    def list(self, prefix: str, *, v2: bool) -> list[str]:
        """Up to a thousand keys as the store orders them."""
        query = {'prefix': prefix, **({'list-type': '2'} if v2 else {})}
        _response, data = self.client.read(Call('GET', self.bucket, query=query))
        return [entry.findtext('Key') or '' for entry in xml.parse(data).iter('Contents')]

    def close(self) -> None:
        self.client.close()


def md5_hex(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
