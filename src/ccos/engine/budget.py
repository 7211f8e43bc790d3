"""Budgets: what an execution may use up in all, with a warning before the end.

Limits of a policy bound what a script may hold at one moment; a budget bounds what it consumes
over its whole life, host calls and everything they lead to included.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from ccos.errors import BudgetExhaustedError, ConfigurationError

_SHARES: Final = (0.5, 0.8, 1.0)
_FIRST_SHARE: Final = _SHARES[0]


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
    """0.5 and 0.8 are warnings; 1 says that it is exceeded."""
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


class BudgetMeter:
    """What one execution has used of its budget.

    Whoever is about to use something asks :meth:`excess` first and counts it with :meth:`add`.
    Callable from any thread.

    Args:
        budget: What there is.
        watch: Hears of each share that is passed, once.
    """

    def __init__(self, budget: Budget, watch: Callable[[Use], None]) -> None:
        self._watch = watch
        self._lock = threading.Lock()
        self._used: dict[Dimension, float] = {}
        self._allowances = budget.allowances
        self._passed: dict[Dimension, float] = {}

    @property
    def used(self) -> dict[Dimension, float]:
        """What was used so far, of every dimension that was counted."""
        return dict(self._used)

    @property
    def remaining(self) -> dict[Dimension, float]:
        """What is left of every dimension whose end would stop the execution."""
        return {
            one: max(0.0, allowance.limit - self._used.get(one, 0.0))
            for one, allowance in self._allowances.items()
            if allowance.when_exhausted is not WhenExhausted.SOFT_WARN
        }

    def limits(self, dimension: Dimension) -> bool:
        """Whether there is an allowance for a dimension."""
        return dimension in self._allowances

    def excess(self, dimension: Dimension, amount: float) -> Use | None:
        """What would be exceeded by using ``amount`` more; None if it may be used."""
        allowance = self._allowances.get(dimension)
        if allowance is None:
            return None
        wanted = self._used.get(dimension, 0.0) + amount
        if wanted <= allowance.limit or allowance.when_exhausted is WhenExhausted.SOFT_WARN:
            return None
        return Use(dimension, wanted, allowance.limit, 1.0, allowance.when_exhausted)

    def add(self, dimension: Dimension, amount: float) -> None:
        """Count ``amount``; whoever watches hears of the shares that this passes."""
        with self._lock:
            used = self._used[dimension] = self._used.get(dimension, 0.0) + amount
            allowance = self._allowances.get(dimension)
            if allowance is None or used < _FIRST_SHARE * allowance.limit:
                return
            limit, before = allowance.limit, self._passed.get(dimension, 0.0)
            passed = [one for one in _SHARES if one > before and _passes(used, one, limit)]
            if passed:
                self._passed[dimension] = passed[-1]
        for share in passed:
            self._watch(Use(dimension, used, limit, share, allowance.when_exhausted))

    def extend(self, dimension: Dimension, by: float) -> None:
        """Let ``by`` more of a dimension be used."""
        with self._lock:
            allowance = self._allowances[dimension]
            more = dataclasses.replace(allowance, limit=allowance.limit + by)
            self._allowances = {**self._allowances, dimension: more}
            self._passed.pop(dimension, None)


def _passes(used: float, share: float, limit: float) -> bool:
    """A warning is due when its share is reached, exhaustion when there is not enough."""
    return used > limit if share == 1.0 else used >= share * limit


def exhausted(use: Use) -> BudgetExhaustedError:
    """The error for a use that is not covered."""
    return BudgetExhaustedError(
        f"The budget for {use.dimension.value} is used up: {use.limit:g} allowed.",
        details=use.as_dict() | {"limit": f"budget.{use.dimension.value}", "allowed": use.limit},
    )


class ExtensionApprover(Protocol):
    """Asks a person for more of a budget."""

    async def extend(self, execution_id: str, script_id: str, use: Use, caller: str) -> float:
        """By how much the dimension is extended; 0 for a no or for no answer in time."""
        ...


class NobodyExtends:
    """Where nobody can be asked, the answer is no."""

    async def extend(self, execution_id: str, script_id: str, use: Use, caller: str) -> float:
        """No."""
        return 0.0
