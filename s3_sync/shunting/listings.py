"""GET of a merged container or account: who may see it, the cluster's pages, the remotes that are merged in.

What a listing looks like is decided in ``s3_sync.shunting.listing``; here it
gets its sides and becomes an answer with the cluster's own headers. Whatever
the cluster refuses is refused in its own words.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

import orjson
from swift.common.constraints import ACCOUNT_LISTING_LIMIT, CONTAINER_LISTING_LIMIT
from swift.common.swob import str_to_wsgi

from s3_sync.errors import Error
from s3_sync.lockstep import OutOfOrder
from s3_sync.shunting.call import Call
from s3_sync.shunting.creation import ACCOUNT_LEVEL, ensure_container
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.listing.account import merged_account
from s3_sync.shunting.listing.answer import PARTIAL_HEADER, ListingAnswer
from s3_sync.shunting.listing.container import merged_container
from s3_sync.shunting.listing.params import Entry, ListingParams
from s3_sync.shunting.listing.sides import RemoteSide
from s3_sync.shunting.listing.tombstones import DeletedVersions, ListedMarkers, Pages, Tombstones, both
from s3_sync.shunting.listing.verdicts import Verdicts
from s3_sync.shunting.local import LocalAnswer
from s3_sync.shunting.markers import Markers, MarkerUnreadable
from s3_sync.shunting.remotes import Remotes, RemoteUnavailable
from s3_sync.shunting.targets import Merged, Table, Target, account_target
from s3_sync.wire.tombstones import tombstone_container

_REPLACED = ('content-type', 'content-length')
VIA = 'x-1space-via'
MERGED = 'the merged namespace'
"""In place of a mapping's name, where the cluster itself is the trouble."""


class Refused(Error):
    """The cluster answers with no listing; ``answer`` is what the client gets."""

    def __init__(self, answer: LocalAnswer) -> None:
        super().__init__(answer.status_line)
        self.answer = answer


class Lister:
    """Handler of both; ``container`` and ``account`` are called with the client's request."""

    def __init__(self, table: Table, remotes: Remotes, markers: Markers, decisions: Decisions) -> None:
        self._table = table
        self._remotes = remotes
        self._markers = markers
        self._verdicts = Verdicts()
        self._decisions = decisions

    def container(self, call: Call) -> Iterable[bytes]:
        """GET of a container, by a client or by a middleware that puts large objects together."""
        merged = call.merged
        params = ListingParams.from_query_string(call.original.get('QUERY_STRING', ''), CONTAINER_LISTING_LIMIT)
        if merged is None or params is None:
            return call.send(call.forward())
        return self._serve(call, lambda: self._container(call, merged, params))

    def account(self, call: Call) -> Iterable[bytes]:
        """GET of an account."""
        profiles = self._table.whole_accounts(call.place.account)
        params = ListingParams.from_query_string(call.original.get('QUERY_STRING', ''), ACCOUNT_LISTING_LIMIT)
        if not profiles or params is None or call.authorization.denial(dict(call.original), None) is not None:
            return call.send(call.forward())
        targets = [account_target(profile) for profile in profiles]

        def listed() -> Iterable[bytes]:
            sides = [self._side(call, target) for target in targets]
            pages = _Pages(call, call.list_local)
            return self._answer(call, pages, merged_account(params, pages, sides, self._tombstones(
                call, call.place.account, ACCOUNT_LEVEL)), targets)
        return self._serve(call, listed)

    def any_object(self, call: Call, merged: Merged) -> bool:
        """Whether the merged container shows any object. Refused, RemoteUnavailable, MarkerUnreadable."""
        targets = self._owned(merged.targets, [])
        sides = [replace(self._side(call, target), on_error='fail') for target in targets]
        pages = _Pages(call)
        params = ListingParams(1)
        return bool(merged_container(params, pages, sides, self._tombstones(
            call, merged.account, merged.container)).entries)

    # -- inside -------------------------------------------------------------------------

    def _serve(self, call: Call, listed: Callable[[], Iterable[bytes]]) -> Iterable[bytes]:
        try:
            return listed()
        except Refused as refused:
            return call.send(refused.answer)
        except RemoteUnavailable as error:
            return self._unavailable(call, error)
        except (MarkerUnreadable, OutOfOrder) as error:
            return self._unavailable(call, RemoteUnavailable(MERGED, str(error)))

    def _unavailable(self, call: Call, error: RemoteUnavailable) -> Iterable[bytes]:
        self._decisions.note(call, 'unavailable', error.target, error.reason)
        return call.unavailable(error)

    def _container(self, call: Call, merged: Merged, params: ListingParams) -> Iterable[bytes]:
        first = self._first_page(call, merged)
        info = call.local.container_info(call.env, merged.account, merged.container)
        if info['status'] // 100 != 2 or call.authorization.denial(
                dict(call.original), info.get('read_acl')) is not None:
            # What the proxy remembers is no proof; its answer is, for its callback has been asked by then.
            answer = first(params.limit)
            if answer.status // 100 != 2 or not call.authorization.allowed(call.original['PATH_INFO']):
                raise Refused(answer)
            first = partial(_same, answer)
        unknown: list[str] = []
        targets = self._owned(merged.targets, unknown)
        if not targets and not unknown:
            return call.send(first(params.limit))
        pages = _Pages(call, first)
        sides = [self._side(call, target) for target in targets]
        tombstones = self._tombstones(call, merged.account, merged.container)
        return self._answer(call, pages, merged_container(params, pages, sides, tombstones), targets, unknown)

    def _first_page(self, call: Call, merged: Merged) -> Callable[[int], LocalAnswer]:
        """Asks the cluster for what the client asked; makes the container if that is what is missing."""
        def first(limit: int) -> LocalAnswer:
            answer = call.list_local(limit)
            if answer.status != 404:
                return answer
            try:
                made = ensure_container(call, merged, self._remotes, missing=True)
            except BaseException:
                answer.drain()
                raise
            if not made:
                return answer
            answer.drain()
            call.start_again()
            return call.list_local(limit)
        return first

    def _owned(self, targets: Sequence[Target], unknown: list[str]) -> list[Target]:
        """The targets that count; those that may fail, and of which it cannot be told, go to ``unknown``."""
        owned = []
        for target in targets:
            try:
                if self._remotes.owns(self._remotes.of(target), target):
                    owned.append(target)
            except RemoteUnavailable:
                if target.mapping.on_remote_error == 'fail':
                    raise
                unknown.append(target.name)
        return owned

    def _side(self, call: Call, target: Target) -> RemoteSide:
        mapping = target.mapping
        return RemoteSide(target.name, self._remotes.of(target), target.prefix, target.archives,
                          mapping.on_remote_error, mapping.reverse_scan_limit, call.via,
                          {VIA: self._remotes.via(call.via)})

    def _tombstones(self, call: Call, account: str, container: str) -> Tombstones:
        env = call.env
        pages: Pages = ListedMarkers(partial(_hidden_page, call, account, tombstone_container(container))).pages
        info = call.local.container_info(env, account, container) if container else {}
        versions = info.get('sysmeta', {}).get('versions-container')
        if versions:
            pages = both(pages, DeletedVersions(partial(_hidden_page, call, account, unquote(versions))).pages)
        return Tombstones(pages, find=partial(self._markers.find, env, account, container),
                          hashed=partial(self._markers.any_hashed, env, account, container), verdicts=self._verdicts)

    def _answer(self, call: Call, pages: _Pages, listing: ListingAnswer, targets: Sequence[Target],
                unknown: Sequence[str] = ()) -> Iterable[bytes]:
        headers = dict(listing.headers)
        failed = [*unknown, *listing.partial]
        if failed:
            headers[PARTIAL_HEADER] = ', '.join(failed)
        for name in [*unknown, *(target.name for target in targets)]:
            self._decisions.note(call, 'partial' if name in failed else 'listed', name)
        kept = [(name, value) for name, value in pages.headers if name.lower() not in _REPLACED]
        call.start_response('200 OK', kept + [(name, str_to_wsgi(value)) for name, value in headers.items()])
        return [listing.body]


class _Pages:
    """The cluster's pages of one listing. The client's own request is the ``first``; the rest are in our name.

    ``first`` gets a limit, and may answer with more.
    """

    def __init__(self, call: Call, first: Callable[[int], LocalAnswer] | None = None) -> None:
        self._call = call
        self._first = first
        self.headers: list[tuple[str, str]] = []
        """Of the first page, WSGI strings."""

    def __call__(self, params: ListingParams) -> list[Entry]:
        first, self._first = self._first, None
        call = self._call
        answer = first(params.limit) if first is not None else call.local.request(
            call.env, 'GET', call.place.account, call.place.container, query=params.query())
        is_json = answer.headers.get('content-type', '').startswith('application/json')
        if answer.status // 100 != 2 or (first is not None and not is_json):
            raise Refused(answer)
        if not is_json:  # asked in our name: nothing for the client
            answer.close()
            raise RemoteUnavailable(MERGED, 'the cluster does not list as JSON')
        if first is not None:
            self.headers = answer.raw_headers
        body = answer.read()
        entries: list[Entry] = orjson.loads(body) if body else []
        return entries


def _same(answer: LocalAnswer, limit: int) -> LocalAnswer:
    return answer


def _hidden_page(call: Call, account: str, hidden: str, query: dict[str, str]) -> list[Entry]:
    """Out of a hidden container, in our name. MarkerUnreadable; one that does not exist has nothing."""
    if call.local.container_info(call.env, account, hidden).get('status') == 404:
        return []
    answer = call.local.request(call.env, 'GET', account, hidden, query=query, reserved=True)
    body = answer.read()
    if answer.status == 404:
        return []
    if answer.status // 100 != 2:
        raise MarkerUnreadable(f'markers in {account}/{hidden}: {answer.status_line}')
    entries: list[Entry] = orjson.loads(body) if body else []
    return entries
