"""Reading what a server or daemon counts about itself."""
from __future__ import annotations

import re
from urllib.request import urlopen

_SAMPLE = re.compile(r'(\w+)(?:\{(.*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = dict[str, list[tuple[dict[str, str], float]]]
"""By name: labels and value."""


def scrape(url: str) -> Samples:
    """OSError when nobody answers."""
    found: Samples = {}
    with urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match:
            found.setdefault(match[1], []).append((dict(_LABEL.findall(match[2] or '')), float(match[3])))
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    """Sum of a metric over all label sets that have ``labels``."""
    return sum(value for found, value in samples.get(name, []) if labels.items() <= found.items())


class Requests:
    """Requests that a SeaweedFS got for one bucket, by kind and status (HEAD is told as GET), counted by itself."""

    def __init__(self, url: str, bucket: str) -> None:
        self._url = url
        self._bucket = bucket
        self._before = self._counts()

    def since(self) -> dict[str, int]:
        """Those since the last call, or since the object was made."""
        before, self._before = self._before, self._counts()
        found = {kind: int(count - before.get(kind, 0)) for kind, count in self._before.items()}
        return {kind: count for kind, count in sorted(found.items()) if count}

    def _counts(self) -> dict[str, float]:
        samples = scrape(self._url).get('SeaweedFS_s3_request_total', [])
        return {f'{labels["type"]} {labels["code"]}': value for labels, value in samples
                if labels.get('bucket') == self._bucket}
