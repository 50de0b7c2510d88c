"""What the crawler asks of those it hands rows to.

A handler takes rows and returns at once, or when it likes; it reports each row
when nothing depends any more on its being read again. The crawler keeps the
window of unfinished rows and tells the handler which progress to store.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from container_crawler.databases import DatabaseInfo
from container_crawler.rows import Row


class ContainerMapping(Hashable, Protocol):
    """What the crawler needs to know of a configured mapping. Equal mappings are one."""

    @property
    def account(self) -> str: ...

    @property
    def container(self) -> str:
        """A container's name, or ``/*`` for every container of the account."""


class Progress(NamedTuple):
    """How far one database has been worked through. Stored by the handler."""

    own_row: int
    """Rows up to here that are this node's to do first are finished."""
    verified_row: int
    """Rows up to here are finished or verified, whoever they belong to; never above ``own_row``."""
    share: str
    """Whose rows counted as own (``DatabaseInfo.share``); '' when unknown."""


class RowHandler(ABC):
    """Work on the rows of one container for one mapping. Made once and kept.

    Exceptions raised by the methods concern this container only; rows of a
    call that raised are offered again at the next poll. ``RetryError`` does the
    same without being logged as an error.
    """

    @abstractmethod
    def load_progress(self, db_id: str) -> Progress | None:
        """What was stored for this database, None to begin with its first row."""

    @abstractmethod
    def save_progress(self, db_id: str, progress: Progress) -> None:
        """Store it. Called when rows finished, not for each of them."""

    @abstractmethod
    def handle_own(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        """Work on ``rows`` (never empty), which no other node works on unless this one fails to.

        May return before they are finished. ``done(row)`` is called once for
        each, in any order, from a green thread of the same hub.
        """

    @abstractmethod
    def handle_others(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        """See that rows of other nodes were worked on, and do what is missing. Same contract."""

    def handle_container_info(self, info: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        """The container itself was seen first or changed. Root databases only, before their rows.

        ``info`` is ``ContainerBroker.get_info()`` plus ``metadata_timestamps``
        (name to internal timestamp); ``metadata`` holds names as stored and
        values, without removed ones.
        """

    def ready(self) -> bool:
        """False: leave this container's rows where they are for now (paused, remote down)."""
        return True


class HandlerFactory(ABC):
    @abstractmethod
    def create(self, mapping: Any, container: str) -> RowHandler:
        """The handler of one concrete container. SkipContainer: this one is not to be crawled."""

    def known_containers(self, account: str) -> Iterable[str]:
        """Containers of an account mapped whole that had rows before, listed now or not, in any order.

        A deleted container is in no listing while its tombstones still wait;
        this is how it is found.
        """
        return ()

    def companions(self, container: str) -> Iterable[str]:
        """Hidden containers (with Swift's reserved names) that are looked at along with one that a mapping names.

        Most need not exist. Each has a handler of its own.
        """
        return ()

    def wants_hidden(self, container: str) -> bool:
        """Whether this hidden container of an account mapped whole is looked at; otherwise they are left out."""
        return False
