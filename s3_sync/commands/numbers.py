"""Numbers for people: sizes, counts, times from now."""
from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')


def size(number: float) -> str:
    """``1.5 KiB``."""
    for unit in _UNITS:
        if abs(number) < 1024 or unit == _UNITS[-1]:
            break
        number /= 1024
    return f'{number:.0f} {unit}' if unit == 'B' else f'{number:.1f} {unit}'


def count(number: int, singular: str, plural: str = '') -> str:
    """``1 object``, ``1,200 objects``."""
    return f'{number:,} {singular if number == 1 else plural or singular + "s"}'


def duration(seconds: float) -> str:
    """Two leading units: ``3 d 4 h``."""
    left = round(abs(seconds))
    parts: list[str] = []
    for unit, length in (('d', 86400), ('h', 3600), ('min', 60), ('s', 1)):
        amount, left = divmod(left, length)
        if amount or parts:
            parts.append(f'{amount} {unit}')
        if len(parts) == 2:
            break
    return ' '.join(part for part in parts if not part.startswith('0 ')) or '0 s'


def until(due: float, now: float) -> str:
    """``now`` or ``in 5 min``."""
    return 'now' if due <= now else f'in {duration(due - now)}'


def iso(seconds: float | None) -> str | None:
    """UTC, for programs: ``2026-01-31T12:00:00.000Z``."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')
