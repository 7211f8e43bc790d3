"""The configuration of migrating legacy tools."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ccos.config.fields import Number, PositiveCount, Setting, SettingsModel, Switch
from ccos.config.services import read_level


class MigrationValidationSettings(SettingsModel):
    """How migrated tools are validated."""

    auto_validate: Annotated[
        Switch,
        Setting(
            "CCOS_MIGRATION_VALIDATION_AUTO_VALIDATE",
            "Validate what is migrated where nobody says how.",
        ),
    ] = True
    strict: Annotated[
        Switch, Setting("CCOS_MIGRATION_VALIDATION_STRICT", "Take warnings for failures.")
    ] = False
    validate_functionality: Annotated[
        Switch,
        Setting(
            "CCOS_MIGRATION_VALIDATION_VALIDATE_FUNCTIONALITY",
            "Call tools that declare no effects, to see whether they work.",
        ),
    ] = True
    validate_performance: Annotated[
        Switch,
        Setting(
            "CCOS_MIGRATION_VALIDATION_VALIDATE_PERFORMANCE",
            "Take a tool that became too slow for a failure, and not just warn.",
        ),
    ] = False
    max_performance_degradation: Annotated[
        Number,
        Field(ge=0),
        Setting(
            "CCOS_MIGRATION_VALIDATION_MAX_PERFORMANCE_DEGRADATION",
            "Percent by which a migrated tool may be slower than the original.",
        ),
    ] = 20.0


class MigrationSettings(SettingsModel):
    """How legacy tools come into the script engine."""

    enabled: Annotated[
        Switch, Setting("CCOS_MIGRATION_ENABLED", "Migrate legacy tools at all.")
    ] = True
    default_security_level: Annotated[
        Literal["safe", "development", "production"],
        BeforeValidator(read_level),
        Setting(
            "CCOS_MIGRATION_DEFAULT_SECURITY_LEVEL",
            "Level of migrated tools where nobody says which.",
        ),
    ] = "safe"
    auto_migrate: Annotated[
        Switch,
        Setting(
            "CCOS_MIGRATION_AUTO_MIGRATE",
            "A bridge migrates the tools of its folders as soon as it starts.",
        ),
    ] = False
    enable_caching: Annotated[
        Switch,
        Setting("CCOS_MIGRATION_ENABLE_CACHING", "Keep compiled tools in the bridge for reuse."),
    ] = True
    max_cache_size: Annotated[
        PositiveCount,
        Setting("CCOS_MIGRATION_MAX_CACHE_SIZE", "Most compiled tools kept in the bridge."),
    ] = 500
    preserve_tool_ids: Annotated[
        Switch,
        Setting(
            "CCOS_MIGRATION_PRESERVE_TOOL_IDS",
            "Scripts of migrated tools have the tool's own id, which stays when its text changes.",
        ),
    ] = True
    backup_originals: Annotated[
        Switch,
        Setting(
            "CCOS_MIGRATION_BACKUP_ORIGINALS",
            "Copy the files of tools, with checksums, before anything changes.",
        ),
    ] = True
    validation: MigrationValidationSettings = MigrationValidationSettings()
