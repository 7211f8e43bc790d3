"""Showing what came of an execution."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ccos.interfaces.cli.exits import ExitCode, code_of
from ccos.interfaces.cli.progress import next_step
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.session import Session
from ccos.interfaces.following import Wanted, wanted
from ccos.resolution.queue import RequestStatus
from ccos.runtime import Completed, Failed, Outcome, OutcomeUnknown, Parked


async def outcome_data(session: Session, outcome: Outcome) -> tuple[dict[str, Any], ExitCode]:
    """An outcome as JSON data, and the exit code that it means."""
    match outcome:
        case Completed(execution_id, value, printed):
            done = {"outcome": "completed", "execution_id": execution_id}
            return {**done, "value": value, "printed": printed}, ExitCode.DONE
        case Failed(execution_id, error):
            failed = {"outcome": "failed", "execution_id": execution_id}
            return {**failed, "error": error.as_dict()}, code_of(error)
        case OutcomeUnknown(execution_id, effects):
            unknown = {"outcome": "outcome_unknown", "execution_id": execution_id}
            listed = [asdict(effect) for effect in effects]
            return {**unknown, "effects": listed}, ExitCode.WAITING
        case Parked(execution_id, missing):
            found = await wanted(session.ccos, missing)
            parked = {"outcome": "parked", "execution_id": execution_id}
            return {
                **parked,
                "missing": [wanted_data(one, session) for one in found],
            }, code_of_parked(found)


async def show_outcome(session: Session, outcome: Outcome) -> ExitCode:
    """Say what came of an execution and what to do next; returns the exit code it means."""
    screen = session.screen
    data, code = await outcome_data(session, outcome)
    screen.document(data)
    match outcome:
        case Completed(execution_id, value, printed):
            if printed:
                screen.text(printed.rstrip("\n"))
            if value is not None:
                screen.value(value)
            screen.note(f"Completed: {execution_id}")
        case Failed(execution_id, error):
            screen.note(f"Failed: {execution_id}\n{error.code}: {error.message}\n{error.next_step}")
        case OutcomeUnknown(execution_id, effects):
            screen.text(f"{execution_id} waits for a person: what became of these calls?")
            screen.table(
                ("call", "capability", "arguments", "why it is unknown"),
                (
                    (one.sequence, one.capability_id, json.dumps(one.arguments), one.reason)
                    for one in effects
                ),
            )
            sequence = effects[0].sequence if effects else 0
            command = session.command("executions", "decide", execution_id, sequence)
            screen.note(f"Next: {command} with --value JSON, --error TEXT or --again")
        case Parked(execution_id):
            screen.text(f"{execution_id} is parked; nothing is lost. It waits for:")
            show_wanted(session, data["missing"])
    return code


def show_wanted(session: Session, missing: Sequence[dict[str, Any]]) -> None:
    """A table of missing capabilities, with the commands that get them further below it."""
    session.screen.table(
        ("capability", "state", "approval", "last attempt"),
        (
            (
                one["capability_id"],
                one["state"],
                one["approval_id"] or "-",
                short(one["reason"], 90),
            )
            for one in missing
        ),
    )
    commands = [one["next"] for one in missing if one["next"] is not None]
    for command in dict.fromkeys(commands or [session.command("worker")]):
        session.screen.text(f"Next: {command}")


def wanted_data(one: Wanted, session: Session) -> dict[str, Any]:
    """A missing capability as JSON data, with the command that gets it further."""
    return {
        "capability_id": one.capability_id,
        "state": one.state,
        "reason": one.reason,
        "approval_id": one.approval_id,
        "retry_in": one.retry_in,
        "next": next_step(one, session),
    }


def code_of_parked(found: Sequence[Wanted]) -> ExitCode:
    """The exit code for something that waits for these."""
    blocked = any(one.status is RequestStatus.BLOCKED and not one.registered for one in found)
    return ExitCode.BLOCKED if blocked else ExitCode.WAITING
