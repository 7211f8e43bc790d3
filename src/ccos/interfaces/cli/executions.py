"""``ccos executions``: see executions and carry them on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import App, Parameter

from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.options import COMMON, By, Common, Limit, Reason, read_json
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import moment
from ccos.interfaces.cli.session import opened

app = App(name="executions", help="See executions and carry them on.")

State = Literal["running", "parked", "outcome_unknown", "completed", "failed", "cancelled"]


@app.command(name="list")
async def list_executions(
    *,
    state: Annotated[State | None, Parameter(help="Only those in this state.")] = None,
    limit: Limit = 50,
    common: Common = COMMON,
) -> None:
    """List executions, newest first."""
    from ccos.runtime import ExecutionState

    async with opened(common) as session:
        wanted = None if state is None else ExecutionState(state)
        found = await session.ccos.runtime.executions(state=wanted, limit=limit)
        session.screen.document(
            {
                "executions": [
                    {
                        "id": one.id,
                        "kind": one.kind,
                        "name": one.name,
                        "state": one.state,
                        "principal": one.principal,
                        "created_at": one.created_at,
                        "updated_at": one.updated_at,
                    }
                    for one in found
                ]
            }
        )
        session.screen.table(
            ("execution", "kind", "name", "state", "begun"),
            (
                (one.id, one.kind, short(one.name, 60), one.state, moment(one.created_at))
                for one in found
            ),
            empty="No executions.",
        )


@app.command
async def show(execution_id: str, /, *, common: Common = COMMON) -> None:
    """Show an execution: its state, its calls, what it waits for, what came of it."""
    from ccos.interfaces.cli.outcomes import outcome_data, show_wanted

    async with opened(common) as session:
        runtime, screen = session.ccos.runtime, session.screen
        execution = await runtime.execution(execution_id)
        journal = await runtime.journal(execution_id)
        outcome = await runtime.outcome(execution_id)
        data = None if outcome is None else (await outcome_data(session, outcome))[0]
        screen.document(
            {
                "execution": asdict(execution),
                "journal": [asdict(entry) for entry in journal],
                "outcome": data,
            }
        )
        screen.fields(
            [
                ("execution", execution.id),
                ("kind", f"{execution.kind}: {execution.name}"),
                ("state", execution.state),
                ("begun", f"{moment(execution.created_at)} by {execution.principal}"),
                ("changed", moment(execution.updated_at)),
            ]
        )
        screen.text("")
        screen.table(
            ("call", "capability", "arguments", "state", "answer"),
            (
                (
                    entry.sequence,
                    entry.target,
                    short(json.dumps(entry.arguments), 60),
                    entry.state,
                    short(json.dumps(entry.outcome), 80) if entry.outcome else "-",
                )
                for entry in journal
            ),
            empty="No calls.",
        )
        if data is not None and data["outcome"] == "parked":
            screen.text("\nIt waits for:")
            show_wanted(session, data["missing"])
        elif data is not None:
            screen.text("\nOutcome:")
            screen.value({key: data[key] for key in data if key != "execution_id"})


@app.command
async def resume(execution_id: str, /, *, common: Common = COMMON) -> ExitCode:
    """Resume a parked execution, or say what it still misses (exit code 5, or 6 if blocked)."""
    from ccos.interfaces.cli.outcomes import show_outcome

    async with opened(common) as session:
        return await show_outcome(session, await session.ccos.runtime.resume(execution_id))


@app.command
async def cancel(
    execution_id: str, /, *, reason: Reason = "", by: By = None, common: Common = COMMON
) -> None:
    """End an execution that has not ended. A call under way is not undone."""
    async with opened(common) as session:
        await session.ccos.runtime.cancel(execution_id, actor=session.by(by), reason=reason)
        session.screen.document({"execution_id": execution_id, "state": "cancelled"})
        session.screen.text(f"{execution_id} is cancelled.")


@app.command
async def decide(
    execution_id: str,
    sequence: Annotated[int, Parameter(help="Which of its calls; see `executions show`.")],
    /,
    *,
    value: Annotated[str | None, Parameter(help="The call acted; this JSON is its result.")] = None,
    error: Annotated[str | None, Parameter(help="The call failed; this is the reason.")] = None,
    again: Annotated[
        bool, Parameter(negative="", help="The call did not act; make it again.")
    ] = False,
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Say what became of a call whose outcome is unknown; exactly one of the three.

    Exit code 5 if the execution waits for something else afterwards.
    """
    if (value is not None) + (error is not None) + again != 1:
        raise UsageError("Say exactly one of --value, --error and --again.")
    result = None if value is None else read_json(value, "--value")
    from ccos.errors import CapabilityFailedError
    from ccos.interfaces.cli.outcomes import show_outcome
    from ccos.runtime import Answer

    answer = None if again else Answer(value=result)
    if error is not None:
        answer = Answer(error=CapabilityFailedError(error))
    async with opened(common) as session:
        runtime = session.ccos.runtime
        outcome = await runtime.decide(execution_id, sequence, answer, actor=session.by(by))
        outcome = outcome or await runtime.outcome(execution_id)
        assert outcome is not None
        return await show_outcome(session, outcome)
