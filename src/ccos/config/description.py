"""Saying what every setting is: for ``ccos config show`` and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ccos.config.fields import Definition
from ccos.config.loading import LoadedSettings
from ccos.config.settings import MASK, masked_url
from ccos.config.sources import DEFINITIONS


@dataclass(frozen=True)
class SettingRow:
    """One setting of a process, ready to be shown.

    Args:
        key: Its dotted name in a configuration file.
        value: JSON-ready data, with secrets replaced.
        origin: Where the value came from.
        variables: The environment variables that set it.
        description: One line.
    """

    key: str
    value: Any
    origin: str
    variables: tuple[str, ...]
    description: str


def describe(loaded: LoadedSettings) -> list[SettingRow]:
    """One row for each setting, in the order of their definition."""
    return [
        SettingRow(
            key=definition.key,
            value=_public(definition, definition.value_in(loaded.settings)),
            origin=str(loaded.origins[definition.key]),
            variables=definition.setting.variables,
            description=definition.setting.description,
        )
        for definition in DEFINITIONS
    ]


def reference_table() -> str:
    """Every setting as a Markdown table: key, variables, default, meaning."""
    lines = ["| key | environment | default | meaning |", "|---|---|---|---|"]
    for definition in DEFINITIONS:
        setting = definition.setting
        variables = " or ".join(f"`{name}`" for name in setting.variables)
        key = f"`{definition.key}`"
        if setting.environment_only:
            key += " (not in files)"
        lines.append(f"| {key} | {variables} | {_default(definition)} | {setting.description} |")
    return "\n".join(lines) + "\n"


def _public(definition: Definition, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if definition.key == "database_url":
        return masked_url(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value


def _default(definition: Definition) -> str:
    if definition.setting.default_text:
        return definition.setting.default_text
    default = definition.field.default
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{', '.join(default)}`"
    return f"`{default}`"
