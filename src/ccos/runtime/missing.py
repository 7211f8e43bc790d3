"""The seam to whoever deals with capabilities that nobody registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ccos.storage import Transaction


@dataclass(frozen=True, slots=True)
class Sighting:
    """A call of a capability that is not registered."""

    capability_id: str
    arguments: dict[str, Any]
    execution_id: str
    context: str


class MissingCapabilities(Protocol):
    """Notices missing capabilities, so that somebody finds them."""

    @property
    def detects(self) -> bool:
        """Whether a missing capability parks its caller; if not, the call fails at once."""
        ...

    def record_in(self, transaction: Transaction, sightings: Sequence[Sighting]) -> None:
        """Remember what is missing, in the transaction that parks the caller."""
        ...

    def noticed(self) -> None:
        """The callers are parked on disk; work on what they miss may begin."""
        ...

    async def definition_changed(self, sighting: Sighting) -> None:
        """A provider offers something else than was approved; somebody has to look at it."""
        ...


class NothingDetected:
    """Deals with nothing: a call of an unknown capability fails at once."""

    detects = False

    def record_in(self, transaction: Transaction, sightings: Sequence[Sighting]) -> None:
        """Never asked for, since nothing is detected."""
        raise AssertionError("Nothing is parked while detection is off.")

    def noticed(self) -> None:
        """Nothing to do."""

    async def definition_changed(self, sighting: Sighting) -> None:
        """Nothing to do."""
