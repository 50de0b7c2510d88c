"""Where counts go: the Prometheus endpoint and, under the predecessor's names, statsd."""
from __future__ import annotations

from collections.abc import Mapping as Dict
from urllib.parse import quote
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client import CollectorRegistry
from statsd import StatsClient

from s3_sync.config import Mapping, Settings
from s3_sync.metric_defs import ALL, MetricDef

_KINDS = {'counter': prometheus_client.Counter, 'gauge': prometheus_client.Gauge,
          'histogram': prometheus_client.Histogram}


class PrometheusMetrics:
    """``Metrics`` kept for scraping. Every metric of metric_defs exists from the start."""

    def __init__(self) -> None:
        # The _created series double the page and tell nothing that a rate does not.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._metrics: Dict[str, prometheus_client.Counter | prometheus_client.Gauge | prometheus_client.Histogram] = {
            d.name: _KINDS[d.kind](d.name, d.help, d.labels, registry=self.registry) for d in ALL}

    def add(self, metric: MetricDef, *labels: str, value: float = 1) -> None:
        self._child(metric, labels).inc(value)

    def set(self, metric: MetricDef, *labels: str, value: float) -> None:
        self._child(metric, labels).set(value)

    def observe(self, metric: MetricDef, *labels: str, value: float) -> None:
        self._child(metric, labels).observe(value)

    def _child(self, metric: MetricDef, labels: tuple[str, ...]):  # type: ignore[no-untyped-def]
        parent = self._metrics[metric.name]
        return parent.labels(*labels) if labels else parent

    def serve(self, address: str, port: int) -> WSGIServer:
        """Answer scrapes on this port from a green thread. OSError when the port is taken."""
        server, _ = prometheus_client.start_http_server(port, address, self.registry)
        return server


class Statsd:
    """The predecessor's counters, per mapping and container; does nothing without ``statsd_host``."""

    def __init__(self, settings: Settings) -> None:
        self._client = StatsClient(settings.statsd_host, settings.statsd_port, prefix=settings.statsd_prefix or None) \
            if settings.statsd_host else None

    def count(self, mapping: Mapping, name: str, value: int) -> None:
        if self._client is not None:
            self._client.incr(f'{statsd_path(mapping)}.{name}', value)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def statsd_path(mapping: Mapping) -> str:
    """``<endpoint>.<account>.<bucket[/prefix]>.<container>``, each part quoted so that dots only separate.

    The order is the predecessor's: mappings can be pruned from the right.
    """
    bucket = mapping.remote.bucket
    if mapping.custom_prefix:
        bucket = f'{bucket}/{mapping.custom_prefix}'
    parts = (mapping.remote.label, mapping.account, bucket, mapping.container)
    return '.'.join(quote(part, safe='').replace('.', '%2E') for part in parts)
