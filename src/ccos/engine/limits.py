"""What the engine itself allows, and what is effective for one execution."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ccos.engine.budget import Allowance, Budget, Dimension
from ccos.engine.policy import MIB, SecurityLevel, SecurityPolicy, level_policy
from ccos.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits on every execution besides those of its policy; None for no limit.

    Attributes:
        max_memory_bytes: Of one script.
        max_cpu_percentage: Share of one processor, counted over the execution timeout.
        max_concurrent_operations: Executions at once, of all policies together.
        operation_timeout: Seconds that an execution may wait for its turn.
        max_queue_size: Executions that may wait.
    """

    max_memory_bytes: int | None = 100 * MIB
    max_cpu_percentage: float | None = 80.0
    max_concurrent_operations: int = 100
    operation_timeout: float | None = 60.0
    max_queue_size: int = 1000


NO_BUDGET: Final = Budget()
_BOUNDED: Final = Budget(
    MappingProxyType(
        {
            Dimension.HOST_CALLS: Allowance(10_000),
            Dimension.NETWORK_BYTES: Allowance(10 * MIB),
            Dimension.STORAGE_BYTES: Allowance(50 * MIB),
        }
    )
)
DEFAULT_BUDGETS: Final[Mapping[SecurityLevel, Budget]] = MappingProxyType(
    {
        SecurityLevel.SAFE: _BOUNDED,
        SecurityLevel.PRODUCTION: _BOUNDED,
        SecurityLevel.DEVELOPMENT: NO_BUDGET,
    }
)


@dataclass(frozen=True, slots=True)
class ScriptEngineConfig:
    """How an engine works.

    Attributes:
        policy: For scripts that are compiled without one of their own.
        default_execution_timeout: Seconds; like ``resource_limits`` it does not apply at
            Development, which promises none.
        max_source_size: Largest text, in bytes.
        enable_caching: Whether compiled scripts are kept.
        max_cache_size, max_cache_bytes: Compiled scripts kept in memory, by count and by size.
        max_output_bytes: Most that one execution may print and log.
        budgets: For executions without one of their own, by level.
    """

    policy: SecurityPolicy = field(default_factory=lambda: level_policy(SecurityLevel.SAFE))
    default_execution_timeout: float = 30.0
    max_source_size: int = MIB
    enable_caching: bool = True
    max_cache_size: int = 1000
    max_cache_bytes: int = 64 * MIB
    max_output_bytes: int = MIB
    resource_limits: ResourceLimits = ResourceLimits()
    budgets: Mapping[SecurityLevel, Budget] = field(default_factory=lambda: DEFAULT_BUDGETS)

    def validate(self) -> None:
        """Make sure that the values make sense together.

        Raises:
            ConfigurationError: naming the first that does not.
        """
        limits = self.resource_limits
        values: dict[str, Any] = {
            "default_execution_timeout": self.default_execution_timeout,
            "max_source_size": self.max_source_size,
            "max_cache_size": self.max_cache_size,
            "max_cache_bytes": self.max_cache_bytes,
            "max_output_bytes": self.max_output_bytes,
        }
        check_limits(limits)
        for name, value in values.items():
            if not value > 0:
                raise ConfigurationError(f"{name} has to be above 0, not {value}.")


def check_limits(limits: ResourceLimits) -> None:
    """Make sure that every limit is above 0.

    Raises:
        ConfigurationError: naming the first that is not.
    """
    for name in ResourceLimits.__dataclass_fields__:
        value = getattr(limits, name)
        if value is not None and not value > 0:
            raise ConfigurationError(f"{name} has to be above 0, not {value}.")


@dataclass(frozen=True, slots=True)
class Effective:
    """The limits of one execution: the smallest of policy, engine and call; None for no limit.

    Attributes:
        cpu_share: Of one processor, counted over the timeout.
        timeout: Seconds from its first step.
        waiting: Seconds that it may wait for its turn.
    """

    memory_bytes: int | None
    cpu_share: float | None
    timeout: float | None
    waiting: float | None

    @property
    def cpu_seconds(self) -> float | None:
        """How long it may compute."""
        if self.cpu_share is None or self.timeout is None:
            return None
        return self.cpu_share * self.timeout

    def within(self, timeout: float | None) -> Effective:
        """These limits for an execution that asks for at most ``timeout`` seconds."""
        if timeout is None or (self.timeout is not None and self.timeout <= timeout):
            return self
        return dataclasses.replace(self, timeout=timeout)


def effective(
    policy: SecurityPolicy, config: ScriptEngineConfig, set_limits: ResourceLimits | None
) -> Effective:
    """The limits of executions under a policy.

    Args:
        policy: Of the script.
        config: Of the engine; its defaults do not apply at Development.
        set_limits: What was set on the engine afterwards, which applies at every level.
    """
    open_ended = policy.level is SecurityLevel.DEVELOPMENT
    limits = set_limits or (None if open_ended else config.resource_limits)
    default = None if open_ended else config.default_execution_timeout
    percentage = _least([policy.max_cpu_percentage, limits.max_cpu_percentage if limits else None])
    memory = _least([policy.max_memory_bytes, limits.max_memory_bytes if limits else None])
    return Effective(
        memory_bytes=None if memory is None else int(memory),
        cpu_share=None if percentage is None else percentage / 100,
        timeout=_least([policy.execution_timeout, default]),
        waiting=_least([policy.operation_timeout, limits.operation_timeout if limits else None]),
    )


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
