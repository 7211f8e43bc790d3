"""``ccos call``, ``ccos run`` and ``ccos check``: begin something, or look at it first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from ccos.errors import ExecutionError
from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import (
    COMMON,
    Common,
    Timeout,
    Wait,
    read_arguments,
    read_input,
)
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.runtime import Outcome

PlanFile = Annotated[
    str,
    Parameter(
        help="A file such as plan.py or tool.rn, or - for Python on standard input.",
        allow_leading_hyphen=True,
    ),
]
Arg = Annotated[
    tuple[str, ...],
    Parameter(
        name=("--arg", "-a"),
        negative="",
        help="name=value; the value is JSON if it reads as JSON, else text. Repeatable.",
    ),
]
Arguments = Annotated[
    str | None,
    Parameter(
        help="A JSON object of arguments, @FILE, or - for standard input.",
        allow_leading_hyphen=True,
    ),
]

_RECENT: Final = 50


async def call(
    capability_id: str,
    /,
    *,
    arg: Arg = (),
    arguments: Arguments = None,
    wait: Wait = True,
    timeout: Timeout = None,
    common: Common = COMMON,
) -> ExitCode:
    """Call a capability. If it is missing, this process works on it until a person is needed."""
    data = read_arguments(arg, arguments)
    async with opened(common, work=wait) as session:
        return await _carry_out(
            session,
            lambda: session.ccos.call(capability_id, data, principal=session.settings.approver),
            wait=wait,
            timeout_seconds=timeout,
        )


async def run(
    plan: PlanFile,
    /,
    *,
    function: Annotated[
        str | None, Parameter(help="The function whose value is wanted, in place of the text's.")
    ] = None,
    arg: Arg = (),
    arguments: Arguments = None,
    wait: Wait = True,
    timeout: Timeout = None,
    common: Common = COMMON,
) -> ExitCode:
    """Run a plan. If it misses capabilities, this process works on them as `call` does.

    The ending of the file tells its language. Of a script in Rune, main is run, or call of a tool.
    """
    data = read_arguments(arg, arguments)
    return await run_text(
        read_input(plan),
        _name(plan),
        data,
        function=function,
        wait=wait,
        timeout=timeout,
        common=common,
    )


async def run_text(
    source: str,
    name: str,
    arguments: dict[str, Any],
    *,
    function: str | None = None,
    wait: bool,
    timeout: float | None,
    common: Common,
) -> ExitCode:
    """Run the text of a plan; the ending of its name tells the language."""
    async with opened(common, work=wait) as session:
        return await _carry_out(
            session,
            lambda: session.ccos.run(
                source,
                name=name,
                function=function,
                arguments=arguments,
                principal=session.settings.approver,
            ),
            wait=wait,
            timeout_seconds=timeout,
        )


async def check(
    plan: PlanFile,
    /,
    *,
    common: Common = COMMON,
) -> ExitCode:
    """List what a plan calls, without running it. Exit code 4 if something is missing."""
    source = read_input(plan)
    async with opened(common) as session:
        found = await session.ccos.check(source, name=_name(plan))
        groups = {
            "resolved": found.resolved,
            "missing": found.missing,
            "withheld": found.withheld,
            "dynamic": found.dynamic,
        }
        calls = sorted(
            (call.line, call.column, call.capability_id, state)
            for state, group in groups.items()
            for call in group
        )
        session.screen.document(
            {
                "plan": _name(plan),
                "calls": [
                    {"capability_id": target, "line": line, "column": column, "state": state}
                    for line, column, target, state in calls
                ],
                **{state: len(group) for state, group in groups.items()},
            }
        )
        session.screen.table(
            ("capability", "line", "column", "state"),
            (
                (target or "(computed while it runs)", line, column, state)
                for line, column, target, state in calls
            ),
            empty="The plan calls nothing.",
        )
        return ExitCode.NOT_FOUND if found.missing else ExitCode.DONE


def _name(plan: str) -> str:
    return "standard input" if plan == "-" else Path(plan).name


async def _carry_out(
    session: Session,
    begin: Callable[[], Awaitable[Outcome]],
    *,
    wait: bool,
    timeout_seconds: float | None,
) -> ExitCode:
    """Begin an execution, follow it while it is parked, and show what came of it."""
    from ccos.interfaces.cli.outcomes import show_outcome
    from ccos.interfaces.cli.progress import progress
    from ccos.interfaces.following import follow
    from ccos.runtime import Parked

    began = time.time()
    try:
        async with progress(session) as shown:
            outcome: Outcome | None = await begin()
            assert outcome is not None
            if wait and isinstance(outcome, Parked):
                execution_id = outcome.execution_id
                outcome = await follow(
                    session.ccos,
                    execution_id,
                    timeout_seconds=timeout_seconds,
                    observe=shown.standing,
                )
        if outcome is None:
            raise ExecutionError(
                f"{execution_id} still runs after {timeout_seconds:g} s.",
                next_step=f"See it with `{session.command('executions', 'show', execution_id)}`.",
            )
        return await show_outcome(session, outcome)
    except asyncio.CancelledError:
        return await _interrupted(session, began)


async def _interrupted(session: Session, began: float) -> ExitCode:
    """Say what is kept of the execution that this process had begun."""
    from ccos.runtime import ExecutionState

    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
    recent = await session.ccos.runtime.executions(limit=_RECENT)
    ours = [one for one in recent if one.created_at >= began and not one.state.ended]
    for one in ours:
        resume = session.command("executions", "resume", one.id)
        worker = session.command("worker")
        parked = one.state is ExecutionState.PARKED
        ways = f"`{resume}`, or `{worker}`" if parked else f"`{worker}`"
        session.screen.note(f"Interrupted. {one.id} is kept ({one.state}). Go on with {ways}.")
    if not ours:
        session.screen.note(
            "Interrupted. The execution had done nothing that has to be kept; run it again."
        )
    session.screen.document(
        {
            "outcome": "interrupted",
            "executions": [{"id": one.id, "state": one.state} for one in ours],
        }
    )
    return ExitCode.INTERRUPTED
