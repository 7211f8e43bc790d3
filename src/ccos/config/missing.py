"""The configuration of missing capability resolution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from ccos.config.fields import LOWER_CASE, Count, Names, Number, Setting, SettingsModel, Switch
from ccos.config.flags import MissingCapabilityFeatureFlags
from ccos.config.legacy import OldConfig
from ccos.config.rules import check
from ccos.errors import ConfigurationError

REGISTRY_URL = "https://registry.modelcontextprotocol.io"


class RetryBackoffConfig(SettingsModel):
    """How long a failed resolution waits before its next attempt."""

    initial_delay_seconds: Annotated[
        Number, Setting("CCOS_RETRY_INITIAL_DELAY_SECONDS", "Delay after the first attempt.")
    ] = 1
    max_delay_seconds: Annotated[
        Number, Setting("CCOS_RETRY_MAX_DELAY_SECONDS", "Longest delay between attempts.")
    ] = 60
    backoff_multiplier: Annotated[
        Number, Setting("CCOS_RETRY_BACKOFF_MULTIPLIER", "Growth of the delay per attempt.")
    ] = 2.0
    jitter_enabled: Annotated[
        Switch,
        Setting("CCOS_RETRY_JITTER_ENABLED", "Shorten each delay at random by up to a half."),
    ] = True


class SecurityConfig(SettingsModel):
    """What resolution may contact, and how much it may move."""

    require_https: Annotated[
        Switch, Setting("CCOS_REQUIRE_HTTPS", "Refuse every outgoing request without TLS.")
    ] = True
    require_auth: Annotated[
        Switch,
        Setting("CCOS_REQUIRE_AUTH", "Refuse providers that would be called without credentials."),
    ] = True
    allowed_domains: Annotated[
        Names, Setting("CCOS_ALLOWED_DOMAINS", "Hosts that may be contacted.")
    ] = ("registry.modelcontextprotocol.io", "api.github.com", "api.openai.com")
    blocked_domains: Annotated[
        Names,
        Setting("CCOS_BLOCKED_DOMAINS", "Hosts that are never contacted, even if allowed."),
    ] = ()
    max_request_size_bytes: Annotated[
        Count, Setting("CCOS_MAX_REQUEST_SIZE_BYTES", "Largest outgoing request body.")
    ] = 10 * 1024 * 1024
    max_response_size_bytes: Annotated[
        Count, Setting("CCOS_MAX_RESPONSE_SIZE_BYTES", "Largest answer that is read.")
    ] = 50 * 1024 * 1024
    max_execution_time_seconds: Annotated[
        Number, Setting("CCOS_MAX_EXECUTION_TIME_SECONDS", "Longest run of one capability.")
    ] = 300


class McpRegistryConfig(SettingsModel):
    """How the MCP registry is asked."""

    base_url: Annotated[
        str, Setting("CCOS_MCP_REGISTRY_BASE_URL", "Address of the MCP registry.")
    ] = REGISTRY_URL
    timeout_seconds: Annotated[
        Number, Setting("CCOS_MCP_REGISTRY_TIMEOUT_SECONDS", "Longest wait for one answer.")
    ] = 10
    max_servers: Annotated[
        Count, Setting("CCOS_MCP_REGISTRY_MAX_SERVERS", "Most servers read for one search.")
    ] = 100
    cache_ttl_seconds: Annotated[
        Number,
        Setting("CCOS_MCP_REGISTRY_CACHE_TTL_SECONDS", "How long an answer is reused; 0 is never."),
    ] = 3600


class LlmSynthesisConfig(SettingsModel):
    """How a language model may write a capability."""

    max_tokens: Annotated[
        Count, Setting("CCOS_LLM_SYNTHESIS_MAX_TOKENS", "Most tokens of one model answer.")
    ] = 4000
    temperature: Annotated[
        Number, Setting("CCOS_LLM_SYNTHESIS_TEMPERATURE", "Sampling temperature, 0 to 2.")
    ] = 0.1
    max_attempts: Annotated[
        Count, Setting("CCOS_LLM_SYNTHESIS_MAX_ATTEMPTS", "Most tries at one capability.")
    ] = 3
    require_human_approval: Annotated[
        Switch,
        Setting(
            "CCOS_LLM_SYNTHESIS_REQUIRE_HUMAN_APPROVAL",
            "Put every generated capability before a person.",
        ),
    ] = True
    allowed_capability_types: Annotated[
        Names,
        Setting("CCOS_LLM_SYNTHESIS_ALLOWED_CAPABILITY_TYPES", "What may be generated."),
    ] = ("utility", "data_processing", "format_conversion")


class WebSearchConfig(SettingsModel):
    """How the web is searched for API descriptions."""

    enabled: Annotated[
        Switch,
        Setting(
            "CCOS_WEB_SEARCH_CONFIG_ENABLED",
            "For information only: feature_flags.web_search_enabled decides.",
        ),
    ] = False
    max_results: Annotated[
        Count, Setting("CCOS_WEB_SEARCH_MAX_RESULTS", "Most hits read for one search.")
    ] = 10
    timeout_seconds: Annotated[
        Number, Setting("CCOS_WEB_SEARCH_TIMEOUT_SECONDS", "Longest wait for one search.")
    ] = 15
    allowed_search_engines: Annotated[
        Names,
        Setting("CCOS_WEB_SEARCH_ALLOWED_SEARCH_ENGINES", "Search engines that may be asked."),
    ] = ("duckduckgo", "bing")


class ToolSelectionConfig(SettingsModel):
    """How one tool is chosen among those a server offers."""

    enabled: Annotated[
        Switch, Setting("CCOS_TOOL_SELECTOR_ENABLED", "Let a language model choose among tools.")
    ] = True
    prompt_id: Annotated[
        str, Setting("CCOS_TOOL_SELECTOR_PROMPT_ID", "Name of the prompt that asks for a choice.")
    ] = "tool_selection"
    prompt_version: Annotated[
        str, Setting("CCOS_TOOL_SELECTOR_PROMPT_VERSION", "Version of that prompt.")
    ] = "v1"
    max_tools: Annotated[
        Count, Setting("CCOS_TOOL_SELECTOR_MAX_TOOLS", "Most tools shown, at most 100.")
    ] = 25
    max_description_chars: Annotated[
        Count,
        Setting(
            "CCOS_TOOL_SELECTOR_MAX_DESCRIPTION_CHARS",
            "Most characters shown of a description, at most 2000.",
        ),
    ] = 320


class MissingCapabilityConfig(SettingsModel):
    """Everything that decides how a missing capability is resolved.

    A configuration can be built whatever its values mean together; `validate` says whether
    they make sense.
    """

    feature_flags: MissingCapabilityFeatureFlags = MissingCapabilityFeatureFlags()
    max_resolution_attempts: Annotated[
        Count,
        Setting("CCOS_MAX_RESOLUTION_ATTEMPTS", "Attempts before a request fails for good."),
    ] = 3
    resolution_timeout_seconds: Annotated[
        Number, Setting("CCOS_RESOLUTION_TIMEOUT_SECONDS", "Longest time of one attempt.")
    ] = 30
    max_concurrent_resolutions: Annotated[
        Count, Setting("CCOS_MAX_CONCURRENT_RESOLUTIONS", "Attempts at once, at most 100.")
    ] = 5
    human_approval_timeout_seconds: Annotated[
        Number,
        Setting("CCOS_HUMAN_APPROVAL_TIMEOUT_SECONDS", "How long an approval waits for a person."),
    ] = 3600
    max_pending_capabilities: Annotated[
        Count,
        Setting("CCOS_MAX_PENDING_CAPABILITIES", "Requests in work; further ones are deferred."),
    ] = 100
    resolution_cache_ttl_seconds: Annotated[
        Number,
        Setting(
            "CCOS_RESOLUTION_CACHE_TTL_SECONDS", "How long a resolution is reused; 0 is never."
        ),
    ] = 1800
    high_risk_auto_resolution: Annotated[
        Switch,
        Setting("CCOS_HIGH_RISK_AUTO_RESOLUTION", "Resolve high risk without asking a person."),
    ] = False
    approval_scope: Annotated[
        Literal["all", "high_and_synthesis"],
        LOWER_CASE,
        Setting(
            "CCOS_APPROVAL_SCOPE",
            "What human_approval_required covers: all, or high_and_synthesis.",
        ),
    ] = "all"
    validation_policies: Annotated[
        Names,
        Setting(
            "CCOS_VALIDATION_POLICIES",
            "Further policies for candidates: data_privacy, performance, api_design.",
        ),
    ] = ()
    drift_check_interval_seconds: Annotated[
        Number,
        Setting(
            "CCOS_DRIFT_CHECK_INTERVAL_SECONDS",
            "How often registered MCP tools are compared with what is offered; 0 is never.",
        ),
    ] = 3600
    poll_interval_seconds: Annotated[
        Number, Setting("CCOS_POLL_INTERVAL_SECONDS", "Pause between rounds of the loop.")
    ] = 5
    retry_backoff_config: RetryBackoffConfig = RetryBackoffConfig()
    security_config: SecurityConfig = SecurityConfig()
    mcp_registry_config: McpRegistryConfig = McpRegistryConfig()
    llm_synthesis_config: LlmSynthesisConfig = LlmSynthesisConfig()
    web_search_config: WebSearchConfig = WebSearchConfig()
    tool_selection: ToolSelectionConfig = ToolSelectionConfig()
    old_config: OldConfig = OldConfig()

    @classmethod
    def production(cls) -> Self:
        """The defaults: nothing is resolved until an operator switches it on."""
        return cls(feature_flags=MissingCapabilityFeatureFlags.production())

    @classmethod
    def development(cls) -> Self:
        """The defaults with every stage on."""
        return cls(feature_flags=MissingCapabilityFeatureFlags.development())

    @classmethod
    def testing(cls) -> Self:
        """The defaults with detection only."""
        return cls(feature_flags=MissingCapabilityFeatureFlags.testing())

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> MissingCapabilityConfig:
        """Read the configuration from `environ` (the process environment when left out).

        Raises:
            ConfigurationError: A variable cannot be read, contradicts its other spelling, or
                the result is invalid.
        """
        # Settings contains this class, so its loader cannot be imported above.
        from ccos.config.loading import settings_from_environment

        return settings_from_environment(environ).settings.missing

    @classmethod
    def from_file(cls, path: Path | str) -> MissingCapabilityConfig:
        """Read the configuration from the JSON or TOML file at `path` alone.

        Raises:
            ConfigurationError: The file or a key in it cannot be read, or the result is invalid.
        """
        from ccos.config.loading import load_settings

        return load_settings(config_file=Path(path), environ={}).settings.missing

    # pydantic keeps an unused class method of this name from its first version.
    def validate(self) -> list[str]:  # type: ignore[override]
        """Check that the values make sense together.

        Returns:
            What deserves a look but does not stand in the way, one sentence each.

        Raises:
            ConfigurationError: Something cannot work; the message lists every such thing.
        """
        findings = check(self)
        if findings.errors:
            raise ConfigurationError(
                "; ".join(str(finding) for finding in findings.errors),
                details={"problems": [finding.as_dict() for finding in findings.errors]},
            )
        return [str(finding) for finding in findings.warnings]

    def as_dict(self) -> dict[str, Any]:
        """The configuration as JSON-ready data that `from_file` reads, in its new form."""
        return self.model_dump(mode="json", exclude={"old_config"})
