"""Putting the settings of a process together from all their sources.

Later wins: defaults, preset, configuration file, environment, overrides. Between preset and
file stands what an old configuration means in the new one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ccos.config.files import find_config_file, read_document
from ccos.config.flags import MissingCapabilityFeatureFlags
from ccos.config.legacy import flags_from
from ccos.config.rules import Finding, check
from ccos.config.settings import Settings
from ccos.config.sources import (
    BY_KEY,
    DEFINITIONS,
    Given,
    Layer,
    Origin,
    read_environment,
    read_overrides,
    read_tables,
    refuse,
    unknown_variables,
)

_FLAGS = "feature_flags."


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, where each of them came from, and what deserves a look.

    Args:
        settings: The values.
        origins: The source of each value, by the dotted key of a configuration file.
        warnings: One sentence each.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]


def load_settings(
    *,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Read everything this process needs to know.

    Args:
        config_file: The file to read. When left out it is the one named by CCOS_CONFIG, else
            the one in the home folder, if any.
        environ: Environment variables; those of the process when left out.
        overrides: Values that win over everything, such as those of a command line: dotted
            keys or nested mappings. None stands for a value that is not given.

    Raises:
        ConfigurationError: A source cannot be read, names an unknown key, holds a value that
            cannot be used, or the result makes no sense. The message lists every such problem
            of the step that failed.
    """
    environ = os.environ if environ is None else environ
    overriding = read_overrides({**(overrides or {}), "config_file": config_file})
    stated = {**read_environment(environ), **overriding}
    start = _build(stated)
    path = start.config_file or find_config_file(start.home)
    if path is not None:
        found = {"config_file": Given(path, Origin("derived", "found in home"))}
        stated = {**found, **read_tables(read_document(path), path), **stated}
    return _complete(stated, unknown_variables(environ))


def settings_from_environment(environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """The settings that defaults, preset and environment give; no file is looked for.

    Raises:
        ConfigurationError: As for `load_settings`.
    """
    environ = os.environ if environ is None else environ
    return _complete(read_environment(environ), unknown_variables(environ))


def _complete(stated: Layer, warnings: list[str]) -> LoadedSettings:
    """Put preset and old configuration below what is `stated`, and check the result."""
    outline = _build(stated)
    given = {**_preset(outline, stated), **_from_old_configuration(outline, stated), **stated}
    settings = _build(given)
    origins = {definition.key: _origin(definition.key, given) for definition in DEFINITIONS}
    findings = check(settings.missing)
    refuse([_with_origin(finding, origins) for finding in findings.errors])
    warnings = [*warnings, *(_with_origin(finding, origins) for finding in findings.warnings)]
    return LoadedSettings(settings, origins, tuple(warnings))


def _preset(outline: Settings, stated: Layer) -> dict[str, Given]:
    if "feature_profile" not in stated:
        return {}
    profile = outline.feature_profile
    flags = MissingCapabilityFeatureFlags.of_profile(profile)
    layer = {
        f"{_FLAGS}{name}": Given(value, Origin("preset", profile))
        for name, value in flags.model_dump().items()
    }
    if not flags.runtime_detection:
        # Left unset, so that switching `enabled` on implies it.
        del layer[f"{_FLAGS}runtime_detection"]
    return layer


def _from_old_configuration(outline: Settings, stated: Layer) -> dict[str, Given]:
    flags = outline.missing.feature_flags
    if f"{_FLAGS}enabled" in stated and not flags.enabled:
        # An emergency rollback names the old settings to get the old system back.
        return {}
    return {
        f"{_FLAGS}{name}": Given(value, Origin("derived", f"from old_config.{old_name}"))
        for name, (value, old_name) in flags_from(outline.missing.old_config).items()
    }


def _origin(key: str, given: Layer) -> Origin:
    if key in given:
        return given[key].origin
    definition = BY_KEY[key]
    if definition.field.default_factory is not None:
        return Origin("derived", definition.setting.default_text or "")
    return Origin("default")


def _with_origin(finding: Finding, origins: Mapping[str, Origin]) -> str:
    return f"{finding} ({origins[finding.key]})"


def _build(layer: Layer) -> Settings:
    """Read every value of `layer` and put the settings together.

    Raises:
        ConfigurationError: A value cannot be read; the message names each source and key.
    """
    tree: dict[str, Any] = {}
    for key, given in layer.items():
        *groups, name = BY_KEY[key].path
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[name] = given.value
    try:
        return Settings(**tree)
    except ValidationError as error:
        # A default that follows an unreadable value is no problem of its own.
        refuse(
            [
                _problem(detail, layer)
                for detail in error.errors()
                if detail["type"] != "default_factory_not_called"
            ]
        )
        raise


def _problem(detail: ErrorDetails, layer: Layer) -> str:
    place = detail["loc"]
    key = next(item.key for item in DEFINITIONS if item.path == place[: len(item.path)])
    reason = detail.get("ctx", {}).get("error") or detail["msg"]
    origin = layer[key].origin
    if origin.kind == "environment":
        return f"{origin.name}: {reason}"
    if origin.kind == "file":
        return f"{origin.name}: {key}: {reason}"
    return f"{key}: {reason} ({origin.kind})"
