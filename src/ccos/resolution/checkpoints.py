"""The executions that wait for missing capabilities, as the resolver sees them."""

from __future__ import annotations

from dataclasses import dataclass

from ccos.durable import DurableEngine
from ccos.runtime import Execution, ExecutionState, Outcome, Runtime


@dataclass(frozen=True, slots=True)
class CheckpointArchive:
    """Parked executions, and the engine that takes them up again."""

    runtime: Runtime
    durable: DurableEngine

    async def parked(self, *, limit: int = 50) -> list[Execution]:
        """The newest parked executions."""
        return await self.runtime.executions(state=ExecutionState.PARKED, limit=limit)

    async def resume(self, execution_id: str) -> Outcome:
        """Equivalent to ``Runtime.resume``."""
        return await self.runtime.resume(execution_id)
