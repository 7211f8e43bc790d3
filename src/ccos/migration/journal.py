"""The journal of migrations: what each was asked for, how far it is, and what was before.

A step and what it changes are one transaction, so a process that dies leaves a tool migrated or
not, never half; the journal says which, and how to go on or back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from ccos.engine.scripts import unstorable_character
from ccos.errors import IntegrityError, MigrationFailedError
from ccos.migration.definitions import ToolDefinition
from ccos.migration.migration_config import MigrationManagerConfig
from ccos.migration.outcomes import (
    MigratedTool,
    MigrationError,
    MigrationPhase,
    MigrationReport,
    MigrationStats,
)
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import migrated_tools, migration_steps, migrations

UNFINISHED: Final = (
    MigrationPhase.DISCOVERING,
    MigrationPhase.MIGRATING,
    MigrationPhase.VALIDATING,
)


_SETTLED: Final = (
    sa.update(migration_steps)
    .where(
        migration_steps.c.migration_id == sa.bindparam("migration"),
        migration_steps.c.position == sa.bindparam("at"),
    )
    .values(
        state=sa.bindparam("new_state"),
        error=sa.bindparam("new_error"),
        warnings=sa.bindparam("new_warnings"),
        settled_at=sa.bindparam("now"),
    )
)
_SETTLE: Final = Statement(_SETTLED)
_SETTLE_BEFORE: Final = Statement(_SETTLED.values(before=sa.bindparam("new_before")))


class StepState(StrEnum):
    """What became of one tool in one migration."""

    PENDING = "pending"
    REGISTERED = "registered"
    """It is there, and is still to be validated."""
    MIGRATED = "migrated"
    FAILED = "failed"
    SKIPPED = "skipped"
    ROLLED_BACK = "rolled_back"

    @property
    def is_there(self) -> bool:
        """Whether the tool is registered by this step."""
        return self in (StepState.REGISTERED, StepState.MIGRATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One tool in one migration; ``before`` is what it replaced, None if it is not registered."""

    migration_id: str
    position: int
    tool: str
    path: str
    source_hash: str
    state: StepState = StepState.PENDING
    error: MigrationError | None = None
    warnings: tuple[str, ...] = ()
    before: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One migration as the journal has it; times are seconds since the Unix epoch.

    Attributes:
        kind: ``migrate``, ``manual`` or ``reload``.
        going_back: Whether it is to be undone, whatever else was still to do.
        owner: The worker that carries it on.
    """

    id: str
    kind: str
    config: MigrationManagerConfig
    phase: MigrationPhase
    going_back: bool
    owner: str
    backup: str | None
    report: MigrationReport | None
    started_at: float
    completed_at: float | None

    @property
    def unfinished(self) -> bool:
        """Whether something is still to do."""
        return self.phase in UNFINISHED


class MigrationJournal:
    """Reads and writes the journal.

    Args:
        storage: Where it is.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    # Writing, as part of a transaction

    def begin_in(self, transaction: Transaction, migration: Migration) -> None:
        """Note that a migration begins."""
        transaction.execute(
            sa.insert(migrations),
            {
                "id": migration.id,
                "kind": migration.kind,
                "config": json.dumps(migration.config.as_dict()),
                "phase": migration.phase.value,
                "going_back": migration.going_back,
                "owner": migration.owner,
                "backup": migration.backup,
                "report": None,
                "started_at": migration.started_at,
                "completed_at": None,
            },
        )

    def note_in(self, transaction: Transaction, migration_id: str, **changes: Any) -> None:
        """Note how far a migration is: ``phase``, ``going_back``, ``owner`` or ``backup``."""
        values = {
            name: one.value if isinstance(one, MigrationPhase) else one
            for name, one in changes.items()
        }
        transaction.execute(
            sa.update(migrations).where(migrations.c.id == migration_id).values(values)
        )

    def end_in(self, transaction: Transaction, report: MigrationReport) -> None:
        """Note what came of a migration."""
        self.note_in(
            transaction,
            report.migration_id,
            phase=report.state.phase,
            report=json.dumps(report.as_dict(), ensure_ascii=False),
            completed_at=time.time(),
        )

    def add_steps_in(self, transaction: Transaction, steps: Iterable[Step]) -> None:
        """Note what is to be done."""
        rows = [
            {
                "migration_id": step.migration_id,
                "position": step.position,
                "tool": step.tool,
                "path": step.path,
                "source_hash": step.source_hash,
                "state": step.state.value,
                "error": _error_text(step.error),
                "warnings": json.dumps(step.warnings, ensure_ascii=False),
                "before": None,
                "settled_at": None,
            }
            for step in steps
        ]
        if rows:
            transaction.execute(sa.insert(migration_steps), rows)

    def settle_in(
        self,
        transaction: Transaction,
        step: Step,
        state: StepState,
        *,
        error: MigrationError | None = None,
        warnings: Sequence[str] = (),
        before: dict[str, Any] | None = None,
    ) -> None:
        """Note what became of a tool."""
        values: dict[str, Any] = {
            "migration": step.migration_id,
            "at": step.position,
            "new_state": state.value,
            "new_error": _error_text(error),
            "new_warnings": json.dumps(list(warnings), ensure_ascii=False),
            "now": time.time(),
        }
        if before is None:
            _SETTLE.change(transaction.connection, values)
        else:
            values["new_before"] = json.dumps(before, ensure_ascii=False)
            _SETTLE_BEFORE.change(transaction.connection, values)

    def claim_in(self, transaction: Transaction, migration: Migration, worker_id: str) -> bool:
        """Take over a migration from a worker that died; False if another was quicker."""
        claimed = transaction.execute(
            sa.update(migrations)
            .where(migrations.c.id == migration.id, migrations.c.owner == migration.owner)
            .values(owner=worker_id)
        )
        return claimed.rowcount == 1

    def refuse_others_in(self, transaction: Transaction, alive: frozenset[str], *, me: str) -> None:
        """Make sure that no other process migrates.

        Raises:
            MigrationFailedError: naming the migration that is on its way.
        """
        if transaction.dialect == "postgresql":
            transaction.execute(sa.text("LOCK TABLE migrations IN SHARE ROW EXCLUSIVE MODE"))
        for row in transaction.execute(_unfinished()):
            if row.owner in alive and row.owner != me:
                raise MigrationFailedError(
                    f"The migration {row.id} is on its way in another process.",
                    next_step="Wait for it; `ccos migration status` shows how far it is.",
                    details={"migration_id": row.id, "owner": row.owner},
                )

    # Reading

    async def migration(self, migration_id: str) -> Migration | None:
        """One migration, by its id or the beginning of it; None if there is none or several."""
        if unstorable_character(migration_id) is not None:
            return None
        query = sa.select(migrations).where(
            migrations.c.id.startswith(migration_id, autoescape=True)
        )
        rows = await self._storage.read(lambda one: one.execute(query.limit(2)).all())
        return _migration(rows[0]) if len(rows) == 1 and migration_id else None

    async def all(self, limit: int = 100) -> list[Migration]:
        """The migrations, newest first."""
        query = sa.select(migrations).order_by(migrations.c.started_at.desc()).limit(limit)
        rows = await self._storage.read(lambda one: one.execute(query).all())
        return [_migration(row) for row in rows]

    async def unfinished(self) -> list[Migration]:
        """Those that are on their way, or whose process died, oldest first."""
        rows = await self._storage.read(lambda one: one.execute(_unfinished()).all())
        return [_migration(row) for row in rows]

    async def steps(self, migration_id: str) -> list[Step]:
        """The tools of a migration, in order."""
        query = (
            sa.select(migration_steps)
            .where(migration_steps.c.migration_id == migration_id)
            .order_by(migration_steps.c.position)
        )
        rows = await self._storage.read(lambda one: one.execute(query).all())
        return [_step(row) for row in rows]

    async def step_of(self, migration_id: str, tool: str) -> Step | None:
        """The step by which a migration registered a tool; None if it did not."""
        query = sa.select(migration_steps).where(
            migration_steps.c.migration_id == migration_id,
            migration_steps.c.tool == tool,
            migration_steps.c.before.is_not(None),
        )
        row = await self._storage.read(lambda one: one.execute(query).first())
        return None if row is None else _step(row)

    async def failures(self) -> list[tuple[str, Step]]:
        """The failed steps of all migrations that ended, with the ids of these, newest first."""
        query = (
            sa.select(migration_steps)
            .join(migrations, migrations.c.id == migration_steps.c.migration_id)
            .where(
                migration_steps.c.state == StepState.FAILED.value,
                migrations.c.completed_at.is_not(None),
            )
            .order_by(migrations.c.started_at.desc(), migration_steps.c.position)
        )
        rows = await self._storage.read(lambda one: one.execute(query).all())
        return [(row.migration_id, _step(row)) for row in rows]

    async def forget_failures(self, keys: Sequence[tuple[str, int]]) -> int:
        """Remove failed steps by migration and position; returns how many there were."""

        def unit(transaction: Transaction) -> int:
            count = 0
            for migration_id, position in keys:
                count += transaction.execute(
                    sa.delete(migration_steps).where(
                        migration_steps.c.migration_id == migration_id,
                        migration_steps.c.position == position,
                        migration_steps.c.state == StepState.FAILED.value,
                    )
                ).rowcount
            return count

        return await self._storage.write("migration_cleanup", unit)

    async def tools(self) -> list[MigratedTool]:
        """Every tool that is migrated now, by name."""
        query = sa.select(migrated_tools).order_by(migrated_tools.c.name)
        rows = await self._storage.read(lambda one: one.execute(query).all())
        return sorted(map(tool_of, rows), key=lambda one: one.original_name)

    async def tool(self, name: str) -> MigratedTool | None:
        """One of them; None if there is none of this name."""
        if unstorable_character(name) is not None:
            return None
        query = sa.select(migrated_tools).where(migrated_tools.c.name == name)
        row = await self._storage.read(lambda one: one.execute(query).first())
        return None if row is None else tool_of(row)

    async def stats(self) -> MigrationStats:
        """How many are migrated, and when that changed last."""
        counts = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(sa.cast(migrated_tools.c.active, sa.Integer)), 0),
        ).select_from(migrated_tools)
        last = sa.select(sa.func.max(migration_steps.c.settled_at)).where(
            migration_steps.c.before.is_not(None)
        )
        total, active, moment = await self._storage.read(
            lambda one: (*one.execute(counts).one(), one.execute(last).scalar())
        )
        return MigrationStats(
            total_migrated=total,
            active_tools=int(active),
            inactive_tools=total - int(active),
            migration_timestamp=None if moment is None else _moment(moment),
        )


def tool_of(row: Any) -> MigratedTool:
    """The tool of a row.

    Raises:
        IntegrityError: if the row is damaged.
    """
    try:
        return MigratedTool(
            original_name=row.name,
            migrated_script_id=row.script_id,
            definition=ToolDefinition.from_dict(json.loads(row.definition)),
            migrated_at=_moment(row.migrated_at),
            active=bool(row.active),
            metadata=json.loads(row.metadata),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"The migrated tool {row.name!r} is damaged: {error}.") from error


def _unfinished() -> sa.Select[Any]:
    phases = [phase.value for phase in UNFINISHED]
    query = sa.select(migrations).where(migrations.c.phase.in_(phases))
    return query.order_by(migrations.c.started_at)


def _migration(row: Any) -> Migration:
    try:
        report = None if row.report is None else MigrationReport.from_dict(json.loads(row.report))
        return Migration(
            id=row.id,
            kind=row.kind,
            config=MigrationManagerConfig.from_dict(json.loads(row.config)),
            phase=MigrationPhase(row.phase),
            going_back=bool(row.going_back),
            owner=row.owner,
            backup=row.backup,
            report=report,
            started_at=row.started_at,
            completed_at=row.completed_at,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"The migration {row.id!r} is damaged: {error}.") from error


def _step(row: Any) -> Step:
    try:
        error = None if row.error is None else MigrationError.from_dict(json.loads(row.error))
        return Step(
            migration_id=row.migration_id,
            position=row.position,
            tool=row.tool,
            path=row.path,
            source_hash=row.source_hash,
            state=StepState(row.state),
            error=error,
            warnings=tuple(json.loads(row.warnings)),
            before=None if row.before is None else json.loads(row.before),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(
            f"A step of the migration {row.migration_id!r} is damaged: {error}."
        ) from error


def _error_text(error: MigrationError | None) -> str | None:
    return None if error is None else json.dumps(error.as_dict(), ensure_ascii=False)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
