from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_sync.commands.names import printable, quote_path, unquote_path


@given(st.text(st.characters(blacklist_categories=('Cs',)), min_size=1))
@example('AUTH_a/c/100%\n%41 "x" \x1b[31m$(reboot)`;\u202e\u2028')
@example('-rf')
def test_a_listed_path_is_one_plain_word_of_a_shell_and_comes_back_exactly(path: str) -> None:
    shown = quote_path(path)
    assert unquote_path(shown) == path
    assert shlex.split(shown) == [shown]
    assert shown.isprintable() and ' ' not in shown and not shown.startswith('-')
    assert not set(shown) & set('$`;&|<>*?[]{}()!#\'"\\')


def test_ordinary_names_of_any_script_stay_readable() -> None:
    assert quote_path('AUTH_a/fotos/größe/東京_2024-01.jpg') == 'AUTH_a/fotos/größe/東京_2024-01.jpg'


def test_blanks_line_breaks_and_percent_signs_are_encoded() -> None:
    assert quote_path('a/c/x y\n%41') == 'a/c/x%20y%0A%2541'


def test_what_decodes_to_no_text_is_refused() -> None:
    with pytest.raises(ValueError):
        unquote_path('a/c/%FF')


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert printable('denied \x1b[2J\n"ü"') == 'denied \\x1b[2J\\n"ü"'
