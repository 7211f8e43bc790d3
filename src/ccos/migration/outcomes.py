"""What comes of a migration: its state, its errors, its report.

Durations are ``timedelta`` and seconds in JSON; times are aware, in UTC, and ISO 8601 in JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from ccos.errors import MigrationFailedError
from ccos.migration.definitions import ToolDefinition
from ccos.migration.migration_config import MigrationManagerConfig
from ccos.migration.problems import MigrationErrorType

REPORT_FORMAT: Final = "1"
_CAUSE: Final = "migration_error"


class MigrationPhase(StrEnum):
    """How far a migration is."""

    NOT_STARTED = "NotStarted"
    DISCOVERING = "Discovering"
    MIGRATING = "Migrating"
    VALIDATING = "Validating"
    COMPLETED = "Completed"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationError:
    """Why a tool could not be migrated.

    Attributes:
        tool_name: The tool; the path of its file if nobody knows its name.
        error_type: The kind of failure.
        context: Path, phase, line, code and whatever else is known, JSON data.
    """

    tool_name: str
    error_type: MigrationErrorType
    message: str
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    context: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.error_type.value}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "tool_name": self.tool_name,
            "error_type": self.error_type.value,
            "message": self.message,
            "timestamp": self.timestamp.isoformat(),
            "context": dict(self.context),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MigrationError:
        """The error that :meth:`as_dict` described."""
        return cls(
            tool_name=data["tool_name"],
            error_type=MigrationErrorType(data["error_type"]),
            message=data["message"],
            timestamp=datetime.fromisoformat(data["timestamp"]),
            context=data["context"],
        )

    def raised(self, next_step: str | None = None) -> MigrationFailedError:
        """The same as an exception, from which :meth:`cause_of` gets it back."""
        text = self.message if self.tool_name in self.message else f"{self.tool_name}: {self}"
        return MigrationFailedError(text, next_step=next_step, details={_CAUSE: self.as_dict()})

    @classmethod
    def cause_of(cls, error: MigrationFailedError) -> MigrationError | None:
        """The error that an exception was made of; None if it was made of none."""
        found = error.details.get(_CAUSE)
        return None if found is None else cls.from_dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationState:
    """How far a migration is, in counts that add up.

    ``total_discovered`` is the sum of ``successfully_migrated``, ``failed_migrations`` and
    ``skipped``, except while tools are still on their way.
    """

    phase: MigrationPhase = MigrationPhase.NOT_STARTED
    total_discovered: int = 0
    successfully_migrated: int = 0
    failed_migrations: int = 0
    skipped: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    errors: tuple[MigrationError, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "phase": self.phase.value,
            "total_discovered": self.total_discovered,
            "successfully_migrated": self.successfully_migrated,
            "failed_migrations": self.failed_migrations,
            "skipped": self.skipped,
            "start_time": _moment(self.start_time),
            "completion_time": _moment(self.completion_time),
            "errors": [one.as_dict() for one in self.errors],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MigrationState:
        """The state that :meth:`as_dict` described."""
        return cls(
            **{
                **data,
                "phase": MigrationPhase(data["phase"]),
                "start_time": _read_moment(data["start_time"]),
                "completion_time": _read_moment(data["completion_time"]),
                "errors": tuple(MigrationError.from_dict(one) for one in data["errors"]),
                "warnings": tuple(data["warnings"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStats:
    """What is migrated now; ``migration_timestamp`` is that of the last change, None for never."""

    total_migrated: int = 0
    active_tools: int = 0
    inactive_tools: int = 0
    migration_timestamp: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return dataclasses.asdict(self) | {"migration_timestamp": _moment(self.migration_timestamp)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MigrationStats:
        """The counts that :meth:`as_dict` described."""
        moment = _read_moment(data["migration_timestamp"])
        return cls(**{**data, "migration_timestamp": moment})


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationValidation:
    """Whether what is migrated can be relied on.

    Attributes:
        issues: What stands against it, each naming its tool.
        warnings: What should be known.
        checks: What was done with each tool, by name: calls, comparisons, times.
    """

    valid: bool = True
    issues: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    total_tools: int = 0
    valid_tools: int = 0
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "valid": self.valid,
            "issues": list(self.issues),
            "warnings": list(self.warnings),
            "total_tools": self.total_tools,
            "valid_tools": self.valid_tools,
            "checks": {name: dict(one) for name, one in self.checks.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MigrationValidation:
        """The validation that :meth:`as_dict` described."""
        lists = {name: tuple(data[name]) for name in ("issues", "warnings")}
        return cls(**{**data, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class MigratedTool:
    """A tool that the bridge keeps.

    Attributes:
        original_name: What it is called.
        migrated_script_id: Its script in the engine.
        active: Whether it may be called.
        metadata: ``migration_version``, ``original_file_path``, ``rune_version``,
            ``source_hash``, ``migration_id``, ``capability_id``, ``capability_version``,
            ``language``, ``security_level`` and ``risk`` among others, all text.
    """

    original_name: str
    migrated_script_id: str
    definition: ToolDefinition
    migrated_at: datetime
    active: bool
    metadata: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "name": self.original_name,
            "script_id": self.migrated_script_id,
            "active": self.active,
            "migrated_at": self.migrated_at.isoformat(),
            "definition": self.definition.as_dict(),
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTool:
    """What would become of a tool; ``action`` is migrate, update, keep or fail."""

    tool: str
    path: str
    level: str
    action: str
    problems: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return dataclasses.asdict(self) | {"problems": list(self.problems)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlannedTool:
        """The plan that :meth:`as_dict` described."""
        return cls(**{**data, "problems": tuple(data["problems"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What came of one migration. All lists are in the order of the names of the tools.

    Attributes:
        skipped_tools: Why each of those was left alone, by name.
        validation: None if validation was skipped.
        plan: What would happen, for a dry run.
        rolled_back: Whether everything was put back to what it was before.
        backup: The folder of the copies of the originals, if there are any.
    """

    migration_id: str
    config: MigrationManagerConfig
    stats: MigrationStats
    state: MigrationState
    migrated_tools: tuple[str, ...] = ()
    failed_tools: tuple[MigrationError, ...] = ()
    validation: MigrationValidation | None = None
    duration: timedelta | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    skipped_tools: Mapping[str, str] = field(default_factory=dict)
    plan: tuple[PlannedTool, ...] | None = None
    rolled_back: bool = False
    backup: str | None = None

    @property
    def success(self) -> bool:
        """Whether it came to its end and no tool failed."""
        return self.state.phase is MigrationPhase.COMPLETED and not self.failed_tools

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data, as the published schema describes them."""
        return {
            "format": REPORT_FORMAT,
            "migration_id": self.migration_id,
            "config": self.config.as_dict(),
            "stats": self.stats.as_dict(),
            "state": self.state.as_dict(),
            "migrated_tools": list(self.migrated_tools),
            "failed_tools": [one.as_dict() for one in self.failed_tools],
            "skipped_tools": dict(self.skipped_tools),
            "validation": None if self.validation is None else self.validation.as_dict(),
            "duration": None if self.duration is None else self.duration.total_seconds(),
            "timestamp": self.timestamp.isoformat(),
            "plan": None if self.plan is None else [one.as_dict() for one in self.plan],
            "rolled_back": self.rolled_back,
            "backup": self.backup,
        }

    def to_json(self) -> str:
        """Indented JSON text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MigrationReport:
        """The report that :meth:`as_dict` described."""
        validation, plan, seconds = data["validation"], data["plan"], data["duration"]
        return cls(
            migration_id=data["migration_id"],
            config=MigrationManagerConfig.from_dict(data["config"]),
            stats=MigrationStats.from_dict(data["stats"]),
            state=MigrationState.from_dict(data["state"]),
            migrated_tools=tuple(data["migrated_tools"]),
            failed_tools=tuple(MigrationError.from_dict(one) for one in data["failed_tools"]),
            skipped_tools=data["skipped_tools"],
            validation=None if validation is None else MigrationValidation.from_dict(validation),
            duration=None if seconds is None else timedelta(seconds=seconds),
            timestamp=datetime.fromisoformat(data["timestamp"]),
            plan=None if plan is None else tuple(PlannedTool.from_dict(one) for one in plan),
            rolled_back=data["rolled_back"],
            backup=data["backup"],
        )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _read_moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
