"""What a migration can be asked for: defaults, what is refused, and that nothing gets lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ccos.config import load_settings
from ccos.errors import ConfigurationError
from ccos.migration import (
    MigrationConfig,
    MigrationError,
    MigrationErrorType,
    MigrationManagerConfig,
    MigrationMode,
    MigrationPhase,
    MigrationReport,
    MigrationState,
    MigrationStats,
    MigrationValidation,
    PlannedTool,
    SecurityLevel,
    ValidationConfig,
    ValidationMode,
)


def test_the_defaults_are_those_of_the_guide() -> None:
    config = MigrationManagerConfig()
    assert config.as_dict() == {
        "mode": "Incremental",
        "security_level": "safe",
        "migration_directories": ["tools", "rune_tools"],
        "preserve_original_service": True,
        "enable_parallel_migration": False,
        "max_concurrent_migrations": 5,
        "validation_mode": "Basic",
        "rollback_on_failure": False,
    }
    kept = MigrationConfig()
    assert (kept.auto_migrate, kept.security_level) == (True, SecurityLevel.SAFE)
    assert (kept.enable_caching, kept.max_cache_size, kept.preserve_tool_ids) == (True, 500, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_concurrent_migrations": 0},
        {"max_concurrent_migrations": 1001},
        {"max_concurrent_migrations": True},
        {"migration_directories": []},
        {"migration_directories": "tools"},
        {"security_level": "paranoid"},
        {"mode": "Sideways"},
        {"validation_mode": "Thorough"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_starts(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MigrationManagerConfig(**wrong)


@pytest.mark.parametrize("most", [1, 1000])
def test_the_bounds_themselves_are_accepted(most: int) -> None:
    assert MigrationManagerConfig(max_concurrent_migrations=most).at_once == 1
    parallel = MigrationManagerConfig(
        max_concurrent_migrations=most, enable_parallel_migration=True
    )
    assert parallel.at_once == most


@pytest.mark.parametrize("level", [*SecurityLevel, "dev", "PROD"])
def test_every_level_is_accepted(level: str) -> None:
    wanted: Any = level
    assert MigrationManagerConfig(security_level=wanted).security_level is SecurityLevel.parse(
        level
    )


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (MigrationConfig, {"max_cache_size": 0}),
        (MigrationConfig, {"security_level": "none"}),
        (ValidationConfig, {"probe_seconds": 0}),
        (ValidationConfig, {"samples": 0}),
        (ValidationConfig, {"max_performance_degradation": -1.0}),
    ],
    ids=str,
)
def test_a_bridge_is_not_made_with_nonsense(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        kind(**values)


def test_names_are_understood_as_people_type_them() -> None:
    assert MigrationMode.parse("dry-run") is MigrationMode.DRY_RUN
    assert MigrationMode.parse("DRY_RUN") is MigrationMode.DRY_RUN
    assert ValidationMode.parse(" comprehensive ") is ValidationMode.COMPREHENSIVE
    with pytest.raises(ConfigurationError, match="migration mode 'x'") as caught:
        MigrationMode.parse("x")
    assert "Incremental" in caught.value.next_step


def test_the_eighth_kind_of_old_reports_reads_as_unknown() -> None:
    assert [one.value for one in MigrationErrorType] == [
        *("DiscoveryFailed", "CompilationFailed", "RegistrationFailed", "ValidationFailed"),
        *("ConfigurationError", "ServiceError", "Unknown"),
    ]
    assert MigrationErrorType("MigrationFailed") is MigrationErrorType.UNKNOWN
    with pytest.raises(ValueError, match="Nonsense"):
        MigrationErrorType("Nonsense")


def test_a_report_reads_back_as_it_was_written() -> None:
    error = MigrationError(
        tool_name="a", error_type=MigrationErrorType.SERVICE_ERROR, message="m", context={"x": [1]}
    )
    moment = datetime(2024, 2, 29, tzinfo=UTC)
    report = MigrationReport(
        migration_id="0",
        config=MigrationManagerConfig(
            mode=MigrationMode.FULL, migration_directories=[Path("größe"), Path("b")]
        ),
        stats=MigrationStats(total_migrated=1, active_tools=1, migration_timestamp=moment),
        state=MigrationState(
            phase=MigrationPhase.FAILED, total_discovered=2, errors=(error,), start_time=moment
        ),
        migrated_tools=("b",),
        failed_tools=(error,),
        validation=MigrationValidation(valid=False, issues=("i",), checks={"b": {"called": True}}),
        duration=timedelta(seconds=1.5),
        skipped_tools={"c": "why"},
        plan=(PlannedTool(tool="b", path="p", level="safe", action="fail", problems=("x",)),),
        rolled_back=True,
        backup="/somewhere",
    )
    assert MigrationReport.from_dict(report.as_dict()) == report
    assert report.as_dict()["duration"] == 1.5
    assert MigrationManagerConfig.from_dict(report.config.as_dict()) == report.config
    with pytest.raises(ConfigurationError, match="colour"):
        MigrationManagerConfig.from_dict({"colour": "red"})


def test_the_settings_say_what_nobody_else_says() -> None:
    environ = {
        "CCOS_HOME": "/srv/ccos",
        "CCOS_MIGRATION_DEFAULT_SECURITY_LEVEL": "prod",
        "CCOS_MIGRATION_AUTO_MIGRATE": "true",
        "CCOS_MIGRATION_ENABLE_CACHING": "false",
        "CCOS_MIGRATION_MAX_CACHE_SIZE": "7",
        "CCOS_MIGRATION_PRESERVE_TOOL_IDS": "false",
        "CCOS_MIGRATION_BACKUP_ORIGINALS": "false",
        "CCOS_MIGRATION_VALIDATION_AUTO_VALIDATE": "false",
        "CCOS_MIGRATION_VALIDATION_STRICT": "true",
        "CCOS_MIGRATION_VALIDATION_VALIDATE_FUNCTIONALITY": "false",
        "CCOS_MIGRATION_VALIDATION_VALIDATE_PERFORMANCE": "true",
        "CCOS_MIGRATION_VALIDATION_MAX_PERFORMANCE_DEGRADATION": "5",
    }
    settings = load_settings(environ=environ).settings.migration
    kept = MigrationConfig.of(settings)
    assert kept == MigrationConfig(
        auto_migrate=True,
        security_level=SecurityLevel.PRODUCTION,
        enable_caching=False,
        max_cache_size=7,
        preserve_tool_ids=False,
        backup_originals=False,
        validation=ValidationConfig(
            strict=True,
            validate_functionality=False,
            validate_performance=True,
            max_performance_degradation=5.0,
        ),
    )
    config = MigrationManagerConfig.of(settings)
    assert config.security_level is SecurityLevel.PRODUCTION
    assert config.validation_mode is ValidationMode.SKIP
    usual = load_settings(environ={"CCOS_HOME": "/srv/ccos"}).settings.migration
    assert MigrationManagerConfig.of(usual) == MigrationManagerConfig()
    assert not MigrationConfig.of(usual).auto_migrate
