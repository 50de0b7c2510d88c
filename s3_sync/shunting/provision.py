"""Containers of migrations are made when a configuration comes into use, before anybody asks for them (semantics 10).

What looks for containers without passing the filter (s3api's uploads, tempurl's
keys) finds them then. It happens beside the requests, slowly, in one process of
all that share a cache, and again every few minutes: a remote may have been down,
and buckets come and go. Where everything is there, it costs next to nothing.
"""
from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from swift.common.swob import Request
from swift.common.utils import generate_trans_id

from s3_sync.clock import Clock
from s3_sync.config import Migration
from s3_sync.errors import Error
from s3_sync.shunting.authorization import Env
from s3_sync.shunting.creation import create_container
from s3_sync.shunting.listing.account import is_container
from s3_sync.shunting.local import LocalSwift
from s3_sync.shunting.state import Setup
from s3_sync.shunting.targets import Merged, account_target

AGAIN_SECONDS = 300
PAUSE_SECONDS = 0.05
"""Between two containers that are not known to be here."""
PAGE = 10_000


class ListingFailed(Error):
    """The cluster does not tell which containers an account has."""


class Provision:
    """Of one filter. ``in_use``: whether a configuration is (still) the present one."""

    def __init__(self, local: LocalSwift, in_use: Callable[[Setup], bool], *, clock: Clock,
                 logger: logging.Logger) -> None:
        self._local = local
        self._in_use = in_use
        self._clock = clock
        self._logger = logger
        self._cache: Any = None
        self._told: dict[str, str] = {}

    def lend(self, env: Env) -> None:
        """Requests of our own use the cache of the first client's."""
        if self._cache is None:
            self._cache = env.get('swift.cache')

    def keep(self, setup: Setup) -> None:
        """Go on as long as this configuration is in use. Runs in a green thread of its own."""
        if not setup.table.migrated_containers() and not setup.table.whole_migrations():
            return
        while self._in_use(setup):
            if self._is_our_turn(setup):
                self.bring(setup)
            self._clock.sleep(AGAIN_SECONDS)

    def bring(self, setup: Setup) -> None:
        """Make what is missing now. Failures are logged when they are new; nothing is raised."""
        for merged in setup.table.migrated_containers():
            env = self._env()
            if self._local.container_info(env, merged.account, merged.container)['status'] // 100 != 2:
                self._make(setup, env, merged)
        for profile in setup.table.whole_migrations():
            try:
                for merged in self._missing(setup, profile):
                    self._make(setup, self._env(), merged)
            except Exception as error:  # one remote never keeps another's containers waiting
                self._tell(profile.name, str(error))
            else:
                self._tell(profile.name, '')

    # -- inside -------------------------------------------------------------------------

    def _missing(self, setup: Setup, profile: Migration) -> Iterator[Merged]:
        """The containers of all the remote's buckets that this account does not list."""
        remote = setup.remotes.of(account_target(profile))
        buckets = setup.remotes.buckets(remote)
        here = self._listed(profile.account)
        for name in sorted(buckets.keys() - here):
            merged = setup.table.lookup(profile.account, name) if is_container(name) else None
            if merged is not None:
                yield merged

    def _listed(self, account: str) -> set[str]:
        names: set[str] = set()
        marker = ''
        while True:
            answer = self._local.request(self._env(), 'GET', account, query={
                'format': 'json', 'limit': str(PAGE), 'marker': marker})
            body = answer.read()
            if answer.status == 404:
                return names
            if answer.status // 100 != 2:
                raise ListingFailed(f'containers of {account}: {answer.status_line}')
            page = [entry['name'] for entry in json.loads(body or b'[]')]
            names.update(page)
            if not page:
                return names
            marker = page[-1]

    def _make(self, setup: Setup, env: Env, merged: Merged) -> None:
        where = f'{merged.account}/{merged.container}'
        try:
            made = create_container(self._local, env, merged, setup.remotes)
        except Exception as error:  # one container never keeps another waiting
            self._tell(where, str(error))
        else:
            # Deleted here, or not there: the latter is worth a line where it was asked for by name.
            self._tell(where, '' if made else 'it is not at the remote, or was deleted here')
        self._clock.sleep(PAUSE_SECONDS)

    def _tell(self, where: str, problem: str) -> None:
        if problem and self._told.get(where) != problem:
            self._logger.warning('%s: the container of a migration is not made: %s', where, problem)
        self._told[where] = problem

    def _env(self) -> Env:
        env: Env = Request.blank('/v1/').environ
        env['swift.trans_id'] = generate_trans_id('')
        env['swift.infocache'] = {}
        if self._cache is not None:
            env['swift.cache'] = self._cache
        return env

    def _is_our_turn(self, setup: Setup) -> bool:
        """Whether no other process has done it a moment ago, as far as the cache tells."""
        if self._cache is None:
            return True
        try:
            return bool(self._cache.incr(f'1space/provision/{_digest(setup)}', time=AGAIN_SECONDS - 1) == 1)
        except Exception:  # whatever kind of cache this is: what it cannot tell costs only work
            return True


def _digest(setup: Setup) -> str:
    """The same for all processes that have read the same file; another once it was written anew."""
    path = str(setup.settings.path)
    try:
        written = os.stat(path).st_mtime_ns
    except OSError:
        written = 0
    return hashlib.sha256(f'{path}:{written}'.encode()).hexdigest()
