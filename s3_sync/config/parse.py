"""Text of a configuration file to plain values: JSON or YAML, nothing accepted twice, no value in any message.

YAML is read as its version 1.2 means it (only ``true`` and ``false`` are
truth values, dates and ``12:30`` are text), so that the same words mean the
same in both syntaxes and ``local_reads: off`` is a word.
"""
from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import PurePath
from typing import Any

import yaml

from s3_sync.errors import Problem

MAX_DEPTH = 100


class Table(dict[str, Any]):
    """A dict that remembers keys its text gave twice."""

    duplicates: tuple[str, ...] = ()


def parse_text(data: bytes, path: str) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Top-level object of the file and what is wrong with its text. None when there is no object to go on with."""
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as err:
        return None, [Problem('', f'is not UTF-8 text (byte {err.start})')]
    if not text.strip():
        return None, [Problem('', 'is empty')]
    read = _read_json if _is_json(text, path) else _read_yaml
    try:
        raw = read(text)
    except RecursionError:
        return None, [Problem('', f'is nested deeper than {MAX_DEPTH}')]
    except _TextError as err:
        return None, [Problem('', str(err))]
    if not isinstance(raw, dict):
        return None, [Problem('', 'must be an object (keys and values) at its top level')]
    problems: list[Problem] = []
    if not _walk(raw, '', 0, problems):
        return None, problems
    return raw, problems


class _TextError(Exception):
    pass


def _is_json(text: str, path: str) -> bool:
    suffix = PurePath(path).suffix.lower()
    if suffix in ('.yaml', '.yml'):
        return False
    return suffix == '.json' or text.lstrip()[0] in '{['


def _walk(raw: Any, path: str, depth: int, problems: list[Problem]) -> bool:
    """Report duplicate and odd keys. False when the nesting has no end."""
    if depth > MAX_DEPTH:
        problems.append(Problem('', f'is nested deeper than {MAX_DEPTH}'))
        return False
    if isinstance(raw, dict):
        for key in getattr(raw, 'duplicates', ()):
            problems.append(Problem(join(path, key), 'is given twice'))
        for key in [key for key in raw if not isinstance(key, str) or not _is_unicode(key)]:
            problems.append(Problem(path, 'has a key that is not text (put it in quotes)'))
            del raw[key]
        return all(_walk(value, join(path, key), depth + 1, problems) for key, value in raw.items())
    if isinstance(raw, list):
        return all(_walk(value, f'{path}[{n}]', depth + 1, problems) for n, value in enumerate(raw))
    if isinstance(raw, str) and not _is_unicode(raw):
        problems.append(Problem(path, 'holds half of a surrogate pair, which is no text'))
    return True


def _is_unicode(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def join(path: str, key: str) -> str:
    """Path of a key below a path. A key that would upset a terminal is quoted."""
    if not key.isprintable():
        key = ascii(key)
    return f'{path}.{key}' if path else key


# -- JSON -------------------------------------------------------------------------------

def _read_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_table, parse_constant=_no_constant)
    except json.JSONDecodeError as err:
        raise _TextError(f'is not JSON: {err.msg} at line {err.lineno}, column {err.colno}') from None
    except ValueError:
        raise _TextError('is not JSON: a number is too long') from None


def _table(pairs: list[tuple[str, Any]]) -> Table:
    table = Table(pairs)
    if len(table) != len(pairs):
        table.duplicates = _repeated([key for key, _ in pairs])
    return table


def _repeated(keys: list[str]) -> tuple[str, ...]:
    return tuple(key for key, count in Counter(keys).items() if count > 1)


def _no_constant(word: str) -> Any:
    raise _TextError(f'is not JSON: {word} is no number')


# -- YAML -------------------------------------------------------------------------------

class _Loader(yaml.SafeLoader):
    """SafeLoader with the YAML 1.2 core words and tables that know their duplicates."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_table(self, node: yaml.MappingNode) -> Any:
        table = Table()
        yield table
        # Before merge keys are filled in: those may be overridden.
        duplicates = _repeated([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        self.flatten_mapping(node)
        values: dict[Any, Any] = self.construct_mapping(node, deep=True)
        table.update(values)
        table.duplicates = duplicates

    def construct_decimal(self, node: yaml.ScalarNode) -> float:
        return float(node.value)


def _resolver(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f'tag:yaml.org,2002:{tag}', re.compile(pattern), list(first))


_resolver('null', r'(?:~|null|Null|NULL|)\Z', '~nN')
_Loader.add_implicit_resolver('tag:yaml.org,2002:null', re.compile(r'\Z'), [''])
_resolver('bool', r'(?:true|True|TRUE|false|False|FALSE)\Z', 'tTfF')
_resolver('int', r'[-+]?(?:0|[1-9][0-9]*)\Z', '-+0123456789')
_resolver('float', r'[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)\Z',
          '-+.0123456789')
_resolver('merge', r'<<\Z', '<')
# Dates, sets, binaries and Python's own objects cannot be written even with a tag.
_Loader.yaml_constructors = {
    tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(':')[2] in ('null', 'bool', 'int', 'str', 'seq')}
_Loader.add_constructor('tag:yaml.org,2002:map', _Loader.construct_table)
_Loader.add_constructor('tag:yaml.org,2002:float', _Loader.construct_decimal)


def _read_yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f' at line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        # PyYAML quotes words of the file, which may be a secret written without quotes.
        what = re.sub(r"""['"].*['"]""", '...', err.problem or 'cannot be read', flags=re.DOTALL)
        raise _TextError(f'is not YAML: {what}{where}') from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError):
        raise _TextError('is not YAML: characters or values that it does not allow') from None
