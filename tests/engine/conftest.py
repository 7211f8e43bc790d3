"""Workers, and a host that answers a plan's calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from ccos.engine import (
    Finished,
    HostCall,
    PythonWorkers,
    Settled,
    Value,
    Waiting,
    read_plan,
)
from ccos.engine.jail import probe

from .sessions import LIMITS, open_session

__all__ = ["LIMITS", "Host"]


@dataclass
class Host:
    """Runs plans to their end and remembers what they asked for."""

    workers: PythonWorkers
    calls: list[HostCall] = field(default_factory=list)
    printed: str = ""

    async def run(
        self,
        source: str,
        answer: Callable[[HostCall], Settled] = lambda call: Value(call.sequence),
        *,
        seed: str = "seed",
        now: float = 1_700_000_000.0,
    ) -> Any:
        plan = read_plan(source)
        async with open_session(self.workers, plan, seed=seed, clock=lambda _: now) as session:
            stop = await session.start()
            while isinstance(stop, Waiting):
                self.calls += stop.calls
                stop = await session.deliver({call.sequence: answer(call) for call in stop.calls})
            self.printed = session.printed
            assert isinstance(stop, Finished)
            return stop.value

    @property
    def targets(self) -> list[str]:
        return [call.target for call in self.calls]


@pytest.fixture
async def workers(anyio_backend: str) -> AsyncIterator[PythonWorkers]:
    async with PythonWorkers(processes=2, max_waiting=100, isolation=probe) as started:
        yield started


@pytest.fixture
async def host(workers: PythonWorkers) -> Host:
    return Host(workers)
