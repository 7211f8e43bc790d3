"""Saying what every setting is: for ``ccos config show`` and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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


_NOT_ACTED_ON: Final = (
    "capability_storage",
    "generated_capability_storage",
    "synthesized_capability_storage",
    "interactive",
    "debug_missing_capability",
    "mcp_auth_token",
    "google_search_",
    "bing_search_",
    "feature_flags.http_wrapper_enabled",
    "feature_flags.llm_synthesis_enabled",
    "feature_flags.web_search_enabled",
    "feature_flags.output_schema_introspection_enabled",
    "feature_flags.validation_enabled",
    "security_config.require_auth",
    "llm_synthesis_config.",
    "web_search_config.",
    "tool_selection.",
)


def is_acted_on(key: str) -> bool:
    """Whether some stage of this version does something about a setting.

    The others are read and checked, so that a configuration written for them is not refused, and
    every listing says so.
    """
    return not key.startswith(_NOT_ACTED_ON)


def _description(definition: Definition) -> str:
    text = definition.setting.description
    if is_acted_on(definition.key):
        return text
    return f"{text} No stage of this version acts on it."


def describe(loaded: LoadedSettings) -> list[SettingRow]:
    """One row for each setting, in the order of their definition."""
    return [
        SettingRow(
            key=definition.key,
            value=_public(definition, definition.value_in(loaded.settings)),
            origin=str(loaded.origins[definition.key]),
            variables=definition.setting.variables,
            description=_description(definition),
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
        lines.append(
            f"| {key} | {variables} | {_default(definition)} | {_description(definition)} |"
        )
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
