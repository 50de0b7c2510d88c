"""``1space audit``: compares containers with their remote, and queues for the daemon what it can mend."""
from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any

from swift.common.internal_client import InternalClient

from container_crawler.databases import ContainerRing
from container_crawler.internal_client import account_listing, make_internal_client
from container_crawler.swift_dir import load_swift_dir
from s3_sync.audit.auditor import Auditor, Options, Result, Told, Tools
from s3_sync.audit.findings import DIFFERENCES, VERDICTS, Side
from s3_sync.audit.local_names import LocalContainers, LocalNames
from s3_sync.audit.repair import Repairer
from s3_sync.audit.sampling import NOTHING, Depth
from s3_sync.clock import Clock, SystemClock
from s3_sync.commands.context import NEVER_RAN, choose, destination, load_settings, open_ledger
from s3_sync.commands.edge import EXIT_CRASH, EXIT_FAILED, EXIT_OK, UsageError
from s3_sync.commands.names import printable, quote_path, unquote_path
from s3_sync.commands.numbers import count, duration, iso, size
from s3_sync.commands.plan import OneLine
from s3_sync.config import Mapping, Secret, Settings
from s3_sync.config.cluster import cluster_id
from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger, holder
from s3_sync.local.chain import ChainSource
from s3_sync.local.factory import make_source
from s3_sync.metric_defs import REQUESTS
from s3_sync.metrics import Registry
from s3_sync.provider_factory import ProviderCache, limit_key
from s3_sync.providers.limit import SharedLimiter

TOLD_VERDICTS = DIFFERENCES | {'unread'}
"""Those that have lines of their own; all are counted."""
WIDTH = 80


class Lines:
    """Where the report goes, and what was counted of one mapping."""

    def __init__(self, mapping: Mapping, report: IO[str] | None, clock: Clock, *, as_json: bool) -> None:
        self._mapping = mapping
        self._report = report
        self._clock = clock
        self._json = as_json
        self._began = self._shown_at = clock.monotonic()
        self._looked = self._differing = 0

    def add(self, told: Told) -> None:
        self._looked += 1
        if told.finding.verdict in TOLD_VERDICTS:
            self._differing += 1
            self._tell(told)
        self._show_progress()

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._began

    def _tell(self, told: Told) -> None:
        finding, mapping = told.finding, self._mapping
        path = f'{mapping.account}/{told.container}/{told.name}'
        line = json.dumps({
            'type': 'object', 'mapping': mapping.name, 'generation': mapping.generation, 'verdict': finding.verdict,
            'reason': finding.reason, 'detail': finding.detail, 'path': quote_path(path), 'account': mapping.account,
            'container': told.container, 'object': told.name, 'local': _side(finding.local),
            'remote': _side(finding.remote), 'repairable': finding.repair is not None})
        if self._report is not None:
            print(line, file=self._report)
        elif self._json:
            print(line)
        else:
            why = f'{finding.reason}: {finding.detail}' if finding.detail else finding.reason
            print(f'{finding.verdict:<11}{quote_path(path)}  ({printable(why)})')

    def _show_progress(self) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at >= 1 and sys.stderr.isatty():
            self._shown_at = now
            rate = self._looked / max(now - self._began, 1e-3)
            text = (f'{printable(self._mapping.name)}: {count(self._looked, "name")} compared, {rate:,.0f}/s, '
                    f'{self._differing:,} to report')
            print(text[:WIDTH - 1].ljust(WIDTH - 1), end='\r', file=sys.stderr, flush=True)

    def end_progress(self) -> None:
        if sys.stderr.isatty():
            print(' ' * (WIDTH - 1), end='\r', file=sys.stderr, flush=True)


class Audit:
    """The parts that all mappings of one run share; ``close`` frees them."""

    def __init__(self, settings: Settings, ledger: Ledger | None, options: Options, clock: Clock) -> None:
        self._settings = settings
        self._ledger = ledger
        self._options = options
        self._clock = clock
        self._logger = logging.getLogger('1space.audit')
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix='1space-audit-'))
        ring = ContainerRing(settings.swift_dir, settings.devices, settings.swift_bind_ip)
        self._local = self._stack.enter_context(closing(LocalContainers(ring, self._internal_client)))
        self._source: ChainSource = self._stack.enter_context(closing(
            make_source(settings, clock=clock, logger=self._logger)))
        self._client: InternalClient | None = None

    def close(self) -> None:
        self._stack.close()

    @property
    def daemon_pid(self) -> int | None:
        """None: not running."""
        return holder(self._settings.status_dir)

    def run(self, mapping: Mapping, lines: Lines, repairer: Repairer | None) -> tuple[Result, int]:
        """What came of it, and how many requests the remote was sent."""
        metrics = Registry()
        with ExitStack() as stack:
            limiter = stack.enter_context(closing(SharedLimiter.create(
                requests_per_second=mapping.remote.max_requests_per_second,
                bytes_per_second=mapping.remote.max_bytes_per_second)))
            providers = stack.enter_context(closing(ProviderCache(
                clock=self._clock, metrics=metrics, limiters={limit_key(mapping.remote): limiter},
                max_connections=self._settings.workers, via=cluster_id(self._settings))))
            source = self._source if mapping.local_reads == 'auto' else self._source.without_disk()

            def open_local(container: str) -> LocalNames:
                return self._local.open(mapping.account, container)
            tools = Tools(open_local, source, providers.get, self._ledger, self._clock, self._logger, self._folder)
            auditor = Auditor(mapping, tools, self._options, told=lines.add, repairer=repairer,
                              only_archive=self._only_archive(mapping))
            result = auditor.run(self._containers(mapping))
        return result, int(sum(sum(s.values) for s in metrics.drain() if s.metric == REQUESTS.name))

    def _containers(self, mapping: Mapping) -> Iterable[str]:
        if not mapping.all_containers:
            return [mapping.container]
        return self._all_containers(mapping)

    def _all_containers(self, mapping: Mapping) -> Iterator[str]:
        """Those of the account, and those that are deleted but were synchronised by this node."""
        known = ({name for _, name in self._ledger.containers(mapping.generation) if '\0' not in name}
                 if self._ledger else set())
        for name in account_listing(self._internal_client())(mapping.account):
            if '\0' not in name:
                known.discard(name)
                yield name
        yield from sorted(known)

    def _only_archive(self, mapping: Mapping) -> bool:
        return not any(other.generation != mapping.generation and other.account == mapping.account
                       and not other.retain_local
                       and (other.all_containers or mapping.all_containers or other.container == mapping.container)
                       for other in self._settings.containers)

    def _internal_client(self) -> InternalClient:
        if self._client is None:
            settings = self._settings
            path = settings.internal_client_path
            in_swift_dir = Path(settings.swift_dir, 'internal-client.conf')
            if path is None and in_swift_dir.exists():
                path = str(in_swift_dir)
            self._client = make_internal_client(settings.swift_dir, path, user_agent=settings.internal_client_logname)
        return self._client


def run(arguments: argparse.Namespace) -> int:
    """0 both sides agree, 3 they do not, 1 not everything could be read (whatever else was found)."""
    settings = load_settings(arguments.config)
    mappings = choose(settings, arguments.mappings)
    clock = SystemClock()
    options = _options(arguments, settings, clock)
    load_swift_dir(settings.swift_dir)
    for variable in ('http_proxy', 'https_proxy'):
        proxy: Secret | None = getattr(settings, variable)
        if proxy is not None:
            os.environ[variable] = proxy.reveal()
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    codes = []
    with ExitStack() as stack:
        ledger = open_ledger(settings)
        if ledger is not None:
            stack.enter_context(ledger)
        elif arguments.repair:
            raise LedgerError(f'{NEVER_RAN} ({settings.status_dir}): nothing would take what is queued')
        report = stack.enter_context(_report_file(arguments.report)) if arguments.report else None
        audit = stack.enter_context(closing(Audit(settings, ledger, options, clock)))
        for mapping in mappings:
            codes.append(_one(audit, mapping, ledger if arguments.repair else None, report, options, clock,
                              as_json=arguments.json))
    return EXIT_CRASH if EXIT_CRASH in codes else max(codes, default=EXIT_OK)


def _one(audit: Audit, mapping: Mapping, ledger: Ledger | None, report: IO[str] | None, options: Options, clock: Clock,
         *, as_json: bool) -> int:
    lines = Lines(mapping, report, clock, as_json=as_json)
    repairer = Repairer(mapping, ledger, now=clock.now()) if ledger is not None else None
    try:
        result, requests = audit.run(mapping, lines, repairer)
    finally:
        if repairer is not None:
            repairer.close()
        lines.end_progress()
    summary = _summary(mapping, result, requests, repairer, options, lines.seconds,
                       audit.daemon_pid)
    if report is not None:
        print(json.dumps(summary), file=report, flush=True)
    if as_json:
        print(json.dumps(summary))
    else:
        _show(mapping, summary)
    if not result.complete:
        return EXIT_CRASH
    return EXIT_FAILED if summary['differences'] else EXIT_OK


def _options(arguments: argparse.Namespace, settings: Settings, clock: Clock) -> Options:
    depth = NOTHING
    if arguments.deep is not None:
        try:
            depth = Depth.parse(arguments.deep)
        except ValueError as error:
            raise UsageError(f'--deep {arguments.deep}: {error}') from None
    try:
        prefix = unquote_path(arguments.prefix)
    except ValueError:
        raise UsageError(f'--prefix {arguments.prefix}: what it encodes is no UTF-8') from None
    seed = arguments.seed if arguments.seed is not None else f'{clock.now():.0f}'
    return Options(prefix=prefix, metadata=arguments.metadata, depth=depth, seed=seed,
                   grace_seconds=arguments.grace, at_once=settings.workers)


def _report_file(path: str) -> IO[str]:
    """Names of users' objects: for the operator's eyes."""
    return open(path, 'w', encoding='ascii', opener=lambda name, flags: os.open(name, flags, 0o640))


def _summary(mapping: Mapping, result: Result, requests: int, repairer: Repairer | None, options: Options,
             seconds: float, daemon_pid: int | None) -> dict[str, Any]:
    verdicts: Counter[str] = Counter()
    for (verdict, _), number in result.counts.items():
        verdicts[verdict] += number
    return {
        'type': 'summary', 'mapping': mapping.name, 'generation': mapping.generation,
        'destination': destination(mapping), 'prefix': options.prefix, 'complete': result.complete,
        'differences': sum(number for verdict, number in verdicts.items() if verdict in DIFFERENCES),
        'verdicts': {verdict: verdicts[verdict] for verdict in VERDICTS},
        'reasons': [{'verdict': verdict, 'reason': reason, 'count': number}
                    for (verdict, reason), number in sorted(result.counts.items())],
        'containers': result.containers, 'listed_containers': result.listed_containers,
        'local': {'objects': result.local_objects, 'bytes': result.local_bytes},
        'remote': {'objects': result.remote_objects, 'bytes': result.remote_bytes},
        'read': {'objects': result.read_objects, 'bytes': result.read_bytes},
        'seed': options.seed if options.depth.anything else None, 'requests': requests,
        'seconds': round(seconds, 3), 'not_read': result.not_read,
        'repair': None if repairer is None else {'queued': repairer.queued, 'held': repairer.held,
                                                 'daemon_pid': daemon_pid}}


def _show(mapping: Mapping, summary: dict[str, Any]) -> None:
    print(f'{printable(mapping.name)} to {destination(mapping)}')
    for verdict, text in VERDICTS.items():
        if summary['verdicts'][verdict]:
            reasons = ', '.join(f'{printable(r["reason"])} {r["count"]:,}' for r in summary['reasons']
                                if r['verdict'] == verdict)
            print(f'    {verdict:<11}{count(summary["verdicts"][verdict], "object"):>16}  {text} ({reasons})')
    local, remote, read = summary['local'], summary['remote'], summary['read']
    print(f'    {count(local["objects"], "object")} here ({size(local["bytes"])}), {remote["objects"]:,} at the remote '
          f'({size(remote["bytes"])}), {count(summary["containers"], "container")}')
    if summary['seed'] is not None:
        print(f'    {count(read["objects"], "object")} read back ({size(read["bytes"])}), seed {summary["seed"]}')
    print(f'    {count(summary["requests"], "request")} to the remote, {duration(summary["seconds"])}')
    repair = summary['repair']
    if repair is not None:
        running = '' if repair['daemon_pid'] else ', which is not running; it takes them when it starts'
        print(f'    {repair["queued"]:,} queued for swift-s3-sync{running}')
        if repair['held']:
            print(f'    {repair["held"]:,} deletions held by the mass-delete guard: see "1space failures list"')
    for text in summary['not_read']:
        print(f'    could not be read: {printable(text)}')
    if not summary['complete']:
        print('    NOT COMPLETE: this says nothing of what could not be read')
    elif not summary['differences']:
        print('    no differences')


def _side(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {'size': side.size, 'etag': side.etag, 'time': iso(side.time)}
