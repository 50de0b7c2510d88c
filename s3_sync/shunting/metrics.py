"""Counts of a proxy process: through Swift's own logger to the statsd that the proxy's file names."""
from __future__ import annotations

from typing import Protocol

from s3_sync.metric_defs import MetricDef


class StatsdLogger(Protocol):
    """What Swift's loggers have beside logging."""

    def update_stats(self, metric: str, amount: int) -> None: ...
    def timing(self, metric: str, milliseconds: float) -> None: ...


class ProxyMetrics:
    """``Metrics`` over statsd: ``onespace_x_total`` with labels becomes ``onespace_x_total.label.label``."""

    def __init__(self, logger: StatsdLogger) -> None:
        self._logger = logger

    def add(self, metric: MetricDef, *labels: str, value: float = 1) -> None:
        self._logger.update_stats(_name(metric, labels), int(value))

    def set(self, metric: MetricDef, *labels: str, value: float) -> None:
        """Proxies have no gauges of ours: there are many of them, and statsd would keep the last one's word."""

    def observe(self, metric: MetricDef, *labels: str, value: float) -> None:
        """Seconds, as all our histograms; statsd wants milliseconds."""
        self._logger.timing(_name(metric, labels), value * 1000)


def _name(metric: MetricDef, labels: tuple[str, ...]) -> str:
    return '.'.join((metric.name, *(label.translate(_SEPARATORS) for label in labels)))


_SEPARATORS = str.maketrans(dict.fromkeys('.:|@/; ', '_'))
