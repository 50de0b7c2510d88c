"""A secret is a type that does not print (DESIGN 4.9), so that no log, error or dump can leak one by accident."""
from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

HIDDEN = '***'


class SecretProblem(ValueError):
    """A secret cannot be had; the message names the variable or the file, never a value."""


class Secret:
    """Text that only ``reveal`` gives out.

    ``str``, ``repr``, ``format`` and pydantic's dumps show ``***``; json
    refuses it. Pickling keeps the text, because worker processes receive their
    settings over a private socket.
    """

    __slots__ = ('_text', 'origin')

    def __init__(self, text: str, *, origin: str = 'inline') -> None:
        self._text = text
        self.origin = origin
        """Where it came from: ``inline``, ``env NAME`` or ``file PATH``. Not part of equality."""

    def reveal(self) -> str:
        """The text itself. Call it where it is used, keep it nowhere."""
        return self._text

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._text, self.origin)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: HIDDEN))


def _unpickle(text: str, origin: str) -> Secret:
    return Secret(text, origin=origin)


def resolve(raw: object, *, environ: Mapping[str, str], folder: Path) -> Secret:
    """The Secret that a file's value stands for: text, ``{env: NAME}`` or ``{file: PATH}``.

    A relative path counts from ``folder``. SecretProblem when there is none.
    """
    if isinstance(raw, str):
        return _checked(raw, 'inline')
    if isinstance(raw, dict) and len(raw) == 1:
        (kind, where), = raw.items()
        if kind == 'env' and isinstance(where, str) and where:
            if where not in environ:
                raise SecretProblem(f'environment variable {where} is not set')
            return _checked(environ[where], f'env {where}')
        if kind == 'file' and isinstance(where, str) and where:
            return _from_file(secret_path(where, folder))
    raise SecretProblem('must be text, {env: NAME} or {file: PATH}')


def secret_path(where: str, folder: Path) -> Path:
    return folder / where


def _from_file(path: Path) -> Secret:
    try:
        text = path.read_bytes().decode()
    except OSError as err:
        raise SecretProblem(f'cannot read the secret file {path}: {os.strerror(err.errno or 0)}') from None
    except ValueError:
        raise SecretProblem(f'the secret file {path} is not UTF-8 text') from None
    return _checked(text.removesuffix('\n').removesuffix('\r'), f'file {path}')


def _checked(text: str, origin: str) -> Secret:
    where = 'it' if origin == 'inline' else origin
    if not text:
        raise SecretProblem('must not be empty' if origin == 'inline' else f'{where} is empty')
    if any(ord(c) < 32 or c == '\x7f' for c in text):
        raise SecretProblem('must not hold line breaks or control characters' if origin == 'inline'
                            else f'{where} holds line breaks or control characters')
    return Secret(text, origin=origin)


def readable_by_others(path: Path) -> bool:
    """Whether any user of this machine may read the file; False when it cannot be told."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
