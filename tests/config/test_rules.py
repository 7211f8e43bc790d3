"""Each rule of validation, with a configuration just inside it."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.config import MissingCapabilityConfig, load_settings
from ccos.errors import ConfigurationError

DEVELOPMENT = {"feature_profile": "development"}
ON = {"feature_flags.enabled": True}
REGISTRY = "mcp_registry_config.base_url"
LOOSE = {"security_config.require_https": False}


def load(overrides: dict[str, Any]) -> tuple[str, ...]:
    """Load and validate; the warnings."""
    loaded = load_settings(environ={"CCOS_HOME": "/nowhere"}, overrides=overrides)
    assert tuple(loaded.settings.missing.validate()) == tuple(
        warning.rpartition(" (")[0] for warning in loaded.warnings
    )
    return loaded.warnings


POSITIVE = [
    "max_resolution_attempts",
    "resolution_timeout_seconds",
    "max_concurrent_resolutions",
    "human_approval_timeout_seconds",
    "max_pending_capabilities",
    "poll_interval_seconds",
    "retry_backoff_config.initial_delay_seconds",
    "security_config.max_request_size_bytes",
    "security_config.max_response_size_bytes",
    "security_config.max_execution_time_seconds",
    "mcp_registry_config.timeout_seconds",
    "mcp_registry_config.max_servers",
    "llm_synthesis_config.max_attempts",
    "web_search_config.max_results",
    "web_search_config.timeout_seconds",
    "tool_selection.max_tools",
    "tool_selection.max_description_chars",
]
REFUSED_AND_ACCEPTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "feature_flags.runtime_detection",
        {**ON, "feature_flags.runtime_detection": False},
        {**ON, "feature_flags.runtime_detection": True},
    ),
    (
        "feature_flags.auto_resume_enabled",
        {**ON, "feature_flags.auto_resume_enabled": True},
        {
            **ON,
            "feature_flags.auto_resume_enabled": True,
            "feature_flags.auto_resolution": True,
        },
    ),
    (
        "feature_flags.continuous_resolution",
        {**ON, "feature_flags.continuous_resolution": True},
        {
            **ON,
            "feature_flags.continuous_resolution": True,
            "feature_flags.auto_resolution": True,
        },
    ),
    *((key, {key: 0}, {key: 1}) for key in POSITIVE),
    *((key, {key: -1}, {key: 1}) for key in POSITIVE),
    (
        "retry_backoff_config.max_delay_seconds",
        {
            "retry_backoff_config.max_delay_seconds": -1,
            "retry_backoff_config.initial_delay_seconds": -1,
        },
        {"retry_backoff_config.max_delay_seconds": 1},
    ),
    (
        "resolution_cache_ttl_seconds",
        {"resolution_cache_ttl_seconds": -1},
        {"resolution_cache_ttl_seconds": 0},
    ),
    (
        "mcp_registry_config.cache_ttl_seconds",
        {"mcp_registry_config.cache_ttl_seconds": -0.5},
        {"mcp_registry_config.cache_ttl_seconds": 0},
    ),
    (
        "max_concurrent_resolutions",
        {"max_concurrent_resolutions": 101},
        {"max_concurrent_resolutions": 100},
    ),
    (
        "tool_selection.max_tools",
        {"tool_selection.max_tools": 101},
        {"tool_selection.max_tools": 100},
    ),
    (
        "tool_selection.max_description_chars",
        {"tool_selection.max_description_chars": 2001},
        {"tool_selection.max_description_chars": 2000},
    ),
    (
        "security_config.allowed_domains",
        {"security_config.allowed_domains": []},
        {**LOOSE, "security_config.allowed_domains": []},
    ),
    (REGISTRY, {REGISTRY: " "}, {REGISTRY: "", "feature_flags.mcp_registry_enabled": False}),
    (REGISTRY, {REGISTRY: "https://"}, {REGISTRY: "https://registry.example"}),
    (REGISTRY, {REGISTRY: "https://[::1"}, {REGISTRY: "https://[::1]"}),
    (REGISTRY, {**LOOSE, REGISTRY: "ftp://127.0.0.1"}, {**LOOSE, REGISTRY: "http://127.0.0.1"}),
    (REGISTRY, {REGISTRY: "http://localhost:8080"}, {**LOOSE, REGISTRY: "http://localhost:8080"}),
    (
        REGISTRY,
        {**LOOSE, REGISTRY: "http://registry.example"},
        {**LOOSE, REGISTRY: "http://[::1]:8080"},
    ),
    (
        "llm_synthesis_config.max_tokens",
        {**DEVELOPMENT, "llm_synthesis_config.max_tokens": 0},
        {"llm_synthesis_config.max_tokens": 0},
    ),
    (
        "llm_synthesis_config.temperature",
        {**DEVELOPMENT, "llm_synthesis_config.temperature": 2.1},
        {**DEVELOPMENT, "llm_synthesis_config.temperature": 2},
    ),
    (
        "llm_synthesis_config.temperature",
        {**DEVELOPMENT, "llm_synthesis_config.temperature": -0.1},
        {"llm_synthesis_config.temperature": -0.1},
    ),
    (
        "tool_selection.prompt_id",
        {"tool_selection.prompt_id": " "},
        {"tool_selection.prompt_id": "p"},
    ),
    (
        "tool_selection.prompt_version",
        {"tool_selection.prompt_version": ""},
        {"tool_selection.prompt_version": "v2"},
    ),
    (
        "retry_backoff_config.initial_delay_seconds",
        {"retry_backoff_config.initial_delay_seconds": 61},
        {"retry_backoff_config.initial_delay_seconds": 60},
    ),
    (
        "retry_backoff_config.backoff_multiplier",
        {"retry_backoff_config.backoff_multiplier": 0.99},
        {"retry_backoff_config.backoff_multiplier": 1},
    ),
]


@pytest.mark.parametrize(("key", "refused", "accepted"), REFUSED_AND_ACCEPTED)
def test_a_rule_and_its_twin(key: str, refused: dict[str, Any], accepted: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load(refused)
    (problem,) = [text for text in refusal.value.details["problems"] if text.startswith(f"{key} ")]
    assert problem in refusal.value.message
    assert problem.endswith(f"(override {key})")
    load(accepted)


def test_validate_lists_every_error_at_once() -> None:
    bad = MissingCapabilityConfig(max_resolution_attempts=0, poll_interval_seconds=-1)
    with pytest.raises(ConfigurationError) as refusal:
        bad.validate()
    assert refusal.value.message == (
        "max_resolution_attempts must be greater than 0, not 0; "
        "poll_interval_seconds must be greater than 0, not -1"
    )
    keys = [problem["key"] for problem in refusal.value.details["problems"]]
    assert keys == ["max_resolution_attempts", "poll_interval_seconds"]


@pytest.mark.parametrize("name", ["production", "development", "testing"])
def test_the_presets_are_valid_and_without_warning(name: str) -> None:
    assert getattr(MissingCapabilityConfig, name)().validate() == []


def test_a_domain_both_allowed_and_blocked_is_a_warning() -> None:
    blocked = {"security_config.blocked_domains": ["API.github.com"]}
    assert load(blocked) == (
        "security_config.blocked_domains wins for 'api.github.com', which is allowed too "
        "(override security_config.blocked_domains)",
    )
    assert load({"security_config.blocked_domains": ["example.org"]}) == ()
    both = {"allowed_domains": ["Example.org"], "blocked_domains": ["example.org"]}
    assert len(load({"security_config": both})) == 1


def test_switching_enabled_off_keeps_every_configuration_valid() -> None:
    (warning,) = load({**DEVELOPMENT, "feature_flags.enabled": False})
    assert warning.startswith("feature_flags.enabled is off, so no effect has: runtime_detection,")
    assert "auto_resume_enabled" in warning
    load({"feature_flags.enabled": False, "feature_flags.auto_resume_enabled": True})


@pytest.mark.parametrize(
    "key",
    [
        "mcp_call_timeout_seconds",
        "max_parallel_calls",
        "plan_max_source_bytes",
        "plan_max_memory_bytes",
        "plan_timeout_seconds",
        "plan_max_calls",
    ],
)
def test_limits_of_the_process_are_positive(key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        load({key: 0})
    load({key: 1})
