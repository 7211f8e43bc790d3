"""What can come of an execution. An outcome is data, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccos.errors import CcosError


@dataclass(frozen=True, slots=True)
class Completed:
    """The execution came to its end.

    Attributes:
        value: Its result, JSON data.
        printed: What a plan printed on its way.
    """

    execution_id: str
    value: Any
    printed: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """The execution waits, durably, for capabilities that nobody registered yet.

    Attributes:
        execution_id: The ticket under which its outcome can be asked for later.
        missing: The ids it waits for.
    """

    execution_id: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The execution ended without a result."""

    execution_id: str
    error: CcosError


@dataclass(frozen=True, slots=True)
class UnknownEffect:
    """A call that was sent and whose answer never came: it may have acted, or not."""

    sequence: int
    capability_id: str
    arguments: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The execution waits for a person to say what became of these calls."""

    execution_id: str
    effects: tuple[UnknownEffect, ...]


Outcome = Completed | Parked | Failed | OutcomeUnknown
