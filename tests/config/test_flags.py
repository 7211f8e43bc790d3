"""Feature flags: defaults, presets, both spellings of each variable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ccos.config import MissingCapabilityConfig, MissingCapabilityFeatureFlags, load_settings
from ccos.errors import ConfigurationError

# flag, variable, other spelling, production, development, testing
FLAGS = [
    ("enabled", "CCOS_MISSING_CAPABILITY_ENABLED", "CCOS_MISSING_CAPABILITY", "FTT"),
    ("runtime_detection", "CCOS_RUNTIME_DETECTION", "CCOS_RUNTIME_DETECTION_ENABLED", "FTT"),
    ("auto_resolution", "CCOS_AUTO_RESOLUTION", "CCOS_AUTO_RESOLUTION_ENABLED", "FTF"),
    ("mcp_registry_enabled", "CCOS_MCP_REGISTRY_ENABLED", "CCOS_MCP_REGISTRY", "TTF"),
    ("importers_enabled", "CCOS_IMPORTERS_ENABLED", "CCOS_IMPORTERS", "FTF"),
    ("http_wrapper_enabled", "CCOS_HTTP_WRAPPER_ENABLED", "CCOS_HTTP_WRAPPER", "FTF"),
    ("llm_synthesis_enabled", "CCOS_LLM_SYNTHESIS_ENABLED", "CCOS_LLM_SYNTHESIS", "FTF"),
    ("web_search_enabled", "CCOS_WEB_SEARCH_ENABLED", "CCOS_WEB_SEARCH", "FTF"),
    (
        "continuous_resolution",
        "CCOS_CONTINUOUS_RESOLUTION",
        "CCOS_CONTINUOUS_RESOLUTION_ENABLED",
        "FTF",
    ),
    ("auto_resume_enabled", "CCOS_AUTO_RESUME_ENABLED", "CCOS_AUTO_RESUME", "FTF"),
    (
        "output_schema_introspection_enabled",
        "CCOS_OUTPUT_SCHEMA_INTROSPECTION_ENABLED",
        "CCOS_OUTPUT_SCHEMA_INTROSPECTION",
        "TTF",
    ),
    (
        "human_approval_required",
        "CCOS_HUMAN_APPROVAL_REQUIRED",
        "CCOS_HUMAN_APPROVAL_REQUIRED_ENABLED",
        "TFF",
    ),
    ("audit_logging_enabled", "CCOS_AUDIT_LOGGING", "CCOS_AUDIT_LOGGING_ENABLED", "TTT"),
    ("validation_enabled", "CCOS_VALIDATION_ENABLED", "CCOS_VALIDATION", "TTT"),
    ("cli_tooling_enabled", "CCOS_CLI_TOOLING_ENABLED", "CCOS_CLI_TOOLING", "TTT"),
]
VARIABLES = [(flag, *names) for flag, *names, _ in FLAGS]
TRUE = ["true", "1", "yes", "on"]
FALSE = ["false", "0", "no", "off"]


def in_any_case(words: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(words).flatmap(
        lambda word: st.tuples(*(st.sampled_from([c, c.upper()]) for c in word)).map("".join)
    )


def read(environ: dict[str, str]) -> MissingCapabilityFeatureFlags:
    return MissingCapabilityConfig.from_env(environ).feature_flags


@pytest.mark.parametrize(
    ("column", "profile"), list(enumerate(["production", "development", "testing"]))
)
def test_a_preset_is_its_column_of_the_table(column: int, profile: str) -> None:
    expected = {flag: letters[column] == "T" for flag, _, _, letters in FLAGS}
    assert getattr(MissingCapabilityFeatureFlags, profile)().model_dump() == expected
    assert getattr(MissingCapabilityConfig, profile)().feature_flags.model_dump() == expected
    assert read({"CCOS_FEATURE_PROFILE": profile.upper()}).model_dump() == expected


def test_the_defaults_are_the_production_preset() -> None:
    assert MissingCapabilityFeatureFlags() == MissingCapabilityFeatureFlags.production()
    assert MissingCapabilityConfig() == MissingCapabilityConfig.production()


@pytest.mark.parametrize(("flag", "variable", "other"), VARIABLES)
def test_a_flag_is_read_in_both_spellings(flag: str, variable: str, other: str) -> None:
    # Without `enabled` nothing depends on anything, so each flag can be tried alone.
    for name in (variable, other):
        assert getattr(read({name: "on"}), flag) is True
        assert getattr(read({name: "off"}), flag) is False


@pytest.mark.parametrize(("flag", "variable", "other"), VARIABLES)
def test_spellings_that_disagree_are_refused_by_name(flag: str, variable: str, other: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read({variable: "true", other: "no"})
    assert variable in refusal.value.message
    assert other in refusal.value.message
    assert getattr(read({variable: "true", other: "YES"}), flag) is True


@given(word=in_any_case(TRUE))
def test_every_word_for_true(word: str) -> None:
    assert read({"CCOS_IMPORTERS": word}).importers_enabled is True


@given(word=in_any_case(FALSE))
def test_every_word_for_false(word: str) -> None:
    assert read({"CCOS_MCP_REGISTRY": word}).mcp_registry_enabled is False


@given(word=st.text(max_size=200).filter(lambda w: w.strip().lower() not in TRUE + FALSE))
def test_any_other_word_is_refused_by_name_of_variable(word: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read({"CCOS_AUTO_RESUME": word})
    assert refusal.value.message.startswith("CCOS_AUTO_RESUME: expected true or false")
    assert refusal.value.message.isprintable()
    assert len(refusal.value.message) < 150


def test_an_unreadable_second_spelling_is_refused_too() -> None:
    with pytest.raises(ConfigurationError, match=r"CCOS_VALIDATION: expected true or false"):
        read({"CCOS_VALIDATION_ENABLED": "true", "CCOS_VALIDATION": "maybe"})


def test_enabled_implies_runtime_detection_only_when_that_is_unset() -> None:
    assert MissingCapabilityFeatureFlags(enabled=True).runtime_detection is True
    assert (
        MissingCapabilityFeatureFlags(enabled=True, runtime_detection=False).runtime_detection
        is False
    )
    assert MissingCapabilityFeatureFlags().runtime_detection is False


@pytest.mark.parametrize("profile", [None, "production"])
def test_enabled_in_the_environment_implies_runtime_detection(profile: str | None) -> None:
    environ = {"CCOS_MISSING_CAPABILITY_ENABLED": "true"}
    if profile:
        environ["CCOS_FEATURE_PROFILE"] = profile
    loaded = load_settings(environ={**environ, "CCOS_HOME": "/nowhere"})
    assert loaded.settings.missing.feature_flags.runtime_detection is True
    assert loaded.origins["feature_flags.runtime_detection"].kind == "derived"


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"CCOS_FEATURE_PROFILE: .*'testing'"):
        read({"CCOS_FEATURE_PROFILE": "staging"})


def test_flags_cannot_be_changed_or_invented() -> None:
    with pytest.raises(ValidationError):
        MissingCapabilityFeatureFlags().enabled = True
    with pytest.raises(ValidationError):
        MissingCapabilityFeatureFlags(turbo=True)  # type: ignore[call-arg]
