"""A script as host functions see it: what it calls, and the context that it has."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccos.engine.budget import Dimension
from ccos.engine.hosts import HttpRequests, bound
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.errors import BudgetExhaustedError

DEVELOPMENT = level_policy(SecurityLevel.DEVELOPMENT)


def within(*roots: Path) -> SecurityPolicy:
    """The Development policy with these folders alone."""
    return dataclasses.replace(DEVELOPMENT, file_roots=roots)


class NoRequests:
    async def request(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("This test sends nothing.")


@dataclass
class Script:
    """Calls host functions by their short names, and keeps what they left in the context."""

    policy: SecurityPolicy = DEVELOPMENT
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: Path | None = None
    requests: HttpRequests = field(default_factory=NoRequests)
    time: float = 0.0
    budget: dict[Dimension, float] = field(default_factory=dict)
    used: dict[Dimension, float] = field(default_factory=dict)
    logged: list[tuple[str, str]] = field(default_factory=list)
    progressed: list[tuple[float, str]] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def log(self, level: str, message: str) -> None:
        self.logged.append((level, message))

    def progress(self, fraction: float, message: str) -> None:
        self.progressed.append((fraction, message))

    async def charge(self, dimension: Dimension, amount: float) -> None:
        used = self.used.get(dimension, 0.0) + amount
        if used > self.budget.get(dimension, float("inf")):
            raise BudgetExhaustedError(f"{dimension} is used up.")
        self.used[dimension] = used

    def call(self, name: str, *positional: Any, **named: Any) -> Any:
        """The value of a pure function, or the coroutine of another."""
        [function] = [one for one in host_modules() if one.name == name]
        return function.handler(self, **bound(function, positional, named))

    async def await_call(self, name: str, *positional: Any, **named: Any) -> Any:
        value = self.call(name, *positional, **named)
        assert inspect.isawaitable(value)
        return await value
