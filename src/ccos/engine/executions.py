"""One execution of a script: what it is asked for, what it says on the way, what came of it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ccos.engine.budget import Budget
from ccos.engine.languages import UNMEASURED, Measured
from ccos.engine.policy import SecurityPolicy
from ccos.errors import ScriptError

_PROCESS: Final = secrets.token_hex(8)
_numbers: Final = itertools.count(1)


def new_execution_id() -> str:
    """An id that no other execution of any process has."""
    return f"exec_{_PROCESS}_{next(_numbers):x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilationContext:
    """How a text is to be compiled.

    Attributes:
        name: What people call it, such as its file name.
        language: Its language; None goes by the ending of the name.
        policy: The policy that it is compiled for and will run under; None for the engine's own.
        description, author, version, tags: Kept with the script.
    """

    name: str = "script.py"
    language: str | None = None
    policy: SecurityPolicy | None = None
    description: str = ""
    author: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionContext:
    """How a script is to be run.

    Attributes:
        function: The function to call; None runs the text and takes its last expression.
        arguments: By name, JSON data.
        timeout: Seconds; can only shorten what the policy allows.
        budget: What it may use up; None for the engine's own for that level.
        environment: Variables that it may see.
        working_directory: What relative paths of host calls start from.
        caller: On whose behalf; callers take turns, and the audit trail names them.
    """

    execution_id: str = field(default_factory=new_execution_id)
    function: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    budget: Budget | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: Path | None = None
    caller: str = "agent"


class ExecutionStatus(StrEnum):
    """Where an execution stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStatistics:
    """What was measured of an execution.

    Attributes:
        steps: Stretches of computing between two stops for the host.
        host_calls: How often each host function was called, by full name.
        system_calls: Host calls that reached outside.
        network_bytes, storage_bytes: Sent and received, and written, by host calls.
        measured: What its worker measured.
    """

    steps: int
    host_calls: Mapping[str, int]
    system_calls: int
    network_bytes: int
    storage_bytes: int
    measured: Measured = UNMEASURED

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "steps": self.steps,
            "host_calls": dict(self.host_calls),
            "system_calls": self.system_calls,
            "network_bytes": self.network_bytes,
            "storage_bytes": self.storage_bytes,
            **asdict(self.measured),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """What came of an execution; a failure is a result too.

    Attributes:
        value: What the script gave, JSON data; None if it failed.
        error: Why it failed; None if it did not.
        stdout: What it printed.
        stderr: What it logged, one line each, and printed to its error stream.
        seconds: From its first step to its end; 0 if it never began.
        ended_at: Seconds since the Unix epoch.
    """

    execution_id: str
    script_id: str
    status: ExecutionStatus
    value: Any
    error: ScriptError | None
    stdout: str
    stderr: str
    seconds: float
    statistics: ExecutionStatistics
    ended_at: float

    @property
    def success(self) -> bool:
        """Whether it came to its end with a value."""
        return self.status is ExecutionStatus.COMPLETED

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "execution_id": self.execution_id,
            "script_id": self.script_id,
            "status": self.status.value,
            "success": self.success,
            "value": self.value,
            "error": self.error.as_dict() if self.error else None,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "seconds": self.seconds,
            "statistics": self.statistics.as_dict(),
            "ended_at": self.ended_at,
        }


class ChunkType(StrEnum):
    """What a chunk of a stream holds."""

    STATUS = "status"
    STDOUT = "stdout"
    STDERR = "stderr"
    PROGRESS = "progress"
    RESULT = "result"
    ERROR = "error"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ExecutionChunk:
    """A part of what an execution says while it runs; ``sequence`` counts from 0.

    ``data`` is text for output, ``{"fraction", "message"}`` for progress, the name of the status,
    the value, the error as data, and the :class:`ExecutionResult` for the last one, ``complete``.
    """

    execution_id: str
    type: ChunkType
    data: Any
    sequence: int
    at: float
