"""What the filters' sections in the proxy's file may say beside ``conf_file``: this proxy's own limits."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from s3_sync.errors import ConfigError, Problem
from s3_sync.wire.units import parse_size

DEFAULT_CONF_FILE = '/etc/swift-s3-sync/sync.json'
RESTORE_CONCURRENCY = 4
OnRemoteError = Literal['fail', 'partial']


@dataclass(frozen=True, slots=True)
class Options:
    """Of one proxy process. Both filters of a proxy share the first one's."""

    conf_file: str = DEFAULT_CONF_FILE
    on_remote_error: OnRemoteError | None = None
    """For mappings that do not say it themselves; None: their default, ``fail``."""
    max_restore_size: int | None = None
    """Bytes; larger objects stay at the remote and are read from there. None: no limit."""
    restore_concurrency: int = RESTORE_CONCURRENCY
    """Objects that this process brings back at once."""

    @classmethod
    def parse(cls, conf: Mapping[str, str]) -> Options:
        """From a paste section. ConfigError names every option that makes no sense."""
        problems: list[Problem] = []
        on_remote_error = conf.get('on_remote_error') or None
        if on_remote_error not in (None, 'fail', 'partial'):
            problems.append(Problem('on_remote_error', f'must be fail or partial, not {on_remote_error!r}'))
        size = _number(conf, 'max_restore_size', problems)
        concurrency = _number(conf, 'restore_concurrency', problems)
        if concurrency == 0:
            problems.append(Problem('restore_concurrency', 'must be at least 1; restore_object switches restores off'))
        if problems:
            raise ConfigError(conf.get('__file__', 'filter:cloud-shunt'), problems)
        return cls(conf.get('conf_file') or DEFAULT_CONF_FILE, cast('OnRemoteError | None', on_remote_error), size,
                   RESTORE_CONCURRENCY if concurrency is None else concurrency)


def _number(conf: Mapping[str, str], key: str, problems: list[Problem]) -> int | None:
    text = conf.get(key)
    if not text:
        return None
    try:
        return int(text) if text.isdecimal() else parse_size(text)
    except ValueError:
        problems.append(Problem(key, f'must be a size such as 16MiB or a number, not {text!r}'))
        return None
