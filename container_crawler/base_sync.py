"""The predecessor's handler contract, for handlers written against it.

``container_crawler.classic`` runs them. New handlers implement
``container_crawler.handlers.RowHandler``, which lets rows finish in any order.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class BaseSync(ABC):
    """One container of one mapping.

    Construction may raise SkipContainer. ``handle`` may raise RetryError (later)
    or anything (logged): rows of the chunk that it belongs to come again.
    """

    def __init__(self, status_dir: str, settings: Mapping[str, Any], per_account: bool = False) -> None:
        """``settings``: the mapping as configured, ``container`` a concrete one; ``per_account``: it was ``/*``."""
        self._status_dir = status_dir
        self._settings = settings
        self._account: str = settings['account']
        self._container: str = settings['container']
        self._per_account = per_account

    @abstractmethod
    def handle(self, rows: Any, internal_client: Any) -> None:
        """One row (a dict with the columns of the object table), or a list of them in bulk mode."""

    @abstractmethod
    def get_last_processed_row(self, db_id: str) -> int:
        """0 when nothing is stored."""

    @abstractmethod
    def save_last_processed_row(self, row_id: int, db_id: str) -> None: ...

    @abstractmethod
    def get_last_verified_row(self, db_id: str) -> int:
        """0 when nothing is stored."""

    @abstractmethod
    def save_last_verified_row(self, row_id: int, db_id: str) -> None: ...

    def handle_container_info(self, container_info: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """The container was seen first or changed; ``metadata``: name to (value, timestamp)."""
