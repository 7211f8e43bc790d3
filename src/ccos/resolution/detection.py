"""Noticing what is missing: while something runs, and ahead of time from a plan's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ccos.engine import Plan, StaticCall
from ccos.marketplace import Marketplace, Standing
from ccos.resolution.queue import Priority
from ccos.resolution.resolver import MissingCapabilityResolver
from ccos.runtime import Sighting
from ccos.storage import Transaction


class RuntimeDetection:
    """Records what an execution misses, in the transaction that parks it.

    It serves the resolver that was last attached; before the first, nothing is detected.
    """

    def __init__(self) -> None:
        self._resolver: MissingCapabilityResolver | None = None

    def attach(self, resolver: MissingCapabilityResolver) -> None:
        """Let this resolver deal with what is missing from now on."""
        self._resolver = resolver

    @property
    def detects(self) -> bool:
        """Whether the flags let a missing capability park its caller."""
        if self._resolver is None:
            return False
        flags = self._resolver.config.feature_flags
        return flags.enabled and flags.runtime_detection

    def record_in(self, transaction: Transaction, sightings: Sequence[Sighting]) -> None:
        """Queue what is missing; a checkpoint waits for it, so it is urgent."""
        assert self._resolver is not None
        self._resolver.queue.note_in(
            transaction, sightings, source="runtime", priority=Priority.HIGH
        )

    def noticed(self) -> None:
        """Wake whoever works on the queue."""
        if self._resolver is not None:
            self._resolver.wake()

    async def definition_changed(self, sighting: Sighting) -> None:
        """Queue a look at the new definition, if missing capabilities are dealt with at all."""
        if self._resolver is not None and self.detects:
            await self._resolver.review_changed(sighting)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a plan calls, by what is known about it.

    ``dynamic`` calls compute their id, so nothing can be said of them ahead of time.
    """

    resolved: tuple[StaticCall, ...]
    missing: tuple[StaticCall, ...]
    withheld: tuple[StaticCall, ...]
    dynamic: tuple[StaticCall, ...]

    @property
    def total(self) -> int:
        """How many calls there are."""
        return sum(map(len, (self.resolved, self.missing, self.withheld, self.dynamic)))


async def dependencies(plan: Plan, marketplace: Marketplace) -> Dependencies:
    """Look up every call of a plan without running it."""
    sorted_out: dict[str, list[StaticCall]] = {
        "resolved": [],
        "missing": [],
        "withheld": [],
        "dynamic": [],
    }
    for call in plan.calls:
        if call.capability_id is None:
            sorted_out["dynamic"].append(call)
            continue
        registered = await marketplace.get(call.capability_id)
        if registered is None:
            sorted_out["missing"].append(call)
        elif registered.standing is Standing.ACTIVE and registered.fault is None:
            sorted_out["resolved"].append(call)
        else:
            sorted_out["withheld"].append(call)
    return Dependencies(**{name: tuple(calls) for name, calls in sorted_out.items()})
