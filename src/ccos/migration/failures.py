"""Which kind of failure an exception is, with everything that is known about it."""

from __future__ import annotations

from typing import Any, Final

from ccos.errors import (
    CapabilityError,
    CcosError,
    CompilationError,
    ConfigurationError,
    EgressError,
    EngineBusyError,
    EngineStoppedError,
    IntegrityError,
    IsolationError,
    MigrationFailedError,
    ProviderUnavailableError,
    SchemaTooNewError,
    ScriptConflictError,
    ScriptError,
    ScriptNotFoundError,
    SecurityViolationError,
    StorageError,
    StorageFullError,
)
from ccos.migration.definitions import RuneTool, shown_path
from ccos.migration.outcomes import MigrationError
from ccos.migration.problems import MigrationErrorType, Problem

_SERVICE: Final = (
    StorageError,
    EngineBusyError,
    EngineStoppedError,
    IsolationError,
    EgressError,
    ProviderUnavailableError,
)
_LASTING: Final = (StorageFullError, SchemaTooNewError, IntegrityError)
_TRANSIENT: Final = (StorageError, EngineBusyError)
_SHOWN: Final = 2000


def is_transient(error: CcosError) -> bool:
    """Whether the same can succeed when it is tried again a little later."""
    return isinstance(error, _TRANSIENT) and not isinstance(error, _LASTING)


def failure_of(tool: RuneTool, error: Exception, *, phase: str) -> MigrationError:
    """Why a tool could not be migrated.

    Args:
        tool: The tool.
        error: What was raised.
        phase: What was being done: ``discover``, ``backup``, ``compile``, ``register`` or
            ``validate``.
    """
    if isinstance(error, MigrationFailedError):
        cause = MigrationError.cause_of(error)
        if cause is not None:
            return cause
    context: dict[str, Any] = {
        "path": "memory" if tool.file_path is None else shown_path(tool.file_path),
        "phase": phase,
        "source_hash": tool.source_hash,
        "language": tool.language,
    }
    if isinstance(error, CcosError):
        context["code"] = error.code
        context |= {
            name: error.details[name]
            for name in ("line", "column", "module", "limit", "diagnostics", "breaking_changes")
            if name in error.details
        }
        message = error.message
    else:
        context["code"] = type(error).__name__
        message = f"{type(error).__name__}: {error}"
    return MigrationError(
        tool_name=tool.name,
        error_type=_kind(error, phase),
        message=_told(tool.name, error, phase, message)[:_SHOWN],
        context=context,
    )


def failure_of_problem(problem: Problem, path: str, name: str) -> MigrationError:
    """Why a file, or a tool in it, was found and cannot be used."""
    hint = f" {problem.hint}" if problem.hint else ""
    return MigrationError(
        tool_name=problem.tool or name,
        error_type=problem.type,
        message=f"{problem.message}{hint}"[:_SHOWN],
        context={
            "path": path,
            "phase": "discover",
            "line": problem.line,
            "column": problem.column,
            "code": problem.code,
        },
    )


def _kind(error: Exception, phase: str) -> MigrationErrorType:
    match error:
        case ConfigurationError():
            return MigrationErrorType.CONFIGURATION_ERROR
        case _ if isinstance(error, _SERVICE):
            return MigrationErrorType.SERVICE_ERROR
        case SecurityViolationError():
            return MigrationErrorType.VALIDATION_FAILED
        case CompilationError():
            return MigrationErrorType.COMPILATION_FAILED
        case CapabilityError() | ScriptConflictError() | ScriptNotFoundError():
            return MigrationErrorType.REGISTRATION_FAILED
        case ScriptError():
            return _BY_PHASE.get(phase, MigrationErrorType.UNKNOWN)
        case OSError():
            return MigrationErrorType.DISCOVERY_FAILED
    return MigrationErrorType.UNKNOWN


_BY_PHASE: Final = {
    "discover": MigrationErrorType.DISCOVERY_FAILED,
    "backup": MigrationErrorType.DISCOVERY_FAILED,
    "compile": MigrationErrorType.COMPILATION_FAILED,
    "register": MigrationErrorType.REGISTRATION_FAILED,
    "validate": MigrationErrorType.VALIDATION_FAILED,
}


def _told(name: str, error: Exception, phase: str, message: str) -> str:
    """The message with the words by which the kinds of failure have always been recognised."""
    words = {"compile": "failed to compile", "register": "failed to register"}.get(phase)
    if words is None or words in message or isinstance(error, SecurityViolationError):
        return message
    return f"Tool {name!r} {words}: {message}"
