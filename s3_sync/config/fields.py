"""What every configuration model shares: strictness, value types, and the distinction of file name and own name.

A field's ``validation_alias`` is its name in the file (the predecessor's);
its attribute name is the neutral one that the rest of the program uses.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from s3_sync.wire.units import parse_size

DAY = 86400
MiB = 1024 ** 2


class Model(BaseModel):
    """Frozen and strict: no text for numbers, no unknown keys, no input values in error messages."""

    model_config = ConfigDict(frozen=True, strict=True, extra='forbid', hide_input_in_errors=True,
                              populate_by_name=True, validate_default=False)


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False, lt=10 ** 11)]
WholeSeconds = Annotated[int, Field(ge=0, lt=10 ** 11)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False, lt=10 ** 11)]
Count = Annotated[int, Field(ge=1, lt=10 ** 9)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
PositiveSize = Annotated[int, BeforeValidator(parse_size), Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
LogLevel = Literal['debug', 'info', 'warning', 'error']


def file_name(name: str, info: FieldInfo) -> str:
    """The key's name in the configuration file."""
    return info.validation_alias if isinstance(info.validation_alias, str) else name


def file_names(model: type[BaseModel]) -> dict[str, str]:
    """Name in the file -> own name, of every key that may stand in the file."""
    return {file_name(name, info): name for name, info in model.model_fields.items() if in_file(info)}


def in_file(info: FieldInfo) -> bool:
    """False for fields that the loader makes itself."""
    extra: Any = info.json_schema_extra
    return not (isinstance(extra, dict) and extra.get('internal'))


INTERNAL: dict[str, Any] = {'internal': True}
"""``json_schema_extra`` of a field that has no key in the file."""
SEE_RIGHT: dict[str, Any] = {'default_text': 'see right'}
"""The same, of a field whose default depends on others and is told in its description."""
