"""The configuration in use, shared by both filters of a proxy process, reloaded beside the requests.

A reload is never a client's business: a green thread looks at the file every
few seconds, reads it in a real thread, and puts the new configuration in place
when it is good. Requests that began under the old one end under it.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from s3_sync.clock import Clock
from s3_sync.concurrency import GreenThread, in_thread, spawn
from s3_sync.config import Mapping, Migration, Settings, Watcher
from s3_sync.metrics import Metrics
from s3_sync.shunting.authorization import Env
from s3_sync.shunting.call import is_bypassed
from s3_sync.shunting.clock import GreenClock
from s3_sync.shunting.options import Options
from s3_sync.shunting.remotes import Remotes
from s3_sync.shunting.targets import Table

RELOAD_SECONDS = 5.0
OLD_SETUP_SECONDS = 60.0
"""How long the connections of a replaced configuration stay open for requests that still use it."""

P = TypeVar('P', Mapping, Migration)

_states: dict[str, ShuntState] = {}


class Setup:
    """One configuration and everything that was made from it."""

    def __init__(self, settings: Settings, options: Options, *, clock: Clock, metrics: Metrics,
                 logger: logging.Logger) -> None:
        self.settings = settings
        self.table = Table(_defaulted(settings.containers, options), _defaulted(settings.migrations, options))
        self.remotes = Remotes(settings, clock=clock, metrics=metrics, logger=logger)
        self.bypass_key = settings.bypass_key.reveal() if settings.bypass_key else ''

    def answers_locally(self, env: Env) -> bool:
        """Whether a request is not to be merged: it says so (signed), or it comes from this very cluster."""
        via = env.get('HTTP_X_1SPACE_VIA')
        return bool(via and self.remotes.came_from_here(via)) or (
            'HTTP_X_CLOUD_SYNC_SHUNT_BYPASS' in env and is_bypassed(env, self.bypass_key))


class ShuntState:
    """``ConfigError`` when the file cannot be used: the proxy does not start with it."""

    def __init__(self, options: Options, *, metrics: Metrics, logger: logging.Logger, clock: Clock | None = None,
                 aside: Callable[[Callable[[], Settings | None]], Settings | None] = in_thread) -> None:
        """``aside`` reads the file without keeping the requests waiting."""
        self.options = options
        self._aside = aside
        self.clock = clock or GreenClock()
        self.metrics = metrics
        self.logger = logger
        self._watcher = Watcher(options.conf_file, self.clock)
        self.setup = self._made(self._watcher.settings)
        self._watched_in = 0
        self._thread: GreenThread | None = None
        self._installed: list[Callable[[Setup], None]] = []

    def on_setup(self, call: Callable[[Setup], None]) -> None:
        """Have ``call`` run in a green thread for every configuration that comes into use, the present one included."""
        self._installed.append(call)
        if self._watched_in == os.getpid():
            spawn(call, self.setup)

    def watch(self) -> None:
        """Start looking after the file in this process. Cheap to call with every request: the filter is made before
        the proxy forks its workers, so the first request of each starts it."""
        if self._watched_in != os.getpid():
            self._watched_in = os.getpid()
            self._thread = spawn(self._look_after)

    def close(self) -> None:
        """Stop looking after the file, and close the remotes' connections."""
        if self._thread is not None:
            self._thread.kill()
        self.setup.remotes.close()

    def _look_after(self) -> None:
        for call in self._installed:
            spawn(call, self.setup)
        while True:
            self.clock.sleep(RELOAD_SECONDS)
            try:
                settings = self._aside(self._watcher.check)
            except Exception:  # the thread must live as long as the proxy
                self.logger.exception('the configuration could not be looked at')
                continue
            if settings is not None:
                self._install(settings)

    def _install(self, settings: Settings) -> None:
        old, self.setup = self.setup, self._made(settings)
        self.logger.info('configuration reloaded from %s', settings.path)
        for call in self._installed:
            spawn(call, self.setup)
        spawn(self._close_later, old)

    def _close_later(self, old: Setup) -> None:
        self.clock.sleep(OLD_SETUP_SECONDS)
        old.remotes.close()

    def _made(self, settings: Settings) -> Setup:
        for warning in settings.warnings:
            self.logger.warning('%s: %s', settings.path, warning)
        return Setup(settings, self.options, clock=self.clock, metrics=self.metrics, logger=self.logger)


def shared_state(options: Options, *, metrics: Metrics, logger: logging.Logger) -> ShuntState:
    """The state of this file in this process; made when first asked for. ConfigError."""
    path = os.path.abspath(options.conf_file)
    if path not in _states:
        _states[path] = ShuntState(options, metrics=metrics, logger=logger)
    return _states[path]


def _defaulted(entries: tuple[P, ...], options: Options) -> list[P]:
    """The entries, with this proxy's ``on_remote_error`` where they do not say it themselves."""
    if options.on_remote_error is None:
        return list(entries)
    return [entry if 'on_remote_error' in entry.model_fields_set
            else entry.model_copy(update={'on_remote_error': options.on_remote_error}) for entry in entries]
