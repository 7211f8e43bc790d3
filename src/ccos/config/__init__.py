"""Settings: feature flags, missing capability resolution, and the process as a whole."""

from ccos.config.description import SettingRow, describe, reference_table
from ccos.config.flags import FeatureProfile, MissingCapabilityFeatureFlags
from ccos.config.legacy import OldConfig
from ccos.config.loading import LoadedSettings, load_settings
from ccos.config.missing import (
    LlmSynthesisConfig,
    McpRegistryConfig,
    MissingCapabilityConfig,
    RetryBackoffConfig,
    SecurityConfig,
    ToolSelectionConfig,
    WebSearchConfig,
)
from ccos.config.services import ScriptEngineConfig, ServicesConfig
from ccos.config.settings import Settings
from ccos.config.sources import Origin

__all__ = [
    "FeatureProfile",
    "LlmSynthesisConfig",
    "LoadedSettings",
    "McpRegistryConfig",
    "MissingCapabilityConfig",
    "MissingCapabilityFeatureFlags",
    "OldConfig",
    "Origin",
    "RetryBackoffConfig",
    "ScriptEngineConfig",
    "SecurityConfig",
    "ServicesConfig",
    "SettingRow",
    "Settings",
    "ToolSelectionConfig",
    "WebSearchConfig",
    "describe",
    "load_settings",
    "reference_table",
]
