"""What is wrong with a tool or its file: a kind, a place, and how to repair it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class MigrationErrorType(StrEnum):
    """The kinds of failure, by the names of the migration guide."""

    DISCOVERY_FAILED = "DiscoveryFailed"
    COMPILATION_FAILED = "CompilationFailed"
    REGISTRATION_FAILED = "RegistrationFailed"
    VALIDATION_FAILED = "ValidationFailed"
    CONFIGURATION_ERROR = "ConfigurationError"
    SERVICE_ERROR = "ServiceError"
    UNKNOWN = "Unknown"

    @classmethod
    def _missing_(cls, value: object) -> MigrationErrorType | None:
        """Old reports have an eighth kind, which says nothing more than that it failed."""
        return cls.UNKNOWN if value == "MigrationFailed" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a tool, or a file, cannot be used.

    Attributes:
        type: Its kind.
        message: What is wrong, in one sentence.
        hint: How to repair it; empty if nobody can tell.
        tool: The tool it is about; empty if it is about the whole file.
        code: The compiler's name for it; empty if the compiler did not find it.
        line, column: Where, counted from 1; 0 is unknown.
    """

    type: MigrationErrorType
    message: str
    hint: str = ""
    tool: str = ""
    code: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else ""
        place += f", column {self.column}" if self.line and self.column else ""
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "type": self.type.value,
            "message": self.message,
            "hint": self.hint,
            "tool": self.tool,
            "code": self.code,
            "line": self.line,
            "column": self.column,
        }


def invalid(message: str, *, tool: str = "", line: int = 0, hint: str = "") -> Problem:
    """A contract that is broken or incomplete."""
    return Problem(
        type=MigrationErrorType.VALIDATION_FAILED,
        message=message,
        hint=hint,
        tool=tool,
        line=line,
    )


def undiscovered(message: str, *, tool: str = "", hint: str = "") -> Problem:
    """A file that cannot be read, or a tool that cannot be told from another."""
    return Problem(type=MigrationErrorType.DISCOVERY_FAILED, message=message, hint=hint, tool=tool)
