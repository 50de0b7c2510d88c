"""From a file to ``Settings``, or to a ConfigError that lists everything wrong with it."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from s3_sync.config import checks, overlap
from s3_sync.config.fields import Model, file_name, file_names
from s3_sync.config.mapping import Mapping, SharedKeys
from s3_sync.config.migration import MetadataMigration, MetadataMigratorSettings, Migration, MigratorSettings
from s3_sync.config.model import Settings
from s3_sync.config.parse import join, parse_text
from s3_sync.config.remote import NamedRemote, RateLimits, Remote
from s3_sync.config.report import Report
from s3_sync.config.secrets import Secret, readable_by_others
from s3_sync.errors import ConfigError, Problem

M = TypeVar('M', bound=Model)
R = TypeVar('R', NamedRemote, Remote)
P = TypeVar('P', Mapping, Migration, MetadataMigration)

_LISTS: dict[str, type[Mapping] | type[Migration] | type[MetadataMigration]] = {
    'containers': Mapping, 'migrations': Migration, 'metadata_migrations': MetadataMigration}
_OBJECTS: dict[str, type[MetadataMigratorSettings]] = {
    'migrator_settings': MigratorSettings, 'metadata_migrator_settings': MetadataMigratorSettings}
_SECTIONS = (*_LISTS, *_OBJECTS, 'remotes')
_PLACEHOLDER = Remote(bucket='placeholder')


@dataclass(frozen=True, slots=True)
class Reading:
    """What came out of one look at a file: settings, or else problems."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    secret_files: tuple[str, ...] = ()
    """Files the secrets are in, also of a reading that failed: their change is a reason to look again."""


def load(path: str | os.PathLike[str], *, environ: Table[str, str] = os.environ) -> Settings:
    """Read and check one configuration file. ConfigError names every problem with its place in the file."""
    return _or_raise(read(path, environ=environ), os.fspath(path))


def parse(data: bytes, file: str, *, environ: Table[str, str] = os.environ) -> Settings:
    """``load`` of bytes already at hand; ``file`` is their name in messages, and where relative paths count from."""
    return _or_raise(_read_bytes(data, file, environ), file)


def read(path: str | os.PathLike[str], *, environ: Table[str, str] = os.environ) -> Reading:
    """``load`` that returns its problems."""
    file = os.fspath(path)
    try:
        data = Path(file).read_bytes()
    except (OSError, ValueError) as err:
        why = os.strerror(err.errno or 0) if isinstance(err, OSError) else 'no file can have this name'
        return Reading(None, (Problem('', f'cannot be read: {why}'),))
    return _read_bytes(data, file, environ)


def _or_raise(reading: Reading, file: str) -> Settings:
    if reading.settings is None:
        raise ConfigError(file, reading.problems)
    return reading.settings


def _read_bytes(data: bytes, file: str, environ: Table[str, str]) -> Reading:
    raw, problems = parse_text(data, file)
    if raw is None:
        return Reading(None, tuple(problems))
    report = Report(environ=environ, folder=Path(file).parent, problems=problems)
    settings = _Reader(raw, report).settings()
    secret_files = tuple(sorted(report.secret_files))
    if report.problems or settings is None:
        return Reading(None, tuple(report.problems), secret_files)
    if readable_by_others(Path(file)) and _inline_secrets(raw):
        report.warn('', 'the file holds secrets and every user of this machine can read it')
    return Reading(settings.model_copy(update={
        'path': file, 'warnings': tuple(report.warnings), 'secret_files': secret_files}), (), secret_files)


class _Reader:
    """One pass over the raw file. Every step reports and goes on, so that all problems come out together."""

    def __init__(self, raw: dict[str, Any], report: Report) -> None:
        self._raw = without_nulls(raw)
        self._report = report
        self._remotes: dict[str, NamedRemote | None] = {}
        self._defaults: dict[str, Any] = {}
        self._limits: dict[str, Any] = {}
        self._explicit_names: set[str] = set()

    def settings(self) -> Settings | None:
        top = {k: v for k, v in self._raw.items() if k not in _SECTIONS}
        settings = self._model(Settings, top, '', also=_SECTIONS)
        if settings is not None:
            given = settings.model_fields_set
            self._defaults = {k: getattr(settings, k) for k in SharedKeys.model_fields if k in given}
            self._limits = {k: getattr(settings, k) for k in RateLimits.model_fields if k in given}
        self._read_remotes()
        lists: dict[str, list[tuple[str, Any]]] = {key: self._read_list(key, model) for key, model in _LISTS.items()}
        objects = {key: self._read_object(key, model) for key, model in _OBJECTS.items()}
        profiles = [item for items in lists.values() for item in items]
        overlap.check(lists['containers'], lists['migrations'], self._report)
        checks.check_limits([(path, item.remote) for path, item in profiles], self._report)
        if settings is None:
            return None
        checks.check_settings(settings, bool(self._raw.get('containers')), self._raw, self._report)
        update: dict[str, Any] = {key: _named(items, self._explicit_names, self._report)
                                  for key, items in lists.items()}
        return settings.model_copy(update=update | objects)

    def _read_remotes(self) -> None:
        raw = self._raw.get('remotes', {})
        if not isinstance(raw, dict):
            self._report.problem('remotes', 'must be an object with one entry per remote')
            return
        for name, entry in raw.items():
            path = join('remotes', name)
            remote = self._model(NamedRemote, entry, path)
            self._remotes[name] = self._checked(remote, path) if remote is not None else None

    def _read_list(self, key: str, model: type[P]) -> list[tuple[str, P]]:
        raw = self._raw.get(key, [])
        if not isinstance(raw, list):
            self._report.problem(key, 'must be a list')
            return []
        items = [(f'{key}[{n}]', self._read_profile(model, entry, f'{key}[{n}]')) for n, entry in enumerate(raw)]
        return [(path, item) for path, item in items if item is not None]

    def _read_object(self, key: str, model: type[M]) -> M | None:
        raw = self._raw.get(key)
        return None if raw is None else self._model(model, raw, key)

    def _read_profile(self, model: type[P], raw: object, path: str) -> P | None:
        if not isinstance(raw, dict):
            self._report.problem(path, 'must be an object')
            return None
        keys: dict[str, str] = file_names(Remote)
        remote = self._read_remote({k: v for k, v in raw.items() if k in keys or k == 'remote'}, path)
        own = {**self._defaults, **{k: v for k, v in raw.items() if k not in keys and k != 'remote'}}
        before = len(self._report.problems)
        item = self._model(model, own, path, also=(*keys, 'remote'), remote=remote or _PLACEHOLDER)
        if item is None or remote is None:
            return None
        if 'name' in raw:
            self._explicit_names.add(path)
        checks.check_profile(item, raw, path, self._report)
        return item if len(self._report.problems) == before else None

    def _read_remote(self, raw: dict[str, Any], path: str) -> Remote | None:
        """The remote of a mapping: its own keys, or a named remote plus the bucket."""
        if 'remote' not in raw:
            remote = self._model(Remote, {**self._limits, **raw}, path)
            return self._checked(remote, path) if remote is not None else None
        name = raw.pop('remote')
        own = {k: v for k, v in raw.items() if k == 'aws_bucket' or k in RateLimits.model_fields}
        for key in raw.keys() - own.keys():
            self._report.problem(join(path, key), 'stands beside remote; give it there or here, not in both places')
        if not isinstance(name, str) or name not in self._remotes:
            known = f' (there are: {", ".join(self._remotes)})' if self._remotes else ''
            self._report.problem(join(path, 'remote'), f'there is no such entry under remotes{known}')
            return None
        base = self._remotes[name]
        if base is None:
            return None
        values = {k: getattr(base, k) for k in base.model_fields_set}
        return self._model(Remote, {**self._limits, **{_file(k): v for k, v in values.items()}, **own}, path)

    def _checked(self, remote: R, path: str) -> R | None:
        """The remote when it is sound. One that is not would only confuse later checks."""
        before = len(self._report.problems)
        checks.check_remote(remote, path, self._report)
        return remote if len(self._report.problems) == before else None

    def _model(self, model: type[M], raw: object, path: str, *, also: tuple[str, ...] = (),
               **extra: object) -> M | None:
        """One validated object; None after reporting. ``also``: keys that are handled elsewhere."""
        if not isinstance(raw, dict):
            self._report.problem(path, 'must be an object')
            return None
        known = file_names(model)
        values = dict(extra)
        good = True
        for key, value in raw.items():
            if key not in known:
                good = False
                self._report.unknown(key, path, [*known, *also], checks.hint_for(key, model))
            elif _is_secret(model, known[key]) and not isinstance(value, Secret):
                values[key] = secret = self._report.secret(value, join(path, key))
                good = good and secret is not None
            else:
                values[key] = value
        try:
            result = model.model_validate(values)
        except ValidationError as err:
            self._report.invalid(err, path)
            return None
        return result if good else None


def without_nulls(raw: Any) -> Any:
    """The same without keys whose value is null: null means "not given".

    Criteria stay as they are: one that lost its value would select everything.
    """
    if isinstance(raw, dict):
        return {k: v if k == 'selection_criteria' else without_nulls(v) for k, v in raw.items() if v is not None}
    return [without_nulls(v) for v in raw] if isinstance(raw, list) else raw


def _file(name: str) -> str:
    return file_name(name, Remote.model_fields[name])


def _is_secret(model: type[Model], name: str) -> bool:
    return Secret in get_args(model.model_fields[name].annotation)


def _inline_secrets(raw: Any) -> bool:
    if isinstance(raw, dict):
        return any((key in _SECRET_KEYS and isinstance(value, str)) or _inline_secrets(value)
                   for key, value in raw.items())
    return isinstance(raw, list) and any(_inline_secrets(value) for value in raw)


_SECRET_KEYS = frozenset(
    file_name(name, info) for model in (Settings, Remote, MetadataMigration)
    for name, info in model.model_fields.items() if _is_secret(model, name) and 'proxy' not in name)


def _named(items: list[tuple[str, P]], explicit: set[str], report: Report) -> tuple[P, ...]:
    """The items with unique names: given ones as they are, default ones made longer where they collide."""
    given = Counter(item.name for path, item in items if path in explicit)
    for path, item in items:
        if path in explicit and given[item.name] > 1:
            report.problem(join(path, 'name'), 'another entry has the same name')
    names = {path: item.name for path, item in items}
    suffixes: tuple[Callable[[P], str], ...] = (lambda item: f' -> {item.remote.bucket}',
                                                lambda item: f' at {item.remote.label}')
    for longer in suffixes:
        counts = Counter(names.values())
        names = {path: names[path] + (longer(item) if counts[names[path]] > 1 and path not in explicit else '')
                 for path, item in items}
    counts = Counter(names.values())
    return tuple(item.model_copy(update={'name': names[path] if counts[names[path]] == 1 or path in explicit
                                         else f'{names[path]} {path}'}) for path, item in items)
