"""Builds what reads and removes the local objects of a process from the configuration."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from container_crawler.device_threads import DeviceThreads
from container_crawler.internal_client import make_internal_client
from s3_sync.clock import Clock, SystemClock
from s3_sync.config.model import Settings
from s3_sync.local.chain import ChainSource
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import DeviceRunner, DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.proxy import ProxySource
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.local.remove import LocalRemover
from s3_sync.local.replicas import Replicas
from s3_sync.metrics import Metrics

DISK_SECONDS = 10.0
"""A local device that takes longer for one read is left alone; the other replicas serve meanwhile."""

def make_source(settings: Settings, *, metrics: Metrics | None = None, clock: Clock | None = None,
                logger: logging.Logger | None = None, runner: DeviceRunner | None = None) -> ChainSource:
    """The source of one process, kept for its life. Call after a fork and after ``load_swift_dir``.

    ``runner`` does the disk work; it is closed with the source.
    """
    clock = clock or SystemClock()
    placement = Placement(settings.swift_dir, settings.swift_bind_ip)
    disk = None
    if 'auto' in (settings.local_reads, *(mapping.local_reads for mapping in settings.containers)):
        disk = DiskSource(placement, devices=settings.devices, runner=runner or DeviceThreads(timeout=DISK_SECONDS),
                          clock=clock, logger=logger)
    return ChainSource(placement, disk=disk, direct=DirectSource(placement, clock=clock, logger=logger),
                       proxy=ProxySource(lambda: _internal_client(settings), clock=clock, logger=logger),
                       metrics=metrics)


def make_remover(settings: Settings, source: ChainSource, *, clock: Clock | None = None,
                 logger: logging.Logger | None = None) -> LocalRemover:
    """Deletes archived objects; shares the proxy application of ``source``. Closed before it."""
    clock = clock or SystemClock()
    placement = Placement(settings.swift_dir, settings.swift_bind_ip)
    return LocalRemover(Replicas(placement, settings.swift_dir, clock=clock, logger=logger), source.proxy_client,
                        reclaim_age=settings.reclaim_age, clock=clock, logger=logger)


def make_proxy_client(settings: Settings, *, clock: Clock | None = None,
                      logger: logging.Logger | None = None) -> ProxyClient:
    """The proxy application alone. Call after ``load_swift_dir``."""
    return ProxyClient(lambda: _internal_client(settings), clock=clock, logger=logger)


def _internal_client(settings: Settings) -> Any:
    path = settings.internal_client_path
    in_swift_dir = Path(settings.swift_dir, 'internal-client.conf')
    if path is None and in_swift_dir.exists():
        path = str(in_swift_dir)
    # Once: what fails is deferred and comes again, without sleeping in the client.
    return make_internal_client(settings.swift_dir, path, user_agent=settings.internal_client_logname,
                                log_name=settings.internal_client_logname, tries=1)
