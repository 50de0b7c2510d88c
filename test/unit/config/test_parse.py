from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.config.parse import parse_text


def parsed(text: str | bytes, name: str = 'a.yaml') -> dict[str, object]:
    raw, problems = parse_text(text.encode() if isinstance(text, str) else text, name)
    assert not problems
    assert raw is not None
    return raw


def problems(text: str | bytes, name: str = 'a.yaml') -> list[str]:
    _, found = parse_text(text.encode() if isinstance(text, str) else text, name)
    assert found
    return [str(p) for p in found]


@pytest.mark.parametrize('name', ['a.json', 'a.conf', 'a'])
def test_json_is_known_by_its_ending_or_its_brace(name: str) -> None:
    assert parsed('\n {"a": [1, 2.5, true, null, "x"]}', name) == {'a': [1, 2.5, True, None, 'x']}


@pytest.mark.parametrize('name', ['a.yaml', 'a.yml', 'a.conf'])
def test_yaml_is_known_by_its_ending_or_taken_otherwise(name: str) -> None:
    assert parsed('a: [1, 2.5, true, null, x]\nb: ~\nc:\n', name) == {'a': [1, 2.5, True, None, 'x'], 'b': None,
                                                                     'c': None}


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parsed(b'\xef\xbb\xbf{"a": 1}', 'a.json') == {'a': 1}


@pytest.mark.parametrize(('text', 'value'), [
    ('off', 'off'), ('yes', 'yes'), ('No', 'No'), ('12:30', '12:30'), ('2024-01-01', '2024-01-01'), ('0x10', '0x10'),
    ('010', '010'), ('1_000', '1_000'), ('.inf', '.inf'), ('=', '='), ('true', True), ('-3', -3), ('1e3', 1000.0),
])
def test_yaml_words_mean_what_version_1_2_says(text: str, value: object) -> None:
    found = parsed(f'a: {text}')['a']
    assert found == value
    assert type(found) is type(value)


def test_anchors_and_merge_keys_work_and_may_be_overridden() -> None:
    assert parsed('x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}') == {'x': {'a': 1, 'b': 2}, 'y': {'a': 1, 'b': 3}}


@pytest.mark.parametrize(('text', 'name'), [
    ('{"l": [{"x": 1, "y": 2, "x": 3}]}', 'a.json'), ('l:\n- x: 1\n  y: 2\n  x: 3\n', 'a.yaml'),
])
def test_a_key_given_twice_is_a_problem_with_its_place(text: str, name: str) -> None:
    assert problems(text, name) == ['l[0].x: is given twice']


@pytest.mark.parametrize(('text', 'name', 'reason'), [
    ('', 'a.json', 'is empty'), (' \n', 'a.yaml', 'is empty'), ('# only a comment', 'a.yaml', 'must be an object'),
    ('[1]', 'a.json', 'must be an object'), ('just text', 'a.yaml', 'must be an object'),
    ('{"a": }', 'a.json', 'is not JSON: Expecting value at line 1, column 7'),
    ('{"a": NaN}', 'a.json', 'NaN is no number'), ('{"a": 1}}', 'a.json', 'Extra data'),
    ('a: [1', 'a.yaml', 'is not YAML'), ('a: 1\n\tb: 2', 'a.yaml', 'line 2'), ('a: \x07', 'a.yaml', 'is not YAML'),
    ('? [a]\n: 1', 'a.yaml', 'is not YAML'), ('1: a', 'a.yaml', 'key that is not text'),
    ('a: 1\n---\nb: 2', 'a.yaml', 'is not YAML'),
    ('{"a": ' * 5000, 'a.json', 'deeper'), ('a: ' + '[' * 5000, 'a.yaml', 'deeper'),
    ('a: &a [*a]', 'a.yaml', 'recursive'), ('{"a": "\\ud800"}', 'a.json', 'a: holds half of a surrogate pair'),
    ('{"\\ud800": 1}', 'a.json', 'key that is not text'), ('{"a": ' + '9' * 5000 + '}', 'a.json', 'too long'),
])
def test_text_that_cannot_be_used_says_why(text: str, name: str, reason: str) -> None:
    assert any(reason in problem for problem in problems(text, name))


def test_bytes_that_are_no_text_say_where() -> None:
    assert problems(b'{"a": "\xff"}', 'a.json') == ['is not UTF-8 text (byte 7)']


@pytest.mark.parametrize('text', [
    'aws_secret: *hunter2', 'aws_secret: !hunter2 x', 'aws_secret: !h!hunter2 x', "aws_secret: hunter2': 'x: y",
    'aws_secret: "hunter2', 'aws_secret: @hunter2', 'aws_secret: %hunter2', 'aws_secret: `hunter2',
    'aws_secret: "\\hunter2"', 'aws_secret: hunter2: x', '&hunter2 a: &hunter2 b\nhunter2', '{hunter2: {]}',
    'aws_secret: |hunter2', '%hunter2\n---\na: 1', 'aws_secret: !!int hunter2', 'aws_secret: !!timestamp hunter2',
    'aws_secret: !!binary hunter2é',
])
def test_words_of_the_file_are_never_in_a_message(text: str) -> None:
    raw, found = parse_text(text.encode(), 'a.yaml')
    assert 'hunter2' not in ' '.join(str(p) for p in found)
    assert found or raw


def test_keys_that_would_upset_a_terminal_are_quoted() -> None:
    assert problems('{"\\u001b[2J": 1, "\\u001b[2J": 2}', 'a.json') == ["'\\x1b[2J': is given twice"]


@given(st.dictionaries(st.text(st.characters(exclude_categories=['Cs'])), st.recursive(
    st.none() | st.booleans() | st.integers(-10**15, 10**15) | st.text(st.characters(exclude_categories=['Cs'])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=10)))
def test_any_json_object_comes_out_as_it_went_in(raw: dict[str, object]) -> None:
    assert parsed(json.dumps(raw), 'a.json') == raw


@given(st.binary(max_size=200), st.sampled_from(['a.json', 'a.yaml', 'a']))
def test_no_bytes_break_the_parser(data: bytes, name: str) -> None:
    raw, found = parse_text(data, name)
    assert found or raw is not None
