"""The broker: answers every host call of one execution, whatever its language.

It decides whether a call may be made, counts it against the budget, puts it on the audit trail
(before it is made, where it acts on the world), tells whoever listens, and only then lets the
host function do its work.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ccos.engine.budget import (
    Budget,
    BudgetMeter,
    Dimension,
    ExtensionApprover,
    Use,
    WhenExhausted,
    exhausted,
)
from ccos.engine.executions import ChunkType, ExecutionContext, ExecutionStatistics
from ccos.engine.hosts import Effect, HostFunction, HostFunctionError, HttpRequests
from ccos.engine.languages import UNMEASURED, HostCall, Measured, Raised, Settled, Value
from ccos.engine.ledger import Ledger
from ccos.engine.policy import SecurityPolicy
from ccos.errors import (
    ResourceExceededError,
    ScriptCancelledError,
    ScriptError,
    SecurityViolationError,
)
from ccos.events import NOTICES, Event, EventBus, EventType

SLEEP: Final = "ccos.sleep"
SOURCE: Final = "script_engine"
_VIOLATIONS_KEPT: Final = 100

Emit = Callable[[ChunkType, Any], None]


class Broker:
    """The host of one execution, and what its host functions work with.

    Args:
        script_id: The script.
        context: How it is run.
        policy: What it may use.
        budget: What it may use up.
        functions: The host functions that exist for it, by full name.
        requests: The way out.
        ledger: Takes audit entries.
        events: Hears of everything.
        approver: Asks a person for more budget.
        output_bytes: Most that it may print and log.
        emit: Takes what a stream shows; called from any thread.
        pause: Called with True when the execution begins to wait for a person, False after.
    """

    def __init__(
        self,
        script_id: str,
        context: ExecutionContext,
        policy: SecurityPolicy,
        budget: Budget,
        *,
        functions: Mapping[str, HostFunction],
        requests: HttpRequests,
        ledger: Ledger,
        events: EventBus,
        approver: ExtensionApprover,
        output_bytes: int,
        emit: Emit | None,
        pause: Callable[[bool], None],
    ) -> None:
        self.policy = policy
        self.requests = requests
        self.environment: Mapping[str, str] = context.environment
        self.working_directory: Path | None = context.working_directory
        self.meter = BudgetMeter(budget, self._budget_used)
        self._script_id = script_id
        self._context = context
        self.functions = functions
        self._ledger = ledger
        self._events = events
        self._approver = approver
        self._room = output_bytes
        self._output_bytes = output_bytes
        self._emit = emit
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._output: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._reached_outside = 0
        self._violations = 0
        self._tells_calls = events.wants(EventType.HOST_CALL)
        self._running: dict[asyncio.Task[Settled], int] = {}
        self._asking: concurrent.futures.Future[None] | None = None
        self._closed = False

    # What the session asks.

    def answer(self, call: HostCall) -> Settled | None:
        """Answer a pure host function at once; the others have to be awaited."""
        if call.target == SLEEP:
            return None
        function = self.functions.get(call.target)
        if function is None:
            return Raised(
                f"{call.target} is not a host function. Capabilities are called by plans: "
                "see `ccos run`.",
                code=SecurityViolationError.code,
            )
        self._charge_from_thread(Dimension.HOST_CALLS, 1)
        self._counts[call.target] = self._counts.get(call.target, 0) + 1
        if function.effect is not Effect.PURE:
            return None
        if self._tells_calls:
            self._events.publish(self._call_event(call, function.effect))
        try:
            return Value(function.handler(self, **call.arguments))
        except HostFunctionError as error:
            return Raised(str(error))

    def clock(self, _sequence: int) -> float:
        """The time of this machine."""
        return time.time()

    def printed(self, stream: str, text: str) -> None:
        """Keep what was printed, and show it to whoever follows."""
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if size > self._room:
            fitting = text.encode("utf-8", "replace")[: self._room].decode("utf-8", "ignore")
            self._room = 0
            self._keep(stream, fitting)
            raise ResourceExceededError(
                f"The script printed more than {self._output_bytes} bytes.",
                details={"limit": "output", "allowed": self._output_bytes},
            )
        self._room -= size
        self._keep(stream, text)

    def forbidden(self, what: str) -> None:
        """Put an attempt that the interpreter refused on the audit trail."""
        self._loop.call_soon_threadsafe(self.note_violation, "interpreter", what, "refused")

    def notice(self, call: HostCall) -> None:
        """Tell whoever listens that a step of the script began or ended; log what it logs."""
        told = call.arguments
        self._charge_from_thread(Dimension.HOST_CALLS, 1)
        if told.get("event") == "log":
            self.log(str(told["level"]), str(told["message"]))
        kind = NOTICES.get(str(told.get("event")))
        if kind is not None and self._events.wants(kind):
            self._events.publish(self._event(kind, told))

    def step(self) -> None:
        """Count a stretch of computing."""
        self._charge_from_thread(Dimension.STEPS, 1)

    # What host functions ask.

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def log(self, level: str, message: str) -> None:
        """Add a line to what the script says on its error stream."""
        self.printed("stderr", f"{level.upper()} {message}\n")

    def progress(self, fraction: float, message: str) -> None:
        """Show how far the script is to whoever follows."""
        if self._emit is not None:
            self._emit(ChunkType.PROGRESS, {"fraction": fraction, "message": message})

    async def charge(self, dimension: Dimension, amount: float) -> None:
        """Count a use, after asking a person where the budget says so."""
        while (use := self.meter.excess(dimension, amount)) is not None:
            await self._deal_with(use)
        self.meter.add(dimension, amount)

    # What the engine asks.

    def begin(self, calls: tuple[HostCall, ...]) -> None:
        """Set calls in motion that the script waits for."""
        for call in calls:
            self._running[asyncio.create_task(self._perform(call))] = call.sequence

    async def next_settled(self) -> dict[int, Settled]:
        """The answers that are there, after waiting for the first.

        Raises:
            ScriptError: if one of the calls ends the script.
        """
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        return {self._running.pop(task): task.result() for task in done}

    async def close(self) -> None:
        """Let no host call, and no question to a person, outlive the execution."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
            self._running.clear()

    @property
    def stdout(self) -> str:
        """What was printed."""
        return "".join(self._output.get("stdout", ()))

    @property
    def stderr(self) -> str:
        """What was logged."""
        return "".join(self._output.get("stderr", ()))

    def statistics(self, measured: Measured = UNMEASURED) -> ExecutionStatistics:
        """What was counted so far, with what the worker measured."""
        used = self.meter.used
        return ExecutionStatistics(
            steps=int(used.get(Dimension.STEPS, 0)),
            host_calls=dict(self._counts),
            system_calls=self._reached_outside,
            network_bytes=int(used.get(Dimension.NETWORK_BYTES, 0)),
            storage_bytes=int(used.get(Dimension.STORAGE_BYTES, 0)),
            measured=measured,
        )

    def note_violation(self, kind: str, details: str, action: str) -> None:
        """Put a violation on the audit trail; of a flood only the beginning. On the loop."""
        self._violations += 1
        if self._violations <= _VIOLATIONS_KEPT:
            data = {"violation_type": kind, "details": details[:500], "action_taken": action}
            self._ledger.add([self._event(EventType.SECURITY_VIOLATION, data)])

    async def _perform(self, call: HostCall) -> Settled:
        if call.target == SLEEP:
            seconds = float(call.arguments["seconds"])
            await asyncio.sleep(seconds if seconds > 0 else 0)
            return Value(None)
        function = self.functions[call.target]
        effect = function.effect_of(call.arguments)
        event = self._call_event(call, effect)
        self._reached_outside += 1
        if effect is Effect.ACT:
            await self._ledger.write(event)
        else:
            self._ledger.add([event])
        try:
            return Value(await function.handler(self, **call.arguments))
        except HostFunctionError as error:
            return Raised(str(error))

    def _charge_from_thread(self, dimension: Dimension, amount: float) -> None:
        while (use := self.meter.excess(dimension, amount)) is not None:
            self._deal_with_from_thread(use)
        self.meter.add(dimension, amount)

    def _deal_with_from_thread(self, use: Use) -> None:
        asking = asyncio.run_coroutine_threadsafe(self._deal_with(use), self._loop)
        self._asking = asking
        if self._closed:  # it was closed before it could know what to cancel
            asking.cancel()
        try:
            asking.result()
        except concurrent.futures.CancelledError:
            raise ScriptCancelledError("The execution was cancelled.") from None

    async def _deal_with(self, use: Use) -> None:
        """Get an extension for what is not covered, or end the script."""
        if use.action is WhenExhausted.APPROVAL:
            self._pause(True)
            try:
                more = await self._approver.extend(
                    self._context.execution_id, self._script_id, use, self._context.caller
                )
            finally:
                self._pause(False)
            if more > 0:
                self.meter.extend(use.dimension, more)
                data = use.as_dict() | {"by": more}
                self._ledger.add([self._event(EventType.BUDGET_EXTENDED, data)])
                return
        self._ledger.add([self._event(EventType.BUDGET_EXHAUSTED, use.as_dict())])
        raise exhausted(use)

    def _budget_used(self, use: Use) -> None:
        kind = EventType.BUDGET_WARNING if use.share < 1 else EventType.BUDGET_EXHAUSTED
        event = self._event(kind, use.as_dict())
        self._loop.call_soon_threadsafe(self._ledger.add, [event])

    def _keep(self, stream: str, text: str) -> None:
        self._output.setdefault(stream, []).append(text)
        if self._emit is not None:
            self._emit(ChunkType(stream), text)

    def _call_event(self, call: HostCall, effect: Effect) -> Event:
        data = {
            "function": call.target,
            "effect": effect.value,
            "arguments": call.arguments,
            "line": call.line,
        }
        return self._event(EventType.HOST_CALL, data)

    def _event(self, kind: EventType, data: dict[str, Any]) -> Event:
        return Event(
            kind,
            execution_id=self._context.execution_id,
            actor=self._context.caller,
            data={"script_id": self._script_id, **data},
            source=SOURCE,
        )


def is_violation(error: ScriptError) -> bool:
    """Whether an execution ended since it asked for what it may not have."""
    return isinstance(error, SecurityViolationError | ResourceExceededError)
