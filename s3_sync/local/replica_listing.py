"""Listings of an account or container as all its servers have them, not as the one that a proxy asks.

A server that was down for long and has just come back lists a past state. What
a sweep overlooks there costs data, and so does a segment of a DLO that is
archived without it.

How many servers have to answer: more than half of the primaries (2 of 3, both
of 2). A row gets to the servers by updates, each sent to one of them; what did
not arrive waits with its sender, and those that are up soon give it to each
other. So who was away for long lacks a row, the others have it, and of any two
out of three one is an other. What is left: a row written while two were away,
or so lately that nothing has been made up for yet, listed by two that lack it,
while the one that has it is away now. Whoever asks has a time of grace for the
latter. A server without a database (a new disk) is no answer; one that knows
that the container was deleted is.

``union``: everything that any of the servers lists, all that differs under one
name. ``agreed``: what all that answer list alike, name, size and hash.
Deleted rows do not show in listings and times are the newest of three, so what
differs could only be guessed: SourceUnavailable, until replication has settled
it.

Of a sharded container the shards are asked the same way. ``union`` also takes
what the databases of the root keep, rows that wait to be moved or cleaved.
``agreed`` needs a root that is sharded to its end, on every server alike, with
one shard for each name and nothing that waits.
"""
from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from swift.common.ring import Ring

from s3_sync.clock import Clock
from s3_sync.errors import SourceUnavailable
from s3_sync.local.backend_http import BackendResponse
from s3_sync.local.placement import Node
from s3_sync.local.storage_servers import StorageServers, label
from s3_sync.timestamps import parse_timestamp

Rule = Literal['union', 'agreed']
Entry = dict[str, Any]
"""As servers list it: nothing decrypted, parameters of middleware in its hash."""

REST_SECONDS = 4.0
"""Shorter than the patience of a sweep, which asks three times within 5 s."""


class Target(NamedTuple):
    account: str
    container: str = ''
    """'': the listing of the account."""

    def __str__(self) -> str:
        return '/'.join(filter(None, self))


@dataclass(frozen=True, slots=True)
class Span:
    """Names after ``after``, up to and including ``until`` ('': all) that begin with ``prefix``."""

    after: str = ''
    until: str = ''
    prefix: str = ''
    limit: int | None = None
    """Of a page of one server; None: as many as it gives."""


class Page(NamedTuple):
    entries: list[Entry]
    through: str | None
    """The name up to which it is complete. None: to the end of the span."""


class _Range(NamedTuple):
    shard: Target
    lower: str
    upper: str
    """'': no end."""


class _Answer(NamedTuple):
    kind: Literal['rows', 'shards', 'deleted', 'absent']
    entries: list[Entry]
    state: str = ''
    policy: str = ''


class ReplicaListing:
    """Green-thread safe; kept for the life of a process."""

    def __init__(self, account_ring: Ring, container_ring: Ring, *, servers: StorageServers | None = None,
                 clock: Clock | None = None, logger: logging.Logger | None = None) -> None:
        self._accounts = account_ring
        self._containers = container_ring
        self._servers = servers or StorageServers(clock=clock, logger=logger, rest_seconds=REST_SECONDS)

    def close(self) -> None:
        self._servers.close()

    def page(self, rule: Rule, target: Target, span: Span) -> list[Entry] | None:
        """The first names of the span, in the order of their UTF-8 bytes; empty: there are none.

        All entries of a name are on the same page. None: there is no such
        account or container; one whose deletion is known is empty by the rule
        of ``union``. Raises SourceUnavailable.
        """
        found = _Reading(self, rule).page(target, span, frozenset(), {})
        return None if found is None else found.entries

    def answers(self, target: Target, span: Span, headers: Mapping[str, str]) -> list[_Answer]:
        """What those say that know the target; empty when nobody does. SourceUnavailable when too few are left."""
        ring = self._containers if target.container else self._accounts
        path = tuple(filter(None, target))
        partition, nodes = ring.get_nodes(*path)
        answers, problems = [], []
        for node in nodes:
            try:
                response = self._servers.ask('GET', node, partition, path, headers, query=_query(span))
                answers.append(_answer(response, node, span.after))
            except SourceUnavailable as error:
                problems.append(str(error))
        known = [answer for answer in answers if answer.kind != 'absent']
        if 2 * len(known) > len(nodes):
            return known
        if not problems and all(answer.kind == 'deleted' for answer in known):
            return []
        problems += ['a server has no database of it'] * (len(answers) - len(known))
        raise SourceUnavailable(f'{target}: only {len(known)} of {len(nodes)} servers list it ({"; ".join(problems)})')


class _Reading:
    """One page, by one rule."""

    def __init__(self, listing: ReplicaListing, rule: Rule) -> None:
        self._listing = listing
        self._agreed = rule == 'agreed'

    def page(self, target: Target, span: Span, above: frozenset[Target], headers: Mapping[str, str]) -> Page | None:
        """``above``: the containers whose shard this is; ``headers``: the policy of their root. None: not found."""
        answers = self._listing.answers(target, span, {'X-Backend-Record-Type': 'auto', **headers})
        live = [answer for answer in answers if answer.kind != 'deleted']
        if not live:
            return Page([], None) if answers and target.container and not self._agreed else None
        if not headers and len({answer.policy for answer in live}) > 1:
            raise SourceUnavailable(f'{target}: its servers disagree on its storage policy')
        if self._agreed and len(live) < len(answers):
            raise SourceUnavailable(f'{target}: one of its servers knows it as deleted')
        if all(answer.kind == 'rows' for answer in live):
            return self._merged(target, [_whole(answer) for answer in live])
        if self._agreed and any((answer.kind, answer.state) != ('shards', 'sharded') for answer in live):
            raise SourceUnavailable(f'{target} is being sharded')
        headers = headers or {'X-Backend-Storage-Policy-Index': live[0].policy}
        own = self._own(target, span, headers)
        ranges = self._ranges(target, [answer.entries for answer in live if answer.kind == 'shards'])
        return _union([own, self._sharded(target, ranges, span, above | {target}, headers)])

    def _own(self, target: Target, span: Span, headers: Mapping[str, str]) -> Page:
        """What a sharded container's own databases keep: not moved to a shard yet, or not cleaved yet."""
        kept = [_whole(answer) for answer in self._listing.answers(
                    target, span, {**headers, 'X-Backend-Record-Type': 'object'}) if answer.kind == 'rows']
        if self._agreed and any(page.entries for page in kept):
            raise SourceUnavailable(f'{target}: rows wait to be moved to their shards')
        return _union(kept)

    def _ranges(self, target: Target, listings: Sequence[list[Entry]]) -> list[_Range]:
        found = [{_Range(Target(*str(entry['name']).split('/', 1)), entry['lower'], entry['upper'])
                  for entry in listing} for listing in listings]
        if self._agreed and any(ranges != found[0] for ranges in found):
            raise SourceUnavailable(f'{target}: its servers disagree on its shards')
        return sorted(set().union(*found))

    def _sharded(self, target: Target, ranges: Sequence[_Range], span: Span, above: frozenset[Target],
                 headers: Mapping[str, str]) -> Page:
        """The first page of the shards that has entries, walking from border to border."""
        at = span.after
        while not (at > span.prefix and not at.startswith(span.prefix)):
            covering = [r for r in ranges if r.lower <= at and (not r.upper or r.upper > at)]
            borders = [r.upper for r in covering if r.upper] + [r.lower for r in ranges if r.lower > at]
            to = min([*borders, *filter(None, [span.until])], default='')
            if not to or to >= span.prefix:
                shards = {r.shard for r in covering}
                if self._agreed and (len(shards) != 1 or shards & above):
                    raise SourceUnavailable(f'{target}: no shard, or more than one, has the names after {at!r}')
                page = _union([self._shard(shard, replace(span, after=at, until=to), above, headers)
                               for shard in sorted(shards - above)])
                if page.entries:
                    through = page.through if page.through is not None else to
                    return Page(page.entries, through if through != span.until else None)
            if to == span.until:
                break
            at = to
        return Page([], None)

    def _shard(self, shard: Target, span: Span, above: frozenset[Target], headers: Mapping[str, str]) -> Page:
        page = self.page(shard, span, above, headers)
        if page is None:
            raise SourceUnavailable(f'the shard {shard} is not found')
        return page

    def _merged(self, target: Target, pages: Sequence[Page]) -> Page:
        together = _union(pages)
        if not self._agreed:
            return together
        shown = [{(e['name'], e['bytes'], e['hash']) for e in _until(page.entries, together.through)}
                 for page in pages]
        differing = set().union(*shown) - shown[0].intersection(*shown)
        if differing:
            raise SourceUnavailable(f'{target}: its servers list {min(differing)[0]!r} differently')
        return Page(list(_until(pages[0].entries, together.through)), together.through)


def _union(pages: Sequence[Page]) -> Page:
    """Everything as far as all pages are complete; entries that are equal once."""
    through = min((page.through for page in pages if page.through is not None), default=None)
    if pages and all(page.entries == pages[0].entries for page in pages):
        return Page(pages[0].entries, through)
    found: dict[str, list[Entry]] = {}
    for page in pages:
        for entry in _until(page.entries, through):
            same_name = found.setdefault(entry['name'], [])
            if entry not in same_name:
                same_name.append(entry)
    return Page([entry for name in sorted(found) for entry in found[name]], through)


def _until(entries: Iterable[Entry], through: str | None) -> Iterable[Entry]:
    return (entry for entry in entries if through is None or entry['name'] <= through)


def _whole(answer: _Answer) -> Page:
    """A server may have cut its page anywhere; only an empty one is the last."""
    return Page(answer.entries, answer.entries[-1]['name'] if answer.entries else None)


def _query(span: Span) -> str:
    asked = {'format': 'json', 'states': 'listing', 'marker': span.after, 'prefix': span.prefix,
             'end_marker': span.until and f'{span.until}\0', 'limit': span.limit}
    return urlencode({key: value for key, value in asked.items() if value not in ('', None)})


def _answer(response: BackendResponse, node: Node, after: str) -> _Answer:
    headers = response.headers
    try:
        body = response.read()
    finally:
        response.close()
    if response.status == 404:
        deleted = parse_timestamp(headers.get('x-backend-delete-timestamp'))
        known = bool(deleted) or headers.get('x-account-status', '').lower() == 'deleted'
        return _Answer('deleted' if known else 'absent', [])
    if response.status not in (200, 204):
        raise SourceUnavailable(f'{label(node)}: status {response.status} to a listing')
    try:
        entries: list[Entry] = json.loads(body or b'[]')
        if headers.get('x-backend-record-type', '').lower() == 'shard':
            return _Answer('shards', entries, headers.get('x-backend-sharding-state', ''),
                           headers['x-backend-storage-policy-index'])
        last = after
        for entry in entries:
            if entry['name'] <= last:
                raise SourceUnavailable(f'{label(node)}: a listing that goes back to {entry["name"]!r}')
            last = entry['name']
    except (ValueError, KeyError, TypeError) as error:
        raise SourceUnavailable(f'{label(node)}: not a listing: {error!r}') from error
    return _Answer('rows', entries, policy=headers.get('x-backend-storage-policy-index', ''))
