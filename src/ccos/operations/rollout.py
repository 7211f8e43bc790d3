"""The phases in which missing capability resolution is rolled out, and the way back."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ccos.config import MissingCapabilityConfig, load_settings
from ccos.config.files import read_document
from ccos.errors import ConfigurationError

_TABLE: Final = "feature_flags"

_DETECT: Final = {
    "enabled": True,
    "runtime_detection": True,
    "auto_resolution": False,
    "importers_enabled": False,
    "http_wrapper_enabled": False,
    "llm_synthesis_enabled": False,
    "web_search_enabled": False,
    "continuous_resolution": False,
    "auto_resume_enabled": False,
    "human_approval_required": True,
    "audit_logging_enabled": True,
}
_WITH_APPROVAL: Final = {**_DETECT, "auto_resolution": True, "mcp_registry_enabled": True}
_LOW_RISK_ALONE: Final = {
    **_WITH_APPROVAL,
    "importers_enabled": True,
    "human_approval_required": False,
}
_CONTINUOUS: Final = {
    **_LOW_RISK_ALONE,
    "continuous_resolution": True,
    "auto_resume_enabled": True,
    "http_wrapper_enabled": True,
}
_EVERYTHING: Final = {
    **_CONTINUOUS,
    "llm_synthesis_enabled": True,
    "web_search_enabled": True,
    "human_approval_required": True,
}

PHASES: Final[tuple[Mapping[str, bool], ...]] = (
    {"enabled": False},
    _DETECT,
    _WITH_APPROVAL,
    _LOW_RISK_ALONE,
    _CONTINUOUS,
    _EVERYTHING,
)
"""The flags of each phase; phase 0 is the way back from any of them."""


def write_flags(path: Path, flags: Mapping[str, bool]) -> None:
    """Set feature flags in a configuration file, JSON or TOML; all else in it stays as it is.

    The file is replaced at once, and only if it still makes a valid configuration.

    Raises:
        ConfigurationError: if it cannot be read or would not be valid.
    """
    before = read_document(path) if path.exists() else {}
    if path.suffix.lower() == ".toml":
        text = _toml(path.read_text("utf-8") if path.exists() else "", flags)
        try:
            written = tomllib.loads(text).get(_TABLE, {})
        except tomllib.TOMLDecodeError as error:
            raise _by_hand(path) from error
        if any(written.get(name) is not value for name, value in flags.items()):
            raise _by_hand(path)
    else:
        table = before.get(_TABLE, {})
        if not isinstance(table, dict):
            raise _by_hand(path)
        text = json.dumps({**before, _TABLE: {**table, **flags}}, indent=2) + "\n"
    _replace(path, text)


def migrated(old: Path) -> MissingCapabilityConfig:
    """The configuration that an old file stands for; what it says in the new form wins.

    Raises:
        ConfigurationError: if it cannot be read, or what comes of it makes no sense.
    """
    config = MissingCapabilityConfig.from_file(old)
    config.validate()
    return config


def write_migrated(config: MissingCapabilityConfig, new: Path, *, force: bool = False) -> None:
    """Write a configuration as a JSON file.

    Raises:
        ConfigurationError: if there is a file already and ``force`` is not set.
    """
    if new.exists() and not force:
        raise ConfigurationError(
            f"{new} exists.", next_step="Name another file, or replace it with --force."
        )
    _replace(new, json.dumps(config.as_dict(), indent=2) + "\n")


def _by_hand(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"The flags in {path} cannot be changed by a program.",
        next_step="Change its table feature_flags by hand.",
    )


def _toml(text: str, flags: Mapping[str, bool]) -> str:
    lines = text.splitlines()
    heading = next((at for at, one in enumerate(lines) if one.strip() == f"[{_TABLE}]"), None)
    if heading is None:
        lines += ["", f"[{_TABLE}]"]
        heading = len(lines) - 1
    after = range(heading + 1, len(lines))
    end = next((at for at in after if lines[at].lstrip().startswith("[")), len(lines))
    body = lines[heading + 1 : end]
    for name, value in flags.items():
        new = f"{name} = {'true' if value else 'false'}"
        stated = re.compile(rf"\s*{name}\s*=")
        shown = re.compile(rf"\s*#\s*{name}\s*=")
        places = [at for at, one in enumerate(body) if stated.match(one)]
        places = places or [at for at, one in enumerate(body) if shown.match(one)]
        if places:
            body[places[0]] = new
        else:
            body.insert(0, new)
    return "\n".join([*lines[: heading + 1], *body, *lines[end:]]) + "\n"


def _replace(path: Path, text: str) -> None:
    """Put a text in the place of a file, if it makes a valid configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        load_settings(config_file=beside, environ={})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def changed(before: Mapping[str, Any], flags: Mapping[str, bool]) -> list[tuple[str, bool, bool]]:
    """The flags that a phase changes: name, before, after."""
    return [(name, before[name], after) for name, after in flags.items() if before[name] != after]
