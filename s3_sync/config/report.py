"""What a reading of the file collects on its way: problems, warnings, secret files."""
from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from s3_sync.config.parse import join
from s3_sync.config.secrets import Secret, SecretProblem, readable_by_others, resolve, secret_path
from s3_sync.errors import Problem

_MESSAGES = {
    'missing': 'is required',
    'extra_forbidden': 'is not a known key',
    'int_type': 'must be a whole number', 'int_parsing': 'must be a whole number',
    'int_from_float': 'must be a whole number',
    'float_type': 'must be a number', 'float_parsing': 'must be a number',
    'finite_number': 'must be a finite number',
    'bool_type': 'must be true or false', 'bool_parsing': 'must be true or false',
    'string_type': 'must be text (in quotes)',
    'string_too_short': 'must not be empty',
    'dict_type': 'must be an object', 'model_type': 'must be an object', 'model_attributes_type': 'must be an object',
    'tuple_type': 'must be a list', 'list_type': 'must be a list',
    'is_instance_of': 'must be text, {env: NAME} or {file: PATH}',
}
_BOUNDS = {'greater_than_equal': ('at least', 'ge'), 'greater_than': ('greater than', 'gt'),
           'less_than_equal': ('at most', 'le'), 'less_than': ('less than', 'lt')}


@dataclass
class Report:
    """Collects while the file is read; nothing in it holds a value that may be a secret."""

    environ: Mapping[str, str]
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    secret_files: set[str] = field(default_factory=set)

    def problem(self, path: str, message: str) -> None:
        if (found := Problem(path, message)) not in self.problems:
            self.problems.append(found)

    def warn(self, path: str, message: str) -> None:
        text = f'{path}: {message}' if path else message
        if text not in self.warnings:
            self.warnings.append(text)

    def secret(self, raw: object, path: str) -> Secret | None:
        """The secret that stands at ``path``; None after reporting why there is none."""
        if isinstance(raw, dict) and isinstance(raw.get('file'), str) and raw['file']:
            file = secret_path(raw['file'], self.folder)
            self.secret_files.add(str(file))
            if readable_by_others(file):
                self.warn(path, f'every user of this machine can read the secret file {file}')
        try:
            return resolve(raw, environ=self.environ, folder=self.folder)
        except SecretProblem as err:
            self.problem(path, str(err))
            return None

    def invalid(self, error: ValidationError, path: str) -> None:
        """Problems of one pydantic model; ``path`` leads to its object."""
        for item in error.errors(include_url=False, include_input=False):
            self.problem(path_of(item['loc'], path), _message(item))

    def unknown(self, key: str, path: str, known: Iterable[str], hint: str = '') -> None:
        """An unknown key, with what was probably meant. Its value is never shown."""
        if not hint:
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
        self.problem(join(path, key), f'is not a known key{hint}')


def path_of(loc: tuple[int | str, ...], path: str) -> str:
    """A pydantic location as a path below ``path``. Steps of unions that name a type are left out."""
    for step in loc:
        if isinstance(step, int):
            path = f'{path}[{step}]'
        elif step in ('bool', 'str') or step.startswith(('literal[', 'function-', 'constrained-')):
            continue
        else:
            path = join(path, step)
    return path


def _message(item: Any) -> str:
    kind: str = item['type']
    context: dict[str, Any] = item.get('ctx', {})
    if kind == 'value_error':
        return str(context['error'])
    if kind == 'literal_error':
        return f'must be {context["expected"]}'.replace("'", '')
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f'must be {words} {context[bound]}'
    return _MESSAGES.get(kind, 'has a value of the wrong kind')
