"""Budgets: what an execution may use up in all, with a warning before the end.

Limits of a policy bound what a script may hold at one moment; a budget bounds what it consumes
over its whole life, host calls and everything they lead to included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from ccos.errors import BudgetExhaustedError, ConfigurationError

WARN_AT: Final = (0.5, 0.8)


class Dimension(StrEnum):
    """What is counted."""

    STEPS = "steps"
    """Stretches of computing, from one stop for the host to the next."""
    WALL_CLOCK_MS = "wall_clock_ms"
    """Time from the first step to the end; waiting for a person is not counted."""
    HOST_CALLS = "host_calls"
    NETWORK_BYTES = "network_bytes"
    """Sent and received by host calls."""
    STORAGE_BYTES = "storage_bytes"
    """Written by host calls."""
    LLM_TOKENS = "llm_tokens"
    COST_USD = "cost_usd"


class WhenExhausted(StrEnum):
    """What happens when a dimension is used up."""

    HARD_STOP = "hard_stop"
    """The execution ends."""
    APPROVAL = "approval"
    """A person is asked to extend it; without a yes the execution ends."""
    SOFT_WARN = "soft_warn"
    """It goes on, and everybody is told."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much of one dimension there is, and what happens after that."""

    limit: float
    when_exhausted: WhenExhausted = WhenExhausted.HARD_STOP


@dataclass(frozen=True, slots=True)
class Budget:
    """Allowances by dimension; what is not named is not limited.

    Raises:
        ConfigurationError: for an allowance that is not above 0.
    """

    allowances: Mapping[Dimension, Allowance] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for dimension, allowance in self.allowances.items():
            if not allowance.limit > 0:
                raise ConfigurationError(
                    f"The budget for {dimension.value} has to be above 0; leave it out for none."
                )

    def clamped(self, remaining: Mapping[Dimension, float]) -> Budget:
        """This budget with no allowance above what ``remaining`` names, as for a child."""
        clamped = dict(self.allowances)
        for dimension, left in remaining.items():
            own = clamped.get(dimension)
            if own is None or own.limit > left:
                action = own.when_exhausted if own else WhenExhausted.HARD_STOP
                clamped[dimension] = Allowance(max(left, _NOTHING_LEFT), action)
        return Budget(MappingProxyType(clamped))


_NOTHING_LEFT: Final = 1e-9
"""An allowance that covers nothing; 0 itself would read as no limit."""


@dataclass(frozen=True, slots=True)
class Use:
    """Something that happened to a budget: a share was passed, or there is nothing left."""

    dimension: Dimension
    used: float
    limit: float
    share: float
    """0.5 and 0.8 are warnings; 1 says that it is exhausted."""
    action: WhenExhausted

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "dimension": self.dimension.value,
            "used": self.used,
            "limit": self.limit,
            "share": self.share,
            "action": self.action.value,
        }


class BudgetWatcher(Protocol):
    """Hears of warnings and of dimensions used up, and may extend one."""

    def budget_used(self, use: Use) -> None:
        """A share was passed for the first time."""
        ...

    def extend(self, use: Use) -> float:
        """Ask a person for more of a dimension; returns by how much, 0 for a no. May block."""
        ...


class BudgetMeter:
    """What one execution has used of its budget. Used by one thread at a time."""

    def __init__(self, budget: Budget, watcher: BudgetWatcher) -> None:
        self._watcher = watcher
        self._used: dict[Dimension, float] = {}
        self._limits = {one: allowance.limit for one, allowance in budget.allowances.items()}
        self._actions = {
            one: allowance.when_exhausted for one, allowance in budget.allowances.items()
        }
        self._passed: dict[Dimension, float] = {}

    @property
    def used(self) -> Mapping[Dimension, float]:
        """What was used so far, of every dimension that was charged."""
        return self._used

    @property
    def remaining(self) -> Mapping[Dimension, float]:
        """What is left of every dimension that is limited and would stop the execution."""
        return {
            one: max(0.0, limit - self._used.get(one, 0.0))
            for one, limit in self._limits.items()
            if self._actions[one] is not WhenExhausted.SOFT_WARN
        }

    def charge(self, dimension: Dimension, amount: float) -> None:
        """Count ``amount`` before it is used.

        Raises:
            BudgetExhaustedError: if the budget does not cover it; it is not counted then.
        """
        limit = self._limits.get(dimension)
        used = self._used.get(dimension, 0.0) + amount
        if limit is None:
            self._used[dimension] = used
            return
        if used > limit:
            self._exceed(dimension, used)
        self._used[dimension] = used
        self._warn(dimension, used)

    def record(self, dimension: Dimension, amount: float) -> None:
        """Count what was used already, such as the bytes of an answer.

        Raises:
            BudgetExhaustedError: if that was more than there was; it is counted all the same.
        """
        used = self._used[dimension] = self._used.get(dimension, 0.0) + amount
        limit = self._limits.get(dimension)
        if limit is None:
            return
        if used > limit:
            self._exceed(dimension, used)
        self._warn(dimension, used)

    def _exceed(self, dimension: Dimension, wanted: float) -> None:
        action = self._actions[dimension]
        use = Use(dimension, wanted, self._limits[dimension], 1.0, action)
        if action is not WhenExhausted.SOFT_WARN or self._passed.get(dimension) != 1.0:
            self._passed[dimension] = 1.0
            self._watcher.budget_used(use)
        if action is WhenExhausted.SOFT_WARN:
            return
        if action is WhenExhausted.APPROVAL:
            self._limits[dimension] += self._watcher.extend(use)
            if wanted <= self._limits[dimension]:
                self._passed.pop(dimension)
                return
        raise BudgetExhaustedError(
            f"The budget for {dimension.value} is used up: {use.limit:g} allowed.",
            details={"limit": f"budget.{dimension.value}", **use.as_dict()},
        )

    def _warn(self, dimension: Dimension, used: float) -> None:
        limit = self._limits[dimension]
        for share in WARN_AT:
            if used >= share * limit and self._passed.get(dimension, 0.0) < share:
                self._passed[dimension] = share
                self._watcher.budget_used(
                    Use(dimension, used, limit, share, self._actions[dimension])
                )
