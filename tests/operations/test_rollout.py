"""Phases of a rollout, written into the configuration and taken back; old configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ccos.config import MissingCapabilityConfig, load_settings
from ccos.errors import ConfigurationError
from ccos.operations.rollout import PHASES, changed, migrated, write_flags, write_migrated

GUIDE = {
    1: {
        "CCOS_MISSING_CAPABILITY_ENABLED": "true",
        "CCOS_RUNTIME_DETECTION": "true",
        "CCOS_AUTO_RESOLUTION": "false",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
        "CCOS_AUDIT_LOGGING": "true",
    },
    2: {
        "CCOS_AUTO_RESOLUTION": "true",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
        "CCOS_MCP_REGISTRY_ENABLED": "true",
        "CCOS_IMPORTERS_ENABLED": "false",
        "CCOS_HTTP_WRAPPER_ENABLED": "false",
        "CCOS_LLM_SYNTHESIS_ENABLED": "false",
    },
    3: {"CCOS_HUMAN_APPROVAL_REQUIRED": "false", "CCOS_IMPORTERS_ENABLED": "true"},
    4: {
        "CCOS_CONTINUOUS_RESOLUTION": "true",
        "CCOS_AUTO_RESUME_ENABLED": "true",
        "CCOS_HTTP_WRAPPER_ENABLED": "true",
        "CCOS_LLM_SYNTHESIS_ENABLED": "false",
    },
    5: {
        "CCOS_LLM_SYNTHESIS_ENABLED": "true",
        "CCOS_WEB_SEARCH_ENABLED": "true",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
    },
}
"""What the guide exports in each phase, on top of the phases before."""


@pytest.mark.parametrize("phase", GUIDE)
@pytest.mark.parametrize("name", ["ccos.toml", "ccos.json"])
def test_a_phase_sets_what_the_guide_exports(tmp_path: Path, phase: int, name: str) -> None:
    exported = {key: one for step in range(1, phase + 1) for key, one in GUIDE[step].items()}
    by_variables = load_settings(environ={"CCOS_HOME": str(tmp_path / "a"), **exported})
    path = tmp_path / name
    write_flags(path, PHASES[phase])
    by_file = load_settings(config_file=path, environ={"CCOS_HOME": str(tmp_path / "b")})
    flags = by_file.settings.missing.feature_flags
    assert flags == by_variables.settings.missing.feature_flags
    assert changed(flags.model_dump(), PHASES[phase]) == []


@pytest.mark.parametrize("phase", [1, 2, 3, 4, 5])
def test_every_phase_has_a_way_back(tmp_path: Path, phase: int) -> None:
    path = tmp_path / "ccos.toml"
    write_flags(path, PHASES[phase])
    write_flags(path, PHASES[0])
    environ = {"CCOS_HOME": str(tmp_path)}
    assert not load_settings(
        config_file=path, environ=environ
    ).settings.missing.feature_flags.enabled
    write_flags(path, PHASES[phase])
    again = load_settings(config_file=path, environ=environ).settings.missing.feature_flags
    assert changed(again.model_dump(), PHASES[phase]) == []


def test_all_else_in_a_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ccos.toml"
    path.write_text(
        "max_resolution_attempts = 7 # mine\n\n[feature_flags]\n# enabled = false\n"
        "cli_tooling_enabled = true\n\n[retry_backoff_config]\ninitial_delay_seconds = 2\n"
    )
    write_flags(path, {"enabled": True, "auto_resolution": True})
    text = path.read_text()
    assert text.startswith("max_resolution_attempts = 7 # mine\n")
    config = MissingCapabilityConfig.from_file(path)
    assert (config.max_resolution_attempts, config.retry_backoff_config.initial_delay_seconds) == (
        7,
        2,
    )
    assert (config.feature_flags.enabled, config.feature_flags.auto_resolution) == (True, True)
    assert text.count("enabled = true") == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "feature_flags = { enabled = true }\n"),
        ("a.json", '{"feature_flags": 1}'),
        ("a.json", "{"),
        ("a.toml", "unknown_key = 1\n"),
    ],
)
def test_a_file_that_would_not_be_valid_stays_as_it_was(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        write_flags(path, PHASES[1])
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("old", "flags"),
    [
        ({"stub_enabled": True}, {"enabled": True, "auto_resolution": False}),
        (
            {"stub_enabled": True, "manual_resolution": True},
            {"enabled": True, "auto_resolution": True, "human_approval_required": True},
        ),
        ({"manual_resolution": False}, {"enabled": False, "auto_resolution": False}),
    ],
    ids=str,
)
def test_an_old_configuration_in_the_new_form(
    tmp_path: Path, old: dict[str, bool], flags: dict[str, bool]
) -> None:
    source, target = tmp_path / "old.json", tmp_path / "new.json"
    source.write_text(json.dumps({"old_config": old}))
    write_migrated(migrated(source), target)
    written = MissingCapabilityConfig.from_file(target)
    assert {name: getattr(written.feature_flags, name) for name in flags} == flags
    assert "old_config" not in json.loads(target.read_text())
    # What was written means the same when it is read and written again.
    write_migrated(migrated(target), target, force=True)
    assert MissingCapabilityConfig.from_file(target) == written


def test_what_is_said_in_the_new_form_wins(tmp_path: Path) -> None:
    source = tmp_path / "old.json"
    new = {"feature_flags": {"auto_resolution": False}}
    source.write_text(json.dumps({"old_config": {"manual_resolution": True}, "new_config": new}))
    flags = migrated(source).feature_flags
    assert (flags.enabled, flags.auto_resolution) == (True, False)


def test_an_existing_file_is_not_replaced_unless_told(tmp_path: Path) -> None:
    source, target = tmp_path / "old.json", tmp_path / "new.json"
    source.write_text('{"old_config": {"stub_enabled": true}}')
    target.write_text("mine")
    with pytest.raises(ConfigurationError, match="exists"):
        write_migrated(migrated(source), target)
    assert target.read_text() == "mine"
