"""DeleteObjects: a thousand keys a request."""
from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from s3_sync.errors import NotFound, ProviderError, Unsupported
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import Call, Client
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.providers.s3.settings import KEYS_PER_BATCH
from s3_sync.streams import BytesBody


class Deleter:
    def __init__(self, client: Client, objects: Objects) -> None:
        self._client = client
        self._objects = objects
        self._batches = client.endpoint.flavour != 'google'

    def delete(self, bucket: str, keys: Iterable[str]) -> dict[str, ProviderError]:
        """Remove all keys; the errors of those that could not be. What is not there is done."""
        wanted = list(dict.fromkeys(keys))
        single = [k for k in wanted if not self._batches or not xml.can_carry(k)]
        batched = [k for k in wanted if self._batches and xml.can_carry(k)]
        failed: dict[str, ProviderError] = {}
        for at in range(0, len(batched), KEYS_PER_BATCH):
            part = batched[at:at + KEYS_PER_BATCH]
            if self._batches:
                try:
                    failed.update(self._request(bucket, part))
                    continue
                except Unsupported:
                    self._batches = False
                except ProviderError as error:
                    failed.update(dict.fromkeys(part, error))
                    continue
            single += part
        for key in single:
            try:
                self._objects.delete(Place(bucket, key))
            except ProviderError as error:
                failed[key] = error
        return failed

    def _request(self, bucket: str, keys: Sequence[str]) -> dict[str, ProviderError]:
        body = xml.delete_document(keys)
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        _response, data = self._client.read(Call(
            'POST', bucket, query={'delete': ''}, body=BytesBody(body),
            headers={'content-md5': digest, 'content-type': 'application/xml'}))
        failed: dict[str, ProviderError] = {}
        for error in xml.parse(data).iter('Error') if data else ():
            key = error.findtext('Key') or ''
            made = self._client.key_error(key, error.findtext('Code') or '', error.findtext('Message') or '')
            if not isinstance(made, NotFound):
                failed[key] = made
        return failed
