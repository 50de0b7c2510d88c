"""The filters of Swift's proxy that merge a cluster's namespace with remotes.

Paste configuration of the proxy::

    [pipeline:main]
    pipeline = ... tempauth copy cloud-shunt container-quotas account-quotas slo dlo cloud-shunt-segments
               versioned_writes symlink proxy-logging proxy-server

    [filter:cloud-shunt]
    use = egg:swift-s3-sync#cloud-shunt
    conf_file = /etc/swift-s3-sync/sync.json

    [filter:cloud-shunt-segments]
    use = egg:swift-s3-sync#cloud-shunt-segments
    conf_file = /etc/swift-s3-sync/sync.json

``cloud-shunt`` stands right of authentication and of copy, so that COPY reads
through it, and left of quotas, so that restores obey them; ``cloud-shunt-segments``
reads archived segments for slo and dlo, whose own reads never meet the first.
A filter at another place refuses to start, and so does a proxy whose
``conf_file`` is missing or wrong.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.common.registry import register_swift_info
from swift.common.utils import get_logger

from s3_sync.shunting.call import Call, Place, StartResponse, parse_path
from s3_sync.shunting.containers import ContainerVerbs
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.deleting import ObjectDeleter
from s3_sync.shunting.listings import Lister
from s3_sync.shunting.local import App, LocalSwift
from s3_sync.shunting.manifest_delete import ManifestDeleter, deletes_segments
from s3_sync.shunting.markers import Markers
from s3_sync.shunting.metrics import ProxyMetrics
from s3_sync.shunting.opening import Opener
from s3_sync.shunting.options import Options
from s3_sync.shunting.placement import SEGMENTS, SHUNT, check_placement
from s3_sync.shunting.provision import Provision
from s3_sync.shunting.reading import ObjectReader
from s3_sync.shunting.restore import Restorer, RestoreWork
from s3_sync.shunting.state import Setup, ShuntState, shared_state
from s3_sync.shunting.versions import Versions
from s3_sync.shunting.writing import ObjectWriter

SEGMENT_SOURCES = ('SLO', 'DLO')
READS = ('GET', 'HEAD')
"""Of objects; wherever these are, they may be links to what is merged."""

Handler = Callable[[Call], Iterable[bytes]]


class _Filter(ABC):
    """What both filters share: requests outside of merged accounts pass at the price of one look into a set.

    Reads of objects are the exception, for links lead into merged containers from anywhere.
    """

    def __init__(self, app: App, state: ShuntState) -> None:
        self.app = app
        self._state = state
        self._local = LocalSwift(app)
        self._decisions = Decisions(state.metrics, state.logger)
        self._setup: Setup | None = None
        self._handlers: Mapping[tuple[str, str], Handler] = {}

    def _handle(self, env: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        self._state.watch()
        setup = self._state.setup
        place = parse_path(env['PATH_INFO'])
        if place is None or not setup.table.accounts or setup.answers_locally(env):
            return self.app(env, start_response)
        may_link = bool(place.name) and env['REQUEST_METHOD'] in READS
        if not may_link and place.account not in setup.table.accounts:
            return self.app(env, start_response)
        if setup is not self._setup:
            self._handlers = self._made(setup)
            self._setup = setup
        handler = self._handlers.get((_kind(place), env['REQUEST_METHOD']))
        if handler is None:
            return self.app(env, start_response)
        merged = setup.table.lookup(place.account, place.container)
        if merged is None and place.container and not may_link and not deletes_segments(env):
            return self.app(env, start_response)
        return handler(Call(env, start_response, place, merged, self._local))

    @abstractmethod
    def _made(self, setup: Setup) -> Mapping[tuple[str, str], Handler]:
        """The handlers of a configuration, by what the path names and the method."""


def _kind(place: Place) -> str:
    return 'object' if place.name else 'container' if place.container else 'account'


class CloudShunt(_Filter):
    """Everything that clients ask for."""

    def __init__(self, app: App, state: ShuntState) -> None:
        super().__init__(app, state)
        self._provision = Provision(self._local, lambda setup: state.setup is setup, clock=state.clock,
                                    logger=state.logger)
        state.on_setup(self._provision.keep)
        self._restores = RestoreWork(state.options, clock=state.clock)

    def __call__(self, env: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        self._provision.lend(env)
        return self._handle(env, start_response)

    def _made(self, setup: Setup) -> Mapping[tuple[str, str], Handler]:
        versions = _versions(self._state, setup, self._local)
        opener = Opener(clock=self._state.clock)
        reader = ObjectReader(setup.table, versions, opener, self._decisions, restores=Restorer(
            setup, self._local, opener, self._decisions, self._restores, clock=self._state.clock))
        lister = Lister(setup.table, setup.remotes, Markers(self._local), self._decisions)
        containers = ContainerVerbs(setup.remotes, Markers(self._local), lister, self._decisions,
                                    clock=self._state.clock)
        writer = ObjectWriter(setup.remotes, versions, self._decisions)
        deleter = ObjectDeleter(setup.remotes, versions, Markers(self._local), self._decisions,
                                clock=self._state.clock)
        return {('object', 'GET'): reader, ('object', 'HEAD'): reader,
                ('object', 'PUT'): writer.put, ('object', 'POST'): writer.post,
                ('object', 'DELETE'): ManifestDeleter(self, self.app, setup.table, deleter),
                ('account', 'GET'): lister.account, ('container', 'GET'): lister.container,
                ('container', 'HEAD'): containers.head, ('container', 'PUT'): containers.put,
                ('container', 'POST'): containers.post, ('container', 'DELETE'): containers.delete}


class CloudShuntSegments(_Filter):
    """Only what slo and dlo ask for on their own account (semantics 12)."""

    def __call__(self, env: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if env.get('swift.source') not in SEGMENT_SOURCES:
            return self.app(env, start_response)
        return self._handle(env, start_response)

    def _made(self, setup: Setup) -> Mapping[tuple[str, str], Handler]:
        reader = ObjectReader(setup.table, _versions(self._state, setup, self._local),
                              Opener(clock=self._state.clock), self._decisions)
        return {('object', 'GET'): reader, ('object', 'HEAD'): reader,
                ('container', 'GET'): Lister(setup.table, setup.remotes, Markers(self._local),
                                             self._decisions).container}


def _versions(state: ShuntState, setup: Setup, local: LocalSwift) -> Versions:
    return Versions(setup.remotes, Markers(local), clock=state.clock)


def filter_factory(global_conf: Mapping[str, str], **local_conf: str) -> Callable[[App], CloudShunt]:
    """Paste's entry for ``cloud-shunt``. Raises Misplaced and ConfigError, which keep the proxy from starting."""
    conf = {**global_conf, **local_conf}
    register_swift_info('cloud_shunt')

    def make(app: App) -> CloudShunt:
        check_placement(SHUNT, app, conf)
        return CloudShunt(app, _state(conf))
    return make


def segments_filter_factory(global_conf: Mapping[str, str], **local_conf: str) -> Callable[[App], CloudShuntSegments]:
    """Paste's entry for ``cloud-shunt-segments``; as ``filter_factory``."""
    conf = {**global_conf, **local_conf}

    def make(app: App) -> CloudShuntSegments:
        check_placement(SEGMENTS, app, conf)
        return CloudShuntSegments(app, _state(conf))
    return make


def _state(conf: Mapping[str, str]) -> ShuntState:
    logger = get_logger(conf, log_route='cloud-shunt')
    return shared_state(Options.parse(conf), metrics=ProxyMetrics(logger), logger=logger)
