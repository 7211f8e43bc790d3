"""Writing an execution's progress: what must be on disk before the next step is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ccos.audit import AuditTrail
from ccos.events import Event, EventType
from ccos.runtime.dispatch import Answer
from ccos.runtime.records import (
    Entry,
    EntryState,
    Execution,
    ExecutionKind,
    ExecutionState,
    change_execution,
    insert_execution,
    write_entries,
)
from ccos.storage import Storage, Transaction

T = TypeVar("T")


class ExecutionWriter:
    """Keeps what one execution did and not yet stored, and stores it with the next write.

    Only a call that acts on the world forces a write of its own, before it is sent and when its
    answer is there. All else can be repeated after a crash, so it is stored along with the next
    thing that must be.
    """

    def __init__(
        self,
        storage: Storage,
        audit: AuditTrail,
        execution: Execution,
        *,
        worker_id: str,
        stored: bool,
        entries: list[Entry],
    ) -> None:
        self._storage = storage
        self._audit = audit
        self._worker_id = worker_id
        self._stored = stored
        self.execution = execution
        self.recorded = {entry.sequence: entry for entry in entries}
        self._on_disk = set(self.recorded)
        self._dirty: dict[int, Entry] = {}
        self._events: list[Event] = []
        if not stored and execution.kind is ExecutionKind.PLAN:
            self.note(EventType.EXECUTION_STARTED, data={"name": execution.name})

    def note(
        self, event: EventType, *, capability_id: str = "", data: dict[str, Any] | None = None
    ) -> None:
        """Record an event with the next write."""
        execution = self.execution
        self._events.append(
            Event(event, capability_id, execution.id, execution.principal, data or {})
        )

    def keep(self, entry: Entry) -> Entry:
        """Store this state of a journal entry with the next write."""
        self.recorded[entry.sequence] = entry
        self._dirty[entry.sequence] = entry
        return entry

    def settle(self, entry: Entry, answer: Answer, *, delivery: int) -> Entry:
        """Keep the outcome of a call."""
        data: dict[str, Any] = {"sequence": entry.sequence, "ok": answer.error is None}
        if answer.error is not None:
            data["error"] = answer.error.as_dict()
        self.note(EventType.CAPABILITY_RESULT, capability_id=entry.target, data=data)
        return self.keep(
            replace(
                entry,
                state=EntryState.SETTLED,
                outcome=answer.outcome,
                delivery=delivery,
                settled_at=time.time(),
            )
        )

    async def write(
        self,
        name: str,
        also: Callable[[Transaction], T] | None = None,
        *,
        check: Callable[[Transaction], bool] | None = None,
        state: ExecutionState = ExecutionState.RUNNING,
        **values: Any,
    ) -> bool:
        """Store everything kept so far in one transaction.

        Args:
            name: The name of the write point.
            also: Further statements of the same transaction.
            check: Runs first; if it returns False nothing is written.
            state: The execution's state from now on.
            values: Further columns of the execution.

        Returns:
            False if ``check`` said no.

        Raises:
            ExecutionStateError: if this process no longer runs the execution.
        """
        fresh = [entry for key, entry in self._dirty.items() if key not in self._on_disk]
        changed = [entry for key, entry in self._dirty.items() if key in self._on_disk]
        events = tuple(self._events)
        owner = self._worker_id if state is ExecutionState.RUNNING else None

        def unit(transaction: Transaction) -> bool:
            if check is not None and not check(transaction):
                return False
            if self._stored:
                change_execution(
                    transaction,
                    self.execution.id,
                    expected=ExecutionState.RUNNING,
                    owner=self._worker_id,
                    state=state.value,
                    worker_id=owner,
                    **values,
                )
            else:
                row = replace(self.execution, state=state, worker_id=owner)
                insert_execution(transaction, row, **values)
            write_entries(transaction, fresh, changed)
            if also is not None:
                also(transaction)
            self._audit.record(transaction, *events)
            return True

        if not await self._storage.write(name, unit):
            return False
        self._stored = True
        self._on_disk |= set(self._dirty)
        for entry in (*fresh, *changed):
            if self._dirty.get(entry.sequence) is entry:
                del self._dirty[entry.sequence]
        del self._events[: len(events)]
        return True
