"""Sizes and durations as operators write them: ``16MiB``, ``30d``."""
from __future__ import annotations

import re

_SIZES = {'': 1, 'B': 1, 'K': 10 ** 3, 'M': 10 ** 6, 'G': 10 ** 9, 'T': 10 ** 12,
          'KB': 10 ** 3, 'MB': 10 ** 6, 'GB': 10 ** 9, 'TB': 10 ** 12,
          'KIB': 2 ** 10, 'MIB': 2 ** 20, 'GIB': 2 ** 30, 'TIB': 2 ** 40}
_SECONDS = {'': 1, 's': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}
_NUMBER = re.compile(r'(\d{1,18}(?:\.\d{1,9})?) ?([A-Za-z]*)', re.ASCII)


def parse_size(value: object) -> int:
    """Bytes from a whole number or text such as ``16MiB``, ``5 GB``, ``1.5KiB``. ValueError otherwise."""
    number, unit = _split(value, 'a size such as 1048576 or "10MiB"')
    factor = _SIZES.get(unit.upper())
    if factor is None:
        raise ValueError(f'unknown unit {unit!r} of a size; use B, KB, MB, GB, TB, KiB, MiB, GiB or TiB')
    return _whole(number * factor)


def parse_seconds(value: object) -> float:
    """Seconds from a number or text such as ``90s``, ``15m``, ``12h``, ``30d``, ``2w``. ValueError otherwise."""
    number, unit = _split(value, 'a duration such as 3600 or "30d"')
    factor = _SECONDS.get(unit.lower())
    if factor is None:
        raise ValueError(f'unknown unit {unit!r} of a duration; use s, m, h, d or w')
    return float(number * factor)


def _split(value: object, expected: str) -> tuple[float | int, str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < 10 ** 18:
            raise ValueError(f'must be {expected}')
        return value, ''
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'must be {expected}')
    number = match[1]
    return (float(number) if '.' in number else int(number)), match[2]


def _whole(number: float | int) -> int:
    if number != int(number):
        raise ValueError('must be a whole number of bytes')
    return int(number)
