"""The sync daemon: one process that outlives configurations, with the node's lock, ledger and metrics."""
from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from container_crawler.swift_dir import load_swift_dir
from s3_sync import metric_defs
from s3_sync.clock import Clock, SystemClock
from s3_sync.concurrency import sleep, spawn
from s3_sync.config import Secret, Settings
from s3_sync.config.release import sync_problems
from s3_sync.config.watch import Watcher
from s3_sync.errors import ConfigError, LedgerError, Problem
from s3_sync.ledger import Ledger, NodeLock
from s3_sync.logs import set_up_logs
from s3_sync.progress_report import ProgressReport
from s3_sync.removals import trouble
from s3_sync.session import Session
from s3_sync.stats import PrometheusMetrics

EXIT_DONE, EXIT_CRASH, EXIT_FAILED = 0, 1, 3

TICK_SECONDS = 0.5
CONFIG_CHECK_SECONDS = 5.0
DRAIN_SECONDS = 15.0
"""How long a reload waits for objects under way: it takes effect within 30 s of the change (DESIGN 9)."""
STUCK_SECONDS = 2.0
"""``--once`` gives up on a remote that does not work after this long without anything else to do."""
FIRST_POLL_SECONDS = 1.0
"""How long the first poll waits for endpoints that are asked for the first time."""
NAMED_FAILURES = 20
"""Failures that ``--once`` names on standard error; all of them are in ``1space failures list``."""


@dataclass(frozen=True)
class Options:
    """The command line of ``swift-s3-sync``."""

    config: str
    once: bool = False
    log_level: str | None = None
    console: bool = False


class Daemon:
    """``run`` is called once."""

    def __init__(self, options: Options, watcher: Watcher, *, clock: Clock | None = None) -> None:
        self._options = options
        self._watcher = watcher
        self._clock = clock or SystemClock()
        self._logger = logging.getLogger('s3-sync')
        self._metrics = PrometheusMetrics()
        self._session: Session | None = None
        self._stop_asked = False
        self._check_asked = False
        """SIGHUP came: read the configuration even if the file looks unchanged."""
        self._replaced = False
        """The session's configuration is no longer the one in use."""
        self._refused: list[Problem] = []
        """What was wrong with a new configuration, as it was logged."""
        self._fatal: LedgerError | None = None
        self._progress = ProgressReport(self._clock, self._logger, sys.stderr if sys.stderr.isatty() else None)
        self._unread: list[str] = []
        """After ``--once``: containers and devices that could not be read."""
        self._held: dict[str, str] = {}
        """After ``--once``: mappings whose remote did not work, and why."""
        self._undone_metadata: dict[str, str] = {}
        """After ``--once``: containers whose metadata did not reach the remote, and why."""

    def run(self) -> int:
        """Until done (``--once``), told to stop, or unable to go on; the exit code."""
        settings = self._watcher.settings
        load_swift_dir(settings.swift_dir)
        with contextlib.ExitStack() as stack:
            stack.enter_context(NodeLock(settings.status_dir))
            ledger = stack.enter_context(Ledger.open(settings.status_dir, clock=self._clock, logger=self._logger))
            if settings.metrics_port:
                server = self._metrics.serve(settings.swift_bind_ip, settings.metrics_port)
                stack.callback(server.shutdown)
            self._catch_signals()
            ticker = spawn(self._tick_forever)
            stack.callback(ticker.kill)
            self._run_session(self._watcher.settings, ledger)
            while not self._ending and not self._options.once:
                self._run_session(self._watcher.settings, ledger)
            return self._exit_code(ledger)

    def _run_session(self, settings: Settings, ledger: Ledger) -> None:
        """One configuration, until it is replaced."""
        set_up_logs(settings, console=self._options.console, level=self._options.log_level)
        for text in settings.warnings:
            self._logger.warning('configuration: %s', text)
        for variable in ('http_proxy', 'https_proxy'):
            proxy: Secret | None = getattr(settings, variable)
            if proxy is not None:
                os.environ[variable] = proxy.reveal()
        self._replaced = False
        session = Session(settings, ledger, metrics=self._metrics, clock=self._clock, logger=self._logger,
                          on_ledger_error=self._ledger_failed)
        try:
            self._session = session
            self._logger.info('%d mappings, %d worker processes with %d threads each, state in %s',
                              len(settings.containers), settings.processes, settings.workers, settings.status_dir)
            if self._options.once:
                self._once(session)
            else:
                self._until_reload(session)
                session.drain(0.0 if self._ending else DRAIN_SECONDS)
        finally:
            self._session = None
            session.close()
            self._progress.end(session.standing)

    def _once(self, session: Session) -> None:
        self._wait_until(lambda: not session.probes.busy)
        for generation in session.states:
            session.retry_due(generation, sys.maxsize)
        report = session.crawler.run_once(until=self._stuck_for(session, STUCK_SECONDS))
        self._unread = [f'{name}: could not be read; see the log' for name in report.failed]
        if report.unlisted:
            self._unread.append('not all containers of an account could be listed; see the log')
        self._wait_until(lambda: not (session.busy or session.metadata.busy))
        session.tick()
        session.removals.to_the_end = True
        session.removals.pass_ended()
        stuck = self._stuck_for(session, STUCK_SECONDS)
        self._wait_until(lambda: session.removals.caught_up or stuck())
        self._held = {state.mapping.name: state.health.reason for state in session.states.values()
                      if state.health.tripped}
        self._wait_until(lambda: not session.metadata.busy)
        self._undone_metadata = session.metadata.undone()

    def _stuck_for(self, session: Session, seconds: float) -> Callable[[], bool]:
        """True once nothing has moved for so long because a remote does not work, or the end is near."""
        since: float | None = None

        def stuck() -> bool:
            nonlocal since
            if not session.stuck:
                since = None
                return self._ending
            since = since or self._clock.monotonic()
            return self._ending or self._clock.monotonic() - since > seconds
        return stuck

    def _until_reload(self, session: Session) -> None:
        # Mappings whose endpoint is still being asked would have to wait for the second poll.
        begun = self._clock.monotonic()
        self._wait_until(lambda: not session.probes.busy or self._clock.monotonic() - begun > FIRST_POLL_SECONDS)
        while not self._ending and not self._replaced:
            started = self._clock.monotonic()
            session.crawler.poll()
            session.removals.pass_ended()
            self._metrics.observe(metric_defs.POLL_SECONDS, value=self._clock.monotonic() - started)
            due = started + session.settings.poll_interval
            self._wait_until(lambda due=due: self._replaced or self._clock.monotonic() >= due)  # type: ignore[misc]

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not self._ending and not condition():
            sleep(0.05)

    # -- what comes round ------------------------------------------------------------------

    def _tick_forever(self) -> None:
        checked = self._clock.monotonic()
        while not self._ending:
            sleep(TICK_SECONDS)
            try:
                if self._session is not None:
                    self._session.tick()
                    self._progress.show(self._session.standing)
            except LedgerError as error:
                self._ledger_failed(error)
            except Exception:  # the next tick and the configuration's changes must come all the same
                self._logger.exception('unexpected error')
            now = self._clock.monotonic()
            if now - checked >= CONFIG_CHECK_SECONDS or self._check_asked:
                checked = now
                self._check_configuration()

    def _check_configuration(self) -> None:
        forced, self._check_asked = self._check_asked, False
        before = self._watcher.settings
        changed = self._watcher.check(force=forced)
        self._metrics.set(metric_defs.CONFIG_OK, value=self._watcher.error is None)
        if changed is None or self._options.once:
            return
        problems = sync_problems(changed)
        if changed.status_dir != before.status_dir or changed.swift_dir != before.swift_dir:
            problems.append(Problem('', 'a new status_dir or swift_dir needs a restart'))
        if problems:
            self._watcher.settings = before
            if problems != self._refused:
                self._logger.error('configuration not reloaded, the last good one stays in use:\n%s',
                                   ConfigError(self._options.config, problems))
            self._refused = problems
            return
        self._refused = []
        self._logger.info('configuration changed: reloading')
        self._replaced = True
        if self._session is not None:
            self._session.crawler.stop()

    def _ledger_failed(self, error: LedgerError) -> None:
        """Nothing may be forgotten: stop now, with every pointer still before what could not be written."""
        if self._fatal is None:
            self._logger.error('stopping, the ledger cannot be used: %s', error)
        self._fatal = error
        if self._session is not None:
            self._session.crawler.stop()

    @property
    def _ending(self) -> bool:
        return self._stop_asked or self._fatal is not None

    def _catch_signals(self) -> None:
        """Handlers only set flags; the loops look."""
        def stop(signum: int, frame: object) -> None:
            self._stop_asked = True
            if self._session is not None:
                self._session.crawler.stop()

        def reload(signum: int, frame: object) -> None:
            self._check_asked = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)

    # -- the end -----------------------------------------------------------------------------

    def _exit_code(self, ledger: Ledger) -> int:
        if self._fatal is not None:
            print(f'stopped: {self._fatal}', file=sys.stderr)
            return EXIT_CRASH
        if not self._options.once:
            return EXIT_DONE
        if self._stop_asked:
            print('stopped before everything was done; the next run goes on from here', file=sys.stderr)
        return EXIT_FAILED if self._report_failures(ledger) or self._stop_asked else EXIT_DONE

    def _report_failures(self, ledger: Ledger) -> bool:
        """``--once``: say on standard error what is left undone."""
        undone = bool(self._undone_metadata or self._unread)
        for text in self._unread:
            print(text, file=sys.stderr)
        for what, reason in self._undone_metadata.items():
            print(f'{what}: {reason}', file=sys.stderr)
        for mapping in self._watcher.settings.containers:
            if mapping.name in self._held:
                undone = True
                print(f'{mapping.name}: {self._held[mapping.name]}; what was not copied is left for the next run',
                      file=sys.stderr)
            for waits in trouble(ledger.removal_reasons(mapping.generation)):
                undone = True
                what = 'segments' if waits.segments else 'objects'
                print(f'{mapping.name}: {waits.count} archived {what} cannot go yet: {waits.reason}: {waits.detail}',
                      file=sys.stderr)
            counts = ledger.counts(mapping.generation)
            total = sum(count for (_, kind), count in counts.items() if kind != 'deferred')
            if total:
                undone = True
                print(f'{mapping.name}: {total} failed; "1space failures list" shows all', file=sys.stderr)
                for _, work in zip(range(NAMED_FAILURES), ledger.failures(mapping.generation), strict=False):
                    print(f'  {work.path!r}: {work.reason}: {work.detail}', file=sys.stderr)
        return undone
