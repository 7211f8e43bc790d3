"""The terms of a policy: what holds for every execution under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ccos.engine.budget import Budget
from ccos.engine.hosts import HostFunction
from ccos.engine.limits import Effective
from ccos.engine.places import Places, Visit
from ccos.engine.policy import SecurityPolicy


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every execution under one policy.

    Attributes:
        functions: The host functions that exist, by full name.
        limits: For executions that do not ask for a shorter time.
        budget: For executions without one of their own.
        places: What an execution needs a place in before it runs.
        isolated: The languages that were found to keep what the level promises.
    """

    policy: SecurityPolicy
    functions: Mapping[str, HostFunction]
    limits: Effective
    budget: Budget
    places: tuple[Places, ...]
    isolated: set[str] = field(default_factory=set)

    def visit(self, caller: str) -> Visit:
        """A place in all of them, for the time of an ``async with``."""
        return Visit(self.places, caller)
