"""Executions, their journal and what they wait for, as rows.

Functions that change rows take a transaction. A process may change an execution only while it is
the one that runs it: each change is *fenced*, so that of two processes that both believe to run
it, one is stopped at its next write. The fence is the number of the claim. Whoever takes an
execution up (resumes a parked one, takes one over, goes on after a decision) raises the number,
and only if it still is what it was when the execution was read; whoever runs it writes under the
number it took. State and worker alone would not do: an execution that another worker resumed and
parked again looks as it did before, while its journal has grown.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from ccos.engine.asked import plain
from ccos.errors import ExecutionNotFoundError, ExecutionStateError
from ccos.storage import Statement, Transaction
from ccos.storage.schema import executions, journal, waits


class ExecutionState(StrEnum):
    """Where an execution is on its way."""

    RUNNING = "running"
    PARKED = "parked"
    OUTCOME_UNKNOWN = "outcome_unknown"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self in (self.COMPLETED, self.FAILED, self.CANCELLED)


class EntryState(StrEnum):
    """How far a journaled call is."""

    MISSING = "missing"
    DISPATCHED = "dispatched"
    UNKNOWN = "unknown"
    SETTLED = "settled"


class ExecutionKind(StrEnum):
    """One call, or one plan."""

    CALL = "call"
    PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution as stored, without its journal.

    ``program`` is the capability id of a call, or the text of a plan; ``function`` is the one of a
    plan that is run, where that is not what its language runs by itself.
    """

    id: str
    kind: ExecutionKind
    name: str
    program: str
    program_hash: str
    arguments: dict[str, Any]
    principal: str
    state: ExecutionState
    result: Any
    error: dict[str, Any] | None
    worker_id: str | None
    created_at: float
    updated_at: float
    claims: int = 0
    """How often it was taken up after its first run began."""
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One journaled call.

    Attributes:
        outcome: ``{"value": …}`` or ``{"error": {code, message, …}}`` once settled.
        delivery: Number of the delivery in which the plan got the outcome; deliveries are
            repeated in exactly this order when the plan is replayed.
    """

    execution_id: str
    sequence: int
    target: str
    arguments: dict[str, Any]
    state: EntryState
    repeatable: bool
    outcome: dict[str, Any] | None = None
    delivery: int | None = None
    created_at: float = 0.0
    settled_at: float | None = None


_ID_BYTES: Final = 9
_JOURNAL_INSERT: Final = Statement(sa.insert(journal))
_ENTRY_KEY: Final = (
    journal.c.execution_id == sa.bindparam("key_execution"),
    journal.c.sequence == sa.bindparam("key_sequence"),
)
_ENTRY_UPDATE: Final = Statement(
    sa.update(journal)
    .where(*_ENTRY_KEY)
    .values(
        state=sa.bindparam("new_state"),
        repeatable=sa.bindparam("new_repeatable"),
        outcome=sa.bindparam("new_outcome"),
        delivery=sa.bindparam("new_delivery"),
        settled_at=sa.bindparam("new_settled_at"),
    )
)
_EXECUTION_INSERT: Final = Statement(sa.insert(executions))
_WAITS_INSERT: Final = Statement(sa.insert(waits))
_WAITS_DELETE: Final = Statement(
    sa.delete(waits).where(waits.c.execution_id == sa.bindparam("key_execution"))
)
_SUMMARY: Final = [column for column in executions.c if column.name != "snapshot"]

_EXECUTION: Final = Statement(sa.select(*_SUMMARY).where(executions.c.id == sa.bindparam("id")))
_PARKED: Final = Statement(sa.select(executions).where(executions.c.id == sa.bindparam("id")))
_JOURNAL: Final = Statement(
    sa.select(journal)
    .where(journal.c.execution_id == sa.bindparam("id"))
    .order_by(journal.c.sequence)
)
_WAITS: Final = Statement(
    sa.select(waits.c.capability_id)
    .where(waits.c.execution_id == sa.bindparam("id"))
    .order_by(waits.c.capability_id)
)


def new_execution_id() -> str:
    """An id that sorts by time and cannot be guessed."""
    return f"ex-{int(time.time() * 1000):011x}{secrets.token_hex(_ID_BYTES)}"


def insert_execution(transaction: Transaction, execution: Execution, **values: Any) -> None:
    """Store a new execution; ``values`` are columns that differ from it."""
    _EXECUTION_INSERT.change(
        transaction.connection,
        {
            "id": execution.id,
            "kind": execution.kind.value,
            "name": execution.name,
            "program": execution.program,
            "program_hash": execution.program_hash,
            "arguments": json.dumps(execution.arguments),
            "principal": execution.principal,
            "state": execution.state.value,
            "result": json.dumps(execution.result),
            "error": None if execution.error is None else json.dumps(execution.error),
            "snapshot": None,
            "worker_id": execution.worker_id,
            "created_at": execution.created_at,
            "updated_at": time.time(),
            "claims": execution.claims,
            "function": execution.function,
            **values,
        },
    )


def claim_execution(transaction: Transaction, execution: Execution, worker_id: str) -> Execution:
    """Let a worker run an execution, if nobody has touched it since it was read.

    Returns:
        The execution as it is now.

    Raises:
        ExecutionStateError: if somebody has.
    """
    claimed = replace(
        execution,
        state=ExecutionState.RUNNING,
        worker_id=worker_id,
        claims=execution.claims + 1,
    )
    change_execution(
        transaction,
        execution.id,
        expected=execution.state,
        owner=execution.worker_id,
        claim=execution.claims,
        state=claimed.state.value,
        worker_id=claimed.worker_id,
        claims=claimed.claims,
    )
    return claimed


def change_execution(
    transaction: Transaction,
    execution_id: str,
    *,
    expected: ExecutionState,
    owner: str | None,
    claim: int | None,
    **values: Any,
) -> None:
    """Change an execution that is in the ``expected`` state and run by the worker ``owner``.

    Args:
        transaction: The change is a part of it.
        execution_id: Which execution.
        expected: The state that it is in.
        owner: The worker that runs it; None if none does.
        claim: The number of the claim that it is run under; None for whoever does not run it.
        values: New values of columns.

    Raises:
        ExecutionStateError: if it is not so, because it was cancelled or taken over.
    """
    fenced = {} if claim is None else {"key_claim": claim}
    owned = {} if owner is None else {"key_owner": owner}
    statement = _execution_update(frozenset(values), owned=bool(owned), fenced=bool(fenced))
    changed = statement.change(
        transaction.connection,
        {
            "key_id": execution_id,
            "key_state": expected.value,
            **owned,
            **fenced,
            "new_updated_at": time.time(),
            **{f"new_{name}": value for name, value in values.items()},
        },
    )
    if changed != 1:
        raise ExecutionStateError(
            f"{execution_id} is no longer {expected.value} here: it was cancelled, or another "
            "worker took it over.",
            details={"execution_id": execution_id, "expected": expected.value},
        )


@lru_cache
def _execution_update(names: frozenset[str], *, owned: bool, fenced: bool) -> Statement:
    """The statement that sets these columns; made once, since making one costs more than it."""
    owner, claims = executions.c.worker_id, executions.c.claims
    return Statement(
        sa.update(executions)
        .where(
            executions.c.id == sa.bindparam("key_id"),
            executions.c.state == sa.bindparam("key_state"),
            owner == sa.bindparam("key_owner") if owned else owner.is_(None),
            *([claims == sa.bindparam("key_claim")] if fenced else []),
        )
        .values({name: sa.bindparam(f"new_{name}") for name in {*names, "updated_at"}})
    )


def write_entries(transaction: Transaction, fresh: list[Entry], changed: list[Entry]) -> None:
    """Insert the ``fresh`` entries of a journal and update the ``changed`` ones."""
    if fresh:
        rows = [_entry_row(entry) for entry in fresh]
        _JOURNAL_INSERT.change_each(transaction.connection, rows)
    for entry in changed:
        _ENTRY_UPDATE.change(
            transaction.connection,
            {
                "key_execution": entry.execution_id,
                "key_sequence": entry.sequence,
                "new_state": entry.state.value,
                "new_repeatable": entry.repeatable,
                "new_outcome": None if entry.outcome is None else json.dumps(entry.outcome),
                "new_delivery": entry.delivery,
                "new_settled_at": entry.settled_at,
            },
        )


def add_waits(transaction: Transaction, execution_id: str, missing: list[str]) -> None:
    """Let the execution wait for these capabilities."""
    rows = [{"execution_id": execution_id, "capability_id": one} for one in missing]
    _WAITS_INSERT.change_each(transaction.connection, rows)


def end_waits(transaction: Transaction, execution_id: str) -> None:
    """Let the execution wait for nothing."""
    _WAITS_DELETE.change(transaction.connection, {"key_execution": execution_id})


def load_execution(connection: sa.Connection, execution_id: str) -> Execution:
    """The execution of an id.

    Raises:
        ExecutionNotFoundError: if there is none.
    """
    row = _EXECUTION.first(connection, {"id": execution_id})
    if row is None:
        raise _not_found(execution_id)
    return _execution(row)


def hold_execution(transaction: Transaction, execution_id: str) -> Execution:
    """The execution of an id, which nobody else changes until the transaction ends.

    Raises:
        ExecutionNotFoundError: if there is none.
    """
    query = sa.select(*_SUMMARY).where(executions.c.id == execution_id).with_for_update()
    row = transaction.execute(query).first()
    if row is None:
        raise _not_found(execution_id)
    return _execution(row)


def _not_found(execution_id: str) -> ExecutionNotFoundError:
    return ExecutionNotFoundError(
        f"There is no execution {execution_id!r}.", details={"execution_id": execution_id}
    )


def load_parked(connection: sa.Connection, execution_id: str) -> tuple[Execution, bytes | None]:
    """An execution with the sealed snapshot that it was parked with, if it has one.

    Raises:
        ExecutionNotFoundError: if there is none of this id.
    """
    row = _PARKED.first(connection, {"id": execution_id})
    if row is None:
        raise _not_found(execution_id)
    return _execution(row), row.snapshot


def load_journal(connection: sa.Connection, execution_id: str) -> list[Entry]:
    """The journal of an execution, by sequence."""
    return [_entry(row) for row in _JOURNAL.rows(connection, {"id": execution_id})]


def load_waits(connection: sa.Connection, execution_id: str) -> list[str]:
    """The capabilities that an execution waits for."""
    return [row.capability_id for row in _WAITS.rows(connection, {"id": execution_id})]


def waiting_for(connection: sa.Connection, capability_id: str, limit: int) -> list[str]:
    """Parked executions that wait for a capability, oldest first."""
    query = (
        sa.select(executions.c.id)
        .join(waits, waits.c.execution_id == executions.c.id)
        .where(
            waits.c.capability_id == capability_id,
            executions.c.state == ExecutionState.PARKED.value,
        )
        .order_by(executions.c.created_at)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def waiting_arguments(connection: sa.Connection, capability_id: str) -> dict[str, Any] | None:
    """The arguments of the oldest call that waits for a capability; None if none waits."""
    query = (
        sa.select(journal.c.arguments)
        .join(waits, waits.c.execution_id == journal.c.execution_id)
        .where(
            waits.c.capability_id == capability_id,
            journal.c.target == capability_id,
            journal.c.state == EntryState.MISSING.value,
        )
        .order_by(journal.c.created_at)
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else plain(json.loads(found))


def awaited_capabilities(connection: sa.Connection) -> list[str]:
    """Every capability that some parked execution waits for."""
    return list(connection.execute(sa.select(waits.c.capability_id).distinct()).scalars())


def list_executions(
    connection: sa.Connection, *, state: ExecutionState | None, limit: int
) -> list[Execution]:
    """The newest executions, of one state if given."""
    query = sa.select(*_SUMMARY).order_by(executions.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(executions.c.state == state.value)
    return [_execution(row) for row in connection.execute(query).all()]


def running(connection: sa.Connection) -> list[Execution]:
    """Executions that some worker runs, or ran when it died."""
    query = sa.select(*_SUMMARY).where(executions.c.state == ExecutionState.RUNNING.value)
    return [_execution(row) for row in connection.execute(query).all()]


def _execution(row: Any) -> Execution:
    return Execution(
        id=row.id,
        kind=ExecutionKind(row.kind),
        name=row.name,
        program=row.program,
        program_hash=row.program_hash,
        arguments=json.loads(row.arguments),
        principal=row.principal,
        state=ExecutionState(row.state),
        result=None if row.result is None else json.loads(row.result),
        error=None if row.error is None else json.loads(row.error),
        worker_id=row.worker_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        claims=row.claims,
        function=row.function,
    )


def _entry_row(entry: Entry) -> dict[str, Any]:
    return {
        "execution_id": entry.execution_id,
        "sequence": entry.sequence,
        "target": entry.target,
        "arguments": json.dumps(entry.arguments),
        "state": entry.state.value,
        "repeatable": entry.repeatable,
        "outcome": None if entry.outcome is None else json.dumps(entry.outcome),
        "delivery": entry.delivery,
        "created_at": entry.created_at or time.time(),
        "settled_at": entry.settled_at,
    }


def _entry(row: Any) -> Entry:
    return Entry(
        execution_id=row.execution_id,
        sequence=row.sequence,
        target=row.target,
        arguments=json.loads(row.arguments),
        state=EntryState(row.state),
        repeatable=bool(row.repeatable),
        outcome=None if row.outcome is None else json.loads(row.outcome),
        delivery=row.delivery,
        created_at=row.created_at,
        settled_at=row.settled_at,
    )
