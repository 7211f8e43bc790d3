"""What a plan's session asks of its host while the plan computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ccos.engine import (
    HostCall,
    Raised,
    SecurityLevel,
    SecurityPolicy,
    Settled,
    Value,
    level_policy,
)
from ccos.engine.budget import Dimension
from ccos.engine.hosts import Effect, HostFunction, HostFunctionError, HttpRequests
from ccos.engine.policy import MIB
from ccos.errors import ResourceExceededError

_PRINTED_CHARACTERS: Final = 1_000_000
_NOTHING: Final[Mapping[str, HostFunction]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What one plan may use."""

    memory_bytes: int = 100 * MIB
    seconds: float = 30.0
    """Running time; waiting for the host is not counted."""
    calls: int = 1000


class PlanHost:
    """The host of a plan's session, and what host functions work with.

    What a plan calls is journaled, so it has to wait; only what computes is answered at once, and
    comes to the same again when the plan is replayed.

    Args:
        limits: What the plan may use.
        clock: Tells the time for the call of a number, the same in a replay.
        notice: Keeps what the plan tells of itself, once for all replays.
        functions: The host functions that exist for it, by full name.
        requests: The way out; needed where one of them wants it.
        made: How many calls it made before.
    """

    policy: SecurityPolicy = level_policy(SecurityLevel.PRODUCTION)
    environment: Mapping[str, str] = MappingProxyType({})
    working_directory: Path | None = None

    def __init__(
        self,
        limits: PlanLimits,
        clock: Callable[[int], float],
        *,
        notice: Callable[[HostCall], None] | None = None,
        functions: Mapping[str, HostFunction] = _NOTHING,
        requests: HttpRequests | None = None,
        made: int = 0,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._notice = notice
        self._functions = functions
        self._requests = requests
        self._made = made
        self._answering: int | None = None
        """Number of the call that is answered at once."""
        self._printed: list[str] = []
        self._room = _PRINTED_CHARACTERS

    @property
    def output(self) -> str:
        """What the plan printed so far; the beginning of it where it was too much."""
        return "".join(self._printed)

    # What the session asks.

    def answer(self, call: HostCall) -> Settled | None:
        """Answer what only computes; all else is journaled first."""
        function = self._functions.get(call.target)
        if function is None or function.effect is not Effect.PURE:
            self._count()
            return None
        self._answering = call.sequence
        try:
            return Value(function.handler(self, **call.arguments))
        except HostFunctionError as error:
            return Raised(str(error))
        finally:
            self._answering = None

    def clock(self, sequence: int) -> float:
        """The time as the journal has it."""
        self._count()
        return self._clock(sequence)

    def printed(self, _stream: str, text: str) -> None:
        """Keep what there is room for."""
        self._printed.append(text[: self._room])
        self._room -= len(self._printed[-1])

    def forbidden(self, what: str) -> None:
        """The plan is refused by the interpreter, and hears so."""

    def notice(self, call: HostCall) -> None:
        """Keep what the plan tells, and log what it logs."""
        self._count()
        if call.arguments.get("event") == "log":
            self.log(str(call.arguments["level"]), str(call.arguments["message"]))
        if self._notice is not None:
            self._notice(call)

    def step(self) -> None:
        """Stretches of computing are bounded by the number of calls."""

    # What host functions ask.

    @property
    def requests(self) -> HttpRequests:
        """The way out."""
        assert self._requests is not None
        return self._requests

    def now(self) -> float:
        """The time; for what is answered at once, as the journal has it."""
        return time.time() if self._answering is None else self.clock(self._answering)

    def log(self, level: str, message: str) -> None:
        """Add a line to what the plan printed."""
        self.printed("stderr", f"{level.upper()} {message}\n")

    def progress(self, fraction: float, message: str) -> None:
        """Nobody follows a plan."""

    async def charge(self, dimension: Dimension, amount: float) -> None:
        """Plans have limits and no budget."""

    def _count(self) -> None:
        self._made += 1
        if self._made > self._limits.calls:
            raise ResourceExceededError(
                f"The plan made more than {self._limits.calls} calls, its steps counted.",
                next_step="Raise CCOS_PLAN_MAX_CALLS if a plan may make so many.",
                details={"limit": "calls", "allowed": self._limits.calls},
            )
