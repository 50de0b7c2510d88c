"""Pages of names, V2 where the store has it, V1 where not, and no trust that either tells the truth.

A listing is evidence for deletions, so it is checked: ascending byte order,
always beyond the marker, never the same token again.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from s3_sync.errors import PermanentError, ProviderError, TemporaryError, Unsupported
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import Call, Client
from s3_sync.timestamps import clock_offset, iso_seconds
from s3_sync.types import BucketEntry, BucketPage, ListingEntry, ListingPage
from s3_sync.wire.keys import KeyScheme

MAX_KEYS = 1000
LAST_CHARACTER = '\U0010ffff'
UNORDERED_SERVERS = ('SeaweedFS',)
OPAQUE = '\0'
"""Starts a marker that is a token of the store; no object's name starts with it in a listing."""


@dataclass(frozen=True, slots=True)
class Token:
    """A continuation token, with what finds a cycle of tokens (Brent's algorithm), as an opaque marker."""

    token: str
    seen: str = ''
    steps: int = 0
    power: int = 1

    @classmethod
    def parse(cls, marker: str) -> Token | None:
        if not marker.startswith(OPAQUE):
            return None
        seen, steps, power, token = marker[1:].split(':', 3)
        return cls(token, seen, int(steps), int(power))

    def next(self, token: str) -> Token:
        """PermanentError when the store has handed out this token before."""
        mark = hashlib.sha256(token.encode()).hexdigest()[:16]
        if mark == self.seen or token == self.token:
            raise PermanentError('listing repeats its continuation token', reason='lying-listing')
        if self.steps + 1 == self.power:
            return Token(token, mark, 0, self.power * 2)
        return Token(token, self.seen, self.steps + 1, self.power)

    @property
    def marker(self) -> str:
        return f'{OPAQUE}{self.seen}:{self.steps}:{self.power}:{self.token}'


@dataclass(frozen=True, slots=True)
class _Raw:
    """A page as the store gave it, keys decoded."""

    entries: Sequence[ListingEntry]
    truncated: bool
    token: str
    v1: bool
    clock_offset: float


class Listing:
    def __init__(self, client: Client, scheme: KeyScheme) -> None:
        self._client = client
        self._scheme = scheme
        self._v1 = client.endpoint.flavour == 'google'

    @property
    def ordered(self) -> bool:
        """Told by the store's name, so known after its first answer; of Amazon and Google before (semantics 6.1)."""
        if self._client.endpoint.flavour != 'other':
            return True
        return self._client.answered and not self._client.server.startswith(UNORDERED_SERVERS)

    def page(self, bucket: str, *, marker: str, limit: int | None, prefix: str, delimiter: str) -> ListingPage:
        if limit is not None and limit <= 0:
            return ListingPage()
        token = Token.parse(marker)
        front = self._scheme.prefix
        after = '' if token or not marker else front + marker
        if after and delimiter and after.endswith(delimiter):
            after += LAST_CHARACTER  # beyond all that was rolled up into this name
        query = {'max-keys': str(min(limit or MAX_KEYS, MAX_KEYS))}
        query.update({k: v for k, v in (('prefix', front + prefix), ('delimiter', delimiter)) if v})
        raw = self._fetch(bucket, query, after, token)
        if self.ordered:
            page = self._ordered(raw, marker if not token else '', token)
        elif marker and not token:
            raise Unsupported('this store lists in an order of its own and cannot resume from a name')
        else:
            page = self._as_it_comes(raw, token)
        return replace(page, clock_offset=raw.clock_offset)

    def below(self, bucket: str, front: str) -> tuple[list[ListingEntry], float]:
        """All keys (not names) that begin with ``front``, and how far the store's clock is ahead, in seconds.

        For objects of our own beside the users', of which there are few.
        """
        found: list[ListingEntry] = []
        after, token = '', None
        while True:
            raw = self._fetch(bucket, {'prefix': front, 'max-keys': str(MAX_KEYS)}, after, token)
            found += [e for e in raw.entries if not e.subdir and e.name.startswith(front)]
            if not raw.truncated:
                return found, raw.clock_offset
            if raw.token and not raw.v1:
                token = (token or Token('')).next(raw.token)
            elif raw.entries and raw.entries[-1].name.encode() > after.encode():
                after = raw.entries[-1].name
            else:
                raise PermanentError('listing does not go on beyond its marker', reason='lying-listing')

    def buckets(self, *, marker: str, limit: int | None, prefix: str) -> BucketPage:
        found: list[BucketEntry] = []
        query: dict[str, str] = {}
        while True:
            _response, data = self._client.read(Call('GET', query=query))
            root = xml.listing(data, 'ListAllMyBucketsResult')
            found += [BucketEntry(b.findtext('Name') or '', last_modified=_when(b.findtext('CreationDate')))
                      for b in root.iter('Bucket')]
            token = root.findtext('ContinuationToken') or ''
            if not token or query.get('continuation-token') == token:
                break
            query = {'continuation-token': token}
        left = sorted((b for b in found if b.name > marker and b.name.startswith(prefix)), key=lambda b: b.name)
        page = left if limit is None else left[:limit]
        return BucketPage(tuple(page), page[-1].name if page and len(page) < len(left) else None)

    # -- asking -----------------------------------------------------------------------

    def _fetch(self, bucket: str, query: dict[str, str], after: str, token: Token | None) -> _Raw:
        if not self._v1:
            place = {'continuation-token': token.token} if token else {'start-after': after} if after else {}
            try:
                raw = self._ask(bucket, {**query, **place, 'list-type': '2', 'encoding-type': 'url'})
            except ProviderError as error:
                if token or not (isinstance(error, Unsupported) or error.status == 400):
                    raise
                raw = self._ask(bucket, {**query, **_v1_place(after), 'encoding-type': 'url'})
                self._v1 = True
                return raw
            if not raw.v1:
                return raw
            self._v1 = True
            if not after:
                return raw
        if self._client.endpoint.flavour != 'google':
            query = {**query, 'encoding-type': 'url'}
        return self._ask(bucket, {**query, **_v1_place(token.token if token else after)})

    def _ask(self, bucket: str, query: dict[str, str]) -> _Raw:
        response, data = self._client.read(Call('GET', bucket, query=query))
        offset = clock_offset(response.headers.get('date', ''), self._client.clock.now())
        root = xml.listing(data, 'ListBucketResult')
        decode = decoder(root)
        entries = [ListingEntry(
            decode(c.findtext('Key') or ''), size=_number(c.findtext('Size')),
            etag=(c.findtext('ETag') or '').strip('"'), last_modified=_when(c.findtext('LastModified')),
            storage_class=c.findtext('StorageClass') or '') for c in root.iter('Contents')]
        entries += [ListingEntry(decode(p.findtext('Prefix') or ''), subdir=True)
                    for p in root.iter('CommonPrefixes')]
        v1 = root.find('Marker') is not None and root.find('KeyCount') is None
        token = root.findtext('NextMarker' if v1 else 'NextContinuationToken') or ''
        return _Raw(entries, root.findtext('IsTruncated') == 'true', decode(token) if v1 else token, v1,
                    offset)

    # -- judging ----------------------------------------------------------------------

    def _ordered(self, raw: _Raw, marker: str, token: Token | None) -> ListingPage:
        for subdir in (False, True):
            last = b''
            for entry in raw.entries:
                if entry.subdir is subdir:
                    key = entry.name.encode()
                    if key <= last:
                        raise PermanentError(f'unordered listing: {entry.name!r} comes too late',
                                             reason='unordered-listing')
                    last = key
        entries = sorted(self._named(raw.entries), key=lambda e: e.name.encode())
        after = marker.encode()
        fresh = [e for e in entries if e.name.encode() > after]
        shown = tuple(e for e in fresh if e.name and not self._scheme.is_internal(self._scheme.key(e.name)))
        if not raw.truncated:
            return ListingPage(shown)
        if fresh:
            return ListingPage(shown, fresh[-1].name)
        if entries or not raw.token:
            raise PermanentError('listing does not go on beyond its marker', reason='lying-listing')
        return ListingPage(shown, (token or Token('')).next(raw.token).marker)

    def _as_it_comes(self, raw: _Raw, token: Token | None) -> ListingPage:
        shown = tuple(e for e in self._named(raw.entries)
                      if e.name and not self._scheme.is_internal(self._scheme.key(e.name)))
        if not raw.truncated:
            return ListingPage(shown)
        if not raw.token:
            raise PermanentError('listing is cut short without a token', reason='lying-listing')
        return ListingPage(shown, (token or Token('')).next(raw.token).marker)

    def _named(self, entries: Sequence[ListingEntry]) -> list[ListingEntry]:
        """Names instead of keys. PermanentError when the store lists what was not asked for."""
        try:
            return [ListingEntry(self._scheme.name(e.name), e.size, e.etag, e.last_modified, e.content_type, e.subdir,
                                 e.storage_class) for e in entries]
        except ValueError as error:
            raise PermanentError(f'listing ignores its prefix: {error}', reason='lying-listing') from error


def _v1_place(after: str) -> dict[str, str]:
    return {'marker': after} if after else {}


def decoder(root: Element) -> Callable[[str], str]:
    """Keys are decoded once, and only when the store says that it encoded them.

    Every store writes %2B for a plus; some write + for a space.
    """
    return unquote_plus if root.findtext('EncodingType') == 'url' else str


def _when(text: str | None) -> float:
    return iso_seconds(text or '') or 0.0


def _number(text: str | None) -> int:
    if not (text and text.isascii() and text.isdigit()):
        raise TemporaryError(f'listing tells a size of {text!r}', reason='malformed-answer')
    return int(text)
