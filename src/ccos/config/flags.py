"""The feature flags of missing capability resolution, and their three presets.

Every flag switches one stage off for real. The defaults are the production preset.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ccos.config.fields import Setting, SettingsModel, Switch

FeatureProfile = Literal["production", "development", "testing"]

_SUFFIX = "_ENABLED"


def _flag(variable: str, description: str, *, default_text: str | None = None) -> Setting:
    """A flag is read with and without ``_ENABLED`` at the end of its variable."""
    other = variable.removesuffix(_SUFFIX) if variable.endswith(_SUFFIX) else variable + _SUFFIX
    return Setting(variable, description, other_variable=other, default_text=default_text)


def _same_as_enabled(flags: dict[str, Any]) -> bool:
    return bool(flags["enabled"])


class MissingCapabilityFeatureFlags(SettingsModel):
    """Which stages of missing capability resolution may run."""

    enabled: Annotated[
        Switch,
        _flag(
            "CCOS_MISSING_CAPABILITY_ENABLED",
            "Handle missing capabilities at all; off, a miss fails at once.",
        ),
    ] = False
    runtime_detection: Annotated[
        Switch,
        _flag(
            "CCOS_RUNTIME_DETECTION",
            "Record a capability that is missing at run time and park its caller.",
            default_text="as feature_flags.enabled",
        ),
    ] = Field(default_factory=_same_as_enabled)
    auto_resolution: Annotated[
        Switch,
        _flag(
            "CCOS_AUTO_RESOLUTION",
            "Look for a provider; off, requests wait after an exact and an alias lookup.",
        ),
    ] = False
    mcp_registry_enabled: Annotated[
        Switch, _flag("CCOS_MCP_REGISTRY_ENABLED", "Ask the MCP registry for servers.")
    ] = True
    importers_enabled: Annotated[
        Switch,
        _flag(
            "CCOS_IMPORTERS_ENABLED",
            "Load OpenAPI and GraphQL descriptions and network catalogues.",
        ),
    ] = False
    http_wrapper_enabled: Annotated[
        Switch, _flag("CCOS_HTTP_WRAPPER_ENABLED", "Probe and wrap plain HTTP endpoints.")
    ] = False
    llm_synthesis_enabled: Annotated[
        Switch,
        _flag("CCOS_LLM_SYNTHESIS_ENABLED", "Call a language model for synthesis and hints."),
    ] = False
    web_search_enabled: Annotated[
        Switch, _flag("CCOS_WEB_SEARCH_ENABLED", "Search the web for API descriptions.")
    ] = False
    continuous_resolution: Annotated[
        Switch,
        _flag("CCOS_CONTINUOUS_RESOLUTION", "Retry waiting requests in a background loop."),
    ] = False
    auto_resume_enabled: Annotated[
        Switch,
        _flag(
            "CCOS_AUTO_RESUME_ENABLED",
            "Resume a parked execution by itself once everything it needs is registered.",
        ),
    ] = False
    output_schema_introspection_enabled: Annotated[
        Switch,
        _flag(
            "CCOS_OUTPUT_SCHEMA_INTROSPECTION_ENABLED",
            "Call a found tool with sample input to learn its output schema.",
        ),
    ] = True
    human_approval_required: Annotated[
        Switch,
        _flag("CCOS_HUMAN_APPROVAL_REQUIRED", "Ask a person for low and medium risk as well."),
    ] = True
    audit_logging_enabled: Annotated[
        Switch, _flag("CCOS_AUDIT_LOGGING", "Write audit records.")
    ] = True
    validation_enabled: Annotated[
        Switch,
        _flag("CCOS_VALIDATION_ENABLED", "Validate candidates; off, they stay unapproved."),
    ] = True
    cli_tooling_enabled: Annotated[
        Switch, _flag("CCOS_CLI_TOOLING_ENABLED", "Offer the resolution commands.")
    ] = True

    @classmethod
    def production(cls) -> Self:
        """The defaults: nothing is resolved until an operator switches it on."""
        return cls()

    @classmethod
    def development(cls) -> Self:
        """Everything on, and nobody is asked about low and medium risk."""
        return cls(
            enabled=True,
            runtime_detection=True,
            auto_resolution=True,
            mcp_registry_enabled=True,
            importers_enabled=True,
            http_wrapper_enabled=True,
            llm_synthesis_enabled=True,
            web_search_enabled=True,
            continuous_resolution=True,
            auto_resume_enabled=True,
            output_schema_introspection_enabled=True,
            human_approval_required=False,
        )

    @classmethod
    def testing(cls) -> Self:
        """Detection only: nothing leaves the machine and nothing runs by itself."""
        return cls(
            enabled=True,
            runtime_detection=True,
            mcp_registry_enabled=False,
            output_schema_introspection_enabled=False,
            human_approval_required=False,
        )

    @classmethod
    def of_profile(cls, profile: FeatureProfile) -> Self:
        """The preset called `profile`."""
        presets = {
            "production": cls.production,
            "development": cls.development,
            "testing": cls.testing,
        }
        return presets[profile]()
