"""Where a plan stands: it is run again from its journal, without a call being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccos.engine import (
    Entry as Beginning,
)
from ccos.engine import (
    Finished,
    HostCall,
    RunnablePlan,
    SecurityLevel,
    SessionRequest,
    Settled,
    Waiting,
    level_policy,
)
from ccos.errors import ReplayMismatchError
from ccos.runtime.plan_host import PlanHost, PlanLimits
from ccos.runtime.plan_run import as_settled
from ccos.runtime.records import Entry, EntryState, Execution


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a plan stands.

    Attributes:
        waiting: The calls that it waits for, with their lines; empty at its end.
        steps: Labels of the steps that it is in, the outermost first.
        printed: What it printed so far.
        ended: Whether it comes to its end without another answer.
    """

    waiting: tuple[HostCall, ...]
    steps: tuple[str, ...]
    printed: str
    ended: bool


async def standing(
    runnable: RunnablePlan,
    execution: Execution,
    entries: list[Entry],
    limits: PlanLimits,
    seed: str,
) -> Standing:
    """Replay a plan as far as its journal goes.

    Raises:
        ReplayMismatchError: if the journal is not that of the plan.
        ScriptError: if the plan fails before that.
    """
    recorded = {one.sequence: one for one in entries}
    steps: list[str] = []

    def clock(sequence: int) -> float:
        outcome = recorded[sequence].outcome if sequence in recorded else None
        if outcome is None:
            raise ReplayMismatchError(f"The journal of {execution.id} has no time {sequence}.")
        return float(outcome["value"])

    def notice(call: HostCall) -> None:
        event, label = call.arguments.get("event"), str(call.arguments.get("label"))
        if event == "step-started":
            steps.append(label)
        elif steps and event in ("step-completed", "step-failed"):
            steps.pop()

    host = PlanHost(limits, clock, notice=notice, functions=runnable.functions)
    request = SessionRequest(
        functions=runnable.functions,
        policy=level_policy(SecurityLevel.PRODUCTION),
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.seconds,
        host=host,
        seed=seed,
        caller=execution.principal,
    )
    waiting: dict[int, HostCall] = {}
    delivery = 0
    async with runnable.session(request) as session:
        stop = await session.start(Beginning(arguments=execution.arguments))
        while isinstance(stop, Waiting):
            waiting |= {call.sequence: call for call in stop.calls}
            settled = _delivered(recorded, waiting, delivery, runnable)
            if not settled:
                break
            for sequence in settled:
                del waiting[sequence]
            delivery += 1
            stop = await session.deliver(settled)
    in_order = tuple(waiting[sequence] for sequence in sorted(waiting))
    return Standing(in_order, tuple(steps), host.output, isinstance(stop, Finished))


def _delivered(
    recorded: dict[int, Entry], waiting: dict[int, Any], delivery: int, runnable: RunnablePlan
) -> dict[int, Settled]:
    """What was delivered next, of what is waited for."""
    return {
        sequence: as_settled(entry, runnable.functions)
        for sequence in waiting
        if (entry := recorded.get(sequence)) is not None
        and entry.state is EntryState.SETTLED
        and entry.delivery == delivery
    }
