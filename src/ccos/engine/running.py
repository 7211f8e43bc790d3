"""Running scripts: each with its limits, its broker and its worker, and stopped when asked."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.engine.broker import SOURCE, Broker, Emit, is_violation
from ccos.engine.budget import Budget, Dimension, ExtensionApprover, WhenExhausted
from ccos.engine.executions import (
    ChunkType,
    ExecutionContext,
    ExecutionResult,
    ExecutionStatus,
)
from ccos.engine.hosts import HttpRequests
from ccos.engine.languages import (
    UNMEASURED,
    Entry,
    Measured,
    Session,
    SessionRequest,
    Waiting,
)
from ccos.engine.ledger import Ledger
from ccos.engine.library import CompiledScript
from ccos.engine.limits import Effective
from ccos.engine.places import Visit
from ccos.engine.scripts import Run
from ccos.engine.terms import Terms
from ccos.errors import (
    BudgetExhaustedError,
    EngineBusyError,
    IsolationError,
    ScriptCancelledError,
    ScriptConflictError,
    ScriptError,
    ScriptTimeoutError,
)
from ccos.events import Event, EventBus, EventType

_TURN_SECONDS: Final = 0.002
"""How long executions may follow each other before others have the event loop."""


@dataclass(slots=True)
class _Running:
    """An execution on its way."""

    scope: asyncio.Timeout
    limits: Effective
    wall_seconds: float | None
    """The budget of time, where its end stops the execution."""
    begun: float | None = None
    counted: float = 0.0
    """Until when its time was counted."""
    cancelled: bool = False
    paused: int = 0
    measured: Measured = UNMEASURED
    left: float | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def deadline(self) -> float | None:
        """Seconds from its first step after which it is stopped."""
        timeout, wall_seconds = self.limits.timeout, self.wall_seconds
        if timeout is None or wall_seconds is None:
            return wall_seconds if timeout is None else timeout
        return min(timeout, wall_seconds)


class Executions:
    """The executions of an engine."""

    def __init__(
        self,
        ledger: Ledger,
        events: EventBus,
        requests: HttpRequests,
        approver: ExtensionApprover,
        *,
        output_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._requests = requests
        self._approver = approver
        self._output_bytes = output_bytes
        self._seed = secrets.token_hex(32)
        self._active: dict[str, _Running] = {}
        self._let_others_run_at = 0.0

    @property
    def active(self) -> int:
        """How many run or wait for their turn."""
        return len(self._active)

    async def run(
        self,
        made: CompiledScript,
        context: ExecutionContext,
        terms: Terms,
        limits: Effective,
        emit: Emit | None = None,
    ) -> ExecutionResult:
        """Run a script to its end, whatever that is, once there is a place for it.

        Raises:
            EngineBusyError: if it does not get a place in time.
            IsolationError: if this machine cannot isolate it.
            ScriptConflictError: if the id of the execution is taken.
        """
        identity = context.execution_id
        if identity in self._active:
            raise ScriptConflictError(
                f"An execution {identity} runs already.", next_step="Give it another id."
            )
        budget = context.budget or terms.budget
        visit = terms.visit(context.caller)
        waiting = None if visit.at_once else limits.waiting
        running = _Running(asyncio.timeout(waiting), limits, _wall_seconds(budget))
        self._active[identity] = running
        broker = Broker(
            made.script_id,
            context,
            terms.policy,
            budget,
            functions=terms.functions,
            requests=self._requests,
            ledger=self._ledger,
            events=self._events,
            approver=self._approver,
            output_bytes=self._output_bytes,
            emit=emit,
            pause=lambda on: _pause(running, on),
        )
        self._tell(EventType.SCRIPT_EXECUTION_REQUESTED, made, context)
        if emit is not None:
            emit(ChunkType.STATUS, ExecutionStatus.PENDING.value)
        try:
            value, error = await self._to_the_end(made, context, running, broker, visit, emit)
        except asyncio.CancelledError:
            self._result(made, context, running, broker, None, _cancelled())
            raise
        finally:
            del self._active[identity]
            running.over.set()
        result = self._result(made, context, running, broker, value, error)
        await self._let_others_run()
        return result

    async def cancel(self, execution_id: str) -> bool:
        """Stop an execution and wait until nothing of it is left; False if there is none."""
        running = self._active.get(execution_id)
        if running is None:
            return False
        running.cancelled = True
        with contextlib.suppress(RuntimeError):  # it has just come to its end by itself
            running.scope.reschedule(asyncio.get_running_loop().time())
        await running.over.wait()
        return True

    async def cancel_all(self) -> None:
        """Stop every execution."""
        await asyncio.gather(*(self.cancel(one) for one in list(self._active)))

    async def _to_the_end(
        self,
        made: CompiledScript,
        context: ExecutionContext,
        running: _Running,
        broker: Broker,
        visit: Visit,
        emit: Emit | None,
    ) -> tuple[Any, ScriptError | None]:
        """Its value, or why there is none."""
        try:
            async with running.scope, visit:
                request = self._request(context, running, broker)
                async with made.language.session(made.compiled, request) as session:
                    self._begin(made, context, running, emit)
                    try:
                        return await self._drive(session, context, running, broker), None
                    finally:
                        # The worker is waited for, which may wait for an answer of the broker.
                        await broker.close()
        except TimeoutError:
            if not running.scope.expired():
                raise
            return None, _stopped(running)
        except ScriptError as error:
            if isinstance(error, EngineBusyError | IsolationError) and running.begun is None:
                raise
            return None, error
        finally:
            if running.begun is not None:
                self._tell(EventType.SANDBOX_DESTROYED, made, context)

    async def _let_others_run(self) -> None:
        """Keep short scripts, which never wait for anything, from holding the event loop.

        They have given their places back by now, or others would begin to queue for these.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._let_others_run_at:
            self._let_others_run_at = now + _TURN_SECONDS
            await asyncio.sleep(0)

    def _request(
        self, context: ExecutionContext, running: _Running, broker: Broker
    ) -> SessionRequest:
        return SessionRequest(
            functions=broker.functions,
            policy=broker.policy,
            memory_bytes=running.limits.memory_bytes,
            cpu_seconds=running.limits.cpu_seconds,
            host=broker,
            seed=f"{self._seed}:{context.execution_id}",
            caller=context.caller,
        )

    def _begin(
        self, made: CompiledScript, context: ExecutionContext, running: _Running, emit: Emit | None
    ) -> None:
        """Let its time run."""
        self._tell(EventType.SANDBOX_CREATED, made, context)
        self._tell(EventType.SCRIPT_EXECUTION_STARTED, made, context)
        running.begun = running.counted = asyncio.get_running_loop().time()
        if emit is not None:
            emit(ChunkType.STATUS, ExecutionStatus.RUNNING.value)

    async def _drive(
        self, session: Session, context: ExecutionContext, running: _Running, broker: Broker
    ) -> Any:
        entry = Entry(context.function, context.arguments)
        if not broker.meter.limits(Dimension.STEPS):  # a person may have to be asked for a step
            finished = session.at_once(entry)
            if finished is not None:
                running.measured = session.measured
                await broker.charge(Dimension.WALL_CLOCK_MS, _elapsed_ms(running))
                return finished.value
        _limit_time(running)
        timers = _warnings(running, broker)
        try:
            stop = await session.start(entry)
            while isinstance(stop, Waiting):
                broker.begin(stop.calls)
                settled = await broker.next_settled()
                await broker.charge(Dimension.WALL_CLOCK_MS, _elapsed_ms(running))
                stop = await session.deliver(settled)
            await broker.charge(Dimension.WALL_CLOCK_MS, _elapsed_ms(running))
            return stop.value
        finally:
            running.measured = session.measured
            for timer in timers:
                timer.cancel()

    def _result(
        self,
        made: CompiledScript,
        context: ExecutionContext,
        running: _Running,
        broker: Broker,
        value: Any,
        error: ScriptError | None,
    ) -> ExecutionResult:
        loop_time = asyncio.get_running_loop().time()
        result = ExecutionResult(
            execution_id=context.execution_id,
            script_id=made.script_id,
            status=_status(error),
            value=value,
            error=error,
            stdout=broker.stdout,
            stderr=broker.stderr,
            seconds=0.0 if running.begun is None else loop_time - running.begun,
            statistics=broker.statistics(running.measured),
            ended_at=time.time(),
        )
        if error is not None and is_violation(error):
            broker.note_violation(error.code, error.message, "stopped")
        events = [_executed(made, context, result)]
        if result.status is ExecutionStatus.CANCELLED:
            events.append(_event(EventType.EXECUTION_CANCELLED, made, context))
        run = Run(made.script_id, result.success, result.seconds, result.ended_at)
        self._ledger.add(events, run)
        return result

    def _tell(self, kind: EventType, made: CompiledScript, context: ExecutionContext) -> None:
        if self._events.wants(kind):
            self._events.publish(_event(kind, made, context))


def _event(kind: EventType, made: CompiledScript, context: ExecutionContext, **data: Any) -> Event:
    return Event(
        kind,
        execution_id=context.execution_id,
        actor=context.caller,
        data={"script_id": made.script_id, "level": made.policy.level.value, **data},
        source=SOURCE,
    )


def _executed(made: CompiledScript, context: ExecutionContext, result: ExecutionResult) -> Event:
    """The audit entry of an execution. Whole numbers are quicker to write canonically."""
    data: dict[str, Any] = {
        "status": result.status.value,
        "success": result.success,
        "duration_us": round(result.seconds * 1_000_000),
    }
    if context.function is not None:
        data["function"] = context.function
    if result.statistics.host_calls:
        data["resource_usage"] = result.statistics.as_dict()
    if result.error is not None:
        data["error"] = result.error.as_dict()
    return _event(EventType.SCRIPT_EXECUTED, made, context, **data)


def _status(error: ScriptError | None) -> ExecutionStatus:
    match error:
        case None:
            return ExecutionStatus.COMPLETED
        case ScriptCancelledError():
            return ExecutionStatus.CANCELLED
        case ScriptTimeoutError():
            return ExecutionStatus.TIMEOUT
    return ExecutionStatus.FAILED


def _cancelled() -> ScriptError:
    return ScriptCancelledError("The execution was cancelled.")


def _stopped(running: _Running) -> ScriptError:
    """Why an execution was stopped from outside."""
    if running.cancelled:
        return _cancelled()
    if running.begun is None:
        raise EngineBusyError(
            f"The execution did not get its turn within {running.limits.waiting:g} seconds.",
            details={"waited_seconds": running.limits.waiting},
        )
    if running.deadline != running.limits.timeout:
        return BudgetExhaustedError(
            f"The budget for {Dimension.WALL_CLOCK_MS.value} is used up.",
            details={"limit": "budget.wall_clock_ms", "dimension": "wall_clock_ms"},
        )
    return ScriptTimeoutError(
        f"The script did not end within {running.limits.timeout:g} seconds.",
        details={"timeout_seconds": running.limits.timeout},
    )


def _wall_seconds(budget: Budget) -> float | None:
    allowance = budget.allowances.get(Dimension.WALL_CLOCK_MS)
    if allowance is None or allowance.when_exhausted is not WhenExhausted.HARD_STOP:
        return None
    return allowance.limit / 1000


def _limit_time(running: _Running) -> None:
    """Have it stopped at its deadline, unless it is to be stopped at once."""
    assert running.begun is not None
    if not running.cancelled:
        deadline = running.deadline
        running.scope.reschedule(None if deadline is None else running.begun + deadline)


def _elapsed_ms(running: _Running) -> float:
    """Time since it was asked last; while a person is waited for, none passes."""
    now = asyncio.get_running_loop().time()
    elapsed, running.counted = now - running.counted, now
    return elapsed * 1000


def _pause(running: _Running, on: bool) -> None:
    """Stop, and start again, the clock of an execution that waits for a person."""
    now = asyncio.get_running_loop().time()
    running.paused += 1 if on else -1
    if running.cancelled:
        return
    if on and running.paused == 1:
        when = running.scope.when()
        running.left = None if when is None else when - now
        running.scope.reschedule(None)
    elif not on and running.paused == 0:
        running.counted = now
        if running.left is not None:
            running.scope.reschedule(now + running.left)


def _warnings(running: _Running, broker: Broker) -> list[asyncio.TimerHandle]:
    """Count time while the script computes, so that warnings do not wait for its next stop."""
    if running.wall_seconds is None:
        return []

    def count() -> None:
        if not running.paused:
            broker.meter.add(Dimension.WALL_CLOCK_MS, _elapsed_ms(running))

    later = asyncio.get_running_loop().call_later
    return [later(share * running.wall_seconds, count) for share in (0.501, 0.801)]
