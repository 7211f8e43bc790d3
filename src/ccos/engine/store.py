"""The script store: every script and tool that was registered, until somebody removes it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ccos.engine.policy import SecurityLevel
from ccos.engine.script_rows import (
    MAX_METADATA_BYTES,
    MAX_NAME_LENGTH,
    RowWriter,
    info_of,
    script_of,
    shown,
    tool_of,
)
from ccos.engine.scripts import (
    MAX_SOURCE_BYTES,
    Run,
    Script,
    ScriptExecutionStats,
    ScriptInfo,
    ScriptTool,
    unstorable_character,
)
from ccos.errors import (
    ScriptConflictError,
    ScriptNotFoundError,
    ScriptToolNotFoundError,
)
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import compiled_scripts, script_tools, script_usage, scripts

MIN_PREFIX_LENGTH: Final = 8
_POPULAR: Final = 10
_NAMED: Final = 10
_COMPARED: Final = 200
_NEAR: Final = 3
_SIMILARITY: Final = 0.75

_SCRIPT: Final = Statement(sa.select(scripts).where(scripts.c.id == sa.bindparam("id")))
_TOOL: Final = Statement(
    sa.select(script_tools.c.definition).where(script_tools.c.name == sa.bindparam("name"))
)
_WHEN: Final = sa.bindparam("ended_at", type_=sa.Double)
_COUNT: Final = Statement(
    sa.update(script_usage)
    .where(script_usage.c.script_id == sa.bindparam("id"))
    .values(
        execution_count=script_usage.c.execution_count + sa.bindparam("executions"),
        failure_count=script_usage.c.failure_count + sa.bindparam("failures"),
        total_seconds=script_usage.c.total_seconds + sa.bindparam("seconds"),
        total_memory=script_usage.c.total_memory + sa.bindparam("memory"),
        last_executed=sa.case(
            (script_usage.c.last_executed > _WHEN, script_usage.c.last_executed), else_=_WHEN
        ),
    )
)


class ScriptStore:
    """Keeps scripts, the tools made of them, and how often each ran.

    Methods that end in ``_in`` write as part of somebody else's transaction.

    Args:
        storage: Where they are kept.
        max_source_bytes: Most bytes of one script's text.
        max_metadata_bytes: Most bytes of all else that is kept of one script or tool.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        max_source_bytes: int = MAX_SOURCE_BYTES,
        max_metadata_bytes: int = MAX_METADATA_BYTES,
    ) -> None:
        self._storage = storage
        self._rows = RowWriter(max_source_bytes, max_metadata_bytes)

    async def save(self, script: Script) -> bool:
        """Keep a script, or what changed of it; nothing is written if nothing did.

        The time of its creation and its counters stay what they are.

        Returns:
            Whether the script is new.

        Raises:
            CompilationError: if its text is too long or cannot be stored.
            ScriptError: if anything else of it is too long or cannot be stored.
        """
        row = self._rows.script_row(script)
        stored = await self._storage.read(
            lambda connection: _SCRIPT.first(connection, {"id": row["id"]})
        )
        if stored is not None and _same(stored, row):
            return False
        return await self._storage.write(
            "script", lambda transaction: _write_script(transaction, row)
        )

    def save_in(self, transaction: Transaction, script: Script) -> bool:
        """Equivalent to :meth:`save` as part of ``transaction``."""
        return _write_script(transaction, self._rows.script_row(script))

    async def get(self, script_id: str) -> Script:
        """The script of an id.

        Raises:
            ScriptNotFoundError: naming the nearest ids.
        """
        stored = None
        if _can_exist(script_id):
            key = {"id": script_id}
            stored = await self._storage.read(lambda connection: _SCRIPT.first(connection, key))
        if stored is None:
            raise await self._not_found(script_id)
        return script_of(stored)

    async def find(self, text: str) -> Script:
        """The script that has this id, the only id that begins so, or this name.

        Args:
            text: An id; its beginning, of at least eight characters; or an exact name.

        Raises:
            ScriptNotFoundError: if there is none.
            ScriptConflictError: if it could be several; ``details['scripts']`` lists them.
        """
        found = [] if not _can_exist(text) else await self._storage.read(_candidates(text))
        if len(found) > 1:
            listed = ", ".join(map(shown, found[:_NAMED]))
            raise ScriptConflictError(
                f"{shown(text)} can mean several scripts: {listed}"
                f"{', and others' if len(found) > _NAMED else ''}.",
                next_step="Give more of the id.",
                details={"text": text, "scripts": found[:_NAMED]},
            )
        if not found:
            raise await self._not_found(text)
        return await self.get(found[0])

    async def list(
        self, *, language: str | None = None, level: SecurityLevel | None = None
    ) -> tuple[ScriptInfo, ...]:
        """All scripts, or those of a language or level, by name and then by id."""
        query = sa.select(
            *(column for column in scripts.c if column is not scripts.c.source),
            sa.func.coalesce(script_usage.c.execution_count, 0).label("execution_count"),
            script_usage.c.last_executed,
        ).select_from(
            scripts.outerjoin(script_usage, script_usage.c.script_id == scripts.c.id),
        )
        if language is not None:
            query = query.where(scripts.c.language == language)
        if level is not None:
            query = query.where(scripts.c.level == level.value)
        rows = await self._storage.read(lambda connection: connection.execute(query).all())
        return tuple(sorted(map(info_of, rows), key=lambda info: (info.name, info.script_id)))

    async def delete(self, script_id: str) -> bool:
        """Remove a script with its counters and compiled units.

        Returns:
            Whether there was one.

        Raises:
            ScriptConflictError: if tools use it; ``details['tools']`` names them.
        """
        return await self._storage.write(
            "script_deleted", lambda transaction: self.delete_in(transaction, script_id)
        )

    def delete_in(self, transaction: Transaction, script_id: str) -> bool:
        """Equivalent to :meth:`delete` as part of ``transaction``."""
        if not _can_exist(script_id) or not _hold(transaction, script_id):
            return False
        users = (
            sa.select(script_tools.c.name)
            .where(script_tools.c.script_id == script_id)
            .order_by(script_tools.c.name)
        )
        names = list(transaction.execute(users).scalars())
        if names:
            raise ScriptConflictError(
                f"The script {shown(script_id)} is used by {_listed(names)}.",
                next_step="Unregister what uses it first.",
                details={"script_id": script_id, "tools": names},
            )
        for column in (
            compiled_scripts.c.script_id,
            script_usage.c.script_id,
            scripts.c.id,
        ):
            transaction.execute(sa.delete(column.table).where(column == script_id))
        return True

    async def register_tool(self, tool: ScriptTool, *, replace: bool = False) -> None:
        """Make a function of a script callable by name; doing it again changes nothing.

        Args:
            tool: What to register.
            replace: Whether it takes the place of another tool of that name, in one step.

        Raises:
            ScriptNotFoundError: if its script is not kept.
            ScriptConflictError: if another tool has the name.
            ScriptError: if a part of it is too long or cannot be stored.
        """
        await self._storage.write(
            "tool", lambda transaction: self.register_tool_in(transaction, tool, replace=replace)
        )

    def register_tool_in(
        self, transaction: Transaction, tool: ScriptTool, *, replace: bool = False
    ) -> None:
        """Equivalent to :meth:`register_tool` as part of ``transaction``."""
        row = self._rows.tool_row(tool)
        if not _hold(transaction, tool.script_id, shared=True):
            raise ScriptNotFoundError(
                f"The tool {shown(tool.name)} needs the script {shown(tool.script_id)}, "
                "which does not exist.",
                details={"tool": tool.name, "script_id": tool.script_id},
            )
        if replace:
            _SAVE_TOOL[transaction.dialect].change(transaction.connection, row)
            return
        insert = _insert(transaction, script_tools).values(row)
        # Setting the name to itself locks what is there, so that what comes back stays true.
        stored = transaction.execute(
            insert.on_conflict_do_update(
                index_elements=["name"], set_={"name": tool.name}
            ).returning(script_tools.c.definition)
        ).scalar_one()
        if stored != row["definition"]:
            raise ScriptConflictError(
                f"There is another tool called {shown(tool.name)} already.",
                next_step="Unregister that one first, or choose another name.",
                details={"tool": tool.name, "script_id": json.loads(stored)["script_id"]},
            )

    async def unregister_tool(self, name: str) -> bool:
        """Remove a tool and return whether there was one; its script stays."""
        return await self._storage.write(
            "tool_removed", lambda transaction: self.unregister_tool_in(transaction, name)
        )

    def unregister_tool_in(self, transaction: Transaction, name: str) -> bool:
        """Equivalent to :meth:`unregister_tool` as part of ``transaction``."""
        if not _can_exist(name):
            return False
        statement = sa.delete(script_tools).where(script_tools.c.name == name)
        return transaction.execute(statement).rowcount > 0

    async def tool(self, name: str) -> ScriptTool:
        """The tool of a name.

        Raises:
            ScriptToolNotFoundError: naming the nearest ones.
        """
        stored = None
        if _can_exist(name):
            key = {"name": name}
            stored = await self._storage.read(lambda connection: _TOOL.scalar(connection, key))
        if stored is None:
            query = sa.select(script_tools.c.name).order_by(script_tools.c.name).limit(_COMPARED)
            names = await self._storage.read(
                lambda connection: list(connection.execute(query).scalars())
            )
            near = _near(name, names)
            raise ScriptToolNotFoundError(
                f"There is no tool {shown(name)}.",
                next_step=_suggestion(near),
                details={"tool": name, "nearest": near},
            )
        return tool_of(name, stored)

    async def tools(self) -> tuple[ScriptTool, ...]:
        """All tools, by name."""
        query = sa.select(script_tools.c.name, script_tools.c.definition)
        rows = await self._storage.read(lambda connection: connection.execute(query).all())
        return tuple(tool_of(row.name, row.definition) for row in sorted(rows))

    def count_in(self, transaction: Transaction, runs: Iterable[Run]) -> None:
        """Add finished executions to the counters of their scripts, as part of ``transaction``.

        Counters only ever grow by what is added, so no process loses what another counted.
        Executions of scripts that are not kept (any more) are not counted.
        """
        transaction.gather(_count, runs)

    async def statistics(self) -> ScriptExecutionStats:
        """How often the scripts that are kept ran."""
        query = sa.select(script_usage).where(script_usage.c.execution_count > 0)
        rows = await self._storage.read(lambda connection: connection.execute(query).all())
        ranked = sorted(rows, key=lambda row: (-row.execution_count, row.script_id))
        total = sum(row.execution_count for row in rows)
        failed = sum(row.failure_count for row in rows)
        seconds = sum(row.total_seconds for row in rows)
        return ScriptExecutionStats(
            total_executions=total,
            successful_executions=total - failed,
            failed_executions=failed,
            average_execution_time=seconds / total if total else None,
            total_memory_used=sum(row.total_memory for row in rows) or None,
            executions_by_script={row.script_id: row.execution_count for row in ranked},
            error_rates_by_script={
                row.script_id: row.failure_count / row.execution_count for row in ranked
            },
            popular_scripts=tuple(row.script_id for row in ranked[:_POPULAR]),
        )

    async def _not_found(self, text: str) -> ScriptNotFoundError:
        query = (
            sa.select(scripts.c.id, scripts.c.name)
            .order_by(scripts.c.updated_at.desc(), scripts.c.id)
            .limit(_COMPARED)
        )
        rows = await self._storage.read(lambda connection: connection.execute(query).all())
        near = _near(text, [part for row in rows for part in (row.id, row.name)])
        return ScriptNotFoundError(
            f"There is no script {shown(text)}.",
            next_step=_suggestion(near),
            details={"script_id": text, "nearest": near},
        )


def _insert(transaction: Transaction, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    if transaction.dialect == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _upsert(dialect: Any, table: sa.Table, key: str, *, kept: Sequence[str] = ()) -> Statement:
    """An INSERT of a whole row, which changes the row that is there but for some columns."""
    insert = dialect.insert(table)
    changed = {one.name: insert.excluded[one.name] for one in table.c if one.name not in kept}
    del changed[key]
    return Statement(insert.on_conflict_do_update(index_elements=[key], set_=changed))


_DIALECTS: Final[Mapping[str, Any]] = {"sqlite": sqlite, "postgresql": postgresql}
_SAVE_SCRIPT: Final = {
    name: _upsert(dialect, scripts, "id", kept=("created_at",))
    for name, dialect in _DIALECTS.items()
}
_SAVE_TOOL: Final = {
    name: _upsert(dialect, script_tools, "name") for name, dialect in _DIALECTS.items()
}
_START_COUNTING: Final = {
    name: Statement(dialect.insert(script_usage).on_conflict_do_nothing())
    for name, dialect in _DIALECTS.items()
}
_HOLD: Final = {
    shared: Statement(
        sa.select(scripts.c.id)
        .where(scripts.c.id == sa.bindparam("id"))
        .with_for_update(read=shared)
    )
    for shared in (False, True)
}


def _write_script(transaction: Transaction, row: dict[str, Any]) -> bool:
    connection, dialect = transaction.connection, transaction.dialect
    _SAVE_SCRIPT[dialect].change(connection, row)
    counters = {
        "script_id": row["id"],
        "execution_count": 0,
        "failure_count": 0,
        "total_seconds": 0.0,
        "total_memory": 0,
        "last_executed": None,
    }
    return _START_COUNTING[dialect].change(connection, counters) == 1


def _hold(transaction: Transaction, script_id: str, *, shared: bool = False) -> bool:
    """Keep others from removing a script until the end of ``transaction``; False if it is gone.

    SQLite has one writer at a time; Postgres locks the row.
    """
    return _HOLD[shared].first(transaction.connection, {"id": script_id}) is not None


def _candidates(text: str) -> Callable[[sa.Connection], list[str]]:
    """A query for the ids that ``text`` can mean; the id itself means nothing else."""

    def query(connection: sa.Connection) -> list[str]:
        matches = (scripts.c.id == text) | (scripts.c.name == text)
        if len(text) >= MIN_PREFIX_LENGTH:
            matches |= scripts.c.id.startswith(text, autoescape=True)
        rows = connection.execute(
            sa.select(scripts.c.id, scripts.c.name).where(matches).order_by(scripts.c.id)
        )
        # SQLite's LIKE does not tell upper from lower case.
        ids = [row.id for row in rows if row.name == text or row.id.startswith(text)]
        return [text] if text in ids else ids

    return query


def _count(transaction: Transaction, runs: list[Run]) -> None:
    """Add up the runs of each script, so that there is one statement for each."""
    totals: dict[str, dict[str, Any]] = {}
    for run in runs:
        total = totals.setdefault(
            run.script_id,
            {
                "id": run.script_id,
                "executions": 0,
                "failures": 0,
                "seconds": 0.0,
                "memory": 0,
                "ended_at": run.ended_at,
            },
        )
        total["executions"] += 1
        total["failures"] += not run.succeeded
        total["seconds"] += run.seconds
        total["memory"] += run.peak_memory_bytes or 0
        total["ended_at"] = max(total["ended_at"], run.ended_at)
    # In one order everywhere, so that no two processes wait for each other for ever.
    for script_id in sorted(totals):
        _COUNT.change(transaction.connection, totals[script_id])


def _same(stored: Any, row: Mapping[str, Any]) -> bool:
    times = ("created_at", "updated_at")
    return all(getattr(stored, name) == value for name, value in row.items() if name not in times)


def _can_exist(name: str) -> bool:
    """Whether something of that id or name can be stored at all."""
    return len(name) <= MAX_NAME_LENGTH and unstorable_character(name) is None


def _near(text: str, known: list[str]) -> list[str]:
    """What the caller may have meant, nearest first."""
    text = text[:MAX_NAME_LENGTH]
    longer = [one for one in known if len(text) >= MIN_PREFIX_LENGTH and one.startswith(text)]
    close = difflib.get_close_matches(text, known, n=_NEAR, cutoff=_SIMILARITY)
    return list(dict.fromkeys([*longer, *close]))[:_NEAR]


def _suggestion(near: list[str]) -> str | None:
    return f"Did you mean {' or '.join(map(shown, near))}?" if near else None


def _listed(names: list[str]) -> str:
    first = ", ".join(shown(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"the tool{'s' if len(names) > 1 else ''} {first}{more}"
