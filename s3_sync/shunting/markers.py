"""Tombstone markers as the proxy reads and writes them (semantics 7): what stays of an object deleted here."""
from __future__ import annotations

from typing import NamedTuple

from swift.common.utils import Timestamp

from s3_sync.errors import Error
from s3_sync.shunting.authorization import Env
from s3_sync.shunting.local import LocalSwift
from s3_sync.timestamps import parse_timestamp
from s3_sync.wire import tombstones


class MarkerUnreadable(Error):
    """The cluster could not say whether a marker is there: nothing may be concluded."""


class MarkerUnwritten(Error):
    """The cluster did not take a marker: what it stands for must not happen."""


class Marker(NamedTuple):
    """``name`` is the object's, not the marker's."""

    name: str
    time: Timestamp
    policies: tombstones.Policies
    """Empty for a marker that says nothing we understand: it hides, and nobody acts on it."""


class Markers:
    def __init__(self, local: LocalSwift) -> None:
        self._local = local

    def find(self, env: Env, account: str, container: str, name: str) -> Marker | None:
        """The marker of one name, by HEAD."""
        hidden = tombstones.tombstone_container(container)
        status = self._local.container_info(env, account, hidden).get('status')
        if status == 404:
            return None
        answer = self._local.request(env, 'HEAD', account, hidden, tombstones.tombstone_name(name), reserved=True)
        answer.drain()
        if answer.status == 404:
            return None
        time = parse_timestamp(answer.headers.get('x-backend-timestamp') or answer.headers.get('x-timestamp'))
        if answer.status // 100 != 2 or time is None:
            raise MarkerUnreadable(f'marker of {account}/{container}/{name}: {answer.status_line}')
        return Marker(name, time, _policies(answer.headers.get('content-type', '')))

    # -- writing -------------------------------------------------------------------------

    def put(self, env: Env, account: str, container: str, name: str, policies: tombstones.Policies,
            time: Timestamp) -> None:
        """Remember a deletion; afterwards a marker that is not older than ``time`` is there. MarkerUnwritten."""
        hidden = tombstones.tombstone_container(container)
        status = self._put(env, account, hidden, name, policies, time)
        if status == 404:
            self._create(env, account, container, hidden)
            status = self._put(env, account, hidden, name, policies, time)
        if status == 202:
            # Refused as too old, in favour of a newer marker or of a newer removal of one.
            try:
                there = self.find(env, account, container, name)
            except MarkerUnreadable as error:
                raise MarkerUnwritten(str(error)) from error
            status = 201 if there is not None and there.time >= time else 409
        if status != 201:
            raise MarkerUnwritten(f'marker of {account}/{container}/{name}: status {status}')

    def drop(self, env: Env, account: str, container: str, name: str, time: Timestamp) -> bool:
        """Forget a deletion unless it is newer than ``time``. False: the cluster did not do it."""
        hidden = tombstones.tombstone_container(container)
        answer = self._local.request(env, 'DELETE', account, hidden, tombstones.tombstone_name(name),
                                     headers=tombstones.delete_headers(time), reserved=True)
        answer.drain()
        return answer.status // 100 == 2 or answer.status in (404, 409)

    def _put(self, env: Env, account: str, hidden: str, name: str, policies: tombstones.Policies,
             time: Timestamp) -> int:
        answer = self._local.request(env, 'PUT', account, hidden, tombstones.tombstone_name(name), reserved=True,
                                     headers=tombstones.put_headers(policies, time, name), beyond_quota=True)
        answer.drain()
        return answer.status

    def _create(self, env: Env, account: str, container: str, hidden: str) -> None:
        answer = self._local.request(env, 'PUT', account, hidden, reserved=True,
                                     headers=tombstones.container_headers(container))
        answer.drain()
        if answer.status // 100 != 2:
            raise MarkerUnwritten(f'hidden container of {account}/{container}: {answer.status_line}')
        self._local.forget_container(env, account, hidden)

    # -- reading -------------------------------------------------------------------------

    def any_hashed(self, env: Env, account: str, container: str) -> bool:
        """Whether there are markers of names that are too long to be listed."""
        hidden = tombstones.tombstone_container(container)
        if self._local.container_info(env, account, hidden).get('status') == 404:
            return False
        answer = self._local.request(env, 'GET', account, hidden, reserved=True,
                                     query={'format': 'json', 'limit': '1', 'prefix': '\0\0'})
        body = answer.read()
        if answer.status not in (200, 204, 404):
            raise MarkerUnreadable(f'markers of {account}/{container}: {answer.status_line}')
        return answer.status == 200 and body not in (b'', b'[]')


def _policies(content_type: str) -> tombstones.Policies:
    return tombstones.parse_content_type(content_type) or tombstones.Policies({})
