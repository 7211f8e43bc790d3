"""What the exit code of a command says."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ccos.errors import (
    ApprovalNotFoundError,
    CcosError,
    ConfigurationError,
    ExecutionNotFoundError,
    FeatureDisabledError,
    InvalidIdentifierError,
    ResolutionNotFoundError,
    ScriptNotFoundError,
    ScriptToolNotFoundError,
    UnknownCapabilityError,
)


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FEATURE_OFF = 3
    NOT_FOUND = 4
    WAITING = 5
    BLOCKED = 6
    INTERRUPTED = 130


HELP: Final = (
    "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 feature off, 4 not found, "
    "5 parked or awaiting a person, 6 blocked, 130 interrupted."
)


class UsageError(CcosError):
    """The command line asks for something that makes no sense."""

    code = "CCOS-USAGE"
    default_next_step = "See the command's --help."


def code_of(error: CcosError) -> ExitCode:
    """The exit code of a command that ends with this error."""
    match error:
        case UsageError() | ConfigurationError() | InvalidIdentifierError():
            return ExitCode.USAGE
        case FeatureDisabledError():
            return ExitCode.FEATURE_OFF
        case (
            UnknownCapabilityError()
            | ExecutionNotFoundError()
            | ApprovalNotFoundError()
            | ResolutionNotFoundError()
            | ScriptNotFoundError()
            | ScriptToolNotFoundError()
        ):
            return ExitCode.NOT_FOUND
        case _:
            return ExitCode.FAILED
