"""Sessions of plans, with a host that leaves every call to the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from ccos.engine import (
    Entry,
    HostCall,
    Plan,
    Program,
    PythonSession,
    PythonWorkers,
    SecurityLevel,
    SessionRequest,
    Settled,
    SnapshotSeal,
    Stop,
    Waiting,
    level_policy,
)
from ccos.runtime import PlanLimits
from ccos.runtime.plan_host import PlanHost

LIMITS = PlanLimits(memory_bytes=20_000_000, seconds=0.5, calls=50)


@dataclass
class OpenSession:
    """A session of a plan and the host that it talks to."""

    session: PythonSession
    host: PlanHost

    @property
    def printed(self) -> str:
        return self.host.output

    async def start(self) -> Stop:
        return await self.session.start(Entry())

    async def deliver(self, settled: dict[int, Settled]) -> Stop:
        return await self.session.deliver(settled)

    def dump(self, seal: SnapshotSeal) -> bytes:
        return self.session.dump(seal, printed=self.printed)

    def restore(self, blob: bytes, seal: SnapshotSeal) -> Waiting:
        return self.session.restore(blob, seal)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


@contextlib.asynccontextmanager
async def open_session(
    workers: PythonWorkers,
    plan: Plan,
    *,
    seed: str,
    clock: Callable[[int], float],
    limits: PlanLimits = LIMITS,
) -> AsyncIterator[OpenSession]:
    host = PlanHost(limits, clock)
    request = SessionRequest(
        functions={},
        policy=level_policy(SecurityLevel.PRODUCTION),
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.seconds,
        host=host,
        seed=seed,
    )
    program = Program(plan.source, plan.name, plan.hash, namespaces=plan.namespaces)
    async with workers.session(program, request, modules={}) as session:
        yield OpenSession(session, host)


__all__ = ["LIMITS", "HostCall", "OpenSession", "open_session"]
