"""What a proxy did about a remote and why: one line of the log and one count for each decision."""
from __future__ import annotations

import logging
from urllib.parse import quote

from s3_sync.metric_defs import RESTORES, SHUNT
from s3_sync.metrics import Metrics
from s3_sync.restoring.writer import Outcome
from s3_sync.shunting.call import Call, Place


class Decisions:
    """Nothing that it is given may be secret, or the remote's own words."""

    def __init__(self, metrics: Metrics, logger: logging.Logger) -> None:
        self._metrics = metrics
        self._logger = logger

    def note(self, call: Call, outcome: str, mapping: str, reason: str = '') -> None:
        """``outcome``: one of those that the metric's text lists; ``mapping``: the target's name."""
        why = f' reason={quote(reason, safe=" /;:,()")}' if reason else ''
        self._logger.info('remote %s %s outcome=%s mapping=%s%s', call.method, quote(call.place.path), outcome,
                          quote(mapping, safe=' /;:->*'), why)
        self._metrics.add(SHUNT, call.method, outcome, mapping)

    def created(self, place: Place, mapping: str) -> None:
        """A container was made here as it is at the remote, for a client or before any asked."""
        self._logger.info('remote PUT %s outcome=created mapping=%s', quote(place.path), quote(mapping, safe=' /;:->*'))
        self._metrics.add(SHUNT, 'PUT', 'created', mapping)

    def restore(self, place: Place, outcome: Outcome, mapping: str) -> None:
        """How the restore of an object ended."""
        detail = f' detail={quote(outcome.detail, safe=" /;:,()")}' if outcome.detail else ''
        self._logger.info('restore %s outcome=%s mapping=%s bytes=%d%s%s', quote(place.path), outcome.kind,
                          quote(mapping, safe=' /;:->*'), outcome.bytes,
                          f' reason={outcome.reason}' if outcome.reason else '', detail)
        self._metrics.add(RESTORES, outcome.kind, outcome.reason or 'none', mapping)
