"""One remote side while it is being merged: the entry it stands at, and what becomes of its failures."""
from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from s3_sync.concurrency import GreenThread, spawn
from s3_sync.errors import Error, NotFound
from s3_sync.shunting.listing.scope import Scope
from s3_sync.shunting.listing.sides import Names, RemoteSide
from s3_sync.shunting.listing.store_names import Item
from s3_sync.shunting.remotes import DEFAULT_RETRY_SECONDS, RemoteUnavailable

T = TypeVar('T')


class Cursor:
    """``key`` and ``payload`` are the current entry; ``key`` is '' when there is none (any more).

    A failure of a side whose mapping says ``partial`` ends it, and ``failed``
    tells; other failures leave as RemoteUnavailable. Only what is needed can
    fail: an error on a page that the listing does not reach is nobody's.
    """

    def __init__(self, side: RemoteSide, names: Names, scope: Scope) -> None:
        self.side = side
        self.names = names
        self.key = ''
        self.payload: Any = None
        self.failed = False
        self._scope = scope
        self._chunks = _chunks(names, scope.lower, scope.upper)
        self._chunk: list[Item] = []
        self._at = 0
        self._ahead: GreenThread | None = None

    def start(self) -> None:
        """Ask for the first page now, without waiting for it."""
        self._ahead = spawn(self._pull)

    def open(self) -> None:
        """Stand at the first entry."""
        self._load()

    def restart(self, key: str) -> None:
        """Ask again for all that comes after ``key``: it may have changed."""
        if self.failed:
            return
        self._chunks.close()
        self._chunks = _chunks(self.names, *self._scope.beyond(key))
        self._load()

    def advance(self) -> None:
        self._at += 1
        if self._at < len(self._chunk):
            self.key, self.payload = self._chunk[self._at]
        else:
            self._load()

    def upcoming(self, count: int) -> list[Item]:
        """Single names that come next, as far as they are at hand."""
        return [item for item in self._chunk[self._at + 1:self._at + 1 + count] if item[1] is not None]

    def try_(self, call: Callable[[], T], otherwise: T) -> T:
        """What ``call`` returns; ``otherwise`` when the remote fails and may."""
        try:
            return call()
        except NotFound:
            return otherwise
        except Error as error:
            self._failed(error)
            return otherwise

    def close(self) -> None:
        """Nothing of this goes on in the background afterwards."""
        if self._ahead is not None:
            self._ahead.kill()
            self._ahead = None
        self._chunks.close()

    # -- inside -------------------------------------------------------------------------

    def _load(self) -> None:
        self.key, self.payload, self._chunk, self._at = '', None, [], 0
        if not self.failed:
            self._chunk = self._next_chunk()
        if self._chunk:
            self.key, self.payload = self._chunk[0]

    def _next_chunk(self) -> list[Item]:
        found: list[Item] | Error
        if self._ahead is None:
            found = self._pull()
        else:
            found = self._ahead.wait()
            self._ahead = None
        if isinstance(found, Error):
            self._failed(found)
            return []
        return found

    def _pull(self) -> list[Item] | Error:
        """The next entries, none at the end. Errors are values, for nobody may be waiting for this green thread."""
        try:
            return next((chunk for chunk in self._chunks if chunk), [])
        except Error as error:
            return error

    def _failed(self, error: Error) -> None:
        if self.side.on_error == 'fail':
            raise unavailable(self.side.name, error) from error
        self.failed = True
        self.key, self.payload, self._chunk = '', None, []


def unavailable(name: str, error: Error) -> RemoteUnavailable:
    """The failure as the client hears it."""
    if isinstance(error, RemoteUnavailable):
        return error
    reason = str(getattr(error, 'reason', 'remote-error'))
    return RemoteUnavailable(name, reason, retry_after=getattr(error, 'retry_after', None) or DEFAULT_RETRY_SECONDS)


def _chunks(names: Names, lower: str, upper: str) -> Generator[list[Item], None, None]:
    yield from names.chunks(lower, upper)
