"""What a migration is asked to do; what makes no sense is refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from ccos.config.migration import MigrationSettings
from ccos.engine.policy import SecurityLevel
from ccos.errors import ConfigurationError
from ccos.migration.definitions import shown_path
from ccos.migration.discovery_config import MANAGER_DIRECTORIES

MOST_AT_ONCE: Final = 1000

Choice = TypeVar("Choice", bound=StrEnum)


class MigrationMode(StrEnum):
    """How a migration goes about it."""

    DRY_RUN = "DryRun"
    """Says what would happen; nothing is called or written."""
    INCREMENTAL = "Incremental"
    """One tool after another, each validated before the next."""
    FULL = "Full"
    """All at once: they are registered together or not at all."""
    MANUAL = "Manual"
    """Only what is named, when it is named."""

    @classmethod
    def parse(cls, text: str) -> MigrationMode:
        """The mode of a name in any case; ``dry-run`` and ``dry_run`` are understood.

        Raises:
            ConfigurationError: for any other text.
        """
        return _choice(cls, text, "migration mode")


class ValidationMode(StrEnum):
    """How closely migrated tools are looked at."""

    SKIP = "Skip"
    BASIC = "Basic"
    COMPREHENSIVE = "Comprehensive"

    @classmethod
    def parse(cls, text: str) -> ValidationMode:
        """The mode of a name in any case.

        Raises:
            ConfigurationError: for any other text.
        """
        return _choice(cls, text, "validation mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """What validation demands.

    Attributes:
        strict: Whether warnings count as failures.
        validate_functionality: Whether tools that declare no effects are called.
        validate_performance: Whether a tool that became too slow is a failure, not a warning.
        max_performance_degradation: Percent by which it may be slower than the original.
        probe_seconds: How long one call may take while it is tried out.
        samples: Generated inputs for each tool.

    Raises:
        ConfigurationError: for values that make no sense.
    """

    strict: bool = False
    validate_functionality: bool = True
    validate_performance: bool = False
    max_performance_degradation: float = 20.0
    probe_seconds: float = 2.0
    samples: int = 4

    def __post_init__(self) -> None:
        for name in ("probe_seconds", "samples"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} has to be above 0.")
        if not self.max_performance_degradation >= 0:
            raise ConfigurationError("max_performance_degradation cannot be below 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationConfig:
    """How a bridge keeps tools.

    Attributes:
        auto_migrate: Whether it migrates the tools of its folders as soon as it is made.
        security_level: Of the tools that it migrates.
        enable_caching, max_cache_size: Of its script engine.
        preserve_tool_ids: Whether a script has the tool's own id, which stays when its text
            changes; otherwise the id is that of its text and policy.
        backup_originals: Whether files are copied before anything changes.
        validation: What validation demands.

    Raises:
        ConfigurationError: for values that make no sense, such as an unknown level.
    """

    auto_migrate: bool = True
    security_level: SecurityLevel = SecurityLevel.SAFE
    enable_caching: bool = True
    max_cache_size: int = 500
    preserve_tool_ids: bool = True
    backup_originals: bool = True
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "security_level", SecurityLevel.parse(self.security_level))
        if not self.max_cache_size > 0:
            raise ConfigurationError("max_cache_size has to be above 0.")

    @classmethod
    def of(cls, settings: MigrationSettings) -> MigrationConfig:
        """What the configuration file and the environment say."""
        wanted = settings.validation
        return cls(
            auto_migrate=settings.auto_migrate,
            security_level=SecurityLevel(settings.default_security_level),
            enable_caching=settings.enable_caching,
            max_cache_size=settings.max_cache_size,
            preserve_tool_ids=settings.preserve_tool_ids,
            backup_originals=settings.backup_originals,
            validation=ValidationConfig(
                strict=wanted.strict,
                validate_functionality=wanted.validate_functionality,
                validate_performance=wanted.validate_performance,
                max_performance_degradation=wanted.max_performance_degradation,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationManagerConfig:
    """What a manager is to do.

    Attributes:
        mode: How it goes about it.
        security_level: Of the tools that it migrates.
        migration_directories: Where the tools are; a missing one is a warning.
        preserve_original_service: Whether the original runtime is there as well.
        enable_parallel_migration: Whether several tools are migrated at once.
        max_concurrent_migrations: How many at most, from 1 to 1000.
        validation_mode: How closely migrated tools are looked at.
        rollback_on_failure: Whether the first failure ends the run and restores what was before.

    Raises:
        ConfigurationError: for values that make no sense.
    """

    mode: MigrationMode = MigrationMode.INCREMENTAL
    security_level: SecurityLevel = SecurityLevel.SAFE
    migration_directories: Sequence[Path] = MANAGER_DIRECTORIES
    preserve_original_service: bool = True
    enable_parallel_migration: bool = False
    max_concurrent_migrations: int = 5
    validation_mode: ValidationMode = ValidationMode.BASIC
    rollback_on_failure: bool = False

    def __post_init__(self) -> None:
        read: dict[str, Any] = {
            "mode": MigrationMode.parse(self.mode),
            "security_level": SecurityLevel.parse(self.security_level),
            "validation_mode": ValidationMode.parse(self.validation_mode),
            "migration_directories": _folders(self.migration_directories),
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)
        most: Any = self.max_concurrent_migrations
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_AT_ONCE:
            raise ConfigurationError(
                f"max_concurrent_migrations is a number from 1 to {MOST_AT_ONCE}, not {most!r}."
            )

    @classmethod
    def of(cls, settings: MigrationSettings, **wanted: Any) -> MigrationManagerConfig:
        """What is wanted; for the level, and whether to validate, else what the settings say."""
        validates = settings.validation.auto_validate
        usual: dict[str, Any] = {
            "security_level": settings.default_security_level,
            "validation_mode": ValidationMode.BASIC if validates else ValidationMode.SKIP,
        }
        return cls(**{**usual, **wanted})

    @property
    def at_once(self) -> int:
        """How many tools are migrated at the same time."""
        return self.max_concurrent_migrations if self.enable_parallel_migration else 1

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "mode": self.mode.value,
            "security_level": self.security_level.value,
            "migration_directories": [shown_path(one) for one in self.migration_directories],
            "preserve_original_service": self.preserve_original_service,
            "enable_parallel_migration": self.enable_parallel_migration,
            "max_concurrent_migrations": self.max_concurrent_migrations,
            "validation_mode": self.validation_mode.value,
            "rollback_on_failure": self.rollback_on_failure,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MigrationManagerConfig:
        """The configuration that :meth:`as_dict` described.

        Raises:
            ConfigurationError: if it makes no sense, or has a part that nobody knows.
        """
        unknown = sorted(data.keys() - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigurationError(f"A migration has no setting {unknown[0]!r}.")
        return cls(**data)


def _folders(given: Any) -> tuple[Path, ...]:
    if isinstance(given, str | Path) or not isinstance(given, Sequence):
        raise ConfigurationError("migration_directories is a list of folders.")
    folders = tuple(Path(one) for one in given)
    if not folders:
        raise ConfigurationError(
            "A migration needs at least one folder.", next_step="Name one, such as tools."
        )
    return folders


def _choice(kind: type[Choice], text: str, what: str) -> Choice:
    wanted = str(text).strip().lower().replace("-", "").replace("_", "")
    for one in kind:
        if one.value.lower() == wanted:
            return one
    known = ", ".join(one.value for one in kind)
    raise ConfigurationError(
        f"There is no {what} {str(text)[:100]!r}.", next_step=f"Use one of: {known}."
    )
