"""The seam between the resolution of a missing capability and the places where one is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ccos.capabilities import Manifest, TrustTier

RiskName = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is missing, and what is known about how it was called."""

    capability_id: str
    arguments: dict[str, Any] | None = None
    context: str = ""
    approved: bool = False
    """Whether a person said yes to looking for it, and so to starting what has to be looked at."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A capability that a source proposes; nobody has judged it yet."""

    manifest: Manifest
    """Its ``trust_tier`` is that of the candidate."""
    source: str
    """Name of the source."""
    reference: str
    """The exact place within the source: a URL, a file name, a registry entry."""
    relevance: float
    """How well the server or document as a whole fits, from 0 to 1; not the single capability."""
    trust_tier: TrustTier
    input_renames: Mapping[str, str] = field(default_factory=dict)
    """Argument names of the caller to those of the capability, where they differ."""


class Source(Protocol):
    """One place where providers of capabilities are found."""

    @property
    def name(self) -> str:
        """Short name, unique among sources."""
        ...

    @property
    def method(self) -> str:
        """What a resolution that succeeded by this source records as its method."""
        ...

    @property
    def flag(self) -> str | None:
        """The feature flag without which the source is not asked; None if none gates it."""
        ...

    @property
    def highest_risk(self) -> RiskName:
        """The highest risk of a wanted id for which the source is asked."""
        ...

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """What this source proposes; nothing lets the search go on elsewhere.

        Raises:
            SourceError: if the source failed as a whole; the search goes on all the same. Where it
                found only what must not be started without a person,
                ``details["needs_approval"]`` lists that.
        """
        ...
