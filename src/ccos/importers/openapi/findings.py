"""What an importer has to say about a description, and how much work it puts into one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ccos.errors import ImportDocumentError
from ccos.importers.openapi.references import Place

MAXIMUM_LISTED: Final = 20_000
MAXIMUM_OPERATIONS: Final = 2_000
MAXIMUM_WORK: Final = 200_000
MAXIMUM_SECONDS: Final = 30.0
_MAXIMUM_NOTES: Final = 1_000
_MAXIMUM_REASON: Final = 500
_LOOKS_AT_THE_CLOCK: Final = 1_024


@dataclass(frozen=True, slots=True)
class Note:
    """A part of a description that is not imported as it stands."""

    place: str
    """JSON Pointer (RFC 6901) into the document; ``<location>#<pointer>`` into another one."""
    reason: str
    """What is wrong and what was done about it."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An operation, or a whole path, that did not become a capability."""

    operation: str
    """``GET /users/{id}``, or the path alone where its operations are not known."""
    place: str
    """JSON Pointer (RFC 6901) of the part at fault."""
    reason: str


@dataclass(slots=True)
class Notes:
    """Collects notes; the same one counts once, and there is an end to them."""

    found: dict[tuple[str, str], Note] = field(default_factory=dict)

    def add(self, place: Place | str, reason: str) -> None:
        """Note a fault at a place."""
        if len(self.found) < _MAXIMUM_NOTES:
            note = Note(str(place), reason[:_MAXIMUM_REASON])
            self.found.setdefault((note.place, note.reason), note)


class Effort:
    """Ends the import of a description that asks for too much work.

    Args:
        location: The URL or file name of the description, for the message.
        work: How many schemas and values are looked at.
        seconds: How long it may take.
        clock: Tells seconds.
    """

    def __init__(
        self,
        location: str,
        *,
        work: int = MAXIMUM_WORK,
        seconds: float = MAXIMUM_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._location = location
        self._work = work
        self._seconds = seconds
        self._clock = clock
        self._until = clock() + seconds
        self._spent = 0
        self._look = _LOOKS_AT_THE_CLOCK

    def spend(self, amount: int = 1) -> None:
        """Count some work.

        Raises:
            ImportDocumentError: It was too much, or took too long.
        """
        self._spent += amount
        if self._spent < self._look:
            return
        self._look = self._spent + _LOOKS_AT_THE_CLOCK
        if self._spent > self._work:
            self._refuse(f"more than {self._work} schemas and values have to be looked at")
        if self._clock() > self._until:
            self._refuse(f"it takes more than {self._seconds:g} seconds")

    def _refuse(self, reason: str) -> None:
        raise ImportDocumentError(
            f"{self._location} is not imported: {reason}.",
            next_step="Import a part of it by naming the operations that are wanted.",
            details={"location": self._location},
        )
