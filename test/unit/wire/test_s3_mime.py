from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.wire.s3_mime import decode_text, encode_text


@pytest.mark.parametrize('text, encoded', [
    ('\u00e9', '=?UTF-8?B?w6k=?='), ('\x04w', '=?UTF-8?Q?=04w?='), ('h\x04', '=?UTF-8?Q?h=04?='),
    ('\x04' * 5, '=?UTF-8?B?BAQEBAQ=?='), ('plain text', 'plain text'), ('', '')])
def test_the_predecessors_vectors(text: str, encoded: str) -> None:
    assert encode_text(text) == encoded
    assert decode_text(encoded) == text


@given(st.text())
def test_any_text_survives(text: str) -> None:
    encoded = encode_text(text)
    assert decode_text(encoded) == text
    assert encoded.isascii()
    assert encoded == encoded.strip()
    assert not set(encoded) & {'\r', '\n', '\0'}


@pytest.mark.parametrize('text', ['=?UTF-8?B?w6k=?=', 'a =?x', 'a  b', ' a', 'a ', 'a\tb', 'a\r\nX-Injected: b'])
def test_what_would_change_on_the_way_is_encoded(text: str) -> None:
    assert encode_text(text).startswith('=?UTF-8?')
    assert '  ' not in encode_text(text)
    assert decode_text(encode_text(text)) == text


@pytest.mark.parametrize('value, text', [
    ('=?utf-8?q?caf=C3?= =?UTF-8?Q?=A9?=', 'caf\u00e9'),
    ('=?iso-8859-1?Q?=E9?= and =?utf-8?B?w6k?=', '\u00e9 and \u00e9'),
    ('=?iso-8859-1?Q?a?=  =?utf-8?Q?b_c?=', 'ab c'), ('=?utf-8*en?Q?a?=', 'a'), ('x=?utf-8?Q?a?=y', 'xay')])
def test_what_others_write_is_read(value: str, text: str) -> None:
    assert decode_text(value) == text


@pytest.mark.parametrize('value', ['=?nonsense?Q?a?=', '=?utf-8?B?%%%?=', '=?utf-8?Q?=ff?=', '=?', '=?utf-8?X?a?='])
def test_what_cannot_be_read_stays(value: str) -> None:
    assert decode_text(value) == value
