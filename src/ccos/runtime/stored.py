"""Outcomes as they are stored, and back."""

from __future__ import annotations

import json
from typing import Any, Final

from ccos import errors
from ccos.engine.asked import plain
from ccos.errors import CcosError
from ccos.runtime.outcomes import (
    Completed,
    Failed,
    Outcome,
    OutcomeUnknown,
    Parked,
    UnknownEffect,
)
from ccos.runtime.records import Entry, EntryState, Execution, ExecutionState

NEVER_ANSWERED: Final = "it was sent, and its answer never came"


def dump_result(value: Any, printed: str) -> str:
    """A result as the ``result`` column keeps it."""
    return json.dumps({"value": value, "printed": printed})


def dump_error(error: CcosError) -> str:
    """An error as the ``error`` column keeps it."""
    return json.dumps(error.as_dict())


def load_error(data: dict[str, Any]) -> CcosError:
    """The error that was stored, of the class that its code belongs to."""
    kind = _CLASSES.get(data["code"], CcosError)
    return kind(data["message"], next_step=data["next_step"], details=data["details"])


def stored_outcome(execution: Execution, waits: list[str], entries: list[Entry]) -> Outcome | None:
    """What came of a stored execution; None while it runs."""
    match execution.state:
        case ExecutionState.COMPLETED:
            return Completed(execution.id, execution.result["value"], execution.result["printed"])
        case ExecutionState.PARKED:
            return Parked(execution.id, tuple(waits))
        case ExecutionState.OUTCOME_UNKNOWN:
            return OutcomeUnknown(execution.id, unknown_effects(entries))
        case ExecutionState.FAILED:
            assert execution.error is not None
            return Failed(execution.id, load_error(execution.error))
        case ExecutionState.CANCELLED:
            return Failed(
                execution.id, errors.ExecutionStateError(f"{execution.id} was cancelled.")
            )
        case _:
            return None


def unknown_effects(entries: list[Entry]) -> tuple[UnknownEffect, ...]:
    """The calls of a journal whose outcome a person has to say."""
    return tuple(
        UnknownEffect(
            entry.sequence,
            entry.target,
            plain(entry.arguments),
            NEVER_ANSWERED,
        )
        for entry in entries
        if entry.state is EntryState.UNKNOWN
    )


def _classes(kind: type[CcosError]) -> dict[str, type[CcosError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _classes(child)
    return found


_CLASSES = _classes(CcosError)
