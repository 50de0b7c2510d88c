from __future__ import annotations

import pytest

from s3_sync.wire.units import parse_seconds, parse_size


@pytest.mark.parametrize(('text', 'size'), [
    (0, 0), (5, 5), ('5', 5), ('5B', 5), ('1K', 1000), ('1kB', 1000), ('1KiB', 1024), ('16MiB', 16 * 2 ** 20),
    ('5 GB', 5 * 10 ** 9), ('2gib', 2 ** 31), ('1TiB', 2 ** 40), ('1.5KiB', 1536), (2.0, 2),
])
def test_sizes_are_read_in_every_unit(text: object, size: int) -> None:
    assert parse_size(text) == size
    assert isinstance(parse_size(text), int)


@pytest.mark.parametrize(('text', 'seconds'), [
    (0, 0), (1.5, 1.5), ('90s', 90), ('15m', 900), ('12h', 43200), ('30d', 2592000), ('2w', 1209600), ('1.5d', 129600),
    ('30D', 2592000), ('7', 7),
])
def test_durations_are_read_in_every_unit(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize('text', [
    '', 'B', '-1', -1, '1 parsec', '1.5B', 1.5, True, None, [], '1e3', '1_000', ' 5', '5  MiB', '٥', 'nan',
    float('nan'),
    float('inf'), 10 ** 18, '9' * 30,
])
def test_what_is_no_size_is_an_error(text: object) -> None:
    with pytest.raises(ValueError, match='size|bytes'):
        parse_size(text)


@pytest.mark.parametrize('text', ['', 'd', '-1d', '1 month', False, None, '1d2h', float('nan'), float('inf')])
def test_what_is_no_duration_is_an_error(text: object) -> None:
    with pytest.raises(ValueError, match='duration'):
        parse_seconds(text)
