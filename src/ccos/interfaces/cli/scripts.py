"""``ccos script``: run scripts under a security level, and see those that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import App, Parameter

from ccos.errors import FeatureDisabledError, ScriptError
from ccos.interfaces.cli.budgets import amount, read_allowances, told, with_allowances
from ccos.interfaces.cli.exits import ExitCode, UsageError, code_of
from ccos.interfaces.cli.levels import policy_at
from ccos.interfaces.cli.options import COMMON, Common, read_arguments, read_input
from ccos.interfaces.cli.screen import Screen, moment
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.engine.budget import Allowance, Budget, Dimension
    from ccos.engine.executions import (
        CompilationContext,
        ExecutionChunk,
        ExecutionContext,
        ExecutionResult,
    )
    from ccos.engine.library import CompiledScript, SecurityValidation
    from ccos.engine.policy import SecurityLevel, SecurityPolicy
    from ccos.engine.service import ScriptEngine

app = App(name="script", help="Run scripts under a security level, and see those kept.")

ScriptFile = Annotated[
    str,
    Parameter(help="A file of text, or - for standard input.", allow_leading_hyphen=True),
]
Level = Annotated[
    str | None,
    Parameter(help="safe, development (dev) or production (prod); by default that of the engine."),
]
LanguageName = Annotated[
    str | None, Parameter(name="--language", help="Its language, if its name does not tell.")
]


@app.command
async def run(
    file: ScriptFile,
    /,
    *,
    function: Annotated[
        str | None, Parameter(help="Call this function of it, once its text has run.")
    ] = None,
    arguments: Annotated[
        str | None,
        Parameter(
            help="A JSON object of arguments, @FILE, or - for standard input.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    level: Level = None,
    timeout: Annotated[
        float | None,
        Parameter(help="Stop it after so many seconds; can only shorten what its level allows."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        Parameter(
            name="--budget",
            negative="",
            help="DIMENSION=LIMIT, of what it may use up, in place of what its level gives it; "
            "then :stop ends it (as without), :approve asks a person for more, :warn goes on.",
        ),
    ] = None,
    language: LanguageName = None,
    common: Common = COMMON,
) -> ExitCode:
    """Run a script. What it prints appears as it is printed, its value at the end.

    Without --function its value is that of the last expression, and the arguments are there as
    variables. --budget may be given several times, once for each of steps, wall_clock_ms,
    host_calls, network_bytes, storage_bytes, llm_tokens and cost_usd. Exit code 1 if the script
    fails, 130 if Ctrl-C stopped it.
    """
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise UsageError("--timeout is a number of seconds above 0.")
    if file == "-" and arguments == "-":
        raise UsageError("The script and its arguments cannot both be standard input.")
    allowances = read_allowances(budget or ())
    source = read_input(file)
    given = read_arguments((), arguments)
    async with opened(common) as session:
        from ccos.engine.executions import ExecutionContext

        engine = _running(session).ccos.script_engine
        made = await engine.compile_script(source, _compilation(session, file, level, language))
        context = ExecutionContext(
            function=function,
            arguments=given,
            timeout=timeout,
            budget=_budget(engine, made, allowances),
            working_directory=Path.cwd(),
            caller=session.settings.approver,
        )
        # Closed here, whatever happens, so that the script never outlives the command.
        stream = cast(
            "AsyncGenerator[ExecutionChunk]", engine.execute_script_stream(made.script_id, context)
        )
        async with _telling(session, context), contextlib.aclosing(stream) as chunks:
            result = await _follow(chunks, session.screen)
        return _show_result(result, session.screen)


@app.command
async def check(
    file: ScriptFile,
    /,
    *,
    level: Level = None,
    language: LanguageName = None,
    common: Common = COMMON,
) -> ExitCode:
    """Compile a script without running or keeping it. Exit code 1 if it is not accepted."""
    source = read_input(file)
    async with opened(common) as session:
        engine = _running(session).ccos.script_engine
        context = _compilation(session, file, level, language)
        policy = context.policy or engine.get_security_policy()
        found = await engine.validate_source_security(source, context)
        session.screen.document({"file": file, "level": policy.level.value, **found.as_dict()})
        _show_findings(session.screen, file, policy, found)
        return ExitCode.DONE if found.valid else ExitCode.FAILED


@app.command(name="list")
async def list_scripts(
    *,
    language: Annotated[str | None, Parameter(help="Only those in this language.")] = None,
    level: Annotated[
        str | None, Parameter(help="Only those of this level: safe, development or production.")
    ] = None,
    common: Common = COMMON,
) -> None:
    """List the scripts that are kept."""
    wanted = None if level is None else _level(level)
    async with opened(common) as session:
        found = await session.ccos.script_engine.list_scripts(language=language, level=wanted)
        session.screen.document({"scripts": [one.as_dict() for one in found]})
        session.screen.table(
            ("id", "name", "language", "level", "bytes", "runs", "last run"),
            (
                (
                    one.script_id,
                    one.name,
                    one.language,
                    one.security_level,
                    one.size_bytes,
                    one.execution_count,
                    moment(one.last_executed),
                )
                for one in found
            ),
            empty="No scripts are kept.",
        )


@app.command
async def show(
    script: Annotated[str, Parameter(help="Its id, the beginning of its id, or its name.")],
    /,
    *,
    source: Annotated[bool, Parameter(negative="", help="Show its text too.")] = False,
    common: Common = COMMON,
) -> None:
    """Show one script that is kept, and the tools made of it."""
    async with opened(common) as session:
        engine = session.ccos.script_engine
        kept = await engine.find_script(script)
        info = await engine.get_script_info(kept.script_id)
        tools = [
            tool.name
            for tool in await engine.list_script_tools()
            if tool.script_id == kept.script_id
        ]
        data = {**info.as_dict(), "tools": tools}
        session.screen.document({**data, "source": kept.source} if source else data)
        session.screen.fields(
            [
                ("id", info.script_id),
                ("name", info.name),
                ("language", info.language),
                ("level", info.security_level),
                ("description", info.description or "-"),
                ("author", info.author or "-"),
                ("version", info.version or "-"),
                ("tags", ", ".join(info.tags) or "-"),
                ("bytes", info.size_bytes),
                ("kept since", moment(info.created_at)),
                ("runs", info.execution_count),
                ("last run", moment(info.last_executed)),
                ("tools", ", ".join(tools) or "-"),
            ]
        )
        if source:
            session.screen.text(f"\n{kept.source}")


@app.command
async def delete(
    script: Annotated[str, Parameter(help="Its id, the beginning of its id, or its name.")],
    /,
    *,
    common: Common = COMMON,
) -> None:
    """Delete a script that is kept; refused while a tool uses it."""
    async with opened(common) as session:
        engine = session.ccos.script_engine
        kept = await engine.find_script(script)
        deleted = await engine.delete_script(kept.script_id)
        session.screen.document({"script_id": kept.script_id, "deleted": deleted})
        session.screen.text(
            f"{kept.script_id} ({kept.name}) is deleted."
            if deleted
            else f"{kept.script_id} was deleted by somebody else."
        )


def _running(session: Session) -> Session:
    if not session.ccos.script_engine.is_running():
        raise FeatureDisabledError(
            "The script engine is switched off.",
            next_step="Set CCOS_SCRIPT_ENGINE_ENABLED=true to switch it on.",
        )
    return session


def _level(text: str) -> SecurityLevel:
    from ccos.engine.policy import SecurityLevel

    return SecurityLevel.parse(text)


def _compilation(
    session: Session, file: str, level: str | None, language: str | None
) -> CompilationContext:
    from ccos.engine.executions import CompilationContext

    policy = None
    if level is not None:
        engine = session.ccos.script_engine
        policy = policy_at(_level(level), engine, session.settings)
    name = "stdin" if file == "-" else Path(file).name
    return CompilationContext(name=name, language=language, policy=policy)


def _budget(
    engine: ScriptEngine, made: CompiledScript, given: Mapping[Dimension, Allowance]
) -> Budget | None:
    """The budget of a script's level with these allowances; None for that of its level."""
    from ccos.engine.limits import NO_BUDGET

    if not given:
        return None
    of_level = engine.get_config().budgets.get(made.policy.level, NO_BUDGET)
    return with_allowances(of_level, given)


@contextlib.asynccontextmanager
async def _telling(session: Session, context: ExecutionContext) -> AsyncIterator[None]:
    """While the block runs, tell on standard error when the execution waits for a person."""
    from ccos.events import EventType

    events = session.ccos.events
    subscription = events.subscribe([EventType.APPROVAL_REQUESTED, EventType.BUDGET_EXTENDED])

    async def tell() -> None:
        async for event in subscription:
            if event.execution_id != context.execution_id:
                continue
            if event.type is EventType.APPROVAL_REQUESTED:
                session.screen.note(told(event, session))
            else:
                by, dimension = amount(event.data["by"]), event.data["dimension"]
                session.screen.note(f"{event.execution_id}: goes on with {by} more {dimension}.")

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        events.unsubscribe(subscription)
        await teller


async def _follow(chunks: AsyncGenerator[ExecutionChunk], screen: Screen) -> ExecutionResult:
    """Show what a script says while it runs; returns what came of it."""
    from ccos.engine.executions import ChunkType

    unfinished: dict[ChunkType, bool] = {}
    async for chunk in chunks:
        match chunk.type:
            case ChunkType.STDOUT | ChunkType.STDERR:
                screen.part(chunk.data, error=chunk.type is ChunkType.STDERR)
                unfinished[chunk.type] = not chunk.data.endswith("\n")
            case ChunkType.PROGRESS if not screen.json:
                screen.note(f"{chunk.data['fraction']:.0%} {chunk.data['message']}".rstrip())
            case ChunkType.COMPLETE:
                for kind, open_line in unfinished.items():
                    if open_line:
                        screen.part("\n", error=kind is ChunkType.STDERR)
                return cast("ExecutionResult", chunk.data)
    raise ScriptError("The execution ended without a result.")


def _show_result(result: ExecutionResult, screen: Screen) -> ExitCode:
    screen.document(result.as_dict())
    if result.error is not None:
        error = result.error
        screen.note(f"{error.code}: {error.message}\n{error.next_step}")
        return code_of(error)
    if result.value is not None:
        screen.value(result.value)
    return ExitCode.DONE


def _show_findings(
    screen: Screen, file: str, policy: SecurityPolicy, found: SecurityValidation
) -> None:
    for one in found.diagnostics:
        screen.text(f"{_place(file, one)}: {one['severity']}: {one['message']}")
    if found.valid:
        screen.text(f"{file} is accepted at level {policy.name}.")
    screen.fields(
        [
            ("modules", ", ".join(sorted(found.modules)) or "-"),
            ("may run at", ", ".join(found.levels) or "no level"),
        ]
    )
    if not found.valid:
        screen.note(f"{file} is not accepted at level {policy.name}.")


def _place(file: str, finding: Mapping[str, Any]) -> str:
    """``file:line:column``, as far as they are known."""
    known = (finding.get("line"), finding.get("column"))
    return ":".join([file, *(str(number) for number in known if number)])
