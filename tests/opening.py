"""An open CCOS for tests, with scripted sources in place of the world."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ccos import assembly
from ccos.assembly import Ccos
from ccos.capabilities import EffectType, LocalProvider, Manifest, TrustTier
from ccos.config import Settings, load_settings
from ccos.durable import DurableEngine, Workflow
from ccos.errors import StorageError
from ccos.events import EventType
from ccos.providers.local import describe_callable
from ccos.resolution.checkpoints import CheckpointArchive
from ccos.resolution.queue import RequestStatus
from ccos.resolution.resolver import MissingCapabilityResolver
from ccos.resolution.sources import Candidate, Source, Wanted
from ccos.resolution.sources.base import RiskName
from ccos.runtime import CallPolicy, Completed, Failed, Outcome, OutcomeUnknown, Parked
from ccos.storage import Transaction, WriteObserver

ON = "true"
OFF = "false"

DETECTING = {"CCOS_MISSING_CAPABILITY_ENABLED": ON}
"""Missing capabilities park their callers; nothing is resolved."""

RESOLVING = {
    **DETECTING,
    "CCOS_AUTO_RESOLUTION": ON,
    "CCOS_AUTO_RESUME_ENABLED": ON,
    "CCOS_HUMAN_APPROVAL_REQUIRED": OFF,
    "CCOS_RETRY_JITTER_ENABLED": OFF,
}
"""What is of low or medium risk is resolved and resumed without asking."""


def settings(home: Path, **variables: str) -> Settings:
    """Settings from these variables and nothing else."""
    return load_settings(environ={"CCOS_HOME": str(home), **variables}).settings


class InlineEngine(DurableEngine):
    """Runs workflows at once and remembers nothing; DBOS has tests of its own."""

    def __init__(self) -> None:
        super().__init__(sa.make_url("sqlite://"), executor_id="inline")
        self._workflows: dict[str, Workflow] = {}
        self.runs: list[str] = []

    def register(self, name: str, workflow: Workflow) -> None:
        self._workflows[name] = workflow

    async def start(self) -> None:
        """Nothing to start."""

    async def run(self, name: str, workflow_id: str, *arguments: Any) -> Any:
        self.runs.append(workflow_id)
        return await self._workflows[name](*arguments)

    async def step(self, name: str, function: Workflow, *arguments: Any) -> Any:
        return await function(*arguments)


@contextlib.asynccontextmanager
async def opened(home: Path, *sources: Source, **options: Any) -> AsyncIterator[Ccos]:
    """A CCOS whose resolver asks exactly these sources and works without DBOS.

    Options are ``work``, ``policy`` and ``observer``, as for `ccos.assembly.open` but idle unless
    told otherwise; all else are variables.
    """
    work: bool = options.pop("work", False)
    policy: CallPolicy | None = options.pop("policy", None)
    observer: WriteObserver | None = options.pop("observer", None)
    chosen = settings(home, **options)
    async with assembly.open(chosen, work=work, policy=policy, write_observer=observer) as ccos:
        ccos.checkpoint_archive = CheckpointArchive(ccos.runtime, InlineEngine())
        ccos.set_missing_capability_resolver(
            MissingCapabilityResolver(
                ccos.marketplace, ccos.checkpoint_archive, chosen.missing, sources=sources
            )
        )
        yield ccos


class Failing:
    """Lets writes of one kind fail just before they would be on disk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.active = True

    def before_commit(self, name: str) -> None:
        if self.active and self.name in name.split("+"):
            raise StorageError("The disk is gone.")

    def after_commit(self, name: str) -> None:
        pass


class Counter:
    """A capability that remembers how it was called."""

    def __init__(self, answer: Callable[..., Any] | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self._answer = answer

    async def __call__(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        result = self._answer(**arguments) if self._answer else len(self.calls)
        return await result if isinstance(result, Awaitable) else result


Answer = Callable[[Wanted], Awaitable[Sequence[Candidate]]]


class ScriptedSource:
    """Offers what the test says, and remembers what it was asked for."""

    def __init__(
        self,
        *candidates: Candidate,
        name: str = "scripted",
        flag: str | None = None,
        highest_risk: RiskName = "high",
        answer: Answer | None = None,
    ) -> None:
        self.candidates = list(candidates)
        self.asked: list[str] = []
        self.name = name
        self.method = name
        self.flag = flag
        self.highest_risk: RiskName = highest_risk
        self._answer = answer

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        self.asked.append(wanted.capability_id)
        if self._answer is not None:
            return await self._answer(wanted)
        return self.candidates


async def increment(x: int) -> int:
    """The next number."""
    return x + 1


def manifest(
    capability_id: str, function: Callable[..., Any] = increment, **changes: Any
) -> Manifest:
    """A harmless capability that a local function of the same id provides."""
    described = describe_callable(
        function, id=capability_id, effect_type=changes.pop("effect_type", EffectType.PURE)
    )
    return described.model_copy(update={"trust_tier": TrustTier.APPROVED, **changes})


def candidate(capability_id: str, **changes: Any) -> Candidate:
    """A harmless candidate from a trusted place, as a source would propose it."""
    relevance = changes.pop("relevance", 1.0)
    proposed = manifest(capability_id, **changes)
    return Candidate(
        manifest=proposed,
        source="scripted",
        reference="test",
        relevance=relevance,
        trust_tier=proposed.trust_tier,
    )


async def offer(
    ccos: Ccos, capability_id: str, function: Callable[..., Any] = increment, **changes: Any
) -> Candidate:
    """A candidate that works once it is registered; ``function`` stands behind it."""
    behind = f"behind.{capability_id}"
    await ccos.register(behind, function, effect_type=EffectType.PURE)
    return candidate(
        capability_id, function=function, provider=LocalProvider(handler=behind), **changes
    )


def value(outcome: Outcome | None) -> Any:
    assert isinstance(outcome, Completed), outcome
    return outcome.value


def parked(outcome: Outcome | None) -> Parked:
    assert isinstance(outcome, Parked), outcome
    return outcome


def failure(outcome: Outcome | None) -> Any:
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def unknown(outcome: Outcome | None) -> OutcomeUnknown:
    assert isinstance(outcome, OutcomeUnknown), outcome
    return outcome


async def status(ccos: Ccos, capability_id: str) -> RequestStatus:
    return (await ccos.resolver.queue.get(capability_id)).status


async def happened(ccos: Ccos, event: EventType, capability_id: str = "") -> list[dict[str, Any]]:
    """The data of every such entry of the audit trail, of one capability if given."""
    entries = await ccos.audit.tail(10_000)
    return [
        entry.data
        for entry in entries
        if entry.event_type == event.value and capability_id in ("", entry.capability_id)
    ]


async def change(ccos: Ccos, statement: sa.Executable) -> None:
    """Write into the database past everything."""

    def unit(transaction: Transaction) -> None:
        transaction.execute(statement)

    await ccos.marketplace.storage.write("test", unit)


async def rows(ccos: Ccos, query: sa.Select[Any]) -> list[Any]:
    return list(await ccos.marketplace.storage.read(lambda c: c.execute(query).all()))


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 10.0) -> None:
    """Wait for something that is about to happen."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)
