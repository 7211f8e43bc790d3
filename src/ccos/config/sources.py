"""Where values come from: environment, document, overrides.

Every source becomes one flat mapping from the dotted key of a setting to its raw value and
origin. Nothing is interpreted here except that two spellings of one variable must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from ccos.config.fields import Definition, definitions, read_switch, shown
from ccos.config.settings import Settings
from ccos.errors import ConfigurationError

DEFINITIONS = definitions(Settings)
BY_KEY: Mapping[str, Definition] = {definition.key: definition for definition in DEFINITIONS}

# The names of tables in a document.
SHORT_SECTION = "missing_capabilities"
NEW_CONFIG = "new_config"
GROUPS = {
    *(key[:dot] for key in BY_KEY for dot in range(len(key)) if key[dot] == "."),
    SHORT_SECTION,
    NEW_CONFIG,
}

# Credentials of single providers are named after the provider.
_CREDENTIAL_PREFIX = "CCOS_AUTH_"

# The section [missing_capabilities] of a TOML file has names of its own.
SHORT_NAMES = {
    "enabled": "feature_flags.enabled",
    "runtime_detection": "feature_flags.runtime_detection",
    "auto_resolution": "feature_flags.auto_resolution",
    "llm_synthesis": "feature_flags.llm_synthesis_enabled",
    "web_search": "feature_flags.web_search_enabled",
    "human_approval_required": "feature_flags.human_approval_required",
    "output_schema_introspection": "feature_flags.output_schema_introspection_enabled",
    "verbose_logging": "debug_missing_capability",
    "max_attempts": "max_resolution_attempts",
    "tool_selector": "tool_selection.enabled",
}


@dataclass(frozen=True)
class Origin:
    """Where a value came from: the kind of source and its name.

    The name is the preset, path, variable or key; for ``derived`` it says from what.
    """

    kind: Literal["default", "preset", "file", "environment", "override", "derived"]
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "derived":
            return f"derived ({self.name})"
        return f"{self.kind} {self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Given:
    """A raw value and where it came from."""

    value: Any
    origin: Origin


Layer = Mapping[str, Given]


def refuse(problems: Sequence[str]) -> None:
    """Raise one ConfigurationError that lists all `problems`, if there are any."""
    if len(problems) == 1:
        raise ConfigurationError(problems[0], details={"problems": list(problems)})
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise ConfigurationError(
            f"{len(problems)} settings cannot be used:{listed}",
            details={"problems": list(problems)},
        )


def suggestion(name: str, known: Sequence[str]) -> str:
    """A question that offers the name in `known` nearest to `name`, or nothing."""
    nearest = get_close_matches(name, known, n=1, cutoff=0.8)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def read_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """What `environ` says about settings.

    Raises:
        ConfigurationError: Both spellings of a variable are set and disagree.
    """
    layer: dict[str, Given] = {}
    problems = []
    for definition in DEFINITIONS:
        present = [name for name in definition.setting.variables if name in environ]
        if not present:
            continue
        if len(present) > 1 and (problem := _disagreement(environ, present)):
            problems.append(problem)
        layer[definition.key] = Given(environ[present[0]], Origin("environment", present[0]))
    refuse(problems)
    return layer


def _disagreement(environ: Mapping[str, str], names: list[str]) -> str | None:
    switches = []
    for name in names:
        try:
            switches.append(read_switch(environ[name]))
        except ValueError as error:
            return f"{name}: {error}"
    if len(set(switches)) == 1:
        return None
    return f"{names[0]} and {names[1]} are the same setting, and they disagree"


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A warning for each variable that starts with ``CCOS_`` and belongs to no setting.

    It may belong to another program, or be misspelt; its value is never shown.
    """
    known = [name for definition in DEFINITIONS for name in definition.setting.variables]
    return [
        f"{ascii(name)[1:-1]} is no setting of CCOS{suggestion(name, known)}"
        for name in sorted(environ)
        if name.startswith("CCOS_")
        and not name.startswith(_CREDENTIAL_PREFIX)
        and name not in known
    ]


def read_overrides(overrides: Mapping[str, Any]) -> dict[str, Given]:
    """What a caller sets itself, by dotted keys or nested mappings; None is not set.

    Raises:
        ConfigurationError: A key is unknown or set twice.
    """
    flat = _Flattening(lambda key: Origin("override", key))
    flat.add({key: value for key, value in overrides.items() if value is not None}, "")
    refuse(flat.problems)
    return flat.layer


def read_tables(document: Mapping[str, Any], path: Path) -> dict[str, Given]:
    """What the content of the file at `path` says about settings.

    A document of the form ``{"old_config": …, "new_config": …}`` is read as well; the keys of
    ``new_config`` then stand for keys of the top level.

    Raises:
        ConfigurationError: A key is unknown, set twice, or not allowed in a file.
    """
    flat = _Flattening(lambda key: Origin("file", str(path)))
    for key, value in document.items():
        if key == NEW_CONFIG and isinstance(value, Mapping):
            flat.add(value, "")
        elif key == SHORT_SECTION and isinstance(value, Mapping):
            flat.add_short(value)
        else:
            flat.add({key: value}, "")
    problems = flat.problems + [
        f"{key} can only be set by the environment variable {BY_KEY[key].setting.variable}"
        for key in flat.layer
        if BY_KEY[key].setting.environment_only
    ]
    refuse([f"{path}: {problem}" for problem in problems])
    return flat.layer


class _Flattening:
    """Collects nested tables as one layer of dotted keys, and the problems on the way."""

    def __init__(self, origin_of: Callable[[str], Origin]) -> None:
        self.layer: dict[str, Given] = {}
        self.problems: list[str] = []
        self._origin_of = origin_of

    def add(self, table: Mapping[str, Any], prefix: str) -> None:
        for name, value in table.items():
            key = f"{prefix}{name}"
            if key in BY_KEY:
                self._put(key, value)
            elif key not in GROUPS:
                self.problems.append(f"unknown key {shown(key)}{suggestion(key, [*BY_KEY])}")
            elif isinstance(value, Mapping):
                self.add(value, f"{key}.")
            else:
                self.problems.append(f"{key}: expected a table, got {shown(value)}")

    def add_short(self, table: Mapping[str, Any]) -> None:
        for name, value in table.items():
            key = SHORT_NAMES.get(name)
            if name == "tool_selector" and isinstance(value, Mapping):
                self.add(value, "tool_selection.")
            elif key is not None:
                self._put(key, value)
            else:
                self.problems.append(
                    f"unknown key {shown(f'{SHORT_SECTION}.{name}')}"
                    f"{suggestion(name, [*SHORT_NAMES])}"
                )

    def _put(self, key: str, value: Any) -> None:
        if key in self.layer:
            self.problems.append(f"{key} is set twice")
        self.layer[key] = Given(value, self._origin_of(key))
