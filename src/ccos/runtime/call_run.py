"""Carrying out one direct call."""

from __future__ import annotations

from ccos.errors import CcosError
from ccos.events import EventType
from ccos.runtime.calls import (
    Missing,
    Ready,
    Surroundings,
    announce,
    judge,
    leave_unknown,
    new_entry,
    park,
    send,
)
from ccos.runtime.dispatch import Answer
from ccos.runtime.outcomes import Completed, Failed, Outcome, Parked
from ccos.runtime.records import Entry, EntryState, ExecutionKind, ExecutionState
from ccos.runtime.stored import NEVER_ANSWERED, dump_error, dump_result, load_error
from ccos.runtime.writer import ExecutionWriter


class CallRun:
    """One call from its judgement to its outcome; the same for a first run and a resumed one."""

    def __init__(self, around: Surroundings, writer: ExecutionWriter) -> None:
        self._around = around
        self._writer = writer

    async def run(self) -> Outcome:
        """Make the call, or park it."""
        writer = self._writer
        execution = writer.execution
        entry = writer.recorded.get(0) or new_entry(
            execution, 0, execution.program, execution.arguments
        )
        if entry.state is EntryState.SETTLED:
            return await self._end_decided(entry)
        if entry.state is EntryState.DISPATCHED and not entry.repeatable:
            return await leave_unknown(self._around, writer, {0: NEVER_ANSWERED})
        while True:
            verdict = await judge(self._around, writer, entry.target, entry.arguments)
            match verdict:
                case Ready(registered=registered):
                    entry = announce(writer, entry, registered)
                    if not entry.repeatable:
                        await writer.write("dispatch")
                    answer = await send(self._around, writer, entry, registered)
                    return await self._end(entry, answer)
                case Missing():
                    if await park(self._around, writer, [entry]):
                        return Parked(execution.id, (entry.target,))
                case refused:
                    return await self._end(entry, Answer(error=refused.error))

    async def _end(self, entry: Entry, answer: Answer) -> Outcome:
        writer = self._writer
        if answer.unknown is not None:
            return await leave_unknown(self._around, writer, {entry.sequence: answer.unknown})
        writer.settle(entry, answer, delivery=0)
        return await finish(writer, answer.value, answer.error)

    async def _end_decided(self, entry: Entry) -> Outcome:
        """A person said what became of the call."""
        assert entry.outcome is not None
        if "error" in entry.outcome:
            return await finish(self._writer, None, load_error(entry.outcome["error"]))
        return await finish(self._writer, entry.outcome["value"], None)


async def finish(
    writer: ExecutionWriter, value: object, error: CcosError | None, *, printed: str = ""
) -> Completed | Failed:
    """Store how an execution ended. What became of a single call its result tells already."""
    is_plan = writer.execution.kind is ExecutionKind.PLAN
    if error is None:
        if is_plan:
            writer.note(EventType.EXECUTION_COMPLETED)
        await writer.write(
            "complete",
            state=ExecutionState.COMPLETED,
            result=dump_result(value, printed),
            snapshot=None,
        )
        return Completed(writer.execution.id, value, printed)
    if is_plan:
        writer.note(EventType.EXECUTION_FAILED, data={"error": error.as_dict()})
    await writer.write(
        "complete",
        state=ExecutionState.FAILED,
        error=dump_error(error),
        snapshot=None,
    )
    return Failed(writer.execution.id, error)
