"""``remote_delete_after``: a lifecycle rule of the bucket, among rules of others.

The configuration is read, changed and written as a whole, so the others' rules
are kept as the bytes that were read, never parsed and written anew.
"""
from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from math import inf
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from s3_sync.errors import BucketNotFound, Forbidden, NotFound, PermanentError, Unsupported
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import Call, Client
from s3_sync.streams import BytesBody
from s3_sync.wire.keys import KeyScheme

DAY_SECONDS = 86400
MAX_ID = 255
SEEN_SECONDS = 60.0
"""How long rules that were read tell other containers of the bucket that none of them is theirs."""
_RULE = re.compile(rb'<(?:\w+:)?Rule(?=[\s>]).*?</(?:\w+:)?Rule\s*>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    raw: bytes
    id: str
    prefix: str
    enabled: bool
    days: int | None
    expires: bool
    """Deletes current versions, after days or at a date."""
    plain: bool
    """Nothing but a prefix and days: as we write them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    prefix: str
    days: int
    legacy: str = ''
    """ID and prefix that the predecessor gave its rule for the same objects."""

    @property
    def id(self) -> str:
        if len(self.prefix) <= MAX_ID:
            return self.prefix
        return f'1space-{hashlib.sha256(self.prefix.encode()).hexdigest()}'

    @property
    def raw(self) -> bytes:
        return (f'<Rule><ID>{escape(self.id)}</ID><Filter><Prefix>{escape(self.prefix)}</Prefix></Filter>'
                f'<Status>Enabled</Status><Expiration><Days>{self.days}</Days></Expiration></Rule>').encode()

    def owns(self, rule: Rule) -> bool:
        return (rule.id == self.id and rule.prefix == self.prefix) or (
            bool(self.legacy) and rule.id == rule.prefix == self.legacy)


class Lifecycle:
    def __init__(self, client: Client, bucket: str, scheme: KeyScheme) -> None:
        self._client = client
        self._bucket = bucket
        self._scheme = scheme

    def apply(self, delete_after: int, addition: int) -> None:
        """Bring the bucket's rules to expire our objects after so many seconds; 0: our rule goes.

        PermanentError when a rule of somebody else would delete our objects, or
        ours everything in the bucket. Writes only when something is to change.
        """
        if not delete_after:
            self._remove()
            return
        if not self._scheme.prefix:
            raise PermanentError(f'remote_delete_after without a key prefix would expire all of bucket {self._bucket}',
                                 reason='lifecycle')
        wanted = self._wanted(delete_after, addition)
        raw, rules = self._load()
        _check(rules, wanted, self._bucket)
        self._store(raw, rules, [w.raw for w in wanted], wanted)

    def _remove(self) -> None:
        wanted = self._wanted(DAY_SECONDS, 0)
        if self._surely_none(wanted):
            return
        try:
            raw, rules = self._load()
        except (Forbidden, Unsupported, NotFound):
            return  # a store or credentials without lifecycle: there is no rule of ours
        self._client.lifecycle_seen[self._bucket] = (self._client.clock.monotonic(), rules)
        if self._scheme.prefix and any(w.owns(r) for w in wanted for r in rules):
            self._store(raw, rules, [], wanted)

    def _surely_none(self, wanted: list[Wanted]) -> bool:
        """Whether the rules were read a moment ago and none was ours: a mapping may have 10,000 containers."""
        read_at, rules = self._client.lifecycle_seen.get(self._bucket, (-inf, ()))
        fresh = self._client.clock.monotonic() - read_at < SEEN_SECONDS
        return fresh and not any(w.owns(r) for w in wanted for r in rules if isinstance(r, Rule))

    def _wanted(self, delete_after: int, addition: int) -> list[Wanted]:
        prefix = self._scheme.prefix
        custom = not self._scheme.internal_prefixes()
        return [Wanted(prefix, _days(delete_after), prefix.rstrip('/') if custom else ''),
                *[Wanted(p, _days(delete_after + addition)) for p in self._scheme.internal_prefixes()]]

    # -- the document -----------------------------------------------------------------

    def _load(self) -> tuple[bytes, list[Rule]]:
        try:
            _response, data = self._client.read(Call('GET', self._bucket, query={'lifecycle': ''}))
        except BucketNotFound:
            raise
        except NotFound:
            return b'', []
        parsed = [_parse(e) for e in xml.parse(data).findall('Rule')]
        raws = _RULE.findall(data)
        if len(raws) != len(parsed):
            raise PermanentError('lifecycle configuration is not understood, left alone', reason='lifecycle')
        return data, [Rule(raw, *fields) for raw, fields in zip(raws, parsed, strict=True)]

    def _store(self, raw: bytes, rules: list[Rule], ours: list[bytes], wanted: list[Wanted]) -> None:
        others = [r.raw for r in rules if not any(w.owns(r) for w in wanted)]
        have = {(r.id, r.prefix, r.days) for r in rules if r.enabled and r.plain and any(w.owns(r) for w in wanted)}
        if ours and have == {(w.id, w.prefix, w.days) for w in wanted}:
            return
        self._client.lifecycle_seen.pop(self._bucket, None)
        if not others and not ours:
            self._client.do(Call('DELETE', self._bucket, query={'lifecycle': ''}))
            return
        match = re.match(rb'(?:<\?xml[^>]*\?>)?\s*<LifecycleConfiguration[^>]*>', raw)
        opening = match.group() if match else f'<LifecycleConfiguration xmlns="{xml.NAMESPACE}">'.encode()
        body = opening + b''.join(others + ours) + b'</LifecycleConfiguration>'
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        self._client.do(Call('PUT', self._bucket, query={'lifecycle': ''}, body=BytesBody(body),
                             headers={'content-md5': digest, 'content-type': 'application/xml'}))


def _parse(rule: Element) -> tuple[str, str, bool, int | None, bool, bool]:
    prefix = (rule.findtext('Filter/Prefix') or rule.findtext('Filter/And/Prefix') or rule.findtext('Prefix') or '')
    days = rule.findtext('Expiration/Days')
    known = {'ID', 'Filter', 'Prefix', 'Status', 'Expiration'}
    plain = all(e.tag in known for e in rule) and all(e.tag == 'Prefix' for e in rule.findall('Filter/*'))
    return (rule.findtext('ID') or '', prefix, rule.findtext('Status') == 'Enabled', int(days) if days else None,
            bool(days or rule.findtext('Expiration/Date')), plain)


def _check(rules: list[Rule], wanted: list[Wanted], bucket: str) -> None:
    for rule in rules:
        for ours in wanted:
            if any(w.owns(rule) for w in wanted):
                continue
            if rule.id == ours.id:
                raise PermanentError(f'bucket {bucket}: lifecycle rule {rule.id!r} has our name but another prefix',
                                     reason='lifecycle')
            if rule.enabled and rule.expires and ours.prefix.startswith(rule.prefix):
                raise PermanentError(f'bucket {bucket}: lifecycle rule {rule.id!r} already expires {rule.prefix!r}, '
                                     f'which contains {ours.prefix!r}', reason='lifecycle')


def _days(seconds: int) -> int:
    return max(1, -(-seconds // DAY_SECONDS))
