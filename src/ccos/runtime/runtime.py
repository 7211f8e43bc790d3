"""The runtime: executions begin here, wait here, and come to their outcome here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from ccos.capabilities import canonical_id
from ccos.engine import PlanLanguages
from ccos.engine.values import json_data
from ccos.errors import (
    ExecutionStateError,
    InvalidArgumentsError,
    PlanError,
    ScriptError,
    SecurityViolationError,
)
from ccos.events import Event, EventType
from ccos.runtime.call_run import CallRun, finish
from ccos.runtime.calls import Surroundings
from ccos.runtime.dispatch import Answer
from ccos.runtime.hinted import CallMetrics
from ccos.runtime.inspection import Standing, standing
from ccos.runtime.outcomes import Outcome, Parked
from ccos.runtime.plan_host import PlanLimits
from ccos.runtime.plan_run import PlanRun
from ccos.runtime.records import (
    Entry,
    EntryState,
    Execution,
    ExecutionKind,
    ExecutionState,
    change_execution,
    claim_execution,
    end_waits,
    hold_execution,
    list_executions,
    load_execution,
    load_journal,
    load_parked,
    load_waits,
    new_execution_id,
    running,
    waiting_for,
    write_entries,
)
from ccos.runtime.stored import stored_outcome
from ccos.runtime.workers import Workers
from ccos.storage import Transaction

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_RESUMES_AT_ONCE: Final = 32
_RESUME_BATCH: Final = 500
_OUTCOME_POLL_SECONDS: Final = 0.2


class Runtime:
    """Runs calls and plans, parks them where a capability is missing, and resumes them.

    Use it as an async context manager.
    """

    def __init__(
        self,
        around: Surroundings,
        workers: Workers,
        *,
        languages: PlanLanguages,
        limits: PlanLimits,
        plan_source_bytes: int,
    ) -> None:
        self._around = around
        self._workers = workers
        self._limits = limits
        self._plan_source_bytes = plan_source_bytes
        self._languages = languages
        self._active: Counter[str] = Counter()
        self._beating: asyncio.Task[None] | None = None
        self._background: dict[str, asyncio.Task[list[Outcome]]] = {}

    @property
    def worker_id(self) -> str:
        """The worker that this process is known as."""
        return self._around.worker_id

    async def __aenter__(self) -> Runtime:
        await self._workers.enter()
        self._beating = asyncio.create_task(self._workers.keep_beating(), name="ccos-heartbeat")
        return self

    async def __aexit__(self, *_: object) -> None:
        ending = [*self._background.values(), *([self._beating] if self._beating else [])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._around.dispatcher.aclose()
        await self._workers.leave()

    async def call(
        self,
        capability_id: str,
        arguments: dict[str, Any] | None = None,
        *,
        principal: str = "agent",
    ) -> Outcome:
        """Call a capability.

        If it is registered, it runs under the policy. If it is missing, the call is parked, and
        its outcome can be asked for later under the ticket of :class:`Parked`.

        Args:
            capability_id: Its id or an alias of it.
            arguments: By name, JSON data.
            principal: Who calls, for the audit trail.

        Returns:
            The outcome; a failure is an outcome too.

        Raises:
            InvalidIdentifierError: if the id can name nothing.
            InvalidArgumentsError: if the arguments are not JSON data.
            StorageError: if the database fails; see ``executions`` for what is stored.
        """
        target = canonical_id(capability_id)
        data = _checked_arguments(arguments)
        execution = self._new(ExecutionKind.CALL, target, target, data, principal)
        writer = self._around.writer(execution, stored=False)
        return await self._carry_out(execution.id, CallRun(self._around, writer).run)

    async def run(
        self,
        source: str,
        *,
        name: str = "plan",
        function: str | None = None,
        arguments: dict[str, Any] | None = None,
        principal: str = "agent",
    ) -> Outcome:
        """Run a plan.

        Args:
            source: Its text; the result is its last expression, or in Rune what ``main`` returns,
                or ``call`` of a tool.
            name: What people call it, such as its file name; its ending tells the language.
            function: A function of it that gives the result in place of what the text gives by
                itself; the text is run first where it has something to run.
            arguments: By name, JSON data, for the function. Without one they are there as
                variables, and in Rune as the arguments of ``main``, or as the one argument of
                ``call``.
            principal: Who runs it, for the audit trail.

        Raises:
            PlanError: if it is not a plan; nothing ran.
            InvalidArgumentsError: if the arguments are not JSON data.
            SecurityViolationError: if it uses a host function that does not exist for plans.
            ConfigurationError: if what runs its language is not installed.
            StorageError: if the database fails.
        """
        if len(source) > self._plan_source_bytes:
            raise PlanError(
                f"{name} has {len(source)} characters; at most {self._plan_source_bytes} are "
                "allowed.",
                next_step="Shorten the plan, or raise CCOS_PLAN_MAX_SOURCE_BYTES.",
            )
        data = _checked_arguments(arguments)
        runnable = await self._languages.read(source, name=name)
        execution = self._new(
            ExecutionKind.PLAN, name, source, data, principal, runnable.plan.hash, function
        )
        writer = self._around.writer(execution, stored=False)
        run = PlanRun(self._around, runnable, writer, self._limits)
        return await self._carry_out(execution.id, run.run)

    async def resume(self, execution_id: str) -> Outcome:
        """Take up a parked execution again.

        What it waits for is looked up anew; if something is still missing it stays parked.

        Raises:
            ExecutionNotFoundError: if there is no such execution.
            ExecutionStateError: if it is not parked, or another worker resumed it first.
        """
        if execution_id in self._active:
            raise ExecutionStateError(f"{execution_id} is being resumed already.")
        with self._attended(execution_id):
            (execution, snapshot), entries = await self._around.storage.read(
                lambda c: (load_parked(c, execution_id), load_journal(c, execution_id))
            )
            if execution.state is not ExecutionState.PARKED:
                raise ExecutionStateError(
                    f"{execution_id} is {execution.state.value}, not parked.",
                    details={"state": execution.state.value},
                )
            return await self._continue(execution, entries, snapshot)

    async def _replay(self, claimed: Execution) -> Outcome:
        """Carry on an execution that this worker has claimed, from its journal."""
        entries = await self._around.storage.read(lambda c: load_journal(c, claimed.id))
        return await self._continue(claimed, entries)

    async def _continue(
        self, execution: Execution, entries: list[Entry], snapshot: bytes | None = None
    ) -> Outcome:
        """Carry on an execution that is parked, or that this worker has claimed."""
        around = self._around
        writer = around.writer(execution, stored=True, entries=entries)
        if execution.kind is ExecutionKind.CALL:
            return await self._carry_out(execution.id, CallRun(around, writer).run)
        try:
            runnable = await self._languages.read(execution.program, name=execution.name)
        except (PlanError, SecurityViolationError) as error:
            return await self._carry_out(execution.id, partial(finish, writer, None, error))
        run = PlanRun(around, runnable, writer, self._limits)
        return await self._carry_out(execution.id, lambda: run.run(snapshot))

    async def _carry_out(
        self, execution_id: str, work: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        with self._attended(execution_id):
            try:
                return await work()
            except ExecutionStateError:
                outcome = await self.outcome(execution_id)
                if outcome is None:
                    raise
                return outcome

    @contextlib.contextmanager
    def _attended(self, execution_id: str) -> Iterator[None]:
        """Until its end, this process runs the execution; :meth:`recover` leaves it alone."""
        self._active[execution_id] += 1
        try:
            yield
        finally:
            self._active[execution_id] -= 1
            if not self._active[execution_id]:
                del self._active[execution_id]

    async def resume_waiting(self, capability_id: str) -> list[Outcome]:
        """Resume every parked execution that waits for ``capability_id`` and nothing else.

        Each is resumed once, however many workers try.
        """
        resumed: list[Outcome] = []
        seen: set[str] = set()
        while True:
            waiting = await self._around.storage.read(
                lambda c: waiting_for(c, capability_id, _RESUME_BATCH + len(seen))
            )
            fresh = [one for one in waiting if one not in seen][:_RESUME_BATCH]
            if not fresh:
                return resumed
            seen.update(fresh)
            ready = [one for one in fresh if await self._is_ready(one)]
            resumed += await _all_that_can(self.resume, ready)

    def resume_soon(self, capability_id: str) -> None:
        """Equivalent to :meth:`resume_waiting`, without waiting for it."""
        self._begin(f"resume {capability_id}", lambda: self.resume_waiting(capability_id))

    def recover_soon(self) -> None:
        """Equivalent to :meth:`recover`, without waiting for it."""
        self._begin("recover", self.recover)

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, list[Outcome]]]) -> None:
        """Begin something that ends with the runtime at the latest, unless it is under way."""
        if name in self._background:
            return

        def ended(task: asyncio.Task[list[Outcome]]) -> None:
            del self._background[name]
            if not task.cancelled() and (error := task.exception()) is not None:
                _logger.error("Could not %s: %s", name, error, exc_info=error)

        task = asyncio.create_task(work(), name=f"ccos {name}")
        self._background[name] = task
        task.add_done_callback(ended)

    async def quiet(self) -> None:
        """Wait until everything is done that was begun without waiting for it."""
        while self._background:
            await asyncio.wait(self._background.values())
            await asyncio.sleep(0)

    async def waiting(self, capability_id: str, *, limit: int = 1000) -> list[str]:
        """Ids of the parked executions that wait for ``capability_id``, oldest first."""
        return await self._around.storage.read(lambda c: waiting_for(c, capability_id, limit))

    async def _is_ready(self, execution_id: str) -> bool:
        missing = await self._around.storage.read(lambda c: load_waits(c, execution_id))
        return all([await self._around.marketplace.get(one) for one in missing])

    async def recover(self) -> list[Outcome]:
        """Take over the executions of workers that died, and carry them on.

        A call that acts on the world and was under way is not made again: its execution is left
        to a person.
        """
        alive = await self._workers.alive()
        found = await self._around.storage.read(running)
        orphans = [
            one
            for one in found
            if one.worker_id not in alive
            or (one.worker_id == self._around.worker_id and one.id not in self._active)
        ]
        return await _all_that_can(self._take_over, orphans)

    async def _take_over(self, execution: Execution) -> Outcome:
        around = self._around

        def claim(transaction: Transaction) -> Execution:
            claimed = claim_execution(transaction, execution, around.worker_id)
            if execution.worker_id not in (None, around.worker_id):
                self._workers.check_lost_in(transaction, execution.worker_id)
            around.audit.record(
                transaction,
                Event(
                    EventType.EXECUTION_RECOVERED,
                    execution_id=execution.id,
                    data={"previous_worker": execution.worker_id},
                ),
            )
            return claimed

        with self._attended(execution.id):
            return await self._replay(await around.storage.write("takeover", claim))

    async def decide(
        self, execution_id: str, sequence: int, answer: Answer | None, *, actor: str
    ) -> Outcome | None:
        """Say what became of a call whose outcome is unknown, and carry the execution on.

        Args:
            execution_id: The execution that waits for a person.
            sequence: Which of its calls.
            answer: What the call came to; None makes the call again.
            actor: Who says so.

        Returns:
            The execution's outcome; None if it still waits for another decision.

        Raises:
            ExecutionNotFoundError: if there is no such execution.
            ExecutionStateError: if it does not wait for this decision.
        """
        around = self._around

        def unit(transaction: Transaction) -> Execution | None:
            execution = hold_execution(transaction, execution_id)
            entries = {
                one.sequence: one for one in load_journal(transaction.connection, execution_id)
            }
            entry = entries.get(sequence)
            waits = execution.state is ExecutionState.OUTCOME_UNKNOWN
            if not waits or entry is None or entry.state is not EntryState.UNKNOWN:
                raise ExecutionStateError(
                    f"Call {sequence} of {execution_id} does not wait for a decision."
                )
            write_entries(transaction, [], [_decided(entry, answer, entries)])
            around.audit.record(
                transaction,
                Event(
                    EventType.OUTCOME_DECIDED,
                    entry.target,
                    execution_id,
                    actor,
                    {
                        "sequence": sequence,
                        "decision": "call again" if answer is None else answer.outcome,
                    },
                ),
            )
            if any(
                one.state is EntryState.UNKNOWN and one.sequence != sequence
                for one in entries.values()
            ):
                return None
            return claim_execution(transaction, execution, around.worker_id)

        with self._attended(execution_id):
            claimed = await around.storage.write("decide", unit)
            return None if claimed is None else await self._replay(claimed)

    async def cancel(self, execution_id: str, *, actor: str, reason: str = "") -> None:
        """End an execution that has not ended.

        A call that is under way is not undone; whoever runs it stops at its next write.

        Raises:
            ExecutionNotFoundError: if there is no such execution.
            ExecutionStateError: if it has ended already.
        """

        def unit(transaction: Transaction) -> None:
            execution = hold_execution(transaction, execution_id)
            if execution.state.ended:
                raise ExecutionStateError(
                    f"{execution_id} is {execution.state.value} already.",
                    details={"state": execution.state.value},
                )
            change_execution(
                transaction,
                execution_id,
                expected=execution.state,
                owner=execution.worker_id,
                claim=None,
                state=ExecutionState.CANCELLED.value,
                worker_id=None,
                snapshot=None,
            )
            end_waits(transaction, execution_id)
            self._around.audit.record(
                transaction,
                Event(
                    EventType.EXECUTION_CANCELLED,
                    execution_id=execution_id,
                    actor=actor,
                    data={"reason": reason, "was": execution.state.value},
                ),
            )

        await self._around.storage.write("cancel", unit)

    async def outcome(self, execution_id: str) -> Outcome | None:
        """What came of an execution so far; None while it runs.

        Raises:
            ExecutionNotFoundError: if there is no such execution.
        """
        execution, waits, entries = await self._around.storage.read(
            lambda c: (
                load_execution(c, execution_id),
                load_waits(c, execution_id),
                load_journal(c, execution_id),
            )
        )
        return stored_outcome(execution, waits, entries)

    async def settled(self, execution_id: str) -> Outcome:
        """Wait until an execution neither runs nor is parked, and return its outcome."""
        while True:
            outcome = await self.outcome(execution_id)
            if outcome is not None and not isinstance(outcome, Parked):
                return outcome
            await asyncio.sleep(_OUTCOME_POLL_SECONDS)

    async def execution(self, execution_id: str) -> Execution:
        """An execution as stored.

        Raises:
            ExecutionNotFoundError: if there is none of this id.
        """
        return await self._around.storage.read(lambda c: load_execution(c, execution_id))

    async def executions(
        self, *, state: ExecutionState | None = None, limit: int = 50
    ) -> list[Execution]:
        """The newest executions, of one state if given."""
        return await self._around.storage.read(
            lambda c: list_executions(c, state=state, limit=limit)
        )

    async def standing(self, execution_id: str) -> Standing:
        """Where a plan stands: the lines and calls that it waits at. Nothing is called.

        Raises:
            ExecutionNotFoundError: if there is no such execution.
            PlanError: if it is no plan, or cannot be replayed.
        """
        execution = await self.execution(execution_id)
        if execution.kind is not ExecutionKind.PLAN:
            raise PlanError(f"{execution_id} is a single call, no plan.")
        runnable = await self._languages.read(execution.program, name=execution.name)
        entries = await self.journal(execution_id)
        seed = self._around.seed(execution_id)
        try:
            return await standing(runnable, execution, entries, self._limits, seed)
        except ScriptError as error:
            raise PlanError(error.message, details=error.details) from error

    def call_metrics(self) -> dict[str, CallMetrics]:
        """What calls with the hint ``metrics`` measured in this process, by label."""
        return self._around.hinted.metrics()

    async def journal(self, execution_id: str) -> list[Entry]:
        """Every call of an execution, in the order in which it made them."""
        return await self._around.storage.read(lambda c: load_journal(c, execution_id))

    def _new(
        self,
        kind: ExecutionKind,
        name: str,
        program: str,
        arguments: dict[str, Any],
        principal: str,
        program_hash: str = "",
        function: str | None = None,
    ) -> Execution:
        now = time.time()
        return Execution(
            id=new_execution_id(),
            kind=kind,
            name=name,
            program=program,
            program_hash=program_hash,
            arguments=arguments,
            principal=principal,
            state=ExecutionState.RUNNING,
            result=None,
            error=None,
            worker_id=self._around.worker_id,
            created_at=now,
            updated_at=now,
            function=function,
        )


def _checked_arguments(arguments: dict[str, Any] | None) -> dict[str, Any]:
    try:
        return dict(json_data(arguments or {}))
    except TypeError as error:
        raise InvalidArgumentsError(f"The arguments are not JSON data: {error}") from error


async def _all_that_can(
    carry_on: Callable[[T], Awaitable[Outcome]], executions: Sequence[T]
) -> list[Outcome]:
    """Carry on many executions, a few at once, except those that others were quicker with.

    One that breaks off does not end the others; the first such error is raised after them.
    """
    slots = asyncio.Semaphore(_RESUMES_AT_ONCE)

    async def one(execution: T) -> Outcome:
        async with slots:
            return await carry_on(execution)

    found = await asyncio.gather(*map(one, executions), return_exceptions=True)
    for result in found:
        if isinstance(result, BaseException) and not isinstance(result, ExecutionStateError):
            raise result
    return [result for result in found if not isinstance(result, BaseException)]


def _decided(entry: Entry, answer: Answer | None, entries: dict[int, Entry]) -> Entry:
    """The entry after a decision: settled as the next delivery, or as if never sent."""
    if answer is None:
        return replace(entry, state=EntryState.MISSING)
    deliveries: Iterable[int] = (
        one.delivery for one in entries.values() if one.delivery is not None
    )
    return replace(
        entry,
        state=EntryState.SETTLED,
        outcome=answer.outcome,
        delivery=1 + max(deliveries, default=-1),
        settled_at=time.time(),
    )
