"""What a plan's session asks of its host while the plan computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ccos.engine import HostCall, Settled
from ccos.engine.policy import MIB
from ccos.errors import ResourceExceededError

_PRINTED_CHARACTERS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What one plan may use."""

    memory_bytes: int = 100 * MIB
    seconds: float = 30.0
    """Running time; waiting for the host is not counted."""
    calls: int = 1000


class PlanHost:
    """The host of a plan's session. Whatever the plan calls is journaled, so it has to wait."""

    def __init__(self, limits: PlanLimits, clock: Callable[[int], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._printed: list[str] = []
        self._room = _PRINTED_CHARACTERS

    @property
    def output(self) -> str:
        """What the plan printed so far; the beginning of it where it was too much."""
        return "".join(self._printed)

    def answer(self, call: HostCall) -> Settled | None:
        """Nothing is answered at once."""
        self._check(call.sequence)
        return None

    def clock(self, sequence: int) -> float:
        """The time as the journal has it."""
        self._check(sequence)
        return self._clock(sequence)

    def printed(self, _stream: str, text: str) -> None:
        """Keep what there is room for."""
        self._printed.append(text[: self._room])
        self._room -= len(self._printed[-1])

    def forbidden(self, what: str) -> None:
        """The plan is refused by the interpreter, and hears so."""

    def step(self) -> None:
        """Stretches of computing are bounded by the number of calls."""

    def _check(self, sequence: int) -> None:
        if sequence >= self._limits.calls:
            raise ResourceExceededError(
                f"The plan made more than {self._limits.calls} calls.",
                next_step="Raise CCOS_PLAN_MAX_CALLS if a plan may make so many.",
                details={"limit": "calls", "allowed": self._limits.calls},
            )
