"""Writing an execution's progress: what must be on disk before the next step is.

Every write is fenced (see `ccos.runtime.records`): a process whose execution was taken over, while
it was stopped or could not be heard, is refused its next write. That alone keeps it from sending a
call whose intent it has not written yet. Between the write that announces a call and the sending
of it a process may be stopped too, so before a call that acts on the world is handed to its
provider, :meth:`ExecutionWriter.confirm` asks again whenever the others may have given this process
up since that write.

What is left is the way from there to the wire. No database can guard it; there the idempotency key,
the same for every attempt at one call, is the service's own fence.
"""

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
    end_waits,
    insert_execution,
    write_entries,
)
from ccos.runtime.workers import Workers
from ccos.storage import Storage, Transaction

T = TypeVar("T")


class ExecutionWriter:
    """Keeps what one execution did and not yet stored, and stores it with the next write.

    Only a call that acts on the world forces a write of its own, before it is sent and when its
    answer is there. All else can be repeated after a crash, so it is stored along with the next
    thing that must be.

    Args:
        storage: Where it is stored.
        audit: Where its events are recorded.
        execution: What is carried out. A parked one is claimed with the first write: should
            another worker have been quicker, that write is refused, and nothing was done that
            cannot be done twice.
        workers: The register that this process is on.
        stored: Whether the execution is a row already.
        entries: Its journal so far.
    """

    def __init__(
        self,
        storage: Storage,
        audit: AuditTrail,
        execution: Execution,
        *,
        workers: Workers,
        stored: bool,
        entries: list[Entry],
    ) -> None:
        self._storage = storage
        self._audit = audit
        self._workers = workers
        self._claim = execution.claims
        self._owned_at = float("-inf")
        self._standing = (execution.state, execution.worker_id) if stored else None
        self.execution = execution
        self.recorded = {entry.sequence: entry for entry in entries}
        self._on_disk = set(self.recorded)
        self._dirty: dict[int, Entry] = {}
        self._events: list[Event] = []
        if execution.state is ExecutionState.PARKED:
            self.note(EventType.CHECKPOINT_RESUMED)
        elif not stored and execution.kind is ExecutionKind.PLAN:
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
        if answer.cached:
            data["cached"] = True
        if answer.error is not None:
            data["error"] = answer.error.as_dict()
        self.note(EventType.CAPABILITY_RESULT, capability_id=entry.target, data=data)
        settled = replace(
            entry,
            state=EntryState.SETTLED,
            outcome=answer.outcome,
            delivery=delivery,
            settled_at=time.time(),
        )
        if self.execution.kind is ExecutionKind.CALL and entry.sequence not in self._on_disk:
            # The execution itself tells all of a single call that was never left half done.
            self._dirty.pop(entry.sequence, None)
            return settled
        return self.keep(settled)

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
            name: The name of the write point. The first write of a resumed execution is named
                ``resume`` as well: ``resume+dispatch``.
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
        owner = self._workers.me.id if state is ExecutionState.RUNNING else None
        standing, claim = self._standing, self._claim
        resumes = standing is not None and standing[0] is ExecutionState.PARKED
        if resumes:
            name, values["claims"] = f"resume+{name}", claim + 1

        def unit(transaction: Transaction) -> bool:
            if check is not None and not check(transaction):
                return False
            if standing is None:
                row = replace(self.execution, state=state, worker_id=owner)
                insert_execution(transaction, row, **values)
            else:
                change_execution(
                    transaction,
                    self.execution.id,
                    expected=standing[0],
                    owner=standing[1],
                    claim=claim,
                    state=state.value,
                    worker_id=owner,
                    **values,
                )
                if resumes:
                    end_waits(transaction, self.execution.id)
            write_entries(transaction, fresh, changed)
            if also is not None:
                also(transaction)
            self._audit.record(transaction, *events)
            return True

        began = self._workers.now()
        if not await self._storage.write(name, unit):
            return False
        self._owned_at = began
        self._standing, self._claim = (state, owner), claim + resumes
        self._on_disk |= set(self._dirty)
        for entry in (*fresh, *changed):
            if self._dirty.get(entry.sequence) is entry:
                del self._dirty[entry.sequence]
        del self._events[: len(events)]
        return True

    async def confirm(self) -> None:
        """Make sure, just before a call leaves, that this process still is the one to send it.

        Raises:
            ExecutionStateError: if another one took the execution over.
        """

        def unit(transaction: Transaction) -> None:
            change_execution(
                transaction,
                self.execution.id,
                expected=ExecutionState.RUNNING,
                owner=self._workers.me.id,
                claim=self._claim,
            )

        while not self._workers.was_heard_since(self._owned_at):
            self._owned_at = await self._workers.beat(unit)
