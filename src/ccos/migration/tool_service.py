"""The tool-service interface: what the original runtime and the bridge have in common.

Durations are seconds, times are seconds since the Unix epoch.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ccos.engine.health import ServiceHealth
from ccos.errors import CcosError
from ccos.migration.definitions import ToolDefinition


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRef:
    """Ties a call to the call that it came from."""

    id: str = field(default_factory=_new_id)
    metadata: Mapping[str, str] = field(default_factory=dict)
    parent_id: str | None = None
    created_at: float = field(default_factory=time.time)

    def child(self) -> ContextRef:
        """A reference for a call that comes from this one."""
        return ContextRef(metadata=self.metadata, parent_id=self.id)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "id": self.id,
            "metadata": dict(self.metadata),
            "parent_id": self.parent_id,
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolExecutionContext:
    """How a tool is to be called.

    Attributes:
        timeout: Seconds; None leaves it to the service.
        environment: Variables that it may see.
        user_context: On whose behalf; the audit trail names them.
        service_context: What the service that calls wants to remember; it only passes through.
    """

    execution_id: str = field(default_factory=_new_id)
    context_ref: ContextRef = field(default_factory=ContextRef)
    timeout: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    user_context: str | None = None
    service_context: str | None = None
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolExecutionRequest:
    """A call of a tool. ``parameters`` is an object of JSON data."""

    tool_name: str
    parameters: Any = field(default_factory=dict)
    context: ToolExecutionContext = field(default_factory=ToolExecutionContext)
    request_id: str = field(default_factory=_new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolExecutionResult:
    """What came of a call; a failure is a result too.

    Attributes:
        error: Why it failed; None if it did not.
        execution_time: Seconds around the call, measured.
        metadata: ``migrated_execution``, ``stdout`` and ``stderr`` among others.
    """

    tool_name: str
    success: bool
    result: Any = None
    error: CcosError | None = None
    execution_time: float = 0.0
    context_ref: ContextRef | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "tool_name": self.tool_name,
            "success": self.success,
            "result": self.result,
            "error": None if self.error is None else self.error.as_dict(),
            "execution_time": self.execution_time,
            "context_ref": None if self.context_ref is None else self.context_ref.as_dict(),
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolValidation:
    """Whether a tool can be used as it is now."""

    valid: bool
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "valid": self.valid,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceMetrics:
    """What a service counted since it started; what was not measured is None."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    average_response_time: float | None
    uptime: float | None
    memory_usage: int | None
    cpu_usage: float | None

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return dataclasses.asdict(self)


class ToolService(Protocol):
    """Lists tools and calls them."""

    async def list_tools(self) -> Sequence[ToolDefinition]:
        """The tools, by name."""
        ...

    async def get_tool(self, name: str) -> ToolDefinition | None:
        """One tool; None if there is none of this name."""
        ...

    async def execute_tool(self, request: ToolExecutionRequest) -> ToolExecutionResult:
        """Call a tool; its failure is a result too.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
        """
        ...

    async def validate_tool(self, name: str) -> ToolValidation:
        """Whether a tool can be used as it is now."""
        ...

    async def service_health(self) -> ServiceHealth:
        """How the service is."""
        ...

    async def get_metrics(self) -> ServiceMetrics:
        """What it counted."""
        ...
