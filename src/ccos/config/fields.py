"""What a setting is: its type, its variables, its description, and how its text is read.

A settings model is a frozen pydantic model whose fields carry a `Setting`. Everything that is
said about a setting elsewhere (the environment reader, ``ccos config show``, the reference
table) is taken from there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True}
_SWITCHES |= {"false": False, "0": False, "no": False, "off": False}
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LARGEST_WHOLE_NUMBER = 2**63 - 1
_SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """`value` for an error message: escaped, on one line, and short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def read_switch(value: object) -> bool:
    """Read true/false, 1/0, yes/no or on/off, in any case."""
    if isinstance(value, bool | int | str):
        switch = _SWITCHES.get(str(value).strip().lower())
        if switch is not None:
            return switch
    raise ValueError(f"expected true or false, got {shown(value)}")


def _read_count(value: object) -> int:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {shown(value)}")
    if abs(value) > _LARGEST_WHOLE_NUMBER:
        raise ValueError(f"expected a number of at most 63 bits, got {value.bit_length()} bits")
    return value


def _read_number(value: object) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(_read_count(value))
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError(f"expected a number, got {shown(value)}")
    return value


def _read_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(name for part in value.split(",") if (name := part.strip()))
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError(f"expected a list of texts, got {shown(value)}")


def _read_path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError(f"expected a path, got {shown(value)}")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"the home folder in {shown(value)} is unknown") from None


def _read_paths(value: object) -> tuple[Path, ...]:
    if isinstance(value, Path):
        return (_read_path(value),)
    if isinstance(value, list | tuple):
        return tuple(_read_path(path) for path in value)
    return tuple(_read_path(path) for path in _read_names(value))


def _lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Switch = Annotated[bool, BeforeValidator(read_switch)]
Count = Annotated[int, BeforeValidator(_read_count)]
Number = Annotated[float, BeforeValidator(_read_number)]
PositiveCount = Annotated[Count, Field(gt=0)]
PositiveNumber = Annotated[Number, Field(gt=0)]
Names = Annotated[tuple[str, ...], BeforeValidator(_read_names)]
FilePath = Annotated[Path, BeforeValidator(_read_path)]
FilePaths = Annotated[tuple[Path, ...], BeforeValidator(_read_paths)]
LOWER_CASE = BeforeValidator(_lower_case)


@dataclass(frozen=True)
class Setting:
    """What one field of a settings model means; put into its ``Annotated``.

    Args:
        variable: The environment variable that sets it.
        description: One line for people.
        other_variable: A second spelling of the variable with the same meaning.
        default_text: The default in words, where it is no constant.
        environment_only: True where a configuration file may not set it: a secret, or
            something that is needed to find the file.
    """

    variable: str
    description: str
    other_variable: str | None = None
    default_text: str | None = None
    environment_only: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Every environment variable that sets it."""
        return (self.variable, self.other_variable) if self.other_variable else (self.variable,)


# Marks a field whose group of settings keeps its keys at the level above.
INLINE = object()


class SettingsModel(BaseModel):
    """Base of every settings model: immutable, closed, and silent about values in errors.

    Building one raises pydantic's ``ValidationError`` for a value of the wrong type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True)
class Definition:
    """One setting of a model.

    Args:
        key: The dotted name in files, overrides and origins.
        path: Where the value is in the model, attribute by attribute.
        setting: What is said about it.
        field: Its pydantic field.
    """

    key: str
    path: tuple[str, ...]
    setting: Setting
    field: FieldInfo

    def value_in(self, model: BaseModel) -> Any:
        """The value of this setting in `model`, which is the model it was taken from."""
        value: Any = model
        for name in self.path:
            value = getattr(value, name)
        return value


@cache
def definitions(model: type[BaseModel]) -> tuple[Definition, ...]:
    """Every setting of `model` and of the groups in it, in their order of definition.

    Raises:
        TypeError: A field is neither a group nor described by a `Setting`.
    """
    return tuple(_walk(model, (), ()))


def _walk(
    model: type[BaseModel], keys: tuple[str, ...], path: tuple[str, ...]
) -> Iterator[Definition]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inline = INLINE in field.metadata
            yield from _walk(kind, keys if inline else (*keys, name), (*path, name))
            continue
        setting = next((item for item in field.metadata if isinstance(item, Setting)), None)
        if setting is None:
            raise TypeError(f"{model.__name__}.{name} says neither variable nor description")
        yield Definition(".".join((*keys, name)), (*path, name), setting, field)
