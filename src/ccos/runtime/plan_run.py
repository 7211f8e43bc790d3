"""Carrying out a plan: between two stops it computes, at each stop its calls are taken up.

Everything the plan can observe is in its journal: what it called, what came back, and in which
delivery. So a plan whose snapshot cannot be loaded, or whose process died, is run again from its
beginning with the same deliveries, and arrives at the same place without any call made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Final

from ccos.capabilities import canonical_id
from ccos.engine import (
    SLEEP,
    Finished,
    HostCall,
    PlanSession,
    Raised,
    RunnablePlan,
    SecurityLevel,
    SessionRequest,
    Settled,
    Stop,
    UnusableSnapshotError,
    Value,
    Waiting,
    level_policy,
)
from ccos.engine import (
    Entry as Beginning,
)
from ccos.engine.asked import Asked
from ccos.engine.hosts import Effect, HostFunction, HostFunctionError
from ccos.errors import (
    CapabilityFailedError,
    CcosError,
    CompilationError,
    InvalidArgumentsError,
    InvalidIdentifierError,
    LimitExceededError,
    PlanError,
    ReplayMismatchError,
    ResourceExceededError,
    ScriptError,
    ScriptRaisedError,
)
from ccos.events import NOTICES, EventType
from ccos.marketplace import Registered
from ccos.rtfs import from_json_schema, shape_of
from ccos.runtime.call_run import finish
from ccos.runtime.calls import (
    Missing,
    Ready,
    Refused,
    Surroundings,
    announce,
    judge,
    leave_unknown,
    new_entry,
    park,
    send,
)
from ccos.runtime.dispatch import Answer
from ccos.runtime.hints import NO_HINTS, Hints, Metrics, read_hints
from ccos.runtime.outcomes import Outcome, Parked
from ccos.runtime.plan_host import PlanHost, PlanLimits
from ccos.runtime.records import Entry, EntryState
from ccos.runtime.stored import NEVER_ANSWERED
from ccos.runtime.writer import ExecutionWriter

_LONGEST_SLEEP_SECONDS: Final = 3600.0
_CLOCK: Final = "ccos.clock"


class PlanRun:
    """One plan from its first line, or from where it was parked, to an outcome."""

    def __init__(
        self,
        around: Surroundings,
        runnable: RunnablePlan,
        writer: ExecutionWriter,
        limits: PlanLimits,
    ) -> None:
        self._around = around
        self._runnable = runnable
        self._plan = runnable.plan
        self._functions = runnable.functions
        self._writer = writer
        self._limits = limits
        self._host = PlanHost(limits, self._clock)
        self._delivery = 0
        self._unseen: set[int] = set()
        """Journaled calls that a replay has not come to yet."""
        self._open: dict[int, Entry] = {}
        self._missing: dict[int, Entry] = {}
        self._unknown: dict[int, str] = {}
        self._answered: dict[int, Answer] = {}
        self._running: dict[asyncio.Future[Answer], int] = {}
        self._hints: dict[int, tuple[Hints, float]] = {}
        """Hints of open calls, and when each was taken up."""

    async def run(self, snapshot: bytes | None = None) -> Outcome:
        """Run to an outcome.

        Args:
            snapshot: Where the plan was parked; None, or one that cannot be loaded, replays it.
        """
        try:
            if snapshot is not None:
                with contextlib.suppress(UnusableSnapshotError):
                    return await self._resume(snapshot)
                await self._stop_calls()
            self._unseen = set(self._writer.recorded)
            execution = self._writer.execution
            beginning = Beginning(execution.function, execution.arguments)
            async with self._session(made=0) as session:
                return await self._drive(session, await session.start(beginning))
        except ReplayMismatchError as error:
            return await finish(self._writer, None, error)
        except ScriptError as error:
            return await finish(self._writer, None, _as_plan_error(error))
        finally:
            await self._stop_calls()

    async def _resume(self, snapshot: bytes) -> Outcome:
        recorded = self._writer.recorded.values()
        delivered = (one.delivery for one in recorded if one.delivery is not None)
        async with self._session(made=len(recorded)) as session:
            stop = session.restore(snapshot, self._around.seal)
            self._delivery = 1 + max(delivered, default=-1)
            return await self._drive(session, stop)

    def _session(self, *, made: int) -> contextlib.AbstractAsyncContextManager[PlanSession]:
        execution = self._writer.execution
        self._host = PlanHost(
            self._limits,
            self._clock,
            notice=self._notice,
            functions=self._functions,
            requests=self._around.requests,
            made=made,
        )
        request = SessionRequest(
            functions=self._functions,
            policy=level_policy(SecurityLevel.PRODUCTION),
            memory_bytes=self._limits.memory_bytes,
            cpu_seconds=self._limits.seconds,
            host=self._host,
            seed=self._around.seed(execution.id),
            caller=execution.principal,
        )
        return self._runnable.session(request)

    async def _drive(self, session: PlanSession, stop: Stop) -> Outcome:
        while isinstance(stop, Waiting):
            await self._take_up(stop)
            settled = self._recorded() or await self._next_settled()
            while not settled:
                if self._unknown:
                    return await leave_unknown(self._around, self._writer, self._unknown)
                entries = list(self._missing.values())
                blob = session.dump(self._around.seal, printed=self._host.output)
                if await park(self._around, self._writer, entries, snapshot=blob):
                    missing = sorted({entry.target for entry in entries})
                    return Parked(self._writer.execution.id, tuple(missing))
                self._missing.clear()
                await self._begin(entries)
                settled = await self._next_settled()
            for sequence in settled:
                del self._open[sequence]
            self._delivery += 1
            stop = await session.deliver(settled)
        assert isinstance(stop, Finished)
        if self._unseen:
            raise ReplayMismatchError(
                f"{self._plan.name} came to its end before call {min(self._unseen)}, which it had "
                "made when it was journaled.",
                details={"sequence": min(self._unseen)},
            )
        return await finish(self._writer, stop.value, None, printed=self._host.output)

    async def _take_up(self, stop: Waiting) -> None:
        """Enter the new calls into the journal and set in motion what is not settled yet."""
        fresh = [self._entry(call) for call in stop.calls]
        restored = [
            self._writer.recorded[sequence]
            for sequence in sorted(stop.pending - set(self._open))
            if sequence not in {call.sequence for call in stop.calls}
        ]
        entries = [*fresh, *restored]
        self._open |= {entry.sequence: entry for entry in entries}
        await self._begin([one for one in entries if one.state is not EntryState.SETTLED])

    def _entry(self, call: HostCall) -> Entry:
        recorded = self._writer.recorded.get(call.sequence)
        if recorded is None:
            return new_entry(self._writer.execution, call.sequence, call.target, call.arguments)
        self._check_replay(recorded, call.target, call.arguments)
        self._unseen.discard(call.sequence)
        return recorded

    def _check_replay(self, recorded: Entry, target: str, arguments: dict[str, Any]) -> None:
        if recorded.target != target or recorded.arguments != arguments:
            raise ReplayMismatchError(
                f"Call {recorded.sequence} of {self._plan.name} was {recorded.target} when it "
                f"was journaled and is {target} now, or its arguments differ.",
                details={"sequence": recorded.sequence},
            )

    async def _begin(self, entries: list[Entry]) -> None:
        """Judge calls and send those that may go; write ahead of those that act."""
        ready: list[tuple[Entry, Callable[[], Awaitable[Answer]]]] = []
        for entry in entries:
            if entry.state is EntryState.UNKNOWN or (
                entry.state is EntryState.DISPATCHED and not entry.repeatable
            ):
                self._unknown[entry.sequence] = NEVER_ANSWERED
            elif entry.target == SLEEP:
                self._start_sleep(entry)
            elif (function := self._functions.get(entry.target)) is not None:
                announced = self._announce(entry, function)
                ready.append((announced, partial(self._perform, announced, function)))
            else:
                verdict = await self._judge(entry)
                match verdict:
                    case Ready(registered, arguments):
                        announced = announce(self._writer, entry, registered, arguments)
                        hints = self._hints_of(entry)
                        work = partial(self._send, announced, registered, arguments, hints)
                        ready.append((announced, work))
                    case Missing():
                        self._missing[entry.sequence] = entry
                    case Refused(error):
                        await self._came(entry, Answer(error=error))
        if any(not entry.repeatable for entry, _ in ready):
            await self._writer.write("dispatch")
        for entry, begin in ready:
            self._open[entry.sequence] = entry
            self._running[asyncio.ensure_future(begin())] = entry.sequence

    async def _judge(self, entry: Entry) -> Ready | Refused | Missing:
        if not self._runnable.packs_calls:
            return await judge(self._around, self._writer, entry.target, entry.arguments)
        asked = Asked.opened(entry.arguments)
        try:
            hints = read_hints(asked.hints, self._around.hinted.limits, capability_id=entry.target)
        except InvalidArgumentsError as error:
            return Refused(error)
        self._hints.setdefault(entry.sequence, (hints, self._around.hinted.clock()))
        return await judge(self._around, self._writer, entry.target, {}, asked)

    def _hints_of(self, entry: Entry) -> Hints:
        return self._hints.get(entry.sequence, (NO_HINTS, 0.0))[0]

    async def _send(
        self, entry: Entry, registered: Registered, arguments: dict[str, Any], hints: Hints
    ) -> Answer:
        """Make a call as its hints say."""
        attempt = partial(
            send,
            self._around,
            self._writer,
            entry,
            registered,
            arguments,
            key=hints.key,
            seconds=hints.timeout_seconds,
        )
        if hints is NO_HINTS:
            answer = await attempt()
        else:
            answer = await self._around.hinted.perform(hints, registered, arguments, attempt)
        if not self._runnable.packs_calls or answer.error is not None:
            return answer
        return replace(answer, shape=_shape(registered))

    async def _came(self, entry: Entry, answer: Answer) -> None:
        """Take up what a call came to: it is the answer, unless there is something to fall to."""
        hints, begun = self._hints.get(entry.sequence, (NO_HINTS, 0.0))
        if answer.error is not None and hints.fallback is not None:
            self._hints[entry.sequence] = (replace(hints, fallback=None), begun)
            if await self._fall_back(entry, hints.fallback, answer.error):
                return
        if hints.metrics is not None:
            self._measure(entry, hints.metrics, answer, begun)
        self._hints.pop(entry.sequence, None)
        if answer.unknown is None:
            self._answered[entry.sequence] = answer
        else:
            self._unknown[entry.sequence] = answer.unknown

    async def _fall_back(self, entry: Entry, capability_id: str, error: CcosError) -> bool:
        """Call something else in place of what failed; False if that cannot be called."""
        try:
            target = canonical_id(capability_id)
        except InvalidIdentifierError:
            return False
        asked = replace(Asked.opened(entry.arguments), version=None)
        verdict = await judge(self._around, self._writer, target, {}, asked)
        if not isinstance(verdict, Ready):
            return False
        self._writer.note(
            EventType.CAPABILITY_FALLBACK,
            capability_id=entry.target,
            data={"sequence": entry.sequence, "to": target, "error": error.as_dict()},
        )
        registered, arguments = verdict.registered, verdict.arguments
        was_repeatable = entry.repeatable or entry.state is not EntryState.DISPATCHED
        kept = announce(self._writer, entry, registered, arguments)
        # After a crash both would be called again, so both have to bear it.
        kept = self._writer.keep(replace(kept, repeatable=kept.repeatable and was_repeatable))
        self._open[entry.sequence] = kept
        if not kept.repeatable:
            await self._writer.write("dispatch")
        work = self._send(kept, registered, arguments, Hints())
        self._running[asyncio.ensure_future(work)] = entry.sequence
        return True

    def _measure(self, entry: Entry, metrics: Metrics, answer: Answer, begun: float) -> None:
        seconds = self._around.hinted.clock() - begun
        ok = answer.error is None and answer.unknown is None
        self._around.hinted.measured(metrics, seconds, ok=ok)
        if metrics.emit_to_chain:
            self._writer.note(
                EventType.CALL_MEASURED,
                capability_id=entry.target,
                data={
                    "sequence": entry.sequence,
                    "label": metrics.label,
                    "duration_us": round(seconds * 1_000_000),
                    "ok": ok,
                },
            )

    def _announce(self, entry: Entry, function: HostFunction) -> Entry:
        """Keep that a host function is about to be called."""
        effect = function.effect_of(entry.arguments)
        self._writer.note(
            EventType.HOST_CALL,
            data={
                "sequence": entry.sequence,
                "function": entry.target,
                "effect": effect.value,
                "arguments": entry.arguments,
            },
        )
        repeatable = effect is not Effect.ACT
        kept = replace(entry, state=EntryState.DISPATCHED, repeatable=repeatable)
        return self._writer.keep(kept)

    async def _perform(self, entry: Entry, function: HostFunction) -> Answer:
        async with self._around.slots:
            if not entry.repeatable:
                await self._writer.confirm()
            try:
                return Answer(value=await function.handler(self._host, **entry.arguments))
            except HostFunctionError as error:
                return Answer(error=CapabilityFailedError(str(error)))

    def _start_sleep(self, entry: Entry) -> None:
        """Wait until a moment that is counted from when the plan first asked."""
        kept = self._writer.keep(replace(entry, state=EntryState.DISPATCHED, repeatable=True))
        self._open[entry.sequence] = kept
        wanted = min(float(entry.arguments["seconds"]), _LONGEST_SLEEP_SECONDS)
        rest = max(0.0, entry.created_at + wanted - time.time())
        task = asyncio.create_task(_slept(rest))
        self._running[task] = entry.sequence

    def _recorded(self) -> dict[int, Settled]:
        """What the journal says was delivered at this point."""
        found = {
            sequence: as_settled(entry, self._functions)
            for sequence, entry in self._open.items()
            if entry.state is EntryState.SETTLED and entry.delivery == self._delivery
        }
        if not found and any(one.state is EntryState.SETTLED for one in self._open.values()):
            raise ReplayMismatchError(
                f"The journal of {self._writer.execution.id} has no delivery {self._delivery}."
            )
        return found

    async def _next_settled(self) -> dict[int, Settled]:
        """Wait for the next answers and journal them; empty when nothing is on its way."""
        while self._running and not self._answered:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                sequence = self._running.pop(task)
                await self._came(self._open[sequence], task.result())
        entries = [
            self._writer.settle(self._open[sequence], answer, delivery=self._delivery)
            for sequence, answer in sorted(self._answered.items())
        ]
        self._answered.clear()
        if any(entry.state is EntryState.SETTLED and not entry.repeatable for entry in entries):
            await self._writer.write("result")
        return {entry.sequence: as_settled(entry, self._functions) for entry in entries}

    def _clock(self, sequence: int) -> float:
        recorded = self._writer.recorded.get(sequence)
        if recorded is not None:
            self._check_replay(recorded, _CLOCK, {})
            self._unseen.discard(sequence)
            assert recorded.outcome is not None
            return float(recorded.outcome["value"])
        return float(self._keep_told(sequence, _CLOCK, {}, time.time()))

    def _notice(self, call: HostCall) -> None:
        """Journal what the plan tells of itself, so that a replay does not tell it again."""
        recorded = self._writer.recorded.get(call.sequence)
        if recorded is not None:
            self._check_replay(recorded, call.target, call.arguments)
            self._unseen.discard(call.sequence)
            return
        self._keep_told(call.sequence, call.target, call.arguments, None)
        kind = NOTICES.get(str(call.arguments.get("event")))
        if kind is not None:
            self._writer.note(kind, data={"sequence": call.sequence, **call.arguments})

    def _keep_told(self, sequence: int, target: str, arguments: dict[str, Any], value: Any) -> Any:
        """Journal what was settled as soon as it was asked or told."""
        entry = new_entry(self._writer.execution, sequence, target, arguments)
        self._writer.keep(
            replace(
                entry,
                state=EntryState.SETTLED,
                repeatable=True,
                outcome={"value": value},
                settled_at=entry.created_at,
            )
        )
        return value

    async def _stop_calls(self) -> None:
        """Let no call outlive its plan, and be ready to begin anew."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._delivery = 0
        for started in (
            self._running,
            self._open,
            self._missing,
            self._unknown,
            self._answered,
            self._unseen,
            self._hints,
        ):
            started.clear()


def as_settled(entry: Entry, functions: Mapping[str, HostFunction]) -> Settled:
    """A settled entry of a journal as the plan takes it."""
    outcome = entry.outcome
    assert outcome is not None
    if "error" not in outcome:
        return Value(outcome["value"], outcome.get("shape"))
    error = outcome["error"]
    if entry.target in functions:
        return Raised(error["message"])
    return Raised(
        f"{error['code']}: {error['message']}",
        code=error["code"],
        reason=error["message"],
        details={**error["details"], "id": entry.target},
    )


@lru_cache(maxsize=1000)
def _shape_of(schema: str) -> Any:
    return shape_of(from_json_schema(json.loads(schema)).type)


def _shape(registered: Registered) -> Any:
    """What the output schema of a capability says of its answers beyond JSON."""
    schema = registered.manifest.output_schema
    return None if schema is None else _shape_of(json.dumps(schema))


def _as_plan_error(error: ScriptError) -> CcosError:
    """What the engine says of a script, as it is said of a plan."""
    match error:
        case ResourceExceededError():
            return LimitExceededError(
                error.message, next_step=error.next_step, details=error.details
            )
        case CompilationError() | ScriptRaisedError():
            step = None if error.next_step == error.default_next_step else error.next_step
            return PlanError(error.message, next_step=step, details=error.details)
    return error


async def _slept(seconds: float) -> Answer:
    await asyncio.sleep(seconds)
    return Answer()
