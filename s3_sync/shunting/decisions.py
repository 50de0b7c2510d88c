"""What a proxy did about a remote and why: one line of the log and one count for each decision."""
from __future__ import annotations

import logging
from urllib.parse import quote

from s3_sync.metric_defs import SHUNT
from s3_sync.metrics import Metrics
from s3_sync.shunting.call import Call


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
