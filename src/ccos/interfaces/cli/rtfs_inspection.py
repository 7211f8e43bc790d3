"""Where a parked execution stands, for people."""

from __future__ import annotations

import json
from typing import Final

from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.session import Session

_AROUND: Final = 2
"""Lines shown before and after the one that waits."""


async def show_standing(session: Session, execution_id: str) -> None:
    """Show the state of a plan, the calls it made, and the lines that it waits at.

    Raises:
        ExecutionNotFoundError: if there is no such execution.
        PlanError: if it is no plan, or cannot be replayed.
    """
    from ccos.engine.asked import plain

    runtime, screen = session.ccos.runtime, session.screen
    execution = await runtime.execution(execution_id)
    standing = await runtime.standing(execution_id)
    entries = await runtime.journal(execution_id)
    screen.fields(
        [
            ("execution", execution.id),
            ("plan", execution.name),
            ("state", execution.state),
            ("steps", " > ".join(standing.steps) or "-"),
            ("context", short(json.dumps(execution.arguments), 200)),
            ("printed", standing.printed or "-"),
        ]
    )
    screen.text("")
    screen.table(
        ("call", "what", "arguments", "state", "answer"),
        (
            (
                one.sequence,
                one.target,
                short(json.dumps(plain(one.arguments), ensure_ascii=False), 60),
                one.state,
                short(json.dumps(one.outcome, ensure_ascii=False), 60) if one.outcome else "-",
            )
            for one in entries
        ),
        empty="It called nothing.",
    )
    for call in standing.waiting:
        screen.text(f"\nIt waits for {call.target}, line {call.line}:")
        screen.text(_excerpt(execution.program, call.line))


def _excerpt(program: str, line: int) -> str:
    lines = program.splitlines()
    first = max(1, line - _AROUND)
    shown = enumerate(lines[first - 1 : line + _AROUND], start=first)
    return "\n".join(
        f"{'>' if number == line else ' '} {number:4} {text}" for number, text in shown
    )
