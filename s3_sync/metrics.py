"""Counting, apart from where the counts go.

Workers count into a ``Registry`` and hand its ``drain`` to the daemon's main
process, which owns the Prometheus endpoint and the statsd socket.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from s3_sync.metric_defs import MetricDef


class Metrics(Protocol):
    def add(self, metric: MetricDef, *labels: str, value: float = 1) -> None:
        """Count up."""

    def set(self, metric: MetricDef, *labels: str, value: float) -> None:
        """A gauge's current value."""

    def observe(self, metric: MetricDef, *labels: str, value: float) -> None:
        """One sample of a histogram."""


class Sample(NamedTuple):
    """One counted thing. ``values`` holds the sum, the gauge, or a histogram's samples."""

    metric: str
    labels: tuple[str, ...]
    values: list[float]


class NoMetrics:
    def add(self, metric: MetricDef, *labels: str, value: float = 1) -> None: ...
    def set(self, metric: MetricDef, *labels: str, value: float) -> None: ...
    def observe(self, metric: MetricDef, *labels: str, value: float) -> None: ...


class Registry:
    """Collects in memory until drained. Also what tests look into."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, tuple[str, ...]], float] = {}
        self._gauges: dict[tuple[str, tuple[str, ...]], float] = {}
        self._samples: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def add(self, metric: MetricDef, *labels: str, value: float = 1) -> None:
        key = (metric.name, labels)
        self._sums[key] = self._sums.get(key, 0) + value

    def set(self, metric: MetricDef, *labels: str, value: float) -> None:
        self._gauges[(metric.name, labels)] = value

    def observe(self, metric: MetricDef, *labels: str, value: float) -> None:
        self._samples.setdefault((metric.name, labels), []).append(value)

    def value(self, metric: MetricDef, *labels: str) -> float:
        key = (metric.name, labels)
        return self._gauges.get(key, self._sums.get(key, 0))

    def drain(self) -> list[Sample]:
        """Everything since the last drain; counters and histograms start anew, gauges stay."""
        out = [Sample(m, labels, [v]) for (m, labels), v in (*self._sums.items(), *self._gauges.items())]
        out += [Sample(m, labels, values) for (m, labels), values in self._samples.items()]
        self._sums.clear()
        self._samples.clear()
        return out


def replay(samples: Iterable[Sample], into: Metrics, defs: dict[str, MetricDef]) -> None:
    """Count what another process drained."""
    for metric, labels, values in samples:
        definition = defs[metric]
        for value in values:
            if definition.kind == 'counter':
                into.add(definition, *labels, value=value)
            elif definition.kind == 'gauge':
                into.set(definition, *labels, value=value)
            else:
                into.observe(definition, *labels, value=value)
