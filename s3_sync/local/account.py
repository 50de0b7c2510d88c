"""One account as a sweep reads it: every container, hidden ones too, and what manifests and links say.

Read through Swift's own proxy application, which decrypts where its pipeline
can. What cannot be read beyond doubt is an error: a sweep deletes what nothing
refers to, so a reference that is overlooked costs data. Therefore listings are
those of all replicas together, and a name may have several rows: a server that
has just come back lists what the object was.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote

from swift.common.utils import Timestamp

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import AccountUnreadable, SourceError, SourceUnavailable, SourceUnusable
from s3_sync.local.links import link_of, stored_names
from s3_sync.local.listing_app import replica_rule
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.timestamps import parse_timestamp
from s3_sync.wire.swift_headers import is_encrypted

ROUNDING_SECONDS = 1e-5
"""Listings round times, headers do not."""
WAITS = (1.0, 4.0)
"""Seconds between the tries of one request."""
LOOKS = 3
"""How often an object is looked at whose row changes meanwhile."""

Path = tuple[str, str]
"""Container and object."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a container listing."""

    name: str
    size: int
    etag: str
    """Of the object as stored; of an SLO the MD5 of its manifest."""
    modified: float
    """Unix seconds of the newest of the row's times."""
    slo: bool = False
    link: Path | None = None
    """Where a symbolic link leads, ('', '') when it leaves the account; None: it is no link."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an object refers to, as it is now."""

    manifest: bytes | None = None
    """Of an SLO: its manifest as stored."""
    dlo: str = ''
    """Value of ``X-Object-Manifest``."""
    link: Path | None = None


class LocalAccount:
    """``s3_sync.engine.sweep.AccountReader`` over Swift's InternalClient. Every method raises AccountUnreadable."""

    def __init__(self, account: str, proxy: ProxyClient, *, clock: Clock | None = None) -> None:
        self.account = account
        self._proxy = proxy
        self._clock = clock or SystemClock()

    def containers(self) -> Iterator[str]:
        """All names, in order; those of Swift's own making (they begin with NUL) among them."""
        for page in self._pages(lambda: _missing(f'the account {self.account} is not found')):
            yield from dict.fromkeys(entry['name'] for entry in page)

    def listing(self, container: str) -> Iterator[list[Listed]]:
        """Every row of any replica, page by page. A container that is deleted meanwhile had none left."""
        for page in self._pages(lambda: self._container_missing(container), container):
            yield [self._listed(container, entry) for entry in page]

    def look(self, container: str, listed: Listed) -> Found | None:
        """What the object refers to: the version of this row or a newer one. None: it is deleted."""
        row = listed
        for _ in range(LOOKS):
            for newest in (False, True):
                answer = self._current(container, row, newest)
                if answer is not None:
                    return answer[0]
            now = self._rows(container, row.name)
            if not now:
                return None
            if row in now:
                break
            row = max(now, key=lambda shown: (shown.modified, shown.slo))
        raise AccountUnreadable(f'{self.account}/{container}/{listed.name} is listed, and no replica that answers '
                                'has that version')

    # -- objects -------------------------------------------------------------------------

    def _current(self, container: str, listed: Listed, newest: bool) -> tuple[Found | None] | None:
        """What the object is, None when what was found is older than its row."""
        status, headers, body = self._object('GET' if listed.slo else 'HEAD', container, listed.name, newest)
        if status == 404:
            return (None,) if _not_older(headers, 'x-backend-timestamp', listed) else None
        if listed.slo:
            # A replica that missed a PUT may have got a later POST: the metadata's time proves no manifest.
            fresh = (headers.get('etag', '').strip('"') == listed.etag
                     or _not_older(headers, 'x-backend-data-timestamp', listed))
        else:
            fresh = _not_older(headers, 'x-backend-timestamp', listed)
        if not fresh:
            return None
        if headers.get('x-static-large-object', '').lower() == 'true':
            if not listed.slo:  # a manifest since; a HEAD has no body
                status, headers, body = self._object('GET', container, listed.name, newest)
            if status != 200 or is_encrypted(headers):
                raise AccountUnreadable(f'the manifest {self.account}/{container}/{listed.name} cannot be read'
                                        f'{"; internal_client_path does not decrypt" if status == 200 else ""}')
            return (Found(body, headers.get('x-object-manifest', '')),)
        return (Found(None, headers.get('x-object-manifest', ''), self._link(headers)),)

    def _link(self, headers: Mapping[str, str]) -> Path | None:
        try:
            link = link_of(stored_names(headers), '')
        except SourceUnusable:
            return None  # leads nowhere
        return (link.container, link.name) if link and link.account in ('', self.account) else None

    def _object(self, method: str, container: str, name: str, newest: bool) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an object itself: not of what a link leads to, or a manifest puts together."""
        headers = {'X-Backend-Open-Expired': 'true', **({'X-Newest': 'true'} if newest else {})}
        return self._ask(method, (self.account, container, name), headers,
                         {'multipart-manifest': 'get', 'symlink': 'get'})

    # -- listings ------------------------------------------------------------------------

    def _pages(self, missing: Callable[[], None], container: str | None = None) -> Iterator[list[Any]]:
        """Pages of a listing until an empty one. ``missing`` is called for a 404, and may raise."""
        what = self.account if container is None else f'{self.account}/{container}'
        last = ''
        while True:
            page = self._page(container, {'marker': last})
            if page is None:
                missing()
                return
            if not page:
                return
            names = [entry['name'].encode() for entry in page]
            if names[0] <= last.encode() or any(one > other for one, other in pairwise(names)):
                raise AccountUnreadable(f'the listing of {what} after {last!r} goes back')
            last = page[-1]['name']
            yield page

    def _page(self, container: str | None, params: Mapping[str, str]) -> list[Any] | None:
        status, _, body = self._ask('GET', self._where(container), replica_rule('union'), {'format': 'json', **params})
        if status == 404:
            return None
        try:
            found = json.loads(body) if body else []
        except ValueError as error:
            raise AccountUnreadable(f'a listing of {self.account}/{container or ""} is not JSON') from error
        return [entry for entry in found if 'name' in entry]

    def _rows(self, container: str, name: str) -> list[Listed]:
        """The rows of one object now."""
        page = self._page(container, {'prefix': name, 'limit': '1'})
        if page is None:
            self._container_missing(container)
        return [self._listed(container, entry) for entry in page or () if entry['name'] == name]

    def _container_missing(self, container: str) -> None:
        page = self._page(None, {'prefix': container, 'limit': '1'})
        if page is None or any(entry['name'] == container for entry in page):
            raise AccountUnreadable(f'the container {self.account}/{container} is listed, and not found')

    def _listed(self, container: str, entry: Mapping[str, Any]) -> Listed:
        etag, params = _hash_params(entry.get('hash', ''))
        if 'swift_meta' in params or etag == '<unknown>':
            # Whether it is a manifest stands in what is encrypted.
            raise AccountUnreadable(f'the listing of {self.account}/{container} is encrypted and internal_client_path '
                                    'does not decrypt it')
        link: Path | None = None
        if 'symlink_path' in entry:
            link = self._target(entry['symlink_path'])
        elif 'symlink_target' in params:
            account = params.get('symlink_target_account') or quote(self.account)
            link = self._target(f'/v1/{account}/{params["symlink_target"]}')
        return Listed(entry['name'], int(entry['bytes']), etag, float(Timestamp.from_isoformat(entry['last_modified'])),
                      slo='slo_etag' in entry or 'slo_etag' in params, link=link)

    def _target(self, path: str) -> Path:
        """Of ``/v1/account/container/object``, percent-encoded."""
        _, _, account, container, name = (path.split('/', 4) + [''] * 4)[:5]
        return (unquote(container), unquote(name)) if unquote(account) == self.account else ('', '')

    # -- requests ------------------------------------------------------------------------

    def _where(self, container: str | None) -> tuple[str, ...]:
        return (self.account,) if container is None else (self.account, container)

    def _ask(self, method: str, path: tuple[str, ...], headers: Mapping[str, str],
             params: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body. One request of a million that fails should not cost the whole sweep."""
        try:
            for wait in WAITS:
                try:
                    return self._ask_once(method, path, headers, params)
                except SourceUnavailable:
                    self._clock.sleep(wait)
            return self._ask_once(method, path, headers, params)
        except SourceError as error:
            raise AccountUnreadable(str(error)) from error

    def _ask_once(self, method: str, path: tuple[str, ...], headers: Mapping[str, str],
                  params: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        answer = self._proxy.request(method, path, headers, params, normal=(200, 204, 404))
        return answer.status, answer.headers, answer.read()


def _not_older(headers: Mapping[str, str], header: str, listed: Listed) -> bool:
    time = parse_timestamp(headers.get(header))
    return time is not None and float(time) + ROUNDING_SECONDS >= listed.modified


def _missing(text: str) -> None:
    raise AccountUnreadable(text)


def _hash_params(value: str) -> tuple[str, dict[str, str]]:
    """A listing's hash and what middleware appended to it: ``<md5>; slo_etag=<...>``."""
    etag, *params = value.split(';')
    return etag.strip().strip('"'), {key.strip(): text.strip() for key, _, text in (p.partition('=') for p in params)}
