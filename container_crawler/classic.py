"""Runs handlers of the predecessor's contract (``base_sync.BaseSync``) on the crawler.

They are called row by row on ``workers`` green threads, or with whole chunks in
bulk mode, and know no unfinished rows: a chunk is done when every row of it is,
and comes again as a whole when one failed.
"""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventlet import GreenPool
from eventlet.queue import LightQueue

from container_crawler.base_sync import BaseSync
from container_crawler.crawler import Crawler, CrawlerSettings
from container_crawler.databases import DatabaseInfo
from container_crawler.exceptions import RetryError
from container_crawler.folder import Clock
from container_crawler.handlers import HandlerFactory, Progress, RowHandler
from container_crawler.rows import Row
from container_crawler.targets import WHOLE_ACCOUNT

MakeHandler = Callable[[Mapping[str, Any], bool], BaseSync]
"""``make(settings, per_account)``."""


@dataclass(frozen=True)
class ClassicMapping:
    """One entry of ``containers`` in a predecessor's configuration."""

    account: str
    container: str
    settings: str
    """The entry itself as JSON, sorted: equal entries are one mapping."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ClassicMapping:
        """KeyError when account or container is missing."""
        return cls(settings['account'], settings['container'], json.dumps(settings, sort_keys=True))


class Workers:
    """Green threads with an internal client each, shared by all handlers."""

    def __init__(self, number: int, make_client: Callable[[], Any]) -> None:
        self.pool = GreenPool(number)
        self._clients: LightQueue = LightQueue()
        for _ in range(number):
            self._clients.put(make_client())

    def call(self, function: Callable[[Any, Any], None], argument: Any) -> Exception | None:
        """``function(argument, client)``; its exception, if any."""
        client = self._clients.get()
        try:
            function(argument, client)
        except Exception as error:
            return error
        finally:
            self._clients.put(client)
        return None


class ClassicHandler(RowHandler):
    def __init__(self, handler: BaseSync, workers: Workers, *, bulk: bool) -> None:
        self._handler = handler
        self._workers = workers
        self._bulk = bulk

    def load_progress(self, db_id: str) -> Progress | None:
        own, verified = self._handler.get_last_processed_row(db_id), self._handler.get_last_verified_row(db_id)
        return Progress(own, min(own, verified), '') if own else None

    def save_progress(self, db_id: str, progress: Progress) -> None:
        if progress.own_row != self._handler.get_last_processed_row(db_id):
            self._handler.save_last_processed_row(progress.own_row, db_id)
        if progress.verified_row != self._handler.get_last_verified_row(db_id):
            self._handler.save_last_verified_row(progress.verified_row, db_id)

    def handle_own(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        items = [_as_item(row) for row in rows]
        if self._bulk:
            errors = [self._workers.call(self._handler.handle, items)]
        else:
            calls = [self._workers.pool.spawn(self._workers.call, self._handler.handle, item) for item in items]
            errors = [call.wait() for call in calls]
        failures = [error for error in errors if error is not None]
        if failures:
            raise min(failures, key=lambda error: isinstance(error, RetryError))
        for row in rows:
            done(row)

    def handle_others(self, db: DatabaseInfo, rows: Sequence[Row], done: Callable[[Row], None]) -> None:
        self.handle_own(db, rows, done)

    def handle_container_info(self, info: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        times = info['metadata_timestamps']
        self._handler.handle_container_info(info, {name: (metadata.get(name, ''), times[name]) for name in times})


def _as_item(row: Row) -> dict[str, Any]:
    """As ``ContainerBroker.get_items_since`` tells it."""
    return {'ROWID': row.row_id, 'name': row.name, 'created_at': row.created_at, 'size': row.size,
            'content_type': row.content_type, 'etag': row.etag, 'deleted': int(row.deleted),
            'storage_policy_index': row.policy_index}


class ClassicFactory(HandlerFactory):
    def __init__(self, make_handler: MakeHandler, workers: Workers, *, bulk: bool = False) -> None:
        self._make_handler = make_handler
        self._workers = workers
        self._bulk = bulk

    def create(self, mapping: ClassicMapping, container: str) -> ClassicHandler:
        settings = {**json.loads(mapping.settings), 'container': container}
        handler = self._make_handler(settings, mapping.container == WHOLE_ACCOUNT)
        return ClassicHandler(handler, self._workers, bulk=self._bulk)


def classic_crawler(conf: Mapping[str, Any], make_handler: MakeHandler, *, make_client: Callable[[], Any],
                    list_containers: Callable[[str], Iterable[str]], logger: logging.Logger,
                    clock: Clock) -> Crawler:
    """A crawler from a predecessor's configuration. ``verification_slack`` is in minutes, 0 by default, as there.

    Entries of ``containers`` without account or container are logged and left out.
    """
    bulk = bool(conf.get('bulk_process', False))
    mappings = []
    for number, entry in enumerate(conf.get('containers', ())):
        try:
            mappings.append(ClassicMapping.of(entry))
        except KeyError as missing:
            logger.error('containers[%d] has no %s and is left out', number, missing)
    settings = CrawlerSettings(
        devices=conf['devices'], swift_dir=conf.get('swift_dir', '/etc/swift'),
        swift_bind_ip=conf.get('swift_bind_ip', '0.0.0.0'), items_chunk=conf['items_chunk'],
        enumerator_workers=conf.get('enumerator_workers', 10), poll_interval=conf.get('poll_interval', 5),
        verification_slack_seconds=conf.get('verification_slack', 0) * 60)
    factory = ClassicFactory(make_handler, Workers(1 if bulk else conf.get('workers', 10), make_client), bulk=bulk)
    return Crawler(settings, mappings, factory, list_containers=list_containers, logger=logger, clock=clock)
