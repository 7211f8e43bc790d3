"""The blocks of variables that operators type during a gradual rollout and a rollback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccos.config import LoadedSettings, MissingCapabilityConfig, load_settings

PHASES: dict[str, dict[str, str]] = {
    "1 detection": {
        "CCOS_MISSING_CAPABILITY_ENABLED": "true",
        "CCOS_RUNTIME_DETECTION": "true",
        "CCOS_AUTO_RESOLUTION": "false",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
        "CCOS_AUDIT_LOGGING": "true",
    },
    "2 human approval": {
        "CCOS_AUTO_RESOLUTION": "true",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
        "CCOS_MCP_REGISTRY_ENABLED": "true",
        "CCOS_IMPORTERS_ENABLED": "false",
        "CCOS_HTTP_WRAPPER_ENABLED": "false",
        "CCOS_LLM_SYNTHESIS_ENABLED": "false",
    },
    "3 low risk": {
        "CCOS_AUTO_RESOLUTION": "true",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "false",
        "CCOS_MCP_REGISTRY_ENABLED": "true",
        "CCOS_IMPORTERS_ENABLED": "true",
        "CCOS_HTTP_WRAPPER_ENABLED": "false",
        "CCOS_LLM_SYNTHESIS_ENABLED": "false",
    },
    "4 continuous": {
        "CCOS_CONTINUOUS_RESOLUTION": "true",
        "CCOS_AUTO_RESUME_ENABLED": "true",
        "CCOS_HTTP_WRAPPER_ENABLED": "true",
        "CCOS_LLM_SYNTHESIS_ENABLED": "false",
    },
    "5 advanced": {
        "CCOS_LLM_SYNTHESIS_ENABLED": "true",
        "CCOS_WEB_SEARCH_ENABLED": "true",
        "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
    },
}
ADDED: dict[str, dict[str, bool]] = {
    "1 detection": {"enabled": True, "runtime_detection": True, "auto_resolution": False},
    "2 human approval": {"auto_resolution": True, "human_approval_required": True},
    "3 low risk": {"human_approval_required": False, "importers_enabled": True},
    "4 continuous": {
        "continuous_resolution": True,
        "auto_resume_enabled": True,
        "http_wrapper_enabled": True,
    },
    "5 advanced": {
        "llm_synthesis_enabled": True,
        "web_search_enabled": True,
        "human_approval_required": True,
    },
}
EMERGENCY = {
    "CCOS_MISSING_CAPABILITY_ENABLED": "false",
    "CCOS_STUB_ENABLED": "true",
    "CCOS_MANUAL_RESOLUTION": "true",
}
GRADUAL_ROLLBACK = {
    "CCOS_LLM_SYNTHESIS_ENABLED": "false",
    "CCOS_WEB_SEARCH_ENABLED": "false",
    "CCOS_HTTP_WRAPPER_ENABLED": "false",
    "CCOS_MCP_REGISTRY_ENABLED": "true",
    "CCOS_AUDIT_LOGGING": "true",
}
OLD = {"CCOS_STUB_ENABLED": "true", "CCOS_MANUAL_RESOLUTION": "true"}
NEW = {
    "CCOS_MISSING_CAPABILITY_ENABLED": "true",
    "CCOS_AUTO_RESOLUTION": "true",
    "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
}
FROM_STUBS = {
    "CCOS_STUB_GENERATION_ENABLED": "false",
    "CCOS_MISSING_CAPABILITY_ENABLED": "true",
}
FROM_MANUAL = {
    "CCOS_MISSING_CAPABILITY_ENABLED": "true",
    "CCOS_RUNTIME_DETECTION": "true",
    "CCOS_MCP_REGISTRY_ENABLED": "true",
    "CCOS_IMPORTERS_ENABLED": "true",
    "CCOS_HUMAN_APPROVAL_REQUIRED": "true",
}
FILE = {
    "old_config": {"stub_enabled": True, "manual_resolution": True},
    "new_config": {
        "feature_flags": {
            "enabled": True,
            "auto_resolution": True,
            "human_approval_required": True,
        }
    },
}
BLOCKS = [*PHASES.values(), EMERGENCY, GRADUAL_ROLLBACK, OLD, NEW, FROM_STUBS, FROM_MANUAL]


def load(environ: dict[str, str]) -> LoadedSettings:
    return load_settings(environ={**environ, "CCOS_HOME": "/nowhere"})


def flags(environ: dict[str, str]) -> dict[str, bool]:
    return load(environ).settings.missing.feature_flags.model_dump()


def all_phases() -> dict[str, str]:
    return {name: value for block in PHASES.values() for name, value in block.items()}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_typed_alone_loads_and_each_variable_counts(block: dict[str, str]) -> None:
    loaded = load(block)
    sources = {origin.name for origin in loaded.origins.values() if origin.kind == "environment"}
    assert sources == {*block, "CCOS_HOME"}


def test_phases_typed_one_after_the_other_add_up() -> None:
    environ: dict[str, str] = {}
    for phase, block in PHASES.items():
        environ |= block
        loaded = load(environ)
        now = loaded.settings.missing.feature_flags.model_dump()
        assert now.items() >= ADDED[phase].items(), phase
        assert loaded.warnings == ()
    assert all(now.values())


def test_emergency_rollback_switches_everything_off_after_any_phase() -> None:
    environ: dict[str, str] = {}
    for block in PHASES.values():
        environ |= block
        loaded = load(environ | EMERGENCY)
        assert loaded.settings.missing.feature_flags.enabled is False
        assert loaded.settings.missing.old_config.stub_enabled is True
        assert any("handler that the program itself registered" in w for w in loaded.warnings)


def test_emergency_rollback_alone_derives_nothing_from_the_old_variables() -> None:
    assert flags(EMERGENCY) == flags({})


def test_one_variable_is_enough_for_an_emergency_rollback() -> None:
    environ = all_phases() | {"CCOS_MISSING_CAPABILITY_ENABLED": "false"}
    assert flags(environ)["enabled"] is False


def test_gradual_rollback_keeps_the_rest() -> None:
    before, after = flags(all_phases()), flags(all_phases() | GRADUAL_ROLLBACK)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"llm_synthesis_enabled", "web_search_enabled", "http_wrapper_enabled"}
    assert after["mcp_registry_enabled"]
    assert after["audit_logging_enabled"]


def test_old_and_new_variables_mean_the_same() -> None:
    assert flags(OLD) == flags(NEW) == flags(OLD | NEW)
    assert flags(NEW)["runtime_detection"] is True


def test_a_value_derived_from_an_old_variable_says_so() -> None:
    loaded = load(OLD)
    origin = loaded.origins["feature_flags.auto_resolution"]
    assert str(origin) == "derived (from old_config.manual_resolution)"
    assert any("no stubs to enable" in warning for warning in loaded.warnings)


def test_stubs_only_switch_detection_on() -> None:
    derived = flags({"CCOS_STUB_ENABLED": "true"})
    assert derived["enabled"]
    assert derived["runtime_detection"]
    assert not derived["auto_resolution"]
    assert flags({"CCOS_STUB_ENABLED": "false"}) == flags({})


def test_no_manual_resolution_means_no_resolution_at_all() -> None:
    loaded = load({"CCOS_STUB_ENABLED": "true", "CCOS_MANUAL_RESOLUTION": "false"})
    assert loaded.settings.missing.feature_flags.auto_resolution is False
    assert loaded.origins["feature_flags.auto_resolution"].kind == "derived"


def test_a_new_variable_wins_over_what_an_old_one_means() -> None:
    environ = OLD | {"CCOS_HUMAN_APPROVAL_REQUIRED": "false", "CCOS_AUTO_RESOLUTION": "false"}
    assert not flags(environ)["human_approval_required"]
    assert not flags(environ)["auto_resolution"]


def test_an_old_variable_says_more_than_the_preset() -> None:
    environ = {"CCOS_FEATURE_PROFILE": "testing", "CCOS_MANUAL_RESOLUTION": "true"}
    assert flags(environ)["auto_resolution"]
    assert flags(environ)["human_approval_required"]


def test_stub_generation_is_silent_when_off_and_a_warning_when_on() -> None:
    assert load({"CCOS_STUB_GENERATION_ENABLED": "false"}).warnings == ()
    (warning,) = load({"CCOS_STUB_GENERATION_ENABLED": "true"}).warnings
    assert "never generated" in warning


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_the_file_with_old_and_new_configuration(tmp_path: Path) -> None:
    config = MissingCapabilityConfig.from_file(write(tmp_path / "c.json", FILE))
    assert config.feature_flags.model_dump() == flags(NEW)
    assert config.old_config.stub_enabled is True


def test_in_such_a_file_new_keys_win_and_missing_ones_are_derived(tmp_path: Path) -> None:
    document = {
        "old_config": {"stub_enabled": True, "manual_resolution": True},
        "new_config": {"feature_flags": {"human_approval_required": False}},
    }
    read = MissingCapabilityConfig.from_file(write(tmp_path / "c.json", document)).feature_flags
    assert read.human_approval_required is False
    assert read.auto_resolution is True
    assert read.enabled is True


def test_the_migrated_form_reads_back_the_same(tmp_path: Path) -> None:
    migrated = MissingCapabilityConfig.from_file(write(tmp_path / "old.json", FILE))
    again = MissingCapabilityConfig.from_file(write(tmp_path / "new.json", migrated.as_dict()))
    assert again.as_dict() == migrated.as_dict()
    assert again.old_config.stub_enabled is None
    assert again.validate() == []
